//! What is printed: names that strangers chose made harmless, work and ages for people, tables.

use std::fmt;

use gopool_sv2::mint::Work;

/// Bytes of strangers as printable ASCII: all that is none of it as `\xNN`, and so are quotation
/// marks and backslashes, so that two names never look the same and none of it moves a terminal.
pub(super) fn plain(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b' '..=b'~' if !matches!(byte, b'"' | b'\\') => text.push(char::from(*byte)),
            byte => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

/// Text that is not all ours: what can't be printed, and what is not ASCII, as `\xNN`.
pub(super) fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' => safe.push(char::from(byte)),
            byte => safe.push_str(&format!("\\x{byte:02x}")),
        }
    }
    safe
}

/// A name in quotation marks: an empty one, and where spaces end, can be seen.
pub(super) fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", plain(bytes))
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Work as a difficulty, rounded down to six places.
pub(super) fn difficulty(work: Work) -> String {
    let exact = work.difficulty();
    let places = (u64::from(exact.fraction) * 1_000_000) >> 32;
    let text = format!("{}.{places:06}", exact.whole);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// From one time to another, both in milliseconds, in the two largest units: `2 h 5 min`.
pub(super) fn age(from_ms: i64, to_ms: i64) -> String {
    let seconds = to_ms.saturating_sub(from_ms).max(0) / 1000;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// A sum as JSON can say it; the largest for what is beyond 2^64.
pub(super) fn at_most(sum: u128) -> u64 {
    u64::try_from(sum).unwrap_or(u64::MAX)
}

/// Rows in columns, two spaces apart. A column whose title begins with `>` is flush right.
pub(super) struct Table {
    titles: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) const fn new(titles: &'static [&'static str]) -> Self {
        Self { titles, rows: Vec::new() }
    }

    /// Adds a row: a cell for each title, printable.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    /// Without a line break at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles: Vec<String> =
            self.titles.iter().map(|title| title.trim_start_matches('>').to_owned()).collect();
        let mut widths: Vec<usize> = titles.iter().map(String::len).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.len().max(*width);
            }
        }
        for (number, row) in std::iter::once(&titles).chain(&self.rows).enumerate() {
            let mut line = String::new();
            for ((cell, width), title) in row.iter().zip(&widths).zip(self.titles) {
                match title.starts_with('>') {
                    true => line.push_str(&format!("{cell:>width$}  ")),
                    false => line.push_str(&format!("{cell:<width$}  ")),
                }
            }
            let end = if number == self.rows.len() { "" } else { "\n" };
            write!(f, "{}{end}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_every_byte_a_stranger_can_choose() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        let text = quoted(&all);
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
        assert_eq!(text.matches('"').count(), 2);
        assert_eq!(plain(b"bob.w-1 x"), "bob.w-1 x");
        assert_eq!(
            plain("\x1b[2J\r\n\u{202e}\"\\".as_bytes()),
            "\\x1b[2J\\x0d\\x0a\\xe2\\x80\\xae\\x22\\x5c"
        );
        assert_eq!(harmless("say \"x\"\u{9b}\n"), "say \"x\"\\xc2\\x9b\\x0a");
        // What is escaped is not what somebody wrote that way.
        assert_ne!(plain(b"\n"), plain(b"\\x0a"));
    }

    #[test]
    fn writes_work_and_ages_for_people() {
        for (work, want) in [
            (0, "0"),
            (1, "0"),
            (1 << 31, "0.5"),
            (7 << 32 | 1 << 30, "7.25"),
            (10 << 32, "10"),
            ((1 << 96) - 1, "18446744073709551615.999999"),
        ] {
            assert_eq!(difficulty(Work(work)), want);
        }
        for (seconds, want) in [
            (-5, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (3_600, "1 h 0 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(age(1_000, 1_000 + seconds * 1000), want);
        }
        assert_eq!(age(i64::MIN, i64::MAX), age(0, i64::MAX));
        assert_eq!(at_most(1 << 64), u64::MAX);
    }

    #[test]
    fn puts_rows_into_columns() {
        let mut table = Table::new(&["name", ">shares", "why"]);
        assert_eq!(table.to_string(), "name  shares  why");
        table.row(vec!["longer".into(), "7".into(), String::new()]);
        table.row(vec!["x".into(), "12345678".into(), "y".into()]);
        let want = "name      shares  why\nlonger         7\nx       12345678  y";
        assert_eq!(table.to_string(), want);
    }
}
