//! `[mint]`: readers and printers of its values.

use super::model::Valuation;
use super::text::shown;
use crate::types::Difficulty;

/// Longest unit or method.
const NAME_MAX: usize = 32;
/// Longest URL.
const URL_MAX: usize = 1024;

/// The address of the mint's HTTP API; empty: none.
pub(super) fn url(value: &str) -> Result<String, String> {
    let wanted = "write \"https://HOST\" or \"http://127.0.0.1:PORT\"";
    let plain = value.trim_end_matches('/');
    if plain.is_empty() {
        return Ok(String::new());
    }
    let scheme = plain.strip_prefix("https://").or_else(|| plain.strip_prefix("http://"));
    let host = scheme.ok_or_else(|| format!("{} is no URL: {wanted}", shown(value)))?;
    let good = |c: char| c.is_ascii_graphic() && !"?#@\"<>\\^`{|}".contains(c);
    if host.is_empty() || host.starts_with('/') || !host.chars().all(good) || value.len() > URL_MAX
    {
        return Err(format!("{} is no URL of a mint: {wanted}", shown(value)));
    }
    Ok(plain.to_owned())
}

/// The name of a unit or a method, as mints write it.
pub(super) fn name(value: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if value.is_empty() || value.len() > NAME_MAX || !value.chars().all(good) {
        return Err(format!(
            "{} is no name: write 1 to {NAME_MAX} lower case letters, digits, '-' or '_'",
            shown(value)
        ));
    }
    Ok(value.to_owned())
}

/// `linear`, or `hashpool_pow2:MIN`.
pub(super) fn valuation(value: &str) -> Result<Valuation, String> {
    let pow2 = |min: &str| min.parse().ok().map(Valuation::HashpoolPow2);
    match value.split_once(':') {
        None if value == "linear" => Some(Valuation::Linear),
        Some(("hashpool_pow2", min)) => pow2(min),
        _ => None,
    }
    .ok_or_else(|| {
        format!(
            "{} is no valuation: write \"linear\", or \"hashpool_pow2:MIN\" with MIN from 0 to 255",
            shown(value)
        )
    })
}

pub(super) fn show_valuation(value: &Valuation) -> String {
    match value {
        Valuation::Linear => "linear".to_owned(),
        Valuation::HashpoolPow2(min) => format!("hashpool_pow2:{min}"),
    }
}

/// A decimal number, exact in units of 2^-32 or rounded down to one.
pub(super) fn difficulty(value: &str) -> Result<Difficulty, String> {
    let wrong = || {
        format!(
            "{} is no difficulty: write a decimal number of at most 18 places, for example \"1\" \
             or \"0.0000152587890625\"",
            shown(value)
        )
    };
    let (whole, places) = value.split_once('.').unwrap_or((value, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(places) || places.len() > 18 {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let numerator: u128 = places.parse().map_err(|_| wrong())?;
    let denominator = 10_u128.pow(u32::try_from(places.len()).map_err(|_| wrong())?);
    // Below the denominator: less than 2^32 after the division.
    let fraction = u32::try_from((numerator << 32) / denominator).map_err(|_| wrong())?;
    if whole == 0 && fraction == 0 {
        return Err(format!(
            "{} is below 2^-32, the least credit there is: raise it",
            shown(value)
        ));
    }
    Ok(Difficulty { whole, fraction })
}

pub(super) fn show_difficulty(value: &Difficulty) -> String {
    // 2^-32 has 32 decimal places: those that are read again suffice to get the same.
    let places = (u128::from(value.fraction) * 10_u128.pow(18)).div_ceil(1 << 32);
    let text = format!("{}.{places:018}", value.whole);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// 64 hexadecimal digits; empty: none. Colons between bytes are as openssl prints them.
pub(super) fn fingerprint(value: &str) -> Result<Option<[u8; 32]>, String> {
    let plain: Vec<u8> = value.bytes().filter(|byte| *byte != b':').collect();
    if plain.is_empty() {
        return Ok(None);
    }
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pair = |pair: &[u8]| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?);
    let bytes: Option<Vec<u8>> = plain.chunks(2).map(pair).collect();
    let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(Some).ok_or_else(|| {
        format!(
            "{} is no SHA-256: write the 64 hexadecimal digits that `openssl x509 -noout \
             -fingerprint -sha256 -in client.pem` prints",
            shown(value)
        )
    })
}

pub(super) fn show_fingerprint(value: &Option<[u8; 32]>) -> String {
    value.iter().flatten().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn problems(text: &str) -> String {
        Config::from_bytes(text.as_bytes(), Path::new("/etc/x.toml"))
            .map(|_| String::new())
            .unwrap_or_else(|problems| problems.to_string())
    }

    #[test]
    fn difficulties_are_read_as_they_are_printed() {
        for (text, whole, fraction) in [
            ("1", 1, 0),
            ("0.5", 0, 1 << 31),
            ("0.0000152587890625", 0, 1 << 16),
            ("123456.999999999999999999", 123_456, u32::MAX),
        ] {
            let read = difficulty(text).unwrap();
            assert_eq!(read, Difficulty { whole, fraction }, "{text}");
            assert_eq!(difficulty(&show_difficulty(&read)).unwrap(), read, "{text}");
        }
        for fraction in (0..1000).map(|n| u32::MAX / 1000 * n + 1).chain([1, u32::MAX]) {
            let exact = Difficulty { whole: 0, fraction };
            assert_eq!(difficulty(&show_difficulty(&exact)), Ok(exact));
        }
        for bad in ["", ".", "1.", ".5", "-1", "1e3", "0", "0.0", "1.0000000000000000001"] {
            assert!(difficulty(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_what_operators_write() {
        assert_eq!(url("https://mint.example/").as_deref(), Ok("https://mint.example"));
        assert_eq!(url("http://127.0.0.1:3338/v").as_deref(), Ok("http://127.0.0.1:3338/v"));
        for bad in
            ["mint.example", "ftp://a", "https://", "https:///a", "https://a b", "http://a?b"]
        {
            assert!(url(bad).is_err(), "{bad}");
        }
        let print = "AB:".repeat(31) + "CD";
        assert_eq!(fingerprint(&print).unwrap().unwrap()[31], 0xcd);
        assert!(fingerprint("abc").is_err() && fingerprint(&print[3..]).is_err());
        assert_eq!(valuation("hashpool_pow2:32"), Ok(Valuation::HashpoolPow2(32)));
        for bad in ["", "Linear", "hashpool_pow2", "hashpool_pow2:256", "linear:1"] {
            assert!(valuation(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_what_a_bridge_lacks() {
        let text = problems("[mint]\nledger_file = \"ledger.db\"\n");
        for part in ["[mint].url", "tls_dir"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let text = problems("[mint]\nurl = \"http://127.0.0.1:1\"\n");
        assert!(text.contains("ledger_file"), "{text}");
        let plain = "[mint]\nledger_file = \"l\"\nurl = \"http://127.0.0.1:1\"\n[mint.processor]\n\
                     allow_plain = true\nlisten = \"0.0.0.0:50051\"\n";
        assert!(problems(plain).contains("loopback"), "{}", problems(plain));
        assert_eq!(problems(&plain.replace("0.0.0.0", "127.0.0.1")), "");
    }
}
