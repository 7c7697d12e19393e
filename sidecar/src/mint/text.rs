//! Text of others before it reaches a log or a caller: short, and nothing but printable ASCII.

/// Longest text of another's that is passed on, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 1024;

/// Longest id of the mint's, in bytes. Its own have 36.
const ID_BYTES_MAX: usize = 128;

/// The first KiB of a text, with `?` for what can't be printed.
pub(super) fn printable(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().take(TEXT_BYTES_MAX).map(plain).collect()
}

/// Whether a text may be passed on as it is.
pub(super) fn is_printable(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a text may be an id of the mint's: letters, digits, `-` and `_`, so that it is the same
/// in a path.
pub(super) fn is_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(fits)
}

/// Whether a text may name a unit or a method: lower case, as mints write them.
pub(super) fn is_name(text: &str) -> bool {
    is_id(text) && !text.bytes().any(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_hostile_text() {
        assert_eq!(printable("a b\n\x1b[31m\u{202e}é\0"), "a b??[31m???");
        assert_eq!(printable(&"é".repeat(5_000)), "?".repeat(TEXT_BYTES_MAX));
        assert!(is_printable("ehash:gp1q:abc"));
        for bad in ["a b", "a\n", "é", &"a".repeat(TEXT_BYTES_MAX + 1)] {
            assert!(!is_printable(bad), "{bad}");
        }
    }

    #[test]
    fn rejects_ids_that_change_a_path() {
        assert!(is_id("018f3c5e-7d1a-7abc-8def-0123456789ab"));
        for bad in ["", "..", "a/b", "a?b", "a#b", "a%2f", "a b", "é", &"a".repeat(129)] {
            assert!(!is_id(bad), "{bad}");
        }
        assert!(is_name("ehash") && !is_name("HASH"));
    }
}
