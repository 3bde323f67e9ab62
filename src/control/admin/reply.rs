//! Answers: JSON, text, and mistakes as JSON with what to do about them.

use super::access::Denial;
use crate::control::command::{Kind, Refusal};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

pub(super) type Reply = Response<Full<Bytes>>;

pub(super) const JSON: &str = "application/json";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const TOML: &str = "application/toml; charset=utf-8";
pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const CSV: &str = "text/csv; charset=utf-8";

/// An answer of this type.
pub(super) fn reply(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_TYPE, content_type);
    set(header::CACHE_CONTROL, "no-store");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    reply
}

/// 200 with JSON.
pub(super) fn json(value: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(value).expect("plain values become JSON");
    reply(StatusCode::OK, JSON, body)
}

#[derive(Serialize)]
struct Error<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    routes: &'a [&'a str],
}

/// A mistake.
pub(super) fn error(status: StatusCode, message: &str) -> Reply {
    error_with(status, message, &[])
}

/// A mistake, and what there is instead.
pub(super) fn error_with(status: StatusCode, message: &str, routes: &[&str]) -> Reply {
    let error = Error {
        error: message,
        routes,
    };
    let body = serde_json::to_vec(&error).expect("plain values become JSON");
    reply(status, JSON, body)
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.kind {
            Kind::Unknown => StatusCode::NOT_FOUND,
            Kind::Wrong => StatusCode::BAD_REQUEST,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        error(status, &refusal.message)
    }
}

impl From<Denial> for Reply {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Token(message) => {
                let mut reply = error(StatusCode::UNAUTHORIZED, message);
                let challenge = HeaderValue::from_static("Bearer");
                reply
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, challenge);
                reply
            }
            Denial::Place(message) => error(StatusCode::FORBIDDEN, message),
            Denial::Broken(message) => error(StatusCode::INTERNAL_SERVER_ERROR, &message),
        }
    }
}
