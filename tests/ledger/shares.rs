//! Made-up shares for a ledger, and what a dispatcher does with them.

use std::path::Path;

use bytes::Bytes;
use gopool_sv2::mint::ledger::{
    Due, Kept, Ledger as _, LedgerError, LedgerShare, Origin, QuoteNeed, Settings, Source,
    SqliteLedger, Terms,
};
use gopool_sv2::mint::{PayoutKey, Scheme, Work};
use gopool_sv2::types::{Difficulty, Hash, QuoteRef};
use gopool_sv2_tests::Result;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

/// The generator of secp256k1: a key that nobody hides.
const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

/// The hash of the n-th share.
pub(crate) fn hash(n: u64) -> Hash {
    Hash(Sha256::digest(n.to_be_bytes()).into())
}

/// Opens a ledger that takes `depth` shares at a time.
pub(crate) fn open(path: &Path, depth: usize) -> Result<(SqliteLedger, mpsc::Receiver<Vec<Kept>>)> {
    let (sender, outcomes) = mpsc::channel(depth);
    let settings = Settings {
        path: path.to_owned(),
        scheme: Scheme::Linear,
        max_shares: depth,
        accrued_every_ms: 10_000,
    };
    Ok((SqliteLedger::open(&settings, sender)?, outcomes))
}

/// The quote that a wallet has made by the time of the n-th share, more or less.
fn wallets_quote(n: u64) -> QuoteRef {
    QuoteRef::from_number((n / 2_000).into())
}

/// The n-th share: one of `names` accounts, every eighth of them unassigned, and every eighth with
/// a quote of its wallet's.
pub(crate) fn share(n: u64, names: u64, at_ms: i64) -> Result<LedgerShare> {
    let name = n % names;
    let payout_key = match name % 8 {
        7 => None,
        _ => Some(KEY.parse::<PayoutKey>()?),
    };
    Ok(LedgerShare {
        id: n,
        source: Source::V2(Origin { session: [7; 16], submit: n }),
        hash: hash(n),
        identity: Bytes::from(format!("bc1q{name:036}")),
        payout_key,
        quote: (name % 8 == 6).then(|| wallets_quote(n)),
        worker: Bytes::from_static(b"rig-1"),
        credit: Difficulty { whole: 1_000, fraction: 5 },
        block_candidate: false,
        height: 900_000,
        at_ms,
    })
}

/// One round of what a dispatcher does, with a mint that shows all that it was told.
pub(crate) async fn pay(ledger: &SqliteLedger, at_ms: i64) -> Result<()> {
    let due = Due { opened_by_ms: at_ms - 2_000, work_from: Work(200_000 << 32) };
    ledger.close_due(due, at_ms).await?;
    let terms = Terms { unit_work: Work(7_777 << 32), min_amount: 2 };
    ledger.seal(terms, 20, at_ms).await?;
    let quote = wallets_quote(u64::try_from(at_ms)?);
    let key = KEY.parse::<PayoutKey>()?;
    match ledger.new_wallet_quote(quote, key, format!("id-{quote}"), at_ms).await {
        // It is there already.
        Ok(()) | Err(LedgerError::Refused(_)) => {}
        Err(error) => return Err(error.into()),
    }
    for need in ledger.due_quotes(at_ms, 20).await? {
        let name = match need {
            QuoteNeed::Missing { account_id, .. } => {
                let name = format!("q{account_id}-{at_ms}");
                ledger.new_quote(account_id, name.clone(), format!("ehash:{name}"), at_ms).await?;
                name
            }
            QuoteNeed::Unfinished(quote) => quote.quote_ref,
        };
        ledger.quote_creating(name.clone()).await?;
        ledger.quote_opened(name.clone(), format!("id-{name}"), 0, at_ms).await?;
    }
    ledger.assign(8, 3).await?;
    let due = ledger.due_credits(at_ms, 50).await?;
    ledger.mark_sent(due.iter().map(|owed| owed.credit_id).collect(), at_ms).await?;
    for quote in ledger.unread_quotes(at_ms, 5).await? {
        let sent = ledger.payments_of(quote.quote_ref.clone()).await?;
        let paid = sent.iter().map(|owed| owed.amount).sum();
        ledger.confirm(quote.quote_ref, paid, paid, at_ms).await?;
    }
    ledger.rotate(8, 0).await?;
    Ok(())
}
