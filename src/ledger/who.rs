//! A client that is known, and the roles it may have.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::refusal::{Refusal, RefusalKind};
use super::scope::Scope;
use crate::dns::Name;
use crate::telemetry::is_hidden;

/// The longest name that is shown and kept; a user may have a say in hers.
pub const NAME_CHARS_MAX: usize = 200;

/// Who asks, and what they may do.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Identity {
    /// The token's name, the user's or application's in Entra ID, or the certificate's.
    #[schema(example = "deploy-pipeline")]
    pub name: String,
    pub role: Role,
    pub scope: Scope,
    pub how: How,
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

impl Identity {
    /// Somebody who is known, and may do nothing.
    pub fn without_rights(name: String, how: How) -> Identity {
        Identity { name, role: Role::Reader, scope: Scope::Only(Vec::new()), how }
    }

    /// Whether it has this role, or one above it.
    pub fn needs(&self, role: Role) -> Result<(), Refusal> {
        if self.role >= role { Ok(()) } else { Err(self.lacks(role)) }
    }

    /// Whether it may change this name of this zone.
    pub fn may_change(&self, zone: &Name, name: &Name) -> Result<(), Refusal> {
        match self.scope.covers(zone, name) {
            true => Ok(()),
            false => Err(self.is_out_of_scope(name)),
        }
    }

    /// Whether it may change a zone as a whole: create, alter, import, delete it.
    pub fn may_change_zone(&self, zone: &Name) -> Result<(), Refusal> {
        match self.scope.covers_zone(zone) {
            true => Ok(()),
            false => Err(self.is_out_of_scope(zone)),
        }
    }

    /// Whether it may change what belongs to no zone: tokens, rules, settings.
    pub fn may_change_server(&self) -> Result<(), Refusal> {
        match &self.scope {
            Scope::All => Ok(()),
            Scope::Only(_) => Err(Refusal::new(
                RefusalKind::OutOfScope,
                "this changes more than the zones that you may change",
            )),
        }
    }

    pub fn lacks(&self, role: Role) -> Refusal {
        let detail = format!("this takes the role {role}, and `{}` is {}", self.name, self.role);
        Refusal::new(RefusalKind::Forbidden, detail)
    }

    fn is_out_of_scope(&self, name: &Name) -> Refusal {
        Refusal::new(
            RefusalKind::OutOfScope,
            format!("`{name}` is outside of what `{}` may change: {}", self.name, self.scope),
        )
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
