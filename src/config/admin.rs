//! `[store]` and `[admin]`: what operators write, and where they do.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;

use super::assembly::{Assembly, COUNT_MAX, TIMEOUT_SECS_MAX};
use super::file;
use super::words::ListenAddress;
use crate::admin::auth::{CertificateRole, EntraSettings};
use crate::admin::{EventSecret, EventSettings};
use crate::dns::Name;
use crate::ledger::{NamePattern, Scope};
use crate::sync::state::RECORDS_COPY;
use crate::{admin, listen, persist};

/// Days of the audit beyond this are a slip of the pen.
const AUDIT_DAYS_MAX: u64 = 36_500;

/// `[store]` and `[admin]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AdminSettings {
    pub store: persist::Settings,
    pub store_is: Asked,
    pub api: admin::Settings,
    pub api_is: Asked,
}

/// Whether the file asks for something.
// A server that started before there was an admin API starts with it, too: a taken port 8053 or a folder that cannot be
// written keep nobody from DNS who did not ask for the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// By a key: what stands in its way is an error.
    ByName,
    /// By no key; it is there if it can be.
    ByDefault,
}

impl AdminSettings {
    /// Whether there is a store: with an API, when it is named, and where operators have written before.
    pub fn has_store(&self) -> bool {
        !self.api.listen.is_empty() || self.store_is == Asked::ByName || self.is_written()
    }

    /// Whether the store is a file that is there already, or was: without what is in it, wrong answers would be given.
    pub fn is_written(&self) -> bool {
        let was_there = || self.store.damaged().is_some() || self.store.state_dir.join(RECORDS_COPY).exists();
        self.store.file().is_some_and(|file| file.exists() || was_there())
    }

    /// Whether a store that cannot be opened is a reason not to start.
    pub fn needs_store(&self) -> bool {
        [self.store_is, self.api_is].contains(&Asked::ByName) || self.is_written()
    }
}

impl Assembly<'_> {
    pub(super) fn admin(
        &mut self,
        store: file::Store,
        admin: file::Admin,
        state_dir: &Path,
        dns: &listen::Settings,
    ) -> AdminSettings {
        let is_asked = |is_said: bool| if is_said { Asked::ByName } else { Asked::ByDefault };
        let api_is = is_asked(self.document().says("admin"));
        let store_is = is_asked(self.document().says("store.url"));
        let (store, api) = (self.store(store, state_dir), self.api(admin, dns, api_is));
        AdminSettings { store, store_is, api, api_is }
    }

    fn store(&mut self, store: file::Store, state_dir: &Path) -> persist::Settings {
        self.within("store.audit_changes_max", store.audit_changes_max, 1, COUNT_MAX);
        let audit_days_max = self.bounded("store.audit_days_max", store.audit_days_max, 1, AUDIT_DAYS_MAX);
        let mut settings = persist::Settings {
            url: store.url,
            state_dir: state_dir.to_owned(),
            audit_changes_max: store.audit_changes_max,
            audit_days_max,
        };
        match settings.check() {
            Err(error) => self.error("store.url", error.to_string().replace("`store.url` ", "")),
            Ok(()) => {
                if let Some(file) = store.password_file {
                    let file = self.whole(file);
                    self.add_password(&mut settings.url, &file);
                }
            }
        }
        settings
    }

    fn add_password(&mut self, url: &mut String, file: &Path) {
        const KEY: &str = "store.password_file";
        let Some(mut with) = Url::parse(url).ok().filter(|url| url.has_host()) else {
            return self.error(
                KEY,
                "belongs to a store.url of PostgreSQL with user and host: postgres://user@host/database",
            );
        };
        match fs::read_to_string(file) {
            Err(error) => self.error(KEY, format!("cannot read {}: {error}", file.display())),
            Ok(_) if with.password().is_some() => self.error(KEY, "store.url has a password already"),
            Ok(password) => {
                if with.username().is_empty() || with.set_password(Some(password.trim_end())).is_err() {
                    return self.error("store.url", "a password takes a user: postgres://user@host/database");
                }
                *url = with.into();
            }
        }
    }

    fn api(&mut self, admin: file::Admin, dns: &listen::Settings, api_is: Asked) -> admin::Settings {
        let mut settings = admin::Settings {
            listen: Vec::new(),
            freebind: dns.freebind,
            certificate: self.pem("certificate", admin.certificate),
            key: self.pem("key", admin.key),
            client_ca: self.pem("client_ca", admin.client_ca),
            allow_plaintext: admin.allow_plaintext,
            hosts: self.hosts(&admin.hosts),
            client_certificates: self.clients(admin.client),
            entra: admin.entra.and_then(|entra| self.entra(entra)),
            events: EventSettings {
                secret: admin.events_secret_file.and_then(|file| self.events_secret(file)),
                ..EventSettings::default()
            },
            limits: self.limits(&admin.limits),
            ..admin::Settings::default()
        };
        let has_tls = settings.certificate.is_some() && settings.key.is_some();
        let taken_by = |address: SocketAddr| {
            let mut taken = [("listen.dns", &dns.dns), ("listen.tls", &dns.tls)].into_iter();
            taken.find(|(_, by)| by.iter().any(|other| is_same(*other, address))).map(|(key, _)| key)
        };
        for (at, ListenAddress(address)) in self.each("admin.listen", &admin.listen) {
            let key = format!("admin.listen[{at}]");
            if address.port() != 0 && settings.listen.contains(&address) {
                self.error(&key, format!("{address} is there already"));
            } else if let Some(taken) = taken_by(address).filter(|_| address.port() != 0) {
                if api_is == Asked::ByDefault {
                    continue;
                }
                self.error(&key, format!("{taken} has {address} already"));
            } else if !address.ip().to_canonical().is_loopback() && !has_tls && !admin.allow_plaintext {
                let message = format!(
                    "{address} is not loopback, and without TLS tokens would pass in the clear: set admin.certificate and \
                     admin.key, or admin.allow_plaintext if something in front speaks TLS"
                );
                self.error(&key, message);
            }
            settings.listen.push(address);
        }
        match (&settings.certificate, &settings.key) {
            (Some(_), None) => self.error("admin.certificate", "TLS takes admin.key as well"),
            (None, Some(_)) => self.error("admin.key", "TLS takes admin.certificate as well"),
            _ => {}
        }
        if settings.client_ca.is_some() && !has_tls {
            self.error(
                "admin.client_ca",
                "client certificates take TLS: set admin.certificate and admin.key",
            );
        }
        if !settings.client_certificates.is_empty() && settings.client_ca.is_none() {
            self.error("admin.client", "needs admin.client_ca, the authority that signs client certificates");
        }
        settings
    }

    fn hosts(&mut self, hosts: &[String]) -> Vec<String> {
        self.each::<Name>("admin.hosts", hosts).for_each(drop);
        hosts.to_vec()
    }

    fn pem(&mut self, key: &str, path: Option<PathBuf>) -> Option<PathBuf> {
        let path = self.whole(path?);
        self.check_file(&format!("admin.{key}"), &path);
        Some(path)
    }

    fn events_secret(&mut self, file: PathBuf) -> Option<EventSecret> {
        let file = self.whole(file);
        let secret =
            fs::read_to_string(&file).map_err(|error| format!("cannot read {}: {error}", file.display()));
        match secret.and_then(|text| EventSecret::new(&text).map_err(|error| error.to_string())) {
            Ok(secret) => Some(secret),
            Err(message) => {
                self.error("admin.events_secret_file", message);
                None
            }
        }
    }

    fn clients(&mut self, clients: Vec<file::AdminClient>) -> Vec<CertificateRole> {
        let mut roles: Vec<CertificateRole> = Vec::new();
        for (at, client) in clients.into_iter().enumerate() {
            let key = format!("admin.client[{at}]");
            if client.subject.is_empty() {
                self.error(
                    format!("{key}.subject"),
                    "names a certificate by its common name or an alternative name",
                );
            } else if roles.iter().any(|other| other.subject.eq_ignore_ascii_case(&client.subject)) {
                self.error(format!("{key}.subject"), format!("`{}` is there already", client.subject));
            }
            let scope = match client.zones {
                None => Scope::All,
                Some(zones) => self.scope(&format!("{key}.zones"), &zones),
            };
            roles.push(CertificateRole { subject: client.subject, role: client.role, scope });
        }
        roles
    }

    fn scope(&mut self, key: &str, zones: &[String]) -> Scope {
        match Scope::parse(zones) {
            Ok(scope) => return scope,
            // Of a wrong pattern its place is told.
            Err(error) if zones.iter().all(|zone| zone.parse::<NamePattern>().is_ok()) => {
                self.error(key, error.to_string());
            }
            Err(_) => self.each::<NamePattern>(key, zones).for_each(drop),
        }
        Scope::Only(Vec::new())
    }

    fn entra(&mut self, entra: file::Entra) -> Option<EntraSettings> {
        let default = EntraSettings::default();
        let settings = EntraSettings {
            tenant_id: entra.tenant_id,
            audience: entra.audience,
            authority: entra.authority.unwrap_or_else(|| default.authority.clone()),
            ..default
        };
        match settings.check() {
            Ok(()) => Some(settings),
            Err(error) => {
                self.error("admin.entra", error.to_string());
                None
            }
        }
    }

    fn limits(&mut self, limits: &file::AdminLimits) -> admin::Limits {
        let counts = [
            ("connections_max", limits.connections_max as u64),
            ("connections_per_client_max", limits.connections_per_client_max as u64),
            ("body_size_bytes", limits.body_size_bytes as u64),
            ("large_body_size_bytes", limits.large_body_size_bytes as u64),
            ("bodies_size_bytes", limits.bodies_size_bytes as u64),
        ];
        for (key, count) in counts {
            self.within(&format!("admin.limits.{key}"), count, 1, COUNT_MAX);
        }
        let failed =
            self.bounded("admin.limits.failed_attempts_max", limits.failed_attempts_max, 1, COUNT_MAX);
        let timeouts = [
            ("body_timeout_secs", limits.body_timeout_secs),
            ("request_timeout_secs", limits.request_timeout_secs),
            ("idle_timeout_secs", limits.idle_timeout_secs),
            ("failed_attempt_secs", limits.failed_attempt_secs),
        ];
        for (key, secs) in timeouts {
            self.within(&format!("admin.limits.{key}"), secs, 1, TIMEOUT_SECS_MAX);
        }
        admin::Limits {
            connections: limits.connections_max,
            connections_per_client: limits.connections_per_client_max,
            body_bytes: limits.body_size_bytes,
            large_body_bytes: limits.large_body_size_bytes,
            bodies_bytes: limits.bodies_size_bytes,
            body: Duration::from_secs(limits.body_timeout_secs),
            request: Duration::from_secs(limits.request_timeout_secs),
            idle: Duration::from_secs(limits.idle_timeout_secs),
            failed_attempts: failed,
            failed_attempt: Duration::from_secs(limits.failed_attempt_secs),
            ..admin::Limits::default()
        }
    }
}

/// Whether two listeners could not have both addresses.
pub(super) fn is_same(dns: SocketAddr, api: SocketAddr) -> bool {
    let is_any = |address: SocketAddr| address.ip().is_unspecified() && dns.is_ipv4() == api.is_ipv4();
    dns.port() == api.port() && (dns.ip() == api.ip() || is_any(dns) || is_any(api))
}
