//! The states of credits and quotes, and which may follow which. Every change of a state in the
//! ledger asks here first.

use std::fmt;

macro_rules! states {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$each:meta])* $state:ident = $code:literal $text:literal,)* }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$each])* $state = $code,)* }

        impl $name {
            /// All of them, in the order of their codes.
            pub const ALL: &[Self] = &[$(Self::$state,)*];

            /// Its number in the ledger's tables.
            #[must_use]
            pub const fn code(self) -> i64 {
                self as i64
            }

            /// The state of a number in the ledger's tables; `None`: no such state.
            #[must_use]
            pub fn from_code(code: i64) -> Option<Self> {
                Self::ALL.iter().copied().find(|state| state.code() == code)
            }

            /// Its name, as operators read it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$state => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

states! {
    /// Where a credit stands.
    CreditState {
        /// Takes shares. One for each account.
        Open = 0 "open",
        /// Takes no more shares; its root is to be computed.
        Closed = 1 "closed",
        /// Has an amount, a root and the name of its payment, for ever. Waits for a quote.
        Sealed = 2 "sealed",
        /// Has an open quote; not told to the mint yet.
        Assigned = 3 "assigned",
        /// The mint may have heard of it. Written before the mint is told.
        Sent = 4 "sent",
        /// The mint shows it. Final.
        Confirmed = 5 "confirmed",
        /// Too little to pay: its work went into the account's carry. Final.
        Carried = 6 "carried",
        /// Held back by the operator.
        Frozen = 7 "frozen",
        /// Was sent on a quote that the mint does not know any more.
        Lost = 8 "lost",
    }
}

states! {
    /// Where a deposit quote stands.
    QuoteState {
        /// To be asked for.
        New = 0 "new",
        /// Asked for; the answer is not known.
        Creating = 1 "creating",
        /// Takes credits.
        Open = 2 "open",
        /// Takes no new credits; those it has are still paid.
        Closing = 3 "closing",
        /// All its credits are confirmed, and all that was paid is minted. Final.
        Settled = 4 "settled",
        /// The mint does not know it any more.
        Lost = 5 "lost",
    }
}

impl CreditState {
    /// Whether a credit may go from this state to `next`.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        use CreditState::{Assigned, Carried, Closed, Confirmed, Frozen, Lost, Open, Sealed, Sent};
        matches!(
            (self, next),
            (Open, Closed)
                | (Closed, Sealed | Carried)
                | (Sealed, Assigned | Frozen)
                | (Assigned, Sent | Sealed | Frozen)
                | (Sent, Confirmed | Lost | Frozen)
                // Sent: the mint knows its quote again.
                | (Lost, Sealed | Sent | Frozen)
                | (Frozen, Sealed | Assigned | Sent | Lost)
        )
    }
}

impl QuoteState {
    /// Whether a quote may go from this state to `next`.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        use QuoteState::{Closing, Creating, Lost, New, Open, Settled};
        matches!(
            (self, next),
            (New, Creating)
                // Lost: the mint has one of its name under an id that nobody knows.
                | (Creating, New | Open | Lost)
                | (Open, Closing | Lost)
                | (Closing, Settled | Lost)
                // The mint's database is back.
                | (Lost, Closing)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_codes() {
        for state in CreditState::ALL {
            assert_eq!(CreditState::from_code(state.code()), Some(*state));
        }
        for state in QuoteState::ALL {
            assert_eq!(QuoteState::from_code(state.code()), Some(*state));
        }
        assert_eq!(CreditState::from_code(9), None);
        assert_eq!(QuoteState::from_code(-1), None);
    }

    #[test]
    fn rejects_every_way_out_of_a_final_state() {
        for next in CreditState::ALL {
            assert!(!CreditState::Confirmed.may_become(*next), "{next}");
            assert!(!CreditState::Carried.may_become(*next), "{next}");
            assert!(!next.may_become(*next), "{next}");
            assert!(!next.may_become(CreditState::Open), "{next}");
        }
        for next in QuoteState::ALL {
            assert!(!QuoteState::Settled.may_become(*next), "{next}");
            let back = *next == QuoteState::Closing;
            assert_eq!(QuoteState::Lost.may_become(*next), back, "it takes nothing new: {next}");
            assert!(!next.may_become(*next), "{next}");
        }
    }
}
