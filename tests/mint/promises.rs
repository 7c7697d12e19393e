//! Every promise of the mint bridge has a test, where the table says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use gopool_sv2_tests::sources;

/// How many there are, so that none is lost from the table.
const PROMISES: usize = 17;
const ROWS: usize = 17;

/// Names of the tests of a source that always run.
fn tests_of(text: &str) -> BTreeSet<String> {
    let always = sources::tests_of(text).into_iter().filter(|test| !test.ignored);
    always.map(|test| test.name).collect()
}

/// Reads the table: what is promised, and the tests of it, each as `path (name)`.
fn read(table: &str) -> BTreeMap<&str, Vec<(&str, &str)>> {
    let mut promises: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut of = None;
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("  ") {
            None => {
                let (id, _) = line.split_once(": ").unwrap_or_else(|| panic!("no words: {line}"));
                assert!(promises.insert(id, Vec::new()).is_none(), "{id} twice");
                of = Some(id);
            }
            Some(place) => {
                let place = place.strip_suffix(')').and_then(|place| place.split_once(" ("));
                let place = place.unwrap_or_else(|| panic!("no test: {line}"));
                promises.get_mut(of.unwrap()).unwrap().push(place);
            }
        }
    }
    promises
}

/// What is wrong with the places of a promise.
fn faults(
    id: &str,
    places: &[(&str, &str)],
    tests: impl Fn(&str) -> Option<BTreeSet<String>>,
) -> Vec<String> {
    let mut faults = Vec::new();
    if places.is_empty() {
        faults.push(format!("{id}: no test"));
    }
    for (path, name) in places {
        match tests(path) {
            None => faults.push(format!("{id}: no source {path}")),
            Some(names) if !names.contains(*name) => {
                faults.push(format!("{id}: {path} has no test {name} that always runs"));
            }
            Some(_) => {}
        }
    }
    faults
}

#[test]
fn every_promise_has_a_test() {
    let root = sources::root().unwrap();
    let table = fs::read_to_string(root.join("tests/mint/promises.txt")).unwrap();
    let promises = read(&table);
    let rows = promises.keys().filter(|id| id.starts_with("row ")).count();
    assert_eq!((promises.len() - rows, rows), (PROMISES, ROWS));
    for number in (1..=18).filter(|number| *number != 14) {
        assert!(promises.contains_key(format!("MQ-{number}").as_str()), "MQ-{number}");
    }
    let tests = |path: &str| fs::read_to_string(root.join(path)).ok().map(|text| tests_of(&text));
    let wrong: Vec<_> =
        promises.iter().flat_map(|(id, places)| faults(id, places, tests)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn rejects_places_that_hold_no_test() {
    let source = "#[test]\nfn a() {}\n#[test]\n#[ignore]\nfn b() {}\n#[tokio::test]\n// Why.\n\
                  async fn c() {}\nfn d() {}\nfunc TestE(t *testing.T) {\n";
    let tests = |path: &str| (path == "a.rs").then(|| tests_of(source));
    let table = "# Words.\nMQ-1: said.\n  a.rs (a)\n  a.rs (c)\n  a.rs (TestE)\n\nMQ-2: said.\n";
    let promises = read(table);
    assert_eq!(faults("MQ-1", &promises["MQ-1"], tests), Vec::<String>::new());
    assert_eq!(faults("MQ-2", &promises["MQ-2"], tests).len(), 1, "none at all");
    for place in [("a.rs", "b"), ("a.rs", "d"), ("b.rs", "a")] {
        assert_eq!(faults("MQ-1", &[place], tests).len(), 1, "{place:?}");
    }
}
