//! Client networks: the counterpart of virtual network links. A client's view is its network.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use ipnet::IpNet;

use super::address_ranges::AddressRanges;

/// A view: which network a client belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ViewId(pub u16);

impl ViewId {
    /// The view of clients that no network names.
    pub const NONE: ViewId = ViewId(0);
}

/// One `[[network]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub name: Arc<str>,
    pub clients: Vec<IpNet>,
    /// ARM ids, lower-cased.
    pub virtual_networks: Vec<Arc<str>>,
}

/// All networks, and which claim goes before another where views do not decide.
#[derive(Clone, Default, Debug)]
pub struct Networks {
    list: Vec<Network>,
    views: AddressRanges<ViewId>,
    /// ARM ids of endpoints, resource groups, virtual networks or subscriptions, the most preferred first.
    preferred: Vec<Arc<str>>,
}

/// Networks that cannot stand beside each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    #[error("network `{0}` is named twice")]
    Twice(Arc<str>),
    #[error("client range {range} belongs to network `{first}` and to network `{second}`")]
    Overlap { range: IpNet, first: Arc<str>, second: Arc<str> },
    #[error("there are more than {} networks", u16::MAX - 1)]
    TooMany,
}

impl Networks {
    /// Indexes networks; the longest matching range decides, so only equal ranges clash.
    pub fn new(list: Vec<Network>, preferred: Vec<Arc<str>>) -> Result<Networks, NetworkError> {
        let mut networks = Networks { preferred, ..Networks::default() };
        let mut ranges: HashMap<IpNet, ViewId> = HashMap::new();
        for network in list {
            if networks.list.iter().any(|other| other.name == network.name) {
                return Err(NetworkError::Twice(network.name));
            }
            let number = u16::try_from(networks.list.len() + 1).map_err(|_| NetworkError::TooMany)?;
            let view = ViewId(number);
            for range in &network.clients {
                let before = ranges.insert(range.trunc(), view);
                if let Some(before) = before.filter(|before| *before != view) {
                    let first = networks.name(before).expect("an indexed view has a network").clone();
                    return Err(NetworkError::Overlap { range: *range, first, second: network.name });
                }
            }
            networks.list.push(network);
        }
        networks.views = AddressRanges::new(ranges);
        Ok(networks)
    }

    /// The view of a client.
    pub fn view_of(&self, client: IpAddr) -> ViewId {
        self.views.get(client).unwrap_or(ViewId::NONE)
    }

    /// The view that a network's name stands for.
    pub fn view_named(&self, name: &str) -> Option<ViewId> {
        self.iter().find(|(_, network)| &*network.name == name).map(|(view, _)| view)
    }

    /// The name of a view's network.
    pub fn name(&self, view: ViewId) -> Option<&Arc<str>> {
        self.get(view).map(|network| &network.name)
    }

    /// A view's network.
    pub fn get(&self, view: ViewId) -> Option<&Network> {
        self.list.get(usize::from(view.0).checked_sub(1)?)
    }

    /// All networks with their views.
    pub fn iter(&self) -> impl Iterator<Item = (ViewId, &Network)> {
        self.list.iter().enumerate().map(|(index, network)| (ViewId(index as u16 + 1), network))
    }

    /// The configured preference among claims.
    pub fn preferred(&self) -> &[Arc<str>] {
        &self.preferred
    }
}

impl PartialEq for Networks {
    fn eq(&self, other: &Networks) -> bool {
        self.list == other.list && self.preferred == other.preferred
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, clients: &[&str]) -> Network {
        let clients = clients.iter().map(|range| range.parse().unwrap()).collect();
        Network { name: name.into(), clients, virtual_networks: Vec::new() }
    }

    #[test]
    fn the_longest_range_decides() {
        let networks = Networks::new(
            vec![network("wide", &["10.0.0.0/8", "fd00::/8"]), network("narrow", &["10.1.0.0/16"])],
            Vec::new(),
        )
        .unwrap();
        let view = |ip: &str| networks.view_of(ip.parse().unwrap()).0;
        assert_eq!((view("10.2.0.1"), view("10.1.0.1"), view("::ffff:10.1.0.1")), (1, 2, 2));
        assert_eq!((view("192.0.2.1"), view("fd00::1"), view("2001:db8::1")), (0, 1, 0));
    }

    #[test]
    fn the_same_range_twice_is_an_error() {
        let networks = vec![network("a", &["10.0.0.0/8"]), network("b", &["10.0.0.0/8"])];
        assert!(matches!(Networks::new(networks, Vec::new()), Err(NetworkError::Overlap { .. })));
        let twins = vec![network("a", &[]), network("a", &[])];
        assert_eq!(Networks::new(twins, Vec::new()), Err(NetworkError::Twice("a".into())));
    }
}
