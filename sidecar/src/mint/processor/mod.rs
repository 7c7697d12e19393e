//! The payment processor that a stock mint (cdk-mintd 0.18.3) dials.
//!
//! To the mint we are what a Lightning node is to others: it asks where a quote is to be paid, and
//! hears what was paid. Here "paid" means that a credit of the ledger was sent. The mint
//! acknowledges nothing and drops what it can't use, so all that is said here is said again: on
//! each new stream everything that is not confirmed, and on each question all that was ever sent.
//!
//! Nothing is kept in here: [`Deposits`] has the books.

mod deposits;
mod listen;
mod service;
mod settings;
mod stream;
mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::Arc;

use gopool_sv2_proto::cdk_payment_processor::cdk_payment_processor_server as generated;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::interceptor::InterceptedService;

use super::token::QuoteSecret;
use listen::Door;
use service::{same_version, Service};

pub use deposits::{Asker, Created, Deposits, Payment, Place, Refused, Sent, Unavailable, Wish};
pub use listen::CONNECTIONS;
pub use service::{VERSION, VERSION_HEADER};
pub use settings::{OpenError, Security, Settings};

/// Longest message of a mint's, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// What the processor has done since it was opened. Counters only grow.
#[derive(Debug, Default)]
pub struct Figures {
    /// Streams of payments that are open now. 0: no mint listens.
    pub streams: AtomicUsize,
    /// `GetSettings` calls: three for each start of a mint.
    pub settings: AtomicU64,
    /// Quotes that were let be made.
    pub created: AtomicU64,
    /// Quotes that were refused.
    pub refused: AtomicU64,
    /// `CheckIncomingPayment` calls.
    pub checks: AtomicU64,
    /// Payments that were put on a stream, each as often as it was.
    pub events: AtomicU64,
    /// Connections that failed before their first call.
    pub failed_connections: AtomicU64,
}

/// An open endpoint.
#[derive(Debug)]
pub struct Processor<D> {
    listener: TcpListener,
    address: SocketAddr,
    settings: Settings,
    secret: QuoteSecret,
    deposits: Arc<D>,
    figures: Arc<Figures>,
    door: Door,
}

impl<D: Deposits> Processor<D> {
    /// Checks the settings, reads the certificates and opens the port. Mints that connect wait
    /// until [`Processor::serve`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(
        settings: Settings,
        secret: QuoteSecret,
        deposits: Arc<D>,
    ) -> Result<Self, OpenError> {
        settings.check()?;
        let figures = Arc::new(Figures::default());
        let door = Door::new(&settings.security, Arc::clone(&figures)).await?;
        let failed = |error| OpenError::Listen { address: settings.listen, error };
        let listener = TcpListener::bind(settings.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, settings, secret, deposits, figures, door })
    }

    /// Where it listens; the port is the real one.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it does, to be read at any time.
    #[must_use]
    pub fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    /// Serves mints until `stop` is over; then ends the streams, lets calls that run be answered
    /// and comes back.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) {
        let (stopping, stopped) = watch::channel(false);
        let service =
            Service::new(&self.settings, self.secret, self.deposits, self.figures, stopped.clone());
        let service = generated::CdkPaymentProcessorServer::new(service)
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let service = InterceptedService::new(service, same_version as listen::Check);
        tracing::info!(address = %self.address, "the payment processor listens for the mint");
        tokio::join!(listen::accept(self.listener, self.door, service, stopped), async {
            stop.await;
            // Who does not listen any more is stopped.
            let _ = stopping.send(true);
        });
    }
}

/// Over when the processor stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // A sender that is gone stops it as well.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
