//! Handles, and calls that need no socket: also what Miri looks at.

use std::ptr;

use super::*;
use crate::calls::*;
use crate::types::*;

fn echo() -> gsv2_runtime {
    let mut out = 0;
    // SAFETY: there is room for one.
    let code = unsafe { gsv2_runtime_new_echo(300, &raw mut out) };
    assert_eq!((code, out != 0), (GSV2_OK, true));
    out
}

#[test]
fn a_handle_is_never_used_again() {
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let handle = echo();
        assert!(seen.insert(handle), "{handle:x} came again");
        assert!(get(handle).is_some());
        assert_eq!(gsv2_runtime_free(handle), GSV2_OK);
        assert!(get(handle).is_none() && remove(handle).is_none());
    }
    for stale in seen.iter().flat_map(|handle| [*handle, handle + (1 << 32), handle ^ 1 << 63]) {
        assert_eq!(gsv2_runtime_free(stale), GSV2_BAD_HANDLE);
    }
}

/// Welcome{protocol: 1, epoch: 16 of 7, easiest_target: 32 of 0xff, verdict_ring: 512}.
fn welcome() -> Vec<u8> {
    let parts: [&[u8]; 5] =
        [&[0x0a, 57, 8, 1, 0x12, 16], &[7; 16], &[0x22, 32], &[0xff; 32], &[0x38, 0x80, 4]];
    parts.concat()
}

#[test]
fn an_echos_events_are_copied_into_the_callers_memory_and_no_further() {
    let handle = echo();
    assert_eq!(gsv2_runtime_start(handle), GSV2_OK);
    // SAFETY: each length is that of what it is for.
    unsafe {
        let say = |bytes: &[u8]| {
            let code = gsv2_runtime_control(handle, 1, bytes.as_ptr(), bytes.len());
            assert_eq!(code, GSV2_OK);
        };
        say(&welcome());
        // Ping{id: 40}.
        say(&[0x5a, 2, 8, 40]);
        let marked = gsv2_event { kind: 99, ..std::mem::zeroed() };
        let mut submits = 0;
        loop {
            let (mut events, mut count) = ([marked; 8], 0);
            let code = gsv2_runtime_poll(handle, events.as_mut_ptr(), 7, &raw mut count);
            assert_eq!((code, events[7]), (GSV2_OK, marked));
            let (told, rest) = events.split_at(count);
            assert!(rest.iter().all(|event| *event == marked));
            for event in told {
                match event.kind {
                    GSV2_EVENT_SUBMIT => {
                        submits += 1;
                        assert_eq!(event.id, submits);
                        let verdict =
                            gsv2_verdict { submit_id: submits, reason: 3, ..std::mem::zeroed() };
                        let code = gsv2_runtime_complete(handle, 1, &raw const verdict, 1);
                        assert_eq!(code, GSV2_OK);
                    }
                    _ => {
                        let mut bytes = vec![0; event.length as usize];
                        let (to, capacity) = (bytes.as_mut_ptr(), bytes.len());
                        let (mut length, id) = (0, event.id);
                        let code = gsv2_runtime_take(handle, id, to, capacity, &raw mut length);
                        assert_eq!((code, length), (GSV2_OK, capacity));
                    }
                }
            }
            if count == 0 {
                break;
            }
        }
        assert_eq!(submits, 40);
        let code = gsv2_runtime_poll(handle, ptr::null_mut(), 1, ptr::null_mut());
        assert_eq!(code, GSV2_INVALID_ARGUMENT);
        let mut text = [0_u8; 4];
        assert!(gsv2_last_error(text.as_mut_ptr().cast(), 4) > 4 && text != [0; 4]);
    }
    assert_eq!(gsv2_runtime_free(handle), GSV2_OK);
}
