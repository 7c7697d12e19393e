//! Promises of `[listen]`.

use super::tests::{parse, problem};

#[test]
fn takes_networks_of_load_balancers() {
    let text = "[listen]\nproxy_protocol_from = [\"10.0.0.0/8\", \"fd00::/8\", \"192.0.2.7\"]\n";
    let config = parse(text).unwrap();
    let networks = &config.listen.proxy_protocol_from;
    assert_eq!(networks.len(), 3);
    assert!(networks[0].contains("10.1.2.3".parse().unwrap()));
    let printed = config.to_toml();
    assert!(printed
        .contains("\nproxy_protocol_from = [\"10.0.0.0/8\", \"fd00::/8\", \"192.0.2.7/32\"]\n"));
    assert_eq!(parse(&printed).unwrap(), config);
}

#[test]
fn rejects_what_is_no_list_of_networks() {
    for (value, says) in [
        ("\"10.0.0.0/8\"", "must be a list, not text: write [\"one\", \"another\"]"),
        ("[10]", "must be a list of texts"),
        ("[\"balancer\"]", "\"balancer\" is no IP network: write for example \"10.0.0.0/8\""),
        ("[\"10.0.0.1/8\"]", "\"10.0.0.1/8\" has address bits behind its prefix"),
    ] {
        let found = problem(&format!("[listen]\nproxy_protocol_from = {value}\n"));
        assert!(found.contains("sidecar.toml:2:23: listen.proxy_protocol_from: "), "{found}");
        assert!(found.contains(says), "{found}");
    }
}
