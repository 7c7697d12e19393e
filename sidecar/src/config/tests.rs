//! Promises of the configuration file.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::schema::{Value, SECTIONS};
use super::*;

/// Set to any value, the test below writes the example file instead of comparing it.
const UPDATE: &str = "GOPOOL_SV2_UPDATE_EXAMPLES";

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/config").join(name)
}

pub(super) fn parse(text: &str) -> Result<Config, Problems> {
    Config::from_bytes(text.as_bytes(), Path::new("sidecar.toml"))
}

/// The printed problems of a text that has some.
pub(super) fn problems(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(_) => panic!("no problem in {text:?}"),
        Err(problems) => problems.to_string().lines().map(str::to_owned).collect(),
    }
}

/// The one printed problem of a text.
pub(super) fn problem(text: &str) -> String {
    let mut problems = problems(text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.remove(0)
}

#[test]
fn keeps_the_defaults_valid() {
    assert_eq!(parse("").unwrap(), Config::default());
    assert_eq!(parse(&Config::default().to_toml()).unwrap(), Config::default());
    assert!(Config::default().limits.handshakes() >= 1);
}

#[test]
fn keeps_the_example_file_equal_to_the_defaults() {
    let path = example("sidecar.toml");
    let text = Config::default().to_toml();
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    assert!(kept == text, "{} is old: run this test with {UPDATE}=1", path.display());
    assert!(text.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn loads_the_example_files_from_their_directory() {
    for name in ["minimal.toml", "sidecar.toml"] {
        let path = example(name);
        let config = Config::load(&path).unwrap();
        let mut want = Config::default();
        want.resolve(path.parent().unwrap());
        assert_eq!(config, want);
        assert_eq!(config.authority.key_file, KeyFile::Path(example("authority.key")));
    }
}

#[test]
fn reports_all_problems_at_once_with_their_places() {
    let text = "\
[listen]
address = \"0.0.0.0\"
adress = 3
max_connections = 0

[limts]
frame_bytes = 1

[pool]
sidecar_id = 7
  keepalive_interval_ms = 5000
";
    let want = [
        "sidecar.toml:2:11: listen.address: \"0.0.0.0\" has no port: write an IP address and a \
         port, for example \"0.0.0.0:3336\" or \"[::]:3336\"",
        "sidecar.toml:3:1: listen.adress: unknown key; did you mean `address`?",
        "sidecar.toml:4:19: listen.max_connections: 0 is out of range: write a whole number from \
         1 to 1000000",
        "sidecar.toml:6:2: limts: unknown section; did you mean `limits`?",
        "sidecar.toml:10:14: pool.sidecar_id: must be text, not a whole number: write it in \
         double quotes",
        "sidecar.toml:11:27: pool.keepalive_interval_ms: 5000 is out of range: write a whole \
         number from 5001 to 3600000",
    ];
    assert_eq!(problems(text), want);
}

#[test]
fn rejects_unknown_keys_and_says_what_was_meant() {
    let cases = [
        ("[pool]\nadress = 1", "pool.adress: unknown key; did you mean `address`?"),
        ("[pool]\nframe_bytes = 1", "did you mean `frame_bytes` below [limits]?"),
        ("[log]\ncolour = 1", "[log] knows format, filter, journal"),
        ("filter = \"info\"", "unknown key outside a section; did you mean `filter` below [log]?"),
        (
            "[bank]\nurl = \"x\"",
            "the sections are [listen], [authority], [pool], [pool.tls], [extensions], [limits], \
             [mint], [mint.processor], [admin], [stats], [log]",
        ),
        ("[log]\n\"a \\n b\" = 1", "log.\"a \\n b\": unknown key"),
        ("\"\" = 1", "\"\": unknown key"),
    ];
    for (text, want) in cases {
        let got = problem(text);
        assert!(got.contains(want), "{got:?} lacks {want:?}");
    }
}

#[test]
fn rejects_wrong_types() {
    let cases = [
        ("[listen]\nmax_connections = \"5\"", "write 5 without quotes"),
        ("[listen]\nmax_connections = \"many\"", "not text: write one from 1 to 1000000"),
        ("[listen]\nmax_connections = 1.5", "not a number with a fraction"),
        ("[listen]\nmax_connections = true", "not true or false"),
        ("[listen]\naddress = [\"0.0.0.0:1\"]", "must be text, not a list"),
        ("[log]\nfilter = 2001-01-01", "must be text, not a date"),
        ("[log]\nfilter = { info = 1 }", "must be text, not a table"),
        ("listen = 5", "listen: must be a section: write [listen] on its own line"),
        ("[[listen]]\naddress = \"0.0.0.0:1\"", "must be a section"),
    ];
    for (text, want) in cases {
        let got = problem(text);
        assert!(got.contains(want), "{got:?} lacks {want:?}");
    }
}

#[test]
fn holds_every_number_to_its_range() {
    let mut checked = 0;
    for section in SECTIONS {
        for key in section.keys {
            let Value::Int { min, max, .. } = key.value else { continue };
            let text = |number: i128| format!("[{}]\n{} = {number}", section.name, key.name);
            for bad in [i128::from(min) - 1, i128::from(max) + 1, -1, i128::MAX] {
                let got = problem(&text(bad));
                assert!(got.contains(&format!("from {min} to {max}")), "{got}");
                assert!(got.starts_with(&format!("sidecar.toml:2:{}:", key.name.len() + 4)));
            }
            for good in [min, max] {
                // The ends may cross another key's default, but are in range.
                let got = parse(&text(i128::from(good))).err();
                let got = got.map(|problems| problems.to_string()).unwrap_or_default();
                assert!(!got.contains("out of range"), "{got}");
            }
            checked += 1;
        }
    }
    assert!(checked >= 18, "{checked}");
}

#[test]
fn puts_every_number_into_its_own_field() {
    for section in SECTIONS {
        for key in section.keys {
            let Value::Int { min, get, .. } = key.value else { continue };
            let odd = get(&Config::default()) + 1;
            let text = format!("[{}]\n{} = {odd}", section.name, key.name);
            let printed = parse(&text).unwrap().to_toml();
            let defaults = Config::default().to_toml();
            let changed: Vec<_> =
                printed.lines().zip(defaults.lines()).filter(|(new, old)| new != old).collect();
            assert_eq!(changed.len(), 1, "{}", key.name);
            assert_eq!(changed[0].0, format!("{} = {odd}", key.name));
            assert!(odd > min);
        }
    }
}

#[test]
fn rejects_texts_that_mean_nothing() {
    let long = format!("[pool]\nsidecar_id = \"{}\"", "x".repeat(65));
    let cases = [
        ("[listen]\naddress = \"localhost:3336\"", "is not a socket address"),
        ("[listen]\naddress = \"0.0.0.0:0\"", "port 0"),
        ("[authority]\nkey_file = \"\"", "is empty"),
        ("[authority]\nkey_file = \"a\\u0000b\"", "control characters"),
        ("[authority]\nkey_file = \"credential:../key\"", "is not the name of a credential"),
        ("[authority]\nkey_file = \"credential:\"", "is not the name of a credential"),
        ("[pool]\naddress = \"unix:\"", "is empty"),
        ("[pool]\naddress = \"unix://host/path\"", "names a host"),
        ("[pool]\naddress = \"unix:@name\"", "abstract sockets"),
        ("[pool]\nsidecar_id = \"\"", "1 to 64 printable"),
        ("[pool]\nsidecar_id = \"two words\"", "1 to 64 printable"),
        (long.as_str(), "1 to 64 printable"),
        ("[log]\nformat = \"jsn\"", "did you mean `json`?"),
        ("[log]\nfilter = \"\"", "the filter is empty"),
        ("[log]\nfilter = \"dbug\"", "did you mean `debug`?"),
    ];
    for (text, want) in cases {
        let got = problem(text);
        assert!(got.contains(want), "{got:?} lacks {want:?}");
    }
    let id = "x".repeat(64);
    assert_eq!(parse(&format!("[pool]\nsidecar_id = \"{id}\"")).unwrap().pool.sidecar_id, id);
}

#[cfg(feature = "bin")]
#[test]
fn rejects_filters_that_are_none() {
    let got = problem("[log]\nfilter = \"info=loud\"");
    assert!(got.starts_with("sidecar.toml:2:10: log.filter: \"info=loud\": "), "{got}");
    assert!(got.contains("write levels and targets"), "{got}");
}

#[test]
fn rejects_settings_that_contradict_each_other() {
    let cases = [
        (
            "[authority]\nkey_file = \"a\"\n[log]\njournal = \"a\"",
            "sidecar.toml:4:11: log.journal: is the file of the authority key",
        ),
        ("[pool]\nreconnect_min_ms = 6000", "2:20: pool.reconnect_min_ms:"),
        ("[pool]\nreconnect_max_ms = 10", "2:20: pool.reconnect_max_ms:"),
        ("[limits]\nmax_in_flight = 1000", "2:17: limits.max_in_flight:"),
        ("[limits]\nframe_bytes = 2000", "frame_bytes_before_setup (2048) is above frame_bytes"),
        ("[limits]\nframe_bytes = 2000000", "frame_bytes (2000000) is above outbox_bytes"),
    ];
    for (text, want) in cases {
        let got = problem(text);
        assert!(got.contains(want), "{got:?} lacks {want:?}");
    }
    let path = format!("[pool]\naddress = \"unix:/{}\"", "x".repeat(107));
    assert!(problem(&path).contains("has 108 bytes with its directory"));
    let path = format!("[pool]\naddress = \"unix:/{}\"", "x".repeat(106));
    assert!(parse(&path).is_ok());
}

#[test]
fn rejects_keys_that_are_given_twice() {
    let got = problem("[log]\nfilter = \"info\"\nfilter = \"debug\"\n");
    assert_eq!(got, "sidecar.toml:3:1: \"filter\" is given twice: keep one");
    let got = problem("[log]\nfilter = \"info\"\n[log]\nformat = \"json\"\n");
    assert!(got.starts_with("sidecar.toml:3:2: \"log\" is given twice"), "{got}");
}

#[test]
fn names_the_line_of_invalid_toml_and_the_other_problems() {
    let got = problems("[listen]\nmax_connections = 0\naddress = \n[pool\nsidecar_id = \"a b\"\n");
    assert!(got[0].starts_with("sidecar.toml:2:19: listen.max_connections: 0 is out"), "{got:?}");
    assert!(got[1].starts_with("sidecar.toml:3:"), "{got:?}");
    assert!(got[1].contains(": invalid TOML: "), "{got:?}");
    assert!(got[2].starts_with("sidecar.toml:4:"), "{got:?}");
}

#[test]
fn rejects_files_that_can_not_be_read() {
    let missing = Config::load(Path::new("/nonexistent/sidecar.toml")).unwrap_err().to_string();
    assert!(missing.starts_with("/nonexistent/sidecar.toml: no such file: "), "{missing}");
    let directory = Config::load(&example("")).unwrap_err().to_string();
    assert!(directory.contains("is a directory"), "{directory}");
    let path = Path::new("a.toml");
    let latin = Config::from_bytes(b"[log]\n# caf\xe9\n", path).unwrap_err().to_string();
    assert!(latin.starts_with("a.toml:2:6: is not UTF-8"), "{latin}");
    let long = vec![b'\n'; FILE_BYTES_MAX as usize + 1];
    let long = Config::from_bytes(&long, path).unwrap_err().to_string();
    assert!(long.contains("is longer than 1048576 bytes"), "{long}");
}

#[test]
fn bounds_what_it_reports() {
    let many: String = (0..5_000).map(|i| format!("unknown_{i} = 1\n")).collect();
    let got = problems(&many);
    assert_eq!(got.len(), Problems::MAX + 1);
    assert!(got[Problems::MAX].contains("and at least 4900 more problems"), "{got:?}");
    let wide = format!("[listen]\naddress = \"{}\"", "x".repeat(100_000));
    assert!(problem(&wide).len() < 400);
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(!problems(&deep).is_empty());
}

#[test]
fn reads_values_in_every_spelling() {
    let config = parse(
        "listen.address = '[::1]:65535'\nlisten.max_connections = 0x_ff\n\
         authority = { key_file = \"credential:pool.key\" }\n\
         [pool]\naddress = \"unix:///run/a b.sock\"\n[log]\njournal = \"answers.jsonl\"\n",
    );
    assert!(config.is_err(), "an underscore after the prefix is no TOML");
    let text = "listen.address = '[::1]:65535'\nlisten.max_connections = 0x0_ff\n\
        authority = { key_file = \"credential:pool.key\" }\n\
        [pool]\naddress = \"unix:///run/a b.sock\"\n[log]\njournal = \"answers.jsonl\"\n";
    let config = Config::from_bytes(text.as_bytes(), Path::new("/etc/sv2/sidecar.toml")).unwrap();
    assert_eq!(config.listen.address.to_string(), "[::1]:65535");
    assert_eq!(config.listen.max_connections, 255);
    assert_eq!(config.authority.key_file, KeyFile::Credential("pool.key".to_owned()));
    assert_eq!(config.pool.address, PoolAddress::Unix(PathBuf::from("/run/a b.sock")));
    assert_eq!(config.log.journal.as_deref(), Some(Path::new("/etc/sv2/answers.jsonl")));
}

/// What every input must keep: an answer, bounded and well-formed, and a round trip when good.
fn promises(bytes: &[u8]) {
    match Config::from_bytes(bytes, Path::new("/etc/sidecar.toml")) {
        Ok(config) => {
            let printed = config.to_toml();
            let again = Config::from_bytes(printed.as_bytes(), Path::new("/other/sidecar.toml"));
            assert_eq!(again.unwrap(), config, "{printed}");
        }
        Err(problems) => {
            let count = problems.iter().count();
            assert!((1..=Problems::MAX + 1).contains(&count));
            let text = problems.to_string();
            assert_eq!(text.lines().count(), count, "{text:?}");
            assert!(text.lines().all(|line| line.starts_with("/etc/sidecar.toml:")), "{text:?}");
            assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        }
    }
}

/// A line of a file that is right, or nearly.
fn some_line() -> impl Strategy<Value = String> {
    let keys: Vec<(&str, &str)> =
        SECTIONS.iter().flat_map(|s| s.keys.iter().map(|key| (s.name, key.name))).collect();
    let value = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        (0..100_000_i64).prop_map(|number| number.to_string()),
        "\"[ -~]{0,20}\"",
        Just("\"unix:/a\"".to_owned()),
        "[\\[{\"'=,.0-9a-z#]{0,12}",
    ];
    (prop::sample::select(keys), any::<bool>(), value).prop_map(
        |((section, key), dotted, value)| match dotted {
            true => format!("{section}.{key} = {value}\n"),
            false => format!("[{section}]\n{key} = {value}\n"),
        },
    )
}

proptest! {
    #[test]
    fn survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        promises(&bytes);
    }

    #[test]
    fn survives_any_text(text in any::<String>()) {
        promises(text.as_bytes());
    }

    #[test]
    fn survives_any_lines(lines in prop::collection::vec(some_line(), 0..4)) {
        promises(lines.concat().as_bytes());
    }

    #[test]
    fn survives_damage_to_a_valid_file(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let mut bytes = Config::default().to_toml().into_bytes();
        for (index, byte, kind) in edits {
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => { bytes.remove(at); }
                _ => bytes.insert(at, byte),
            }
        }
        promises(&bytes);
    }
}
