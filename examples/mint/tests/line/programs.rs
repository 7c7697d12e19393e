//! The two programs as processes, and what the tests ask them.

use std::future::Future;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::str::FromStr;
use std::sync::{mpsc, Arc, Mutex};
use std::time::{Duration, Instant};

use cdk::mint_url::MintUrl;
use cdk::nuts::{CurrencyUnit, MintQuoteCustomRequest, PaymentMethod, PublicKey};
use cdk::wallet::{HttpClient, MintConnector};
use cdk::{Error, MintQuoteRequest, MintQuoteResponse};

/// Longest wait for anything. Nothing here is meant to take that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `done`, and fails with `what` when it never is.
pub async fn until<F: Future<Output = bool>>(what: &str, done: impl Fn() -> F) {
    let start = Instant::now();
    while !done().await {
        assert!(start.elapsed() < PATIENCE, "still waiting: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A running mint; killed when it goes out of scope.
#[derive(Debug)]
pub struct Mint {
    child: Child,
    /// Its HTTP API.
    pub url: String,
    log: Arc<Mutex<String>>,
}

impl Mint {
    /// Starts a mint that does not serve yet, because nothing was waited for. With the path of a
    /// stock `cdk-mintd` in `STOCK_MINTD` that one is started, by the script that the README
    /// names.
    pub fn launch(
        data: &Path,
        processor: SocketAddr,
        more: &[&str],
    ) -> (Self, mpsc::Receiver<String>) {
        let stock = std::env::var_os("STOCK_MINTD").map(PathBuf::from);
        let (mut command, listen) = match &stock {
            Some(mintd) => {
                let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/test-mintd"));
                script.env("MINTD_BIN", mintd.parent().expect("a folder"));
                (script, free_port())
            }
            None => (Command::new(env!("CARGO_BIN_EXE_ehash-mint")), "127.0.0.1:0".into()),
        };
        let mut child = command
            .args(["--listen", &listen, "--processor", &processor.to_string(), "--data"])
            .arg(data)
            .args(more)
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the mint starts");
        let url = if stock.is_some() { format!("http://{listen}") } else { String::new() };
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, kept) = (child.stderr.take().expect("piped"), log.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                kept.lock().expect("log").push_str(&(line + "\n"));
            }
        });
        let (lines, said) = mpsc::sync_channel(16);
        let stdout = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        (Self { child, url, log }, said)
    }

    /// Waits until it serves: until it has printed its address, or, the stock one, until it
    /// answers.
    pub async fn ready(mut self, said: &mpsc::Receiver<String>) -> Self {
        if !self.url.is_empty() {
            let start = Instant::now();
            while self.client().get_mint_info().await.is_err() {
                let ended = self.child.try_wait().expect("a child");
                let late = start.elapsed() > PATIENCE;
                assert!(ended.is_none() && !late, "the mint does not serve: {}", self.log());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            return self;
        }
        let line = tokio::task::block_in_place(|| said.recv_timeout(PATIENCE));
        let line = line.unwrap_or_else(|_| panic!("the mint does not serve: {}", self.log()));
        self.url = line.split(' ').next().expect("a word").to_owned();
        assert!(line.ends_with(" issues hash for ehash"), "{line}");
        self
    }

    /// Starts a mint and waits until it serves.
    pub async fn start(data: &Path, processor: SocketAddr, more: &[&str]) -> Self {
        let (mint, said) = Self::launch(data, processor, more);
        mint.ready(&said).await
    }

    /// What it has written to standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("log").clone()
    }

    /// Kills it, as a crash would.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    /// Waits until it has ended by itself; returns whether it was content, and what it said.
    pub async fn ended(mut self) -> (bool, String) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                // The last line may still be on its way from the reader.
                until("the log ends", || async { Arc::strong_count(&self.log) == 1 }).await;
                return (status.success(), self.log());
            }
            assert!(start.elapsed() < PATIENCE, "it does not end: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        let done = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill");
        assert!(done.success());
    }

    /// A plain client of its HTTP API.
    pub fn client(&self) -> HttpClient {
        HttpClient::new(MintUrl::from_str(&self.url).expect("URL"), None)
    }

    /// Makes a quote that is locked to a key, as a pool does; returns its id.
    pub async fn quote(&self, key: PublicKey) -> String {
        let request = MintQuoteRequest::Custom { method: method(), request: asked(Some(key)) };
        self.client().post_mint_quote(request).await.expect("a quote").quote().clone()
    }

    /// What the mint says was paid and issued for a quote.
    pub async fn amounts(&self, id: &str) -> Result<(u64, u64), Error> {
        match self.client().get_mint_quote_status(method(), id).await? {
            MintQuoteResponse::Custom { response, .. } => {
                Ok((response.amount_paid.into(), response.amount_issued.into()))
            }
            other => panic!("not ours: {other:?}"),
        }
    }

    /// Waits until so much was paid for a quote.
    pub async fn until_paid(&self, id: &str, amount: u64) {
        let what = format!("{amount} paid");
        until(&what, || async { self.amounts(id).await.is_ok_and(|(paid, _)| paid == amount) })
            .await;
    }
}

impl Drop for Mint {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that was free a moment ago: stock mintd does not say which port it took.
fn free_port() -> String {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    taken.local_addr().expect("an address").to_string()
}

/// The method as requests name it.
pub fn method() -> PaymentMethod {
    PaymentMethod::from("ehash")
}

/// A quote, as it is asked for.
pub fn asked(pubkey: Option<PublicKey>) -> MintQuoteCustomRequest {
    MintQuoteCustomRequest {
        amount: Some(1.into()),
        unit: CurrencyUnit::from_str("hash").expect("a unit"),
        description: None,
        pubkey,
        extra: serde_json::json!({}),
    }
}

/// A wallet: a folder, and the program that works on it.
#[derive(Debug)]
pub struct Wallet {
    /// Its folder.
    pub data: PathBuf,
    mint: String,
}

impl Wallet {
    /// The wallet of a folder, with its mint.
    pub fn new(data: PathBuf, mint: &Mint) -> Self {
        Self { data, mint: mint.url.clone() }
    }

    /// Runs the program; returns whether it was content, and what it printed.
    pub fn run(&self, args: &[&str]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ehash-wallet"));
        command.args(args).args(["--mint", &self.mint, "--data"]).arg(&self.data);
        let Output { status, stdout, stderr } =
            tokio::task::block_in_place(|| command.env_remove("RUST_LOG").output()).expect("runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (status.success(), text(stdout) + &text(stderr))
    }

    /// Runs the program, which must be content.
    pub fn done(&self, args: &[&str]) -> String {
        let (ok, said) = self.run(args);
        assert!(ok, "{args:?}: {said}");
        said
    }

    /// The public key that the pool gets.
    pub fn key(&self) -> PublicKey {
        PublicKey::from_hex(self.done(&["key"]).trim()).expect("a key")
    }
}
