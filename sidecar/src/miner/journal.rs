//! The miner's own books: one JSON object per line, appended to a file.
//!
//! Lines, in the order things happened:
//! `{"event":"connected","connection":1,"url":"…"}`,
//! `{"event":"opened","channel":2,"target":"…"}`,
//! `{"event":"submit","seq":1,"job":7,"hash":"…"}` (written before the submit is sent),
//! `{"event":"accepted","last_seq":1,"count":1,"sum":65536}`,
//! `{"event":"rejected","seq":2,"reason":"stale-share"}`,
//! `{"event":"disconnected","reason":"…","unanswered":0}`.
//! Hashes and targets are in display order. Sequence numbers go on over connections.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::json::Object;
use super::target::display_order;

/// The file, or nothing when no journal was asked for. Buffered; see [`Self::flush`].
#[derive(Debug)]
pub struct Journal {
    file: Option<BufWriter<File>>,
}

impl Journal {
    /// Opens the file for appending, or makes a journal that keeps nothing.
    pub fn open(path: Option<&Path>) -> io::Result<Self> {
        let file = match path {
            Some(path) => {
                Some(BufWriter::new(OpenOptions::new().create(true).append(true).open(path)?))
            }
            None => None,
        };
        Ok(Self { file })
    }

    /// Writes out what is buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }

    pub(super) fn connected(&mut self, connection: u64, url: &str) -> io::Result<()> {
        self.line("connected", |o| o.number("connection", connection).string("url", url))
    }

    pub(super) fn opened(&mut self, channel: u32, target: &[u8; 32]) -> io::Result<()> {
        let target = display_order(target);
        self.line("opened", |o| o.number("channel", channel.into()).string("target", &target))
    }

    pub(super) fn submit(&mut self, seq: u32, job: u32, hash: &[u8; 32]) -> io::Result<()> {
        self.line("submit", |o| {
            let object = o.number("seq", seq.into()).number("job", job.into());
            object.string("hash", &display_order(hash))
        })
    }

    pub(super) fn accepted(&mut self, last_seq: u32, count: u32, sum: u64) -> io::Result<()> {
        self.line("accepted", |o| {
            let object = o.number("last_seq", last_seq.into()).number("count", count.into());
            object.number("sum", sum)
        })
    }

    pub(super) fn rejected(&mut self, seq: u32, reason: &str) -> io::Result<()> {
        self.line("rejected", |o| o.number("seq", seq.into()).string("reason", reason))
    }

    pub(super) fn disconnected(&mut self, reason: &str, unanswered: u64) -> io::Result<()> {
        self.line("disconnected", |o| o.string("reason", reason).number("unanswered", unanswered))
    }

    /// The closure runs only when there is a file: a submit costs nothing without one.
    fn line(&mut self, event: &str, fields: impl FnOnce(Object) -> Object) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let line = fields(Object::default().string("event", event)).finish();
        writeln!(file, "{line}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_the_documented_lines() {
        let path = std::env::temp_dir().join(format!("miner-journal-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        for round in 0..2 {
            let mut journal = Journal::open(Some(&path)).expect("open");
            let mut hash = [0; 32];
            hash[31] = 0xab;
            journal.submit(round, 7, &hash).expect("submit");
            journal.accepted(round, 1, 65_536).expect("accepted");
            journal.rejected(9, "stale-share").expect("rejected");
            journal.flush().expect("flush");
        }
        let text = std::fs::read_to_string(&path).expect("read");
        std::fs::remove_file(&path).expect("remove");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 6);
        let hash = format!("ab{}", "00".repeat(31));
        let submit = format!(r#"{{"event":"submit","seq":0,"job":7,"hash":"{hash}"}}"#);
        assert_eq!(lines[0], submit);
        assert_eq!(lines[4], r#"{"event":"accepted","last_seq":1,"count":1,"sum":65536}"#);
        assert_eq!(lines[5], r#"{"event":"rejected","seq":9,"reason":"stale-share"}"#);
    }

    #[test]
    fn keeps_nothing_without_a_path_and_rejects_one_it_cannot_open() {
        let mut none = Journal::open(None).expect("none");
        none.rejected(1, "x").expect("nothing to fail");
        none.flush().expect("nothing to flush");
        let dir = std::env::temp_dir();
        assert!(Journal::open(Some(&dir)).is_err());
    }
}
