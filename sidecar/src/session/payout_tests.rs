//! Payout keys in user identities: taken off, or refused.

use super::tests::{asked, fresh, received, setup};
use super::*;
use crate::types::{Kind, PayoutKey, RefuseReason, Target};

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
