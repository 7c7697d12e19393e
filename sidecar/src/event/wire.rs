//! Values as the contract writes them.

use bytes::Bytes;
use gopool_sv2_proto::v1;
use v1::event::Event;

use crate::obs::clients::ChannelBook;
use crate::obs::totals::Totals;
use crate::obs::witness::{Block, Closed};
use crate::types::{ChannelKey, Connection, Difficulty, Kind, RejectReason};

/// A connection.
pub(crate) fn connection_to_wire(connection: &Connection) -> v1::Connection {
    v1::Connection {
        id: connection.id.0,
        remote_address: connection.remote_address.clone(),
        vendor: connection.vendor.clone(),
        hardware_version: connection.hardware_version.clone(),
        firmware: connection.firmware.clone(),
        device_id: connection.device_id.clone(),
        setup_flags: connection.setup_flags,
        extensions: connection.extensions.iter().map(|&e| e.into()).collect(),
        connected_ms: connection.connected_ms,
    }
}

/// A kind of channels.
pub(crate) const fn kind_to_wire(kind: Kind) -> v1::ChannelKind {
    match kind {
        Kind::Standard => v1::ChannelKind::Standard,
        Kind::Extended => v1::ChannelKind::Extended,
    }
}

/// Why a share is not credited.
pub(crate) const fn reject_to_wire(reason: RejectReason) -> v1::RejectReason {
    use v1::RejectReason as W;
    match reason {
        RejectReason::InvalidChannelId => W::InvalidChannelId,
        RejectReason::InvalidJobId => W::InvalidJobId,
        RejectReason::Stale => W::StaleShare,
        RejectReason::LowDifficulty => W::DifficultyTooLow,
        RejectReason::Duplicate => W::DuplicateShare,
        RejectReason::BadExtranonceSize => W::BadExtranonceSize,
        RejectReason::VersionRollingNotAllowed => W::VersionRollingNotAllowed,
        RejectReason::InvalidVersionBit => W::InvalidVersionBit,
        RejectReason::NtimeTooOld => W::NtimeTooOld,
        RejectReason::NtimeTooNew => W::NtimeTooNew,
        RejectReason::InvalidShare => W::InvalidShare,
        RejectReason::RateLimited => W::RateLimited,
        RejectReason::BackendUnavailable => W::BackendUnavailable,
        RejectReason::Unauthorized => W::Unauthorized,
    }
}

fn difficulty(difficulty: Difficulty) -> v1::Difficulty {
    v1::Difficulty { whole: difficulty.whole, fraction: difficulty.fraction }
}

/// A difficulty for people to look at, as near as 2^-32 allows; above 2^64 it is that.
fn near(value: f64) -> v1::Difficulty {
    // Casts of floats saturate.
    let whole = value as u64;
    v1::Difficulty { whole, fraction: ((value - whole as f64) * 2.0_f64.powi(32)) as u32 }
}

pub(super) fn opened(connection: &Connection) -> Event {
    let connection = Some(connection_to_wire(connection));
    Event::ConnectionOpened(v1::ConnectionOpened { connection })
}

pub(super) fn closed(closed: Closed<'_>) -> Event {
    Event::ConnectionClosed(v1::ConnectionClosed {
        connection_id: closed.id,
        cause: closed.cause.to_owned(),
        bytes_in: closed.bytes_in,
        bytes_out: closed.bytes_out,
    })
}

pub(super) fn started(book: &ChannelBook) -> Event {
    Event::ChannelStarted(v1::ChannelStarted {
        channel_id: book.key.to_wire(),
        connection_id: book.key.conn().0,
        kind: kind_to_wire(book.kind).into(),
        user_identity: book.user_identity.clone(),
        nominal_hash_rate: book.nominal_hash_rate(),
        target: Bytes::copy_from_slice(&book.targets().0 .0),
    })
}

pub(super) fn totals(book: &ChannelBook, totals: Totals) -> Event {
    let rejected = totals.rejected.into_iter();
    Event::ShareTotals(v1::ShareTotals {
        channel_id: book.key.to_wire(),
        worker: totals.worker,
        accepted: totals.accepted,
        credit: Some(difficulty(totals.credit)),
        rejected: rejected
            .map(|(reason, count)| v1::RejectCount { reason: reject_to_wire(reason).into(), count })
            .collect(),
        best: (totals.best > 0.0).then(|| near(totals.best)),
        since_ms: totals.since_ms,
        user_identity: book.user_identity.clone(),
    })
}

pub(super) fn ended(channel: ChannelKey, reason: &str) -> Event {
    Event::ChannelEnded(v1::ChannelEnded {
        channel_id: channel.to_wire(),
        reason: reason.to_owned(),
    })
}

pub(super) fn block(block: Block<'_>) -> Event {
    Event::BlockFound(v1::BlockFound {
        channel_id: block.channel.to_wire(),
        block_hash: Bytes::copy_from_slice(&block.hash.0),
        height: block.height,
        accepted: block.accepted,
        detail: block.detail.to_owned(),
        worker: block.worker.clone(),
    })
}
