//! With a ledger the link holds back what the pool accepted, and nothing else.

use std::sync::Mutex;

use super::tests::{hold, key, submit};
use super::*;
use crate::backend::ledger::{Keeping, Kept, LedgerShare};
use crate::types::{Difficulty, Hash};

#[derive(Debug, Default)]
struct Taker(Mutex<Vec<LedgerShare>>);

impl ShareLedger for Taker {
    fn record(&self, share: LedgerShare) -> bool {
        self.0.lock().unwrap().push(share);
        true
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
    let Ok(Event::Verdicts(judged)) = events.try_recv() else { panic!("the rejected one") };
    assert_eq!(judged.iter().map(|judged| judged.submit_id).collect::<Vec<_>>(), [2]);
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
    let Ok(Event::Verdicts(judged)) = events.try_recv() else { panic!("the accepted one") };
    assert_eq!((judged[0].submit_id, judged[0].verdict), (1, accepted));
    assert_eq!(link.room(), 2);
}
