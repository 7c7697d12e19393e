//! Who may ask.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use axum::http::HeaderValue;
use axum::middleware::Next;
use sha2::{Digest as _, Sha256};

use super::answer::{error, Answer, Reason};
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
pub(super) enum Gate {
    /// The token.
    Token(Token),
    /// To be on this machine, and to know it: a page in a browser here must not ask in the name of
    /// a host that an attacker made this address of.
    Loopback,
    /// Nothing: the file's mode lets in whom it should.
    Unix,
}

/// Lets a request through, or answers why not.
pub(super) async fn guard(State(gate): State<Gate>, request: Request<Body>, next: Next) -> Answer {
    match &gate {
        // Says nothing but that the process runs.
        _ if request.uri().path() == "/livez" => {}
        Gate::Token(token) => {
            let shown = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
            let shown = shown.and_then(|value| value.strip_prefix(b"Bearer "));
            if !shown.is_some_and(|shown| token.is(shown)) {
                let text = "show the token of [admin].token_file: \"Authorization: Bearer TOKEN\"";
                let mut answer = error(Reason::Unauthorized, text);
                answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                return answer;
            }
        }
        Gate::Loopback => {
            let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
            if !host.is_some_and(is_local) {
                let text = "the Host header names another host than this machine: ask by its \
                            loopback address, or set [admin].token_file";
                return error(Reason::ForeignHost, text);
            }
        }
        Gate::Unix => {}
    }
    next.run(request).await
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
