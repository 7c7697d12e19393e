//! `proxy_protocol_v2`, for libFuzzer.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| gopool_sv2_fuzz::proxy::protocol_v2(data));
