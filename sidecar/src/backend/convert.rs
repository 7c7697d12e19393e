//! The contract's messages to our values and back, with every length and range checked.

use bytes::Bytes;
use gopool_sv2_proto::v1;

use super::channels::Held;
use crate::event::{connection_to_wire, kind_to_wire};
use crate::types::{
    ChannelKey, Difficulty, Grant, Hash, Job, Kick, KickAction, RefuseReason, RejectReason,
    StaleRule, Target, TargetLimits, Verdict, VERSION_ROLLING_MASK,
};

/// A message of the pool that breaks the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// A field has the wrong length.
    #[error("{field} has {got} bytes, not {want}")]
    Length {
        /// Which.
        field: &'static str,
        /// Its length.
        got: usize,
        /// What the contract says.
        want: &'static str,
    },
    /// A field has a value that makes no sense.
    #[error("{0}")]
    Value(&'static str),
}

fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], ContractError> {
    let want = if N == 32 { "32" } else { "the fixed length" };
    bytes.try_into().map_err(|_| ContractError::Length { field, got: bytes.len(), want })
}

fn within(
    field: &'static str,
    bytes: &[u8],
    range: std::ops::RangeInclusive<usize>,
    want: &'static str,
) -> Result<(), ContractError> {
    if range.contains(&bytes.len()) {
        Ok(())
    } else {
        Err(ContractError::Length { field, got: bytes.len(), want })
    }
}

/// A target that is not zero.
pub(super) fn target(field: &'static str, bytes: &[u8]) -> Result<Target, ContractError> {
    let target = Target(array(field, bytes)?);
    if target == Target::ZERO {
        return Err(ContractError::Value("a target is zero"));
    }
    Ok(target)
}

/// The limits in a Welcome.
pub(super) fn limits(welcome: &v1::Welcome) -> Result<TargetLimits, ContractError> {
    let easiest = target("easiest_target", &welcome.easiest_target)?;
    let hardest = match welcome.hardest_target.len() {
        0 => Target::ZERO,
        _ => target("hardest_target", &welcome.hardest_target)?,
    };
    if hardest > easiest {
        return Err(ContractError::Value("hardest_target is easier than easiest_target"));
    }
    Ok(TargetLimits { easiest, hardest })
}

/// A job.
pub(super) fn job(job: v1::Job) -> Result<Job, ContractError> {
    if job.id == 0 || job.seq == 0 {
        return Err(ContractError::Value("a job without id or seq"));
    }
    if job.merkle_path.len() > 255 {
        return Err(ContractError::Value("a merkle path of more than 255 hashes"));
    }
    if job.max_ntime.is_some_and(|max| max < job.min_ntime) {
        return Err(ContractError::Value("max_ntime lies before min_ntime"));
    }
    if Target::from_nbits(job.nbits).is_none() {
        return Err(ContractError::Value("nbits is not a target"));
    }
    let merkle_path = job
        .merkle_path
        .iter()
        .map(|hash| array("merkle_path", hash).map(Hash))
        .collect::<Result<_, _>>()?;
    let (prefix, suffix) = (&job.coinbase_prefix, &job.coinbase_suffix);
    within("coinbase_prefix", prefix, 1..=65535, "1 to 65535")?;
    within("coinbase_suffix", suffix, 1..=65535, "1 to 65535")?;
    let both = Bytes::from([&prefix[..], suffix].concat());
    Ok(Job {
        stale_rule: match job.stale_rule() {
            v1::StaleRule::Strict => StaleRule::Strict,
            v1::StaleRule::Host | v1::StaleRule::Unspecified => StaleRule::Host,
        },
        id: job.id,
        seq: job.seq,
        prev_hash: Hash(array("prev_hash", &job.prev_hash)?),
        nbits: job.nbits,
        version: job.version,
        version_mask: if rolls_all(job.version_mask) { VERSION_ROLLING_MASK } else { 0 },
        min_ntime: job.min_ntime,
        max_ntime: job.max_ntime,
        merkle_path,
        // A copy: what was received lies in one buffer with other messages, all of which would stay
        // as long as this does.
        coinbase_prefix: both.slice(..prefix.len()),
        coinbase_suffix: both.slice(prefix.len()..),
        height: job.height,
    })
}

/// Whether a mask lets a miner roll all the bits that SV2 miners roll. A job on the wire only says
/// yes or no (SV2 spec 5.3.16), so a miner would roll the other bits of a narrower one, too.
pub(super) const fn rolls_all(mask: u32) -> bool {
    mask & VERSION_ROLLING_MASK == VERSION_ROLLING_MASK
}

/// What was granted, and the first job.
pub(super) fn opened(opened: v1::ChannelOpened) -> Result<(Grant, Job), ContractError> {
    // A copy, as in a job.
    let prefix = Bytes::copy_from_slice(&opened.extranonce_prefix);
    within("extranonce_prefix", &prefix, 1..=32, "1 to 32")?;
    let extranonce_size = u8::try_from(opened.extranonce_size)
        .ok()
        .filter(|size| prefix.len() + usize::from(*size) <= 32)
        .ok_or(ContractError::Value("extranonce_prefix and extranonce_size exceed 32 bytes"))?;
    let first = opened.job.ok_or(ContractError::Value("a channel without its first job"))?;
    let target = target("target", &opened.target)?;
    Ok((Grant { prefix, extranonce_size, target }, job(first)?))
}

/// A verdict. Whatever is wrong with one, it is not an acceptance.
pub(super) fn verdict(verdict: &v1::Verdict) -> Verdict {
    if !verdict.accepted {
        return Verdict::Rejected(reject_reason(verdict.reason()));
    }
    match array("share_hash", &verdict.share_hash) {
        Ok(hash) => Verdict::Accepted {
            hash: Hash(hash),
            credit: Difficulty { whole: verdict.credit_whole, fraction: verdict.credit_fraction },
            block_candidate: verdict.block_candidate,
        },
        Err(error) => {
            tracing::error!(submit_id = verdict.submit_id, %error, "an accepted share has no hash");
            Verdict::Rejected(RejectReason::InvalidShare)
        }
    }
}

macro_rules! reason_pairs {
    ($from_wire:ident, $ours:ident, $wire:ident, $other:ident, $($a:ident = $b:ident),+ $(,)?) => {
        pub(super) const fn $from_wire(reason: v1::$wire) -> $ours {
            match reason {
                $(v1::$wire::$b => $ours::$a,)+
                v1::$wire::Unspecified => $ours::$other,
            }
        }
    };
}

reason_pairs!(
    reject_reason,
    RejectReason,
    RejectReason,
    InvalidShare,
    InvalidChannelId = InvalidChannelId,
    InvalidJobId = InvalidJobId,
    Stale = StaleShare,
    LowDifficulty = DifficultyTooLow,
    Duplicate = DuplicateShare,
    BadExtranonceSize = BadExtranonceSize,
    VersionRollingNotAllowed = VersionRollingNotAllowed,
    InvalidVersionBit = InvalidVersionBit,
    NtimeTooOld = NtimeTooOld,
    NtimeTooNew = NtimeTooNew,
    InvalidShare = InvalidShare,
    RateLimited = RateLimited,
    BackendUnavailable = BackendUnavailable,
    Unauthorized = Unauthorized,
);

reason_pairs!(
    refuse_reason,
    RefuseReason,
    RefuseReason,
    Internal,
    UnknownUser = UnknownUser,
    InvalidUserIdentity = InvalidUserIdentity,
    MaxTargetOutOfRange = MaxTargetOutOfRange,
    InvalidNominalHashrate = InvalidNominalHashrate,
    MinExtranonceSizeTooLarge = MinExtranonceSizeTooLarge,
    ChannelCapacityExhausted = ChannelCapacityExhausted,
    Unauthorized = Unauthorized,
    BackendUnavailable = NoWork,
    RateLimited = RateLimited,
    InvalidChannelId = InvalidChannelId,
    PayoutKeyNotSupported = PayoutKeyNotSupported,
    Internal = Internal,
);

/// A kick, its reason made fit for the wire.
pub(super) fn kick(kick: v1::Kick) -> (ChannelKey, Kick) {
    let action = match kick.action() {
        v1::KickAction::CloseConnection => KickAction::CloseConnection,
        v1::KickAction::Reconnect => KickAction::Reconnect,
        v1::KickAction::CloseChannel | v1::KickAction::Unspecified => KickAction::CloseChannel,
    };
    let mut reason = printable(&kick.reason);
    if reason.is_empty() {
        reason.push_str("closed-by-pool");
    }
    let port = u16::try_from(kick.port).unwrap_or(0);
    let kick_ = Kick { action, reason, host: printable(&kick.host), port };
    (ChannelKey::from_wire(kick.channel_id), kick_)
}

/// At most 255 bytes of printable ASCII; anything else becomes `?`.
pub(super) fn printable(text: &str) -> String {
    text.chars().take(255).map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}

/// A wish for a channel for the wire.
pub(super) fn open_to_wire(channel: ChannelKey, held: &Held) -> v1::OpenChannel {
    let (connection, request) = (&held.connection, &held.request);
    let reopen = !held.prefix.is_empty();
    v1::OpenChannel {
        channel_id: channel.to_wire(),
        connection: Some(connection_to_wire(connection)),
        kind: kind_to_wire(request.kind).into(),
        user_identity: request.user_identity.clone(),
        nominal_hash_rate: request.nominal_hash_rate,
        max_target: target_to_wire(&request.max_target),
        min_extranonce_size: request.min_extranonce_size.into(),
        wanted_extranonce_prefix: held.prefix.clone(),
        last_target: if reopen { target_to_wire(&held.target()) } else { Bytes::new() },
        payout_key: request
            .payout_key
            .map_or_else(Bytes::new, |key| Bytes::copy_from_slice(key.as_bytes())),
        reopen,
    }
}

/// A target for the wire.
pub(super) fn target_to_wire(target: &Target) -> Bytes {
    Bytes::copy_from_slice(&target.0)
}
