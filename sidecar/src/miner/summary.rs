//! Counts of a run and how they are shown.

use std::collections::BTreeMap;
use std::fmt;

use super::json::Object;

/// Different reject reasons that are told apart. A server may invent as many as it likes; what
/// comes after these is counted as `other`.
const MAX_REASONS: usize = 64;

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Shutdown,
    /// The time limit.
    TimeLimit,
    /// The share limit.
    ShareLimit,
    /// The connection ended and reconnecting was not wanted; the text says how.
    Disconnected(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown => f.write_str("stopped"),
            Self::TimeLimit => f.write_str("time limit reached"),
            Self::ShareLimit => f.write_str("share limit reached"),
            Self::Disconnected(how) => write!(f, "disconnected: {how}"),
        }
    }
}

/// What a run did. `submitted = accepted + rejected + unanswered`, always.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Shares sent.
    pub submitted: u64,
    /// Shares the server said yes to.
    pub accepted: u64,
    /// Shares the server said no to, by its error code (printable ASCII).
    pub rejected: BTreeMap<String, u64>,
    /// Shares the server never answered, because the connection or the time to wait ended.
    pub unanswered: u64,
    /// Accepted shares whose hash also meets the network's target.
    pub blocks: u64,
    /// Connections on which a channel was opened.
    pub connects: u64,
    /// Hashes per second, over the time in which there was work.
    pub hash_rate: f64,
    /// Why it ended.
    pub ended: Ended,
}

impl Summary {
    /// One JSON object without a line break, keys as the fields.
    pub fn to_json(&self) -> String {
        let rejected =
            self.rejected.iter().fold(Object::default(), |o, (reason, n)| o.number(reason, *n));
        Object::default()
            .number("submitted", self.submitted)
            .number("accepted", self.accepted)
            .object("rejected", rejected)
            .number("unanswered", self.unanswered)
            .number("blocks", self.blocks)
            .number("connects", self.connects)
            .fraction("hash_rate", self.hash_rate)
            .string("ended", &self.ended.to_string())
            .finish()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "submitted {}, accepted {}, rejected {}, unanswered {}, blocks {}, connects {}, {} \
             ({})",
            self.submitted,
            self.accepted,
            Rejects(&self.rejected),
            self.unanswered,
            self.blocks,
            self.connects,
            Rate(self.hash_rate),
            self.ended,
        )
    }
}

/// The counts while a run goes on.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) submitted: u64,
    pub(super) accepted: u64,
    pub(super) rejected: BTreeMap<String, u64>,
    pub(super) unanswered: u64,
    pub(super) blocks: u64,
    pub(super) connects: u64,
}

impl Counts {
    /// Counts one rejected share.
    pub(super) fn reject(&mut self, reason: &str) {
        let known = self.rejected.contains_key(reason) || self.rejected.len() < MAX_REASONS;
        let reason = if known { reason } else { "other" };
        *self.rejected.entry(reason.to_owned()).or_default() += 1;
    }

    pub(super) fn summary(self, hash_rate: f64, ended: Ended) -> Summary {
        Summary {
            submitted: self.submitted,
            accepted: self.accepted,
            rejected: self.rejected,
            unanswered: self.unanswered,
            blocks: self.blocks,
            connects: self.connects,
            hash_rate,
            ended,
        }
    }
}

/// `3 (stale-share 2, duplicate-share 1)`, or `0`.
pub(super) struct Rejects<'a>(pub(super) &'a BTreeMap<String, u64>);

impl fmt::Display for Rejects<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.values().sum::<u64>())?;
        for (i, (reason, count)) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { " (" } else { ", " })?;
            write!(f, "{reason} {count}")?;
        }
        f.write_str(if self.0.is_empty() { "" } else { ")" })
    }
}

/// A hash rate with a fitting unit: `4.21 MH/s`.
pub(super) struct Rate(pub(super) f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0;
        for unit in ["H/s", "kH/s", "MH/s", "GH/s"] {
            if value < 1000.0 {
                return write!(f, "{value:.2} {unit}");
            }
            value /= 1000.0;
        }
        write!(f, "{value:.2} TH/s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        let mut counts = Counts { submitted: 9, accepted: 5, connects: 2, ..Counts::default() };
        counts.reject("stale-share");
        counts.reject("stale-share");
        counts.reject("bad\"one");
        counts.unanswered = 1;
        counts.summary(4_210_000.0, Ended::ShareLimit)
    }

    #[test]
    fn shows_one_readable_line() {
        let line = "submitted 9, accepted 5, rejected 3 (bad\"one 1, stale-share 2), unanswered \
                    1, blocks 0, connects 2, 4.21 MH/s (share limit reached)";
        assert_eq!(summary().to_string(), line);
        let empty = Counts::default().summary(0.0, Ended::Shutdown);
        assert!(empty.to_string().contains("rejected 0, unanswered 0"), "{empty}");
    }

    #[test]
    fn shows_json_with_every_field() {
        let json = r#"{"submitted":9,"accepted":5,"rejected":{"bad\"one":1,"stale-share":2},"#;
        let text = summary().to_json();
        assert!(text.starts_with(json), "{text}");
        let rest = r#""unanswered":1,"blocks":0,"connects":2,"hash_rate":4210000,"#;
        assert!(text.contains(rest), "{text}");
        assert!(text.ends_with(r#""ended":"share limit reached"}"#), "{text}");
    }

    #[test]
    fn survives_a_server_that_invents_reasons() {
        let mut counts = Counts::default();
        (0..1000).for_each(|i| counts.reject(&format!("reason-{i}")));
        assert_eq!(counts.rejected.len(), MAX_REASONS + 1);
        assert_eq!(counts.rejected["other"], 1000 - MAX_REASONS as u64);
    }
}
