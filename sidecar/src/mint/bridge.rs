//! The whole bridge: ledger, dispatcher, payment processor, and the events of all of it.

mod parts;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::callbacks::{self, CreditLog, QuoteCallbacks};
use super::deposits::LedgerDeposits;
use super::dispatch::{Dispatcher, Plan};
use super::figures;
use super::herald::Herald;
use super::http::{self, MintHttp};
use super::keeper::{tell, Keeper};
use super::ledger::{self, Due, Kept, Ledger as _, LedgerError, SqliteLedger, Terms};
use super::outbox::Outbox;
use super::processor::{self, Processor, Security};
use super::token::QuoteSecret;
use super::work::{Scheme, Work};
use crate::backend::ledger::{Returns, ShareLedger};
use crate::config::{Mint, Valuation};
use crate::event::{Publisher, Source as _, Way};
use crate::obs::Counts;
use crate::sys::{stopped, unix_millis};
use parts::Parts;

/// Name of the pool among those that hear the ledger's events.
const POOL: &str = "pool";
/// Batches of outcomes on their way to the miners: as many shares as are in flight at most, and no
/// batch is empty.
const OUTCOMES: usize = 1024;
/// An account with work is told of at most this often.
const ACCRUED_EVERY_MS: i64 = 10_000;
/// How long the last calls may take when we stop.
const LAST_CALLS: Duration = Duration::from_secs(6);

/// Why there can be no bridge. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The ledger can't be opened.
    #[error("[mint].ledger_file: {0}")]
    Ledger(#[from] ledger::OpenError),
    /// Its amounts are of another unit, or its quotes of another payment method.
    #[error(
        "[mint].unit and [mint].method: the amounts of this ledger are of unit \"{unit}\" and \
         method \"{method}\": set these again, or begin another ledger_file"
    )]
    Unit {
        /// The ledger's unit.
        unit: String,
        /// The ledger's payment method.
        method: String,
    },
    /// It can't be read.
    #[error("[mint].ledger_file: {0}")]
    Read(#[from] LedgerError),
    /// No client of the mint's HTTP API.
    #[error("[mint].url: {0}")]
    Http(#[from] http::SettingsError),
    /// The mint could not dial us.
    #[error("[mint.processor]: {0}")]
    Processor(#[from] processor::OpenError),
    /// A task of it could not be run.
    #[error("the mint bridge can't be started: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A bridge that was opened: the ledger can be written, and the mint can connect.
#[derive(Debug)]
pub struct Bridge {
    ledger: SqliteLedger,
    keeper: Arc<Keeper>,
    outcomes: mpsc::Receiver<Vec<Kept>>,
    dispatcher: Arc<Dispatcher<SqliteLedger>>,
    processor: Processor<LedgerDeposits<SqliteLedger>>,
    outbox: Arc<Outbox>,
    callbacks: Arc<dyn QuoteCallbacks>,
    mint_url: String,
    counts: Counts,
}

impl Bridge {
    /// Opens the ledger and the processor's port; `None`: the configuration has no bridge.
    /// `max_in_flight`: most shares that wait for the ledger at a time. `counts`: where all that it
    /// does is counted.
    ///
    /// # Errors
    /// [`BridgeError`]; nothing runs then.
    pub async fn open(
        config: &Mint,
        max_in_flight: usize,
        counts: Counts,
    ) -> Result<Option<Self>, BridgeError> {
        let Some(path) = config.ledger_file.clone() else { return Ok(None) };
        let client = http_settings(config);
        let client = tokio::task::spawn_blocking(move || MintHttp::new(&client)).await??;
        let (told, outcomes) = mpsc::channel(OUTCOMES);
        let settings = ledger::Settings {
            path,
            scheme: scheme(config.valuation),
            max_shares: max_in_flight,
            accrued_every_ms: ACCRUED_EVERY_MS,
        };
        let counted = counts.clone();
        let opened = tokio::task::spawn_blocking(move || {
            SqliteLedger::open_counted(&settings, told, counted)
        });
        let opened = opened.await??;
        let (unit, method) = opened.bind(&config.unit, &config.method).await?;
        if (&unit, &method) != (&config.unit, &config.method) {
            return Err(BridgeError::Unit { unit, method });
        }
        let secret = QuoteSecret::new(*opened.secret());
        let (sent, sends) = watch::channel(0);
        let deposits =
            Arc::new(LedgerDeposits::new(opened.clone(), plan(config).quote_life_ms, sends));
        let listens = deposits.listens();
        let processor =
            Processor::open(processor_settings(config), secret.clone(), deposits).await?;
        // What was open is a credit of its own: were this an old copy, some of it may have been
        // paid since, and new shares don't mix with that.
        let all = Due { opened_by_ms: i64::MAX, work_from: Work::ZERO };
        while opened.close_due(all, unix_millis()).await? > 0 {}
        let outbox = Arc::new(Outbox::new(opened.clone()).await?);
        let keeper = Arc::new(Keeper::new(opened.clone(), config.unit.clone()));
        let dispatcher = Dispatcher::new(
            opened.clone(),
            client,
            secret,
            plan(config),
            sent,
            listens,
            counts.clone(),
        );
        let mint_url = config.url.clone();
        Ok(Some(Self {
            ledger: opened,
            keeper,
            outcomes,
            dispatcher,
            processor,
            outbox,
            mint_url,
            callbacks: Arc::new(CreditLog),
            counts,
        }))
    }

    /// Has these called instead of the log's.
    #[must_use]
    pub fn calling(mut self, callbacks: Arc<dyn QuoteCallbacks>) -> Self {
        self.callbacks = callbacks;
        self
    }

    /// What takes accepted shares.
    #[must_use]
    pub fn ledger(&self) -> Arc<dyn ShareLedger> {
        Arc::clone(&self.keeper) as Arc<dyn ShareLedger>
    }

    /// Starts all of it. `returns`: where the miners hear. `way`: to the pool, for events.
    /// `sidecar_id`: the operator's name of this sidecar.
    pub fn start<W: Way>(self, returns: Returns, way: W, sidecar_id: &str) -> Running {
        let (stop, stops) = watch::channel(false);
        returns.count_in(self.counts.clone());
        let mut parts = Parts::default();
        parts.spawn("the dispatcher of credits", self.dispatcher.run(stops.clone()));
        let mut over = stops.clone();
        let serve = self.processor.serve(async move { stopped(&mut over).await });
        parts.spawn("the payment processor", serve);
        let (outbox, over) = (Arc::clone(&self.outbox), stops.clone());
        parts.spawn("the watch of the ledger's events", async move { outbox.watch(over).await });
        let herald = Herald::new(self.ledger.clone(), returns.clone(), &self.mint_url);
        parts.spawn("the news for miners", herald.run(self.outbox.newest(), stops.clone()));
        let (called, newest) = (self.callbacks, self.outbox.newest());
        let callbacks = callbacks::run(self.ledger.clone(), called, newest, stops.clone());
        parts.spawn("the callbacks for credit", callbacks);
        let figures = figures::run(self.ledger.clone(), self.counts.clone(), stops.clone());
        parts.spawn("the reading of the ledger's figures", figures);
        let publisher = Publisher::new(self.outbox, way, POOL, sidecar_id.to_owned());
        let publish = publisher.counted(self.counts).run(stops);
        parts.spawn("the way of the ledger's events to the pool", publish);
        let mut last = Parts::default();
        last.spawn("the ledger's writer", tell(self.outcomes, returns));
        Running { stop, parts, last, ledger: self.ledger }
    }
}

/// A bridge at work.
#[derive(Debug)]
pub struct Running {
    stop: watch::Sender<bool>,
    parts: Parts,
    /// What tells of the ledger's outcomes: it ends when the ledger's writer is gone.
    last: Parts,
    ledger: SqliteLedger,
}

impl Running {
    /// Completes when a part of it ended unasked, and names that part: credits, or what miners and
    /// the pool hear of them, go on no more, and all of it should be stopped and started anew. Why
    /// is in the log. Cancel-safe.
    pub async fn failed(&mut self) -> &'static str {
        tokio::select! {
            Some(part) = self.parts.ended() => part,
            Some(part) = self.last.ended() => part,
            else => "the mint bridge",
        }
    }

    /// Has one more part, which panics. `last`: one of those that end last.
    #[cfg(test)]
    pub(crate) fn break_a_part(&mut self, last: bool) {
        let parts = if last { &mut self.last } else { &mut self.parts };
        parts.spawn("a part that panics", async { panic!("it was bound to") });
    }

    /// Stops it. Whoever had its ledger must be gone: all shares are written then.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let all = async { while self.parts.ended().await.is_some() {} };
        if tokio::time::timeout(LAST_CALLS, all).await.is_err() {
            self.parts.cut().await;
        }
        // The last one waits for the writer, on a thread that may.
        let ledger = self.ledger;
        if let Err(error) = tokio::task::spawn_blocking(move || drop(ledger)).await {
            tracing::error!(%error, "the ledger did not close");
        }
        while self.last.ended().await.is_some() {}
    }
}

const fn scheme(valuation: Valuation) -> Scheme {
    match valuation {
        Valuation::Linear => Scheme::Linear,
        Valuation::HashpoolPow2(min_zero_bits) => Scheme::HashpoolPow2 { min_zero_bits },
    }
}

fn plan(config: &Mint) -> Plan {
    let ms = |seconds: u64| i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
    let unit_work = Work::from(config.unit_difficulty);
    Plan {
        terms: Terms { unit_work, min_amount: config.min_amount },
        seal_ms: ms(config.seal_interval_sec),
        seal_work: match config.seal_amount {
            0 => Work(u128::MAX),
            units => Work(unit_work.0.saturating_mul(units.into())),
        },
        quote_payments: config.quote_payments,
        quote_life_ms: ms(config.quote_life_sec),
        keep_shares_ms: ms(config.keep_shares_h.saturating_mul(3600)),
        calls: config.requests_at_once,
    }
}

/// What a client of the configured mint needs ([`MintHttp::new`]).
#[must_use]
pub fn http_settings(config: &Mint) -> http::Settings {
    http::Settings {
        url: config.url.clone(),
        allow_plain: false,
        ca_file: config.ca_file.clone(),
        unit: config.unit.clone(),
        method: config.method.clone(),
        timeout: Duration::from_millis(config.request_timeout_ms),
        in_flight_max: config.requests_at_once,
    }
}

fn processor_settings(config: &Mint) -> processor::Settings {
    let at = &config.processor;
    processor::Settings {
        listen: at.listen,
        security: match &at.tls_dir {
            Some(directory) => {
                Security::Mutual { directory: directory.clone(), client_sha256: at.client_sha256 }
            }
            None => Security::PlainOnLoopback,
        },
        unit: config.unit.clone(),
        method: config.method.clone(),
        wallet_quotes_per_s: at.wallet_quotes_per_sec,
    }
}
