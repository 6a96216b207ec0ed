//! The real forwarder over scripted upstreams.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use privatelink_dns::cache::Cache;
use privatelink_dns::dns::Name;
use privatelink_dns::forward::{Forwarder, Settings, Transport};

use super::upstream::Upstreams;

/// Hands queries to the scripted upstreams; a rule's upstream is known by its address.
struct Wire {
    rules: Vec<(Name, SocketAddr)>,
    upstreams: Arc<Upstreams>,
}

impl Transport for Wire {
    fn exchange(
        &self,
        to: SocketAddr,
        query: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<u8>>> + Send + '_>> {
        Box::pin(async move {
            let (rule, _) =
                self.rules.iter().find(|(_, address)| *address == to).expect("the address is a rule's");
            match self.upstreams.answer(&rule.to_string(), &query) {
                Some(reply) => Ok(reply),
                None => std::future::pending().await,
            }
        })
    }
}

/// A forwarder with the default rule and one for each domain.
pub fn forwarder(domains: &[Name], cache: Arc<Cache>, upstreams: Arc<Upstreams>) -> Arc<Forwarder> {
    let all = std::iter::once(Name::root()).chain(domains.iter().cloned());
    let rules: Vec<_> =
        (1..).zip(all).map(|(last, domain)| (domain, SocketAddr::from(([192, 0, 2, last], 53)))).collect();
    let wire = Wire { rules: rules.clone(), upstreams };
    Forwarder::with_transport(Settings { rules }, cache, Arc::new(wire))
}
