//! The command line, as an operator meets it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use gopool_sv2_tests::binaries;
use tempfile::TempDir;

fn run(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(&binaries().unwrap().sidecar)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn keygen_makes_a_private_file_once_and_prints_what_miners_type() {
    let directory = TempDir::new().unwrap();
    let made = run(directory.path(), &["keygen", "--out", "k", "--address", "pool.example:3336"]);
    assert!(made.status.success(), "{made:?}");
    let out = text(&made.stdout);
    let [public, url] = out.lines().collect::<Vec<_>>()[..] else { panic!("{out}") };
    assert_eq!(url, format!("stratum2+tcp://pool.example:3336/{public}"));
    assert!(url.parse::<gopool_sv2::client::PoolUrl>().is_ok());
    let secret = fs::read(directory.path().join("k")).unwrap();
    let mode = fs::metadata(directory.path().join("k")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!out.contains(text(&secret).trim()), "the secret is never printed");

    let again = run(directory.path(), &["keygen", "--out", "k"]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(fs::read(directory.path().join("k")).unwrap(), secret, "overwritten");

    for address in ["pool", "pool:0", ":3336", "http://pool:3336", "po ol:1"] {
        let bad = run(directory.path(), &["keygen", "--out", "k2", "--address", address]);
        assert_eq!(bad.status.code(), Some(64), "{address}");
        assert!(!directory.path().join("k2").exists());
    }
}

#[test]
fn check_config_names_all_problems_at_once() {
    let directory = TempDir::new().unwrap();
    let config = "[listen]\nadress = \"0.0.0.0:3336\"\nmax_connections = -1\n\n[pool]\n\
                  address = \"tcp:1.2.3.4:5\"\nkeepalive_interval_ms = 10\n\n[limit]\n";
    fs::write(directory.path().join("c.toml"), config).unwrap();
    for command in ["check-config", "serve"] {
        let output = run(directory.path(), &[command, "--config", "c.toml"]);
        assert_eq!(output.status.code(), Some(64));
        let problems = text(&output.stderr);
        for wanted in
            ["c.toml:2:", "`address`", "c.toml:3:", "c.toml:6:", "c.toml:7:", "c.toml:9:", "limits"]
        {
            assert!(problems.contains(wanted), "{wanted} is not in:\n{problems}");
        }
    }
}

#[test]
fn check_config_prints_a_file_that_checks() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("c.toml"), "[listen]\naddress = \"127.0.0.1:1\"\n").unwrap();
    let printed = run(directory.path(), &["check-config", "--config", "c.toml", "--print"]);
    assert!(printed.status.success(), "{printed:?}");
    assert!(text(&printed.stdout).contains("127.0.0.1:1"));
    fs::write(directory.path().join("d.toml"), &printed.stdout).unwrap();
    let keyless = run(directory.path(), &["check-config", "--config", "d.toml"]);
    assert_eq!(keyless.status.code(), Some(1), "{keyless:?}");
    assert!(text(&keyless.stderr).contains("keygen"), "{keyless:?}");
    run(directory.path(), &["keygen", "--out", "authority.key"]);
    let again = run(directory.path(), &["check-config", "--config", "d.toml"]);
    assert!(again.status.success(), "{again:?}");
}

#[test]
fn serve_says_what_is_wrong_before_it_starts() {
    let directory = TempDir::new().unwrap();
    let write = |port: u16| {
        let config = format!("[listen]\naddress = \"127.0.0.1:{port}\"\n");
        fs::write(directory.path().join("c.toml"), config).unwrap();
    };
    write(0);
    let no_key = run(directory.path(), &["serve", "--config", "c.toml"]);
    assert_eq!(no_key.status.code(), Some(64));
    assert!(text(&no_key.stderr).contains("keygen"), "{no_key:?}");

    run(directory.path(), &["keygen", "--out", "authority.key"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    write(taken.local_addr().unwrap().port());
    let in_use = run(directory.path(), &["serve", "--config", "c.toml"]);
    assert_eq!(in_use.status.code(), Some(64));
    assert!(text(&in_use.stderr).contains("[listen].address"), "{in_use:?}");
}

#[test]
fn help_and_usage_use_the_right_codes() {
    let directory = TempDir::new().unwrap();
    for command in [vec!["--help"], vec!["serve", "--help"], vec!["miner", "--help"]] {
        assert_eq!(run(directory.path(), &command).status.code(), Some(0), "{command:?}");
    }
    for command in [vec![], vec!["serv"], vec!["miner", "http://x", "--user", "u"]] {
        assert_eq!(run(directory.path(), &command).status.code(), Some(64), "{command:?}");
    }
}
