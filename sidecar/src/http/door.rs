//! One connection at a time through the door: bounded in number, in length and in time, so that
//! who is slow or hostile holds nothing for long.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::seats::{heed, Seat};
use crate::sys::stopped;

/// Longest head, in bytes.
const HEAD_BYTES: usize = 16 * 1024;

/// How long what may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A request's head, and asking nothing.
    pub head: Duration,
    /// A connection: who asks all the time asks on another one after this.
    pub life: Duration,
    /// An answer that is under way then, or when we stop.
    pub last: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let [head, life, last] = [10, 60, 5].map(Duration::from_secs);
        Self { head, life, last }
    }
}

/// Serves a connection until it ends, has had its time, or has to make room.
pub(super) async fn serve<S>(
    stream: S,
    router: Router,
    seat: Arc<Seat>,
    mut stop: watch::Receiver<bool>,
    patience: Patience,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(patience.head).max_buf_size(HEAD_BYTES);
    let router = router.layer(from_fn_with_state(Arc::clone(&seat), heed));
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut done = tokio::select! {
        done = &mut connection => Some(done),
        () = sleep(patience.life) => None,
        () = stopped(&mut stop) => None,
        () = seat.lost() => return tracing::debug!("an HTTP connection made room for another"),
    };
    if done.is_none() {
        connection.as_mut().graceful_shutdown();
        done = timeout(patience.last, connection).await.ok();
    }
    match done {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%error, "an HTTP connection ended"),
        None => tracing::debug!("an HTTP connection was cut off"),
    }
}
