//! Who asks and what they may do: bearer tokens, Entra ID, client certificates.

mod certificate;
mod entra;
mod jwks;
mod throttle;

pub use certificate::{CertificateRole, ClientCertificate};
pub use entra::{EntraError, EntraSettings};

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use axum::extract::{OriginalUri, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use reqwest::dns::Resolve;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::listener::Peer;
use super::problem::{Kind, Problem};
use super::settings::{Limits, Settings};
use super::shell::RequestId;
use super::{App, Counters};
use entra::{Entra, EntraRefusal};
use throttle::Throttle;

use crate::ledger::{How, Identity, KnownToken, Presented, Role, TokenBook};

/// When to come again while Entra ID's keys cannot be fetched.
const KEYS_RETRY_SECS: u64 = 30;

/// When to come again while the store of tokens is not there.
const STORE_RETRY_SECS: u64 = 2;

/// Someone who is known was not allowed something.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedRequest {
    pub who: Identity,
    pub client: IpAddr,
    pub request_id: String,
    pub method: Method,
    pub path: String,
    /// Why, as the client was told.
    pub why: String,
}

/// Something was done that no change of records tells of: a plan was confirmed, the cache was flushed.
#[derive(Clone, Debug, PartialEq)]
pub struct Deed {
    pub who: Identity,
    pub client: IpAddr,
    pub request_id: String,
    /// In words, for people.
    pub what: String,
}

/// Keeps what was refused to whom, and what was done besides records: the audit.
pub trait Refusals: Send + Sync + 'static {
    /// Notes it; never waits.
    fn refused(&self, refusal: RefusedRequest);

    /// Notes it; never waits.
    fn done(&self, _deed: Deed) {}
}

/// Finds out who asks.
pub struct Authenticator {
    tokens: Arc<dyn TokenBook>,
    refusals: Arc<dyn Refusals>,
    rules: ArcSwap<Rules>,
    throttle: Throttle,
    resolver: Option<Arc<dyn Resolve>>,
}

/// The part of it that settings decide.
pub(super) struct Rules {
    entra: Option<Entra>,
    certificates: Vec<CertificateRole>,
}

/// Why it is not known who asks.
#[derive(Clone, Debug, PartialEq)]
enum Unknown {
    /// No credential at all.
    Nobody,
    /// The Authorization header is no bearer token.
    NoBearer,
    /// No such token, or a wrong secret, or a signature that does not hold: they look the same to the client.
    Wrong,
    /// A right token that is over.
    Over(&'static str),
    /// An Entra ID token that is not for this server, or not now.
    NotForUs(&'static str),
    /// Too many failed attempts.
    Throttled { secs: u64 },
    /// Right, but without a role here.
    NoRole { who: Box<Identity>, why: &'static str },
    /// Entra ID's keys cannot be fetched.
    NoKeys,
    /// The store of tokens was not reached yet.
    NoTokens(Option<Arc<str>>),
}

impl Authenticator {
    pub(super) fn new(
        settings: &Settings,
        tokens: Arc<dyn TokenBook>,
        refusals: Arc<dyn Refusals>,
        resolver: Option<Arc<dyn Resolve>>,
    ) -> Result<Authenticator, EntraError> {
        let rules = ArcSwap::from_pointee(Rules::of(settings, resolver.clone())?);
        let throttle = Throttle::new(settings.limits.failed_attempts, settings.limits.failed_attempt);
        Ok(Authenticator { tokens, refusals, rules, throttle, resolver })
    }

    /// Reads other settings; nothing changes until `adopt`.
    // Entra ID's keys are kept as long as nothing about it changes.
    pub(super) fn prepare(&self, old: &Settings, new: &Settings) -> Result<Option<Rules>, EntraError> {
        let is_same = old.entra == new.entra && old.client_certificates == new.client_certificates;
        if is_same { Ok(None) } else { Rules::of(new, self.resolver.clone()).map(Some) }
    }

    /// Goes on with what was prepared, if that is anything new, and with other bounds for failed attempts.
    pub(super) fn adopt(&self, rules: Option<Rules>, limits: &Limits) {
        if let Some(rules) = rules {
            self.rules.store(Arc::new(rules));
        }
        self.throttle.rebind(limits.failed_attempts, limits.failed_attempt);
    }

    /// Who sends a request with these headers; for routes outside `/api/v1` that ask themselves, too.
    pub async fn identify(&self, headers: &HeaderMap, peer: &Peer) -> Result<Identity, Problem> {
        let known = self.known(headers, peer).await;
        known.map_err(|unknown| unknown.problem())
    }

    /// Keeps in the audit what was done.
    pub(super) fn note(&self, deed: Deed) {
        self.refusals.done(deed);
    }

    /// Whether a secret that is no token is right; guesses at it are counted as those at a token are.
    // Looked at before it is counted: all of Event Grid's customers send from the same addresses.
    pub(super) fn check_secret(&self, peer: &Peer, is_right: impl FnOnce() -> bool) -> Result<(), Problem> {
        if is_right() {
            return Ok(());
        }
        let throttled = self.throttle.charge(peer.address.ip(), Instant::now());
        Err(throttled.map_or(Unknown::Wrong, |secs| Unknown::Throttled { secs }).problem())
    }

    /// Keeps in the audit what somebody who is known was not allowed.
    pub(super) fn note_refusal(&self, refusal: RefusedRequest) {
        self.refusals.refused(refusal);
    }

    async fn known(&self, headers: &HeaderMap, peer: &Peer) -> Result<Identity, Unknown> {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let Some(line) = lines.next() else {
            return self.by_certificate(peer);
        };
        let bearer = line.to_str().ok().filter(|_| lines.next().is_none()).and_then(bearer);
        let client = peer.address.ip();
        let presented = bearer.and_then(Presented::parse);
        // Looked at before it is counted: nobody guesses 256 bits, and who shares an address must not shut others out.
        let rules = self.rules.load_full();
        let known = match (bearer, &presented, &rules.entra) {
            (None, ..) => Err(Unknown::NoBearer),
            (_, Some(presented), _) => self.by_token(presented),
            (Some(credential), None, Some(entra)) if entra::looks_like_jwt(credential) => {
                match entra.identify(credential).await {
                    Ok(identity) => Ok(identity),
                    Err(EntraRefusal::Wrong) => Err(Unknown::Wrong),
                    Err(EntraRefusal::NotForUs(why)) => Err(Unknown::NotForUs(why)),
                    Err(EntraRefusal::NoRole(who)) => Err(Unknown::NoRole {
                        who,
                        why: "the token has none of the app roles PrivateLinkDns.Reader, .Operator, .Admin",
                    }),
                    Err(EntraRefusal::NoKeys) => Err(Unknown::NoKeys),
                }
            }
            _ => Err(Unknown::Wrong),
        };
        match known {
            Err(failed @ (Unknown::NoBearer | Unknown::Wrong | Unknown::Over(_) | Unknown::NotForUs(_))) => {
                match self.throttle.charge(client, Instant::now()) {
                    Some(secs) => Err(Unknown::Throttled { secs }),
                    None => Err(failed),
                }
            }
            known => known,
        }
    }

    fn by_token(&self, presented: &Presented<'_>) -> Result<Identity, Unknown> {
        let stored = self.tokens.find(presented.id);
        let is_right = presented.is_of(stored.as_ref());
        if !self.tokens.is_known() {
            return Err(Unknown::NoTokens(self.tokens.why_unknown()));
        }
        let Some(stored) = stored.filter(|_| is_right) else { return Err(Unknown::Wrong) };
        if stored.revoked.is_some() {
            return Err(Unknown::Over("this token was revoked; ask an admin for a new one"));
        }
        if stored.expires.is_some_and(|expires| expires <= SystemTime::now()) {
            return Err(Unknown::Over("this token has expired; ask an admin for a new one"));
        }
        self.tokens.used(&stored.id);
        let KnownToken { id, name, role, scope, .. } = stored;
        Ok(Identity { name, role, scope, how: How::Token { id } })
    }

    fn by_certificate(&self, peer: &Peer) -> Result<Identity, Unknown> {
        let Some(certificate) = &peer.certificate else { return Err(Unknown::Nobody) };
        let rules = self.rules.load();
        certificate.identity(&rules.certificates).ok_or_else(|| Unknown::NoRole {
            who: Box::new(certificate.stranger()),
            why: "no entry of `[[admin.client]]` has this certificate's subject",
        })
    }
}

impl Rules {
    fn of(settings: &Settings, resolver: Option<Arc<dyn Resolve>>) -> Result<Rules, EntraError> {
        let entra = settings.entra.as_ref().map(|entra| Entra::new(entra, resolver)).transpose()?;
        Ok(Rules { entra, certificates: settings.client_certificates.clone() })
    }
}

/// The token of `Bearer <token>`; the scheme's case is free (RFC 9110 §11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' ')).then_some(token)
}

impl Unknown {
    fn problem(self) -> Problem {
        let unauthenticated =
            |detail: &'static str| Problem::new(Kind::Unauthenticated, detail).at("Authorization");
        match self {
            Unknown::Nobody => unauthenticated("send `Authorization: Bearer <token>`"),
            Unknown::NoBearer => unauthenticated("send one header `Authorization: Bearer <token>`"),
            Unknown::Wrong => unauthenticated("the token is not known, or wrong"),
            Unknown::Over(why) | Unknown::NotForUs(why) => unauthenticated(why),
            Unknown::Throttled { secs } => {
                Problem::new(Kind::Throttled, "too many failed attempts from this address; wait")
                    .retry_after_secs(secs)
            }
            Unknown::NoRole { why, .. } => Problem::new(Kind::Forbidden, why),
            Unknown::NoTokens(why) => {
                let why =
                    why.as_deref().unwrap_or("the store cannot be reached; the log says why").to_owned();
                Problem::new(Kind::Unavailable, why).retry_after_secs(STORE_RETRY_SECS)
            }
            Unknown::NoKeys => {
                Problem::new(Kind::Unavailable, "Entra ID's keys cannot be fetched; the log says why")
                    .retry_after_secs(KEYS_RETRY_SECS)
            }
        }
    }
}

/// Lets in who is known and has the role that the method needs; all of `/api/v1` lies behind it.
pub(super) async fn authenticate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>().cloned() else {
        return Problem::new(Kind::Internal, "the connection is not known").into_response();
    };
    // Behind the door the URI lacks the prefix of the API.
    let path =
        request.extensions().get::<OriginalUri>().map_or(request.uri(), |uri| &uri.0).path().to_owned();
    let request_id = request.extensions().get::<RequestId>().map(|id| id.to_string()).unwrap_or_default();
    let (method, client) = (request.method().clone(), peer.address.ip());
    let identity = match app.auth.known(request.headers(), &peer).await {
        Ok(identity) => identity,
        Err(unknown) => {
            if let Unknown::NoRole { who, why } = &unknown {
                let (who, why) = (Identity::clone(who), (*why).to_owned());
                app.auth.refusals.refused(RefusedRequest {
                    who,
                    client,
                    request_id,
                    method,
                    path: path.clone(),
                    why,
                });
            }
            let problem = unknown.problem();
            Counters::count_unknown(&app.counters, problem.kind);
            tell(&problem, request.headers(), &peer, &path);
            return problem.into_response();
        }
    };
    let needed = role_for(&method);
    let response = if identity.role < needed {
        Problem::from(identity.lacks(needed)).into_response()
    } else {
        request.extensions_mut().insert(identity.clone());
        next.run(request).await
    };
    // Handlers and their extractors refuse as well: all refusals pass here.
    if let Some(problem) = response.extensions().get::<Problem>()
        && matches!(problem.kind, Kind::Forbidden | Kind::OutOfScope)
    {
        let why = problem.detail.to_string();
        warn!(who = %identity.name, %client, %method, path, why, "Refused");
        app.auth.refusals.refused(RefusedRequest { who: identity, client, request_id, method, path, why });
    }
    app.side.bounded(response)
}

/// The least role for a method; a route may ask for more by `Operator` or `Admin`.
fn role_for(method: &Method) -> Role {
    // RFC 9110 §9.2.1: what these do changes nothing.
    if method.is_safe() { Role::Reader } else { Role::Operator }
}

/// Logs who was not let in: what is not slowed as failed attempts are must not fill the log.
pub(super) fn tell(problem: &Problem, headers: &HeaderMap, peer: &Peer, path: &str) {
    let (client, why) = (peer.address.ip(), &problem.detail);
    if problem.kind == Kind::Throttled || !headers.contains_key(AUTHORIZATION) {
        debug!(%client, path, %why, "Not let in");
    } else {
        info!(%client, path, %why, "Not let in");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_takes_an_operator() {
        assert_eq!(role_for(&Method::HEAD), Role::Reader);
        assert_eq!(role_for(&Method::DELETE), Role::Operator);
        assert_eq!(role_for(&Method::from_bytes(b"PURGE").unwrap()), Role::Operator);
    }

    #[test]
    fn only_one_bearer_token_is_one() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bEARER   abc "), Some("abc"));
        for wrong in ["Bearer", "Bearer ", "Basic abc", "Bearer a b", "abc"] {
            assert_eq!(bearer(wrong), None, "{wrong}");
        }
    }
}
