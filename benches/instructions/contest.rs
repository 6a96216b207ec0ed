//! One name that endpoints contest, with a thousand networks that each are served the nearest.

use std::net::Ipv4Addr;
use std::sync::Arc;

use privatelink_dns::dns::message::query;
use privatelink_dns::dns::{QueryFlags, RecordType};
use privatelink_dns::respond::Client;
use privatelink_dns::zone::{Change, ChangeSet, Claim, Network, Networks, Offer, Origin};

use crate::world::{World, addresses, apex, name};

/// Networks, which are served by turns what one endpoint or the other claims.
const NETWORKS: u32 = 1000;
const ENDPOINTS: u32 = 32;

/// Has endpoints in the networks claim one name.
pub fn begin(world: &World) {
    let network = |number: u32| Network {
        name: format!("network{number}").into(),
        clients: vec![client(number).address.ip().into()],
        virtual_networks: vec![virtual_network(number % ENDPOINTS)],
    };
    let networks = Networks::new((0..NETWORKS).map(network).collect(), Vec::new()).expect("networks");
    let claim = |number: u32| Claim {
        endpoint: format!("/endpoints/{number}").into(),
        virtual_network: Some(virtual_network(number)),
        subscription: "subscription".into(),
        resource: None,
        source: "azure".into(),
        since_secs: 0,
    };
    let put = |number: u32| Change::Put {
        zone: apex(0),
        name: name("contested", &apex(0)),
        offer: Offer {
            set: addresses(Ipv4Addr::from(10 << 24 | number)),
            origin: Origin::Endpoint(claim(number).into()),
        },
    };
    let changes = std::iter::once(Change::SetNetworks(Arc::new(networks))).chain((0..ENDPOINTS).map(put));
    world.responder().store().commit(ChangeSet { changes: changes.collect() }).expect("claims");
}

/// A client of each network in turn, and its question for the name.
pub fn questions(count: u32) -> Vec<(Client, Vec<u8>)> {
    let contested = name("contested", &apex(0));
    let question = |id| query(id as u16, contested.borrow(), RecordType::A, QueryFlags::default(), false);
    (0..count).map(|number| (client(number % NETWORKS), question(number))).collect()
}

fn virtual_network(number: u32) -> Arc<str> {
    format!("/virtualnetworks/{number}").into()
}

fn client(network: u32) -> Client {
    Client {
        address: (Ipv4Addr::from(172 << 24 | 16 << 16 | network), 4711).into(),
        ..crate::world::client()
    }
}
