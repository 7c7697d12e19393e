//! What is fuzzed: one function for each target. Any bytes are an input; a fault is a panic.
//!
//! The property tests of `main.rs` run them on stable Rust; the crate in `fuzz/` puts libFuzzer in
//! front of the same functions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod channel;
pub mod config;
pub mod frames;
pub mod input;
pub mod messages;
pub mod noise;
pub mod pool;
pub mod proxy;
pub mod session;

/// A fuzz target.
pub type Body = fn(&[u8]);

/// All targets by their names, which are those of their corpora in `fuzz/corpus`.
pub const TARGETS: [(&str, Body); 8] = [
    ("noise_responder_any_bytes", noise::responder_any_bytes),
    ("noise_two_sided_interleave", noise::two_sided_interleave),
    ("frame_stream_fragmented", frames::stream_fragmented),
    ("message_roundtrip_all_types", messages::roundtrip_all_types),
    ("session_state_machine", session::state_machine),
    ("channel_ops_model", channel::ops_model),
    ("config_toml_any", config::toml_any),
    ("proxy_protocol_v2", proxy::protocol_v2),
];
