//! A client that is known, and the roles it may have.

use std::fmt;

use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::scope::Scope;
use crate::admin::problem::{Kind, Problem};
use crate::dns::Name;
use crate::telemetry::is_hidden;

/// The longest name that is shown and kept; a user may have a say in hers.
pub(super) const NAME_CHARS_MAX: usize = 200;

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

impl Role {
    /// The least role for a method; a route may ask for more by `Operator` or `Admin`.
    pub fn needed_for(method: &Method) -> Role {
        // RFC 9110 §9.2.1: what these do changes nothing.
        if method.is_safe() { Role::Reader } else { Role::Operator }
    }
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
pub(super) fn shown(name: &str) -> String {
    name.chars().filter(|char| !is_hidden(*char)).take(NAME_CHARS_MAX).collect()
}

impl Identity {
    /// Somebody who is known, and may do nothing.
    pub(super) fn without_rights(name: String, how: How) -> Identity {
        Identity { name, role: Role::Reader, scope: Scope::Only(Vec::new()), how }
    }

    /// Whether it has this role, or one above it.
    pub fn needs(&self, role: Role) -> Result<(), Problem> {
        if self.role >= role { Ok(()) } else { Err(self.lacks(role)) }
    }

    /// Whether it may change this name of this zone.
    pub fn may_change(&self, zone: &Name, name: &Name) -> Result<(), Problem> {
        match self.scope.covers(zone, name) {
            true => Ok(()),
            false => Err(self.is_out_of_scope(name)),
        }
    }

    /// Whether it may change a zone as a whole: create, alter, import, delete it.
    pub fn may_change_zone(&self, zone: &Name) -> Result<(), Problem> {
        match self.scope.covers_zone(zone) {
            true => Ok(()),
            false => Err(self.is_out_of_scope(zone)),
        }
    }

    /// Whether it may change what belongs to no zone: tokens, rules, settings.
    pub fn may_change_server(&self) -> Result<(), Problem> {
        match &self.scope {
            Scope::All => Ok(()),
            Scope::Only(_) => {
                Err(Problem::new(Kind::OutOfScope, "this changes more than the zones that you may change"))
            }
        }
    }

    pub(super) fn lacks(&self, role: Role) -> Problem {
        let detail = format!("this takes the role {role}, and `{}` is {}", self.name, self.role);
        Problem::new(Kind::Forbidden, detail)
    }

    fn is_out_of_scope(&self, name: &Name) -> Problem {
        Problem::new(
            Kind::OutOfScope,
            format!("`{name}` is outside of what `{}` may change: {}", self.name, self.scope),
        )
    }
}

/// Who asks, for handlers of `/api/v1`: at least the role that the method needs.
impl<S: Send + Sync> FromRequestParts<S> for Identity {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Identity, Problem> {
        // Absent only where a route was put beside the door.
        let identity = parts.extensions.get::<Identity>().cloned();
        identity.ok_or_else(|| Problem::new(Kind::Unauthenticated, "send `Authorization: Bearer <token>`"))
    }
}

/// Who asks, an operator at least.
#[derive(Clone, Debug)]
pub struct Operator(pub Identity);

/// Who asks, an admin whose scope is everything.
#[derive(Clone, Debug)]
pub struct Admin(pub Identity);

impl<S: Send + Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Operator, Problem> {
        let identity = Identity::from_request_parts(parts, state).await?;
        identity.needs(Role::Operator).map(|()| Operator(identity))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Admin, Problem> {
        let identity = Identity::from_request_parts(parts, state).await?;
        identity.needs(Role::Admin)?;
        // Or an admin of one zone could make itself a token for all.
        identity.may_change_server()?;
        Ok(Admin(identity))
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
        assert_eq!(identity(Role::Reader).needs(Role::Operator).unwrap_err().kind, Kind::Forbidden);
        assert_eq!(Role::needed_for(&Method::HEAD), Role::Reader);
        assert_eq!(Role::needed_for(&Method::DELETE), Role::Operator);
        assert_eq!(Role::needed_for(&Method::from_bytes(b"PURGE").unwrap()), Role::Operator);
    }
}
