//! Answers: JSON with a tag by which a page that has it is told so, and errors with a code.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{json, Value};
use sha2::{Digest as _, Sha256};

use super::super::store::Unread;
use super::super::text::hex;

/// An answer.
pub(super) type Answer = Response<Body>;

/// Bytes of a hash that make a tag.
const TAG_BYTES: usize = 16;

/// Text of a media type. Whoever keeps it asks again each time.
pub(super) fn text(status: StatusCode, media: &'static str, text: impl Into<Body>) -> Answer {
    let mut answer = Response::new(text.into());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

/// Text with its tag: 304 when the asker has it.
pub(super) fn tagged(
    asked: &HeaderMap,
    media: &'static str,
    body: impl AsRef<[u8]> + Into<Body>,
) -> Answer {
    let hash = Sha256::digest(body.as_ref());
    let tag = format!("\"{}\"", hex(hash.into_iter().take(TAG_BYTES)));
    let has = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut has = has.flat_map(|value| value.split(',')).map(str::trim);
    let had = has.any(|known| known == "*" || known.trim_start_matches("W/") == tag);
    let mut answer = match had {
        true => text(StatusCode::NOT_MODIFIED, media, Body::empty()),
        false => text(StatusCode::OK, media, body),
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(ETAG, tag);
    }
    answer
}

/// JSON with its tag.
pub(super) fn json_ok(asked: &HeaderMap, value: &Value) -> Answer {
    tagged(asked, "application/json", value.to_string())
}

/// What is wrong with a request, or with us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    BadQuery,
    Unauthorized,
    ForeignHost,
    NoRoute,
    NoAccount,
    Method,
    TooMany,
    Unavailable,
}

impl Code {
    const fn as_str(self) -> &'static str {
        match self {
            Self::BadQuery => "bad-query",
            Self::Unauthorized => "unauthorized",
            Self::ForeignHost => "foreign-host",
            Self::NoRoute => "no-such-route",
            Self::NoAccount => "no-such-account",
            Self::Method => "method-not-allowed",
            Self::TooMany => "too-many-listeners",
            Self::Unavailable => "database-unavailable",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::BadQuery => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::ForeignHost => StatusCode::FORBIDDEN,
            Self::NoRoute | Self::NoAccount => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooMany | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// An error: `{"error": {"code": code, "message": text}}`.
pub(super) fn error(code: Code, message: &str) -> Answer {
    let body = json!({ "error": { "code": code.as_str(), "message": message } });
    text(code.status(), "application/json", body.to_string())
}

/// The database could not be asked.
pub(super) fn unread(fault: &Unread) -> Answer {
    tracing::warn!(error = %fault, "a question could not be answered");
    error(Code::Unavailable, &fault.to_string())
}
