//! The C ABI of the SV2 listener: link it into a pool's process, poll its events, answer them.
//!
//! `include/gopool_sv2.h` is made from here and is the contract for who links it; `docs/ffi.md`
//! shows the way. Nothing calls back: the library owns its threads, the host its own, and between
//! them is a ring ([`gopool_sv2::backend::ring`]). It touches no signal handler, logger, panic hook
//! or standard stream of the process, and of its allocator nothing but that what thousands of
//! miners held goes back to the system when they have left.

mod boundary;
mod calls;
mod layout;
mod log;
mod memory;
mod runtime;
mod slab;
mod types;

pub use calls::*;
pub use types::*;
