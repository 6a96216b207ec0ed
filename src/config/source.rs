//! `[[sync.source]]`: folders of exported JSON, and live Azure with its endpoints or its private DNS zones.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::assembly::{Assembly, SYNC_INTERVAL_SECS_MAX, is_guid};
use super::file;
use super::words::{Credential, SourceKind};
use crate::privatelink::Cloud;
use crate::sync::azure::{
    self, ARC_KEY_FOLDER, CredentialSettings, Endpoint, PRIVATE_DNS_API_VERSION, SecretPlace, Subject,
};
use crate::sync::directory;

/// Where a client secret is when no file has it; the name is that of Azure's own tools.
const SECRET_VARIABLE: &str = "AZURE_CLIENT_SECRET";

impl Assembly<'_> {
    pub(super) fn sources(
        &mut self,
        sources: Vec<file::Source>,
        cloud: Cloud,
    ) -> (Vec<directory::Settings>, Vec<azure::Settings>) {
        let (mut directories, mut azures, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for (at, source) in sources.into_iter().enumerate() {
            let key = format!("sync.source[{at}]");
            let name = match source.kind {
                SourceKind::Directory => self.directory(&key, source).map(|made| {
                    directories.push(made);
                    directories[directories.len() - 1].name.clone()
                }),
                SourceKind::Arm | SourceKind::PrivateDns => self.azure(&key, source, cloud).map(|made| {
                    azures.push(made);
                    azures[azures.len() - 1].name.clone()
                }),
            };
            let Some(name) = name else { continue };
            if names.contains(&name) {
                let message = format!("source `{name}` is there already; give this one another name");
                self.error(format!("{key}.name"), message);
            }
            names.push(name);
        }
        (directories, azures)
    }

    fn directory(&mut self, key: &str, source: file::Source) -> Option<directory::Settings> {
        let of_arm = [
            ("subscriptions", source.subscriptions.is_some()),
            ("credential", source.credential.is_some()),
            ("tenant_id", source.tenant_id.is_some()),
            ("client_id", source.client_id.is_some()),
            ("client_secret_file", source.client_secret_file.is_some()),
            ("token_file", source.token_file.is_some()),
            ("endpoint", source.endpoint.is_some()),
            ("authority", source.authority.is_some()),
            ("identity_endpoint", source.identity_endpoint.is_some()),
            ("api_version", source.api_version.is_some()),
        ];
        for (own, _) in of_arm.iter().filter(|(_, is_set)| *is_set) {
            self.error(format!("{key}.{own}"), "belongs to a source of kind \"arm\"");
        }
        self.no_interval(key, &source);
        let Some(path) = source.path else {
            self.error(key, "a source of kind \"directory\" needs a path");
            return None;
        };
        let path = self.whole(path);
        let folder = || path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = source.name.or_else(folder).unwrap_or_else(|| directory::Settings::default().name);
        Some(directory::Settings { name, path })
    }

    fn azure(&mut self, key: &str, mut source: file::Source, cloud: Cloud) -> Option<azure::Settings> {
        if source.path.is_some() {
            self.error(format!("{key}.path"), "belongs to a source of kind \"directory\"");
        }
        let subject = match source.kind {
            SourceKind::PrivateDns => Subject::PrivateZones,
            _ => {
                self.no_interval(key, &source);
                Subject::Endpoints
            }
        };
        let interval = source.interval_secs;
        if let Some(secs) = interval {
            self.within(&format!("{key}.interval_secs"), secs, 1, SYNC_INTERVAL_SECS_MAX);
        }
        let ids = source.subscriptions.take().unwrap_or_default();
        let subscriptions = self.subscriptions(&format!("{key}.subscriptions"), &ids);
        let (mut default, is_arc) =
            (azure::Settings::of_cloud(cloud), source.credential == Some(Credential::AzureArc));
        if is_arc {
            default.identity_endpoint = Endpoint::arc_agent();
        }
        let endpoint = self.endpoint(&format!("{key}.endpoint"), source.endpoint.take(), default.endpoint);
        // A workload identity's webhook tells the authority; a key in the config outranks it.
        let of_webhook = || std::env::var("AZURE_AUTHORITY_HOST").ok();
        let is_workload = source.credential == Some(Credential::WorkloadIdentity);
        let authority = source.authority.take().or_else(|| of_webhook().filter(|_| is_workload));
        let authority = self.endpoint(&format!("{key}.authority"), authority, default.authority);
        let identity_endpoint = source.identity_endpoint.take();
        let identity_endpoint =
            self.endpoint(&format!("{key}.identity_endpoint"), identity_endpoint, default.identity_endpoint);
        if subject == Subject::PrivateZones {
            default.name = "private-dns".to_owned();
            default.api_version = PRIVATE_DNS_API_VERSION.to_owned();
        }
        let name = source.name.take().unwrap_or(default.name);
        let api_version = source.api_version.take().unwrap_or(default.api_version);
        let credential = self.credential(key, source)?;
        Some(azure::Settings {
            name,
            subject,
            subscriptions,
            credential,
            endpoint,
            authority,
            identity_endpoint,
            api_version,
            interval: interval.map(Duration::from_secs),
            retry: default.retry,
        })
    }

    fn no_interval(&mut self, key: &str, source: &file::Source) {
        if source.interval_secs.is_some() {
            let message = "belongs to a source of kind \"private-dns\"; the others have sync.interval_secs";
            self.error(format!("{key}.interval_secs"), message);
        }
    }

    fn endpoint(&mut self, key: &str, text: Option<String>, default: Endpoint) -> Endpoint {
        match text.map(|text| text.parse()) {
            None => default,
            Some(Ok(endpoint)) => endpoint,
            Some(Err(error)) => {
                self.error(key, format!("{error}"));
                default
            }
        }
    }

    fn subscriptions(&mut self, key: &str, ids: &[String]) -> Vec<Arc<str>> {
        let mut subscriptions: Vec<Arc<str>> = Vec::new();
        for (at, id) in ids.iter().enumerate() {
            let bare = id.to_ascii_lowercase();
            let bare: Arc<str> = bare.strip_prefix("/subscriptions/").unwrap_or(&bare).into();
            if !is_guid(&bare) {
                let message = format!(
                    "`{id}` is no id of a subscription, such as 00000000-0000-4000-8000-0000000000a1"
                );
                self.error(format!("{key}[{at}]"), message);
            } else if subscriptions.contains(&bare) {
                self.error(format!("{key}[{at}]"), format!("subscription {bare} is there already"));
            }
            subscriptions.push(bare);
        }
        subscriptions
    }

    fn credential(&mut self, key: &str, source: file::Source) -> Option<CredentialSettings> {
        let kind = source.credential.unwrap_or(Credential::ManagedIdentity);
        // Names of the environment are those of Azure's own tools.
        let or_variable = |value: Option<String>, name: &str| value.or_else(|| std::env::var(name).ok());
        let used: &[&str] = match kind {
            Credential::ManagedIdentity => &["client_id"],
            Credential::AzureArc | Credential::AzureCli => &[],
            Credential::WorkloadIdentity => &["tenant_id", "client_id", "token_file"],
            Credential::ClientSecret => &["tenant_id", "client_id", "client_secret_file"],
        };
        let set = [
            ("tenant_id", source.tenant_id.is_some()),
            ("client_id", source.client_id.is_some()),
            ("client_secret_file", source.client_secret_file.is_some()),
            ("token_file", source.token_file.is_some()),
        ];
        for (own, _) in set.iter().filter(|(own, is_set)| *is_set && !used.contains(own)) {
            self.error(format!("{key}.{own}"), "does not belong to this credential");
        }
        let client_id = source.client_id;
        match kind {
            Credential::ManagedIdentity => Some(CredentialSettings::ManagedIdentity { client_id }),
            Credential::AzureArc => {
                Some(CredentialSettings::AzureArc { key_folder: PathBuf::from(ARC_KEY_FOLDER) })
            }
            Credential::AzureCli => Some(CredentialSettings::AzureCli { command: PathBuf::from("az") }),
            Credential::WorkloadIdentity | Credential::ClientSecret => {
                let tenant_id = or_variable(source.tenant_id, "AZURE_TENANT_ID");
                let tenant_id = self.needed(key, "tenant_id", "AZURE_TENANT_ID", tenant_id);
                let client_id = or_variable(client_id, "AZURE_CLIENT_ID");
                let client_id = self.needed(key, "client_id", "AZURE_CLIENT_ID", client_id);
                if kind == Credential::ClientSecret {
                    let file = source.client_secret_file.map(|path| SecretPlace::File(self.whole(path)));
                    let secret = file.unwrap_or_else(|| SecretPlace::Environment(SECRET_VARIABLE.to_owned()));
                    return Some(CredentialSettings::ClientSecret {
                        tenant_id: tenant_id?,
                        client_id: client_id?,
                        secret,
                    });
                }
                let file = source.token_file.map(|path| self.whole(path));
                let file = file.or_else(|| std::env::var_os("AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from));
                let token_file = self.needed(key, "token_file", "AZURE_FEDERATED_TOKEN_FILE", file);
                Some(CredentialSettings::WorkloadIdentity {
                    tenant_id: tenant_id?,
                    client_id: client_id?,
                    token_file: token_file?,
                })
            }
        }
    }

    fn needed<T>(&mut self, source: &str, key: &str, variable: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.error(source, format!("this credential needs {key}, or {variable} in the environment"));
        }
        value
    }
}
