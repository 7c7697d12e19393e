//! `[mint]`: what becomes of credit that goes to payout keys.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::types::Difficulty;

/// How a share is valued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Valuation {
    /// By the credit that the pool gave.
    #[default]
    Linear,
    /// As hashpool does: 2^(leading zero bits of the hash, less this many).
    HashpoolPow2(u8),
}

/// `[mint]`: the ledger of accepted shares, and the mint that pays for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mint {
    /// The ledger; `None`: there is no mint bridge.
    pub ledger_file: Option<PathBuf>,
    /// Where the mint serves its HTTP API, without a slash at the end.
    pub url: String,
    /// Authority of the mint's HTTPS certificate; `None`: those that browsers trust.
    pub ca_file: Option<PathBuf>,
    /// The mint's unit.
    pub unit: String,
    /// The mint's payment method.
    pub method: String,
    /// How a share is valued.
    pub valuation: Valuation,
    /// Credit that makes one unit; not zero.
    pub unit_difficulty: Difficulty,
    /// From the first share of a credit to its sealing, in seconds.
    pub seal_interval_sec: u64,
    /// A credit of so many units is sealed at once; 0: only by time.
    pub seal_amount: u64,
    /// Smaller amounts wait for more.
    pub min_amount: u64,
    /// Payments on one quote, before there is another.
    pub quote_payments: u64,
    /// Life of a quote, in seconds, before there is another.
    pub quote_life_sec: u64,
    /// Requests to the mint at a time.
    pub requests_at_once: usize,
    /// A request to the mint ends after this, in milliseconds.
    pub request_timeout_ms: u64,
    /// Shares of paid credits are kept this long, in hours.
    pub keep_shares_h: u64,
    /// What the mint dials.
    pub processor: Processor,
}

/// `[mint.processor]`: the payment processor that the mint dials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processor {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Directory of ca.pem, server.pem and server.key.
    pub tls_dir: Option<PathBuf>,
    /// No TLS; on a loopback address only.
    pub allow_plain: bool,
    /// SHA-256 of the mint's certificate; `None`: any that the authority signed.
    pub client_sha256: Option<[u8; 32]>,
    /// Quotes that wallets may make in a second; 0: none.
    pub wallet_quotes_per_sec: u32,
}

impl Default for Mint {
    fn default() -> Self {
        Self {
            ledger_file: None,
            url: String::new(),
            ca_file: None,
            unit: "hash".to_owned(),
            method: "ehash".to_owned(),
            valuation: Valuation::Linear,
            unit_difficulty: Difficulty { whole: 1, fraction: 0 },
            seal_interval_sec: 60,
            seal_amount: 0,
            min_amount: 1,
            // A mint reads all payments of a quote one after the other.
            quote_payments: 256,
            quote_life_sec: 86_400,
            requests_at_once: 8,
            request_timeout_ms: 30_000,
            keep_shares_h: 24,
            processor: Processor::default(),
        }
    }
}

impl Default for Processor {
    fn default() -> Self {
        Self {
            // The port that cdk-mintd dials by default.
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 50_051)),
            tls_dir: None,
            allow_plain: false,
            client_sha256: None,
            wallet_quotes_per_sec: 1,
        }
    }
}

impl Mint {
    /// Makes relative paths start at `directory`.
    pub(in crate::config) fn resolve(&mut self, directory: &Path) {
        let paths = [&mut self.ledger_file, &mut self.ca_file, &mut self.processor.tls_dir];
        for path in paths.into_iter().flatten() {
            *path = directory.join(&*path);
        }
    }
}
