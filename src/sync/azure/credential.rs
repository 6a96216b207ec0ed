//! How each kind of identity gets its token.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;

use super::Azure;
use super::certificate::ClientCertificate;
use super::error::{AzureError, repeated};
use super::http::{self, Patience};
use super::settings::{CredentialSettings, Endpoint, SecretPlace, UserAssigned};
use super::token::{Secret, Token};

/// An answer with a token is a few KiB.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A secret, a federated token or a key of Azure Arc; the last is bounded so by Azure's own libraries.
const SECRET_BYTES_MAX: u64 = 16 << 10;
const ARC_KEY_BYTES_MAX: u64 = 4096;

/// A key of 4096 bits is 3 KB of PEM, each certificate of a chain 2 KB.
const CERTIFICATE_BYTES_MAX: u64 = 64 << 10;

/// `az` starts in a few seconds, and may renew its own token.
const CLI_TIMEOUT: Duration = Duration::from_secs(60);

/// A token's lifetime when Azure does not tell it: less than any real one.
const LIFETIME_UNTOLD: Duration = Duration::from_secs(600);

/// What every answer with a token has in common; numbers are texts in some (facts §4).
#[derive(Deserialize)]
struct Answer {
    #[serde(alias = "accessToken")]
    access_token: String,
    expires_in: Option<Value>,
    expires_on: Option<Value>,
}

/// An error of Entra ID or the metadata service.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Azure {
    /// The token in use; a new one only when it is needed.
    pub(super) async fn token(&self) -> Result<Token, AzureError> {
        self.tokens.get(async || self.fetch().await).await
    }

    async fn fetch(&self) -> Result<Token, AzureError> {
        match &self.settings.credential {
            CredentialSettings::ManagedIdentity { assigned } => self.of_host(assigned.as_ref()).await,
            CredentialSettings::AzureArc { key_folder } => self.of_arc(key_folder).await,
            CredentialSettings::WorkloadIdentity { tenant_id, client_id, token_file } => {
                // It is replaced every hour or so: read anew each time.
                let assertion = read("the federated token", token_file, SECRET_BYTES_MAX)?;
                self.of_entra(tenant_id, client_id, &of_assertion(&assertion)).await
            }
            CredentialSettings::ClientSecret { tenant_id, client_id, secret } => {
                let secret = match secret {
                    SecretPlace::File(path) => read("the client secret", path, SECRET_BYTES_MAX)?,
                    SecretPlace::Environment(name) => std::env::var(name)
                        .map(Secret::new)
                        .map_err(|_| AzureError::Environment(name.clone()))?,
                };
                self.of_entra(tenant_id, client_id, &[("client_secret", secret.reveal())]).await
            }
            CredentialSettings::ClientCertificate { tenant_id, client_id, file } => {
                // It is renewed once a year or so, without a restart: read anew each time.
                let what = "the client certificate";
                let pem = read(what, file, CERTIFICATE_BYTES_MAX)?;
                let certificate = ClientCertificate::read(&pem).map_err(|why| AzureError::File {
                    what,
                    path: file.clone(),
                    why: why.to_owned(),
                })?;
                let (audience, now) = (self.token_url(tenant_id), SystemTime::now());
                let now_secs = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                let assertion = certificate.assertion(client_id, audience.as_str(), now_secs);
                let assertion = assertion.ok_or(AzureError::Signing)?;
                self.of_entra(tenant_id, client_id, &of_assertion(&assertion)).await
            }
            CredentialSettings::AzureCli { command } => self.of_cli(command).await,
        }
    }

    /// The audience of tokens for Azure Resource Manager.
    fn resource(&self) -> String {
        format!("{}/", self.settings.endpoint)
    }

    fn identity_request(&self, api_version: &str) -> RequestBuilder {
        let url = self.settings.identity_endpoint.at("/metadata/identity/oauth2/token");
        let query = [("api-version", api_version), ("resource", &self.resource())];
        self.http.host().get(url).header("Metadata", "true").query(&query)
    }

    async fn of_host(&self, assigned: Option<&UserAssigned>) -> Result<Token, AzureError> {
        let chosen = assigned.map(|it| [it.parameter()]);
        let request = || self.identity_request("2018-02-01").query(&chosen);
        // The service is updated now and then; other refusals are for good.
        let passes =
            |status: StatusCode| matches!(status.as_u16(), 404 | 410 | 429) || status.is_server_error();
        let endpoint = &self.settings.identity_endpoint;
        let response = http::send(request, endpoint, &mut Patience::new(&self.settings), passes).await?;
        token_of(response, endpoint, &[]).await
    }

    /// Azure Arc's agent gives a token to whom can read a file that only root and its group can.
    async fn of_arc(&self, key_folder: &Path) -> Result<Token, AzureError> {
        let request = || self.identity_request("2019-11-01");
        let passes = |status: StatusCode| status == 429 || status.is_server_error();
        let endpoint = &self.settings.identity_endpoint;
        let mut patience = Patience::new(&self.settings);
        let challenge = http::send(request, endpoint, &mut patience, passes).await?;
        let realm = challenge.headers().get(WWW_AUTHENTICATE).and_then(|it| it.to_str().ok());
        let realm = realm.and_then(|it| it.strip_prefix("Basic realm="));
        let Some(path) = realm.filter(|_| challenge.status() == 401) else {
            return token_of(challenge, endpoint, &[]).await;
        };
        let path = PathBuf::from(path.trim_matches('"'));
        // Whoever answers on that port must not have other files sent to it.
        let is_key = path.parent() == Some(key_folder) && path.extension().is_some_and(|it| it == "key");
        if !is_key || fs::symlink_metadata(&path).is_ok_and(|it| !it.is_file()) {
            return Err(AzureError::ArcKey { path });
        }
        let key = read("the key of Azure Arc", &path, ARC_KEY_BYTES_MAX)?;
        let request = || request().header(AUTHORIZATION, format!("Basic {}", key.reveal()));
        let response = http::send(request, endpoint, &mut patience, passes).await?;
        token_of(response, endpoint, &[key.reveal()]).await
    }

    fn token_url(&self, tenant_id: &str) -> Url {
        self.settings.authority.at(&format!("/{tenant_id}/oauth2/v2.0/token"))
    }

    async fn of_entra(
        &self,
        tenant_id: &str,
        client_id: &str,
        proof: &[(&str, &str)],
    ) -> Result<Token, AzureError> {
        let (endpoint, url) = (&self.settings.authority, self.token_url(tenant_id));
        let scope = format!("{}.default", self.resource());
        let who = [("client_id", client_id), ("grant_type", "client_credentials"), ("scope", &scope)];
        let form = [&who, proof].concat();
        let request = || self.http.outside().post(url.clone()).form(&form);
        let passes = |status: StatusCode| status == 429 || status.is_server_error();
        let response = http::send(request, endpoint, &mut Patience::new(&self.settings), passes).await?;
        let secrets: Vec<&str> = proof.iter().map(|(_, value)| *value).collect();
        token_of(response, endpoint, &secrets).await
    }

    async fn of_cli(&self, command: &Path) -> Result<Token, AzureError> {
        let failed = |why: String| AzureError::Cli(why);
        let running = Command::new(command)
            .args(["account", "get-access-token", "--output", "json", "--resource", &self.resource()])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(CLI_TIMEOUT, running)
            .await
            .map_err(|_| failed(format!("it took longer than {} s", CLI_TIMEOUT.as_secs())))?
            .map_err(|error| failed(format!("{} cannot be run: {error}", command.display())))?;
        if !output.status.success() {
            return Err(failed(repeated(&String::from_utf8_lossy(&output.stderr), &[])));
        }
        read_token(&output.stdout).ok_or_else(|| failed("its output is not understood".to_owned()))
    }
}

/// An assertion as the proof of who asks (RFC 7523 §2.2).
fn of_assertion(assertion: &Secret) -> [(&'static str, &str); 2] {
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    [("client_assertion_type", kind), ("client_assertion", assertion.reveal())]
}

/// A token from an answer, or why there is none.
async fn token_of(
    response: reqwest::Response,
    endpoint: &Endpoint,
    secrets: &[&str],
) -> Result<Token, AzureError> {
    let (host, status) = (endpoint.host(), response.status().as_u16());
    let body = http::body(response, ANSWER_BYTES_MAX).await?;
    if status == 200 {
        return read_token(&body).ok_or(AzureError::TokenBody { host });
    }
    let refusal = serde_json::from_slice::<Refusal>(&body).ok();
    let (code, message) = refusal.map_or_else(Default::default, |it| (it.error, it.error_description));
    let (code, message) = (repeated(&code, secrets), repeated(&message, secrets));
    Err(AzureError::Token { host, status, code, message })
}

fn read_token(body: &[u8]) -> Option<Token> {
    // The error of serde would repeat parts of the body.
    let answer = serde_json::from_slice::<Answer>(body).ok()?;
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let until = |end: u64| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Duration::from_secs(end).saturating_sub(now)
    };
    let lifetime = answer.expires_in.as_ref().and_then(number).map(Duration::from_secs);
    let lifetime = lifetime.or_else(|| answer.expires_on.as_ref().and_then(number).map(until));
    let is_token =
        !answer.access_token.is_empty() && answer.access_token.bytes().all(|it| it.is_ascii_graphic());
    is_token.then(|| Token::new(Secret::new(answer.access_token), lifetime.unwrap_or(LIFETIME_UNTOLD)))
}

/// A secret from a file, without the line's end.
fn read(what: &'static str, path: &Path, max: u64) -> Result<Secret, AzureError> {
    let failed = |why: String| AzureError::File { what, path: path.to_owned(), why };
    let mut text = String::new();
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    file.take(max + 1).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > max {
        return Err(failed(format!("it is larger than {max} bytes")));
    }
    match text.trim() {
        "" => Err(failed("it is empty".to_owned())),
        text => Ok(Secret::new(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_tells_a_token_in_its_own_way() {
        let of_cli =
            r#"{"accessToken": "FAKE.CLI", "expiresOn": "2026-01-01 00:00:00.000000", "tenant": "t"}"#;
        assert_eq!(read_token(of_cli.as_bytes()).unwrap().reveal(), "FAKE.CLI");
        for name in
            ["imds-200", "imds-200-user-assigned", "entra-client-secret-200", "entra-workload-identity-200"]
        {
            let path = format!("{}/tests/fixtures/arm/tokens/{name}.json", env!("CARGO_MANIFEST_DIR"));
            let exchange: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
            let body = exchange["response"]["body"].clone();
            let token = read_token(body.to_string().as_bytes()).unwrap();
            assert_eq!(token.reveal(), body["access_token"].as_str().unwrap());
        }
        for none in ["", "{}", "<html>", r#"{"access_token": ""}"#, r#"{"access_token": "a\nb"}"#] {
            assert!(read_token(none.as_bytes()).is_none(), "{none}");
        }
    }
}
