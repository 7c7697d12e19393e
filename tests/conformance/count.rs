//! Every requirement that is a MUST has a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use gopool_sv2::types::{RefuseReason, RejectReason};

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
    let text = fs::read_to_string(root().join("tests/conformance/requirements.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = |line: &str| {
        let mut columns = line.splitn(3, '|').map(|column| column.trim().to_owned());
        let mut column = || columns.next().unwrap_or_else(|| panic!("three columns: {line}"));
        Requirement { id: column(), level: column(), place: column() }
    };
    lines.map(read).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Sources that may hold tests.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !["target", ".git"].contains(&name.as_str()) {
            sources(&path, found);
        } else if name.ends_with(".rs") || name.ends_with("_test.go") {
            found.push(path);
        }
    }
}

/// The ids in the name of a test function: `sc_5_…` or `TestSC5…`, also several.
fn ids_of(line: &str) -> Vec<String> {
    let (line, rust) = match line.trim_start() {
        line if line.starts_with("func Test") => (&line[9..], false),
        line => (line.strip_prefix("async ").unwrap_or(line), true),
    };
    let name = if rust { line.strip_prefix("fn ").unwrap_or_default() } else { line };
    let name = name.split('(').next().unwrap_or_default();
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

/// The ids of all test functions: those behind `#[test]`, `#[tokio::test]` or in `proptest!`.
fn tested() -> BTreeSet<String> {
    let mut files = Vec::new();
    for directory in ["sidecar", "tests", "go-bindings", "examples"] {
        sources(&root().join(directory), &mut files);
    }
    let mut ids = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let mut attribute = false;
        for line in text.lines() {
            let line = line.trim_start();
            if line.starts_with("#[") {
                attribute |= line.contains("test");
                continue;
            }
            if attribute || line.starts_with("func Test") {
                ids.extend(ids_of(line));
            }
            attribute = false;
        }
    }
    ids
}

#[test]
fn every_must_has_a_test() {
    let (table, tested) = (table(), tested());
    let mut pending = Vec::new();
    for (group, count) in GROUPS {
        let listed = table.iter().filter(|r| r.id.split('-').next() == Some(group)).count();
        assert_eq!(listed, count, "requirements {group} in the table");
    }
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
        assert!(documented || tested.contains(id), "{id}: no test has {id} in its name");
    }
    let unknown: Vec<_> = tested.iter().filter(|id| !table.iter().any(|r| r.id == **id)).collect();
    assert!(unknown.is_empty(), "tests name requirements that are not in the table: {unknown:?}");
    eprintln!("{} requirements, {} with tests", table.len(), tested.len());
    for line in &pending {
        eprintln!("PENDING {line}");
    }
    eprintln!("pending: {}", pending.len());
}

#[test]
fn every_error_string_is_explained() {
    let text = fs::read_to_string(root().join("docs/sv2-support.md")).unwrap();
    let rejects = RejectReason::ALL.iter().map(|reason| reason.as_str());
    let refuses = RefuseReason::ALL.iter().map(|reason| reason.as_str());
    for code in rejects.chain(refuses) {
        assert!(text.contains(&format!("| `{code}` |")), "{code} is not in docs/sv2-support.md");
    }
}

#[test]
fn names_are_read_as_ids() {
    assert_eq!(ids_of("    fn sc_5_flags() {"), ["SC-5"]);
    assert_eq!(ids_of("async fn xn_1_and_xn_12_x() {"), ["XN-1", "XN-12"]);
    assert_eq!(ids_of("func TestXN4AndCL7Stay(t *testing.T) {"), ["XN-4", "CL-7"]);
    assert!(ids_of("fn asc_5_flags() {").is_empty());
    assert!(ids_of("let sc_5_x = 1;").is_empty());
}
