//! Answers: JSON, and errors that say what is wrong for people and for programs.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
use serde_json::{json, Value};

/// An answer.
pub(super) type Answer = Response<Body>;

/// Text of a media type. Nobody may keep it: it is about now.
pub(super) fn text(status: StatusCode, media: &'static str, text: impl Into<Body>) -> Answer {
    let mut answer = Response::new(text.into());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

/// JSON with a status.
pub(super) fn json_with(status: StatusCode, value: &Value) -> Answer {
    text(status, "application/json", value.to_string())
}

/// JSON.
pub(super) fn json_ok(value: &Value) -> Answer {
    json_with(StatusCode::OK, value)
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    BadQuery,
    BadBody,
    BadFilter,
    Unauthorized,
    ForeignHost,
    NeedsToken,
    NoRoute,
    NoClient,
    NoLogger,
    Method,
    TooLong,
    TooSlow,
    Internal,
}

impl Reason {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::BadQuery => "bad-query",
            Self::BadBody => "bad-body",
            Self::BadFilter => "bad-filter",
            Self::Unauthorized => "unauthorized",
            Self::ForeignHost => "foreign-host",
            Self::NeedsToken => "needs-token",
            Self::NoRoute => "no-such-route",
            Self::NoClient => "no-such-client",
            Self::NoLogger => "no-logger",
            Self::Method => "method-not-allowed",
            Self::TooLong => "body-too-long",
            Self::TooSlow => "body-too-slow",
            Self::Internal => "internal-error",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::BadQuery | Self::BadBody | Self::BadFilter => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::ForeignHost | Self::NeedsToken => StatusCode::FORBIDDEN,
            Self::NoRoute | Self::NoClient => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::NoLogger => StatusCode::NOT_IMPLEMENTED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// An error: `{"error": text, "reason": code}`.
pub(super) fn error(reason: Reason, text: &str) -> Answer {
    json_with(reason.status(), &json!({ "error": text, "reason": reason.as_str() }))
}
