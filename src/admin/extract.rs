//! What handlers are given of a request beside its body: who asks, and the words of its headers.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;

use super::listener::Peer;
use super::problem::{Kind, Problem};
use super::shell::RequestId;
use crate::ledger::etag::{MALFORMED, Preconditions, TAGS_MAX, Tags};
use crate::ledger::idempotency::IdempotencyKey;
use crate::ledger::{Identity, Role, Who};

/// The header of draft-ietf-httpapi-idempotency-key-header.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The caller of a handler of `/api/v1`, with at least the role that the method needs.
impl<S: Send + Sync> FromRequestParts<S> for Identity {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Identity, Problem> {
        // Absent only where a route was put beside the door.
        let identity = parts.extensions.get::<Identity>().cloned();
        identity.ok_or_else(|| Problem::new(Kind::Unauthenticated, "send `Authorization: Bearer <token>`"))
    }
}

/// A caller that is an operator at least.
#[derive(Clone, Debug)]
pub struct Operator(pub Identity);

/// A caller that is an admin whose scope is everything.
#[derive(Clone, Debug)]
pub struct Admin(pub Identity);

impl<S: Send + Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Operator, Problem> {
        let identity = Identity::from_request_parts(parts, state).await?;
        identity.needs(Role::Operator)?;
        Ok(Operator(identity))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Admin, Problem> {
        let identity = Identity::from_request_parts(parts, state).await?;
        identity.may_make_tokens()?;
        Ok(Admin(identity))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Who, Problem> {
        let identity = Identity::from_request_parts(parts, state).await?;
        let peer = parts.extensions.get::<Peer>();
        let remote = peer.map(|peer| peer.address.ip().to_canonical());
        let remote = remote.ok_or_else(|| Problem::new(Kind::Internal, "the connection is not known"))?;
        let request_id = parts.extensions.get::<RequestId>().map(ToString::to_string).unwrap_or_default();
        Ok(Who { identity, remote, request_id })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Preconditions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Preconditions, Problem> {
        preconditions(&parts.headers)
    }
}

/// The conditions of a request.
pub(super) fn preconditions(headers: &HeaderMap) -> Result<Preconditions, Problem> {
    let read = |name| tags(headers, &name);
    Ok(Preconditions { if_match: read(IF_MATCH)?, if_none_match: read(IF_NONE_MATCH)? })
}

/// Reads all lines of one header as one list.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let mut tags = None;
    for line in headers.get_all(name) {
        let read = line.to_str().ok().and_then(Tags::of_text);
        tags = match (tags, read) {
            (None, Some(read)) => Some(read),
            (Some(Tags::These(mut tags)), Some(Tags::These(more))) if tags.len() + more.len() <= TAGS_MAX => {
                tags.extend(more);
                Some(Tags::These(tags))
            }
            _ => return Err(Problem::new(Kind::Malformed, MALFORMED).at(name.as_str())),
        };
    }
    Ok(tags)
}

/// The key of a request that may have one.
#[derive(Clone, Debug)]
pub struct MaybeKey(pub Option<IdempotencyKey>);

impl<S: Send + Sync> FromRequestParts<S> for MaybeKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<MaybeKey, Problem> {
        key(&parts.headers).map(MaybeKey)
    }
}

fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let mut lines = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let text = line.to_str().ok().filter(|_| lines.next().is_none());
    match text.and_then(IdempotencyKey::of_text) {
        Some(key) => Ok(Some(key)),
        None => {
            let detail = "a key is 1 to 128 characters of visible ASCII, sent once, for example a UUID";
            Err(Problem::new(Kind::Malformed, detail).at(IDEMPOTENCY_KEY))
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::ledger::etag::{Etag, Need};

    #[test]
    fn lines_of_one_header_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(IF_MATCH, HeaderValue::from_static("\"1\""));
        headers.append(IF_MATCH, HeaderValue::from_static("\"2\""));
        let both = preconditions(&headers).unwrap();
        assert_eq!(both.check(Some(&Etag::of_revision(2)), Need::Required), Ok(()));
        headers.append(IF_MATCH, HeaderValue::from_static("*"));
        assert_eq!(preconditions(&headers).unwrap_err().field.as_deref(), Some("if-match"));
    }

    #[test]
    fn a_key_is_sent_once() {
        let mut headers = HeaderMap::new();
        assert_eq!(key(&headers), Ok(None));
        headers.append(IDEMPOTENCY_KEY, "a".parse().unwrap());
        assert!(key(&headers).unwrap().is_some());
        headers.append(IDEMPOTENCY_KEY, "a".parse().unwrap());
        assert_eq!(key(&headers).unwrap_err().field.as_deref(), Some(IDEMPOTENCY_KEY));
    }
}
