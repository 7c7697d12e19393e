//! A mint for tests, in this process, that behaves at both of its ends as a stock cdk-mintd 0.18.3
//! was seen to, faults included: an HTTP API for wallets and for us, and a client of our payment
//! processor. It makes no signatures: "issued" is a number.
//!
//! It uses nothing of the code under test but the generated messages, so that the harness of other
//! tests can include it as it is. All addresses are loopback ones.

mod address;
mod book;
mod desk;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use serde_json::Value as Json;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::ServerConfig;

use desk::Desk;

pub use address::HeldAddress;
pub use book::{Database, Row};
pub use desk::{Fault, Faults, Seen};

/// What a mint is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The payment processor.
    pub processor: SocketAddr,
    /// `ca.pem`, `client.pem` and `client.key`; `None`: no TLS.
    pub tls_dir: Option<PathBuf>,
    /// Its own HTTP address.
    pub listen: SocketAddr,
    /// With it the HTTP API is https.
    pub https: Option<Arc<ServerConfig>>,
    /// Version of the processor protocol that it speaks.
    pub version: &'static str,
    /// Its one unit.
    pub unit: &'static str,
    /// Its one method.
    pub method: &'static str,
    /// Shortest and longest pause before it opens its stream again. Stock: 250 ms and 30 s.
    pub backoff: (Duration, Duration),
}

impl Settings {
    /// A stock mint without TLS on a port of its own, that waits but little.
    #[must_use]
    pub fn new(processor: SocketAddr) -> Self {
        Self {
            processor,
            tls_dir: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            https: None,
            version: "4.0.0",
            unit: "hash",
            method: "ehash",
            backoff: (Duration::from_millis(5), Duration::from_millis(50)),
        }
    }
}

/// A mint that runs. It is down when this is dropped.
#[derive(Debug)]
pub struct FakeMint {
    desk: Arc<Desk>,
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl FakeMint {
    /// Starts a mint on a database: asks the processor for its settings three times, and opens the
    /// stream of payments.
    ///
    /// # Errors
    /// As a stock mint exits at its start: the processor is down, speaks another version or deals
    /// in another unit or method. In words.
    pub async fn start(settings: Settings, database: Database) -> Result<Self, String> {
        let mut client = wire::dial(&settings).await?;
        let mut calls = 0;
        for _ in 0..3 {
            let found = wire::settings(&mut client, &settings).await?;
            calls += 1;
            let custom = found.custom.contains_key(settings.method);
            if !found.unit.eq_ignore_ascii_case(settings.unit) || !custom {
                return Err(format!("the processor deals in {found:?}"));
            }
        }
        let desk = Arc::new(Desk::new(settings.clone(), client, database));
        desk.seen().settings_calls = calls;
        let (address, http) = wire::listen(&settings, Arc::clone(&desk)).await?;
        let stream = tokio::spawn(wire::wait_for_payments(Arc::clone(&desk)));
        Ok(Self { desk, address, tasks: vec![http, stream] })
    }

    /// Stops it, and gives what it wrote down.
    pub async fn stop(mut self) -> Database {
        for task in self.tasks.drain(..) {
            task.abort();
            // It was aborted: nothing to learn.
            let _ = task.await;
        }
        self.desk.database()
    }

    /// Where its HTTP API is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of its HTTP API.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.desk.settings().https.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// A backup of its database.
    #[must_use]
    pub fn database(&self) -> Database {
        self.desk.database()
    }

    /// Its faults, to be set.
    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.desk.faults()
    }

    /// What it has seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        *self.desk.seen()
    }

    /// Names of all payments that came by the stream, whatever became of them, in order.
    #[must_use]
    pub fn heard(&self) -> Vec<String> {
        self.desk.heard()
    }

    /// Returns once what it has seen is as wanted. Never, if it never is.
    pub async fn until(&self, wanted: impl Fn(&Seen) -> bool) {
        self.desk.until(wanted).await;
    }

    /// Ten seconds pass: the processor is asked again at the next look at each quote.
    pub fn pass_ten_seconds(&self) {
        self.desk.pass_ten_seconds();
    }

    /// Lets quotes be written down that were held by [`Faults::hold_rows`].
    pub fn release_rows(&self) {
        self.desk.release_rows();
    }

    /// Its table of payments is lost; its quotes are there.
    pub fn forget_payments(&self) {
        self.desk.forget_payments();
    }

    /// A payment that is none of ours, as by the operator's override. `false`: no such quote, or
    /// the name was used.
    pub fn pay(&self, quote_id: &str, payment_id: &str, amount: u64) -> bool {
        self.desk.pay(quote_id, payment_id, amount)
    }

    /// A wallet asks for a quote, with the JSON that it would send.
    ///
    /// # Errors
    /// The mint's.
    pub async fn post_quote(&self, body: Json) -> Result<Json, Fault> {
        self.desk.post(body).await
    }

    /// A wallet looks at a quote.
    ///
    /// # Errors
    /// The mint's.
    pub async fn get_quote(&self, quote_id: &str) -> Result<Json, Fault> {
        self.desk.get(quote_id).await
    }

    /// A wallet mints so much of a quote.
    ///
    /// # Errors
    /// The mint's: not that much was paid.
    pub async fn issue(&self, quote_id: &str, amount: u64) -> Result<(), Fault> {
        self.desk.issue(quote_id, amount).await
    }
}

impl Drop for FakeMint {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
