//! Places for connections. When all are taken, whoever has gone longest without an answer makes
//! room: connections that only hold places keep nobody out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::middleware::Next;
use tokio::sync::Notify;

/// Above all that were never let in.
const KNOWN: u64 = 1 << 63;

/// One connection's place.
#[derive(Debug)]
pub(super) struct Seat {
    /// The higher, the later it was let in, or came; [`KNOWN`] when it was let in.
    rank: AtomicU64,
    turns: Arc<AtomicU64>,
    unseated: Notify,
}

impl Seat {
    /// Completes when another connection needs the place.
    pub(super) async fn lost(&self) {
        self.unseated.notified().await;
    }

    fn let_in(&self) {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        self.rank.store(turn | KNOWN, Ordering::Relaxed);
    }
}

/// All places.
#[derive(Debug)]
pub(super) struct Seats {
    taken: Mutex<Vec<Arc<Seat>>>,
    most: usize,
    turns: Arc<AtomicU64>,
}

impl Seats {
    pub(super) fn new(most: usize) -> Self {
        Self { taken: Mutex::default(), most: most.max(1), turns: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        // Whole between any two statements.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place. Somebody who loses one for that is told.
    pub(super) fn take(&self) -> Arc<Seat> {
        let mut taken = self.lock();
        if taken.len() >= self.most {
            let rank = |(_, seat): &(usize, &Arc<Seat>)| seat.rank.load(Ordering::Relaxed);
            if let Some((index, _)) = taken.iter().enumerate().min_by_key(rank) {
                taken.swap_remove(index).unseated.notify_one();
            }
        }
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let seat = Arc::new(Seat {
            rank: AtomicU64::new(turn),
            turns: Arc::clone(&self.turns),
            unseated: Notify::new(),
        });
        taken.push(Arc::clone(&seat));
        seat
    }

    /// The connection has ended.
    pub(super) fn give_back(&self, seat: &Arc<Seat>) {
        self.lock().retain(|taken| !Arc::ptr_eq(taken, seat));
    }
}

/// Notes that a connection was let in, and ends one that was not.
pub(super) async fn heed(
    State(seat): State<Arc<Seat>>,
    request: Request<Body>,
    next: Next,
) -> Response<Body> {
    // Everybody is answered that.
    let open = request.uri().path() == "/livez";
    let mut answer = next.run(request).await;
    match answer.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ if open => {}
        _ => seat.let_in(),
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_go_first_and_then_who_asked_longest_ago() {
        let seats = Seats::new(3);
        let [old, stranger, new] = [(); 3].map(|()| seats.take());
        new.let_in();
        old.let_in();
        new.let_in();
        let here = |seat: &Arc<Seat>| seats.lock().iter().any(|taken| Arc::ptr_eq(taken, seat));
        let next = seats.take();
        assert!(here(&old) && !here(&stranger) && here(&new) && here(&next));
        next.let_in();
        let last = seats.take();
        assert!(!here(&old) && here(&new) && here(&next) && here(&last));
        seats.give_back(&old);
        seats.give_back(&last);
        assert_eq!(seats.lock().len(), 2);
    }
}
