//! What a mint made of credit, on its way to the miners that have asked to hear of it
//! ([`MINT_CREDITS`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::channels::Held;
use crate::types::{ChannelKey, ConnId, PayoutKey, MINT_CREDITS};

/// Longest text of a message, in bytes (STR0_255).
const TEXT_BYTES_MAX: usize = 255;

/// What became of credit of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MintNews {
    /// The mint shows a credit.
    Credited {
        /// The ledger's number of the credit: the same number is the same credit, and a later
        /// credit has a higher one.
        credit_seq: u64,
        /// The mint's id of the quote that it was paid on.
        quote_id: String,
        /// The credit, in the mint's unit.
        amount: u64,
        /// All that the mint shows as paid on that quote, in its unit.
        amount_paid: u64,
        /// Where the mint is; may be empty.
        mint_url: Arc<str>,
    },
    /// Something is wrong with it for now. Nothing is lost.
    Failed {
        /// What, as a code for programs.
        error_code: String,
    },
}

impl MintNews {
    /// Whether a message can be made of it: texts of printable ASCII, at most 255 bytes, and none
    /// empty that names something.
    #[must_use]
    pub fn is_sendable(&self) -> bool {
        match self {
            Self::Credited { quote_id, mint_url, .. } => {
                !quote_id.is_empty() && is_text(quote_id) && is_text(mint_url)
            }
            Self::Failed { error_code } => !error_code.is_empty() && is_text(error_code),
        }
    }
}

fn is_text(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// User identity and payout key.
pub(crate) type Account = (Bytes, PayoutKey);

/// The open channels of miners that have asked for news, by the account that their shares are of.
/// A channel without a payout key of its own is of none: whoever writes a stranger's name must not
/// hear what the stranger earns. Cheap to clone; any thread; its lock is held for a look-up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts {
    channels: Arc<Mutex<HashMap<Account, BTreeSet<ChannelKey>>>>,
}

/// The account of a channel whose miner has asked for news.
fn account(held: &Held) -> Option<Account> {
    let key = held.request.payout_key?;
    let asked = held.connection.extensions.contains(&MINT_CREDITS);
    asked.then(|| (held.request.user_identity.clone(), key))
}

impl Accounts {
    fn lock(&self) -> MutexGuard<'_, HashMap<Account, BTreeSet<ChannelKey>>> {
        // Nothing panics while it is held, and the map is whole between any two statements.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channel is open.
    pub(crate) fn opened(&self, channel: ChannelKey, held: &Held) {
        if let Some(account) = account(held) {
            self.insert(account, channel);
        }
    }

    /// News of the account are for this channel, too.
    pub(crate) fn insert(&self, account: Account, channel: ChannelKey) {
        self.lock().entry(account).or_default().insert(channel);
    }

    /// The channel is gone.
    pub(crate) fn closed(&self, channel: ChannelKey, held: &Held) {
        let Some(account) = account(held) else { return };
        let mut accounts = self.lock();
        let Some(channels) = accounts.get_mut(&account) else { return };
        channels.remove(&channel);
        if channels.is_empty() {
            accounts.remove(&account);
        }
    }

    /// All are gone.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Whether nobody would hear anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// The channels of an account, by their connections.
    pub(crate) fn of(&self, account: &Account) -> BTreeMap<ConnId, Vec<ChannelKey>> {
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for channel in self.lock().get(account).into_iter().flatten() {
            found.entry(channel.conn()).or_default().push(*channel);
        }
        found
    }
}

#[cfg(test)]
mod tests;
