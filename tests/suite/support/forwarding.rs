//! The real forwarder over scripted upstreams.

use std::net::SocketAddr;
use std::sync::Arc;

use privatelink_dns::cache::Cache;
use privatelink_dns::dns::Name;
use privatelink_dns::forward::{Exchange, Forwarder, Protocol, Query, RuleSettings, Settings, Transport};

use super::scripted::Upstreams;

/// Hands queries to the scripted upstreams; a rule's upstream is known by its address, and any other address is that of
/// a name server.
struct Wire {
    rules: Vec<(Name, SocketAddr)>,
    upstreams: Arc<Upstreams>,
}

impl Transport for Wire {
    fn exchange<'a>(&'a self, upstream: SocketAddr, query: &'a mut Query, _: Protocol) -> Exchange<'a> {
        let rule = self.rules.iter().find(|(_, address)| *address == upstream);
        // RD is set for resolvers alone.
        assert_eq!(query.as_bytes()[2] & 1 != 0, rule.is_some(), "RD to {upstream}");
        let rule = rule.map_or_else(|| upstream.ip().to_string(), |(domain, _)| domain.to_string());
        Box::pin(async move {
            match self.upstreams.answer(&rule, query.as_bytes()).await {
                Some(reply) => Ok(reply),
                None => std::future::pending().await,
            }
        })
    }
}

/// A forwarder with the default rule and one for each domain, with an upstream each.
pub fn forwarder(domains: &[Name], cache: Arc<Cache>, upstreams: Arc<Upstreams>) -> Arc<Forwarder> {
    let all = std::iter::once(Name::root()).chain(domains.iter().cloned());
    let address = |last: u8| SocketAddr::from(([192, 0, 2, last], 53));
    let rules: Vec<_> = (1..).zip(all).map(|(last, domain)| (domain, address(last))).collect();
    let settings = rules.iter().map(|(domain, address)| RuleSettings {
        domain: domain.clone(),
        upstreams: vec![(*address).into()],
        queries_per_second_max: None,
    });
    let settings = Settings { rules: settings.collect(), ..Settings::default() };
    Forwarder::with_transport(settings, cache, Arc::new(Wire { rules, upstreams }))
}
