//! Our own look-ups of Azure's hosts: the upstreams are asked, never our zones, and what they say is kept for its TTL.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_resolver::Resolver as Client;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name as Asked, RecordType};
use reqwest::dns::{Addrs, Name as Host, Resolve, Resolving};
use tracing::error;

use super::host_sockets::HostSockets;
use crate::dns::{Name, SuffixMap};
use crate::tls::{self, Peer, Trust};

/// That a host is not there is believed for less time than lies between two passes.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(30);

/// Answers of one upstream that are kept: Azure has few hosts for us.
const CACHED_MAX: u64 = 256;

/// A server that is asked for hosts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostServer {
    pub socket: SocketAddr,
    /// The identity that it must prove; with one it is asked over TLS alone.
    pub peer: Option<Arc<Peer>>,
}

/// Asks one server.
type HostClient = Client<HostSockets>;

/// Which upstreams are asked for which hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolverSettings {
    /// Domains, of which the longest wins, with those who are asked in the order of preference.
    pub rules: Vec<(Name, Vec<HostServer>)>,
    /// The authorities that certificates of servers are verified against.
    pub trust: Trust,
    /// How long one upstream may take; meanwhile it is asked again, since datagrams are lost.
    pub timeout: Duration,
}

impl Default for ResolverSettings {
    /// Several upstreams may be silent within the time for a connection.
    fn default() -> ResolverSettings {
        ResolverSettings { rules: Vec::new(), trust: Trust::default(), timeout: Duration::from_millis(1500) }
    }
}

/// Asks past our zones: a served `privatelink.azure.com` cannot divert us (facts §4).
pub struct Resolver(SuffixMap<Arc<Rule>>);

/// The upstreams of one domain.
// One pool of hickory-resolver would do, if it asked the next one behind a failure (SERVFAIL, REFUSED) or a silence.
struct Rule {
    upstreams: Vec<HostClient>,
    /// The one that answered last: its cache has what was asked.
    first: AtomicUsize,
}

impl Resolver {
    /// `None` when there are no upstreams for all names: then the system resolves.
    pub fn of(settings: &ResolverSettings) -> Option<Arc<dyn Resolve>> {
        let has_default = settings.rules.iter().any(|(domain, _)| *domain == Name::root());
        has_default.then(|| Arc::new(Resolver::new(settings)) as Arc<dyn Resolve>)
    }

    fn new(settings: &ResolverSettings) -> Resolver {
        let mut clients: HashMap<HostServer, Option<HostClient>> = HashMap::new();
        let mut client = |server: &HostServer| {
            clients.entry(server.clone()).or_insert_with(|| client(server, settings)).clone()
        };
        let rules = settings.rules.iter().map(|(domain, servers)| {
            let upstreams = servers.iter().filter_map(&mut client).collect();
            (domain.clone(), Arc::new(Rule { upstreams, first: AtomicUsize::new(0) }))
        });
        Resolver(rules.collect())
    }
}

impl Rule {
    /// What the first says that answers at all.
    async fn addresses(&self, host: &Asked) -> Vec<SocketAddr> {
        let (first, count) = (self.first.load(Ordering::Relaxed), self.upstreams.len());
        for at in (first..first + count).map(|at| at % count) {
            let upstream = &self.upstreams[at];
            let ask = |rtype| upstream.lookup(host.clone(), rtype);
            let (ipv4, ipv6) = tokio::join!(ask(RecordType::A), ask(RecordType::AAAA));
            let records = [&ipv4, &ipv6].into_iter().flatten().flat_map(|found| found.answers());
            // Port 0 stands for the one of the URL.
            let addresses = records.filter_map(|it| Some(SocketAddr::new(it.data.ip_addr()?, 0)));
            let addresses: Vec<SocketAddr> = addresses.collect();
            if !addresses.is_empty() || [ipv4, ipv6].into_iter().all(|it| it.is_err_and(|it| is_told(&it))) {
                self.first.store(at, Ordering::Relaxed);
                return addresses;
            }
        }
        Vec::new()
    }
}

impl Resolve for Resolver {
    fn resolve(&self, host: Host) -> Resolving {
        let name = host.as_str().parse::<Name>();
        let rule = name.as_ref().ok().and_then(|name| self.0.enclosing(name.borrow()).next());
        let rule = rule.map(|(_, rule)| Arc::clone(rule));
        Box::pin(async move {
            let name = name?;
            let asked = Asked::from_ascii(name.to_string())?;
            let addresses = match rule {
                Some(rule) => rule.addresses(&asked).await,
                None => Vec::new(),
            };
            match addresses.is_empty() {
                true => Err(format!("the upstreams have no address of {name}").into()),
                false => Ok(Box::new(addresses.into_iter()) as Addrs),
            }
        })
    }
}

/// Asks one upstream: by TCP what does not fit into a datagram, or all over TLS. None if TLS cannot be spoken.
fn client(server: &HostServer, settings: &ResolverSettings) -> Option<HostClient> {
    let HostServer { socket, peer } = server;
    let mut sockets = HostSockets { plain: TokioRuntimeProvider::default(), tls: None };
    let mut connections = vec![ConnectionConfig::tcp()];
    match peer.as_ref().map(|peer| tls::Client::new(peer, &settings.trust, &[b"dot"])) {
        None => connections.insert(0, ConnectionConfig::udp()),
        Some(Ok(client)) => sockets.tls = Some(client),
        Some(Err(error)) => {
            error!("{socket} is not asked for Azure's hosts: {error}");
            return None;
        }
    }
    connections.iter_mut().for_each(|connection| connection.port = socket.port());
    let server = NameServerConfig::new(socket.ip(), true, connections);
    let mut options = ResolverOpts::default();
    options.timeout = settings.timeout;
    options.attempts = 0;
    options.cache_size = CACHED_MAX;
    options.use_hosts_file = ResolveHosts::Never;
    options.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
    let config = ResolverConfig::from_name_servers(vec![server]);
    let builder = Client::builder_with_config(config, sockets).with_options(options);
    Some(builder.build().expect("only hickory's TLS and trust anchors can fail, and there are none"))
}

/// Whether an upstream says that there is no such record: not that it failed, nor that others know.
fn is_told(error: &NetError) -> bool {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => none.ns.is_none() || none.soa.is_some(),
        _ => false,
    }
}
