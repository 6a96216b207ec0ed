//! Idempotency keys: the same POST sent twice is done once.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};

/// The longest key; a UUID has 36 characters.
const KEY_BYTES_MAX: usize = 128;

/// The key that a client gave a request: visible ASCII.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// What tells two requests with one key apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl IdempotencyKey {
    /// Reads a structured-field string, or the same without quotes, as most clients send it.
    pub fn of_text(text: &str) -> Option<IdempotencyKey> {
        let text = text.trim_matches([' ', '\t']);
        let key = text.strip_prefix('"').map_or(Some(text), |text| text.strip_suffix('"'))?;
        let is_key = key.bytes().all(|it| it.is_ascii_graphic() && !matches!(it, b'"' | b'\\'));
        ((1..=KEY_BYTES_MAX).contains(&key.len()) && is_key).then(|| IdempotencyKey(key.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Fingerprint {
    /// Of who asks what: keys of different clients never meet.
    pub fn of(identity: &str, method: &str, target: &str, body: &[u8]) -> Fingerprint {
        let mut context = Context::new(&SHA256);
        for part in [identity.as_bytes(), method.as_bytes(), target.as_bytes(), body] {
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
        assert_eq!(IdempotencyKey::of_text("\"8e03978e\""), IdempotencyKey::of_text(" 8e03978e "));
        assert_eq!(IdempotencyKey::of_text(&long).unwrap().as_str(), long);
        for wrong in ["", "\"\"", "\"a", "a b", "a\"b", "\"a\\\"b\"", &(long.clone() + "k")] {
            assert_eq!(IdempotencyKey::of_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_fingerprint_tells_requests_apart() {
        let of = |who: &str, target: &str, body: &str| Fingerprint::of(who, "POST", target, body.as_bytes());
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
