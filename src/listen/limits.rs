//! How many TCP connections and handshakes there may be, and who makes room.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::settings::{HandshakeSettings, TcpSettings};
use crate::dns::ClientHost;

/// All connections of the listeners.
#[derive(Debug)]
pub struct Connections {
    max: usize,
    per_client_max: usize,
    leaving_max: usize,
    began: Instant,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    places: HashMap<u64, Arc<Place>>,
    clients: HashMap<ClientHost, Arc<Client>>,
    /// Connections that made room and have not ended yet.
    leaving: usize,
    next_id: u64,
}

/// One connection's place in the table; it is free again when this is dropped.
#[derive(Debug)]
pub struct Admitted {
    connections: Arc<Connections>,
    place: Arc<Place>,
    id: u64,
    /// Whether a connection was told to make room for this one.
    pub evicted: bool,
}

#[derive(Debug)]
struct Place {
    client: Arc<Client>,
    /// Milliseconds after `began`; `BUSY` while a message is answered.
    spare_since_ms: AtomicU64,
    evicted: Notify,
    /// How to leave, once evicted.
    at_once: AtomicBool,
}

/// What one client has; changed under the table's lock.
#[derive(Debug)]
struct Client {
    network: ClientHost,
    connections: AtomicUsize,
    /// How many of them could be spared when it was last counted.
    spare: AtomicUsize,
}

const BUSY: u64 = u64::MAX;

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// All connections are busy.
    Total,
    /// This client has as many as it may, and all are busy.
    Client,
}

/// How a connection that makes room ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Its client may take its last reply still.
    Gently,
    /// So many leave gently already that descriptors would run out.
    AtOnce,
}

impl Connections {
    /// Of whole connections.
    pub fn new(settings: &TcpSettings) -> Arc<Connections> {
        Arc::new(Connections {
            max: settings.connections_max,
            per_client_max: settings.connections_per_client_max,
            leaving_max: settings.leaving_max(),
            began: Instant::now(),
            table: Mutex::default(),
        })
    }

    /// Of handshakes, which nothing is ever owed to: each can be spared, and leaves at once.
    pub fn of_handshakes(settings: &HandshakeSettings) -> Arc<Connections> {
        Arc::new(Connections {
            max: settings.max,
            per_client_max: settings.per_client_max,
            leaving_max: 0,
            began: Instant::now(),
            table: Mutex::default(),
        })
    }

    /// Of connections of proxies until they say whom they speak for; a proxy may have all.
    pub fn of_introductions(settings: &TcpSettings) -> Arc<Connections> {
        let (max, timeout) = (settings.connections_max, settings.message_timeout);
        let of_proxies =
            HandshakeSettings { max, per_client_max: max, timeout, ..HandshakeSettings::default() };
        Connections::of_handshakes(&of_proxies)
    }

    /// Gives `client` a place, taking it from a connection that nothing is owed to if there is no other.
    // To refuse instead would let whoever opens the table full, and says nothing or half of it, keep everyone out.
    pub fn admit(self: &Arc<Self>, client: IpAddr) -> Result<Admitted, Refusal> {
        let network = ClientHost::of(client);
        let mut table = self.table.lock();
        let own = table.clients.get(&network).cloned();
        let own = own.filter(|own| own.connections.load(Ordering::Relaxed) >= self.per_client_max);
        let evicted = own.is_some() || table.places.len() >= self.max;
        if let Some(own) = own {
            let victim = table.longest_spare(&own).ok_or(Refusal::Client)?;
            table.evict(victim, self.leaving_max);
        } else if evicted {
            let victim = table.longest_spare_of_most().ok_or(Refusal::Total)?;
            table.evict(victim, self.leaving_max);
        }
        let client = table.clients.entry(network).or_insert_with(|| {
            Arc::new(Client { network, connections: AtomicUsize::new(0), spare: AtomicUsize::new(0) })
        });
        client.connections.fetch_add(1, Ordering::Relaxed);
        let place = Arc::new(Place {
            client: client.clone(),
            spare_since_ms: AtomicU64::new(self.ms(Instant::now())),
            evicted: Notify::new(),
            at_once: AtomicBool::new(false),
        });
        let id = table.next_id;
        table.next_id += 1;
        table.places.insert(id, place.clone());
        drop(table);
        Ok(Admitted { connections: self.clone(), place, id, evicted })
    }

    fn ms(&self, at: Instant) -> u64 {
        at.duration_since(self.began).as_millis() as u64
    }
}

impl Table {
    /// Of all connections that can be spared, the longest without progress of the client that has most of them.
    // Progress is a whole message: neither new connections nor bytes that dribble in make a client look busy.
    fn longest_spare_of_most(&self) -> Option<u64> {
        for client in self.clients.values() {
            client.spare.store(0, Ordering::Relaxed);
        }
        for (.., place) in self.spare() {
            let spare = &place.client.spare;
            // The lock keeps others away, and an exchange in memory would cost the most of this.
            spare.store(spare.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        let most = self.spare().min_by_key(|&(since, id, place)| {
            (std::cmp::Reverse(place.client.spare.load(Ordering::Relaxed)), since, id)
        });
        most.map(|(_, id, _)| id)
    }

    /// The connection of one client that was without progress for longest.
    fn longest_spare(&self, client: &Arc<Client>) -> Option<u64> {
        let own = self.spare().filter(|(.., place)| Arc::ptr_eq(&place.client, client));
        own.map(|(since, id, _)| (since, id)).min().map(|(_, id)| id)
    }

    fn spare(&self) -> impl Iterator<Item = (u64, u64, &Place)> {
        let all = self
            .places
            .iter()
            .map(|(&id, place)| (place.spare_since_ms.load(Ordering::Relaxed), id, &**place));
        all.filter(|&(since, ..)| since != BUSY)
    }

    fn evict(&mut self, id: u64, leaving_max: usize) {
        let Some(place) = self.leave(id) else { return };
        place.at_once.store(self.leaving >= leaving_max, Ordering::Relaxed);
        place.evicted.notify_one();
        self.leaving += 1;
    }

    /// Takes a connection out of the count.
    fn leave(&mut self, id: u64) -> Option<Arc<Place>> {
        let place = self.places.remove(&id)?;
        if place.client.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.clients.remove(&place.client.network);
        }
        Some(place)
    }
}

impl Admitted {
    /// Says that nothing is owed to the client, which has sent or taken no whole message since `since`.
    pub fn spare(&self, since: Instant) {
        self.place.spare_since_ms.store(self.connections.ms(since), Ordering::Relaxed);
    }

    /// Says that a message is being answered.
    pub fn busy(&self) {
        self.place.spare_since_ms.store(BUSY, Ordering::Relaxed);
    }

    /// Waits until this connection shall make room for another.
    pub async fn evicted(&self) -> Leave {
        self.place.evicted.notified().await;
        if self.place.at_once.load(Ordering::Relaxed) { Leave::AtOnce } else { Leave::Gently }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut table = self.connections.table.lock();
        if table.leave(self.id).is_none() {
            table.leaving -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn connections(max: usize, per_client_max: usize) -> Arc<Connections> {
        Connections::new(&TcpSettings {
            connections_max: max,
            connections_per_client_max: per_client_max,
            ..TcpSettings::default()
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_evicted(admitted: &Admitted) -> bool {
        !admitted.connections.table.lock().places.contains_key(&admitted.id)
    }

    #[tokio::test]
    async fn the_longest_spare_makes_room_and_the_busy_never() {
        let connections = connections(2, 10);
        let (older, newer) =
            (connections.admit(ip("192.0.2.1")).unwrap(), connections.admit(ip("192.0.2.1")).unwrap());
        older.busy();
        newer.busy();
        assert_eq!(connections.admit(ip("192.0.2.2")).unwrap_err(), Refusal::Total);
        older.spare(connections.began + Duration::from_secs(1));
        newer.spare(connections.began + Duration::from_secs(2));
        let third = connections.admit(ip("192.0.2.2")).unwrap();
        assert!(third.evicted);
        assert_eq!(older.evicted().await, Leave::Gently);
        newer.busy();
        third.busy();
        drop(older);
        assert_eq!(connections.admit(ip("192.0.2.2")).unwrap_err(), Refusal::Total);
        drop(third);
        assert!(!connections.admit(ip("192.0.2.2")).unwrap().evicted);
        drop(newer);
        let table = connections.table.lock();
        assert!(table.places.is_empty() && table.clients.is_empty() && table.leaving == 0);
    }

    #[test]
    fn who_has_most_that_can_be_spared_makes_room() {
        let connections = connections(5, 10);
        let second = Duration::from_secs(1);
        let idle = connections.admit(ip("192.0.2.1")).unwrap();
        idle.spare(connections.began);
        let busy: Vec<_> = (0..2).map(|_| connections.admit(ip("192.0.2.2")).unwrap()).collect();
        busy.iter().for_each(Admitted::busy);
        let halves: Vec<_> = (0..2).map(|_| connections.admit(ip("192.0.2.3")).unwrap()).collect();
        halves[0].spare(connections.began + 5 * second);
        halves[1].spare(connections.began + 4 * second);
        let _new = connections.admit(ip("192.0.2.4")).unwrap();
        assert!(is_evicted(&halves[1]) && !is_evicted(&halves[0]) && !is_evicted(&idle));
        // Of clients that have the same the longest.
        let _newer = connections.admit(ip("192.0.2.5")).unwrap();
        assert!(is_evicted(&idle) && !is_evicted(&halves[0]));
    }

    #[test]
    fn a_client_may_have_so_many_and_the_longest_spare_of_its_own_makes_room() {
        let connections = connections(10, 2);
        let other = connections.admit(ip("192.0.2.2")).unwrap();
        other.spare(connections.began);
        let own: Vec<_> = (0..2).map(|_| connections.admit(ip("192.0.2.1")).unwrap()).collect();
        own.iter().for_each(Admitted::busy);
        assert_eq!(connections.admit(ip("192.0.2.1")).unwrap_err(), Refusal::Client);
        own[1].spare(connections.began + Duration::from_secs(1));
        let third = connections.admit(ip("192.0.2.1")).unwrap();
        assert!(is_evicted(&own[1]) && !is_evicted(&own[0]) && !is_evicted(&other));
        third.busy();
        assert_eq!(connections.admit(ip("192.0.2.1")).unwrap_err(), Refusal::Client);
        drop(own);
        assert!(!connections.admit(ip("192.0.2.1")).unwrap().evicted);
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one_client() {
        let connections = connections(100, 10);
        let address = |number: usize| ip(&format!("2001:db8::{number:x}"));
        let taken: Vec<_> = (0..10).map(|number| connections.admit(address(number)).unwrap()).collect();
        taken.iter().for_each(Admitted::busy);
        assert_eq!(connections.admit(address(10)).unwrap_err(), Refusal::Client);
        assert!(connections.admit(ip("2001:db8:0:1::1")).is_ok());
    }

    #[tokio::test]
    async fn few_leave_gently_at_once() {
        let connections = connections(32, 32);
        let gentle = TcpSettings { connections_max: 32, ..TcpSettings::default() }.leaving_max();
        let all: Vec<_> = (0..32).map(|_| connections.admit(ip("192.0.2.1")).unwrap()).collect();
        let _more: Vec<_> = (0..=gentle).map(|_| connections.admit(ip("192.0.2.2")).unwrap()).collect();
        for first in &all[..gentle] {
            assert_eq!(first.evicted().await, Leave::Gently);
        }
        assert_eq!(all[gentle].evicted().await, Leave::AtOnce);
    }
}
