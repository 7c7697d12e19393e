//! The C ABI of the SV2 listener.
//!
//! Nothing is exported yet: the listener reaches the pool over gRPC. The crate exists so that the
//! boundary has its place in the workspace and is built from the first day.
