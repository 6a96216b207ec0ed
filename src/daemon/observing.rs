//! Those who want to know of queries, as config says.

use std::net::IpAddr;
use std::sync::Arc;

use super::parts::Parts;
use crate::config::Config;
use crate::dns::NameRef;
use crate::observe::Observers;

/// Begins to tell of queries, to those whom config names.
pub(super) fn observe(parts: &Parts, config: &Config) -> Arc<Observers> {
    let store = Arc::clone(&parts.store);
    let zones = move |name: NameRef<'_>, client: IpAddr| {
        let snapshot = store.load();
        let view = snapshot.networks().view_of(client);
        snapshot.zone_for(name, view).map(|zone| zone.apex().clone())
    };
    let observers = Observers::new(Arc::clone(parts.responder.tap()), Arc::new(zones));
    observers.configure(&config.observe);
    Arc::new(observers)
}
