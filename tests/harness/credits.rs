//! Extension 0x4548 as its miner reads it, by the text of docs/sv2-support.md: a second opinion on
//! the listener's bytes.

use crate::Result;

/// The extension type.
pub const MINT_CREDITS: u16 = 0x4548;

/// What was told of credit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// MintCreditNotification.
    Credited {
        /// The pool's id of a channel of the account.
        channel_id: u32,
        /// Names the credit, and rises.
        credit_seq: u64,
        /// The mint's id of the quote.
        quote_id: String,
        /// The credit, in the mint's unit.
        amount: u64,
        /// All that the mint shows on the quote, in its unit.
        amount_paid: u64,
        /// Where the mint is.
        mint_url: String,
    },
    /// MintCreditFailure.
    Failed {
        /// The pool's id of a channel of the account.
        channel_id: u32,
        /// Why credit waits.
        error_code: String,
    },
}

impl News {
    /// Reads a message.
    ///
    /// # Errors
    /// There is no such message, or it is shorter or longer than its fields.
    pub fn read(message_type: u8, payload: &[u8]) -> Result<Self> {
        let mut rest = Rest(payload);
        let channel_id = u32::from_le_bytes(rest.array()?);
        let news = match message_type {
            0x00 => Self::Credited {
                channel_id,
                credit_seq: u64::from_le_bytes(rest.array()?),
                quote_id: rest.text()?,
                amount: u64::from_le_bytes(rest.array()?),
                amount_paid: u64::from_le_bytes(rest.array()?),
                mint_url: rest.text()?,
            },
            0x01 => Self::Failed { channel_id, error_code: rest.text()? },
            _ => return Err(format!("extension 0x4548 has no message {message_type:#04x}").into()),
        };
        match rest.0 {
            [] => Ok(news),
            more => Err(format!("{} bytes behind {news:?}", more.len()).into()),
        }
    }
}

/// What was not read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk().ok_or("a message ends within a field")?;
        self.0 = rest;
        Ok(*field)
    }

    /// STR0_255.
    fn text(&mut self) -> Result<String> {
        let [len] = self.array()?;
        let (field, rest) =
            self.0.split_at_checked(len.into()).ok_or("a message ends within a text")?;
        self.0 = rest;
        Ok(String::from_utf8(field.to_vec())?)
    }
}
