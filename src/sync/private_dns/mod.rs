//! Azure's private DNS zones, imported: their record sets, and what their links say of networks and misses.

mod header;
mod plan;
mod record_set;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::arm::{Item, ZoneLink};
use super::inventory::Warning;
use crate::dns::{Name, NameError, RecordType};
use crate::zone::{AzureZone, OnMissing, VirtualNetworkLink};

pub use header::{Remark, imported_header, is_ours, is_public_suffix};
pub(super) use plan::{azure_offers, plan_zones};
pub use record_set::{ImportedSet, LeftOut};

/// Record sets of one zone: Azure's own limit.
pub const RECORD_SETS_MAX: usize = 25_000;

/// Links of one zone: Azure's own limit.
const LINKS_MAX: usize = 1000;

/// Remarks on record sets of one zone: more would say the same.
const WARNINGS_MAX: usize = 20;

/// A private DNS zone of Azure, all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateZone {
    pub apex: Name,
    pub azure: Arc<AzureZone>,
    /// In the order of names.
    pub record_sets: Vec<ImportedSet>,
    pub warnings: Vec<Warning>,
}

/// Why a zone cannot be read, or not for now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrivateZoneError {
    #[error("`{name}` is no domain name: {cause}")]
    Name { name: Arc<str>, cause: NameError },
    #[error("the listing tells of {id}, which belongs elsewhere")]
    Stranger { id: Arc<str> },
    #[error("the listing changed while it was read: {id} is there twice")]
    Duplicate { id: Arc<str> },
    #[error("it has more than {max} {what}, which Azure does not allow")]
    TooMany { max: usize, what: &'static str },
    #[error("{id}: {cause}")]
    Shape { id: Arc<str>, cause: String },
}

/// A zone in the making: pages go in one after the other.
#[derive(Debug)]
pub struct ZoneReader {
    apex: Name,
    azure: AzureZone,
    ids: BTreeSet<Arc<str>>,
    sets: BTreeMap<(Name, RecordType), ImportedSet>,
    warnings: Vec<Warning>,
    left_out: usize,
}

impl ZoneReader {
    /// Begins with the zone's own item.
    pub fn new(zone: &Item, source: &Arc<str>) -> Result<ZoneReader, PrivateZoneError> {
        let (id, name) = (zone.id.shared(), zone.name());
        let is_zone = zone.id.resource_type().as_deref() == Some("microsoft.network/privatednszones");
        let Some(subscription) = zone.id.subscription().filter(|_| is_zone) else {
            return Err(PrivateZoneError::Stranger { id });
        };
        let is_name = name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'@'));
        let apex = name.parse::<Name>();
        let apex = apex.and_then(|apex| match is_name && !apex.borrow().is_root() {
            true => Ok(apex),
            false => Err(NameError::EmptyLabel),
        });
        let subscription = Arc::from(subscription);
        let apex = apex.map_err(|cause| PrivateZoneError::Name { name, cause })?;
        let azure = AzureZone { id, subscription, links: Vec::new(), source: Arc::clone(source) };
        let (ids, sets) = (BTreeSet::new(), BTreeMap::new());
        Ok(ZoneReader { apex, azure, ids, sets, warnings: Vec::new(), left_out: 0 })
    }

    /// Takes a record set. One that no zone can hold is left out; one that should not be there at all is an error.
    pub fn record_set(&mut self, item: &Item) -> Result<(), PrivateZoneError> {
        self.is_own_and_new(item)?;
        if self.ids.len() > RECORD_SETS_MAX {
            return Err(PrivateZoneError::TooMany { max: RECORD_SETS_MAX, what: "record sets" });
        }
        let told = match item.record_set() {
            Ok(told) => told,
            Err(cause) => {
                self.leave_out(item.name(), "?".into(), LeftOut::Shape(cause));
                return Ok(());
            }
        };
        match ImportedSet::read(&told, &self.apex) {
            Ok(None) => {}
            Err(why) => self.leave_out(told.name, told.record_type, why),
            Ok(Some(set)) => {
                // Two ids may be one name: `a` and `a.corp.internal.`.
                if self.sets.insert((set.name.clone(), set.set.rtype), set).is_some() {
                    return Err(PrivateZoneError::Duplicate { id: item.id.shared() });
                }
            }
        }
        Ok(())
    }

    /// Takes a link.
    pub fn link(&mut self, item: &Item) -> Result<(), PrivateZoneError> {
        self.is_own_and_new(item)?;
        let shape = |cause| PrivateZoneError::Shape { id: item.id.shared(), cause };
        let Some(ZoneLink { virtual_network, resolution_policy }) = item.link().map_err(shape)? else {
            return Ok(());
        };
        if self.azure.links.len() >= LINKS_MAX {
            return Err(PrivateZoneError::TooMany { max: LINKS_MAX, what: "links" });
        }
        let redirects = resolution_policy.is_some_and(|it| it.eq_ignore_ascii_case("NxDomainRedirect"));
        let on_missing = if redirects { OnMissing::AskPublic } else { OnMissing::NxDomain };
        self.azure.links.push(VirtualNetworkLink { virtual_network: virtual_network.shared(), on_missing });
        Ok(())
    }

    /// The zone, all of it.
    pub fn finish(mut self) -> PrivateZone {
        let aliases: Vec<Name> = self.sets.keys().filter_map(alias).cloned().collect();
        for name in aliases {
            let beside =
                self.sets.range((name.clone(), RecordType(0))..=(name.clone(), RecordType(u16::MAX)));
            if beside.count() > 1 {
                self.sets.remove(&(name.clone(), RecordType::CNAME));
                let owner = name.borrow().relative_to(self.apex.borrow());
                self.leave_out(owner.into(), "CNAME".into(), LeftOut::BesideCname);
            }
        }
        if self.left_out > WARNINGS_MAX {
            let (zone, more) = (Arc::clone(&self.azure.id), self.left_out - WARNINGS_MAX);
            self.warnings.push(Warning::MoreRecordSets { zone, more });
        }
        // The order of a listing is not told to be any; without it each pass would find the links changed.
        self.azure.links.sort_by(|a, b| a.virtual_network.cmp(&b.virtual_network));
        PrivateZone {
            apex: self.apex,
            azure: Arc::new(self.azure),
            record_sets: self.sets.into_values().collect(),
            warnings: self.warnings,
        }
    }

    fn is_own_and_new(&mut self, item: &Item) -> Result<(), PrivateZoneError> {
        let id = item.id.shared();
        let is_own = id.strip_prefix(&*self.azure.id).is_some_and(|rest| rest.starts_with('/'));
        if !is_own {
            return Err(PrivateZoneError::Stranger { id });
        }
        if !self.ids.insert(Arc::clone(&id)) {
            return Err(PrivateZoneError::Duplicate { id });
        }
        Ok(())
    }

    fn leave_out(&mut self, name: Arc<str>, record_type: Arc<str>, why: LeftOut) {
        self.left_out += 1;
        if self.left_out <= WARNINGS_MAX {
            let zone = Arc::clone(&self.azure.id);
            self.warnings.push(Warning::RecordSet { zone, name, record_type, why });
        }
    }
}

fn alias((name, rtype): &(Name, RecordType)) -> Option<&Name> {
    (*rtype == RecordType::CNAME).then_some(name)
}
