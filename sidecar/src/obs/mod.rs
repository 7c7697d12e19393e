//! What the sidecar knows and writes about itself: log lines (through `tracing`), the journal of
//! answers, counts, and who is connected.

pub mod bounds;
pub mod clients;
pub mod counts;
#[cfg(feature = "bin")]
mod filter;
pub mod health;
mod hush;
pub mod journal;
mod line;
#[cfg(feature = "bin")]
pub mod metrics;
pub mod totals;
mod trouble;
pub mod witness;

pub use bounds::{Bounds, Place};
pub use clients::{Clients, Presence};
pub use counts::Counts;
#[cfg(feature = "bin")]
pub use filter::LogFilter;
pub use hush::Hush;
pub use journal::Journal;
pub use line::Line;
pub use trouble::Trouble;

use std::fmt::{self, Write};

#[cfg(feature = "bin")]
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// [`Format::Human`] on a terminal, [`Format::Json`] elsewhere.
    #[default]
    Auto,
    /// Lines for reading.
    Human,
    /// One JSON object per line.
    Json,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 3] = [Format::Auto, Format::Human, Format::Json];

    /// The name in the configuration file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a log filter can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// Nothing at all is written; `off` says that on purpose.
    #[error("the filter is empty")]
    Empty,
    /// Not in the language of filter directives.
    #[cfg(feature = "bin")]
    #[error("{0}")]
    Directive(#[from] tracing_subscriber::filter::ParseError),
}

/// Checks filter directives, for example `info,gopool_sv2::session=debug`. The library alone,
/// built without the feature `bin`, has no logger and checks only that there are some.
///
/// # Errors
/// The text is empty or not in the language.
pub fn check_filter(directives: &str) -> Result<(), FilterError> {
    #[cfg(feature = "bin")]
    filter(directives)?;
    trimmed(directives).map(|_| ())
}

/// Parses filter directives. Field values are compared as text, not as patterns: a filter can't
/// cost more than its length.
///
/// # Errors
/// The text is empty or not in the language.
#[cfg(feature = "bin")]
pub fn filter(directives: &str) -> Result<EnvFilter, FilterError> {
    Ok(EnvFilter::builder().with_regex(false).parse(trimmed(directives)?)?)
}

/// The directives without spaces around them: tracing-subscriber 0.3.23 takes its offsets from the
/// trimmed directive but cuts the untrimmed one, so that a space after a comma gives a wrong
/// target, or a panic.
fn trimmed(directives: &str) -> Result<String, FilterError> {
    let directives: Vec<&str> =
        directives.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    if directives.is_empty() {
        return Err(FilterError::Empty);
    }
    Ok(directives.join(","))
}

/// Why logging can't start.
#[cfg(feature = "bin")]
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter can't be used.
    #[error("log filter: {0}")]
    Filter(#[from] FilterError),
    /// Another logger was installed in this process.
    #[error("logging is set up already")]
    Installed,
}

/// Sends the log lines of this process to standard error, and gives the hand on which. For the
/// program only, once, before anything logs: the library leaves its host's logger alone.
///
/// # Errors
/// The filter is wrong, or a logger is installed already.
#[cfg(feature = "bin")]
pub fn init(format: Format, directives: &str) -> Result<LogFilter, InitError> {
    use std::io::IsTerminal;

    let terminal = std::io::stderr().is_terminal();
    // https://no-color.org: set and not empty.
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(directives)?)
        .with_writer(std::io::stderr)
        // It would report a log line that can't be written (a full disk, a closed pipe) on the
        // same stderr, and panic in whatever task wrote it.
        .log_internal_errors(false)
        .with_ansi(terminal && !plain);
    let json = match format {
        Format::Json => true,
        Format::Auto => !terminal,
        Format::Human => false,
    };
    // The format first: what can be changed later has it in its type.
    let (change, installed) = if json {
        let builder = builder.json().flatten_event(true).with_filter_reloading();
        (LogFilter::of(builder.reload_handle()), builder.try_init())
    } else {
        let builder = builder.with_filter_reloading();
        (LogFilter::of(builder.reload_handle()), builder.try_init())
    };
    installed.map_err(|_| InitError::Installed)?;
    Ok(change)
}

/// Most bytes of a miner's text that are printed; SV2 strings have up to 255.
pub const PRINTABLE_BYTES_MAX: usize = 255;

/// Opaque bytes of a miner for a log line: printable ASCII as it is, everything else (and quotes,
/// and the backslash) as `\xNN`. What is past [`PRINTABLE_BYTES_MAX`] is only counted.
pub fn printable(bytes: &[u8]) -> String {
    let shown = bytes.get(..PRINTABLE_BYTES_MAX).unwrap_or(bytes);
    let mut out = String::with_capacity(shown.len());
    for byte in shown {
        match byte {
            b'"' | b'\'' | b'`' | b'\\' => write_hex(&mut out, *byte),
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => write_hex(&mut out, *byte),
        }
    }
    let more = bytes.len() - shown.len();
    if more > 0 {
        // Writing to a String can't fail.
        let _ = write!(out, "[+{more} bytes]");
    }
    out
}

fn write_hex(out: &mut String, byte: u8) {
    let _ = write!(out, "\\x{byte:02x}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The inverse of `printable`, for texts it did not cut.
    fn unescape(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let Some(first) = rest.first() {
            if *first == b'\\' {
                let digits = std::str::from_utf8(&rest[2..4]).unwrap();
                assert_eq!(rest[1], b'x');
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &rest[4..];
            } else {
                bytes.push(*first);
                rest = &rest[1..];
            }
        }
        bytes
    }

    #[test]
    fn escapes_what_could_forge_a_log_line() {
        assert_eq!(printable(b"bc1q worker.1"), "bc1q worker.1");
        assert_eq!(printable(b"a\nb\0\x7f\xff"), "a\\x0ab\\x00\\x7f\\xff");
        assert_eq!(printable(b"\"'`\\"), "\\x22\\x27\\x60\\x5c");
        assert!(printable(&[b'a'; 300]).ends_with("aa[+45 bytes]"));
    }

    proptest! {
        #[test]
        fn keeps_every_byte_readable(bytes in prop::collection::vec(any::<u8>(), 0..=255)) {
            let text = printable(&bytes);
            prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert!(!text.contains(['"', '\'', '`']));
            prop_assert_eq!(unescape(&text), bytes);
        }

        #[test]
        fn bounds_the_length(bytes in prop::collection::vec(any::<u8>(), 256..2_000)) {
            prop_assert!(printable(&bytes).len() <= PRINTABLE_BYTES_MAX * 4 + 16);
        }

        #[test]
        fn survives_any_filter(text in ".{0,60}") {
            let _ = check_filter(&text);
        }
    }

    #[test]
    fn rejects_empty_filters() {
        assert!(check_filter("info,gopool_sv2::session=debug").is_ok());
        for text in ["", " ", ",", " , "] {
            assert!(check_filter(text).is_err(), "{text:?}");
        }
    }

    #[cfg(feature = "bin")]
    #[test]
    fn rejects_filters_that_mean_nothing() {
        for text in ["info=loud", "[unclosed", "gopool_sv2::session = debug"] {
            assert!(check_filter(text).is_err(), "{text:?}");
        }
        // Spaces around a directive change nothing.
        let spaced = filter(" warn , gopool_sv2::session=debug ").unwrap().to_string();
        assert_eq!(spaced, filter("warn,gopool_sv2::session=debug").unwrap().to_string());
    }
}
