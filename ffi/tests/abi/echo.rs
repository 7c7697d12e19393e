//! The echo, as a binding's tests use it.

use gopool_sv2_ffi::*;
use gopool_sv2_proto::v1;
use v1::session_request::Message as ToPool;
use v1::session_response::Message as FromPool;

use crate::rig::{accepted, last_error, Listener, Seen};

fn echo(max_in_flight: u32) -> (gsv2_result, gsv2_runtime) {
    let mut out = 7;
    let code = unsafe { gsv2_runtime_new_echo(max_in_flight, &raw mut out) };
    (code, out)
}

#[test]
fn rejects_an_echo_without_bounds_or_room_for_it() {
    for wrong in [0, (1 << 20) + 1, u32::MAX] {
        assert_eq!(echo(wrong), (GSV2_INVALID_ARGUMENT, 0));
        assert!(last_error().contains(&wrong.to_string()), "{}", last_error());
    }
    let code = unsafe { gsv2_runtime_new_echo(1, std::ptr::null_mut()) };
    assert_eq!(code, GSV2_INVALID_ARGUMENT);
    for right in [1, 1 << 20] {
        let (code, handle) = echo(right);
        assert_eq!(code, GSV2_OK);
        assert_eq!(gsv2_runtime_free(handle), GSV2_OK);
    }
}

#[test]
fn an_echo_goes_through_the_life_of_a_listener_without_one() {
    let listener = Listener::of(echo(64).1);
    let handle = listener.handle;
    let mut length = 7;
    let url =
        |length: &mut usize| unsafe { gsv2_runtime_url(handle, std::ptr::null_mut(), 0, length) };
    assert_eq!(url(&mut length), GSV2_WRONG_STATE);
    assert_eq!(gsv2_runtime_drain(handle), GSV2_WRONG_STATE);
    assert_eq!(gsv2_runtime_start(handle), GSV2_OK);
    assert_eq!(gsv2_runtime_start(handle), GSV2_WRONG_STATE);
    assert_eq!((url(&mut length), length), (GSV2_OK, 0));

    let mut seen = Seen::new(&listener);
    let stream = seen.welcome();
    assert!(matches!(seen.message(), (_, ToPool::OpenChannel(_))));
    let ping = |id| FromPool::Ping(v1::Ping { id, sent_us: 3 });
    assert_eq!(listener.control(stream, ping(70)), GSV2_OK);
    let mut verdicts = Vec::new();
    for id in 1..=70 {
        let event = seen.next();
        assert_eq!((event.kind, event.stream, event.id), (GSV2_EVENT_SUBMIT, stream, id));
        assert_eq!((event.channel_id, event.nonce), (1, id as u32));
        assert_eq!(event.extranonce[..8], id.to_le_bytes());
        assert_eq!(event.extranonce_size, 8);
        let worker = &event.worker[..event.worker_size.into()];
        assert_eq!(worker, if id.is_multiple_of(4) { &b"echo"[..] } else { b"" });
        verdicts.push(accepted(id));
        if verdicts.len() == 32 || id == 70 {
            assert_eq!(listener.complete(stream, &verdicts), GSV2_OK);
            verdicts.clear();
        }
    }
    let pong = ToPool::Pong(v1::Pong { id: 70, sent_us: 3 });
    assert_eq!(seen.message(), (stream, pong));
    let get = v1::GetAccount { call_id: 9, ..v1::GetAccount::default() };
    assert_eq!(listener.control(stream, FromPool::GetAccount(get)), GSV2_OK);
    let (_, ToPool::Account(account)) = seen.message() else { panic!("an Account") };
    assert_eq!((account.shares, account.pending_amount), (70, 0));
    assert_eq!(account.quote_requests[0], format!("70 accepted 1+0 {}", "09".repeat(32)));

    assert_eq!(gsv2_runtime_drain(handle), GSV2_OK);
    assert!(matches!(seen.message(), (_, ToPool::Drain(_))));
    assert_eq!(seen.next().kind, GSV2_EVENT_STREAM_ENDED);
    assert_eq!(gsv2_runtime_hang_up(handle, stream), GSV2_OK);
    assert_eq!(seen.next().kind, GSV2_EVENT_DRAINED);
}
