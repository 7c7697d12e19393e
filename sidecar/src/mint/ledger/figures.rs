//! What of the ledger statistics show: sums over all accounts, read beside the writer.

use rusqlite::OptionalExtension as _;

use super::books::Books;
use super::error::LedgerError;
use super::schema;
use super::sql::{count, Wide};
use super::state::CreditState;

/// Credits of one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfState {
    /// Which.
    pub state: CreditState,
    /// How many.
    pub credits: u64,
    /// Their shares.
    pub shares: u64,
    /// Their amounts, in the mint's unit; 0 for those that have none yet.
    pub amount: u64,
}

/// Sums over the ledger at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// Credits that wait, by their states; those confirmed or carried are not among them.
    pub waiting: Vec<OfState>,
    /// When the oldest credit was sent that is not confirmed, milliseconds since the epoch.
    pub oldest_sent_ms: Option<i64>,
    /// Amounts of all confirmed credits, in the mint's unit.
    pub confirmed: u64,
    /// What the mint showed as paid at the last readings, less what is confirmed here and what the
    /// operator knows of, in the mint's unit. Above 0 for moments while payments arrive; for
    /// longer: somebody else pays on our quotes.
    pub surplus: u64,
    /// Nothing is sent until the operator has looked.
    pub sending_stopped: bool,
}

impl Books {
    /// Sums over the ledger.
    ///
    /// # Errors
    /// [`LedgerError::Storage`].
    pub fn figures(&self) -> Result<Figures, LedgerError> {
        self.at_one_moment(|books| {
            let mut figures = Figures::default();
            // State by state, so that the indexes of what waits are used: confirmed credits are
            // many. Written out, because a partial index is only used for a literal.
            for state in CreditState::ALL {
                if matches!(state, CreditState::Confirmed | CreditState::Carried) {
                    continue;
                }
                let code = state.code();
                let open =
                    if *state == CreditState::Open { "" } else { " AND state NOT IN (0, 5, 6)" };
                let sums = format!(
                    "SELECT shares, ifnull(amount, 0) AS amount FROM credit \
                     WHERE state = {code}{open}"
                );
                let mut sums = books.conn.prepare(&sums)?;
                let mut rows = sums.query([])?;
                let mut of = OfState { state: *state, credits: 0, shares: 0, amount: 0 };
                while let Some(row) = rows.next()? {
                    of.credits += 1;
                    of.shares = of.shares.saturating_add(count(row, "shares")?);
                    of.amount = of.amount.saturating_add(count(row, "amount")?);
                }
                figures.waiting.push(of);
            }
            let oldest =
                "SELECT min(sent_ms) FROM credit WHERE state = 4 AND state NOT IN (0, 5, 6)";
            figures.oldest_sent_ms = books.conn.query_row(oldest, [], |row| row.get(0))?;
            let confirmed =
                books.sum("SELECT confirmed FROM account", |row| Ok(row.get::<_, Wide>(0)?.0))?;
            let paid = books
                .sum("SELECT paid_seen FROM quote", |row| Ok(u128::from(row.get::<_, u64>(0)?)))?;
            let known = "SELECT value FROM meta WHERE key LIKE 'surplus:%'";
            let known = books.sum(known, |row| Ok(u128::from(row.get::<_, u64>(0)?)))?;
            let surplus = paid.saturating_sub(confirmed.saturating_add(known));
            figures.confirmed = u64::try_from(confirmed).unwrap_or(u64::MAX);
            figures.surplus = u64::try_from(surplus).unwrap_or(u64::MAX);
            let stopped: Option<String> = schema::meta(&books.conn, "stopped").optional()?;
            figures.sending_stopped = stopped.is_some();
            Ok(figures)
        })
    }

    fn sum(
        &self,
        query: &str,
        value: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<u128>,
    ) -> Result<u128, LedgerError> {
        let mut query = self.conn.prepare(query)?;
        let mut sum = 0_u128;
        for found in query.query_map([], |row| value(row))? {
            sum = sum.saturating_add(found?);
        }
        Ok(sum)
    }
}
