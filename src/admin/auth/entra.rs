//! Entra ID: access tokens of one tenant for this server, and its app roles.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use reqwest::Url;
use reqwest::dns::Resolve;
use serde::Deserialize;
use tracing::debug;

use super::jwks::{Jwks, NoKey};
use crate::ledger::{How, Identity, Role, Scope, shown};

/// The longest token that is looked at; those with many groups have some 8 KiB.
const TOKEN_BYTES_MAX: usize = 24 << 10;

/// The longest key id; Entra ID's have 27 characters.
const KEY_ID_BYTES_MAX: usize = 200;

/// How far clocks may differ (five minutes are Microsoft's own default, a minute is what NTP leaves with room).
const LEEWAY_SECS: u64 = 60;

/// Which tokens of Entra ID are taken.
#[derive(Clone, Debug, PartialEq)]
pub struct EntraSettings {
    pub tenant_id: String,
    /// What tokens for this server have as `aud`: its application id, or its `api://…` URI for tokens of version 1.
    pub audience: String,
    /// `https://login.microsoftonline.com`, or another cloud's.
    pub authority: String,
    /// Where the keys are, if not below the authority.
    pub jwks_url: Option<String>,
    /// The least time between fetches because of a key that is not known.
    pub refresh_floor: Duration,
}

/// Why tokens of Entra ID cannot be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntraError {
    #[error("`{key}` of Entra ID is empty or holds characters that it cannot have")]
    Value { key: &'static str },
    #[error("`{0}` is no https URL (http is for loopback addresses only)")]
    Url(String),
    #[error("no HTTP client: {0}")]
    Client(String),
}

/// Why a token is not taken.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum EntraRefusal {
    /// It is not Entra ID's, or broken.
    Wrong,
    /// It is, but not for us or not now.
    NotForUs(&'static str),
    /// Its roles are none of ours; who it is, with no right at all.
    NoRole(Box<Identity>),
    NoKeys,
}

/// Checks tokens of one tenant.
pub(super) struct Entra {
    tenant_id: String,
    issuers: Vec<String>,
    validation: Validation,
    jwks: Arc<Jwks>,
}

/// What of a token's claims is needed; `aud`, `exp` and `nbf` are checked before.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    tid: String,
    #[serde(default)]
    roles: Vec<String>,
    oid: Option<String>,
    sub: Option<String>,
    preferred_username: Option<String>,
    upn: Option<String>,
    azp: Option<String>,
    appid: Option<String>,
}

impl Default for EntraSettings {
    fn default() -> EntraSettings {
        EntraSettings {
            tenant_id: String::new(),
            audience: String::new(),
            authority: "https://login.microsoftonline.com".to_owned(),
            jwks_url: None,
            refresh_floor: Duration::from_secs(300),
        }
    }
}

impl EntraSettings {
    /// Why tokens cannot be checked with these.
    pub fn check(&self) -> Result<(), EntraError> {
        Entra::new(self, None).map(drop)
    }
}

impl Entra {
    pub(super) fn new(
        settings: &EntraSettings,
        resolver: Option<Arc<dyn Resolve>>,
    ) -> Result<Entra, EntraError> {
        let is_id =
            |text: &str| text.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.'));
        // Of "common" and its like each tenant of the world is one.
        let is_many = matches!(settings.tenant_id.as_str(), "common" | "organizations" | "consumers");
        if settings.tenant_id.is_empty() || !is_id(&settings.tenant_id) || is_many {
            return Err(EntraError::Value { key: "tenant_id" });
        }
        if settings.audience.is_empty() {
            return Err(EntraError::Value { key: "audience" });
        }
        let authority = settings.authority.trim_end_matches('/');
        let authority_url = safe_url(authority)?;
        let tenant_id = settings.tenant_id.to_ascii_lowercase();
        let url = match &settings.jwks_url {
            Some(url) => safe_url(url)?,
            None => safe_url(&format!("{authority}/{tenant_id}/discovery/v2.0/keys"))?,
        };
        let issuer = format!("{authority}/{tenant_id}/v2.0");
        // Tokens of version 1, which apps get that never asked for version 2, have an issuer of another host.
        let older = match authority_url.host_str() {
            Some("login.microsoftonline.com" | "login.microsoftonline.us") => Some("https://sts.windows.net"),
            Some("login.partner.microsoftonline.cn" | "login.chinacloudapi.cn") => {
                Some("https://sts.chinacloudapi.cn")
            }
            _ => None,
        };
        let older = older.map(|host| format!("{host}/{tenant_id}/"));
        let jwks = Arc::new(Jwks::new(url, issuer.clone(), settings.refresh_floor, resolver)?);
        let issuers: Vec<String> = [issuer].into_iter().chain(older).collect();

        let mut validation = Validation::new(Algorithm::RS256);
        validation.leeway = LEEWAY_SECS;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud"]);
        validation.set_audience(&[&settings.audience]);
        validation.set_issuer(&issuers);
        Ok(Entra { tenant_id, issuers, validation, jwks })
    }

    /// Who a token speaks for.
    pub(super) async fn identify(&self, token: &str) -> Result<Identity, EntraRefusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(EntraRefusal::Wrong);
        }
        let header = decode_header(token).map_err(|_| EntraRefusal::Wrong)?;
        // One algorithm: a key for signatures is never taken for a secret, and "none" is none.
        if header.alg != Algorithm::RS256 || header.crit.is_some() {
            return Err(EntraRefusal::Wrong);
        }
        let id =
            header.kid.filter(|id| (1..=KEY_ID_BYTES_MAX).contains(&id.len())).ok_or(EntraRefusal::Wrong)?;
        let key = self.jwks.key(&id).await.map_err(|no_key| match no_key {
            NoKey::Unknown => EntraRefusal::Wrong,
            NoKey::Unreachable => EntraRefusal::NoKeys,
        })?;
        let claims = decode::<Claims>(token, &key, &self.validation).map_err(|error| {
            debug!(%error, "A token of Entra ID is not taken");
            // The signature is checked first: who is told this has a token of Entra ID's.
            match error.kind() {
                ErrorKind::ExpiredSignature => EntraRefusal::NotForUs("the token has expired; get a new one"),
                ErrorKind::ImmatureSignature => {
                    EntraRefusal::NotForUs("the token is not valid yet; set the clock")
                }
                ErrorKind::InvalidAudience => EntraRefusal::NotForUs(
                    "the token is for another application; its `aud` must be `entra.audience`",
                ),
                ErrorKind::InvalidIssuer => {
                    EntraRefusal::NotForUs("the token is of another tenant or authority; see its `iss`")
                }
                _ => EntraRefusal::Wrong,
            }
        })?;
        self.identity(claims.claims)
    }

    fn identity(&self, claims: Claims) -> Result<Identity, EntraRefusal> {
        // The library takes a list of issuers as well; Entra ID never sends one.
        if !self.issuers.contains(&claims.iss) || !claims.tid.eq_ignore_ascii_case(&self.tenant_id) {
            return Err(EntraRefusal::NotForUs("the token is of another tenant or authority; see its `tid`"));
        }
        let object_id = claims.oid.or(claims.sub).ok_or(EntraRefusal::Wrong)?;
        let role = claims.roles.iter().filter_map(|role| role_of(role)).max();
        let object_id = shown(&object_id);
        let name: Option<String> =
            claims.preferred_username.or(claims.upn).or(claims.azp).or(claims.appid).map(|name| shown(&name));
        // Names can be given to another one later; the object id is forever.
        let name = name.map_or_else(|| object_id.clone(), |name| format!("{name} ({object_id})"));
        let how = How::Entra { object_id };
        match role {
            Some(role) => Ok(Identity { name, role, scope: Scope::All, how }),
            None => Err(EntraRefusal::NoRole(Box::new(Identity::without_rights(name, how)))),
        }
    }
}

/// Our role for an app role.
fn role_of(app_role: &str) -> Option<Role> {
    match app_role {
        "PrivateLinkDns.Reader" => Some(Role::Reader),
        "PrivateLinkDns.Operator" => Some(Role::Operator),
        "PrivateLinkDns.Admin" => Some(Role::Admin),
        _ => None,
    }
}

/// Whether a text has the three parts of a signed JWT (RFC 7515 §3.1).
pub(super) fn looks_like_jwt(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// A URL that nobody on the way can change the answer of.
fn safe_url(text: &str) -> Result<Url, EntraError> {
    let wrong = || EntraError::Url(text.to_owned());
    let url = Url::parse(text).map_err(|_| wrong())?;
    let is_here = url.host_str().is_some_and(|host| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        // `localhost` is a name, and names are looked up.
        host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    });
    let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_here;
    if is_safe && url.username().is_empty() && url.password().is_none() { Ok(url) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> EntraSettings {
        EntraSettings { tenant_id: "T-1".into(), audience: "app".into(), ..EntraSettings::default() }
    }

    #[test]
    fn issuers_are_those_of_the_tenant_in_its_cloud() {
        let issuers = |authority: &str| {
            let settings = EntraSettings { authority: authority.into(), ..settings() };
            Entra::new(&settings, None).unwrap().issuers
        };
        assert_eq!(
            issuers("https://login.microsoftonline.com/"),
            ["https://login.microsoftonline.com/t-1/v2.0", "https://sts.windows.net/t-1/"]
        );
        assert_eq!(issuers("http://127.0.0.1:99"), ["http://127.0.0.1:99/t-1/v2.0"]);
    }

    #[test]
    fn settings_that_would_let_in_others_are_refused() {
        let refused = |settings: EntraSettings| Entra::new(&settings, None).err();
        assert_eq!(refused(settings()), None);
        for tenant in ["", "common", "a/b", "organizations"] {
            let wrong = EntraSettings { tenant_id: tenant.into(), ..settings() };
            assert_eq!(refused(wrong), Some(EntraError::Value { key: "tenant_id" }), "{tenant}");
        }
        assert!(refused(EntraSettings { audience: String::new(), ..settings() }).is_some());
        for url in ["http://login.example", "ftp://127.0.0.1", "x", "https://user:word@login.example"] {
            assert!(refused(EntraSettings { authority: url.into(), ..settings() }).is_some(), "{url}");
            assert!(refused(EntraSettings { jwks_url: Some(url.into()), ..settings() }).is_some(), "{url}");
        }
    }

    #[test]
    fn the_highest_app_role_counts() {
        let entra = Entra::new(&settings(), None).unwrap();
        let claims = |roles: &[&str], tid: &str| Claims {
            iss: "https://sts.windows.net/t-1/".into(),
            tid: tid.into(),
            roles: roles.iter().map(|it| (*it).to_owned()).collect(),
            oid: Some("oid".into()),
            sub: None,
            preferred_username: Some("ada@example.com".into()),
            upn: None,
            azp: None,
            appid: None,
        };
        let both = entra.identity(claims(&["PrivateLinkDns.Admin", "PrivateLinkDns.Reader"], "T-1")).unwrap();
        assert_eq!((both.role, both.name.as_str()), (Role::Admin, "ada@example.com (oid)"));
        assert!(matches!(
            entra.identity(claims(&["Admin"], "t-1")),
            Err(EntraRefusal::NoRole(who)) if who.name == both.name
        ));
        assert!(matches!(
            entra.identity(claims(&["PrivateLinkDns.Admin"], "t-2")),
            Err(EntraRefusal::NotForUs(_))
        ));
    }

    #[test]
    fn names_are_shown_without_what_is_hidden() {
        use crate::ledger::NAME_CHARS_MAX;

        let entra = Entra::new(&settings(), None).unwrap();
        let claims = Claims {
            iss: "https://sts.windows.net/t-1/".into(),
            tid: "t-1".into(),
            roles: vec!["PrivateLinkDns.Reader".into()],
            oid: Some("oid".into()),
            sub: None,
            preferred_username: Some("ada\n\u{1b}[2J\u{202e}".to_owned() + &"a".repeat(1000)),
            upn: None,
            azp: None,
            appid: None,
        };
        let name = entra.identity(claims).unwrap().name;
        assert_eq!(name, format!("ada[2J{} (oid)", "a".repeat(NAME_CHARS_MAX - 6)));
    }
}
