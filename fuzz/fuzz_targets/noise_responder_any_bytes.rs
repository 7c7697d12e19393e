//! `noise_responder_any_bytes`, for libFuzzer.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| gopool_sv2_fuzz::noise::responder_any_bytes(data));
