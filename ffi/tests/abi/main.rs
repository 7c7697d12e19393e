//! The C ABI as a host sees it: good calls, bad ones, and those in a wrong order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod arguments;
mod lifecycle;
mod rig;
mod sequences;
mod streams;
