//! How many TCP connections there may be, and who makes room.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// All connections of the listeners.
#[derive(Debug)]
pub struct Connections {
    max: usize,
    per_client_max: usize,
    began: Instant,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    places: HashMap<u64, Arc<Place>>,
    by_client: HashMap<IpAddr, usize>,
    next_id: u64,
}

/// One connection's place in the table; it is free again when this is dropped.
#[derive(Debug)]
pub struct Admitted {
    connections: Arc<Connections>,
    place: Arc<Place>,
    id: u64,
    client: IpAddr,
    /// Whether an idle connection was told to make room for this one.
    pub evicted: bool,
}

#[derive(Debug)]
struct Place {
    /// Milliseconds after `began`; `BUSY` while a request is read, answered or written.
    idle_since_ms: AtomicU64,
    evicted: Notify,
}

const BUSY: u64 = u64::MAX;

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// All connections are busy.
    Total,
    /// This client has as many as it may.
    Client,
}

impl Connections {
    pub fn new(max: usize, per_client_max: usize) -> Arc<Connections> {
        Arc::new(Connections { max, per_client_max, began: Instant::now(), table: Mutex::default() })
    }

    /// Gives `client` a place, taking it from the connection that is idle for longest if there is no other.
    // To refuse instead would let whoever opens the table full, and says nothing, keep everyone out.
    pub fn admit(self: &Arc<Self>, client: IpAddr) -> Result<Admitted, Refusal> {
        let mut table = self.table.lock();
        if table.by_client.get(&client).is_some_and(|&count| count >= self.per_client_max) {
            return Err(Refusal::Client);
        }
        let evicted = table.places.len() >= self.max;
        if evicted {
            let victim = table.longest_idle().ok_or(Refusal::Total)?;
            let place = table.places.remove(&victim).ok_or(Refusal::Total)?;
            place.evicted.notify_one();
        }
        let id = table.next_id;
        table.next_id += 1;
        let place = Arc::new(Place { idle_since_ms: AtomicU64::new(BUSY), evicted: Notify::new() });
        table.places.insert(id, place.clone());
        *table.by_client.entry(client).or_default() += 1;
        drop(table);
        Ok(Admitted { connections: self.clone(), place, id, client, evicted })
    }
}

impl Table {
    fn longest_idle(&self) -> Option<u64> {
        let idle = self.places.iter().map(|(&id, place)| (place.idle_since_ms.load(Ordering::Relaxed), id));
        idle.filter(|&(since, _)| since != BUSY).min().map(|(_, id)| id)
    }
}

impl Admitted {
    /// Says that nothing has been under way since `since`.
    pub fn idle(&self, since: Instant) {
        let since_ms = since.duration_since(self.connections.began).as_millis() as u64;
        self.place.idle_since_ms.store(since_ms, Ordering::Relaxed);
    }

    pub fn busy(&self) {
        self.place.idle_since_ms.store(BUSY, Ordering::Relaxed);
    }

    /// Waits until this connection shall make room for another.
    pub async fn evicted(&self) {
        self.place.evicted.notified().await;
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut table = self.connections.table.lock();
        table.places.remove(&self.id);
        if let Some(count) = table.by_client.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                table.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn a_client_may_have_so_many_and_others_still_get_theirs() {
        let connections = Connections::new(10, 2);
        let first = connections.admit(A).unwrap();
        let _second = connections.admit(A).unwrap();
        assert_eq!(connections.admit(A).unwrap_err(), Refusal::Client);
        let _other = connections.admit(B).unwrap();
        drop(first);
        assert!(connections.admit(A).is_ok());
    }

    #[tokio::test]
    async fn the_longest_idle_makes_room_and_the_busy_never() {
        let connections = Connections::new(2, 10);
        let older = connections.admit(A).unwrap();
        let newer = connections.admit(A).unwrap();
        assert_eq!(connections.admit(B).unwrap_err(), Refusal::Total);
        older.idle(connections.began + Duration::from_secs(1));
        newer.idle(connections.began + Duration::from_secs(2));
        let third = connections.admit(B).unwrap();
        assert!(third.evicted);
        older.evicted().await;
        newer.busy();
        drop(older);
        assert_eq!(connections.admit(B).unwrap_err(), Refusal::Total);
        drop(third);
        assert!(!connections.admit(B).unwrap().evicted);
        drop(newer);
        let table = connections.table.lock();
        assert!(table.places.is_empty() && table.by_client.is_empty());
    }
}
