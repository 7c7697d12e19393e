//! Every requirement that is a MUST has a test, where the table says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use gopool_sv2::types::{RefuseReason, RejectReason};
use gopool_sv2_tests::sources::{self, root};

/// Requirements that may be documented instead: custom work, groups and redirects are not offered,
/// and where the authority's secret lies is the operator's business.
const MAY_BE_DOCUMENTED: [&str; 13] = [
    "CJ-1", "CJ-2", "CJ-3", "CJ-5", "CJ-6", "CJ-7", "CJ-8", "GC-2", "GC-3", "GC-5", "GC-6",
    "HS-13", "HS-16",
];

/// How many there are of each group, so that none is lost from the table.
const GROUPS: [(&str, usize); 12] = [
    ("HS", 16),
    ("FR", 13),
    ("SC", 18),
    ("OC", 17),
    ("JB", 14),
    ("SH", 18),
    ("TG", 7),
    ("XN", 4),
    ("GC", 7),
    ("CJ", 8),
    ("EX", 12),
    ("CL", 7),
];

struct Requirement {
    id: String,
    level: String,
    place: String,
}

fn table() -> Vec<Requirement> {
    let text =
        fs::read_to_string(root().unwrap().join("tests/conformance/requirements.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = |line: &str| {
        let mut columns = line.splitn(3, '|').map(|column| column.trim().to_owned());
        let mut column = || columns.next().unwrap_or_else(|| panic!("three columns: {line}"));
        Requirement { id: column(), level: column(), place: column() }
    };
    lines.map(read).collect()
}

/// Sources that may hold tests.
fn files_in(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !["target", ".git"].contains(&name.as_str()) {
            files_in(&path, found);
        } else if name.ends_with(".rs") || name.ends_with("_test.go") {
            found.push(path);
        }
    }
}

/// The ids in the name of a test function: `sc_5_…` or `TestSC5…`, also several.
fn ids_of(name: &str) -> Vec<String> {
    let (name, rust) = match name.strip_prefix("Test") {
        Some(name) => (name, false),
        None => (name, true),
    };
    let mut ids = Vec::new();
    for (group, _) in GROUPS {
        let mark = if rust { format!("_{}_", group.to_lowercase()) } else { group.to_owned() };
        let text = if rust { format!("_{name}") } else { name.to_owned() };
        for part in text.split(&mark).skip(1) {
            let number: String = part.chars().take_while(char::is_ascii_digit).collect();
            if !number.is_empty() {
                ids.push(format!("{group}-{number}"));
            }
        }
    }
    ids
}

/// The test functions of a source.
#[derive(Debug, Default)]
struct Tests {
    /// Their names.
    names: BTreeSet<String>,
    /// The ids in those that always run.
    ids: BTreeSet<String>,
    /// The ids in those that are ignored, for they take long.
    long: BTreeSet<String>,
}

/// The test functions of a text.
fn tests_of(text: &str) -> Tests {
    let mut tests = Tests::default();
    for test in sources::tests_of(text) {
        let ids = if test.ignored { &mut tests.long } else { &mut tests.ids };
        ids.extend(ids_of(&test.name));
        tests.names.insert(test.name);
    }
    tests
}

/// The tests of every source, by its path in the repository.
fn tested() -> BTreeMap<String, Tests> {
    let (root, mut files) = (root().unwrap(), Vec::new());
    for directory in ["sidecar", "tests", "go-bindings", "examples"] {
        files_in(&root.join(directory), &mut files);
    }
    let tests = |file: PathBuf| {
        let path = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        (path, tests_of(&fs::read_to_string(file).unwrap()))
    };
    files.into_iter().map(tests).collect()
}

/// What is wrong with the places of a requirement: `path` holds a test with its id, `path (name)`
/// the test of that name. Several have commas between; behind a `;` words and a colon may come
/// first. Behind `long: ` are tests that are ignored; one that always runs must be there besides.
/// What is said behind `deviation: ` is for readers.
fn faults(id: &str, place: &str, tested: &BTreeMap<String, Tests>) -> Vec<String> {
    let (mut faults, mut always) = (Vec::new(), false);
    for part in place.split("; ").take_while(|part| !part.starts_with("deviation: ")) {
        let (words, places) = part.rsplit_once(": ").unwrap_or(("", part));
        for place in places.split(", ") {
            let (path, name) = match place.split_once(" (") {
                Some((path, name)) => (path, name.strip_suffix(')')),
                None => (place, None),
            };
            let Some(tests) = tested.get(path) else {
                faults.push(format!("{id}: no source {path}"));
                continue;
            };
            let ids = if words == "long" { &tests.long } else { &tests.ids };
            always |= name.is_none() && words != "long" && ids.contains(id);
            if !name.map_or(ids.contains(id), |name| tests.names.contains(name)) {
                faults.push(format!("{id}: not in {place}"));
            }
        }
    }
    if !always {
        faults.push(format!("{id}: no test that always runs has it in its name"));
    }
    faults
}

#[test]
fn every_must_has_a_test() {
    let (table, tested) = (table(), tested());
    let mut pending = Vec::new();
    for (group, count) in GROUPS {
        let listed = table.iter().filter(|r| r.id.split('-').next() == Some(group)).count();
        assert_eq!(listed, count, "requirements {group} in the table");
    }
    let (mut wrong, mut with_tests) = (Vec::new(), 0);
    for Requirement { id, level, place } in &table {
        assert!(!place.is_empty(), "{id}: where is it proven, or why isn't it?");
        if let Some(reason) = place.strip_prefix("pending: ") {
            pending.push(format!("{id} ({level}): {reason}"));
            continue;
        }
        let documented = place.starts_with("documented: ");
        let must = level.contains("MUST");
        let may = MAY_BE_DOCUMENTED.contains(&id.as_str());
        assert!(!documented || may || !must, "{id} is a MUST: it needs a test");
        if !documented {
            wrong.extend(faults(id, place, &tested));
            with_tests += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let named = tested.values().flat_map(|tests| tests.ids.iter().chain(&tests.long));
    let unknown: Vec<_> = named.filter(|id| !table.iter().any(|r| r.id == **id)).collect();
    assert!(unknown.is_empty(), "tests name requirements that are not in the table: {unknown:?}");
    eprintln!("{} requirements, {with_tests} with tests", table.len());
    for line in &pending {
        eprintln!("PENDING {line}");
    }
    eprintln!("pending: {}", pending.len());
}

#[test]
fn rejects_places_that_hold_no_test_of_the_requirement() {
    let source = "#[test]\nfn sh_1_a() {}\n#[test]\n#[ignore]\nfn sh_2_b() {}\n\
                  #[ignore]\n#[tokio::test]\nasync fn sh_3_c() {}\n#[test]\n// Why.\nfn d() {}\n\
                  fn sh_4_helper() {}\n#[cfg(test)]\nfn sh_5_helper() {}";
    let tested = BTreeMap::from([("a.rs".to_owned(), tests_of(source))]);
    let wrong = |id, place| faults(id, place, &tested).len();
    assert_eq!(wrong("SH-1", "a.rs"), 0);
    assert_eq!(wrong("SH-1", "a.rs; more: a.rs (d), a.rs (sh_1_a); deviation: is none, a; b"), 0);
    assert_eq!(wrong("SH-1", "a.rs; other: b.rs"), 1, "no such file");
    assert_eq!(wrong("SH-1", "a.rs (e), a.rs"), 1, "no such function");
    assert_eq!(wrong("SH-1", "a.rs (d)"), 1, "the id is in no name");
    for id in ["SH-4", "SH-5"] {
        assert_eq!(wrong(id, "a.rs"), 2, "{id}: no test");
    }
    for id in ["SH-2", "SH-3"] {
        assert_eq!(wrong(id, "a.rs"), 2, "{id}: never runs");
        assert_eq!(wrong(id, "long: a.rs"), 1, "{id}: nor is that enough");
    }
}

/// The codes in the table behind the line that begins so.
fn codes<'a>(text: &'a str, begins: &str) -> BTreeSet<&'a str> {
    let lines = text.lines().skip_while(|line| !line.starts_with(begins)).skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.strip_prefix("| `")?.split_once("` |")).map(|row| row.0).collect()
}

#[test]
fn every_error_string_is_explained() {
    let text = fs::read_to_string(root().unwrap().join("docs/sv2-support.md")).unwrap();
    let setup = [
        common_messages_sv2::ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL,
        common_messages_sv2::ERROR_CODE_SETUP_CONNECTION_PROTOCOL_VERSION_MISMATCH,
        common_messages_sv2::ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_FEATURE_FLAGS,
        "invalid-setup-connection",
    ];
    assert_eq!(codes(&text, "SetupConnection.Error; "), BTreeSet::from(setup));
    let refuses = RefuseReason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(codes(&text, "OpenMiningChannel.Error and UpdateChannel.Error; "), refuses);
    let rejects = RejectReason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(codes(&text, "SubmitShares.Error; "), rejects);
    assert!(text.contains("\nSetCustomMiningJob.Error: `jd-not-supported`; "));
}

#[test]
fn names_are_read_as_ids() {
    assert_eq!(ids_of("sc_5_flags"), ["SC-5"]);
    assert_eq!(ids_of("xn_1_and_xn_12_x"), ["XN-1", "XN-12"]);
    assert_eq!(ids_of("TestXN4AndCL7Stay"), ["XN-4", "CL-7"]);
    assert!(ids_of("asc_5_flags").is_empty());
    let lines = "    fn sc_5_x() {\n#[test]\n    async fn sc_6_x() {\nlet sc_7_x = 1;";
    assert_eq!(tests_of(lines).ids, BTreeSet::from(["SC-6".to_owned()]));
}
