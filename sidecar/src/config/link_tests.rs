//! Promises of the settings of the link: which addresses, and what protects them.

use std::net::SocketAddr;

use super::tests::{parse, problem, problems};
use super::*;

/// `[pool.tls]` with all it needs.
const FILES: &str = "[pool.tls]\nca_file = \"ca.pem\"\ncertificate_file = \"sidecar.pem\"\n\
                     key_file = \"sidecar.key\"\n";

fn address(text: &str) -> String {
    format!("[pool]\naddress = \"{text}\"\nallow_plain_tcp = true\n")
}

#[test]
fn reads_tls_addresses() {
    let cases = [
        ("tls:pool.example:3337", "pool.example", "tls:pool.example:3337"),
        ("tls://pool.example:1", "pool.example", "tls:pool.example:1"),
        ("tls:192.0.2.1:65535", "192.0.2.1", "tls:192.0.2.1:65535"),
        ("tls:[2001:db8::1]:3337", "2001:db8::1", "tls:[2001:db8::1]:3337"),
    ];
    for (text, want, printed) in cases {
        let config = parse(&(address(text) + FILES)).unwrap();
        let PoolAddress::Tls { host, .. } = &config.pool.address else { panic!("{text}") };
        assert_eq!(host, want);
        assert_eq!(config.pool.address.to_string(), printed);
        assert_eq!(parse(&config.to_toml()).unwrap(), config);
    }
}

#[test]
fn takes_the_files_from_its_own_directory_and_credentials_from_systemd() {
    let text = address("tls:a:1") + &FILES.replace("sidecar.key", "credential:link.key");
    let text = text + "server_name = \"192.0.2.7\"\n";
    let config = Config::from_bytes(text.as_bytes(), Path::new("/etc/sv2/sidecar.toml")).unwrap();
    let want = PoolTls {
        ca_file: Some("/etc/sv2/ca.pem".into()),
        certificate_file: Some("/etc/sv2/sidecar.pem".into()),
        key_file: Some(KeyFile::Credential("link.key".to_owned())),
        server_name: Some("192.0.2.7".to_owned()),
    };
    assert_eq!(config.pool.tls, want);
    let text = address("tls:a:1") + FILES;
    let config = Config::from_bytes(text.as_bytes(), Path::new("/etc/sv2/sidecar.toml")).unwrap();
    let key = KeyFile::Path("/etc/sv2/sidecar.key".into());
    assert_eq!((config.pool.tls.key_file, config.pool.tls.server_name), (Some(key), None));
}

#[test]
fn reads_plain_addresses_of_this_machine() {
    for text in ["tcp:127.0.0.1:3337", "tcp://127.9.9.9:1", "tcp:[::1]:3337"] {
        let config = parse(&address(text)).unwrap();
        let bare = text.trim_start_matches("tcp:").trim_start_matches("//");
        assert_eq!(config.pool.address, PoolAddress::Tcp(bare.parse::<SocketAddr>().unwrap()));
    }
}

#[test]
fn rejects_addresses_that_are_none() {
    let cases = [
        ("pool.example:3337", "write \"unix:/path/to/socket\", or \"tls:HOST:PORT\""),
        ("http://pool.example", "write \"unix:/path/to/socket\", or \"tls:HOST:PORT\""),
        ("/run/pool.sock", "write \"unix:/path/to/socket\", or \"tls:HOST:PORT\""),
        ("tls:pool.example", "has no port"),
        ("tls:[::1]", "has no port"),
        ("tls:pool.example:0", "has no port from 1 to 65535"),
        ("tls:pool.example:65536", "has no port from 1 to 65535"),
        ("tls:pool.example:", "has no port from 1 to 65535"),
        ("tls:2001:db8::1:3337", "tls:[2001:db8::1]:3337"),
        ("tls:[pool.example]:3337", "names no host"),
        ("tls::3337", "names no host"),
        ("tls:po ol:3337", "names no host"),
        ("tls:user@pool:3337", "names no host"),
        ("tcp:localhost:3337", "is not a loopback address with a port"),
        ("tcp:127.0.0.1:0", "is not a loopback address with a port"),
        ("tcp:127.0.0.1", "is not a loopback address with a port"),
        ("tcp:10.0.0.1:9", "over a network in the clear: write \"tls:10.0.0.1:9\""),
        ("tcp:0.0.0.0:9", "over a network in the clear"),
    ];
    for (text, want) in cases {
        let got = problem(&address(text));
        assert!(got.starts_with("sidecar.toml:2:11: pool.address: "), "{got}");
        assert!(got.contains(want), "{got:?} lacks {want:?}");
    }
}

#[test]
fn rejects_plain_tcp_that_nobody_asked_for() {
    for given in ["", "allow_plain_tcp = false\n"] {
        let got = problem(&format!("[pool]\naddress = \"tcp:127.0.0.1:1\"\n{given}"));
        assert!(got.starts_with("sidecar.toml:2:11: pool.address: plain TCP has no"), "{got}");
        assert!(got.contains("allow_plain_tcp = true below [pool]"), "{got}");
    }
    for bad in ["\"true\"", "1", "[true]"] {
        let got = problem(&format!("[pool]\nallow_plain_tcp = {bad}\n"));
        assert!(
            got.starts_with("sidecar.toml:2:19: pool.allow_plain_tcp: must be true or"),
            "{got}"
        );
    }
}

#[test]
fn names_every_file_that_tls_lacks() {
    let got = problems(&address("tls:pool.example:3337"));
    assert_eq!(got.len(), 3, "{got:#?}");
    for (got, key) in got.iter().zip(["ca_file", "certificate_file", "key_file"]) {
        assert!(got.starts_with("sidecar.toml:2:11: pool.address: "), "{got}");
        assert!(got.contains(&format!("[pool.tls].{key}, ")), "{got}");
    }
    let some = address("tls:a:1") + "[pool.tls]\nca_file = \"a\"\nkey_file = \"\"\n";
    assert_eq!(problems(&some).len(), 2);
}

#[test]
fn rejects_certificates_for_a_link_that_is_not_encrypted() {
    for scheme in ["unix:/a", "tcp:127.0.0.1:1"] {
        let got = problems(&(address(scheme) + FILES + "server_name = \"a\"\n"));
        assert_eq!(got.len(), 4, "{got:#?}");
        assert!(got[0].starts_with("sidecar.toml:5:11: pool.tls.ca_file: is not used"), "{got:?}");
        assert!(got[3].starts_with("sidecar.toml:8:15: pool.tls.server_name: is not"), "{got:?}");
        assert!(got.iter().all(|text| text.contains("\"tls:HOST:PORT\"")), "{got:?}");
    }
}

#[test]
fn names_the_place_of_problems_in_the_inner_section() {
    let cases = [
        (
            "[pool.tls]\nca_fil = \"a\"",
            "sidecar.toml:2:1: pool.tls.ca_fil: unknown key; did you mean `ca_file`?",
        ),
        ("[pool.tls]\nsidecar_id = \"a\"", "did you mean `sidecar_id` below [pool]?"),
        ("[pool]\nkey_fil = \"a\"", "[pool] knows address, allow_plain_tcp"),
        ("[pool]\nca_file = \"a\"", "did you mean `ca_file` below [pool.tls]?"),
        ("[pool]\ntls = true", "sidecar.toml:2:1: pool.tls: must be a section: write [pool.tls]"),
        ("[tls]\nca_file = \"a\"", "unknown section; did you mean `pool.tls`?"),
        ("[pool.tls]\nca_file = 5", "sidecar.toml:2:11: pool.tls.ca_file: must be text"),
        ("[pool.tls]\nserver_name = \"a:1\"", "is neither a DNS name nor an IP address"),
        ("[pool.tls]\nkey_file = \"credential:\"", "is not the name of a credential"),
        ("[pool.tls.more]\na = 1", "pool.tls.more: unknown key"),
    ];
    for (text, want) in cases {
        let got = problem(text);
        assert!(got.contains(want), "{got:?} lacks {want:?}");
    }
    let config = parse(
        "pool = { address = \"tls:a:1\", tls = { ca_file = \"a\", \
                        certificate_file = \"b\", key_file = \"c\" } }",
    );
    assert_eq!(config.unwrap().pool.tls.certificate_file, Some("b".into()));
}
