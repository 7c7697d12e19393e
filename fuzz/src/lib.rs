//! The fuzz targets, from where the property tests have them.

#[path = "../../tests/fuzz/bodies/mod.rs"]
mod bodies;

pub use bodies::*;

#[path = "../../ffi/tests/abi/any_calls.rs"]
pub mod any_calls;
