//! What the docs tell an operator to type, typed as it stands.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use gopool_sv2_tests::binaries;
use tempfile::TempDir;

/// The first code block below a heading of a page in docs.
fn block(page: &str, heading: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let text = fs::read_to_string(path).unwrap();
    let (_, below) = text.split_once(&format!("\n{heading}\n")).expect(heading);
    let (_, block) = below.split_once("```\n").expect(heading);
    block.split_once("```\n").expect(heading).0.to_owned()
}

/// Runs commands one after the other, as far as they succeed, and says what they wrote.
fn typed(directory: &Path, script: &str) -> String {
    let program: PathBuf = binaries().unwrap().sidecar.parent().unwrap().into();
    let paths = env::var_os("PATH").unwrap_or_default();
    let paths = env::join_paths([program].into_iter().chain(env::split_paths(&paths))).unwrap();
    let mut shell = Command::new("bash");
    shell.args(["-euc", script]).current_dir(directory).env("PATH", paths);
    let output = shell.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{said}");
    said
}

/// The lines of a script that do what can be done here.
fn without(script: &str, left_out: &[&str]) -> String {
    let lines = script.lines();
    let kept = lines.filter(|line| !left_out.iter().any(|begin| line.starts_with(begin)));
    kept.map(|line| format!("{line}\n")).collect()
}

#[test]
fn configurations_in_the_docs_check_as_they_are_written() {
    let place = TempDir::new().unwrap();
    let said = typed(place.path(), &block("operate.md", "## Configure"));
    assert!(said.contains("stratum2+tcp://pool.example.com:3336/"), "{said}");
    assert!(said.ends_with("sv2/sidecar.toml: good\n"), "{said}");
    let stats = without(&block("stats.md", "## Start it"), &["gopool-sv2 stats --config"]);
    let said = typed(place.path(), &stats);
    assert_eq!(said, "sv2/stats.toml: good\n");

    // The rest wants root, systemd, and a machine that may be changed.
    let systemd = without(
        &block("operate.md", "### Under systemd"),
        &["useradd", "getent", "systemctl", "install -m 644 examples/systemd"],
    );
    let etc = place.path().join("etc").display().to_string();
    let said = typed(place.path(), &systemd.replace("/etc/gopool-sv2", &etc));
    assert_eq!(said, format!("{etc}/sidecar.toml: good\n"));
    let stats = format!("gopool-sv2 stats --print --config {etc}/stats.toml");
    assert!(
        typed(place.path(), &stats).contains("database = \"/var/lib/gopool-sv2-stats/stats.db\"")
    );
}

#[test]
fn every_alert_has_its_row_in_the_docs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let rules = root.join("examples/deploy/prometheus/gopool-sv2.rules.yml");
    let rules = fs::read_to_string(rules).unwrap();
    let page = fs::read_to_string(root.join("docs/operate.md")).unwrap();
    let named: Vec<_> = rules.lines().filter_map(|l| l.trim().strip_prefix("- alert: ")).collect();
    assert!(named.len() > 10, "{named:?}");
    for alert in &named {
        assert!(page.contains(&format!("\n| `{alert}` |")), "{alert}");
    }
    assert_eq!(page.matches("\n| `Sv2").count(), named.len(), "alerts that are none any more");
}
