//! Rules for Rust sources.

use crate::finding::Finding;
use crate::layers::names_after;
use crate::lexer::{code, line_of, test_modules, without_tests, Language};

/// Longest line of Rust, in characters.
pub(crate) const COLUMNS: usize = 100;

/// What must not stand in the sidecar's library, and what to do instead.
const FORBIDDEN: [(&str, &str); 8] = [
    (".unwrap()", "return an error, or say with the type that it can't fail"),
    (".expect(", "return an error, or say with the type that it can't fail"),
    ("panic!(", "return an error"),
    ("unbounded", "every queue has a bound"),
    ("println!", "use tracing; only the program prints"),
    ("eprintln!", "use tracing; only the program prints"),
    ("tokio::signal", "signals belong to the program"),
    ("process::exit", "only the program ends the process"),
];

/// Files that are the program.
const PROGRAM: [&str; 2] = ["sidecar/src/main.rs", "sidecar/src/cli.rs"];

/// Directories of sources whose files open with a doc comment.
const DOCUMENTED: [&str; 7] =
    ["sidecar/src/", "proto/src/", "proto/generate/", "ffi/src/", "tests/", "fuzz/", "benches/"];

/// Checks the shape of any Rust file.
pub(crate) fn shape(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if DOCUMENTED.iter().any(|directory| path.starts_with(directory)) && !text.starts_with("//!") {
        findings.push(Finding::new(path, 1, "opens without a doc comment (`//!`)"));
    }
    for (index, line) in text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > COLUMNS {
            let text = format!("{columns} columns; the limit is {COLUMNS}");
            findings.push(Finding::new(path, index + 1, text));
        }
    }
    findings
}

/// Checks a file of the sidecar for what a library must not do.
pub(crate) fn library(path: &str, text: &str) -> Vec<Finding> {
    let program = PROGRAM.contains(&path) || path.starts_with("sidecar/src/cli/");
    if program || !path.starts_with("sidecar/src/") {
        return Vec::new();
    }
    let code = without_tests(&code(text, Language::Rust));
    let mut findings = Vec::new();
    for (pattern, remedy) in FORBIDDEN {
        for (start, _) in code.match_indices(pattern) {
            let before = code[..start].chars().next_back();
            let word = before.is_some_and(|c| c == '_' || c.is_alphanumeric());
            // `println!` inside of `eprintln!`, `panic!` inside of `dont_panic!`.
            if word && pattern.contains('!') {
                continue;
            }
            let line = line_of(&code, start);
            findings.push(Finding::new(path, line, format!("`{pattern}`: {remedy}")));
        }
    }
    for (root, name) in [("tokio", "signal"), ("process", "exit"), ("std::process", "exit")] {
        for (_, line) in names_after(&code, root).into_iter().filter(|(found, _)| found == name) {
            let known = |f: &Finding| f.line == line && f.text.contains(name);
            if !findings.iter().any(known) {
                let text = format!("`{root}::{name}` belongs to the program");
                findings.push(Finding::new(path, line, text));
            }
        }
    }
    findings
}

/// Paths of the files that hold a file's test-only modules.
pub(crate) fn test_files(path: &str, text: &str) -> Vec<String> {
    let directory = match path.rsplit_once('/') {
        Some((directory, "mod.rs" | "lib.rs" | "main.rs")) => directory,
        _ => path.trim_end_matches(".rs"),
    };
    let names = test_modules(&code(text, Language::Rust));
    names
        .iter()
        .flat_map(|name| [format!("{directory}/{name}.rs"), format!("{directory}/{name}/mod.rs")])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    #[test]
    fn rejects_each_forbidden_word() {
        let planted = [
            "fn f() { g().unwrap() }",
            "fn f() { g().expect(\"x\") }",
            "fn f() { panic!(\"x\") }",
            "fn f() { mpsc::unbounded_channel() }",
            "fn f() { println!() }",
            "fn f() { eprintln!() }",
            "use tokio::signal::unix;",
            "fn f() { std::process::exit(1) }",
            "use tokio::{net, signal};",
            "use std::process::{exit, Command};",
        ];
        for text in planted {
            assert_eq!(library("sidecar/src/job/mod.rs", text).len(), 1, "{text}");
            assert!(library("sidecar/src/main.rs", text).is_empty());
            assert!(library("sidecar/src/cli.rs", text).is_empty());
            assert!(library("tests/tidy.rs", text).is_empty());
            let test = format!("#[cfg(test)]\nmod tests {{\n{text}\n}}\n");
            assert!(library("sidecar/src/job/mod.rs", &test).is_empty(), "{text}");
            let after = format!("{test}{text}");
            assert_eq!(library("sidecar/src/job/mod.rs", &after).len(), 1, "{text}");
            let comment = format!("// {text}\n/* {text} */\nconst A: &str = r#\"{text}\"#;");
            assert!(library("sidecar/src/job/mod.rs", &comment).is_empty(), "{text}");
        }
        let text = "fn f() { g.unwrap_or(1); h.expected(); dont_panic!(); }";
        assert!(library("sidecar/src/job/mod.rs", text).is_empty());
    }

    #[test]
    fn rejects_bad_shapes() {
        let long = format!("//! Doc.\n// {}\n// {}\n", "x".repeat(97), "ä".repeat(98));
        assert_eq!(lines(&shape("ffi/src/a.rs", &long)), ["3: 101 columns; the limit is 100"]);
        let want = ["1: opens without a doc comment (`//!`)"];
        assert_eq!(lines(&shape("proto/src/a.rs", "// Doc.\n")), want);
        assert_eq!(lines(&shape("tests/a.rs", "")), want);
        assert!(shape("examples/a.rs", "fn f() {}\n").is_empty());
    }

    #[test]
    fn knows_the_files_of_test_modules() {
        let text = "#[cfg(test)]\nmod tests;\n";
        let want = ["sidecar/src/a/tests.rs", "sidecar/src/a/tests/mod.rs"];
        assert_eq!(test_files("sidecar/src/a.rs", text), want);
        assert_eq!(test_files("sidecar/src/a/mod.rs", text), want);
        assert!(test_files("sidecar/src/a.rs", "mod tests;").is_empty());
    }
}
