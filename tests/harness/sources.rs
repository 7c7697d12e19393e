//! The tests that sources hold, for tables that say where a promise is kept.

use std::path::{Path, PathBuf};

/// A test function of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// It runs only where it is asked for.
    pub ignored: bool,
}

/// The root of the repository.
///
/// # Errors
/// The sources are not where they were when this was built.
pub fn root() -> std::io::Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()
}

/// The test functions of a text: those behind `#[test]` or `#[tokio::test]`, also in `proptest!`,
/// and Go's.
#[must_use]
pub fn tests_of(text: &str) -> Vec<Test> {
    let mut tests = Vec::new();
    let (mut attribute, mut ignored) = (false, false);
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[") || line.starts_with("//") {
            attribute |= line.starts_with("#[test") || line.starts_with("#[tokio::test");
            ignored |= line.starts_with("#[") && line.contains("ignore");
            continue;
        }
        if attribute || line.starts_with("func Test") {
            let function = line.strip_prefix("async ").unwrap_or(line);
            let name = function.strip_prefix("fn ").or_else(|| function.strip_prefix("func "));
            let name = name.and_then(|name| name.split('(').next());
            tests.extend(name.map(|name| Test { name: name.to_owned(), ignored }));
        }
        (attribute, ignored) = (false, false);
    }
    tests
}
