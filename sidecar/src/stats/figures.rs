//! What the service counts of itself, and who publishes to it right now.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

/// Media type of [`Figures::text`].
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counts of the service, and the sidecars whose streams are open.
#[derive(Debug, Default)]
pub struct Figures {
    /// Events that went into the database.
    kept: AtomicU64,
    /// Events that were there already.
    repeated: AtomicU64,
    /// Transactions with events.
    commits: AtomicU64,
    /// Streams that ended with an error.
    failed: AtomicU64,
    /// HTTP requests.
    requests: AtomicU64,
    /// Listeners of the live summary.
    pub(super) listeners: AtomicU64,
    /// Open streams by sidecar, and since when there has been one.
    streams: Mutex<HashMap<String, (usize, i64)>>,
}

impl Figures {
    pub(super) fn wrote(&self, kept: u64, repeated: u64) {
        self.kept.fetch_add(kept, Relaxed);
        self.repeated.fetch_add(repeated, Relaxed);
        self.commits.fetch_add(1, Relaxed);
    }

    pub(super) fn stream_failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub(super) fn asked(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn enter(&self, sidecar: &str, now: i64) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.entry(sidecar.to_owned()).or_insert((0, now)).0 += 1;
    }

    pub(super) fn leave(&self, sidecar: &str) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((count, _)) = streams.get_mut(sidecar) {
            *count -= 1;
            if *count == 0 {
                streams.remove(sidecar);
            }
        }
    }

    /// Since when a sidecar has had a stream; `None`: it has none.
    pub(super) fn connected(&self, sidecar: &str) -> Option<i64> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.get(sidecar).map(|(_, since)| *since)
    }

    /// As OpenMetrics text.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let counters = [
            ("events_kept", "Events that went into the database", &self.kept),
            ("events_repeated", "Events that were in the database already", &self.repeated),
            ("commits", "Transactions with events", &self.commits),
            ("streams_failed", "Streams of events that ended with an error", &self.failed),
            ("http_requests", "HTTP requests", &self.requests),
        ];
        for (name, help, value) in counters {
            let name = format!("gopool_sv2_stats_{name}");
            // Writing to a String can't fail.
            let _ = write!(
                out,
                "# HELP {name} {help}.\n# TYPE {name} counter\n{name}_total {}\n",
                value.load(Relaxed)
            );
        }
        let streams = {
            let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
            streams.values().map(|(count, _)| *count as u64).sum()
        };
        let gauges = [
            ("streams", "Open streams of events", streams),
            ("live_listeners", "Pages that follow live", self.listeners.load(Relaxed)),
        ];
        for (name, help, value) in gauges {
            let name = format!("gopool_sv2_stats_{name}");
            let _ = write!(out, "# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {value}\n");
        }
        out.push_str("# EOF\n");
        out
    }
}
