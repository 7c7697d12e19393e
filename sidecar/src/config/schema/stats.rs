//! The keys of `[stats]`.

use super::{text, Key, Section, Value};
use crate::config::model::SinkAddress;

/// Who keeps history.
pub(super) const SECTION: Section = Section {
    name: "stats",
    about: "What happens here goes to a stats service of its own (`gopool-sv2 stats`), which \
            keeps history and shows it (docs/operate.md). It may be away: nothing waits for it.",
    keys: &[
        text!(
            "sink",
            stats.sink,
            text::sink_address,
            |address: &Option<SinkAddress>| {
                address.as_ref().map_or_else(String::new, ToString::to_string)
            },
            "Where the stats service takes events, on this machine: \"unix:PATH\" of its socket, \
             or \"tcp:127.0.0.1:PORT\". Empty: nothing is collected."
        ),
        int!(
            "every_sec",
            stats.every_sec as u64,
            1,
            300,
            "Seconds from one report of all channels to the next."
        ),
        int!(
            "max_events",
            stats.max_events as usize,
            4_096,
            1_000_000,
            "Events that are kept in memory while the stats service is away, about 300 bytes each; \
             beyond that the oldest go. Sums of shares wait elsewhere when it is half full: they \
             are not lost."
        ),
    ],
};
