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
    /// Readings in vain since a quote was shown last, and how many others were shown before those.
    failed: HashMap<String, (u32, u64)>,
}

impl Unshown {
    /// The mint has shown it.
    pub(super) fn shown(&mut self, quote_ref: &str) {
        self.shown += 1;
        self.failed.remove(quote_ref);
    }

    /// The mint answered, and did not show it. True: not for long, and others were shown meanwhile.
    pub(super) fn failed(&mut self, quote_ref: &str) -> bool {
        if self.failed.len() >= QUOTES_MAX {
            self.failed.clear();
        }
        let before = self.shown;
        let (times, shown) = self.failed.entry(quote_ref.to_owned()).or_insert((0, before));
        *times += 1;
        let given_up = *times >= UNSHOWN_MAX && *shown < before;
        if given_up {
            self.failed.remove(quote_ref);
        }
        given_up
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
        unshown.shown("b");
        assert!(unshown.failed("a"));
        for _ in 1..UNSHOWN_MAX {
            assert!(!unshown.failed("a"));
            unshown.shown("b");
        }
        unshown.shown("a");
        assert!(!unshown.failed("a"), "it was shown in between");
        for n in 0..3 * QUOTES_MAX {
            unshown.failed(&n.to_string());
        }
        assert!(unshown.failed.len() <= QUOTES_MAX);
    }
}
