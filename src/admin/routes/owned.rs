//! What the routes of operators' own things have in common.

use std::sync::Arc;

use axum::extract::FromRef;
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, Serialize};

use crate::admin::problem::Problem;
use crate::admin::side::SideWork;
use crate::dns::{Name, RecordType};
use crate::ledger::edit;
use crate::ledger::etag::{Etag, Preconditions};
use crate::ledger::idempotency::{Fingerprint, IdempotencyKey};
use crate::ledger::{Ledger, Mode, Once, Who};

/// What the routes of operators' own things are given as `State`.
#[derive(Clone)]
pub(super) struct Owned {
    ledger: Arc<Ledger>,
    side: Arc<SideWork>,
}

impl Owned {
    pub(super) fn new(ledger: Arc<Ledger>) -> Owned {
        Owned { ledger, side: Arc::default() }
    }
}

impl FromRef<Owned> for Arc<Ledger> {
    fn from_ref(owned: &Owned) -> Arc<Ledger> {
        Arc::clone(&owned.ledger)
    }
}

impl FromRef<Owned> for Arc<SideWork> {
    fn from_ref(owned: &Owned) -> Arc<SideWork> {
        Arc::clone(&owned.side)
    }
}

/// The parameter of a write that is only to be planned.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DryRun {
    pub dry_run: Option<bool>,
}

impl DryRun {
    pub(super) fn mode(self) -> Mode {
        if self.dry_run == Some(true) { Mode::DryRun } else { Mode::Do }
    }
}

/// A field that may be left out, be null, or have a value.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(input).map(Some)
}

/// The zone in the path.
pub(super) fn zone_of(text: &str) -> Result<Name, Problem> {
    edit::zone_name(text).map_err(wrong("zone"))
}

/// The owner in the path.
pub(super) fn owner_of(text: &str, zone: &Name) -> Result<Name, Problem> {
    edit::owner(text, zone).map_err(wrong("name"))
}

/// The type in the path.
pub(super) fn type_of(text: &str) -> Result<RecordType, Problem> {
    edit::record_type(text).map_err(wrong("type"))
}

/// What a name or type in the path, or a parameter, is answered with when it is wrong.
fn wrong(parameter: &'static str) -> impl Fn(String) -> Problem {
    move |why| Problem::invalid(parameter, why)
}

/// JSON with an ETag.
pub(super) fn tagged(status: StatusCode, etag: Option<&Etag>, body: &impl Serialize) -> Response {
    with_etag((status, axum::Json(body)).into_response(), etag)
}

fn with_etag(mut response: Response, etag: Option<&Etag>) -> Response {
    if let Some(etag) = etag {
        let tag = HeaderValue::try_from(etag.to_string()).expect("a tag is made of visible ASCII");
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// Says where what was made is.
pub(super) fn located(mut response: Response, path: &str) -> Response {
    if let Ok(path) = HeaderValue::try_from(path) {
        response.headers_mut().insert(LOCATION, path);
    }
    response
}

/// What the request is answered with again when its key comes again.
pub(super) fn once(
    key: Option<IdempotencyKey>,
    who: &Who,
    method: &axum::http::Method,
    uri: &axum::http::Uri,
    body: &[u8],
    answer: &impl Serialize,
) -> Option<Once> {
    let key = key?;
    let target = uri.path_and_query().map_or("/", |it| it.as_str());
    let fingerprint = Fingerprint::of(&who.identity.name, method.as_str(), target, body);
    let answer = serde_json::to_vec(answer).expect("words and numbers are always JSON");
    Some(Once { key, fingerprint, answer: answer.into() })
}

/// Whether the client has this state already.
pub(super) fn is_seen(conditions: &Preconditions, etag: Option<&Etag>) -> bool {
    etag.is_some_and(|etag| conditions.has_seen(etag))
}

/// 304, with the tag.
pub(super) fn not_modified(etag: Option<&Etag>) -> Response {
    with_etag(StatusCode::NOT_MODIFIED.into_response(), etag)
}

/// A name as part of a path (RFC 3986 §2.3).
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'@') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
