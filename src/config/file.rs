//! The config file, key by key, as it is written. `config/example.toml` explains each; a test holds it against these.

mod observers;

use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;

use super::words::{Cloud, Credential, Domain, Format, OnMissing, PrivateReverse, PublicNames, SourceKind};
use crate::answer::AccessSettings;
use crate::ledger::Role;
use crate::{admin, cache, forward, listen, persist, privatelink, respond, telemetry};

pub(super) use observers::{Dnstap, QueryLog};

/// The whole file.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub state_dir: PathBuf,
    pub user: Option<String>,
    pub lame_duck_secs: u64,
    pub listen: Listen,
    pub network: Vec<Network>,
    pub access: Access,
    pub private_link: PrivateLink,
    pub zone: Vec<Zone>,
    pub forward: Forward,
    pub limits: Limits,
    pub cache: Cache,
    pub sync: Sync,
    pub store: Store,
    pub admin: Admin,
    pub telemetry: Telemetry,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Listen {
    pub dns: Vec<String>,
    pub freebind: bool,
    pub tls: Vec<String>,
    pub https: Vec<String>,
    pub quic: Vec<String>,
    pub certificate: String,
    pub key: String,
    pub identity: Vec<Identity>,
    pub ddr_name: Option<Domain>,
    pub proxy_from: Vec<String>,
    pub handshakes_max: usize,
    pub handshakes_per_client_max: usize,
    pub handshake_timeout_secs: u64,
    pub workers: usize,
    pub udp_waiting_max: usize,
    pub udp_buffer_size_bytes: usize,
    pub tcp: Tcp,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    pub certificate: String,
    pub key: String,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tcp {
    pub connections_max: usize,
    pub connections_per_client_max: usize,
    pub waiting_max: usize,
    pub in_flight_max: usize,
    pub messages_max: u64,
    pub idle_timeout_secs: u64,
    pub message_timeout_secs: u64,
    pub write_timeout_secs: u64,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Network {
    pub name: String,
    pub clients: Vec<String>,
    #[serde(default)]
    pub virtual_networks: Vec<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Access {
    pub allow: Vec<String>,
    pub deny: Vec<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limits {
    pub wait_limit: usize,
    pub responses_per_second: u64,
    pub responses_slip: u32,
    pub queries_per_second: u64,
    pub exempt: Vec<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PrivateLink {
    pub cloud: Cloud,
    pub zones: Vec<String>,
    pub regions: Vec<String>,
    pub ttl_secs: u64,
    pub on_missing: OnMissing,
    pub public_names: PublicNames,
    pub reverse: bool,
    pub prefer: Vec<String>,
    pub addresses: Vec<String>,
    pub catalogue: Option<PathBuf>,
    pub service: Vec<privatelink::Block>,
    pub custom: Option<CustomCloud>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CustomCloud {
    pub endpoint: Option<String>,
    pub authority: Option<String>,
    pub suffix: String,
    #[serde(default)]
    pub replace: Vec<Replacement>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replacement {
    pub public: String,
    pub own: String,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Zone {
    pub name: Domain,
    pub file: Option<PathBuf>,
    #[serde(default)]
    pub networks: Vec<String>,
    pub on_missing: Option<OnMissing>,
    #[serde(default)]
    pub follow_delegations: bool,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Forward {
    pub upstreams: Vec<String>,
    pub ca_file: String,
    pub private_reverse: Option<PrivateReverse>,
    pub queries_per_second_max: Option<u32>,
    pub questions_in_flight_max: usize,
    pub waiters_max: usize,
    pub rule: Vec<Rule>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub domain: Domain,
    pub upstreams: Vec<String>,
    pub queries_per_second_max: Option<u32>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Cache {
    pub size_bytes: u64,
    pub serve_stale_secs: u32,
    pub negative_max_secs: u32,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Sync {
    pub interval_secs: u64,
    pub withdraw_max_percent: u64,
    pub allow_subscriptions: Vec<String>,
    pub source: Vec<Source>,
}

/// A source of any kind; `source` refuses what belongs to another.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub kind: SourceKind,
    pub name: Option<String>,
    pub path: Option<PathBuf>,
    pub subscriptions: Option<Vec<String>>,
    pub resource_groups: Option<Vec<String>>,
    pub management_group: Option<String>,
    pub exclude_subscriptions: Option<Vec<String>>,
    pub credential: Option<Credential>,
    pub tenant_id: Option<String>,
    pub client_id: Option<String>,
    pub object_id: Option<String>,
    pub resource_id: Option<String>,
    pub client_secret_file: Option<PathBuf>,
    pub client_certificate_file: Option<PathBuf>,
    pub token_file: Option<PathBuf>,
    pub endpoint: Option<String>,
    pub authority: Option<String>,
    pub identity_endpoint: Option<String>,
    pub api_version: Option<String>,
    pub interval_secs: Option<u64>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Store {
    pub url: String,
    pub password_file: Option<PathBuf>,
    pub audit_changes_max: u64,
    pub audit_days_max: u64,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Admin {
    pub listen: Vec<String>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub client_ca: Option<PathBuf>,
    pub allow_plaintext: bool,
    pub hosts: Vec<String>,
    pub events_secret_file: Option<PathBuf>,
    pub limits: AdminLimits,
    pub client: Vec<AdminClient>,
    pub entra: Option<Entra>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AdminLimits {
    pub connections_max: usize,
    pub connections_per_client_max: usize,
    pub body_size_bytes: usize,
    pub large_body_size_bytes: usize,
    pub bodies_size_bytes: usize,
    pub body_timeout_secs: u64,
    pub request_timeout_secs: u64,
    pub idle_timeout_secs: u64,
    pub failed_attempts_max: u64,
    pub failed_attempt_secs: u64,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminClient {
    pub subject: String,
    pub role: Role,
    pub zones: Option<Vec<String>>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entra {
    pub tenant_id: String,
    pub audience: String,
    pub authority: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Telemetry {
    pub log_format: Format,
    pub log_level: String,
    pub listen: Vec<String>,
    pub zone_names: bool,
    pub dnstap: Option<Dnstap>,
    pub query_log: Option<QueryLog>,
}

impl Default for File {
    fn default() -> File {
        File {
            state_dir: PathBuf::from("/var/lib/privatelink-dns"),
            user: None,
            lame_duck_secs: 0,
            listen: Listen::default(),
            network: Vec::new(),
            access: Access::default(),
            private_link: PrivateLink::default(),
            zone: Vec::new(),
            forward: Forward::default(),
            limits: Limits::default(),
            cache: Cache::default(),
            sync: Sync::default(),
            store: Store::default(),
            admin: Admin::default(),
            telemetry: Telemetry::default(),
        }
    }
}

impl Default for Listen {
    fn default() -> Listen {
        let settings = listen::Settings::default();
        Listen {
            dns: settings.dns.iter().map(ToString::to_string).collect(),
            freebind: settings.freebind,
            tls: Vec::new(),
            https: Vec::new(),
            quic: Vec::new(),
            certificate: String::new(),
            key: String::new(),
            identity: Vec::new(),
            ddr_name: None,
            proxy_from: Vec::new(),
            handshakes_max: settings.handshakes.max,
            handshakes_per_client_max: settings.handshakes.per_client_max,
            handshake_timeout_secs: settings.handshakes.timeout.as_secs(),
            workers: settings.workers,
            udp_waiting_max: settings.udp_waiting_max,
            udp_buffer_size_bytes: settings.udp_buffer_size_bytes,
            tcp: Tcp::default(),
        }
    }
}

impl Default for Tcp {
    fn default() -> Tcp {
        let settings = listen::TcpSettings::default();
        Tcp {
            connections_max: settings.connections_max,
            connections_per_client_max: settings.connections_per_client_max,
            waiting_max: settings.waiting_max,
            in_flight_max: settings.in_flight_max,
            messages_max: settings.messages_max,
            idle_timeout_secs: settings.idle_timeout.as_secs(),
            message_timeout_secs: settings.message_timeout.as_secs(),
            write_timeout_secs: settings.write_timeout.as_secs(),
        }
    }
}

impl Default for Access {
    fn default() -> Access {
        let AccessSettings { allow, deny } = AccessSettings::default();
        let texts = |ranges: Vec<IpNet>| ranges.iter().map(ToString::to_string).collect();
        Access { allow: texts(allow), deny: texts(deny) }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        let listen::Limits { wait_limit, exempt } = listen::Limits::default();
        let rate = respond::RateSettings::default();
        Limits {
            wait_limit,
            responses_per_second: rate.responses_per_second.into(),
            responses_slip: rate.slip,
            queries_per_second: rate.queries_per_second.into(),
            exempt: exempt.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Default for PrivateLink {
    fn default() -> PrivateLink {
        PrivateLink {
            cloud: Cloud::Public,
            zones: vec!["all".to_owned()],
            regions: Vec::new(),
            // Azure's own TTL of zone groups' records (facts §1).
            ttl_secs: 10,
            on_missing: OnMissing::AskPublic,
            public_names: PublicNames::Splice,
            reverse: false,
            prefer: Vec::new(),
            addresses: Vec::new(),
            catalogue: None,
            service: Vec::new(),
            custom: None,
        }
    }
}

impl Default for Forward {
    fn default() -> Forward {
        let settings = forward::Settings::default();
        let upstreams = settings.rules.iter().flat_map(|rule| &rule.upstreams).map(ToString::to_string);
        Forward {
            upstreams: upstreams.collect(),
            ca_file: String::new(),
            private_reverse: None,
            queries_per_second_max: None,
            questions_in_flight_max: settings.questions_in_flight_max,
            waiters_max: settings.waiters_max,
            rule: Vec::new(),
        }
    }
}

impl Default for Cache {
    fn default() -> Cache {
        let settings = cache::Settings::default();
        Cache {
            size_bytes: settings.size_bytes,
            serve_stale_secs: settings.serve_stale_secs,
            negative_max_secs: settings.negative_max_secs,
        }
    }
}

impl Default for Sync {
    fn default() -> Sync {
        Sync {
            interval_secs: 60,
            withdraw_max_percent: 30,
            allow_subscriptions: Vec::new(),
            source: Vec::new(),
        }
    }
}

impl Default for Store {
    fn default() -> Store {
        let persist::Settings { url, audit_changes_max, audit_days_max, .. } = persist::Settings::default();
        Store { url, password_file: None, audit_changes_max, audit_days_max: audit_days_max.into() }
    }
}

impl Default for Admin {
    fn default() -> Admin {
        let settings = admin::Settings::default();
        Admin {
            listen: settings.listen.iter().map(ToString::to_string).collect(),
            certificate: None,
            key: None,
            client_ca: None,
            allow_plaintext: false,
            hosts: Vec::new(),
            events_secret_file: None,
            limits: AdminLimits::default(),
            client: Vec::new(),
            entra: None,
        }
    }
}

impl Default for AdminLimits {
    fn default() -> AdminLimits {
        let limits = admin::Limits::default();
        AdminLimits {
            connections_max: limits.connections,
            connections_per_client_max: limits.connections_per_client,
            body_size_bytes: limits.body_bytes,
            large_body_size_bytes: limits.large_body_bytes,
            bodies_size_bytes: limits.bodies_bytes,
            body_timeout_secs: limits.body.as_secs(),
            request_timeout_secs: limits.request.as_secs(),
            idle_timeout_secs: limits.idle.as_secs(),
            failed_attempts_max: limits.failed_attempts.into(),
            failed_attempt_secs: limits.failed_attempt.as_secs(),
        }
    }
}

impl Default for Telemetry {
    fn default() -> Telemetry {
        let settings = telemetry::Settings::default();
        Telemetry {
            log_format: Format::Text,
            log_level: settings.log_level.to_string(),
            listen: Vec::new(),
            zone_names: false,
            dnstap: None,
            query_log: None,
        }
    }
}
