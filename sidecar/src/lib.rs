//! Stratum V2 listener for Go mining pools.
//!
//! ```text
//! miner ⇄ listen → noise → frame → session → channel → backend ⇄ (gRPC) ⇄ the pool's sv2.Host
//! ```
//!
//! Data goes right, answers come back left; imports go down only (`tests/tidy.rs` enforces it).
//! `session`, `channel` and the table of submits in flight are pure step functions under a thin
//! async driver.

#![forbid(unsafe_code)]

#[cfg(feature = "bin")]
pub mod admin;
pub mod app;
pub mod backend;
pub mod channel;
#[cfg(feature = "bin")]
pub mod client;
pub mod config;
pub mod event;
pub mod frame;
#[cfg(feature = "bin")]
pub mod http;
pub mod job;
pub mod keys;
pub mod listen;
#[cfg(feature = "bin")]
pub mod miner;
#[cfg(feature = "mint")]
pub mod mint;
pub mod noise;
pub mod obs;
#[cfg(feature = "bin")]
pub mod probe;
pub mod session;
#[cfg(test)]
mod sim;
#[cfg(feature = "bin")]
pub mod stats;
pub mod sys;
pub mod types;
