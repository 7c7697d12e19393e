//! Who may ask.

use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::HeaderValue;
use sha2::{Digest as _, Sha256};

use crate::keys::{KeyError, KeyFile};

/// Longest token file that is read, in bytes.
const TOKEN_FILE_MAX: u64 = 1_024;
/// Shortest token, in characters: less can be guessed.
const TOKEN_MIN: usize = 16;

/// Why a token can't be used. The text says the remedy and never repeats the content.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There is no such file.
    #[error(
        "{0}: no such file: make a token with `openssl rand -hex 32 > FILE` and `chmod 600` it"
    )]
    Missing(String),
    /// The file can't be used.
    #[error(transparent)]
    File(KeyError),
    /// The content is no token.
    #[error(
        "{0}: holds no token: write one line of at least {TOKEN_MIN} printable characters without \
         spaces, for example of `openssl rand -hex 32`"
    )]
    Content(String),
}

/// Reads a token as it is shown. Blocks on the disk.
///
/// # Errors
/// [`TokenError`].
pub fn read_token(file: &KeyFile) -> Result<Vec<u8>, TokenError> {
    let secret = file.read(TOKEN_FILE_MAX).map_err(|error| match error {
        KeyError::Missing(path) => TokenError::Missing(path.display().to_string()),
        other => TokenError::File(other),
    })?;
    let token = secret.bytes().trim_ascii();
    if token.len() < TOKEN_MIN || !token.iter().all(u8::is_ascii_graphic) {
        return Err(TokenError::Content(file.to_string()));
    }
    Ok(token.to_vec())
}

/// What a request must show. Only its hash is kept.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token([redacted])")
    }
}

impl Token {
    /// Reads it. Blocks on the disk.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn load(file: &KeyFile) -> Result<Self, TokenError> {
        read_token(file).map(|token| Self::new(&token))
    }

    /// A token.
    #[must_use]
    pub fn new(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Whether this is it. How long that takes says nothing of either.
    fn is(&self, shown: &[u8]) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        self.0.iter().zip(shown).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

/// What is asked of who asks.
#[derive(Debug, Clone)]
pub enum Gate {
    /// The token.
    Token(Token),
    /// To be on this machine, and to know it: a page in a browser here must not ask in the name of
    /// a host that an attacker made this address of.
    Loopback,
    /// Nothing: the file's mode lets in whom it should.
    Unix,
}

/// Why a request is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It shows no token, or a wrong one.
    Token,
    /// Its Host header names another machine.
    ForeignHost,
}

impl Gate {
    /// Whether a request may be answered. With `basic` the token may also be the password of HTTP's
    /// basic authentication, which is what browsers can ask people for.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn check<B>(&self, request: &Request<B>, basic: bool) -> Result<(), Refused> {
        match self {
            // Says nothing but that the process runs.
            _ if request.uri().path() == "/livez" => Ok(()),
            Self::Token(token) => {
                let shown = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
                let bearer = shown.and_then(|value| value.strip_prefix(b"Bearer "));
                let password = || {
                    let pair = base64(shown?.strip_prefix(b"Basic ")?)?;
                    let colon = pair.iter().position(|byte| *byte == b':')?;
                    pair.get(colon + 1..).map(<[u8]>::to_vec)
                };
                let good = bearer.is_some_and(|shown| token.is(shown))
                    || (basic && password().is_some_and(|shown| token.is(&shown)));
                good.then_some(()).ok_or(Refused::Token)
            }
            Self::Loopback => {
                let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
                host.is_some_and(is_local).then_some(()).ok_or(Refused::ForeignHost)
            }
            Self::Unix => Ok(()),
        }
    }
}

/// Base64 with its padding or without; `None`: it is none.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in text.trim_ascii().iter().take_while(|byte| **byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, held) = ((bits << 6 | u32::from(value)) & 0xffff, held + 6);
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(out)
}

/// `127.0.0.1`, `[::1]` or `localhost`, with or without a port.
fn is_local(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let ip = bare.parse::<std::net::IpAddr>();
    ip.is_ok_and(|ip| ip.is_loopback()) || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_opens() {
        let token = Token::new(b"0123456789abcdef");
        assert!(token.is(b"0123456789abcdef"));
        for wrong in [&b""[..], b"0123456789abcde", b"0123456789abcdef ", b"0123456789abcdeF"] {
            assert!(!token.is(wrong));
        }
        assert_eq!(format!("{token:?}"), "Token([redacted])");
    }

    #[test]
    fn takes_the_token_as_a_password_only_where_browsers_ask() {
        let gate = Gate::Token(Token::new(b"0123456789abcdef"));
        let shows = |value: &str, basic| {
            let request =
                Request::builder().uri("/").header(AUTHORIZATION, value).body(()).unwrap();
            gate.check(&request, basic)
        };
        // any:0123456789abcdef
        let right = "Basic YW55OjAxMjM0NTY3ODlhYmNkZWY=";
        assert_eq!(shows(right, true), Ok(()));
        assert_eq!(shows(right, false), Err(Refused::Token));
        assert_eq!(shows("Bearer 0123456789abcdef", true), Ok(()));
        for wrong in ["Basic", "Basic ", "Basic !!!!", "Basic YW55", "Basic YW55Og==", ""] {
            assert_eq!(shows(wrong, true), Err(Refused::Token), "{wrong}");
        }
    }

    #[test]
    fn reads_base64() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8", "fo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(base64(text.as_bytes()).unwrap(), bytes.as_bytes());
        }
        assert_eq!(base64(b"//8="), Some(vec![0xff, 0xff]));
        assert_eq!(base64(b"a b"), None);
    }

    #[test]
    fn rejects_the_names_of_other_hosts() {
        for good in ["127.0.0.1", "127.0.0.1:3340", "[::1]:3340", "localhost:1", "LOCALHOST"] {
            assert!(is_local(good.as_bytes()), "{good}");
        }
        for bad in ["", "pool.example", "pool.example:3340", "192.0.2.1", "127.0.0.1.example", "::"]
        {
            assert!(!is_local(bad.as_bytes()), "{bad}");
        }
    }
}
