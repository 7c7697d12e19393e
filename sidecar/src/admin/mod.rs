//! What operators and their programs ask over HTTP: is it alive, is it ready, metrics, who is
//! connected, and which log lines are written. Never on the miners' port, and on a thread of its
//! own: whatever is asked, no share waits for it.
//!
//! Answers are JSON but for the metrics; `openapi.json` beside the sources describes them. Routes
//! below `/api/v1` that the monitoring of the Stratum Reference Implementation has too answer in
//! its shape.

mod answer;
pub mod ask;
mod clients;
mod health;
mod listen;
mod routes;
mod status;
#[cfg(test)]
pub(crate) mod tests;

use std::io;

pub use listen::{Listener, CONNECTIONS};

use crate::http::hint;
pub use crate::http::{read_token, Token, TokenError};
pub use crate::obs::health::{Dependency, Health, Readiness};
use crate::obs::{Clients, Counts, LogFilter};

/// Why the admin address can't be served. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address can't be bound.
    #[error("[admin].listen {0}: {1}: {hint}", hint = hint(.1))]
    Bind(String, io::Error),
    /// The token can't be used.
    #[error("[admin].token_file: {0}")]
    Token(#[from] TokenError),
}

/// What is shown. Cheap to clone.
#[derive(Debug, Clone)]
pub struct View {
    /// All counts.
    pub counts: Counts,
    /// Who is connected.
    pub clients: Clients,
    /// Which log lines are written; `None`: that is not in our hand.
    pub log: Option<LogFilter>,
    /// How long miners are kept while the pool is away, in milliseconds: for as long we serve.
    pub lost_ms: u64,
    /// Whether addresses are shown, of the network and of payments.
    pub show_addresses: bool,
}
