//! With a ledger the link holds back what the pool accepted, and nothing else.

use std::sync::Mutex;

use v1::session_response::Message as FromPool;

use super::tests::{hold, key, submit};
use super::*;
use crate::backend::ledger::{
    Answer, Call, CallError, Code, Keeping, Kept, LedgerShare, QuoteAnswer, QuoteUnknown, Reply,
};
use crate::types::{Difficulty, Hash, QuoteRef};

#[derive(Debug, Default)]
struct Taker(Mutex<Vec<LedgerShare>>);

impl ShareLedger for Taker {
    fn record(&self, share: LedgerShare) -> bool {
        self.0.lock().unwrap().push(share);
        true
    }

    fn has_payout(&self, _: &Bytes) -> bool {
        false
    }

    fn call(&self, call: Call, answer: Answer) {
        let reply = match call {
            Call::SetPayout { claim_unassigned, .. } => {
                Ok(Reply::PayoutSet(u64::from(claim_unassigned)))
            }
            _ => Err(CallError::new(Code::NotFound, "no such account")),
        };
        answer.give(reply);
    }

    fn find_quote(&self, _: QuoteRef, answer: QuoteAnswer) {
        answer.give(Err(QuoteUnknown::NoSuchQuote));
    }
}

#[tokio::test]
async fn what_the_pool_accepts_waits_for_the_ledger_and_keeps_its_room_meanwhile() {
    let channel = key(1, 1);
    let directory = Directory::default();
    let (mut events, ..) = directory.attach(ConnId(1), 8);
    let mut link = Link::new(2, directory, Journal::off());
    hold(&mut link, channel);
    let taker = Arc::new(Taker::default());
    let returns = link.keep_in(Arc::clone(&taker) as Arc<dyn ShareLedger>);
    link.send((0..2).map(|token| submit(channel, token)), &mut Vec::new());
    let credit = Difficulty { whole: 7, fraction: 1 };
    let accepted = Verdict::Accepted { hash: Hash([4; 32]), credit, block_candidate: true };
    link.judged([(1, accepted), (2, Verdict::Rejected(RejectReason::Stale))]);
    let Ok(Event::Verdict(judged)) = events.try_recv() else { panic!("the rejected one") };
    assert_eq!(judged.submit_id, 2);
    assert!(events.try_recv().is_err(), "told before it was kept");
    assert_eq!(link.room(), 1);
    let taken = taker.0.lock().unwrap().clone();
    let [LedgerShare { id, origin, hash, user_identity, payout_key, credit: kept, .. }] =
        taken.as_slice()
    else {
        panic!("{taken:?}")
    };
    assert_eq!((origin.submit_id, *hash, *kept), (1, Hash([4; 32]), credit));
    assert_eq!((&user_identity[..], *payout_key), (&b"user"[..], None));
    returns.kept([Kept { id: *id, outcome: Keeping::Recorded }]);
    let Ok(Event::Verdict(judged)) = events.try_recv() else { panic!("the accepted one") };
    assert_eq!((judged.submit_id, judged.verdict), (1, accepted));
    assert_eq!(link.room(), 2);
}

#[tokio::test]
async fn requests_of_the_pool_are_answered_by_the_ledger() {
    let mut link = Link::new(2, Directory::default(), Journal::off());
    let key = Bytes::from_static(&[0xff; 33]);
    let set = |call_id, payout_key| {
        let call =
            v1::SetPayout { call_id, payout_key, claim_unassigned: true, ..Default::default() };
        FromPool::SetPayout(call)
    };
    let mut out = Vec::new();
    let code = |out: &mut Vec<Parcel>| match out.pop() {
        Some(Parcel::Message(ToPool::CallFailed(failed))) => (failed.call_id, failed.code),
        other => panic!("{other:?}"),
    };
    link.receive(set(1, Bytes::new()), &mut out);
    assert_eq!(code(&mut out), (1, Code::Unimplemented as u32), "there is no ledger");
    link.keep_in(Arc::new(Taker::default()));
    link.receive(set(2, key), &mut out);
    assert_eq!(code(&mut out), (2, Code::InvalidArgument as u32), "no payout key");
    link.receive(set(3, Bytes::new()), &mut out);
    assert!(out.is_empty());
    let ToPool::SetPayoutResult(result) = link.answered().await else { panic!("no answer") };
    assert_eq!((result.call_id, result.released_shares), (3, 1));
}
