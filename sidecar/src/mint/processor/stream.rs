//! The stream of payments to the mint: first all that are not confirmed, then each as it is sent.
//!
//! The books are the queue. What is here is one page of them at most and a place to go on from, so
//! a mint that reads slowly, or not at all, holds up nobody and costs no memory.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use gopool_sv2_proto::cdk_payment_processor as cdk;
use gopool_sv2_proto::cdk_payment_processor::payment_event_response::Event;
use tokio::sync::{mpsc, watch, OwnedSemaphorePermit};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::deposits::{Deposits, Place};
use super::service::incoming;
use super::{stopped, Figures};

/// Payments that are read from the books at a time.
const PAGE: usize = 64;
/// Payments that wait in memory for the mint to read them.
const WAITING: usize = 16;

type Item = Result<cdk::PaymentEventResponse, Status>;

/// What one stream needs.
pub(super) struct Feed<D> {
    pub(super) deposits: Arc<D>,
    pub(super) unit: String,
    pub(super) figures: Arc<Figures>,
    pub(super) stopping: watch::Receiver<bool>,
    /// Given back when the stream is over.
    pub(super) _seat: OwnedSemaphorePermit,
}

/// Opens a stream. It ends when the mint goes, the processor stops or the books can't be read; the
/// mint then opens another, which begins anew.
pub(super) fn open<D: Deposits>(mut feed: Feed<D>) -> ReceiverStream<Item> {
    let (mint, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        feed.figures.streams.fetch_add(1, Relaxed);
        tracing::info!("the mint listens for payments");
        feed.deposits.mint_listens();
        let end = feed.run(&mint).await;
        feed.figures.streams.fetch_sub(1, Relaxed);
        match end {
            End::Gone => tracing::info!("the mint listens no more"),
            End::Stopping => tracing::debug!("a stream of payments ends: this process stops"),
            End::Broken(error) => {
                tracing::warn!(%error, "a stream of payments ends; the mint will open another");
                // A mint that is gone needs no reason.
                let _ = mint.try_send(Err(Status::unavailable(error)));
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// Why a stream is over.
enum End {
    Gone,
    Stopping,
    Broken(String),
}

impl<D: Deposits> Feed<D> {
    async fn run(&mut self, mint: &mpsc::Sender<Item>) -> End {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            end = self.tell(mint) => end,
            () = mint.closed() => End::Gone,
            () = stopped(&mut stopping) => End::Stopping,
        }
    }

    async fn tell(&self, mint: &mpsc::Sender<Item>) -> End {
        let mut woken = self.deposits.woken();
        let mut place = Place::START;
        loop {
            // Before the books are read: what comes while they are being read wakes again.
            woken.mark_unchanged();
            let page = match self.deposits.unconfirmed(place, PAGE).await {
                Ok(page) => page,
                Err(error) => return End::Broken(error.to_string()),
            };
            if page.is_empty() {
                if woken.changed().await.is_err() {
                    return End::Broken("the ledger is closed".to_owned());
                }
                continue;
            }
            for sent in page {
                if sent.place <= place {
                    // Going on from here would go round in a circle.
                    return End::Broken("the ledger is out of order".to_owned());
                }
                place = sent.place;
                let payment = incoming(&self.unit, &sent.identifier, sent.payment);
                let event = Some(Event::PaymentReceived(payment));
                if mint.send(Ok(cdk::PaymentEventResponse { event })).await.is_err() {
                    return End::Gone;
                }
                self.figures.events.fetch_add(1, Relaxed);
            }
        }
    }
}
