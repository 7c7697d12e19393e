//! What the pool asks of the ledger, and how the answers find their way back.

use bytes::Bytes;
use gopool_sv2_proto::v1;
use tokio::sync::mpsc;
use v1::session_request::Message as ToPool;

use crate::types::{Difficulty, Hash, PayoutKey};

/// Requests without an answer at a time; the pool keeps to fewer.
const MAX_CALLS: usize = 64;
/// Shares in one request at most (the contract's bound).
const MAX_SHARES: usize = 256;
/// Longest user identity, in bytes.
const MAX_IDENTITY: usize = 255;

/// A request of the pool, whose word counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Where the credit of an account goes from now on.
    SetPayout {
        /// The account's user identity.
        user_identity: Bytes,
        /// `None`: to nobody.
        payout_key: Option<PayoutKey>,
        /// The work without a key goes there, too.
        claim_unassigned: bool,
    },
    /// The books of an account.
    GetAccount {
        /// Its user identity.
        user_identity: Bytes,
        /// Its payout key; `None`: the part without one.
        payout_key: Option<PayoutKey>,
    },
    /// Shares accepted elsewhere, 1 to 256.
    RecordShares(Vec<RecordedShare>),
}

/// A share that the pool accepted elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedShare {
    /// Header hash, internal order.
    pub hash: Hash,
    /// The account's user identity.
    pub user_identity: Bytes,
    /// Its payout key; `None`: unassigned.
    pub payout_key: Option<PayoutKey>,
    /// What the pool credits.
    pub credit: Difficulty,
    /// Height of the block it was for; 0 when unknown.
    pub height: u32,
    /// The hash meets nbits.
    pub block_candidate: bool,
    /// When it was accepted, milliseconds since the epoch.
    pub accepted_ms: i64,
}

/// The books of one account; see the contract's Account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Work that no credit holds yet.
    pub accrued: Difficulty,
    /// Shares, all time.
    pub shares: u64,
    /// Sealed but not confirmed, in the mint's unit.
    pub pending: u64,
    /// Confirmed by the mint.
    pub confirmed: u64,
    /// Seen to have been minted.
    pub issued: u64,
    /// The mint's unit.
    pub unit: String,
    /// The `request` texts of its quotes, newest first, at most 16.
    pub quote_requests: Vec<String>,
    /// The mint's ids of those quotes, in the same order.
    pub quote_ids: Vec<String>,
    /// The operator froze it.
    pub frozen: bool,
}

/// What a request came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The payout is set and durable; so many shares were released.
    PayoutSet(u64),
    /// The books.
    Account(Box<Account>),
    /// All durable; true for each that is new.
    Recorded(Vec<bool>),
}

/// Why a request came to nothing. Numbers are gRPC's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    /// The request makes no sense.
    InvalidArgument = 3,
    /// There is no such account.
    NotFound = 5,
    /// Too many wait.
    ResourceExhausted = 8,
    /// There is no ledger here.
    Unimplemented = 12,
    /// A fault of ours.
    Internal = 13,
    /// The ledger can't do it now.
    Unavailable = 14,
}

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct CallError {
    /// The kind.
    pub code: Code,
    /// Text for people.
    pub detail: String,
}

impl CallError {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// Takes the answer to one request. Dropped without one, the request failed.
#[derive(Debug)]
pub struct Answer {
    sender: mpsc::Sender<Answered>,
    stream: u64,
    call_id: u64,
    given: bool,
}

/// An answer on its way, and the stream that it is for.
#[derive(Debug)]
pub(crate) struct Answered {
    stream: u64,
    message: ToPool,
}

impl Answer {
    /// This is the answer.
    pub fn give(mut self, result: Result<Reply, CallError>) {
        self.send(result);
    }

    fn send(&mut self, result: Result<Reply, CallError>) {
        if std::mem::replace(&mut self.given, true) {
            return;
        }
        let message = match result {
            Ok(reply) => reply_message(self.call_id, reply),
            Err(error) => failed_message(self.call_id, error),
        };
        // There is room for every request that was let in.
        let _ = self.sender.try_send(Answered { stream: self.stream, message });
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.send(Err(CallError::new(Code::Internal, "the ledger gave no answer")));
    }
}

/// The requests that wait, of all streams.
#[derive(Debug)]
pub(crate) struct Calls {
    sender: mpsc::Sender<Answered>,
    answers: mpsc::Receiver<Answered>,
    stream: u64,
}

impl Calls {
    #[cfg_attr(
        not(feature = "mint"),
        allow(dead_code, reason = "only the mint bridge keeps shares")
    )]
    pub(super) fn new() -> Self {
        let (sender, answers) = mpsc::channel(MAX_CALLS);
        Self { sender, answers, stream: 0 }
    }

    /// A stream has ended: what waits has nobody who hears it.
    pub(crate) const fn next_stream(&mut self) {
        self.stream += 1;
    }

    /// Lets a request in.
    pub(super) fn begin(&self, call_id: u64) -> Result<Answer, CallError> {
        // Each request has a clone until its answer is in the queue.
        let waiting = self.sender.strong_count() - 1 + self.answers.len();
        if waiting >= MAX_CALLS {
            return Err(CallError::new(Code::ResourceExhausted, "too many requests wait here"));
        }
        let sender = self.sender.clone();
        Ok(Answer { sender, stream: self.stream, call_id, given: false })
    }

    /// Waits for the next answer for the present stream. Cancel-safe.
    pub(crate) async fn answered(&mut self) -> ToPool {
        loop {
            match self.answers.recv().await {
                Some(answered) if answered.stream == self.stream => return answered.message,
                Some(_) => {}
                // One sender is our own.
                None => std::future::pending().await,
            }
        }
    }
}

pub(crate) fn failed_message(call_id: u64, error: CallError) -> ToPool {
    let CallError { code, detail } = error;
    ToPool::CallFailed(v1::CallFailed { call_id, code: code as u32, detail })
}

fn reply_message(call_id: u64, reply: Reply) -> ToPool {
    match reply {
        Reply::PayoutSet(released_shares) => {
            ToPool::SetPayoutResult(v1::SetPayoutResult { call_id, released_shares })
        }
        Reply::Recorded(recorded) => {
            ToPool::RecordSharesResult(v1::RecordSharesResult { call_id, recorded })
        }
        Reply::Account(account) => ToPool::Account(v1::Account {
            call_id,
            accrued: Some(v1::Difficulty {
                whole: account.accrued.whole,
                fraction: account.accrued.fraction,
            }),
            shares: account.shares,
            pending_amount: account.pending,
            confirmed_amount: account.confirmed,
            issued_amount: account.issued,
            unit: account.unit,
            quote_requests: account.quote_requests,
            quote_ids: account.quote_ids,
            frozen: account.frozen,
        }),
    }
}

fn identity(bytes: Bytes) -> Result<Bytes, CallError> {
    let length = bytes.len();
    if length > MAX_IDENTITY {
        let detail = format!("user_identity has {length} bytes: at most {MAX_IDENTITY}");
        return Err(CallError::new(Code::InvalidArgument, detail));
    }
    // A copy: what was received lies in one buffer with more.
    Ok(Bytes::copy_from_slice(&bytes))
}

fn payout_key(bytes: &[u8]) -> Result<Option<PayoutKey>, CallError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let bad = |error| CallError::new(Code::InvalidArgument, format!("payout_key: {error}"));
    PayoutKey::from_bytes(bytes).map(Some).map_err(bad)
}

impl TryFrom<v1::SetPayout> for Call {
    type Error = CallError;

    fn try_from(wire: v1::SetPayout) -> Result<Self, CallError> {
        Ok(Self::SetPayout {
            user_identity: identity(wire.user_identity)?,
            payout_key: payout_key(&wire.payout_key)?,
            claim_unassigned: wire.claim_unassigned,
        })
    }
}

impl TryFrom<v1::GetAccount> for Call {
    type Error = CallError;

    fn try_from(wire: v1::GetAccount) -> Result<Self, CallError> {
        Ok(Self::GetAccount {
            user_identity: identity(wire.user_identity)?,
            payout_key: payout_key(&wire.payout_key)?,
        })
    }
}

impl TryFrom<v1::RecordShares> for Call {
    type Error = CallError;

    fn try_from(wire: v1::RecordShares) -> Result<Self, CallError> {
        let count = wire.shares.len();
        if !(1..=MAX_SHARES).contains(&count) {
            let detail = format!("{count} shares: 1 to {MAX_SHARES} at a time");
            return Err(CallError::new(Code::InvalidArgument, detail));
        }
        wire.shares.into_iter().map(recorded).collect::<Result<_, _>>().map(Self::RecordShares)
    }
}

fn recorded(wire: v1::RecordedShare) -> Result<RecordedShare, CallError> {
    let bad = |detail| CallError::new(Code::InvalidArgument, detail);
    let hash: [u8; 32] =
        wire.share_hash.as_ref().try_into().map_err(|_| bad("share_hash: 32 bytes are needed"))?;
    let credit = wire.credit.ok_or_else(|| bad("a share without its credit"))?;
    Ok(RecordedShare {
        hash: Hash(hash),
        user_identity: identity(wire.user_identity)?,
        payout_key: payout_key(&wire.payout_key)?,
        credit: Difficulty { whole: credit.whole, fraction: credit.fraction },
        height: wire.height,
        block_candidate: wire.block_candidate,
        accepted_ms: wire.accepted_ms,
    })
}

#[cfg(test)]
mod tests;
