//! Pages that follow live: server-sent events with the summary, as it changes.

use std::convert::Infallible;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{HeaderValue, CACHE_CONTROL};
use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, watch, Semaphore};
use tokio::time::{interval, timeout, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;

use super::answer::{error, text, unread, Answer, Code};
use super::View;
use crate::sys::stopped;

/// Listeners at a time.
pub(in crate::stats) const LISTENERS: usize = 64;
/// How often the summary is looked at.
const EVERY: Duration = Duration::from_secs(2);
/// How often a listener hears that nothing changed.
const COMMENT: Duration = Duration::from_secs(15);
/// How long a listener may take nothing before it is sent away.
const STALL: Duration = Duration::from_secs(30);

/// The newest summary for all listeners, and their places.
#[derive(Debug)]
pub(in crate::stats) struct Live {
    newest: watch::Sender<Option<Bytes>>,
    places: Arc<Semaphore>,
}

impl Live {
    pub(in crate::stats) fn new() -> Self {
        let (newest, _) = watch::channel(None);
        Self { newest, places: Arc::new(Semaphore::new(LISTENERS)) }
    }
}

/// A summary as an event. Each goes out whole or not at all.
fn event(summary: &Value) -> Bytes {
    Bytes::from(format!("event: summary\ndata: {summary}\n\n"))
}

/// A summary without what changes by itself.
fn essence(summary: &Value) -> Value {
    let mut essence = summary.clone();
    if let Some(essence) = essence.as_object_mut() {
        essence.remove("now_ms");
    }
    essence
}

/// Looks at the summary for as long as anybody listens.
async fn follow(view: View) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut stop) = (None, view.stop.clone());
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stopped(&mut stop) => return,
        }
        // The last listener's end is seen at the next look; the next listener starts another one.
        let idle = view.live.newest.send_if_modified(|newest| {
            let idle = view.live.newest.receiver_count() == 0;
            if idle {
                *newest = None;
            }
            idle
        });
        if idle {
            return;
        }
        match view.summary().await {
            Ok(summary) => {
                let now = essence(&summary);
                if last.as_ref() != Some(&now) {
                    last = Some(now);
                    view.live.newest.send_replace(Some(event(&summary)));
                }
            }
            Err(fault) => tracing::debug!(error = %fault, "no summary for live pages"),
        }
    }
}

/// One listener.
pub(super) async fn listen(view: View) -> Answer {
    let Ok(place) = Arc::clone(&view.live.places).try_acquire_owned() else {
        let text = format!("{LISTENERS} pages follow already: ask for /api/v1/summary instead");
        return error(Code::TooMany, &text);
    };
    let first = match view.summary().await {
        Ok(summary) => event(&summary),
        Err(fault) => return unread(&fault),
    };
    let mut newest = view.live.newest.subscribe();
    // Who is the first starts the looking.
    let begins = view.live.newest.send_if_modified(|newest| {
        let begins = newest.is_none();
        if begins {
            *newest = Some(first.clone());
        }
        begins
    });
    newest.mark_unchanged();
    if begins {
        tokio::spawn(follow(view.clone()));
    }
    let (sender, receiver) = mpsc::channel::<Result<Bytes, Infallible>>(4);
    let figures = view.store.figures();
    figures.listeners.fetch_add(1, Relaxed);
    let mut stop = view.stop.clone();
    tokio::spawn(async move {
        let told = async {
            let mut next = Bytes::from(format!("retry: 1000\n\n{}", text_of(&first)));
            loop {
                match timeout(STALL, sender.send(Ok(next))).await {
                    Ok(Ok(())) => {}
                    _ => return,
                }
                next = match timeout(COMMENT, newest.changed()).await {
                    Ok(Ok(())) => newest.borrow_and_update().clone().unwrap_or_default(),
                    Ok(Err(_)) => return,
                    Err(_) => Bytes::from_static(b": nothing new\n\n"),
                };
            }
        };
        tokio::select! {
            () = told => {}
            () = sender.closed() => {}
            () = stopped(&mut stop) => {}
        }
        figures.listeners.fetch_sub(1, Relaxed);
        drop(place);
    });
    let body = Body::from_stream(ReceiverStream::new(receiver));
    let mut answer = text(StatusCode::OK, "text/event-stream", body);
    // What stands in between must not collect it.
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}

fn text_of(event: &Bytes) -> String {
    String::from_utf8_lossy(event).into_owned()
}
