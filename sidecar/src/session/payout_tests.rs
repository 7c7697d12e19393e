//! Payout keys in user identities: taken off, or refused.

use super::tests::{asked, fresh, received, setup, told};
use super::*;
use crate::backend::ledger::QuoteUnknown;
use crate::backend::Event;
use crate::types::{Kind, PayoutKey, QuoteRef, RefuseReason, Target};

/// The generator of the curve.
const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

fn open(identity: &str) -> Inbound<'static> {
    Inbound::Open(Open {
        kind: Kind::Standard,
        request_id: 40,
        user_identity: identity.as_bytes().to_vec(),
        nominal_hash_rate: 1e12,
        max_target: Target::EASIEST,
        min_extranonce_size: 0,
    })
}

fn session(payout_keys: bool) -> Session {
    let mut session = fresh().crediting(payout_keys);
    received(&mut session, setup(0, (2, 2), 0));
    session
}

fn refused(fx: &Effects) -> RefuseReason {
    assert!(fx.commands.is_empty(), "the pool hears of it: {:?}", fx.commands);
    match fx.out.as_slice() {
        [Outbound::OpenError { request_id: 40, reason }] => *reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_pool_gets_the_key_beside_the_name_and_not_in_it() {
    let mut session = session(true);
    let key = PayoutKey::from_hex(KEY.as_bytes()).unwrap();
    for (identity, payout_key) in
        [(format!("bc1qminer.rig~ehash={KEY}"), Some(key)), ("bc1qminer.rig".into(), None)]
    {
        let fx = received(&mut session, open(&identity));
        asked(&fx);
        let [Command::Open { request, .. }] = fx.commands.as_slice() else { panic!() };
        assert_eq!(request.user_identity, "bc1qminer.rig");
        assert_eq!(request.payout_key, payout_key);
    }
}

#[test]
fn rejects_a_payout_key_that_is_none() {
    for bad in ["", "02", &KEY[1..], &KEY.replace("02", "05")] {
        let fx = received(&mut session(true), open(&format!("bc1qminer~ehash={bad}")));
        assert_eq!(refused(&fx), RefuseReason::InvalidUserIdentity, "{bad}");
    }
}

#[test]
fn rejects_payout_keys_where_nothing_is_credited_to_them() {
    for given in [KEY, "nonsense"] {
        let fx = received(&mut session(false), open(&format!("bc1qminer~ehash={given}")));
        assert_eq!(refused(&fx), RefuseReason::PayoutKeyNotSupported, "{given}");
    }
}

/// The one channel that waits for its quote.
fn looked_up(fx: &Effects, quote: QuoteRef) -> ChannelKey {
    assert!(fx.commands.is_empty() && fx.out.is_empty(), "{fx:?}");
    let [(channel, asked)] = fx.lookups.as_slice() else { panic!("{fx:?}") };
    assert_eq!(*asked, quote);
    *channel
}

#[test]
fn the_pool_is_asked_when_the_key_of_the_named_quote_is_known() {
    let mut session = session(true);
    let key = PayoutKey::from_hex(KEY.as_bytes()).unwrap();
    let quote = QuoteRef::from_number(7);
    let waits = received(&mut session, open(&format!("bc1qminer.rig~ehash={}", quote.request())));
    let channel = looked_up(&waits, quote);
    // Others go on meanwhile.
    asked(&received(&mut session, open("bc1qother")));
    let fx = told(&mut session, vec![Event::QuoteFound { channel, found: Ok(key) }]);
    let [Command::Open { channel: asked, request, .. }] = fx.commands.as_slice() else {
        panic!("{fx:?}")
    };
    assert_eq!((*asked, &request.user_identity[..]), (channel, &b"bc1qminer.rig"[..]));
    assert_eq!((request.payout_key, request.quote), (Some(key), Some(quote)));
}

#[test]
fn rejects_a_quote_that_nobody_knows_and_frees_its_place() {
    let mut session = session(true);
    let quote = QuoteRef::from_number(7);
    for (error, wanted) in [
        (QuoteUnknown::NoSuchQuote, RefuseReason::InvalidUserIdentity),
        (QuoteUnknown::Unavailable, RefuseReason::BackendUnavailable),
    ] {
        let waits = received(&mut session, open(&format!("bc1qminer~ehash={quote}")));
        let channel = looked_up(&waits, quote);
        let found = vec![Event::QuoteFound { channel, found: Err(error) }];
        assert_eq!(refused(&told(&mut session, found)), wanted);
        assert!(session.opening.is_empty());
    }
    for bad in ["gp1q:", "ehash:gp1q:short", "ehash:other"] {
        let fx = received(&mut session, open(&format!("bc1qminer~ehash={bad}")));
        assert_eq!(refused(&fx), RefuseReason::InvalidUserIdentity, "{bad}");
    }
}

#[test]
fn survives_an_answer_that_nobody_waits_for_any_more() {
    let mut session = session(true);
    let key = PayoutKey::from_hex(KEY.as_bytes()).unwrap();
    let quote = QuoteRef::from_number(7);
    let waits = received(&mut session, open(&format!("bc1qminer~ehash={quote}")));
    let channel = looked_up(&waits, quote);
    let lost = told(&mut session, vec![Event::LinkLost]);
    assert!(matches!(lost.out[..], [Outbound::OpenError { .. }]), "{lost:?}");
    for found in [Ok(key), Err(QuoteUnknown::NoSuchQuote)] {
        let late = told(&mut session, vec![Event::QuoteFound { channel, found }]);
        assert!(late.commands.is_empty() && late.out.is_empty(), "{late:?}");
    }
}
