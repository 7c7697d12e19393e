//! Shows from time to time what is in the ledger: statistics never read it themselves.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{interval, MissedTickBehavior};

use super::ledger::{CreditState, Figures, SqliteLedger};
use crate::obs::{Counts, Trouble};
use crate::sys::{stopped, unix_millis};

/// How often it is read.
const READ_EVERY: Duration = Duration::from_secs(5);

/// Reads until `stop` is true.
pub async fn run(ledger: SqliteLedger, counts: Counts, mut stop: watch::Receiver<bool>) {
    let mut trouble = Trouble::new("the figures of the ledger are old");
    let mut tick = interval(READ_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stopped(&mut stop) => return,
        }
        match ledger.figures().await {
            Ok(figures) => {
                trouble.over();
                show(&figures, &counts);
            }
            Err(error) => trouble.log(&error),
        }
    }
}

fn show(figures: &Figures, counts: &Counts) {
    let mint = &counts.mint;
    let named = figures.waiting.iter().zip(&mint.credits);
    let mut unsealed = 0_u64;
    for (of, shown) in named {
        shown.count.set(of.credits);
        shown.amount.set(of.amount);
        if matches!(of.state, CreditState::Open | CreditState::Closed) {
            unsealed = unsealed.saturating_add(of.shares);
        }
    }
    counts.ledger.unsealed_shares.set(unsealed);
    let at = |ms: i64| u64::try_from(ms).unwrap_or_default();
    mint.oldest_unconfirmed_ms.set(figures.oldest_sent_ms.map_or(0, at));
    mint.confirmed.set(figures.confirmed);
    mint.surplus.set(figures.surplus);
    mint.sending_stopped.set(u64::from(figures.sending_stopped));
    mint.read_ms.set(at(unix_millis()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mint::ledger::Outcome;
    use crate::obs::counts::{CREDITS, LEDGER_OUTCOMES};

    #[test]
    fn every_state_and_outcome_has_its_name_in_the_statistics() {
        let waiting = CreditState::ALL
            .iter()
            .filter(|state| !matches!(state, CreditState::Confirmed | CreditState::Carried));
        assert_eq!(waiting.map(|state| state.as_str()).collect::<Vec<_>>(), CREDITS);
        for outcome in [Outcome::Recorded, Outcome::Again, Outcome::Duplicate, Outcome::Failed] {
            assert!(LEDGER_OUTCOMES.contains(&outcome.as_str()));
        }
    }
}
