//! Our own look-ups of Azure's hosts: the upstreams are asked, never our zones and our cache.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name as Host, Resolve, Resolving};

use crate::cache::{self, Cache};
use crate::dns::{Name, QueryFlags, Question, RecordType, rdata};
use crate::forward::{self, Asker, Forwarder};

/// A forwarder of its own with a cache that keeps nothing: a served `privatelink.azure.com` cannot divert us (facts §4).
pub(super) struct Resolver(forward::Settings);

impl Resolver {
    /// `None` when there are no upstreams for all names: then the system resolves.
    pub(super) fn of(settings: &forward::Settings) -> Option<Arc<dyn Resolve>> {
        let has_default = settings.rules.iter().any(|rule| rule.domain == Name::root());
        has_default.then(|| Arc::new(Resolver(settings.clone())) as Arc<dyn Resolve>)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, host: Host) -> Resolving {
        let cache = Cache::new(cache::Settings { size_bytes: 0, ..cache::Settings::default() });
        let forwarder = Forwarder::new(self.0.clone(), Arc::new(cache));
        Box::pin(async move {
            let name: Name = host.as_str().parse()?;
            let ask = |rtype| {
                let question = Question { name: name.clone(), rtype };
                forwarder.ask(question, QueryFlags::default(), Asker::Server)
            };
            let (ipv4, ipv6) = tokio::join!(ask(RecordType::A), ask(RecordType::AAAA));
            let records = ipv4.reply.answer.iter().chain(&ipv6.reply.answer);
            let records = records.filter(|it| matches!(it.rtype, RecordType::A | RecordType::AAAA));
            // Port 0 stands for the one of the URL.
            let addresses = records.filter_map(|it| Some(SocketAddr::new(rdata::address(&it.data)?, 0)));
            let addresses: Vec<SocketAddr> = addresses.collect();
            match addresses.is_empty() {
                true => Err(format!("the upstreams have no address of {name}").into()),
                false => Ok(Box::new(addresses.into_iter()) as Addrs),
            }
        })
    }
}
