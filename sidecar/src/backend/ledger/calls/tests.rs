//! Every request of the pool has one answer, on the stream on which it came.

use super::*;

fn failed(message: ToPool) -> (u64, u32) {
    let ToPool::CallFailed(failed) = message else { panic!("{message:?}") };
    (failed.call_id, failed.code)
}

#[tokio::test]
async fn a_request_that_is_dropped_is_answered_all_the_same() {
    let mut calls = Calls::new();
    drop(calls.begin(7).unwrap());
    assert_eq!(failed(calls.answered().await), (7, Code::Internal as u32));
    calls.begin(8).unwrap().give(Ok(Reply::PayoutSet(3)));
    let ToPool::SetPayoutResult(result) = calls.answered().await else { panic!() };
    assert_eq!((result.call_id, result.released_shares), (8, 3));
}

#[tokio::test]
async fn an_answer_for_a_stream_that_is_over_goes_nowhere() {
    let mut calls = Calls::new();
    let late = calls.begin(1).unwrap();
    calls.next_stream();
    let now = calls.begin(1).unwrap();
    late.give(Ok(Reply::PayoutSet(1)));
    now.give(Ok(Reply::PayoutSet(2)));
    let ToPool::SetPayoutResult(result) = calls.answered().await else { panic!() };
    assert_eq!(result.released_shares, 2);
}

#[tokio::test]
async fn no_more_requests_wait_than_their_answers_have_room() {
    let mut calls = Calls::new();
    let waiting: Vec<_> = (0..MAX_CALLS as u64).map(|id| calls.begin(id).unwrap()).collect();
    assert_eq!(calls.begin(99).unwrap_err().code, Code::ResourceExhausted);
    drop(waiting);
    assert_eq!(calls.begin(99).unwrap_err().code, Code::ResourceExhausted, "not taken yet");
    for id in 0..MAX_CALLS as u64 {
        assert_eq!(failed(calls.answered().await).0, id);
    }
    assert!(calls.begin(99).is_ok());
}

#[test]
fn rejects_requests_that_make_no_sense() {
    let key = Bytes::from_static(&[0xff; 33]);
    let long = Bytes::from(vec![b'a'; 256]);
    let share = v1::RecordedShare {
        share_hash: Bytes::from_static(&[1; 32]),
        credit: Some(v1::Difficulty { whole: 1, fraction: 0 }),
        ..v1::RecordedShare::default()
    };
    let record = |shares: Vec<v1::RecordedShare>| {
        Call::try_from(v1::RecordShares { call_id: 1, shares }).map(drop)
    };
    let account = |user_identity: Bytes, payout_key: Bytes| {
        let call = v1::GetAccount { call_id: 1, user_identity, payout_key };
        Call::try_from(call).map(drop)
    };
    let hash = v1::RecordedShare { share_hash: Bytes::from_static(&[1; 31]), ..share.clone() };
    let credit = v1::RecordedShare { credit: None, ..share.clone() };
    for (name, result) in [
        ("key", account(Bytes::new(), key)),
        ("identity", account(long, Bytes::new())),
        ("no shares", record(Vec::new())),
        ("too many", record(vec![share.clone(); 257])),
        ("hash", record(vec![hash])),
        ("credit", record(vec![share.clone(), credit])),
    ] {
        assert_eq!(result.map_err(|error| error.code), Err(Code::InvalidArgument), "{name}");
    }
    assert_eq!(record(vec![share; 256]), Ok(()));
}
