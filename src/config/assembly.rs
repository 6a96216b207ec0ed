//! From the file's keys to the parts' Settings, and what cannot stand together.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::document::{Document, Fitted};
use super::error::{ConfigError, ConfigErrors};
use super::said::Said;
use super::words::{ClientRange, Domain, PrivateReverse, SourceKind};
use super::{Config, Examined, PrivateLinkSettings, ZoneSettings, file};
use crate::answer::AccessSettings;
use crate::dns::Name;
use crate::forward::UpstreamAddress;
use crate::privatelink::Catalogue;
use crate::sync::arm::ArmId;
use crate::sync::private_dns::is_public_suffix;
use crate::telemetry::Filter;
use crate::tls::Trust;
use crate::zone::{Delegations, Network, OnMissing, ZoneHeader, ZoneKind};
use crate::{cache, forward, listen, telemetry};

/// Bounds of memory and queues beyond this are a slip of the pen.
pub(super) const COUNT_MAX: u64 = i32::MAX as u64;

/// Longest timeout of a connection: beyond an hour it is a leak.
pub(super) const TIMEOUT_SECS_MAX: u64 = 3600;

/// Makes all Settings, and tells everything that is wrong.
pub(super) fn assemble(document: &Document<'_>, fitted: Fitted<file::File>, path: &Path) -> Examined {
    let Fitted { value, errors, left_out } = fitted;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut assembly = Assembly { document, folder, errors, left_out };
    let config = value.and_then(|file| assembly.config(file, path));
    let errors = (!assembly.errors.is_empty()).then(|| ConfigErrors::new(assembly.errors));
    Examined { config, errors }
}

/// What is found wrong while the Settings are made.
pub(super) struct Assembly<'d> {
    document: &'d Document<'d>,
    folder: &'d Path,
    errors: Vec<ConfigError>,
    /// Keys that are known to be wrong.
    left_out: Vec<String>,
}

impl Assembly<'_> {
    fn config(&mut self, mut file: file::File, path: &Path) -> Option<Config> {
        let networks = self.networks(file.network);
        let mut private_link = file.private_link;
        let cloud = self.cloud(private_link.cloud.into(), private_link.custom.take());
        let has_source = !file.sync.source.is_empty();
        let imports = file.sync.source.iter().any(|source| source.kind == SourceKind::PrivateDns);
        let prefer = self.arm_ids("private_link.prefer", &private_link.prefer);
        let limits = self.client_limits(&file.limits, &networks);
        let rate = self.rate(&file.limits, &limits.exempt);
        let ddr = self.ddr(&mut file.listen);
        let mut certificates = Vec::new();
        let listen = self.listen(file.listen, limits, &mut certificates);
        let private_link = self.private_link(private_link, &cloud, has_source);
        let zones = match &private_link {
            Some(private_link) => self.zones(file.zone, &networks, private_link, imports),
            None => Vec::new(),
        };
        let private_reverse = file.forward.private_reverse.map(Into::into);
        let forward = self.forward(file.forward, &listen);
        let access = AccessSettings {
            allow: self.ranges("access.allow", &file.access.allow).collect(),
            deny: self.ranges("access.deny", &file.access.deny).collect(),
        };
        let cache = cache::Settings {
            size_bytes: file.cache.size_bytes,
            serve_stale_secs: file.cache.serve_stale_secs,
            negative_max_secs: file.cache.negative_max_secs,
        };
        let sync = self.sync(file.sync, &cloud);
        let mut telemetry = file.telemetry;
        let (monitors_listen, zone_names) = (telemetry.listen.clone(), telemetry.zone_names);
        let observe = self.observe(telemetry.dnstap.take(), telemetry.query_log.take());
        let telemetry = self.telemetry(telemetry);
        let state_dir = self.whole(file.state_dir);
        if file.user.as_ref().is_some_and(|user| user.is_empty() || user.contains('\0')) {
            self.error("user", "names a user of this machine");
        }
        self.within("lame_duck_secs", file.lame_duck_secs, 0, TIMEOUT_SECS_MAX);
        let admin = self.admin(file.store, file.admin, &state_dir, &listen);
        certificates.extend(self.api_certificates(&admin.api));
        let monitors = self.monitors(&monitors_listen, zone_names, &listen, &admin.api);
        Some(Config {
            file: path.to_owned(),
            said: Said::of(self.document.text()),
            state_dir,
            user: file.user,
            lame_duck: Duration::from_secs(file.lame_duck_secs),
            listen,
            ddr,
            certificates,
            networks,
            prefer,
            access,
            private_link: private_link?,
            zones,
            forward,
            private_reverse,
            rate,
            cache,
            sync,
            admin,
            telemetry,
            monitors,
            observe,
        })
    }

    pub(super) fn error(&mut self, key: impl AsRef<str>, message: impl Into<String>) {
        let key = key.as_ref();
        if !self.left_out.iter().any(|wrong| key.starts_with(wrong)) {
            self.errors.push(self.document.error_at(key, message.into()));
        }
    }

    /// The values of a list with their places in it; those that cannot be read are told and left out.
    pub(super) fn each<T: FromStr<Err: Display>>(
        &mut self,
        key: &str,
        texts: &[String],
    ) -> impl Iterator<Item = (usize, T)> + use<T> {
        let mut values = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            match text.parse::<T>() {
                Ok(value) => values.push((at, value)),
                Err(error) => self.error(format!("{key}[{at}]"), error.to_string()),
            }
        }
        values.into_iter()
    }

    pub(super) fn ranges(&mut self, key: &str, texts: &[String]) -> impl Iterator<Item = IpNet> + use<> {
        self.each(key, texts).map(|(_, ClientRange(range))| range)
    }

    /// A path as seen from the config's folder.
    pub(super) fn whole(&self, path: PathBuf) -> PathBuf {
        self.folder.join(path)
    }

    pub(super) fn document(&self) -> &Document<'_> {
        self.document
    }

    fn networks(&mut self, networks: Vec<file::Network>) -> Vec<Network> {
        let mut names = HashSet::new();
        let mut ranges: HashMap<IpNet, String> = HashMap::new();
        if networks.len() >= usize::from(u16::MAX) {
            self.error("network", format!("there are more than {} networks", u16::MAX - 1));
        }
        let mut made = Vec::new();
        for (at, network) in networks.into_iter().enumerate() {
            if network.name.is_empty() {
                self.error(format!("network[{at}].name"), "a network needs a name");
            } else if !names.insert(network.name.clone()) {
                let message = format!("network `{}` is there already", network.name);
                self.error(format!("network[{at}].name"), message);
            }
            let key = format!("network[{at}].clients");
            if network.clients.is_empty() {
                self.error(&key, "no client can belong to a network without ranges");
            }
            let mut clients = Vec::new();
            for (client, ClientRange(range)) in self.each(&key, &network.clients) {
                if let Some(other) = ranges.insert(range, network.name.clone()) {
                    let message = format!("range {range} belongs to network `{other}` already");
                    self.error(format!("{key}[{client}]"), message);
                }
                clients.push(range);
            }
            let key = format!("network[{at}].virtual_networks");
            for (number, id) in network.virtual_networks.iter().enumerate() {
                if !id.to_ascii_lowercase().contains("/providers/microsoft.network/virtualnetworks/") {
                    let message = format!(
                        "`{id}` is no ARM id of a virtual network: \
                         /subscriptions/…/providers/Microsoft.Network/virtualNetworks/…"
                    );
                    self.error(format!("{key}[{number}]"), message);
                }
            }
            let ids = network.virtual_networks.iter();
            let virtual_networks = ids.map(|id| ArmId::new(id).shared()).collect();
            made.push(Network { name: network.name.into(), clients, virtual_networks });
        }
        made
    }

    fn arm_ids(&mut self, key: &str, ids: &[String]) -> Vec<Arc<str>> {
        for (at, id) in ids.iter().enumerate() {
            let is_bare_subscription = id.len() == 36 && !id.contains('/');
            if !is_bare_subscription && !id.to_ascii_lowercase().starts_with("/subscriptions/") {
                let message = format!(
                    "`{id}` is no ARM id of an endpoint, a virtual network, a resource group or a subscription"
                );
                self.error(format!("{key}[{at}]"), message);
            }
        }
        ids.iter().map(|id| ArmId::new(id).shared()).collect()
    }

    pub(super) fn within(&mut self, key: &str, value: u64, least: u64, most: u64) {
        if !(least..=most).contains(&value) {
            self.error(key, format!("{value} is not between {least} and {most}"));
        }
    }

    /// The same of a number that the parts know in fewer bits. The file has it in 64, so that each error tells these bounds.
    pub(super) fn bounded<N: TryFrom<u64>>(&mut self, key: &str, value: u64, least: u64, most: u64) -> N {
        self.within(key, value, least, most);
        N::try_from(value.clamp(least, most)).ok().expect("bounds fit the type")
    }

    fn zones(
        &mut self,
        zones: Vec<file::Zone>,
        networks: &[Network],
        private_link: &PrivateLinkSettings,
        imports: bool,
    ) -> Vec<ZoneSettings> {
        let mut made: Vec<ZoneSettings> = Vec::new();
        for (at, zone) in zones.into_iter().enumerate() {
            let apex = zone.name.0;
            if made.iter().any(|other| other.header.apex == apex) {
                self.error(format!("zone[{at}].name"), format!("zone {apex} is there already"));
            }
            // A file makes a zone that the catalogue lacks the operator's own.
            let is_private_link = match zone.file {
                Some(_) => private_link.catalogue.is_private_link_zone(apex.borrow()).is_some(),
                None => private_link.catalogue.names_private_link(apex.borrow()),
            };
            let mut header = if is_private_link {
                ZoneHeader { on_missing: private_link.on_missing, ..ZoneHeader::private_link(apex) }
            } else {
                ZoneHeader::plain(apex)
            };
            if let Some(on_missing) = zone.on_missing {
                header.on_missing = on_missing.into();
            }
            if zone.follow_delegations {
                header.delegations = Delegations::Follow;
            }
            self.check_public_suffix(at, &header, &private_link.catalogue);
            for (number, name) in zone.networks.iter().enumerate() {
                if !networks.iter().any(|network| *network.name == **name) {
                    let message = format!("there is no network `{name}`");
                    self.error(format!("zone[{at}].networks[{number}]"), message);
                }
            }
            header.networks = zone.networks.into_iter().map(Arc::from).collect();
            let file = zone.file.map(|path| self.whole(path));
            match &file {
                Some(path) => self.check_file(&format!("zone[{at}].file"), path),
                // One that is imported may have settings here and no file.
                None if header.kind == ZoneKind::Plain && !imports => {
                    let message = format!("{} is no private-link zone and needs a file", header.apex);
                    self.error(format!("zone[{at}]"), message);
                }
                None => {}
            }
            made.push(ZoneSettings { header, file });
        }
        made
    }

    /// A zone of all storage accounts of the world without those of others makes these vanish (facts §3).
    fn check_public_suffix(&mut self, at: usize, header: &ZoneHeader, catalogue: &Catalogue) {
        let name = &header.apex;
        if header.on_missing == OnMissing::NxDomain && is_public_suffix(name, catalogue) {
            let message = format!(
                "{name} is a public suffix of Azure: everybody else's names below it would not exist; \
                 set on_missing = \"ask-public\", or leave the zone out and its names are spliced"
            );
            self.error(format!("zone[{at}].name"), message);
        }
    }

    pub(super) fn check_file(&mut self, key: &str, path: &Path) {
        let opened = fs::File::open(path).and_then(|file| file.metadata());
        match opened {
            Ok(kind) if kind.is_file() => {}
            Ok(_) => self.error(key, format!("{} is not a file", path.display())),
            Err(error) => self.error(key, format!("cannot read {}: {error}", path.display())),
        }
    }

    fn telemetry(&mut self, file: file::Telemetry) -> telemetry::Settings {
        for error in Filter::errors(&file.log_level) {
            self.error("telemetry.log_level", error.to_string());
        }
        telemetry::Settings {
            log_format: file.log_format.into(),
            log_level: file.log_level.parse().unwrap_or_default(),
        }
    }

    fn forward(&mut self, file: file::Forward, listen: &listen::Settings) -> forward::Settings {
        if file.private_reverse == Some(PrivateReverse::Ask) && file.upstreams.is_empty() {
            let message = "there is nobody to ask: forward.upstreams is empty";
            self.error("forward.private_reverse", message);
        }
        let default = file::Rule {
            domain: Domain(Name::root()),
            upstreams: file.upstreams,
            queries_per_second_max: file.queries_per_second_max,
        };
        // Without an upstream of their own, names that no rule forwards are not forwarded at all.
        let has_default = !default.upstreams.is_empty();
        let mut rules = Vec::from_iter(self.rule("forward", default, listen).filter(|_| has_default));
        for (at, rule) in file.rule.into_iter().enumerate() {
            let key = format!("forward.rule[{at}]");
            if rule.domain.0 == Name::root() {
                let message = "what no other rule forwards goes to forward.upstreams";
                self.error(format!("{key}.domain"), message);
            } else if rules.iter().any(|other| other.domain == rule.domain.0) {
                let message = format!("there is a rule for {} already", rule.domain.0);
                self.error(format!("{key}.domain"), message);
            }
            if rule.upstreams.is_empty() {
                self.error(format!("{key}.upstreams"), "a rule without an upstream forwards nothing");
            }
            rules.extend(self.rule(&key, rule, listen));
        }
        self.within("forward.questions_in_flight_max", file.questions_in_flight_max as u64, 1, COUNT_MAX);
        self.within("forward.waiters_max", file.waiters_max as u64, 1, COUNT_MAX);
        let trust = self.trust(&file.ca_file, &rules);
        forward::Settings {
            rules,
            trust,
            questions_in_flight_max: file.questions_in_flight_max,
            waiters_max: file.waiters_max,
        }
    }

    /// The authorities that certificates of upstreams are verified against.
    fn trust(&mut self, ca_file: &str, rules: &[forward::RuleSettings]) -> Trust {
        const KEY: &str = "forward.ca_file";
        let trust = match ca_file {
            "" => Ok(Trust::default()),
            path => Trust::read(&self.whole(path.into())),
        };
        let peers = rules.iter().flat_map(|rule| &rule.upstreams).filter_map(UpstreamAddress::peer);
        let needs_authorities = peers.into_iter().any(|peer| peer.pins.is_empty());
        match trust {
            Err(error) => {
                self.error(KEY, error.to_string());
                Trust::default()
            }
            Ok(trust) => {
                if needs_authorities && trust.is_empty() {
                    let message = "this system has no authorities for upstreams over TLS: name a file of them, or pin keys";
                    self.error(KEY, message);
                }
                trust
            }
        }
    }

    fn rule(
        &mut self,
        key: &str,
        rule: file::Rule,
        listen: &listen::Settings,
    ) -> Option<forward::RuleSettings> {
        if rule.queries_per_second_max == Some(0) {
            let key = format!("{key}.queries_per_second_max");
            self.error(key, "0 queries a second would shed every query; leave the key out for no bound");
        }
        let mut upstreams: Vec<UpstreamAddress> = Vec::new();
        let list = format!("{key}.upstreams");
        for (at, upstream) in self.each::<UpstreamAddress>(&list, &rule.upstreams) {
            if upstreams.contains(&upstream) {
                self.error(format!("{list}[{at}]"), format!("{upstream} is there already"));
            } else if let Some(own) = own_listener(listen, &upstream) {
                let message = format!("{upstream} is this server itself, which listens on {own}");
                self.error(format!("{list}[{at}]"), message);
            }
            upstreams.push(upstream);
        }
        Some(forward::RuleSettings {
            domain: rule.domain.0,
            upstreams,
            queries_per_second_max: rule.queries_per_second_max,
        })
    }
}

/// Whether a text is eight, four, four, four and twelve hex digits.
pub(super) fn is_guid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The listener of this server that an upstream surely is.
fn own_listener<'l>(listen: &'l listen::Settings, upstream: &UpstreamAddress) -> Option<&'l SocketAddr> {
    let listeners = if upstream.peer().is_some() { &listen.tls } else { &listen.dns };
    listeners.iter().find(|own| reaches(**own, upstream.socket()))
}

/// Whether a query to `upstream` surely arrives at a socket bound to `own`.
fn reaches(own: SocketAddr, upstream: SocketAddr) -> bool {
    let (own_ip, ip) = (own.ip().to_canonical(), upstream.ip().to_canonical());
    let by_wildcard = own_ip.is_unspecified() && ip.is_loopback() && own_ip.is_ipv4() == ip.is_ipv4();
    own.port() == upstream.port() && (own_ip == ip || by_wildcard)
}
