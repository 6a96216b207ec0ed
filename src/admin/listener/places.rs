//! Places for connections: so many in all, so many of one client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::admin::settings::Limits;
use crate::dns::ClientHost;

/// Connections by client; it has no more entries than connections.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    all: usize,
    by_client: HashMap<ClientHost, usize>,
}

/// The place of one connection, free again when dropped.
pub(super) struct Place {
    places: Places,
    client: ClientHost,
}

impl Places {
    pub(super) fn take(&self, client: IpAddr, limits: &Limits) -> Option<Place> {
        let client = ClientHost::of(client);
        let mut taken = self.0.lock();
        let own = taken.by_client.get(&client).copied().unwrap_or_default();
        if taken.all >= limits.connections || own >= limits.connections_per_client {
            return None;
        }
        taken.all += 1;
        taken.by_client.insert(client, own + 1);
        Some(Place { places: self.clone(), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        taken.all -= 1;
        if let Some(own) = taken.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                taken.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_cannot_take_all_places_and_left_ones_are_free_again() {
        let limits = Limits { connections: 3, connections_per_client: 2, ..Limits::default() };
        let places = Places::default();
        let take = |client: &str| places.take(client.parse().unwrap(), &limits);
        let one = [take("10.0.0.1"), take("10.0.0.1")];
        assert!(one.iter().all(Option::is_some));
        assert!(take("10.0.0.1").is_none());
        let other = take("10.0.0.2");
        assert!(other.is_some() && take("10.0.0.3").is_none());
        drop(one);
        assert!(take("10.0.0.1").is_some());
        drop(other);
        assert!(places.0.lock().by_client.is_empty());
    }
}
