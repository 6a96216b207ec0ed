//! A look at what passes depend on: the identity, the clock, the rights on each subscription.

use std::fmt;
use std::time::{Duration, SystemTime};

use reqwest::header::DATE;

use super::Azure;
use super::asking::Question;
use super::discovery::SUBSCRIPTIONS_API_VERSION;
use super::error::AzureError;
use super::http::{self, Patience};
use super::settings::{CredentialSettings, Settings, Subject};

/// What passes do in a subscription.
pub const ACTIONS: [&str; 3] = [
    "Microsoft.Resources/subscriptions/read",
    "Microsoft.Network/privateEndpoints/read",
    "Microsoft.Network/networkInterfaces/read",
];

/// What those do that list private DNS zones; what is in a zone is asked for by its own path.
const PRIVATE_ZONES_ACTIONS: [&str; 2] =
    ["Microsoft.Resources/subscriptions/read", "Microsoft.Network/privateDnsZones/read"];

/// An identity that has a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub kind: &'static str,
    /// The host, or the program, that gave the token.
    pub giver: String,
    /// How long the token lasts; a new one is fetched before.
    pub ends_in: Duration,
}

/// How this host's clock stands to Azure's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skew {
    Ahead(Duration),
    Behind(Duration),
}

/// What Azure refuses in one subscription.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Actions that no role of the identity has.
    pub missing: Vec<String>,
    /// Why others failed all the same.
    pub other: Vec<String>,
}

impl Azure {
    /// Gets a token, and tells of it all but the token.
    pub async fn identity(&self) -> Result<Identity, AzureError> {
        let token = self.token().await?;
        let settings = &self.settings;
        Ok(Identity { kind: settings.identity_kind(), giver: settings.giver(), ends_in: token.ends_in() })
    }

    /// The skew by the `Date` of an answer; `None` when that has none.
    pub async fn skew(&self) -> Result<Option<Skew>, AzureError> {
        // Without a token: that is refused, but dated, and tells most where the clock is why there is no token.
        let request = || self.http.outside().get(self.url("/subscriptions", SUBSCRIPTIONS_API_VERSION));
        let mut patience = Patience::new(&self.settings);
        let response = http::send(request, &self.settings.endpoint, &mut patience, |_| false).await?;
        let date = response.headers().get(DATE).and_then(|it| it.to_str().ok());
        let date = date.and_then(|it| httpdate::parse_http_date(it).ok());
        Ok(date.map(|date| Skew::of(SystemTime::now(), date)))
    }

    /// Tries each of these of [`ACTIONS`] by itself, so that all that are missing are known at once; on a subscription or,
    /// by the key of its [`Scope`](super::super::Scope), a resource group.
    pub async fn refusals(&self, subscription: &str, actions: &[&str]) -> Refusals {
        let mut refusals = Refusals::default();
        for action in actions {
            let path = format!("/subscriptions/{subscription}");
            let url = match action.strip_prefix("Microsoft.Network/").and_then(|it| it.strip_suffix("/read"))
            {
                // Who lists a resource group needs no right on the subscription around it.
                None if subscription.contains('/') => continue,
                None => self.url(&path, SUBSCRIPTIONS_API_VERSION),
                Some(resource_type) => self.url(
                    &format!("{path}/providers/Microsoft.Network/{resource_type}"),
                    &self.settings.api_version,
                ),
            };
            match self.ask(Question::Get(&url), Patience::new(&self.settings)).await {
                Ok(_) => {}
                Err(AzureError::Refused { code, message, .. }) if code == "AuthorizationFailed" => {
                    let action = refused_action(&message).unwrap_or(action).to_owned();
                    if !refusals.missing.contains(&action) {
                        refusals.missing.push(action);
                    }
                }
                Err(error) => {
                    let why = error.to_string();
                    // One reason, such as an unknown subscription, is told once.
                    if !refusals.other.contains(&why) {
                        refusals.other.push(why);
                    }
                }
            }
        }
        refusals
    }
}

/// The action that ARM's message names.
fn refused_action(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("perform action '")?;
    rest.split_once('\'').map(|(action, _)| action).filter(|action| !action.is_empty())
}

impl Settings {
    /// What passes do in a subscription, that of seeing it first.
    pub fn actions(&self) -> &'static [&'static str] {
        match self.subject {
            Subject::Endpoints => &ACTIONS,
            Subject::PrivateZones => &PRIVATE_ZONES_ACTIONS,
        }
    }

    fn identity_kind(&self) -> &'static str {
        match &self.credential {
            CredentialSettings::ManagedIdentity { assigned: None } => "the machine's managed identity",
            CredentialSettings::ManagedIdentity { assigned: Some(_) } => "a user-assigned managed identity",
            CredentialSettings::AzureArc { .. } => "the identity of Azure Arc",
            CredentialSettings::WorkloadIdentity { .. } => "a workload identity",
            CredentialSettings::ClientSecret { .. } => "an application with a client secret",
            CredentialSettings::ClientCertificate { .. } => "an application with a client certificate",
            CredentialSettings::AzureCli { .. } => "the user of the Azure CLI",
        }
    }

    /// Who gives its tokens.
    fn giver(&self) -> String {
        match &self.credential {
            CredentialSettings::ManagedIdentity { .. } | CredentialSettings::AzureArc { .. } => {
                self.identity_endpoint.host()
            }
            CredentialSettings::WorkloadIdentity { .. }
            | CredentialSettings::ClientSecret { .. }
            | CredentialSettings::ClientCertificate { .. } => self.authority.host(),
            CredentialSettings::AzureCli { command } => command.display().to_string(),
        }
    }
}

impl Skew {
    fn of(here: SystemTime, there: SystemTime) -> Skew {
        match here.duration_since(there) {
            Ok(ahead) => Skew::Ahead(ahead),
            Err(behind) => Skew::Behind(behind.duration()),
        }
    }

    pub fn size(self) -> Duration {
        let (Skew::Ahead(size) | Skew::Behind(size)) = self;
        size
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if matches!(self, Skew::Ahead(_)) { "ahead of" } else { "behind" };
        write!(out, "{} s {word} Azure's", self.size().as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_action_is_that_which_azure_names() {
        let message = "The client 'a' with object id 'b' does not have authorization to perform action \
            'Microsoft.Network/privateEndpoints/read' over scope '/subscriptions/s' or the scope is invalid.";
        assert_eq!(refused_action(message), Some("Microsoft.Network/privateEndpoints/read"));
        for none in ["", "perform action '", "perform action ''", "perform action 'cut of"] {
            assert_eq!(refused_action(none), None);
        }
    }

    #[test]
    fn a_clock_is_ahead_or_behind() {
        let there = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let here = |secs| Skew::of(SystemTime::UNIX_EPOCH + Duration::from_secs(secs), there).to_string();
        assert_eq!([here(1007), here(600)], ["7 s ahead of Azure's", "400 s behind Azure's"]);
    }
}
