//! One line of the journal, and its JSON.

use std::fmt::Write;

use super::printable;
use crate::types::Short;

/// One line of the journal of answers. Numbers are exact 64-bit integers (read them as such: many
/// JSON readers keep 53 bits).
///
/// Each line is one JSON object whose first member, `event`, is the name of the variant in
/// `snake_case`; the others are its fields, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// `job_arrived`: the pool gave a job to a channel.
    JobArrived {
        /// The pool's channel id.
        channel: u64,
        /// Number of the job in the order of the channel's jobs.
        job_seq: u64,
    },
    /// `set_new_prev_hash`: a new tip was queued for the miner.
    SetNewPrevHash {
        /// The connection.
        conn: u64,
        /// The pool's channel id.
        channel: u64,
        /// SV2's job id.
        job: u32,
        /// Number of that job in the order of the channel's jobs.
        job_seq: u64,
        /// Highest number of a job that had arrived for the connection by then.
        newest: u64,
    },
    /// `answer`: the answer to a submit was queued for the miner.
    Answer {
        /// The connection.
        conn: u64,
        /// The pool's channel id.
        channel: u64,
        /// Id of the submit towards the pool; 0 when it was never forwarded.
        submit_id: u64,
        /// The miner's sequence number.
        seq: u32,
        /// The worker that the share names, written as [`printable`] does; empty: none.
        worker: Short,
        /// Whether the share was accepted.
        accepted: bool,
        /// SV2's error code; empty when accepted.
        reason: &'static str,
    },
    /// `opened`: a channel was opened.
    Opened {
        /// The connection.
        conn: u64,
        /// The pool's channel id.
        channel: u64,
        /// `standard` or `extended`.
        kind: &'static str,
    },
    /// `connection_closed`: a connection ended.
    ConnectionClosed {
        /// The connection.
        conn: u64,
        /// Why. Text of a miner in it must be escaped (see [`crate::obs::printable`]).
        cause: String,
    },
}

impl Line {
    /// Appends the line as JSON, with a newline at its end.
    pub fn write_json(&self, out: &mut String) {
        match self {
            Self::JobArrived { channel, job_seq } => {
                Object::new(out, "job_arrived").uint("channel", *channel).uint("job_seq", *job_seq)
            }
            Self::SetNewPrevHash { conn, channel, job, job_seq, newest } => {
                Object::new(out, "set_new_prev_hash")
                    .uint("conn", *conn)
                    .uint("channel", *channel)
                    .uint("job", u64::from(*job))
                    .uint("job_seq", *job_seq)
                    .uint("newest", *newest)
            }
            Self::Answer { conn, channel, submit_id, seq, worker, accepted, reason } => {
                Object::new(out, "answer")
                    .uint("conn", *conn)
                    .uint("channel", *channel)
                    .uint("submit_id", *submit_id)
                    .uint("seq", u64::from(*seq))
                    .text("worker", &printable(worker))
                    .bool("accepted", *accepted)
                    .text("reason", reason)
            }
            Self::Opened { conn, channel, kind } => Object::new(out, "opened")
                .uint("conn", *conn)
                .uint("channel", *channel)
                .text("kind", kind),
            Self::ConnectionClosed { conn, cause } => {
                Object::new(out, "connection_closed").uint("conn", *conn).text("cause", cause)
            }
        }
        .end();
    }
}

/// Appends the last line of a journal.
pub(super) fn write_closed(out: &mut String, dropped: u64, lines: u64) {
    Object::new(out, "closed").uint("dropped", dropped).uint("lines", lines).end();
}

/// A JSON object that is being written. Member names are our own and need no escapes.
struct Object<'a> {
    out: &'a mut String,
}

impl<'a> Object<'a> {
    fn new(out: &'a mut String, event: &str) -> Self {
        out.push_str("{\"event\":\"");
        out.push_str(event);
        out.push('"');
        Self { out }
    }

    fn name(&mut self, name: &str) {
        self.out.push_str(",\"");
        self.out.push_str(name);
        self.out.push_str("\":");
    }

    fn uint(mut self, name: &str, value: u64) -> Self {
        self.name(name);
        // Writing to a String can't fail.
        let _ = write!(self.out, "{value}");
        self
    }

    fn bool(mut self, name: &str, value: bool) -> Self {
        self.name(name);
        self.out.push_str(if value { "true" } else { "false" });
        self
    }

    fn text(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        self.out.push('"');
        for c in value.chars() {
            match c {
                '"' | '\\' => self.out.extend(['\\', c]),
                // RFC 8259, 7. The two separators are line ends for some readers.
                '\0'..='\x1f' | '\u{2028}' | '\u{2029}' => {
                    let _ = write!(self.out, "\\u{:04x}", u32::from(c));
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
        self
    }

    fn end(self) {
        self.out.push_str("}\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parsed(line: &Line) -> serde_json::Value {
        let mut out = String::new();
        line.write_json(&mut out);
        assert_eq!(out.lines().count(), 1);
        assert!(out.ends_with('\n'));
        serde_json::from_str(&out).unwrap()
    }

    #[test]
    fn writes_every_field_of_every_line() {
        let line = Line::JobArrived { channel: 1, job_seq: u64::MAX };
        let want = json!({"event": "job_arrived", "channel": 1, "job_seq": u64::MAX});
        assert_eq!(parsed(&line), want);
        let line =
            Line::SetNewPrevHash { conn: 1, channel: 2, job: u32::MAX, job_seq: 4, newest: 5 };
        let want = json!({"event": "set_new_prev_hash", "conn": 1, "channel": 2,
            "job": u32::MAX, "job_seq": 4, "newest": 5});
        assert_eq!(parsed(&line), want);
        let line = Line::Answer {
            conn: 1,
            channel: 2,
            submit_id: 0,
            seq: 4,
            worker: Short::new(b"rig 1\xff\"\n"),
            accepted: false,
            reason: "stale-share",
        };
        let want = json!({"event": "answer", "conn": 1, "channel": 2, "submit_id": 0,
            "seq": 4, "worker": r"rig 1\xff\x22\x0a", "accepted": false, "reason": "stale-share"});
        assert_eq!(parsed(&line), want);
        let line = Line::Opened { conn: 1, channel: 2, kind: "extended" };
        let want = json!({"event": "opened", "conn": 1, "channel": 2, "kind": "extended"});
        assert_eq!(parsed(&line), want);
    }

    proptest! {
        #[test]
        fn keeps_any_text(conn in any::<u64>(), cause in any::<String>()) {
            let line = Line::ConnectionClosed { conn, cause: cause.clone() };
            let want = json!({"event": "connection_closed", "conn": conn, "cause": cause});
            prop_assert_eq!(parsed(&line), want);
        }
    }

    #[test]
    fn escapes_every_control_character() {
        let cause: String = ('\0'..='\u{2030}').collect();
        let line = Line::ConnectionClosed { conn: 0, cause: cause.clone() };
        assert_eq!(parsed(&line)["cause"], json!(cause));
    }
}
