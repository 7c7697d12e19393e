//! Taste as a test: the rules of this repository that a compiler does not know.
//!
//! Each rule is a function over a path and a text, with tests of its own that plant a violation;
//! here the rules meet the sources.

#[path = "tidy/ffi.rs"]
mod ffi;
#[path = "tidy/finding.rs"]
mod finding;
#[path = "tidy/go.rs"]
mod go;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/proto.rs"]
mod proto;
#[path = "tidy/rust.rs"]
mod rust;
#[path = "tidy/settings.rs"]
mod settings;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use finding::Finding;

/// Most lines of a source file. 400 are the aim.
const LINES_MAX: usize = 500;

/// Directories whose files are made by machines, or are data.
const SKIPPED: [&str; 6] = [".git", "target", "gen", "sv2pb", "vectors", "node_modules"];

/// Endings of source files.
const SOURCES: [&str; 5] = ["rs", "go", "c", "h", "proto"];

/// Endings of files that people write besides.
const TEXTS: [&str; 4] = ["md", "toml", "sh", "txt"];

/// A source file of the repository.
struct Source {
    /// From the root of the repository, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn has_ending(&self, ending: &str) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, last)| last == ending)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(root().join(path)).map_err(at(path))
}

/// Puts the path into an error.
fn at(path: &str) -> impl Fn(io::Error) -> io::Error + '_ {
    move |error| io::Error::new(error.kind(), format!("{path}: {error}"))
}

/// All sources. Fails on what can't be read: a rule that sees no files would hold.
fn sources() -> io::Result<Vec<Source>> {
    files(is_source)
}

/// All files whose names are `wanted`.
fn files(wanted: fn(&str) -> bool) -> io::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut open = vec![String::new()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(root().join(&directory)).map_err(at(&directory))? {
            let entry = entry.map_err(at(&directory))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = match directory.as_str() {
                "" => name.clone(),
                directory => format!("{directory}/{name}"),
            };
            let kind = entry.file_type().map_err(at(&path))?;
            if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
                open.push(path);
            } else if kind.is_file() && wanted(&name) {
                let text = read(&path)?;
                sources.push(Source { path, text });
            }
        }
    }
    sources.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(sources)
}

fn is_source(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    SOURCES.contains(&ending) && !name.ends_with(".pb.go")
}

fn is_text(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    is_source(name) || TEXTS.contains(&ending) || name == "Makefile"
}

/// The rule on what a merge leaves where two changes met.
fn half_merged(path: &str, text: &str) -> Vec<Finding> {
    let marks = ['<', '>'].map(|mark| format!("{} ", String::from(mark).repeat(7)));
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| marks.iter().any(|mark| line.starts_with(mark)))
        .map(|(index, _)| Finding::new(path, index + 1, "a merge that was not finished"))
        .collect()
}

/// The rule on the length of files.
fn length(path: &str, text: &str) -> Vec<Finding> {
    match text.lines().count() {
        0..=LINES_MAX => Vec::new(),
        lines => {
            vec![Finding::new(path, lines, format!("{lines} lines; the limit is {LINES_MAX}"))]
        }
    }
}

/// Fails with every finding on a line of its own.
fn none(findings: impl IntoIterator<Item = Finding>) {
    let findings: Vec<String> = findings.into_iter().map(|finding| finding.to_string()).collect();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

/// The sources with an ending, at least `least` of them.
fn with_ending(ending: &str, least: usize) -> io::Result<Vec<Source>> {
    let mut found = sources()?;
    found.retain(|source| source.has_ending(ending));
    if found.len() < least {
        let text = format!("only {} .{ending} files found", found.len());
        return Err(io::Error::other(text));
    }
    Ok(found)
}

#[test]
fn keeps_files_short() {
    let sources = sources().unwrap();
    assert!(sources.iter().any(|source| source.path == "tests/tidy.rs"));
    none(sources.iter().flat_map(|source| length(&source.path, &source.text)));
}

#[test]
fn rejects_long_files() {
    assert!(length("a.go", &"x\n".repeat(500)).is_empty());
    assert_eq!(length("a.go", &"x\n".repeat(501)).len(), 1);
}

#[test]
fn holds_no_half_merged_files() {
    let texts = files(is_text).unwrap();
    assert!(texts.iter().any(|text| text.path == "ARCHITECTURE.md"));
    none(texts.iter().flat_map(|text| half_merged(&text.path, &text.text)));
}

#[test]
fn rejects_half_merged_files() {
    let mark = "<".repeat(7);
    assert!(half_merged("a.md", "a < b\n=======\n").is_empty());
    assert_eq!(half_merged("a.md", &format!("a\n{mark} HEAD\n")).len(), 1);
}

#[test]
fn knows_which_files_are_sources() {
    for name in ["a.rs", "a.go", "a_test.go", "a.c", "a.h", "a.proto"] {
        assert!(is_source(name), "{name}");
    }
    for name in ["a.pb.go", "a_grpc.pb.go", "a.toml", "rs", "a.rs.txt"] {
        assert!(!is_source(name), "{name}");
    }
    let sources = sources().unwrap();
    let machine_made = |source: &&Source| source.path.contains("/gen/");
    assert!(!sources.iter().any(|source| machine_made(&source)));
}

#[test]
fn keeps_the_shape_of_rust_files() {
    let sources = with_ending("rs", 10).unwrap();
    none(sources.iter().flat_map(|source| rust::shape(&source.path, &source.text)));
}

#[test]
fn keeps_the_library_a_library() {
    let sources = with_ending("rs", 10).unwrap();
    let test_files: BTreeSet<String> =
        sources.iter().flat_map(|source| rust::test_files(&source.path, &source.text)).collect();
    let library = sources.iter().filter(|source| !test_files.contains(&source.path));
    none(library.flat_map(|source| rust::library(&source.path, &source.text)));
}

#[test]
fn keeps_every_export_behind_the_boundary() {
    let mut sources = with_ending("rs", 10).unwrap();
    sources.retain(|source| source.path.starts_with("ffi/src/"));
    let exports: usize = sources.iter().map(|source| ffi::exports(&source.text).len()).sum();
    assert!(exports >= 12, "only {exports} exports found");
    none(sources.iter().flat_map(|source| ffi::check(&source.path, &source.text)));
}

#[test]
fn keeps_imports_going_down() {
    let sources = with_ending("rs", 10).unwrap();
    none(sources.iter().flat_map(|source| match source.path.starts_with("sidecar/src/") {
        true => layers::check(&source.path, &source.text),
        false => Vec::new(),
    }));
    let mut edges = BTreeSet::new();
    for source in &sources {
        if let Some(layer) = layers::layer_of(&source.path) {
            let uses = layers::uses(&source.path, &source.text).into_keys();
            edges.extend(uses.map(|used| (layer.to_owned(), used)));
        }
    }
    assert!(edges.contains(&("config".to_owned(), "keys".to_owned())), "{edges:?}");
    none(layers::circles(&edges));
}

#[test]
fn keeps_the_contract_commented() {
    let sources = with_ending("proto", 3).unwrap();
    none(sources.iter().flat_map(|source| proto::check(&source.path, &source.text)));
}

#[test]
fn keeps_go_exports_documented() {
    let sources = with_ending("go", 5).unwrap();
    let packages = ["go-bindings/", "tests/sv2client/"];
    let ours = sources.iter().filter(|source| {
        packages.iter().any(|package| source.path.starts_with(package))
            && !source.path.ends_with("_test.go")
    });
    none(ours.flat_map(|source| go::check(&source.path, &source.text)));
}

#[test]
fn keeps_every_setting_in_the_example() {
    let keys = settings::keys(&read("sidecar/src/config/model.rs").unwrap());
    assert!(keys.len() >= 20, "only {} settings found", keys.len());
    let path = "examples/config/sidecar.toml";
    none(settings::example(path, &read(path).unwrap(), &keys));
}

#[test]
fn keeps_the_portable_poly1305_configured() {
    let path = ".cargo/config.toml";
    none(settings::cargo(path, &read(path).unwrap()));
}

#[test]
#[allow(unexpected_cfgs, reason = "cargo knows the names of features, not those of rustflags")]
fn builds_with_the_portable_poly1305() {
    let portable = cfg!(poly1305_force_soft);
    assert!(
        portable,
        "this build lacks `--cfg poly1305_force_soft`: a RUSTFLAGS variable, or a target's \
         rustflags, silently replaces the flags of .cargo/config.toml. Unset it (encryption of \
         SV2's small messages is about three times slower without the flag)"
    );
}
