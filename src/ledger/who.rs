//! A client that is known, and the roles it may have.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::refusal::{Refusal, RefusalKind};
use super::scope::Scope;
use crate::persist::{Audit, Source};
use crate::telemetry::is_hidden;

/// The longest name that is shown and kept; a user may have a say in hers.
pub const NAME_CHARS_MAX: usize = 200;

/// A caller, and what it may do.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Identity {
    /// The token's name, the user's or application's in Entra ID, or the certificate's.
    #[schema(example = "deploy-pipeline")]
    pub name: String,
    pub role: Role,
    pub scope: Scope,
    pub how: How,
}

/// The caller of a write, and its address.
#[derive(Clone, Debug)]
pub struct Who {
    pub identity: Identity,
    pub remote: IpAddr,
    pub request_id: String,
}

/// What a client may do; each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Reader,
    /// Changes zones, records, forwarding and sync.
    Operator,
    /// Makes tokens and changes settings.
    Admin,
}

/// By what a client is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum How {
    Token { id: String },
    Entra { object_id: String },
    Certificate { sha256: String },
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Role::Reader => "reader",
            Role::Operator => "operator",
            Role::Admin => "admin",
        })
    }
}

/// A name as somebody else gives it, fit for log and audit.
pub fn shown(name: &str) -> String {
    name.chars().filter(|char| !is_hidden(*char)).take(NAME_CHARS_MAX).collect()
}

impl Who {
    pub(super) fn audit(&self, comment: Option<Arc<str>>) -> Audit {
        Audit {
            source: Source::Rest,
            actor: self.identity.name.as_str().into(),
            remote: Some(self.remote),
            request_id: Some(self.request_id.as_str().into()),
            comment,
        }
    }
}

impl Identity {
    /// Somebody who is known, and may do nothing.
    pub fn without_rights(name: String, how: How) -> Identity {
        Identity { name, role: Role::Reader, scope: Scope::Only(Vec::new()), how }
    }

    /// Whether it has this role, or one above it.
    pub fn needs(&self, role: Role) -> Result<(), Refusal> {
        if self.role >= role { Ok(()) } else { Err(self.lacks(role)) }
    }

    /// Whose key an idempotency key is: the same key of two clients is two.
    pub fn key_owner(&self) -> String {
        match &self.how {
            How::Token { id } => format!("token {id}"),
            How::Entra { object_id } => format!("entra {object_id}"),
            How::Certificate { sha256 } => format!("certificate {sha256}"),
        }
    }

    pub fn lacks(&self, role: Role) -> Refusal {
        let detail = format!("this takes the role {role}, and `{}` is {}", self.name, self.role);
        Refusal::new(RefusalKind::Forbidden, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_stand_one_above_the_other() {
        let identity =
            |role| Identity { name: "a".into(), role, scope: Scope::All, how: How::Token { id: "1".into() } };
        assert!(identity(Role::Admin).needs(Role::Operator).is_ok());
        assert!(identity(Role::Operator).needs(Role::Operator).is_ok());
        assert_eq!(identity(Role::Reader).needs(Role::Operator).unwrap_err().kind, RefusalKind::Forbidden);
    }
}
