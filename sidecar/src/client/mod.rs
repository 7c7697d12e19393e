//! The miner's side of a Stratum V2 connection.
//!
//! [`PoolUrl`] names a pool and the authority that vouches for it; [`Connection::connect`] reaches
//! it, runs the Noise handshake and verifies its certificate; [`Connection::setup`],
//! [`Connection::open_standard`] and [`Connection::open_extended`] ask and wait for the answer;
//! [`Connection::split`] gives a reader and a writer for two tasks, or for two arms of a `select!`.
//!
//! Framing and encryption come from the reference implementation (`codec_sv2`, `noise_sv2`) on
//! purpose: the listener of this project has its own, so every run of this client against it is an
//! interoperability check.

mod connection;
mod error;
mod exchange;
mod handshake;
mod io;
#[cfg(test)]
pub(crate) mod peer;
#[cfg(test)]
mod tests;
mod url;

pub(crate) use connection::unix_now;
pub use connection::{dial, ConnectOptions, Connection};
pub use error::{CertificateFault, ClientError, Stage};
pub use exchange::{
    ExtendedChannel, OpenRequest, SetupAccepted, SetupRequest, StandardChannel,
    FLAG_REQUIRES_FIXED_VERSION, FLAG_REQUIRES_STANDARD_JOBS, FLAG_REQUIRES_VERSION_ROLLING,
    FLAG_REQUIRES_WORK_SELECTION, PROTOCOL_VERSION,
};
pub use handshake::{Certificate, Handshake, ACT_2_BYTES};
pub use io::{Incoming, Reader, Writer};
pub(crate) use url::{address, split};
pub use url::{PoolUrl, UrlFault};
