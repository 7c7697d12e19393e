//! `noise_two_sided_interleave`, for libFuzzer.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| gopool_sv2_fuzz::noise::two_sided_interleave(data));
