//! What a mint made of credit, for a miner that has agreed on [`MINT_CREDITS`]: an extension of our
//! own in the experimental range. Both of its messages are for a channel (channel bit 1).
//!
//! ```text
//! 0x00 MintCreditNotification  channel_id U32, credit_seq U64, quote_id STR0_255, amount U64,
//!                              amount_paid U64, mint_url STR0_255
//! 0x01 MintCreditFailure       channel_id U32, error_code STR0_255
//! ```

use std::sync::Arc;

use binary_sv2::{Serialize, Str0255};

use super::{Effects, Outbound, Session};
use crate::backend::MintNews;
use crate::frame::{FrameError, Writer};
use crate::types::{ChannelKey, MINT_CREDITS};

const MESSAGE_TYPE_NOTIFICATION: u8 = 0x00;
const MESSAGE_TYPE_FAILURE: u8 = 0x01;

/// The mint shows a credit of the channel's account. Of several channels of the account on a
/// connection it names the one with the lowest id. May be missing: the wallet asks the mint.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
pub(super) struct MintCreditNotification<'decoder> {
    /// The miner's id of the channel.
    pub(super) channel_id: u32,
    /// Names the credit; a later one has a higher number.
    pub(super) credit_seq: u64,
    /// The mint's id of the quote; printable ASCII.
    pub(super) quote_id: Str0255<'decoder>,
    /// The credit, in the mint's unit.
    pub(super) amount: u64,
    /// All that the mint shows as paid on the quote, in its unit.
    pub(super) amount_paid: u64,
    /// Where the mint is; printable ASCII, may be empty.
    pub(super) mint_url: Str0255<'decoder>,
}

/// Credit of the channel's account waits. Nothing is lost.
#[derive(Serialize, Debug, Clone, PartialEq, Eq)]
pub(super) struct MintCreditFailure<'decoder> {
    /// The miner's id of the channel.
    pub(super) channel_id: u32,
    /// Why, for programs; printable ASCII.
    pub(super) error_code: Str0255<'decoder>,
}

impl Session {
    /// News for the account of some channels: told to the lowest of them, if the miner has agreed
    /// to hear it. Bad news of ours are dropped, and harm nobody.
    pub(super) fn mint_credit(
        &self,
        channels: &[ChannelKey],
        news: Arc<MintNews>,
        fx: &mut Effects,
    ) {
        if !self.is_set_up() || !self.extensions.has(MINT_CREDITS) {
            return;
        }
        let open = channels.iter().filter_map(|channel| self.by_key.get(channel));
        let Some(channel_id) = open.min().copied() else { return };
        if !news.is_sendable() {
            // Without its text: who knows a quote's id can look at it.
            let credit = match news.as_ref() {
                MintNews::Credited { credit_seq, .. } => Some(*credit_seq),
                MintNews::Failed { .. } => None,
            };
            return tracing::warn!(
                ?credit,
                "no message can be made of what the mint said; dropped: see `gopool-sv2 ledger \
                 export`"
            );
        }
        fx.out.push(Outbound::MintCredit { channel_id, news });
    }
}

fn text(value: &str) -> Result<Str0255<'_>, FrameError> {
    Str0255::new(value.as_bytes()).map_err(|_| FrameError::Encode)
}

/// Encrypts the message behind those that wait in `w`.
pub(super) fn write(channel_id: u32, news: &MintNews, w: &mut Writer) -> Result<(), FrameError> {
    match news {
        MintNews::Credited { credit_seq, quote_id, amount, amount_paid, mint_url } => {
            let m = MintCreditNotification {
                channel_id,
                credit_seq: *credit_seq,
                quote_id: text(quote_id)?,
                amount: *amount,
                amount_paid: *amount_paid,
                mint_url: text(mint_url)?,
            };
            w.push(m, MINT_CREDITS, MESSAGE_TYPE_NOTIFICATION, true)
        }
        MintNews::Failed { error_code } => {
            let m = MintCreditFailure { channel_id, error_code: text(error_code)? };
            w.push(m, MINT_CREDITS, MESSAGE_TYPE_FAILURE, true)
        }
    }
}
