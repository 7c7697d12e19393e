//! The C ABI as a host sees it: good calls, bad ones, and those in a wrong order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod any_calls;
mod arguments;
mod echo;
#[path = "../../../tests/fuzz/bodies/input.rs"]
#[allow(dead_code, reason = "fuzz targets of other crates use all of it")]
mod input;
mod lifecycle;
#[cfg(feature = "mint")]
mod mint;
mod rig;
mod sequences;
mod streams;
