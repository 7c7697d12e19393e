//! The keys of `[mint]` and `[mint.processor]`.

use super::{text, Key, Section, Value, TIMEOUT_MS_MAX, TIMEOUT_MS_MIN};
use crate::config::mint;

/// What becomes of credit that goes to payout keys.
pub(super) const SECTION: Section = Section {
    name: "mint",
    about:
        "Credit in Cashu ehash: accepted shares enter a ledger, and a mint pays for them to the \
            keys that miners give with their names (NAME~ehash=KEY). docs/mint.md.",
    keys: &[
        text!(
            "ledger_file",
            mint.ledger_file,
            text::optional_path,
            text::path_or_empty,
            "SQLite file of the ledger, on a local disk; made when there is none. One sidecar per \
             ledger. Empty: no mint bridge, and payout keys are refused."
        ),
        text!(
            "url",
            mint.url,
            mint::url,
            String::clone,
            "Where the mint serves its HTTP API, for example \"https://mint.example\"."
        ),
        text!(
            "ca_file",
            mint.ca_file,
            text::optional_path,
            text::path_or_empty,
            "Authority that signed the mint's HTTPS certificate, PEM. Empty: those that browsers \
             trust."
        ),
        text!(
            "unit",
            mint.unit,
            mint::name,
            String::clone,
            "The mint's unit. Fixed for the life of a ledger, once there is an amount."
        ),
        text!(
            "method",
            mint.method,
            mint::name,
            String::clone,
            "The payment method of that unit at the mint. Fixed like the unit."
        ),
        text!(
            "valuation",
            mint.valuation,
            mint::valuation,
            mint::show_valuation,
            "What a share is worth: \"linear\", the credit that the pool gave; or \
             \"hashpool_pow2:MIN\", 2^(leading zero bits of the hash less MIN) units, a lottery. \
             Fixed for the life of a ledger."
        ),
        text!(
            "unit_difficulty",
            mint.unit_difficulty,
            mint::difficulty,
            mint::show_difficulty,
            "Credit that makes one unit of the mint, as a difficulty, at least 2^-32. \"1\": \
             4,294,967,296 hashes, on average."
        ),
        int!(
            "seal_interval_sec",
            mint.seal_interval_sec as u64,
            1,
            86_400,
            "How long shares are gathered before they become one payment, in seconds."
        ),
        int!(
            "seal_amount",
            mint.seal_amount as u64,
            0,
            1 << 53,
            "Shares worth so many units become a payment within a second or so, without waiting \
             for the interval; `min_amount` at least. 0: only the interval counts."
        ),
        int!(
            "min_amount",
            mint.min_amount as u64,
            1,
            1 << 53,
            "Smallest payment, in the mint's unit; less waits for more."
        ),
        int!(
            "quote_payments",
            mint.quote_payments as u64,
            1,
            10_000,
            "Payments on one deposit quote; then there is another. Mints get slower with many."
        ),
        int!(
            "quote_life_sec",
            mint.quote_life_sec as u64,
            60,
            31_536_000,
            "Life of a deposit quote, in seconds; then there is another, as there is when half of \
             the time to an expiry that the mint shows is over. cdk-mintd shows none for these."
        ),
        int!(
            "requests_at_once",
            mint.requests_at_once as usize,
            1,
            256,
            "Requests to the mint's HTTP API at a time."
        ),
        int!(
            "request_timeout_ms",
            mint.request_timeout_ms as u64,
            TIMEOUT_MS_MIN,
            TIMEOUT_MS_MAX,
            "A request to the mint ends after this, in milliseconds, and is tried again later. \
             Shares don't wait for it."
        ),
        int!(
            "keep_shares_h",
            mint.keep_shares_h as u64,
            1,
            87_600,
            "How long the single shares of a paid credit are kept, in hours: for longer than the \
             pool can take a share again. What they sum up to is kept for ever."
        ),
    ],
};

/// What the mint dials.
pub(super) const PROCESSOR: Section = Section {
    name: "mint.processor",
    about: "The payment processor that the mint dials (gRPC, protocol 4.0.0 of cdk-mintd 0.18). \
            Who is let in here can say nothing but what the ledger has; who can answer here could \
            pay himself: keep it between the two.",
    keys: &[
        text!(
            "listen",
            mint.processor.listen,
            text::socket_address,
            ToString::to_string,
            "IP address and TCP port."
        ),
        text!(
            "tls_dir",
            mint.processor.tls_dir,
            text::optional_path,
            text::path_or_empty,
            "Directory of ca.pem (the authority of the mint's certificate), server.pem and \
             server.key. Read anew for each connection."
        ),
        Key {
            name: "allow_plain",
            about: "No TLS, on a loopback address: every user of this machine can then take the \
                    mint's place.",
            value: Value::Bool {
                get: |config| config.mint.processor.allow_plain,
                set: |config, value| config.mint.processor.allow_plain = value,
            },
        },
        text!(
            "client_sha256",
            mint.processor.client_sha256,
            mint::fingerprint,
            mint::show_fingerprint,
            "SHA-256 of the one certificate (DER) that the mint may show, 64 hexadecimal digits. \
             Empty: any that the authority signed."
        ),
        int!(
            "wallet_quotes_per_sec",
            mint.processor.wallet_quotes_per_sec as u32,
            0,
            1_000,
            "Quotes that wallets may make by themselves in a second, to give as payout address. \
             0: none."
        ),
    ],
};
