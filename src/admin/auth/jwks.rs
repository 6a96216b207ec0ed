//! Entra ID's signing keys: fetched, kept, and fetched again when one is not known.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jsonwebtoken::DecodingKey;
use reqwest::dns::Resolve;
use reqwest::{Client, Url, redirect};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::entra::EntraError;

/// Time for the whole answer; clients wait for it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest answer; Entra ID's has some 15 KiB.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Keys that are kept; Entra ID has about five at a time.
const KEYS_MAX: usize = 64;

/// After this they are fetched again in the background, as Microsoft recommends.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// After this they are no longer trusted: a key that was withdrawn must end some day.
const TRUSTED: Duration = Duration::from_secs(7 * 24 * 3600);

/// The least time between fetches that failed.
const FAILED_FLOOR: Duration = Duration::from_secs(10);

/// The keys of one tenant.
pub(super) struct Jwks {
    client: Client,
    url: Url,
    /// The issuer that a key must belong to, if it names one.
    issuer: String,
    floor: Duration,
    keys: ArcSwapOption<Keys>,
    /// When the next fetch may be; whoever holds it fetches, and the others wait.
    next: Arc<Mutex<Option<Instant>>>,
}

struct Keys {
    by_id: HashMap<String, DecodingKey>,
    fetched: Instant,
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// Entra ID does not know it either.
    Unknown,
    /// The keys cannot be fetched.
    Unreachable,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

/// A key (RFC 7517 §4), and Entra ID's `issuer`.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: String,
    n: String,
    e: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    issuer: Option<String>,
}

impl Jwks {
    pub(super) fn new(
        url: Url,
        issuer: String,
        floor: Duration,
        resolver: Option<Arc<dyn Resolve>>,
    ) -> Result<Jwks, EntraError> {
        let mut builder = Client::builder()
            .timeout(FETCH_TIMEOUT)
            // Keys come from where the config says and from nowhere else.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("privatelink-dns/", env!("CARGO_PKG_VERSION")));
        if url.scheme() == "http" {
            builder = builder.no_proxy();
        } else {
            builder = builder.https_only(true);
        }
        if let Some(resolver) = resolver {
            builder = builder.dns_resolver(resolver);
        }
        let client = builder.build().map_err(|error| EntraError::Client(why(&error)))?;
        Ok(Jwks { client, url, issuer, floor, keys: ArcSwapOption::empty(), next: Arc::default() })
    }

    /// The key with this id; fetches when it is not known, but not often.
    pub(super) async fn key(self: &Arc<Jwks>, id: &str) -> Result<DecodingKey, NoKey> {
        match self.known(id) {
            Some((key, age)) => {
                if age >= FRESH
                    && let Ok(next) = self.next.try_lock()
                    && next.is_none_or(|next| next <= Instant::now())
                {
                    drop(next);
                    let jwks = Arc::clone(self);
                    tokio::spawn(async move { jwks.refresh(FRESH).await });
                }
                return Ok(key);
            }
            None => self.refresh(Duration::ZERO).await,
        }
        match self.known(id) {
            Some((key, _)) => Ok(key),
            None if self.keys.load().as_ref().is_some_and(|keys| keys.fetched.elapsed() < TRUSTED) => {
                Err(NoKey::Unknown)
            }
            None => Err(NoKey::Unreachable),
        }
    }

    fn known(&self, id: &str) -> Option<(DecodingKey, Duration)> {
        let keys = self.keys.load();
        let keys = keys.as_ref()?;
        let age = keys.fetched.elapsed();
        let key = keys.by_id.get(id).filter(|_| age < TRUSTED)?;
        Some((key.clone(), age))
    }

    /// Fetches keys that are at least this old, if it is time.
    async fn refresh(self: &Arc<Jwks>, at_least_old: Duration) {
        let called = Instant::now();
        let mut next = Arc::clone(&self.next).lock_owned().await;
        let is_newer = |keys: &Arc<Keys>| keys.fetched >= called || keys.fetched.elapsed() < at_least_old;
        if self.keys.load().as_ref().is_some_and(is_newer) || next.is_some_and(|next| Instant::now() < next) {
            return;
        }
        let jwks = Arc::clone(self);
        // In a task of its own: a client that goes away must not bring the next one to fetch again.
        let fetch = tokio::spawn(async move {
            *next = Some(Instant::now() + jwks.fetch_and_keep().await);
        });
        if fetch.await.is_err() {
            warn!(url = %self.url, "Fetching Entra ID's signing keys was broken off");
        }
    }

    /// Fetches keys and returns how long to leave it at that.
    async fn fetch_and_keep(&self) -> Duration {
        match self.fetch().await {
            Ok(by_id) => {
                info!(url = %self.url, keys = by_id.len(), "Fetched Entra ID's signing keys");
                self.keys.store(Some(Arc::new(Keys { by_id, fetched: Instant::now() })));
                self.floor
            }
            Err(why) => {
                warn!(url = %self.url, %why, "Entra ID's signing keys cannot be fetched; those known stay");
                FAILED_FLOOR.min(self.floor)
            }
        }
    }

    async fn fetch(&self) -> Result<HashMap<String, DecodingKey>, String> {
        let mut response = self.client.get(self.url.clone()).send().await.map_err(|error| why(&error))?;
        if !response.status().is_success() {
            return Err(format!("the answer is {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| why(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(format!("the answer is larger than {ANSWER_BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        let keys = keys_of(&body, &self.issuer)?;
        if keys.is_empty() { Err("the answer has no RSA key for signatures".to_owned()) } else { Ok(keys) }
    }
}

/// The RSA keys for signatures; others are not ours to understand.
fn keys_of(body: &[u8], issuer: &str) -> Result<HashMap<String, DecodingKey>, String> {
    let document: Document = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let keys = document.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let tenant = issuer.rsplit('/').nth(1).unwrap_or_default();
    let keys = keys.filter(|key| {
        key.kty == "RSA"
            && key.usage.as_deref().is_none_or(|usage| usage == "sig")
            && key.alg.as_deref().is_none_or(|alg| alg == "RS256")
            // A key names the issuer it signs for; `{tenantid}` stands for each tenant.
            && key.issuer.as_ref().is_none_or(|it| it.replace("{tenantid}", tenant) == issuer)
    });
    let keys = keys.filter_map(|key| Some((key.kid, DecodingKey::from_rsa_components(&key.n, &key.e).ok()?)));
    Ok(keys.take(KEYS_MAX).collect())
}

/// What went wrong, with its causes.
fn why(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rsa_keys_of_the_issuer_for_signatures_are_taken() {
        let issuer = "https://login.microsoftonline.com/t1/v2.0";
        let key = |kid: &str, more: serde_json::Value| {
            let mut key = serde_json::json!({"kty": "RSA", "kid": kid, "n": "AQAB", "e": "AQAB"});
            key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            key
        };
        let document = serde_json::json!({"keys": [
            key("plain", serde_json::json!({})),
            key("ours", serde_json::json!({"use": "sig", "alg": "RS256", "issuer": issuer})),
            key("any", serde_json::json!({"issuer": "https://login.microsoftonline.com/{tenantid}/v2.0"})),
            key("theirs", serde_json::json!({"issuer": "https://login.microsoftonline.com/t2/v2.0"})),
            key("enc", serde_json::json!({"use": "enc"})),
            key("rs512", serde_json::json!({"alg": "RS512"})),
            {"kty": "EC", "kid": "ec", "crv": "P-256", "x": "", "y": ""},
            {"kty": "oct", "kid": "oct", "k": "AQAB"},
        ]});
        let keys = keys_of(document.to_string().as_bytes(), issuer).unwrap();
        let mut ids: Vec<_> = keys.keys().map(String::as_str).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["any", "ours", "plain"]);
        assert!(keys_of(b"<html>", issuer).is_err());
    }
}
