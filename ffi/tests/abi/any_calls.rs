//! Any bytes as a sequence of calls on echoes, right and wrong ones: a fuzz target, and a property
//! test of `sequences.rs`. A fault is a panic.

use std::collections::BTreeMap;
use std::ptr;

use gopool_sv2_ffi::*;

use crate::input::Input;

/// What a call on an echo may come to. Nobody polls beside another, and nothing fails.
const CODES: [gsv2_result; 11] = [
    GSV2_OK,
    GSV2_INVALID_ARGUMENT,
    GSV2_BAD_HANDLE,
    GSV2_BAD_STRUCT_SIZE,
    GSV2_BUFFER_TOO_SHORT,
    GSV2_NO_RECORD,
    GSV2_BAD_MESSAGE,
    GSV2_WRONG_STATE,
    GSV2_FULL,
    GSV2_STREAM_OVER,
    GSV2_CONFIG,
];
/// In no handle: a place is not given out that often. Without it a number that nobody made here may
/// be the runtime of a test beside this one.
const NEVER_MADE: gsv2_runtime = 1 << 63;
/// Runtimes of one sequence.
const MADE_MAX: usize = 8;
/// Events that a ring may hold: 4,096, one batch more, lines of the log, and what tells of an end.
const WAITING_MAX: usize = 4096 + 256 + 1024 + 4;
/// No byte of a record, or of an event that nobody wrote.
const MARK: u8 = 0xa5;

/// What is known of a runtime: whether it is still there, and the newest submit by stream.
#[derive(Debug, Default)]
struct Known {
    freed: bool,
    newest: BTreeMap<u32, u64>,
    records: Vec<(u64, usize)>,
}

/// Messages that get an echo further, or bytes.
fn message(input: &mut Input<'_>) -> Vec<u8> {
    let varint = |mut number: u64| {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    let framed = |tag: u8, body: &[u8]| [&[tag], &varint(body.len() as u64)[..], body].concat();
    match input.below(6) {
        0 | 1 => {
            let mut body = vec![0x08, 1, 0x12, 16];
            body.extend([7; 16]);
            body.extend([0x22, 32]);
            body.extend([0xff; 32]);
            body.extend([0x38, 0x80, 0x80, 0x80, 0x01]);
            framed(0x0a, &body)
        }
        // Ping: a few, more than the ring holds, or any number.
        2 => {
            let any = u64::from(input.u32()) << input.below(32);
            let count = input.pick(&[1, 7, 300, 5000, any]);
            framed(0x5a, &[&[0x08], &varint(count)[..]].concat())
        }
        3 => framed(0x72, &[0x08, input.u8() & 0x7f]),
        4 => framed(input.u8(), input.bytes(64)),
        _ => input.bytes(256).to_vec(),
    }
}

fn poll(handle: gsv2_runtime, known: Option<&mut Known>, capacity: usize) -> gsv2_result {
    let marked = gsv2_event { kind: u32::MAX, ..unsafe { std::mem::zeroed() } };
    let mut events = vec![marked; capacity + 1];
    let mut count = usize::MAX;
    // SAFETY: there is room for one more.
    let code = unsafe { gsv2_runtime_poll(handle, events.as_mut_ptr(), capacity, &raw mut count) };
    assert!(count <= capacity, "{count} events, and room for {capacity}");
    assert!(events[count..].iter().all(|event| *event == marked), "one too many");
    let Some(known) = known else { return code };
    for event in &events[..count] {
        match event.kind {
            GSV2_EVENT_SUBMIT => {
                let newest = known.newest.entry(event.stream).or_default();
                *newest += 1;
                assert_eq!(event.id, *newest, "submits of stream {}", event.stream);
                assert!(event.extranonce_size <= 32 && event.worker_size <= 32);
                assert_eq!(event.length, 0);
            }
            GSV2_EVENT_MESSAGE | GSV2_EVENT_LOG => {
                known.records.push((event.id, event.length as usize));
            }
            GSV2_EVENT_STREAM_ENDED | GSV2_EVENT_ROOM | GSV2_EVENT_DRAINED => {}
            other => panic!("an event of kind {other}"),
        }
    }
    code
}

fn take(handle: gsv2_runtime, record: u64, capacity: usize) -> gsv2_result {
    let mut buffer = vec![MARK; capacity + 8];
    let mut length = usize::MAX;
    // SAFETY: the buffer is longer.
    let code = unsafe {
        gsv2_runtime_take(handle, record, buffer.as_mut_ptr(), capacity, &raw mut length)
    };
    let written = if code == GSV2_OK { length } else { 0 };
    assert!(written <= capacity && buffer[written..].iter().all(|byte| *byte == MARK));
    assert_eq!(code == GSV2_BUFFER_TOO_SHORT, length > capacity, "{code} {length}");
    code
}

fn complete(handle: gsv2_runtime, stream: u32, input: &mut Input<'_>) -> gsv2_result {
    let first = u64::from(input.u16());
    let count = input.pick(&[0, 1, 2, 256, 600]);
    let any = input.bool();
    let verdicts: Vec<_> = (first..first + count)
        .map(|submit_id| gsv2_verdict {
            submit_id,
            credit_whole: u64::MAX,
            credit_fraction: u32::MAX,
            reason: if any { input.u32() } else { 0 },
            accepted: if any { input.u8() } else { 1 },
            block_candidate: if any { input.u8() } else { 0 },
            reserved: [0; 6],
            share_hash: [3; 32],
        })
        .collect();
    // SAFETY: the length is theirs.
    unsafe { gsv2_runtime_complete(handle, stream, verdicts.as_ptr(), verdicts.len()) }
}

/// A configuration that nothing is made of.
fn refused(input: &mut Input<'_>) -> gsv2_result {
    let (path, toml) = (input.bytes(16), [b"[", input.bytes(32)].concat());
    let size = input.pick(&[size_of::<gsv2_config>() as u32, 0, 71, u32::MAX]);
    let config = gsv2_config {
        struct_size: size,
        threads: input.u32(),
        path: path.as_ptr().cast(),
        path_length: path.len(),
        toml: toml.as_ptr().cast(),
        toml_length: 1,
        reserved: [0, u64::from(input.u8() / 200), 0],
    };
    let mut out = 7;
    // SAFETY: all of it is there.
    let code = unsafe { gsv2_runtime_new(&raw const config, &raw mut out) };
    assert!(code != GSV2_OK && out == 0, "{code} {out}");
    code
}

/// A call with what must not be NULL.
fn null(handle: gsv2_runtime, known: bool, input: &mut Input<'_>) {
    // SAFETY: that is the question.
    let code = unsafe {
        match input.below(6) {
            0 => gsv2_runtime_poll(handle, ptr::null_mut(), 1, ptr::null_mut()),
            1 => gsv2_runtime_take(handle, 1, ptr::null_mut(), 1, ptr::null_mut()),
            2 => gsv2_runtime_complete(handle, 1, ptr::null(), usize::MAX),
            3 => gsv2_runtime_control(handle, 1, ptr::null(), usize::MAX),
            4 => gsv2_runtime_event_fd(handle, ptr::null_mut()),
            _ => gsv2_runtime_url(handle, ptr::null_mut(), 1, ptr::null_mut()),
        }
    };
    assert!(code == GSV2_INVALID_ARGUMENT || !known && code == GSV2_BAD_HANDLE, "{code}");
}

/// The words for an error fit any buffer.
fn last_error(capacity: usize) {
    let mut text = vec![MARK; capacity + 8];
    // SAFETY: the buffer is longer.
    let length = unsafe { gsv2_last_error(text.as_mut_ptr().cast(), capacity) };
    assert!(length > 0, "an error without a word");
    assert!(text[length.min(capacity)..].iter().all(|byte| *byte == MARK));
}

/// Makes the calls that the bytes say.
pub fn any_calls(data: &[u8]) {
    let mut input = Input::new(data);
    let mut made: BTreeMap<gsv2_runtime, Known> = BTreeMap::new();
    let mut handles = Vec::new();
    while !input.is_empty() {
        // One that was made, freed or not, most times; else like one, or any number.
        let handle = match (input.below(16), handles.is_empty()) {
            (0, _) | (_, true) => u64::from(input.u8()) << input.below(64) | NEVER_MADE,
            (1, false) => input.pick(&handles) | NEVER_MADE,
            _ => input.pick(&handles),
        };
        let stream = input.pick(&[1, 1, 1, 2, 3, 0, u32::MAX]);
        let known = made.get(&handle).is_some_and(|known| !known.freed);
        let code = match input.below(16) {
            0 if handles.len() < MADE_MAX => {
                let in_flight = input.pick(&[300, 1 << 20, 1, 0, u32::MAX]);
                let mut out = 7;
                // SAFETY: there is room for one.
                let code = unsafe { gsv2_runtime_new_echo(in_flight, &raw mut out) };
                assert_eq!(code == GSV2_OK, out != 0, "{code} {out}");
                if code == GSV2_OK {
                    assert!(made.insert(out, Known::default()).is_none(), "a handle came again");
                    handles.push(out);
                    assert_eq!(gsv2_runtime_start(out), GSV2_OK);
                }
                code
            }
            1 => gsv2_runtime_start(handle),
            2 => {
                null(handle, known, &mut input);
                continue;
            }
            3..=5 => poll(handle, made.get_mut(&handle), input.pick(&[1, 256, 0, 5000])),
            6 | 7 => {
                let told = made.get(&handle).map_or(&[][..], |known| &known.records);
                let any = (u64::from(input.u8()), input.below(64));
                let (record, length) = if told.is_empty() { any } else { input.pick(told) };
                take(handle, record, input.pick(&[length, length, any.1]))
            }
            8 | 9 => {
                let message = message(&mut input);
                // SAFETY: the length is its own.
                unsafe { gsv2_runtime_control(handle, stream, message.as_ptr(), message.len()) }
            }
            10 => {
                // An echo has no events.
                let message = message(&mut input);
                let (start, length) = (message.as_ptr(), message.len());
                // SAFETY: the length is its own.
                let code = unsafe { gsv2_runtime_acknowledge(handle, stream, start, length) };
                assert_ne!(code, GSV2_OK);
                code
            }
            11 | 12 => complete(handle, stream, &mut input),
            13 => gsv2_runtime_hang_up(handle, stream),
            14 if input.below(4) == 0 => gsv2_runtime_drain(handle),
            15 if input.below(4) == 0 => {
                let code = gsv2_runtime_free(handle);
                if let Some(known) = made.get_mut(&handle) {
                    known.freed = true;
                }
                code
            }
            _ => {
                refused(&mut input);
                last_error(input.below(64));
                continue;
            }
        };
        assert!(CODES.contains(&code), "{code}");
        if code != GSV2_OK {
            last_error(input.below(64));
        }
        if code == GSV2_BAD_HANDLE {
            assert!(!known, "a runtime that is there is not known");
        }
    }
    for (handle, known) in made {
        // What waits is bounded.
        if !known.freed {
            let mut count = 0;
            let mut events = vec![unsafe { std::mem::zeroed() }; WAITING_MAX + 1];
            let to = events.as_mut_ptr();
            // SAFETY: there is room for so many.
            let code = unsafe { gsv2_runtime_poll(handle, to, WAITING_MAX + 1, &raw mut count) };
            assert!(code == GSV2_OK && count <= WAITING_MAX, "{code}: {count} events waited");
        }
        let want = if known.freed { GSV2_BAD_HANDLE } else { GSV2_OK };
        assert_eq!(gsv2_runtime_free(handle), want);
        assert_eq!(gsv2_runtime_free(handle), GSV2_BAD_HANDLE);
    }
}
