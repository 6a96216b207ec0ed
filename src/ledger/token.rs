//! Bearer tokens: `pldns_<id>_<secret>`, made once, shown once, kept as a hash.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use rand::TryRngCore;
use rand::rngs::OsRng;

use super::scope::Scope;
use super::who::Role;

/// What a token begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "pldns_";

/// Random bytes of an id: enough that two tokens never share one.
const ID_BYTES: usize = 8;

/// Random bytes of a secret. With 256 bits nobody guesses, so a plain hash is enough to keep it.
const SECRET_BYTES: usize = 32;

/// The longest id and secret that are looked at; own ones have 16 and 64 characters.
const ID_CHARS_MAX: usize = 32;
const SECRET_CHARS_MAX: usize = 128;

/// Finds tokens. It is asked for each request: it answers from memory, and `persist` keeps it true.
pub trait TokenBook: Send + Sync + 'static {
    /// The token with this id, also if it is revoked or has expired.
    fn find(&self, id: &str) -> Option<KnownToken>;

    /// Notes that the token is used now; never waits.
    fn used(&self, id: &str);

    /// Whether the tokens are known at all: they are not before their store was reached.
    fn is_known(&self) -> bool {
        true
    }

    /// Why they are not, and what to do.
    fn why_unknown(&self) -> Option<Arc<str>> {
        None
    }
}

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownToken {
    pub id: String,
    pub name: String,
    /// SHA-256 of the secret's text.
    pub secret_sha256: [u8; 32],
    pub role: Role,
    pub scope: Scope,
    pub created: SystemTime,
    pub expires: Option<SystemTime>,
    pub revoked: Option<SystemTime>,
}

/// A new token.
pub struct Minted {
    pub id: String,
    /// What the client is shown, once.
    pub text: String,
    /// What is kept.
    pub secret_sha256: [u8; 32],
}

impl Minted {
    /// A new one, from the kernel's randomness.
    pub fn new() -> Minted {
        let mut random = [0; ID_BYTES + SECRET_BYTES];
        OsRng.try_fill_bytes(&mut random).expect("Linux always has randomness once it is up");
        let (id, secret) = random.split_at(ID_BYTES);
        let (id, secret) = (HEXLOWER.encode(id), HEXLOWER.encode(secret));
        Minted { text: format!("{PREFIX}{id}_{secret}"), secret_sha256: sha256(&secret), id }
    }
}

impl Default for Minted {
    fn default() -> Minted {
        Minted::new()
    }
}

impl fmt::Debug for Minted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Minted({})", self.id)
    }
}

/// A token as a client shows it.
pub struct Presented<'t> {
    pub id: &'t str,
    secret_sha256: [u8; 32],
}

impl<'t> Presented<'t> {
    /// Reads the form of a token; whether there is such a one is another question.
    pub fn parse(text: &'t str) -> Option<Presented<'t>> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let is_part = |part: &str, max| {
            (1..=max).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let is_token = is_part(id, ID_CHARS_MAX) && is_part(secret, SECRET_CHARS_MAX);
        is_token.then(|| Presented { id, secret_sha256: sha256(secret) })
    }

    /// Whether it is this token; takes the same time if there is none.
    pub fn is_of(&self, stored: Option<&KnownToken>) -> bool {
        let (kept, is_there) = match stored {
            Some(stored) => (&stored.secret_sha256, true),
            None => (&[0; 32], false),
        };
        verify_slices_are_equal(kept, &self.secret_sha256).is_ok() && is_there
    }
}

fn sha256(secret: &str) -> [u8; 32] {
    let digest = digest(&SHA256, secret.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(minted: &Minted) -> KnownToken {
        KnownToken {
            id: minted.id.clone(),
            name: "test".into(),
            secret_sha256: minted.secret_sha256,
            role: Role::Reader,
            scope: Scope::All,
            created: SystemTime::UNIX_EPOCH,
            expires: None,
            revoked: None,
        }
    }

    #[test]
    fn a_minted_token_is_found_again_and_no_other() {
        let (one, other) = (Minted::new(), Minted::new());
        let presented = Presented::parse(&one.text).unwrap();
        assert_eq!(presented.id, one.id);
        assert!(presented.is_of(Some(&stored(&one))));
        assert!(!presented.is_of(Some(&stored(&other))));
        assert!(!presented.is_of(None));
        assert!(!format!("{one:?}").contains(&one.text));
    }

    #[test]
    fn texts_that_are_no_tokens_are_not_looked_up() {
        let long = format!("pldns_a_{}", "b".repeat(SECRET_CHARS_MAX + 1));
        for wrong in
            ["", "pldns_", "pldns_a", "pldns_a_", "pldns__b", "pldns_a_b_c", "xldns_a_b", "pldns_a_b!", &long]
        {
            assert!(Presented::parse(wrong).is_none(), "{wrong}");
        }
    }
}
