//! Arbitrary calls in an arbitrary order, on handles of any age: no crash, and no code but those
//! that the header names for the call.

use proptest::prelude::*;

use gopool_sv2_ffi::*;

use crate::any_calls::any_calls;
use crate::rig::{accepted, blank, config, last_error, Scratch, TOML};

/// A handle: one of those that were made in this sequence, freed or not, or any number.
#[derive(Debug, Clone)]
enum Name {
    Made(prop::sample::Index),
    Any(u64),
}

#[derive(Debug, Clone)]
enum Call {
    New { good: bool, size: u32, reserved: u64 },
    Start,
    Url { capacity: usize },
    EventFd,
    Poll { capacity: usize },
    Take { record: u64, capacity: usize },
    Complete { stream: u32, verdict: (u32, u8, u8), count: usize },
    Control { stream: u32, message: Vec<u8> },
    HangUp { stream: u32 },
    Drain,
    Free,
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        8 => any::<prop::sample::Index>().prop_map(Name::Made),
        1 => (0_u64..4).prop_map(Name::Any),
        // No handle that another test may have.
        1 => any::<u64>().prop_map(|number| Name::Any(number | 1 << 63)),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let size = size_of::<gsv2_config>() as u32;
    let sizes = prop_oneof![8 => Just(size), 1 => any::<u32>()];
    let (capacity, stream) = (0_usize..=64, prop_oneof![4 => 0_u32..4, 1 => any::<u32>()]);
    let record = prop_oneof![4 => 0_u64..16, 1 => any::<u64>()];
    let verdict = (prop_oneof![4 => 0_u32..4, 1 => any::<u32>()], 0_u8..4, 0_u8..4);
    prop_oneof![
        3 => (any::<bool>(), sizes, prop_oneof![8 => Just(0), 1 => any::<u64>()])
            .prop_map(|(good, size, reserved)| Call::New { good, size, reserved }),
        2 => Just(Call::Start),
        1 => capacity.clone().prop_map(|capacity| Call::Url { capacity }),
        1 => Just(Call::EventFd),
        4 => capacity.clone().prop_map(|capacity| Call::Poll { capacity }),
        3 => (record, capacity.clone())
            .prop_map(|(record, capacity)| Call::Take { record, capacity }),
        2 => (stream.clone(), verdict, capacity)
            .prop_map(|(stream, verdict, count)| Call::Complete { stream, verdict, count }),
        2 => (stream.clone(), prop::collection::vec(any::<u8>(), 0..64))
            .prop_map(|(stream, message)| Call::Control { stream, message }),
        1 => stream.prop_map(|stream| Call::HangUp { stream }),
        1 => Just(Call::Drain),
        2 => Just(Call::Free),
    ]
}

/// Makes a call; what it came to, and what it may come to beside GSV2_OK.
fn make(
    call: &Call,
    handle: gsv2_runtime,
    scratch: &Scratch,
    made: &mut Vec<gsv2_runtime>,
) -> (gsv2_result, &'static [gsv2_result]) {
    let (mut length, mut fd) = (0, 0);
    let mut buffer = [0_u8; 64];
    let mut events = [blank(); 64];
    // SAFETY: every length is that of a buffer here, or less.
    unsafe {
        match call {
            Call::New { good, size, reserved } => {
                let path = scratch.file();
                let toml = if *good { TOML } else { "[listen]\nport = 1\n" };
                let mut config = config(path.to_str().unwrap(), Some(toml));
                (config.struct_size, config.threads, config.reserved[1]) = (*size, 1, *reserved);
                let mut out = u64::MAX;
                let code = gsv2_runtime_new(&raw const config, &raw mut out);
                assert_eq!(code == GSV2_OK, out != 0, "{code} {out}");
                made.extend((code == GSV2_OK).then_some(out));
                (code, &[GSV2_INVALID_ARGUMENT, GSV2_BAD_STRUCT_SIZE, GSV2_CONFIG])
            }
            Call::Start => (gsv2_runtime_start(handle), &[GSV2_BAD_HANDLE, GSV2_WRONG_STATE]),
            Call::Url { capacity } => {
                let text = buffer.as_mut_ptr().cast();
                let code = gsv2_runtime_url(handle, text, *capacity, &raw mut length);
                (code, &[GSV2_BAD_HANDLE, GSV2_WRONG_STATE, GSV2_BUFFER_TOO_SHORT])
            }
            Call::EventFd => (gsv2_runtime_event_fd(handle, &raw mut fd), &[GSV2_BAD_HANDLE]),
            Call::Poll { capacity } => {
                let to = events.as_mut_ptr();
                let code = gsv2_runtime_poll(handle, to, *capacity, &raw mut length);
                assert!(length <= *capacity);
                let kinds = GSV2_EVENT_SUBMIT..=GSV2_EVENT_FATAL;
                assert!(events[..length].iter().all(|event| kinds.contains(&event.kind)));
                assert!(events[length..].iter().all(|event| *event == blank()), "one too many");
                (code, &[GSV2_BAD_HANDLE])
            }
            Call::Take { record, capacity } => {
                let to = buffer.as_mut_ptr();
                let code = gsv2_runtime_take(handle, *record, to, *capacity, &raw mut length);
                assert_eq!(code == GSV2_BUFFER_TOO_SHORT, length > *capacity, "{code} {length}");
                (code, &[GSV2_BAD_HANDLE, GSV2_NO_RECORD, GSV2_BUFFER_TOO_SHORT])
            }
            Call::Complete { stream, verdict: (reason, accept, block_candidate), count } => {
                let one = gsv2_verdict {
                    reason: *reason,
                    accepted: *accept,
                    block_candidate: *block_candidate,
                    ..accepted(5)
                };
                let code = gsv2_runtime_complete(handle, *stream, [one; 64].as_ptr(), *count);
                let codes: &[_] =
                    &[GSV2_BAD_HANDLE, GSV2_INVALID_ARGUMENT, GSV2_STREAM_OVER, GSV2_FULL];
                (code, codes)
            }
            Call::Control { stream, message } => {
                let code = gsv2_runtime_control(handle, *stream, message.as_ptr(), message.len());
                (code, &[GSV2_BAD_HANDLE, GSV2_BAD_MESSAGE, GSV2_STREAM_OVER, GSV2_FULL])
            }
            Call::HangUp { stream } => {
                (gsv2_runtime_hang_up(handle, *stream), &[GSV2_BAD_HANDLE, GSV2_STREAM_OVER])
            }
            Call::Drain => (gsv2_runtime_drain(handle), &[GSV2_BAD_HANDLE, GSV2_WRONG_STATE]),
            Call::Free => (gsv2_runtime_free(handle), &[GSV2_BAD_HANDLE]),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn survives_any_calls_in_any_order(calls in prop::collection::vec((name(), call()), 1..48)) {
        let scratch = Scratch::new();
        let mut made = Vec::new();
        let mut freed = std::collections::BTreeSet::new();
        for (name, call) in &calls {
            let handle = match name {
                Name::Made(_) if made.is_empty() => 0,
                Name::Made(index) => *index.get(&made),
                Name::Any(number) => *number,
            };
            let known = made.contains(&handle) && !freed.contains(&handle);
            let (code, codes) = make(call, handle, &scratch, &mut made);
            prop_assert!(code == GSV2_OK || codes.contains(&code), "{call:?}: {code}");
            if code != GSV2_OK {
                prop_assert!(!last_error().is_empty(), "{call:?}: {code} without a word");
            }
            if !matches!(call, Call::New { .. }) {
                prop_assert_eq!(code == GSV2_BAD_HANDLE, !known, "{:?}: {}", call, code);
            }
            if matches!(call, Call::Free) {
                freed.insert(handle);
            }
        }
        for handle in made {
            let want = if freed.contains(&handle) { GSV2_BAD_HANDLE } else { GSV2_OK };
            prop_assert_eq!(gsv2_runtime_free(handle), want);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn an_echo_survives_any_bytes_as_calls(data in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..1500),
        prop::collection::vec(prop_oneof![0_u8..16, any::<u8>()], 0..1500),
    ]) {
        any_calls(&data);
    }
}

#[test]
fn an_echo_survives_what_is_kept_in_the_corpus() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/ffi_any_calls");
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(files.len() >= 3, "{} inputs are kept", files.len());
    for file in files {
        let mut data = std::fs::read(&file).unwrap();
        any_calls(&data);
        any_calls(&data[..data.len() / 2]);
        if let Some(byte) = data.first_mut() {
            *byte ^= 0x11;
        }
        any_calls(&data);
    }
}
