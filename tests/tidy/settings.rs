//! Rules for settings: of the sidecar (each key is in the example file) and of cargo.

use crate::finding::Finding;
use crate::lexer::{code, Language};

/// The settings in `model`, the source of the tree of settings: (section, key). A field whose type
/// is a struct of the tree is a section, also inside of another one.
pub(crate) fn keys(model: &str) -> Vec<(String, String)> {
    let code = code(model, Language::Rust);
    let mut keys = Vec::new();
    let mut open = fields(&code, "Config");
    while let Some((section, kind)) = open.pop() {
        for (key, kind) in fields(&code, &kind) {
            match fields(&code, &kind).is_empty() {
                true => keys.push((section.clone(), key)),
                false => open.push((format!("{section}.{key}"), kind)),
            }
        }
    }
    keys.sort();
    keys
}

/// Public fields of a struct: (name, type).
fn fields(code: &str, name: &str) -> Vec<(String, String)> {
    let opening = format!("pub struct {name} {{");
    let body = code.split_once(&opening).and_then(|(_, rest)| rest.split_once('}'));
    let body = body.map_or("", |(body, _)| body);
    body.lines()
        .filter_map(|line| line.trim().strip_prefix("pub ")?.trim_end_matches(',').split_once(": "))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

/// Checks that each setting is assigned in the example file, below its section.
pub(crate) fn example(path: &str, text: &str, keys: &[(String, String)]) -> Vec<Finding> {
    let mut section = "";
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        } else if let Some((key, _)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            found.push((section.to_owned(), key.trim().to_owned()));
        }
    }
    let missing = keys.iter().filter(|key| !found.contains(key));
    missing
        .map(|(section, key)| Finding::new(path, 0, format!("lacks `{key}` below [{section}]")))
        .collect()
}

/// Lines of cargo's configuration without which the program works, but slowly, or keeps memory: the
/// portable Poly1305, SQLite's wait for data alone, and what the allocator gives back.
const FAST: [&str; 3] = [
    "rustflags = [\"--cfg\", \"poly1305_force_soft\"]",
    "LIBSQLITE3_FLAGS = \"-DHAVE_FDATASYNC=1\"",
    "JEMALLOC_SYS_WITH_MALLOC_CONF = \
     \"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0\"",
];

/// Checks that cargo's configuration has each of [`FAST`].
pub(crate) fn cargo(path: &str, text: &str) -> Vec<Finding> {
    let has = |wanted: &&str| text.lines().any(|line| line.trim() == *wanted);
    let missing = FAST.iter().filter(|wanted| !has(wanted));
    missing.map(|wanted| Finding::new(path, 0, format!("does not set `{wanted}`"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    #[test]
    fn rejects_an_example_that_lacks_a_key() {
        let model = "/// Doc.\npub struct Config {\n    /// A.\n    pub listen: Listen,\n    \
                     pub log: Log,\n}\npub struct File {\n    pub name: u8,\n}\n\
                     pub struct Listen {\n    pub address: SocketAddr,\n}\n\
                     pub struct Log {\n    pub filter: String,\n    private: u8,\n    \
                     pub file: File,\n}\n";
        let keys = keys(model);
        let names: Vec<String> = keys.iter().map(|(a, b)| format!("{a}.{b}")).collect();
        assert_eq!(names, ["listen.address", "log.filter", "log.file.name"]);
        let good = "[listen]\naddress = 1\n[log]\nfilter = 2\n[log.file]\nname = 3\n";
        assert!(example("a.toml", good, &keys).is_empty());
        let bad = "[listen]\n# address = 1\nfilter = 2\n[log]\nname = 3\n";
        let want = [
            "0: lacks `address` below [listen]",
            "0: lacks `filter` below [log]",
            "0: lacks `name` below [log.file]",
        ];
        assert_eq!(lines(&example("a.toml", bad, &keys)), want);
    }

    #[test]
    fn rejects_a_cargo_configuration_without_the_flags() {
        let good = FAST.join("\n");
        let good = good.as_str();
        assert!(cargo("config.toml", good).is_empty());
        assert_eq!(cargo("config.toml", &good.replace("rustflags", "# rustflags")).len(), 1);
        assert_eq!(cargo("config.toml", &good.replace("_soft", "_avx")).len(), 1);
        assert_eq!(cargo("config.toml", &good.replace("SYNC=1", "SYNC=0")).len(), 1);
        assert_eq!(cargo("config.toml", &good.replace("decay_ms:1000", "decay_ms:0")).len(), 1);
        assert_eq!(cargo("config.toml", "").len(), 3);
    }
}
