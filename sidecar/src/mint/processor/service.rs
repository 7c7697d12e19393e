//! The seven calls of the mint.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gopool_sv2_proto::cdk_payment_processor as cdk;
use gopool_sv2_proto::cdk_payment_processor::cdk_payment_processor_server as generated;
use gopool_sv2_proto::cdk_payment_processor::payment_identifier::Value;
use serde_json::Value as Json;
use tokio::sync::{watch, Semaphore};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::super::text::{is_id, printable};
use super::super::token::{QuoteSecret, Token};
use super::deposits::{Asker, Deposits, Payment, Refused, Unavailable, Wish};
use super::settings::Settings;
use super::stream::{self, Feed};
use super::Figures;
use crate::types::{Bucket, PayoutKey, Rate};

/// The protocol that is spoken here, as the mint names it in [`VERSION_HEADER`].
pub const VERSION: &str = "4.0.0";
/// Metadata of every call that names the protocol's version.
pub const VERSION_HEADER: &str = "x-cdk-protocol-version";

/// Most streams of payments at a time. One mint has one; others are left over from connections
/// that nobody knows yet to be lost.
const STREAMS_MAX: usize = 4;
/// Most readings of the ledger at a time: further calls wait.
const READINGS_MAX: usize = 4;
/// Longest JSON of further fields that is read, in bytes.
const EXTRA_BYTES_MAX: usize = 4096;
/// Longest name of a quote of the pool's, in bytes.
const REFERENCE_BYTES_MAX: usize = 128;

/// Answers the mint out of the books.
pub(super) struct Service<D> {
    deposits: Arc<D>,
    secret: QuoteSecret,
    unit: String,
    method: String,
    wallets: Wallets,
    figures: Arc<Figures>,
    streams: Arc<Semaphore>,
    readings: Semaphore,
    stopping: watch::Receiver<bool>,
}

/// How many quotes wallets may make.
struct Wallets {
    /// `None`: no quote at all.
    rate: Option<Rate>,
    bucket: Mutex<Bucket>,
    started: Instant,
}

impl<D: Deposits> Service<D> {
    pub(super) fn new(
        settings: &Settings,
        secret: QuoteSecret,
        deposits: Arc<D>,
        figures: Arc<Figures>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let count = settings.wallet_quotes_per_s;
        let rate = (count > 0).then(|| Rate::new(count, Duration::from_secs(1), count));
        Self {
            deposits,
            secret,
            unit: settings.unit.clone(),
            method: settings.method.clone(),
            wallets: Wallets { rate, bucket: Mutex::default(), started: Instant::now() },
            figures,
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            readings: Semaphore::new(READINGS_MAX),
            stopping,
        }
    }

    /// What a request for a quote amounts to, if it is one that may be made.
    fn wish(&self, request: cdk::CreatePaymentRequest) -> Result<Wish, Status> {
        let Some(cdk::incoming_payment_options::Options::Custom(options)) =
            request.options.and_then(|options| options.options)
        else {
            let text = format!("only quotes of the custom method {} are made here", self.method);
            return Err(Status::invalid_argument(text));
        };
        if let Some(amount) = &options.amount {
            if !amount.unit.eq_ignore_ascii_case(&self.unit) {
                let unit = printable(&amount.unit);
                let text = format!("the unit here is {}, not {unit}", self.unit);
                return Err(Status::invalid_argument(text));
            }
        }
        if !is_id(&options.quote_id) {
            return Err(Status::invalid_argument("quote_id is missing or no id"));
        }
        let key = options.pubkey.unwrap_or_default();
        if key.is_empty() {
            let text = "quotes are made only locked (NUT-20): ask with a pubkey";
            return Err(Status::invalid_argument(text));
        }
        let payout_key = PayoutKey::from_hex(key.as_bytes())
            .map_err(|error| Status::invalid_argument(format!("pubkey: {error}")))?;
        let asker = self.asker(options.extra_json.as_deref(), &payout_key)?;
        Ok(Wish { quote_id: options.quote_id, payout_key, asker })
    }

    /// Who asks, told by the further fields of the request.
    fn asker(&self, extra: Option<&str>, key: &PayoutKey) -> Result<Asker, Status> {
        let extra = extra.unwrap_or_default();
        if extra.len() > EXTRA_BYTES_MAX {
            return Err(Status::invalid_argument("the request has too many further fields"));
        }
        let fields: Json = match extra {
            "" => Json::Null,
            text => serde_json::from_str(text)
                .map_err(|_| Status::invalid_argument("the further fields are no JSON"))?,
        };
        let (reference, token) = match (fields.get("ref"), fields.get("tok")) {
            // The wallet has fields of its own, or none.
            (_, None) => return self.wallet(),
            (Some(Json::String(reference)), Some(Json::String(token))) => (reference, token),
            _ => return Err(forged()),
        };
        let token = Token::from_hex(token).ok_or_else(forged)?;
        if reference.len() > REFERENCE_BYTES_MAX || !self.secret.verify(reference, key, &token) {
            return Err(forged());
        }
        Ok(Asker::Pool { reference: reference.clone() })
    }

    fn wallet(&self) -> Result<Asker, Status> {
        let Some(rate) = self.wallets.rate else {
            return Err(Status::permission_denied("wallets make no quotes here"));
        };
        let now = self.wallets.started.elapsed();
        let mut bucket = self.wallets.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        match bucket.take(rate, 1, now) {
            true => Ok(Asker::Wallet),
            false => Err(Status::resource_exhausted("too many quotes at present: ask later")),
        }
    }

    /// A payment as the mint reads it.
    fn payment(&self, identifier: &str, payment: Payment) -> cdk::WaitIncomingPaymentResponse {
        incoming(&self.unit, identifier, payment)
    }
}

/// A payment as the mint reads it.
pub(super) fn incoming(
    unit: &str,
    identifier: &str,
    payment: Payment,
) -> cdk::WaitIncomingPaymentResponse {
    cdk::WaitIncomingPaymentResponse {
        payment_identifier: Some(named(identifier)),
        payment_amount: Some(cdk::AmountMessage { value: payment.amount, unit: unit.to_owned() }),
        payment_id: payment.payment_id,
    }
}

fn named(identifier: &str) -> cdk::PaymentIdentifier {
    cdk::PaymentIdentifier {
        r#type: cdk::PaymentIdentifierType::CustomId.into(),
        value: Some(Value::Id(identifier.to_owned())),
    }
}

fn forged() -> Status {
    Status::permission_denied("ref and tok don't belong together, or not to this pubkey")
}

fn unavailable(error: &Unavailable) -> Status {
    Status::unavailable(error.to_string())
}

fn no_payments_out() -> Status {
    let text = "nothing is paid out by this method: set min_melt and max_melt of the mint to 1";
    Status::unimplemented(text)
}

/// Refuses a call of another version of the protocol.
pub(super) fn same_version(request: Request<()>) -> Result<Request<()>, Status> {
    let named = request.metadata().get(VERSION_HEADER).map(|value| value.to_str());
    let named = match named {
        Some(Ok(VERSION)) => return Ok(request),
        Some(Ok(other)) => printable(other),
        Some(Err(_)) => "one that is no text".to_owned(),
        None => "none".to_owned(),
    };
    tracing::warn!(
        version = %named,
        "the mint speaks another version of the payment processor protocol; spoken here: {VERSION}"
    );
    let text = format!(
        "protocol version: the mint speaks {named}, this payment processor {VERSION}: use a mint \
         of that version ({VERSION_HEADER})"
    );
    Err(Status::failed_precondition(text))
}

#[tonic::async_trait]
impl<D: Deposits> generated::CdkPaymentProcessor for Service<D> {
    type WaitPaymentEventStream = ReceiverStream<Result<cdk::PaymentEventResponse, Status>>;

    async fn get_settings(
        &self,
        _: Request<cdk::EmptyRequest>,
    ) -> Result<Response<cdk::SettingsResponse>, Status> {
        self.figures.settings.fetch_add(1, Relaxed);
        let custom = [(self.method.clone(), "{}".to_owned())].into();
        Ok(Response::new(cdk::SettingsResponse { unit: self.unit.clone(), custom }))
    }

    async fn create_payment(
        &self,
        request: Request<cdk::CreatePaymentRequest>,
    ) -> Result<Response<cdk::CreatePaymentResponse>, Status> {
        let wish = self.wish(request.into_inner()).inspect_err(|status| {
            self.figures.refused.fetch_add(1, Relaxed);
            tracing::debug!(reason = status.message(), "a quote is refused");
        })?;
        let created = self.deposits.create(wish).await.map_err(|refused| {
            self.figures.refused.fetch_add(1, Relaxed);
            tracing::warn!(error = %refused, "a quote is refused");
            let text = refused.to_string();
            match refused {
                Refused::UnknownReference => Status::not_found(text),
                Refused::OtherKey => Status::permission_denied(text),
                Refused::Taken => Status::already_exists(text),
                Refused::Unavailable(error) => unavailable(&error),
            }
        })?;
        self.figures.created.fetch_add(1, Relaxed);
        Ok(Response::new(cdk::CreatePaymentResponse {
            request_identifier: Some(named(&created.identifier)),
            request: created.request,
            expiry: created.expiry,
            // The mint would show it to everybody.
            extra_json: None,
        }))
    }

    async fn check_incoming_payment(
        &self,
        request: Request<cdk::CheckIncomingPaymentRequest>,
    ) -> Result<Response<cdk::CheckIncomingPaymentResponse>, Status> {
        self.figures.checks.fetch_add(1, Relaxed);
        let identifier = match request.into_inner().request_identifier {
            Some(cdk::PaymentIdentifier { r#type, value: Some(Value::Id(id)) })
                if r#type == i32::from(cdk::PaymentIdentifierType::CustomId) =>
            {
                id
            }
            _ => return Err(Status::invalid_argument("request_identifier must be a CUSTOM_ID")),
        };
        // It is never closed.
        let reading = self.readings.acquire().await;
        let paid = self.deposits.payments(&identifier).await.map_err(|error| {
            tracing::warn!(%error, "the mint can't be told what was paid on a quote");
            unavailable(&error)
        })?;
        drop(reading);
        let payments = paid.into_iter().map(|payment| self.payment(&identifier, payment)).collect();
        Ok(Response::new(cdk::CheckIncomingPaymentResponse { payments }))
    }

    async fn wait_payment_event(
        &self,
        _: Request<cdk::EmptyRequest>,
    ) -> Result<Response<Self::WaitPaymentEventStream>, Status> {
        let Ok(seat) = Arc::clone(&self.streams).try_acquire_owned() else {
            let text = "too many streams of payments: only one mint may use this processor";
            return Err(Status::resource_exhausted(text));
        };
        let feed = Feed {
            deposits: Arc::clone(&self.deposits),
            unit: self.unit.clone(),
            figures: Arc::clone(&self.figures),
            stopping: self.stopping.clone(),
            _seat: seat,
        };
        Ok(Response::new(stream::open(feed)))
    }

    async fn get_payment_quote(
        &self,
        _: Request<cdk::PaymentQuoteRequest>,
    ) -> Result<Response<cdk::PaymentQuoteResponse>, Status> {
        Err(no_payments_out())
    }

    async fn make_payment(
        &self,
        _: Request<cdk::MakePaymentRequest>,
    ) -> Result<Response<cdk::MakePaymentResponse>, Status> {
        Err(no_payments_out())
    }

    async fn check_outgoing_payment(
        &self,
        _: Request<cdk::CheckOutgoingPaymentRequest>,
    ) -> Result<Response<cdk::MakePaymentResponse>, Status> {
        Err(no_payments_out())
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::super::deposits::{Created, Place, Sent};
    use super::super::settings::Security;
    use super::*;

    /// Books that take every quote.
    struct Willing;

    impl Deposits for Willing {
        async fn create(&self, wish: Wish) -> Result<Created, Refused> {
            let request = format!("ehash:{}", wish.quote_id);
            Ok(Created { identifier: wish.quote_id, request, expiry: None })
        }

        async fn payments(&self, _: &str) -> Result<Vec<Payment>, Unavailable> {
            Ok(Vec::new())
        }

        async fn unconfirmed(&self, _: Place, _: usize) -> Result<Vec<Sent>, Unavailable> {
            Ok(Vec::new())
        }

        fn woken(&self) -> watch::Receiver<u64> {
            watch::Sender::new(0).subscribe()
        }
    }

    async fn ask(service: &Service<Willing>, extra_json: Option<String>) -> Option<Code> {
        use generated::CdkPaymentProcessor as _;
        let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        let options = cdk::CustomIncomingPaymentOptions {
            quote_id: "id".into(),
            pubkey: Some(key.into()),
            extra_json,
            ..Default::default()
        };
        let options = cdk::incoming_payment_options::Options::Custom(options);
        let options = Some(cdk::IncomingPaymentOptions { options: Some(options) });
        let asked = service.create_payment(Request::new(cdk::CreatePaymentRequest { options }));
        asked.await.err().map(|status| status.code())
    }

    #[tokio::test(start_paused = true)]
    async fn rejects_wallets_that_make_quotes_too_fast_and_never_the_pool() {
        let settings = Settings {
            listen: ([127, 0, 0, 1], 0).into(),
            security: Security::PlainOnLoopback,
            unit: "hash".into(),
            method: "ehash".into(),
            wallet_quotes_per_s: 3,
        };
        let (_running, stopping) = watch::channel(false);
        let secret = QuoteSecret::new([7; 32]);
        let figures = Arc::new(Figures::default());
        let service = Service::new(&settings, secret.clone(), Arc::new(Willing), figures, stopping);
        let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        let key = PayoutKey::from_hex(key.as_bytes()).unwrap();
        let pool = || {
            let tok = secret.token("a", &key).to_hex();
            Some(serde_json::json!({ "ref": "a", "tok": tok }).to_string())
        };
        for _ in 0..2 {
            for _ in 0..3 {
                assert_eq!(ask(&service, None).await, None);
            }
            assert_eq!(ask(&service, None).await, Some(Code::ResourceExhausted));
            assert_eq!(ask(&service, pool()).await, None);
            tokio::time::advance(Duration::from_secs(60)).await;
        }
    }
}
