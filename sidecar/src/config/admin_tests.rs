//! Promises of `[admin]`.

use super::tests::{parse, problem, problems};
use super::{AdminAddress, KeyFile};

#[test]
fn reads_where_operators_ask() {
    let config = parse("[admin]\nlisten = \"127.0.0.1:3340\"\n").unwrap();
    assert_eq!(config.admin.listen, Some(AdminAddress::Tcp("127.0.0.1:3340".parse().unwrap())));
    assert!(!config.admin.show_addresses && config.admin.token_file.is_none());
    let text = "[admin]\nlisten = \"unix:/run/sv2/admin.sock\"\ntoken_file = \"credential:t\"\n";
    let config = parse(text).unwrap();
    assert_eq!(config.admin.listen, Some(AdminAddress::Unix("/run/sv2/admin.sock".into())));
    assert_eq!(config.admin.token_file, Some(KeyFile::Credential("t".to_owned())));
    assert_eq!(parse(&config.to_toml()).unwrap(), config);
}

#[test]
fn rejects_a_network_address_without_a_token() {
    for address in ["0.0.0.0:3340", "192.0.2.1:3340", "[::]:3340"] {
        let text = format!("[admin]\nlisten = \"{address}\"\n");
        assert!(problem(&text).contains("token_file"), "{}", problem(&text));
        assert!(parse(&format!("{text}token_file = \"token\"\n")).is_ok());
    }
    assert!(parse("[admin]\nlisten = \"[::1]:3340\"\n").is_ok());
}

#[test]
fn rejects_admin_addresses_that_are_none_or_taken() {
    for bad in ["3340", "localhost:3340", "unix:", "unix:@name", "http://127.0.0.1:1"] {
        let text = problem(&format!("[admin]\nlisten = \"{bad}\"\n"));
        assert!(text.contains("127.0.0.1:PORT"), "{text}");
    }
    let same = "[listen]\naddress = \"127.0.0.1:3336\"\n[admin]\nlisten = \"127.0.0.1:3336\"\n";
    assert!(problem(same).contains("port of the miners"));
    let same = "[pool]\naddress = \"unix:a.sock\"\n[admin]\nlisten = \"unix:a.sock\"\n";
    assert!(problem(same).contains("[pool].address"));
    let long = format!("[admin]\nlisten = \"unix:/{}\"\n", "x".repeat(107));
    assert!(problem(&long).contains("108 bytes"));
    let text = problems("[admin]\ntoken_file = \"token\"\n").join("\n");
    assert!(text.contains("[admin].listen"), "{text}");
}
