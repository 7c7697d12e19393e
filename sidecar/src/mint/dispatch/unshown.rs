//! Quotes that the mint does not show, while it shows others.

use std::collections::HashMap;

/// Readings in vain after which a quote takes no more credits; they are ten seconds apart.
pub(in crate::mint) const UNSHOWN_MAX: u32 = 30;
/// Quotes that are counted at a time.
const QUOTES_MAX: usize = 1_024;

/// What came of readings.
#[derive(Debug, Default)]
pub(super) struct Unshown {
    /// Quotes that were shown, ever.
    shown: u64,
    /// Readings in vain of a quote, each with others shown before it, and how many those were.
    failed: HashMap<String, (u32, u64)>,
}

impl Unshown {
    /// The mint has shown it.
    pub(super) fn shown(&mut self, quote_ref: &str) {
        self.shown += 1;
        self.failed.remove(quote_ref);
    }

    /// It takes no credits, or the mint has said what is wrong with it.
    pub(super) fn leave(&mut self, quote_ref: &str) {
        self.failed.remove(quote_ref);
    }

    /// The mint answered, and did not show it. True: as often as that, and others each time.
    pub(super) fn failed(&mut self, quote_ref: &str) -> bool {
        // Others have their turn when some of these are given up.
        if self.failed.len() >= QUOTES_MAX && !self.failed.contains_key(quote_ref) {
            return false;
        }
        let now = self.shown;
        let (times, shown) = self.failed.entry(quote_ref.to_owned()).or_insert((0, now));
        // A mint that shows nothing at all says nothing of this one.
        if *shown < now {
            (*times, *shown) = (*times + 1, now);
        }
        let given_up = *times >= UNSHOWN_MAX;
        if given_up {
            self.failed.remove(quote_ref);
        }
        given_up
    }

    /// Whether some are not shown: another has to be read, to see whether that is.
    pub(super) fn is_any(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Whether this one is not.
    pub(super) fn is(&self, quote_ref: &str) -> bool {
        self.failed.contains_key(quote_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_up_one_that_is_not_shown_while_others_are_and_no_other() {
        let mut unshown = Unshown::default();
        for _ in 0..2 * UNSHOWN_MAX {
            assert!(!unshown.failed("a"), "a mint that shows nothing is no reason");
        }
        for _ in 1..UNSHOWN_MAX {
            unshown.shown("b");
            assert!(!unshown.failed("a") && !unshown.failed("a"));
        }
        unshown.shown("b");
        assert!(unshown.failed("a"));
        for _ in 0..2 * UNSHOWN_MAX {
            unshown.shown("b");
            assert!(!unshown.failed("a"));
            assert!(unshown.is_any() && unshown.is("a") && !unshown.is("b"));
            unshown.shown("a");
            assert!(!unshown.is_any());
            unshown.failed("a");
            unshown.leave("a");
            assert!(!unshown.is_any());
        }
        for n in 0..3 * QUOTES_MAX {
            unshown.failed(&n.to_string());
        }
        assert_eq!(unshown.failed.len(), QUOTES_MAX);
        for _ in 1..UNSHOWN_MAX {
            unshown.shown("b");
            assert!(!unshown.failed("0"));
        }
        unshown.shown("b");
        assert!(unshown.failed("0"), "however many there are");
    }
}
