//! Journals: JSON lines of miner, sidecar and minipool.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::Result;

/// One line of a journal. A field that is not there, or of another type, fails the test that asks
/// for it: read as nothing it would make books agree.
#[derive(Debug, Clone)]
pub struct Event(Value);

impl Event {
    /// What it is about.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text("event")
    }

    /// A number.
    #[must_use]
    pub fn number(&self, field: &str) -> u64 {
        self.there(field, self.0[field].as_u64())
    }

    /// A text.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.there(field, self.0[field].as_str())
    }

    /// Whether a field is `true`.
    #[must_use]
    pub fn is(&self, field: &str) -> bool {
        self.there(field, self.0[field].as_bool())
    }

    /// A credit: whole difficulties, and the rest in units of 2^-32.
    #[must_use]
    pub fn credit(&self) -> (u64, u32) {
        let part = |name| self.there("credit", self.0["credit"][name].as_u64());
        let fraction = u32::try_from(part("fraction")).ok();
        (part("whole"), self.there("credit", fraction))
    }

    #[allow(clippy::panic)]
    fn there<T>(&self, field: &str, value: Option<T>) -> T {
        value.unwrap_or_else(|| panic!("no {field} of that type in the journal's line {}", self.0))
    }
}

/// A journal read whole.
#[derive(Debug, Clone, Default)]
pub struct Books(Vec<Event>);

impl Books {
    /// Reads a journal. A last line without its newline (the writer was killed) is left out.
    ///
    /// # Errors
    /// No such file, or a whole line that is not JSON.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut events = Vec::new();
        for line in whole.lines() {
            let value = serde_json::from_str(line)
                .map_err(|error| format!("{}: {error}: {line}", path.display()))?;
            events.push(Event(value));
        }
        Ok(Self(events))
    }

    /// Reads a journal whose writer was killed and went on, maybe often: each time may have left
    /// half a line. Returns how many did, too.
    ///
    /// # Errors
    /// No such file.
    pub fn read_lives(path: &Path) -> Result<(Self, usize)> {
        let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let (mut events, mut torn) = (Vec::new(), 0);
        for line in text.lines() {
            match serde_json::from_str(line) {
                Ok(value) => events.push(Event(value)),
                Err(_) => torn += 1,
            }
        }
        Ok((Self(events), torn))
    }

    /// All lines, in order.
    pub fn all(&self) -> impl Iterator<Item = &Event> {
        self.0.iter()
    }

    /// The lines of one kind, in order.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Event> {
        self.0.iter().filter(move |event| event.name() == name)
    }

    /// Shares that were accepted: by the pool, or told so by the sidecar, or heard by the miner.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        let heard: u64 = self.of("accepted").map(|e| e.number("count")).sum();
        let booked = |name| self.of(name).filter(|e| e.is("accepted")).count() as u64;
        heard + booked("answer") + booked("verdict")
    }

    /// Shares that were rejected, by reason.
    #[must_use]
    pub fn rejected(&self) -> BTreeMap<String, u64> {
        let mut reasons = BTreeMap::new();
        let booked = ["answer", "verdict"].into_iter().flat_map(|n| self.of(n));
        for event in booked.filter(|e| !e.is("accepted")).chain(self.of("rejected")) {
            *reasons.entry(event.text("reason").to_owned()).or_default() += 1;
        }
        // Sums, where the pool rejected more than it wrote lines of.
        for sum in self.of("rejects") {
            let counts = sum.there("reasons", sum.0["reasons"].as_object());
            for (reason, count) in counts {
                let count = sum.there(reason, count.as_u64());
                *reasons.entry(reason.clone()).or_default() += count;
            }
        }
        reasons
    }

    /// Submit ids that were accepted.
    #[must_use]
    pub fn accepted_ids(&self) -> Vec<u64> {
        let booked = ["answer", "verdict"].into_iter().flat_map(|n| self.of(n));
        booked.filter(|e| e.is("accepted")).map(|e| e.number("submit_id")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "no count of that type")]
    fn rejects_a_line_without_the_number_that_is_asked_for() {
        let _ = Event(serde_json::json!({"event": "accepted", "last_seq": 1})).number("count");
    }

    #[test]
    #[should_panic(expected = "no hash of that type")]
    fn rejects_a_line_without_the_text_that_is_asked_for() {
        let _ = Event(serde_json::json!({"event": "verdict", "hash": 7})).text("hash");
    }
}
