//! The answer to whose a deposit quote is that a miner named when it opened a channel.

use super::super::{Directory, Event};
use crate::types::{ChannelKey, PayoutKey};

/// Why it is not known whose a quote is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuoteUnknown {
    /// No wallet made it, or it was forgotten before it was used.
    #[error(
        "no wallet made a quote of this name here, or nobody used it for a day: make another with \
         the wallet, and give its request"
    )]
    NoSuchQuote,
    /// The ledger can't be read now, or too many ask.
    #[error("the ledger does not answer now: try again")]
    Unavailable,
}

/// Takes the answer for one channel, which waits for it. Dropped without one, there is none.
#[derive(Debug)]
pub struct QuoteAnswer {
    channel: ChannelKey,
    directory: Directory,
    given: bool,
}

impl QuoteAnswer {
    pub(crate) const fn new(channel: ChannelKey, directory: Directory) -> Self {
        Self { channel, directory, given: false }
    }

    /// The key that the quote is locked to, or why that is not known.
    pub fn give(mut self, found: Result<PayoutKey, QuoteUnknown>) {
        self.send(found);
    }

    fn send(&mut self, found: Result<PayoutKey, QuoteUnknown>) {
        if !std::mem::replace(&mut self.given, true) {
            let channel = self.channel;
            // The connection may be gone.
            self.directory.deliver(channel.conn(), Event::QuoteFound { channel, found });
        }
    }
}

impl Drop for QuoteAnswer {
    fn drop(&mut self) {
        self.send(Err(QuoteUnknown::Unavailable));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ConnId;

    #[tokio::test]
    async fn a_channel_hears_once_even_if_nobody_answers() {
        let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        let key: PayoutKey = key.parse().unwrap();
        let directory = Directory::default();
        let (mut mailbox, _) = directory.attach(ConnId(1), 8);
        let channel = ChannelKey::new(ConnId(1), 1).unwrap();
        QuoteAnswer::new(channel, directory.clone()).give(Ok(key));
        drop(QuoteAnswer::new(channel, directory.clone()));
        let lost = Err(QuoteUnknown::Unavailable);
        for found in [Ok(key), lost] {
            assert_eq!(mailbox.recv().await, Some(Event::QuoteFound { channel, found }));
        }
        drop(directory);
        drop(QuoteAnswer::new(channel, Directory::default()));
    }
}
