//! Target 9: a configuration file of any bytes is read, or refused with where and what.

use std::path::Path;

use gopool_sv2::config::{Config, Problems};

/// What is read can be printed and read again; what is refused has problems in the order of the
/// file, each on one line.
pub fn toml_any(bytes: &[u8]) {
    let path = Path::new("/etc/sidecar.toml");
    match Config::from_bytes(bytes, path) {
        Ok(config) => {
            let printed = config.to_toml();
            let again = Config::from_bytes(printed.as_bytes(), path);
            assert_eq!(again.as_ref(), Ok(&config), "{printed}");
        }
        Err(problems) => {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
            let mut last = (0, 0);
            let count = problems.iter().count();
            assert!((1..=Problems::MAX + 1).contains(&count), "{count} problems");
            for problem in problems.iter() {
                let text = problem.to_string();
                assert!(text.starts_with("/etc/sidecar.toml:"), "{text}");
                assert!(!problem.text.is_empty() && text.len() < 4096, "{text}");
                assert!(!text.chars().any(char::is_control), "{text:?}");
                assert!(problem.line <= lines, "line {} of {lines}: {text}", problem.line);
                assert_eq!(problem.line == 0, problem.column == 0, "{text}");
                assert!((problem.line, problem.column) >= last, "out of order: {text}");
                last = (problem.line, problem.column);
            }
        }
    }
}
