//! The `gopool-sv2` program.

#![forbid(unsafe_code)]

use std::process::ExitCode;

mod cli;

/// Ten thousand connections that end leave holes everywhere, and glibc keeps all of that for ever.
/// This one gives it back within seconds (`.cargo/config.toml`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::run()
}
