//! The mint's HTTP API, as far as we need it: ask for a deposit quote, read a quote.
//!
//! `POST /v1/mint/quote/{method}` and `GET /v1/mint/quote/{method}/{quote_id}` (NUT-04, NUT-20,
//! custom methods as cdk-mintd 0.18.3 has them). All that comes back is bounded, and nothing of it
//! is believed but numbers and ids: a quote that isn't the one that was asked for is an error.

mod answer;
mod connect;
mod error;
mod settings;

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::text::is_id;
use super::token::Token;
use crate::types::PayoutKey;
use connect::Connector;

pub use answer::Quote;
pub use error::{MintError, Refusal};
pub use settings::{Settings, SettingsError};

/// Longest answer that is read, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(30);

/// A client of one mint. Shared by reference; connections are kept and used again.
#[derive(Debug)]
pub struct MintHttp {
    client: legacy::Client<Connector, Full<Bytes>>,
    /// `https://host/path/v1/mint/quote/ehash`.
    quotes: String,
    unit: String,
    timeout: Duration,
    in_flight: Semaphore,
}

impl MintHttp {
    /// Checks the settings and reads the file of authorities, if there is one. Connects to nobody.
    /// Blocks on the disk for that file.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let base = settings.check()?;
        let connector = Connector::new(settings.ca_file.as_deref())?;
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(settings.in_flight_max)
            .http1_max_buf_size(BODY_BYTES_MAX)
            .build(connector);
        Ok(Self {
            client,
            quotes: format!("{base}/v1/mint/quote/{}", settings.method),
            unit: settings.unit.clone(),
            timeout: settings.timeout,
            in_flight: Semaphore::new(settings.in_flight_max),
        })
    }

    /// Asks for a quote of nominal amount 1 (which is no limit) that is locked to `key`.
    /// `reference` is our name of it and `token` proves that it is ours.
    ///
    /// No answer does not mean no quote: the mint may have made it. It asks our payment processor
    /// first, and that knows the id that the quote has in this case.
    ///
    /// # Errors
    /// [`MintError`].
    pub async fn create(
        &self,
        key: &PayoutKey,
        reference: &str,
        token: &Token,
    ) -> Result<Quote, MintError> {
        let body = serde_json::json!({
            "unit": self.unit,
            "amount": 1,
            "pubkey": key.to_string(),
            "ref": reference,
            "tok": token.to_hex(),
        });
        let quote = self.call(Method::POST, &self.quotes, body.to_string()).await?;
        match quote.payout_key {
            Some(locked) if locked == *key => Ok(quote),
            _ => Err(MintError::NotAMint("the quote is not locked to the key".to_owned())),
        }
    }

    /// Reads a quote by the mint's id of it. This makes the mint ask our payment processor what was
    /// paid, unless it did so in the last 10 seconds.
    ///
    /// # Errors
    /// [`MintError`].
    pub async fn quote(&self, quote_id: &str) -> Result<Quote, MintError> {
        if !is_id(quote_id) {
            return Err(MintError::NotAnId);
        }
        let place = format!("{}/{quote_id}", self.quotes);
        let quote = self.call(Method::GET, &place, String::new()).await?;
        match quote.quote_id == quote_id {
            true => Ok(quote),
            false => Err(MintError::NotAMint("the answer is about another quote".to_owned())),
        }
    }

    /// One call. Waits for its turn as long as it takes; time runs from then on.
    async fn call(&self, method: Method, place: &str, body: String) -> Result<Quote, MintError> {
        let turn = self.in_flight.acquire().await;
        let _turn = turn.map_err(|_| MintError::Unreachable("the client is closed".to_owned()))?;
        let called = timeout(self.timeout, self.exchange(method, place, body)).await;
        let (status, body) = called.map_err(|_| MintError::TimedOut(self.timeout))??;
        match status {
            StatusCode::OK => answer::quote(&body, &self.unit),
            status => Err(answer::refusal(status, &body)),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        place: &str,
        body: String,
    ) -> Result<(StatusCode, Bytes), MintError> {
        let mut request = Request::builder().method(method).uri(place).header(ACCEPT, JSON);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, JSON);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| MintError::Unreachable(error.to_string()))?;
        let response = self.client.request(request).await.map_err(|e| error::transport(&e))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => MintError::NotAMint(format!("an answer of over {BODY_BYTES_MAX} bytes")),
            None => error::transport(error.as_ref()),
        })?;
        Ok((head.status, body.to_bytes()))
    }
}

const JSON: &str = "application/json";
