//! Miners hear of what is kept, when it is, and of nothing else.

use super::*;
use crate::backend::Mailbox;
use crate::types::{ChannelKey, Kick, KickAction};

/// Takes shares, as many as there is room for.
#[derive(Debug, Default)]
struct Taker {
    taken: Mutex<Vec<LedgerShare>>,
    full: bool,
}

impl ShareLedger for Taker {
    fn record(&self, share: LedgerShare) -> bool {
        if !self.full {
            self.taken.lock().unwrap().push(share);
        }
        !self.full
    }

    fn has_payout(&self, user_identity: &Bytes) -> bool {
        user_identity == "set by the pool"
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

struct Rig {
    taker: Arc<Taker>,
    ledger: Ledger,
    events: Mailbox,
    counts: Counts,
}

const CONN: ConnId = ConnId(3);
/// The generator of the curve.
const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

fn rig(full: bool) -> Rig {
    let directory = Directory::default();
    let (events, ..) = directory.attach(CONN, 16);
    let taker = Arc::new(Taker { full, ..Taker::default() });
    let (returns, counts) = (Returns::new(directory, Accounts::default()), Counts::default());
    returns.count_in(counts.clone());
    let ledger = Ledger::new(Arc::clone(&taker) as Arc<dyn ShareLedger>, returns);
    Rig { taker, ledger, events, counts }
}

/// How many are not in the ledger that the pool accepted: told as accepted, and as refused.
fn not_kept(counts: &Counts) -> (u64, u64) {
    let found: Vec<_> = counts.ledger.not_kept.read().collect();
    let [("accepted", taken), ("backend-unavailable", refused)] = found[..] else {
        panic!("{found:?}")
    };
    (taken, refused)
}

fn accepted(submit_id: u64) -> Judged {
    let hash = Hash([u8::try_from(submit_id).unwrap(); 32]);
    let credit = Difficulty { whole: 5, fraction: 0 };
    Judged {
        channel: ChannelKey::new(CONN, 1).unwrap(),
        token: submit_id,
        submit_id,
        verdict: Verdict::Accepted { hash, credit, block_candidate: false },
    }
}

fn owner(keyed: bool) -> Owner {
    let payout_key = keyed.then(|| PayoutKey::from_hex(KEY.as_bytes()).unwrap());
    Owner { user_identity: Bytes::from_static(b"name"), payout_key, quote: None }
}

fn outcomes(ids: impl IntoIterator<Item = (u64, Keeping)>) -> Vec<Kept> {
    ids.into_iter().map(|(id, outcome)| Kept { id, outcome }).collect()
}

fn heard(events: &mut Mailbox) -> Vec<(u64, Option<RejectReason>)> {
    let mut all = Vec::new();
    while let Ok(event) = events.try_recv() {
        let Event::Verdict(judged) = event else { panic!("{event:?}") };
        all.push(match judged.verdict {
            Verdict::Accepted { .. } => (judged.token, None),
            Verdict::Rejected(reason) => (judged.token, Some(reason)),
        });
    }
    all
}

#[test]
fn a_miner_hears_of_a_share_when_it_is_kept_and_not_before() {
    let Rig { taker, ledger, mut events, counts } = rig(false);
    for submit in 1..=4 {
        ledger.keep(accepted(submit), owner(true), Bytes::new());
    }
    assert!(heard(&mut events).is_empty());
    assert_eq!(ledger.held(), 4);
    let taken = taker.taken.lock().unwrap().clone();
    assert_eq!(taken.iter().map(|share| share.origin.submit_id).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let ids: Vec<_> = taken.iter().map(|share| share.id).collect();
    let of = [Keeping::Recorded, Keeping::Again, Keeping::Duplicate, Keeping::Failed];
    ledger.returns().kept(outcomes(ids.iter().copied().zip(of)));
    let refused =
        [None, None, Some(RejectReason::Duplicate), Some(RejectReason::BackendUnavailable)];
    assert_eq!(heard(&mut events), (1..=4).zip(refused).collect::<Vec<_>>());
    assert_eq!(ledger.held(), 0);
    ledger.returns().kept(outcomes(ids.into_iter().map(|id| (id, Keeping::Recorded))));
    assert!(heard(&mut events).is_empty(), "told twice");
    assert_eq!(not_kept(&counts), (0, 1));
}

#[test]
fn a_ledger_without_room_refuses_only_whom_it_owes() {
    let Rig { ledger, mut events, counts, .. } = rig(true);
    ledger.keep(accepted(1), owner(true), Bytes::new());
    ledger.keep(accepted(2), owner(false), Bytes::new());
    let set = Owner { user_identity: Bytes::from_static(b"set by the pool"), ..owner(false) };
    ledger.keep(accepted(3), set, Bytes::new());
    let refused = Some(RejectReason::BackendUnavailable);
    assert_eq!(heard(&mut events), [(1, refused), (2, None), (3, refused)]);
    assert_eq!((ledger.held(), not_kept(&counts)), (0, (1, 2)));
}

#[test]
fn counts_what_a_failed_commit_does_not_keep_by_what_its_miner_is_told() {
    let Rig { taker, ledger, mut events, counts } = rig(false);
    for submit in 1..=5 {
        ledger.keep(accepted(submit), owner(submit < 3), Bytes::new());
    }
    assert_eq!(not_kept(&counts), (0, 0), "nothing is known of them yet");
    let ids: Vec<_> = taker.taken.lock().unwrap().iter().map(|share| share.id).collect();
    let of = [Keeping::Failed, Keeping::Recorded, Keeping::Failed, Keeping::Failed, Keeping::Again];
    let all = outcomes(ids.into_iter().zip(of));
    ledger.returns().kept(all.clone());
    // What is told again is no other share.
    ledger.returns().kept(all);
    let refused = Some(RejectReason::BackendUnavailable);
    let told = [(1, refused), (2, None), (3, None), (4, None), (5, None)];
    assert_eq!(heard(&mut events), told);
    assert_eq!(not_kept(&counts), (2, 1));
}

#[test]
fn a_ledger_that_is_gone_leaves_nobody_waiting() {
    let Rig { ledger, mut events, counts, .. } = rig(false);
    ledger.keep(accepted(1), owner(true), Bytes::new());
    ledger.keep(accepted(2), owner(false), Bytes::new());
    ledger.returns().lost();
    let mut told = heard(&mut events);
    told.sort_unstable_by_key(|(token, _)| *token);
    assert_eq!(told, [(1, Some(RejectReason::BackendUnavailable)), (2, None)]);
    assert_eq!(not_kept(&counts), (1, 1));
}

#[test]
fn a_farewell_does_not_overtake_verdicts() {
    let Rig { taker, ledger, mut events, .. } = rig(false);
    let kick = || Event::Kick {
        channel: ChannelKey::new(CONN, 1).unwrap(),
        kick: Kick {
            action: KickAction::CloseChannel,
            reason: "banned".into(),
            host: String::new(),
            port: 0,
        },
    };
    ledger.deliver_after(CONN, kick());
    assert_eq!(events.try_recv(), Ok(kick()), "nothing waits");
    ledger.keep(accepted(1), owner(true), Bytes::new());
    ledger.keep(accepted(2), owner(true), Bytes::new());
    ledger.deliver_after(CONN, kick());
    ledger.deliver_after(ConnId(4), kick());
    let ids: Vec<_> = taker.taken.lock().unwrap().iter().map(|share| share.id).collect();
    ledger.returns().kept(outcomes([(ids[1], Keeping::Recorded)]));
    assert_eq!(heard(&mut events), [(2, None)]);
    ledger.returns().kept(outcomes([(ids[0], Keeping::Recorded)]));
    assert!(matches!(events.try_recv(), Ok(Event::Verdict(_))));
    assert_eq!(events.try_recv(), Ok(kick()));
}

#[tokio::test]
async fn room_comes_back_when_shares_are_kept() {
    let Rig { taker, ledger, .. } = rig(false);
    ledger.keep(accepted(1), owner(false), Bytes::new());
    let id = taker.taken.lock().unwrap()[0].id;
    let (freed, returns) = (ledger.freed(), ledger.returns());
    let keeper = std::thread::spawn(move || returns.kept(outcomes([(id, Keeping::Recorded)])));
    freed.notified().await;
    assert_eq!(ledger.held(), 0);
    keeper.join().unwrap();
}
