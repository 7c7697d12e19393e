//! `session_state_machine`, for libFuzzer.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| gopool_sv2_fuzz::session::state_machine(data));
