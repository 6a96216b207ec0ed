//! How endpoints' records are published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use crate::dns::{Name, Ttl};
use crate::zone::{OnMissing, ZoneHeader};

/// How endpoints' records are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishSettings {
    /// Azure's zone groups give their records ten seconds.
    pub ttl: Ttl,
    /// For the zones that the first endpoint in them makes.
    pub on_missing: OnMissing,
    /// Selectors of the zones that may be published into: words of the catalogue, and names of zones that it lacks.
    pub zones: Vec<String>,
    /// Only these addresses may be published; none = all that an interface can have.
    pub addresses: Vec<IpNet>,
    /// Zones that operators have made.
    pub made: BTreeSet<Name>,
    /// Ids of the subscriptions whose endpoints may publish; none = all.
    pub allow_subscriptions: Vec<Arc<str>>,
    /// The share of a source's record sets that a pass may withdraw without being asked.
    pub withdraw_max_percent: u8,
    /// Zones that config speaks of by name: their settings are not those of Azure's links.
    pub configured: BTreeMap<Name, ZoneHeader>,
}

impl Default for PublishSettings {
    fn default() -> PublishSettings {
        let ttl = Ttl::from_secs(10).expect("ten seconds are a lifetime");
        PublishSettings {
            ttl,
            on_missing: OnMissing::AskPublic,
            zones: vec!["all".to_owned()],
            addresses: Vec::new(),
            made: BTreeSet::new(),
            allow_subscriptions: Vec::new(),
            withdraw_max_percent: 30,
            configured: BTreeMap::new(),
        }
    }
}
