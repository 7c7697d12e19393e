//! The contract between an SV2 sidecar and a pool.
//!
//! [`v1`] is generated from `gopool/sv2/v1/*.proto` and checked in; nothing here needs protoc. So
//! is `cdk_payment_processor` (feature `mint`), which is a Cashu mint's contract, not ours.
//! Every message, field and unit is documented in the .proto files.

#![forbid(unsafe_code)]

/// Messages of package `gopool.sv2.v1`, its gRPC clients (feature `grpc`) and servers (feature
/// `server`). Generated; never edited.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
#[rustfmt::skip]
pub mod v1 {
    include!("gen/gopool.sv2.v1.rs");
}

/// Messages, client and server of package `cdk_payment_processor`. Generated; never edited.
#[cfg(feature = "mint")]
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
#[rustfmt::skip]
pub mod cdk_payment_processor {
    include!("gen/cdk_payment_processor.rs");
}

/// Version of the contract spoken here: [`v1`].
pub const PROTOCOL: u32 = 1;

/// Metadata key that carries [`PROTOCOL`] on every call, both ways.
pub const PROTOCOL_HEADER: &str = "x-gopool-sv2-protocol";
