//! What the hot pieces of the way of a share, and of a new tip, cost by themselves.
//!
//! Only what is public is measured: where a piece is not, the public function closest to it. Each
//! piece is looked at once, by its outcome, before it is measured, and each time by the length of
//! that: nothing that does less than it should gets a figure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod handshake;
mod share;
mod work;

use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};
use gopool_sv2_pieces::{time, Piece};

/// Times that a piece is run between two looks at the clock.
const GROUP: u64 = 64;

/// Measures a piece that does something `each` times in a run, in groups of `group` runs.
fn measure(c: &mut Criterion, name: &str, mut piece: impl Piece, each: u64, group: u64) {
    let (kind, name) = name.split_once('/').unwrap();
    let mut named = c.benchmark_group(kind);
    // As many runs in each sample: whole groups, or nearly so.
    named.throughput(Throughput::Elements(each)).sampling_mode(SamplingMode::Flat);
    named.bench_function(name, |b| b.iter_custom(|times| time(&mut piece, times, group)));
    named.finish();
}

fn main() {
    let mut c = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    share::measure_all(&mut c);
    work::measure_all(&mut c);
    handshake::measure_all(&mut c);
    c.final_summary();
}
