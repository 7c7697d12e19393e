//! What each reading of a quote means.

use gopool_sv2::mint::PayoutKey;

use super::*;

const KEY: &[u8] = b"0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
const OTHER: &[u8] = b"02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

fn key(hex: &[u8]) -> PayoutKey {
    PayoutKey::from_hex(hex).unwrap()
}

fn quote(state: QuoteState) -> Quote {
    Quote {
        quote_ref: "gp1q:a".to_owned(),
        account_id: Some(1),
        payout_key: key(KEY),
        request: "ehash:a".to_owned(),
        state,
        candidate_quote_id: None,
        quote_id: Some("id".to_owned()),
        expiry_s: 0,
        opened_ms: 1,
        payments: 1,
        paid_seen: 0,
        issued_seen: 0,
        last_read_ms: 0,
        attempts: 0,
        next_try_ms: 0,
    }
}

fn shows(amount_paid: u64, amount_issued: u64) -> Result<http::Quote, MintError> {
    Ok(http::Quote {
        quote_id: "id".to_owned(),
        request: "ehash:a".to_owned(),
        payout_key: Some(key(KEY)),
        amount_paid,
        amount_issued,
        expiry: None,
    })
}

/// 100 were sent, 60 of them are confirmed.
fn ours(known: u64) -> Ours {
    let before = QuoteSums { sent: 90, confirmed: 60, lost: 0 };
    Ours { before, after: QuoteSums { sent: 100, confirmed: 70, lost: 0 }, known, gone: 0 }
}

#[test]
fn tells_what_is_wrong_from_what_is_on_its_way() {
    for (paid, issued, known, want) in [
        (100, 100, 0, "even"),
        (99, 0, 0, "waits"),
        // Confirmed before the mint was read; what was confirmed since need not show yet.
        (60, 0, 0, "waits"),
        (59, 0, 0, "forgotten"),
        (101, 0, 0, "surplus"),
        (101, 0, 1, "even"),
        (100, 0, 1, "waits"),
        (102, 0, 1, "surplus"),
        (100, 101, 0, "over-issued"),
    ] {
        let verdict = judge(&quote(QuoteState::Open), ours(known), &shows(paid, issued));
        assert_eq!(verdict.word, want, "{paid} paid, {issued} issued, {known} known");
        assert_eq!(verdict.bad, !["even", "waits"].contains(&want), "{want}");
    }
    let verdict = judge(&quote(QuoteState::Open), ours(0), &shows(105, 0));
    assert!(verdict.text.starts_with("5 more"), "{}", verdict.text);
}

#[test]
fn rejects_quotes_that_pay_somebody_else() {
    for locked in [None, Some(key(OTHER))] {
        let found = shows(100, 0).map(|found| http::Quote { payout_key: locked, ..found });
        let verdict = judge(&quote(QuoteState::Open), ours(0), &found);
        assert_eq!((verdict.word, verdict.bad), ("other-key", true));
    }
}

#[test]
fn tells_what_a_mint_without_the_quote_means() {
    let unminted = |state, lost, paid_seen, gone| {
        let refused = MintError::Refused {
            kind: Refusal::UnknownQuote,
            code: 50000,
            detail: "unknown quote".to_owned(),
        };
        let after = QuoteSums { sent: lost, confirmed: 0, lost };
        let ours = Ours { before: after, after, known: 0, gone };
        let verdict = judge(&Quote { paid_seen, ..quote(state) }, ours, &Err(refused));
        (verdict.word, verdict.bad)
    };
    let unknown = |state, lost| unminted(state, lost, 0, 0);
    assert_eq!(unknown(QuoteState::Open, 0), ("unknown", true));
    assert_eq!(unknown(QuoteState::Settled, 0), ("unknown", false));
    assert_eq!(unknown(QuoteState::Lost, 7), ("lost", true));
    assert_eq!(unknown(QuoteState::Lost, 0), ("lost", false));
    // What was confirmed there and not minted is nowhere else.
    assert_eq!(unminted(QuoteState::Lost, 0, 9, 0), ("lost", true));
    assert_eq!(unminted(QuoteState::Lost, 0, 9, 8), ("lost", true));
    // He has said that he knows; that none of it is to be sent again is another matter.
    assert_eq!(unminted(QuoteState::Lost, 0, 9, 9), ("lost", false));
    assert_eq!(unminted(QuoteState::Lost, 7, 9, 9), ("lost", true));
    let back = judge(&quote(QuoteState::Lost), ours(0), &shows(100, 0));
    assert_eq!((back.word, back.bad), ("back", true));
}

#[test]
fn survives_hostile_words_of_a_mint() {
    let words = "\x1b[2J\u{202e}\n".to_owned();
    let verdict = judge(&quote(QuoteState::Open), ours(0), &Err(MintError::NotAMint(words)));
    assert_eq!(verdict.word, "unread");
    assert!(verdict.text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", verdict.text);
}
