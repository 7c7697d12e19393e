//! Both roads to a mint, over real sockets, with a mint that behaves as stock ones were seen to.

#[cfg(test)]
mod books;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod hours;
#[cfg(test)]
mod http;
#[cfg(test)]
mod papers;
#[cfg(test)]
mod quotes;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod seen;
#[cfg(test)]
mod stream;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod wallet;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::fake::{Database, FakeMint, HeldAddress, Settings as Mint};
use super::http::{self as api, MintHttp, Quote};
use super::processor::{Figures, OpenError, Processor, Security, Settings};
use super::token::QuoteSecret;
use crate::types::PayoutKey;
use books::Books;

/// How long to wait for what must come, and for an answer of the mint.
const PATIENCE: Duration = Duration::from_secs(60);

/// The generator of secp256k1 and its double (SEC 2).
const KEYS: [&str; 2] = [
    "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5",
];

fn key(index: usize) -> PayoutKey {
    PayoutKey::from_hex(KEYS[index].as_bytes()).unwrap()
}

fn secret() -> QuoteSecret {
    QuoteSecret::new([7; 32])
}

/// Waits for what must come, and fails when it doesn't.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, what).await;
    waited.expect("what must come does not come")
}

/// A processor that serves.
struct Endpoint {
    address: SocketAddr,
    figures: Arc<Figures>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

fn settings() -> Settings {
    Settings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        security: Security::PlainOnLoopback,
        unit: "hash".into(),
        method: "ehash".into(),
        wallet_quotes_per_s: 1_000,
    }
}

impl Endpoint {
    async fn open(books: &Arc<Books>, settings: Settings) -> Result<Self, OpenError> {
        let processor = Processor::open(settings, secret(), Arc::clone(books)).await?;
        let (address, figures) = (processor.address(), processor.figures());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(processor.serve(async {
            // Dropped with the test, at the latest.
            let _ = stopped.await;
        }));
        Ok(Self { address, figures, stop, serving })
    }

    /// As a process that stops; the port is free afterwards.
    async fn stop(self) {
        drop(self.stop);
        soon(self.serving).await.unwrap();
    }
}

/// The whole of it: books, processor, mint, and a client of the mint.
struct Line {
    books: Arc<Books>,
    endpoint: Endpoint,
    mint: FakeMint,
    http: MintHttp,
}

fn api_settings(url: String) -> api::Settings {
    api::Settings {
        url,
        allow_plain: false,
        ca_file: None,
        unit: "hash".into(),
        method: "ehash".into(),
        timeout: PATIENCE,
        in_flight_max: 8,
    }
}

impl Line {
    async fn start() -> Self {
        let books = Arc::new(Books::default());
        let endpoint = Endpoint::open(&books, settings()).await.unwrap();
        let mint = FakeMint::start(Mint::new(endpoint.address), Database::default()).await.unwrap();
        let http = MintHttp::new(&api_settings(mint.url())).unwrap();
        soon(mint.until(|seen| seen.streams == 1)).await;
        Self { books, endpoint, mint, http }
    }

    /// The pool asks for a quote of its own.
    async fn create(&self, reference: &str) -> Result<Quote, api::MintError> {
        self.books.ask(reference, key(0));
        let token = secret().token(reference, &key(0));
        soon(self.http.create(&key(0), reference, &token)).await
    }

    async fn quote(&self, quote_id: &str) -> Result<Quote, api::MintError> {
        soon(self.http.quote(quote_id)).await
    }

    /// Another mint in the place of this one, on the same port.
    async fn restart_mint(&mut self, database: impl FnOnce(Database) -> Database) {
        let mut settings = Mint::new(self.endpoint.address);
        settings.listen = self.mint.address();
        let spare = FakeMint::start(Mint::new(self.endpoint.address), Database::default()).await;
        let old = std::mem::replace(&mut self.mint, spare.unwrap()).stop().await;
        self.mint = FakeMint::start(settings, database(old)).await.unwrap();
    }

    /// The processor stops, and its port with it.
    async fn stop_processor(&mut self) -> SocketAddr {
        let books = Arc::new(Books::default());
        let spare = Endpoint::open(&books, settings()).await.unwrap();
        let old = std::mem::replace(&mut self.endpoint, spare);
        let address = old.address;
        old.stop().await;
        address
    }

    /// The processor is there again.
    async fn start_processor(&mut self, address: SocketAddr) {
        let settings = Settings { listen: address, ..settings() };
        self.endpoint = Endpoint::open(&self.books, settings).await.unwrap();
    }
}

/// An address that nobody listens on.
fn nobody() -> HeldAddress {
    HeldAddress::take().unwrap()
}
