//! Events as tests make them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::{AnswerPath, Event, Kind, Transport};
use crate::dns::{Name, QueryFlags, RecordType, message};

/// A question of 10.0.0.5 over UDP that our zones answered within 1.5 ms.
pub fn event() -> Event {
    let asked = Instant::now();
    Event {
        kind: Kind::Client { path: AnswerPath::Authoritative, upstream: None },
        transport: Transport::Udp,
        from: Some(SocketAddr::from(([10, 0, 0, 5], 4242)).into()),
        to: Some(std::net::IpAddr::from(Ipv4Addr::new(10, 0, 0, 53)).into()),
        asked,
        answered: Some(asked + Duration::from_micros(1500)),
    }
}

/// A query for an address.
pub fn query(name: &str) -> Vec<u8> {
    let name: Name = name.parse().unwrap();
    message::query(7, name.borrow(), RecordType::A, QueryFlags::default(), false)
}

/// A reply to a query, with a response code and nothing else.
pub fn reply(query: &[u8], rcode: u8) -> Vec<u8> {
    let mut reply = query.to_vec();
    (reply[2], reply[3]) = (reply[2] | 0x80, rcode);
    reply
}

/// Waits until it is so.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("it comes to be so");
}
