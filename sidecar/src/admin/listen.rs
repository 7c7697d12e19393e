//! The admin address: a TCP port, or a Unix socket.

use std::{io, thread};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::HeaderValue;
use axum::middleware::Next;
use tokio::sync::watch;

use super::answer::{error, Answer, Reason};
use super::routes::router;
use super::{AdminError, View};
use crate::config::Admin;
#[cfg(test)]
use crate::http::Token;
use crate::http::{self, BindError, Gate, Hall, Patience, Refused};

/// Connections at a time.
pub const CONNECTIONS: usize = 32;

/// A bound admin address.
#[derive(Debug)]
pub struct Listener(http::Listener);

impl Listener {
    /// Reads the token and binds the address; `None`: there is none in the configuration. Blocks
    /// on the disk for a moment.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn bind(admin: &Admin) -> Result<Option<Self>, AdminError> {
        let Some(address) = &admin.listen else { return Ok(None) };
        let bound = http::Listener::bind(address, admin.token_file.as_ref());
        bound.map(|listener| Some(Self(listener))).map_err(|error| match error {
            BindError::Bind(address, error) => AdminError::Bind(address, error),
            BindError::Token(error) => AdminError::Token(error),
        })
    }

    /// Asks for a token from now on.
    #[cfg(test)]
    pub(super) fn demand(&mut self, token: Token) {
        self.0.demand(token);
    }

    /// Where it listens, as in the configuration; the port is the real one when 0 was asked for.
    #[must_use]
    pub fn address(&self) -> String {
        self.0.address()
    }

    /// Serves on a thread of its own until `stop` is true.
    ///
    /// # Errors
    /// The system gives no thread, or none of what a runtime needs.
    pub fn start(
        self,
        view: View,
        stop: watch::Receiver<bool>,
    ) -> io::Result<thread::JoinHandle<()>> {
        self.start_with(view, stop, Patience::default())
    }

    pub(super) fn start_with(
        self,
        view: View,
        stop: watch::Receiver<bool>,
        patience: Patience,
    ) -> io::Result<thread::JoinHandle<()>> {
        let router = router(view, self.0.gate());
        self.0.start(Hall { name: "admin", router, connections: CONNECTIONS, patience }, stop)
    }
}

/// Lets a request through, or answers why not.
pub(super) async fn guard(State(gate): State<Gate>, request: Request<Body>, next: Next) -> Answer {
    match gate.check(&request, false) {
        Ok(()) => next.run(request).await,
        Err(Refused::Token) => {
            let text = "show the token of [admin].token_file: \"Authorization: Bearer TOKEN\"";
            let mut answer = error(Reason::Unauthorized, text);
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            answer
        }
        Err(Refused::ForeignHost) => error(
            Reason::ForeignHost,
            "the Host header names another host than this machine: ask by its loopback address, \
             or set [admin].token_file",
        ),
    }
}
