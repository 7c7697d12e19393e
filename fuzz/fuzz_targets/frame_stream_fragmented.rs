//! `frame_stream_fragmented`, for libFuzzer.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| gopool_sv2_fuzz::frames::stream_fragmented(data));
