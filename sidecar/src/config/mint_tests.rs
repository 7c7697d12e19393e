//! `[mint]` sections that contradict themselves: each is told with what to do.

use super::tests::{parse, problem};

const ON: &str = "[mint]\nledger_file = \"ledger.db\"\nurl = \"http://127.0.0.1:1\"\n";
const PLAIN: &str = "[mint.processor]\nlisten = \"127.0.0.1:0\"\nallow_plain = true\n";

#[test]
fn rejects_sections_that_contradict_themselves_and_says_what_to_do() {
    assert!(parse(&format!("{ON}{PLAIN}")).is_ok());
    for (text, place, cure) in [
        ("[mint]\nurl = \"http://127.0.0.1:1\"\n".to_owned(), "2:", "without [mint].ledger_file"),
        (format!("[mint]\nledger_file = \"l\"\n{PLAIN}"), "2:", "needs [mint].url"),
        (ON.to_owned(), "2:", "needs [mint.processor].tls_dir"),
        (format!("{ON}{PLAIN}tls_dir = \"tls\"\n"), "6:", "keep one of the two"),
        (
            format!("{ON}{}", PLAIN.replace("127.0.0.1:0", "0.0.0.0:50051")),
            "6:",
            "listen on 127.0.0.1",
        ),
        (
            format!("{ON}seal_amount = 9\nmin_amount = 10\n{PLAIN}"),
            "4:",
            "raise the first or lower the second",
        ),
    ] {
        let told = problem(&text);
        assert!(told.contains(&format!(".toml:{place}")) && told.contains(cure), "{text}{told}");
    }
    for amounts in ["seal_amount = 0\nmin_amount = 10\n", "seal_amount = 10\nmin_amount = 10\n"] {
        assert!(parse(&format!("{ON}{amounts}{PLAIN}")).is_ok(), "{amounts}");
    }
}
