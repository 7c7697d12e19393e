//! `message_roundtrip_all_types`, for libFuzzer.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| gopool_sv2_fuzz::messages::roundtrip_all_types(data));
