//! What the mint of tests does with requests and events.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gopool_sv2_proto::cdk_payment_processor as cdk;
use gopool_sv2_proto::cdk_payment_processor::incoming_payment_options::Options;
use gopool_sv2_proto::cdk_payment_processor::payment_identifier::Value;
use serde_json::{json, Value as Json};
use tokio::sync::watch;

use super::book::{Database, Row};
use super::wire::{call, Client};
use super::Settings;

/// Ids of quotes are never given twice, whatever becomes of databases.
static NEXT_QUOTE: AtomicU64 = AtomicU64::new(1);

/// An error of the mint's: code and words (NUT-00). HTTP status 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(pub u64, pub String);

/// What goes wrong, as long as it is set.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// So many of the next events of the stream are dropped with a warning, as on a failure of the
    /// database.
    pub drop_events: u64,
    /// Each HTTP request is held so long first.
    pub slow: Duration,
    /// So many of the next answers to POST are lost: the work is done, the connection is cut.
    pub lose_answers: u64,
    /// Quotes are not written down until [`super::FakeMint::release_rows`]: the processor was asked
    /// already.
    pub hold_rows: bool,
    /// So many of the next quotes are not written down, for the database fails: the processor was
    /// asked already.
    pub drop_rows: u64,
    /// So many of the next quotes are written down, and shown, under another id than the processor
    /// was told.
    pub other_ids: u64,
    /// The next quote is locked to this key.
    pub other_key: Option<String>,
    /// Quotes expire then, whatever the processor said.
    pub expiry: Option<u64>,
    /// The processor is not asked when quotes are made: the mint has another one.
    pub unasked: bool,
    /// This quote can't be shown: the database fails.
    pub hide: Option<String>,
    /// Who asks for this quote waits, for as long as this is set.
    pub hang: Option<String>,
    /// Checks fail as they do when a payment is another quote's.
    pub refuse_checks: bool,
}

/// What the mint has seen. Counts since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// `GetSettings` calls.
    pub settings_calls: u64,
    /// `WaitPaymentEvent` streams that were opened.
    pub streams: u64,
    /// Streams that ended.
    pub streams_ended: u64,
    /// Tries to open a stream that failed.
    pub streams_refused: u64,
    /// `CreatePayment` calls.
    pub creates: u64,
    /// `CheckIncomingPayment` calls.
    pub checks: u64,
    /// Events that came, whatever became of them.
    pub events: u64,
    /// Events that added a payment.
    pub credited: u64,
    /// Events that were dropped: no such quote, amount 0, another quote's payment, or a fault.
    pub dropped: u64,
    /// Events of payments that were known already.
    pub repeated: u64,
    /// HTTP requests, when they came in.
    pub requests: u64,
    /// HTTP requests that are not answered yet.
    pub requests_open: u64,
    /// Most of them at a time.
    pub requests_at_once: u64,
}

/// The state of a mint that runs.
#[derive(Debug)]
pub(super) struct Desk {
    settings: Settings,
    client: Client,
    database: Mutex<Database>,
    faults: Mutex<Faults>,
    seen: Mutex<Seen>,
    /// Names of the payments that came by the stream, whatever became of them, in order.
    heard: Mutex<Vec<String>>,
    changed: watch::Sender<()>,
    released: watch::Sender<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    pub(super) fn new(settings: Settings, client: Client, database: Database) -> Self {
        Self {
            settings,
            client,
            database: Mutex::new(database),
            faults: Mutex::default(),
            seen: Mutex::default(),
            heard: Mutex::default(),
            changed: watch::Sender::new(()),
            released: watch::Sender::new(()),
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(super) fn database(&self) -> Database {
        lock(&self.database).clone()
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    pub(super) fn heard(&self) -> Vec<String> {
        lock(&self.heard).clone()
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Seen)) {
        count(&mut lock(&self.seen));
        self.changed.send_replace(());
    }

    pub(super) async fn until(&self, wanted: impl Fn(&Seen) -> bool) {
        let mut changed = self.changed.subscribe();
        while !wanted(&lock(&self.seen)) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    pub(super) fn pass_ten_seconds(&self) {
        lock(&self.database).quotes.values_mut().for_each(|row| row.checked = false);
    }

    pub(super) fn forget_payments(&self) {
        lock(&self.database).quotes.values_mut().for_each(|row| row.payments.clear());
    }

    pub(super) fn release_rows(&self) {
        lock(&self.faults).hold_rows = false;
        self.released.send_replace(());
    }

    pub(super) fn pay(&self, quote_id: &str, payment_id: &str, amount: u64) -> bool {
        lock(&self.database).add(quote_id, payment_id, amount) == Some(true)
    }

    /// A payment came in by the stream. What can't be used is dropped: nobody hears of it.
    pub(super) fn event(&self, payment: &cdk::WaitIncomingPaymentResponse) {
        let (identifier, payment_id, amount) = told(payment);
        lock(&self.heard).push(payment_id.to_owned());
        let faulty = take(&mut lock(&self.faults).drop_events);
        let added = if faulty || amount == 0 {
            None
        } else {
            let mut database = lock(&self.database);
            let mut rows = database.quotes.iter();
            let id = rows.find(|(_, row)| row.identifier == identifier).map(|(id, _)| id.clone());
            id.and_then(|id| database.add(&id, payment_id, amount))
        };
        self.count(|seen| {
            seen.events += 1;
            match added {
                Some(true) => seen.credited += 1,
                Some(false) => seen.repeated += 1,
                None => seen.dropped += 1,
            }
        });
    }

    /// Makes a quote.
    pub(super) async fn post(&self, mut body: Json) -> Result<Json, Fault> {
        let field = |body: &mut Json, name: &str| {
            body.as_object_mut().and_then(|fields| fields.remove(name)).unwrap_or_default()
        };
        let unit = field(&mut body, "unit");
        if !unit.as_str().is_some_and(|unit| unit.eq_ignore_ascii_case(self.settings.unit)) {
            return Err(Fault(11013, "Unit unsupported".into()));
        }
        let amount = field(&mut body, "amount").as_u64();
        if amount == Some(0) {
            return Err(Fault(11006, "Amount must be between 1 and 1000000 is 0".into()));
        }
        let pubkey = field(&mut body, "pubkey").as_str().map(str::to_owned);
        let description = field(&mut body, "description").as_str().map(str::to_owned);
        let number = NEXT_QUOTE.fetch_add(1, Ordering::Relaxed);
        let quote_id = format!("019a0000-0000-7000-8000-{number:012x}");
        let extra = body.as_object().filter(|fields| !fields.is_empty());
        let wish = cdk::CustomIncomingPaymentOptions {
            description,
            amount: amount
                .map(|value| cdk::AmountMessage { value, unit: self.settings.unit.into() }),
            unix_expiry: Some(4_000_000_000),
            extra_json: extra.map(|fields| json!(fields).to_string()),
            quote_id: quote_id.clone(),
            pubkey: pubkey.clone(),
        };
        let unasked = lock(&self.faults).unasked;
        let created = match unasked {
            true => cdk::CreatePaymentResponse {
                request_identifier: Some(custom(format!("elsewhere-{number}"))),
                request: format!("elsewhere-{number}"),
                ..Default::default()
            },
            false => self.ask(wish).await?,
        };
        self.hold().await;
        let (quote_id, pubkey, expiry) = {
            let mut faults = lock(&self.faults);
            if take(&mut faults.drop_rows) {
                return Err(Fault(50000, "Database error".into()));
            }
            let id = match take(&mut faults.other_ids) {
                true => format!("019a0000-0000-7000-9000-{number:012x}"),
                false => quote_id,
            };
            (id, faults.other_key.take().or(pubkey), faults.expiry.or(created.expiry))
        };
        let row = Row {
            identifier: named(created.request_identifier.as_ref()).to_owned(),
            request: created.request,
            pubkey,
            amount,
            expiry,
            payments: Default::default(),
            issued: 0,
            checked: false,
        };
        let mut database = lock(&self.database);
        if database.is_taken(&row.identifier, &row.request) {
            return Err(Fault(20006, "Invoice already paid or pending".into()));
        }
        let answer = self.shown(&quote_id, &row);
        database.quotes.insert(quote_id, row);
        Ok(answer)
    }

    /// Asks the processor where a quote is to be paid.
    async fn ask(
        &self,
        wish: cdk::CustomIncomingPaymentOptions,
    ) -> Result<cdk::CreatePaymentResponse, Fault> {
        let options = Some(cdk::IncomingPaymentOptions { options: Some(Options::Custom(wish)) });
        self.count(|seen| seen.creates += 1);
        let request = call(cdk::CreatePaymentRequest { options }, &self.settings);
        let created = self.client().create_payment(request).await;
        let invalid = |_| Fault(50000, "Invalid payment request".into());
        Ok(created.map_err(invalid)?.into_inner())
    }

    async fn hold(&self) {
        let mut released = self.released.subscribe();
        while lock(&self.faults).hold_rows {
            if released.changed().await.is_err() {
                return;
            }
        }
    }

    /// Shows a quote, after a check.
    pub(super) async fn get(&self, quote_id: &str) -> Result<Json, Fault> {
        self.check(quote_id).await?;
        while lock(&self.faults).hang.as_deref() == Some(quote_id) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if lock(&self.faults).hide.as_deref() == Some(quote_id) {
            return Err(Fault(50000, "Database error".into()));
        }
        let database = lock(&self.database);
        let row = database.quotes.get(quote_id).ok_or_else(unknown)?;
        Ok(self.shown(quote_id, row))
    }

    /// Mints, after a check.
    pub(super) async fn issue(&self, quote_id: &str, amount: u64) -> Result<(), Fault> {
        self.check(quote_id).await?;
        let mut database = lock(&self.database);
        let row = database.quotes.get_mut(quote_id).ok_or_else(unknown)?;
        if row.paid() - row.issued < amount {
            return Err(Fault(20001, "Quote not paid".into()));
        }
        row.issued += amount;
        Ok(())
    }

    /// Asks the processor what was paid, once in ten seconds; a try that fails counts.
    async fn check(&self, quote_id: &str) -> Result<(), Fault> {
        let identifier = {
            let mut database = lock(&self.database);
            let row = database.quotes.get_mut(quote_id).ok_or_else(unknown)?;
            if std::mem::replace(&mut row.checked, true) {
                return Ok(());
            }
            row.identifier.clone()
        };
        self.count(|seen| seen.checks += 1);
        let request_identifier = Some(custom(identifier));
        let request = cdk::CheckIncomingPaymentRequest { request_identifier };
        let paid = self.client().check_incoming_payment(call(request, &self.settings)).await;
        let failed = |_| Fault(50000, "Payment backend error".into());
        let payments = paid.map_err(failed)?.into_inner().payments;
        if lock(&self.faults).refuse_checks {
            return Err(Fault(20006, "Invoice already paid or pending".into()));
        }
        let mut database = lock(&self.database);
        // One transaction: all of it or nothing.
        let mut changed = database.clone();
        for payment in &payments {
            let (_, payment_id, amount) = told(payment);
            if amount > 0 && changed.add(quote_id, payment_id, amount).is_none() {
                return Err(Fault(20006, "Invoice already paid or pending".into()));
            }
        }
        *database = changed;
        Ok(())
    }

    /// What wallets are shown of a quote: no state.
    fn shown(&self, quote_id: &str, row: &Row) -> Json {
        json!({
            "quote": quote_id,
            "request": row.request,
            "method": self.settings.method,
            "amount": row.amount,
            "amount_paid": row.paid(),
            "amount_issued": row.issued,
            "updated_at": 1_800_000_000_u64,
            "unit": self.settings.unit,
            "expiry": row.expiry,
            "pubkey": row.pubkey,
        })
    }
}

fn unknown() -> Fault {
    Fault(50000, "Unknown quote".into())
}

/// Whether one of so many is left; takes it.
fn take(left: &mut u64) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}

fn custom(identifier: String) -> cdk::PaymentIdentifier {
    cdk::PaymentIdentifier {
        r#type: cdk::PaymentIdentifierType::CustomId.into(),
        value: Some(Value::Id(identifier)),
    }
}

fn named(identifier: Option<&cdk::PaymentIdentifier>) -> &str {
    match identifier.and_then(|identifier| identifier.value.as_ref()) {
        Some(Value::Id(id) | Value::Hash(id)) => id,
        None => "",
    }
}

/// Identifier, payment id and amount of a payment.
fn told(payment: &cdk::WaitIncomingPaymentResponse) -> (&str, &str, u64) {
    let amount = payment.payment_amount.as_ref().map_or(0, |amount| amount.value);
    (named(payment.payment_identifier.as_ref()), &payment.payment_id, amount)
}
