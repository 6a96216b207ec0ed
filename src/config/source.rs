//! `[sync]` and `[[sync.source]]`: folders of exported JSON, and live Azure with its endpoints or its private DNS zones.

use std::path::PathBuf;
use std::time::Duration;

use super::assembly::{Assembly, is_guid};
use super::cloud::CloudSettings;
use super::place::Places;
use super::words::{Credential, SourceKind};
use super::{SyncSettings, file};
use crate::sync::azure::{
    self, ARC_KEY_FOLDER, CredentialSettings, Endpoint, Hosts, PRIVATE_DNS_API_VERSION, SecretPlace, Subject,
    UserAssigned,
};
use crate::sync::directory;

/// Longest time between two passes: beyond a day a source is not kept up to date but forgotten.
const SYNC_INTERVAL_SECS_MAX: u64 = 86_400;

/// Where a client secret is when no file has it; the name is that of Azure's own tools.
const SECRET_VARIABLE: &str = "AZURE_CLIENT_SECRET";

/// Where a client certificate is when no key of the config tells it.
const CERTIFICATE_VARIABLE: &str = "AZURE_CLIENT_CERTIFICATE_PATH";

impl Assembly<'_> {
    pub(super) fn sync(&mut self, sync: file::Sync, cloud: &CloudSettings) -> SyncSettings {
        self.within("sync.interval_secs", sync.interval_secs, 1, SYNC_INTERVAL_SECS_MAX);
        let percent = self.bounded("sync.withdraw_max_percent", sync.withdraw_max_percent, 0, 100);
        for (at, id) in sync.allow_subscriptions.iter().enumerate().filter(|(_, id)| !is_guid(id)) {
            let message =
                format!("`{id}` is no id of a subscription, such as 00000000-0000-4000-8000-0000000000a1");
            self.error(format!("sync.allow_subscriptions[{at}]"), message);
        }
        let allowed = sync.allow_subscriptions.iter();
        let allow_subscriptions = allowed.map(|id| id.to_ascii_lowercase().into()).collect();
        let (sources, azure) = self.sources(sync.source, cloud);
        SyncSettings {
            interval: Duration::from_secs(sync.interval_secs),
            withdraw_max_percent: percent,
            allow_subscriptions,
            sources,
            azure,
        }
    }

    fn sources(
        &mut self,
        sources: Vec<file::Source>,
        cloud: &CloudSettings,
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
        let of_azure = [
            ("subscriptions", source.subscriptions.is_some()),
            ("resource_groups", source.resource_groups.is_some()),
            ("management_group", source.management_group.is_some()),
            ("exclude_subscriptions", source.exclude_subscriptions.is_some()),
            ("credential", source.credential.is_some()),
            ("endpoint", source.endpoint.is_some()),
            ("authority", source.authority.is_some()),
            ("identity_endpoint", source.identity_endpoint.is_some()),
            ("api_version", source.api_version.is_some()),
        ];
        let of_azure = of_azure.into_iter().filter_map(|(own, is_set)| is_set.then_some(own));
        for own in of_azure.chain(credential_keys(&source)) {
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

    fn azure(
        &mut self,
        key: &str,
        mut source: file::Source,
        cloud: &CloudSettings,
    ) -> Option<azure::Settings> {
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
        let Places { subscriptions, resource_groups, management_group, exclude_subscriptions } =
            self.places(key, &mut source);
        let endpoint = self.host(key, "endpoint", source.endpoint.take(), cloud.endpoint.as_ref());
        // A workload identity's webhook tells the authority; a key in the config outranks it.
        let of_webhook = || std::env::var("AZURE_AUTHORITY_HOST").ok();
        let is_workload = source.credential == Some(Credential::WorkloadIdentity);
        let authority = source.authority.take().or_else(|| of_webhook().filter(|_| is_workload));
        let authority = self.host(key, "authority", authority, cloud.authority.as_ref());
        let mut default = azure::Settings::of_hosts(Hosts { endpoint: endpoint?, authority: authority? });
        if source.credential == Some(Credential::AzureArc) {
            default.identity_endpoint = Endpoint::arc_agent();
        }
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
            resource_groups,
            management_group,
            exclude_subscriptions,
            credential,
            endpoint: default.endpoint,
            authority: default.authority,
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

    /// The source's own host, or the cloud's; of a custom cloud that may be told by neither.
    fn host(
        &mut self,
        source: &str,
        key: &str,
        text: Option<String>,
        of_cloud: Option<&Endpoint>,
    ) -> Option<Endpoint> {
        let own = format!("{source}.{key}");
        match (text, of_cloud) {
            (text, Some(of_cloud)) => Some(self.endpoint(&own, text, of_cloud.clone())),
            (Some(text), None) => self.read(&own, text.parse::<Endpoint>()),
            (None, None) => {
                let message =
                    format!("a source of a custom cloud needs private_link.custom.{key}, or its own {key}");
                self.error(source, message);
                None
            }
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

    fn credential(&mut self, key: &str, source: file::Source) -> Option<CredentialSettings> {
        let kind = source.credential.unwrap_or(Credential::ManagedIdentity);
        // Names of the environment are those of Azure's own tools.
        let or_variable = |value: Option<String>, name: &str| value.or_else(|| std::env::var(name).ok());
        let used: &[&str] = match kind {
            Credential::ManagedIdentity => &["client_id", "object_id", "resource_id"],
            Credential::AzureArc | Credential::AzureCli => &[],
            Credential::WorkloadIdentity => &["tenant_id", "client_id", "token_file"],
            Credential::ClientSecret => &["tenant_id", "client_id", "client_secret_file"],
            Credential::ClientCertificate => &["tenant_id", "client_id", "client_certificate_file"],
        };
        for own in credential_keys(&source).filter(|own| !used.contains(own)) {
            self.error(format!("{key}.{own}"), "does not belong to this credential");
        }
        let client_id = source.client_id;
        match kind {
            Credential::ManagedIdentity => {
                let chosen = [
                    ("client_id", client_id.map(UserAssigned::ClientId)),
                    ("object_id", source.object_id.map(UserAssigned::ObjectId)),
                    ("resource_id", source.resource_id.map(UserAssigned::ResourceId)),
                ];
                let mut chosen = chosen.into_iter().filter_map(|(own, it)| it.map(|it| (own, it)));
                let assigned = chosen.next();
                for (other, _) in chosen {
                    let first = assigned.as_ref().map_or("", |(own, _)| own);
                    let message =
                        format!("{first} names the managed identity already: one of them is enough");
                    self.error(format!("{key}.{other}"), message);
                }
                Some(CredentialSettings::ManagedIdentity { assigned: assigned.map(|(_, it)| it) })
            }
            Credential::AzureArc => {
                Some(CredentialSettings::AzureArc { key_folder: PathBuf::from(ARC_KEY_FOLDER) })
            }
            Credential::AzureCli => Some(CredentialSettings::AzureCli { command: PathBuf::from("az") }),
            Credential::WorkloadIdentity | Credential::ClientSecret | Credential::ClientCertificate => {
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
                if kind == Credential::ClientCertificate {
                    let file = source.client_certificate_file.map(|path| self.whole(path));
                    let file = file.or_else(|| std::env::var_os(CERTIFICATE_VARIABLE).map(PathBuf::from));
                    let file = self.needed(key, "client_certificate_file", CERTIFICATE_VARIABLE, file);
                    return Some(CredentialSettings::ClientCertificate {
                        tenant_id: tenant_id?,
                        client_id: client_id?,
                        file: file?,
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

/// The keys of a source that tell who it is for Azure, as far as they are set.
fn credential_keys(source: &file::Source) -> impl Iterator<Item = &'static str> + use<> {
    let keys = [
        ("tenant_id", source.tenant_id.is_some()),
        ("client_id", source.client_id.is_some()),
        ("object_id", source.object_id.is_some()),
        ("resource_id", source.resource_id.is_some()),
        ("client_secret_file", source.client_secret_file.is_some()),
        ("client_certificate_file", source.client_certificate_file.is_some()),
        ("token_file", source.token_file.is_some()),
    ];
    keys.into_iter().filter_map(|(own, is_set)| is_set.then_some(own))
}
