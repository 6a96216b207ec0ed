//! Idempotency keys: the same POST sent twice is done once.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};

use super::problem::{Kind, Problem};

/// The header of draft-ietf-httpapi-idempotency-key-header.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The longest key; a UUID has 36 characters.
const KEY_BYTES_MAX: usize = 128;

/// The key that a client gave a request: visible ASCII.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(String);

/// What tells two requests with one key apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Key {
    /// The request's key; a structured-field string, or the same without quotes, as most clients send it.
    pub fn of_headers(headers: &HeaderMap) -> Result<Option<Key>, Problem> {
        let mut lines = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(line) = lines.next() else { return Ok(None) };
        let text = line.to_str().ok().filter(|_| lines.next().is_none());
        match text.and_then(Key::of_text) {
            Some(key) => Ok(Some(key)),
            None => Err(Problem::new(
                Kind::Malformed,
                "a key is 1 to 128 characters of visible ASCII, sent once, for example a UUID",
            )
            .at(IDEMPOTENCY_KEY)),
        }
    }

    fn of_text(text: &str) -> Option<Key> {
        let text = text.trim_matches([' ', '\t']);
        let key = text.strip_prefix('"').map_or(Some(text), |text| text.strip_suffix('"'))?;
        let is_key = key.bytes().all(|it| it.is_ascii_graphic() && !matches!(it, b'"' | b'\\'));
        ((1..=KEY_BYTES_MAX).contains(&key.len()) && is_key).then(|| Key(key.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The key of a request that may have one.
#[derive(Clone, Debug)]
pub struct MaybeKey(pub Option<Key>);

impl<S: Send + Sync> FromRequestParts<S> for MaybeKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<MaybeKey, Problem> {
        Key::of_headers(&parts.headers).map(MaybeKey)
    }
}

impl Fingerprint {
    /// Of who asks what: keys of different clients never meet.
    pub fn of(identity: &str, method: &Method, uri: &Uri, body: &[u8]) -> Fingerprint {
        let mut context = Context::new(&SHA256);
        let target = uri.path_and_query().map_or("/", |it| it.as_str());
        for part in [identity.as_bytes(), method.as_str().as_bytes(), target.as_bytes(), body] {
            // The lengths keep parts from flowing into one another.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let digest = context.finish();
        Fingerprint(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_with_and_without_quotes() {
        let long = "k".repeat(KEY_BYTES_MAX);
        assert_eq!(Key::of_text("\"8e03978e\""), Key::of_text(" 8e03978e "));
        assert_eq!(Key::of_text(&long).unwrap().as_str(), long);
        for wrong in ["", "\"\"", "\"a", "a b", "a\"b", "\"a\\\"b\"", &(long.clone() + "k")] {
            assert_eq!(Key::of_text(wrong), None, "{wrong}");
        }
        let mut headers = HeaderMap::new();
        assert_eq!(Key::of_headers(&headers), Ok(None));
        headers.append(IDEMPOTENCY_KEY, "a".parse().unwrap());
        assert!(Key::of_headers(&headers).unwrap().is_some());
        headers.append(IDEMPOTENCY_KEY, "a".parse().unwrap());
        assert_eq!(Key::of_headers(&headers).unwrap_err().field.as_deref(), Some(IDEMPOTENCY_KEY));
    }

    #[test]
    fn a_fingerprint_tells_requests_apart() {
        let of = |who: &str, uri: &str, body: &str| {
            Fingerprint::of(who, &Method::POST, &uri.parse().unwrap(), body.as_bytes())
        };
        let one = of("a", "/changes", "{}");
        assert_eq!(one, of("a", "/changes", "{}"));
        for other in
            [of("b", "/changes", "{}"), of("a", "/changes?dry_run=true", "{}"), of("a", "/changes", "[]")]
        {
            assert_ne!(one, other);
        }
        assert_ne!(of("a", "/b", "c"), of("a", "/bc", ""));
    }
}
