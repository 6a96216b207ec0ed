//! What operators have written, as far as this instance has applied it: from memory, for the door, lists and ETags.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::kept::{Kept, KeptSets, SetKey};
use super::scope::Scope;
use super::token::{KnownToken, TokenBook};
use super::who;
use crate::dns::{Name, RecordType};
use crate::forward::RuleSettings;
use crate::persist::{
    self, Change, Entry, Made, Stored, StoredChange, StoredForwarder, StoredToken, StoredZone, Subject,
};
use crate::zone::{OnMissing, Overlay, Snapshot, ZoneHeader, ZoneKind};

/// Shared by the applier, which alone writes it, and all who read.
// Whoever reads it together with the zones reads it first: an ETag may then be older than what is shown, never newer,
// and what is sent back with it is refused rather than lost.
#[derive(Default)]
pub struct Written {
    state: RwLock<WrittenState>,
    /// When each token was last used here, in seconds since 1970.
    used: Mutex<HashMap<Box<str>, u64>>,
    /// Why the store cannot be asked, as long as none of its revisions is known.
    away: Option<Arc<str>>,
}

/// What is written, at one revision.
#[derive(Default)]
pub struct WrittenState {
    pub revision: u64,
    zones: HashMap<Name, (StoredZone, u64)>,
    sets: HashMap<Name, KeptSets>,
    forwarders: BTreeMap<Name, (StoredForwarder, u64)>,
    tokens: HashMap<Arc<str>, (StoredToken, u64)>,
    serials: HashMap<Name, u32>,
    refused: BTreeMap<(Name, Name, RecordType), Arc<str>>,
    refused_zones: BTreeMap<Name, Arc<str>>,
    refused_rules: Option<Arc<str>>,
    bases: Bases,
}

/// The zones as config and catalogue make them, which operators' settings lie over.
#[derive(Clone, Debug, Default)]
pub struct Bases {
    pub zones: HashMap<Name, ZoneHeader>,
    /// Of private-link zones that config does not name.
    pub private_link_on_missing: Option<OnMissing>,
}

impl Written {
    /// What was stored when it was loaded.
    pub fn of(stored: &Stored) -> Written {
        Written { state: RwLock::new(WrittenState::of(stored)), used: Mutex::default(), away: None }
    }

    /// What was last known, while the store is away and nobody's token can be looked up.
    pub fn last_known(stored: Stored, why: &str) -> Written {
        Written { away: Some(why.into()), ..Written::of(&Stored { revision: 0, ..stored }) }
    }

    /// What operators wrote, without tokens.
    pub fn to_keep(&self) -> Stored {
        let state = self.read();
        let zones = state.zones.values().map(|(zone, revision)| (Entry::Zone(zone.clone()), *revision));
        let sets = state.sets.iter().flat_map(|(zone, sets)| {
            sets.iter().map(move |((name, _), kept)| {
                (Entry::RecordSet { zone: zone.clone(), name, set: kept.set.clone() }, kept.revision)
            })
        });
        let rules =
            state.forwarders.values().map(|(rule, revision)| (Entry::Forwarder(rule.clone()), *revision));
        let serials = state.serials.iter().map(|(zone, serial)| (zone.clone(), *serial)).collect();
        Stored { revision: state.revision, entries: zones.chain(sets).chain(rules).collect(), serials }
    }

    pub fn read(&self) -> RwLockReadGuard<'_, WrittenState> {
        self.state.read()
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, WrittenState> {
        self.state.write()
    }

    /// A zone of config as operators' settings make it. For whoever reads config, before its zones are committed.
    pub fn header_over(&self, base: &ZoneHeader) -> ZoneHeader {
        let state = self.read();
        state.zones.get(&base.apex).map_or_else(|| base.clone(), |(zone, _)| overlaid(zone, base.clone()))
    }

    /// Whether operators made this zone, so that it stays although config does not know it.
    pub fn makes(&self, apex: &Name) -> bool {
        self.read().zones.get(apex).is_some_and(|(zone, _)| matches!(zone.made, Made::ByRest(_)))
    }

    /// The rules of forwarding that operators made.
    pub fn rules(&self) -> Vec<RuleSettings> {
        let state = self.read();
        let rule = |stored: &StoredForwarder| {
            // What is stored was read when it was written; a newer program may have known more forms.
            let upstreams: Vec<_> = stored.upstreams.iter().filter_map(|text| text.parse().ok()).collect();
            let rule = RuleSettings {
                domain: stored.domain.clone(),
                upstreams,
                queries_per_second_max: stored.queries_per_second_max,
            };
            (!rule.upstreams.is_empty()).then_some(rule)
        };
        state.forwarders.values().filter_map(|(stored, _)| rule(stored)).collect()
    }

    /// How many zones and record sets are stored but not served.
    pub fn refused_count(&self) -> usize {
        let state = self.read();
        state.refused.len() + state.refused_zones.len()
    }

    /// When a token was last used here.
    pub fn last_used(&self, id: &str) -> Option<SystemTime> {
        self.used.lock().get(id).map(|secs| UNIX_EPOCH + Duration::from_secs(*secs))
    }
}

impl WrittenState {
    fn of(stored: &Stored) -> WrittenState {
        let mut state = WrittenState { revision: stored.revision, ..WrittenState::default() };
        for (entry, revision) in &stored.entries {
            state.put(entry, *revision);
        }
        state.serials = stored.serials.iter().cloned().collect();
        state
    }

    /// Goes on with all that is stored anew.
    pub fn replace(&mut self, stored: &Stored) {
        let bases = std::mem::take(&mut self.bases);
        *self = WrittenState { bases, ..WrittenState::of(stored) };
    }

    /// Zones that are no longer among what is stored.
    pub fn zones_gone(&self, stored: &Stored) -> Vec<Name> {
        let zones = stored.entries.iter().filter_map(|(entry, _)| match entry {
            Entry::Zone(zone) => Some(&zone.apex),
            _ => None,
        });
        let there: HashSet<&Name> = zones.collect();
        self.zones.keys().filter(|apex| !there.contains(apex)).cloned().collect()
    }

    /// Takes in a change.
    pub fn take(&mut self, change: &Change) {
        for one in &change.changes {
            match one {
                StoredChange::Put(entry) => self.put(entry, change.revision),
                StoredChange::Remove(subject) => self.remove(subject),
                StoredChange::ClearZone(apex) => {
                    self.sets.remove(apex);
                    self.refused.retain(|(zone, ..), _| zone != apex);
                }
            }
        }
        self.serials.extend(change.serials.iter().cloned());
        self.revision = change.revision;
    }

    fn put(&mut self, entry: &Entry, revision: u64) {
        match entry {
            Entry::Zone(zone) => {
                self.zones.insert(zone.apex.clone(), (zone.clone(), revision));
            }
            Entry::RecordSet { zone, name, set } => {
                let kept = Kept { set: set.clone(), revision };
                // Looked for first: of a million sets nearly all are in a zone that is known.
                match self.sets.get_mut(zone) {
                    Some(sets) => sets.put(name, kept),
                    None => {
                        let sets = self.sets.entry(zone.clone());
                        sets.or_insert_with(|| KeptSets::new(zone.clone())).put(name, kept);
                    }
                }
            }
            Entry::Forwarder(rule) => {
                self.forwarders.insert(rule.domain.clone(), (rule.clone(), revision));
            }
            Entry::Token(token) => {
                self.tokens.insert(token.id.clone(), (token.clone(), revision));
            }
            // What the holder of the sync lease shares is not an operator's.
            Entry::Document(_) => {}
        }
    }

    fn remove(&mut self, subject: &Subject) {
        match subject {
            Subject::Zone(apex) => {
                self.zones.remove(apex);
                self.refused_zones.remove(apex);
            }
            Subject::RecordSet { zone, name, rtype } => {
                if let Some(sets) = self.sets.get_mut(zone) {
                    sets.remove(name, *rtype);
                    if sets.len() == 0 {
                        self.sets.remove(zone);
                    }
                }
                self.serve_set(zone, name, *rtype);
            }
            Subject::Forwarder(domain) => {
                self.forwarders.remove(domain);
            }
            Subject::Token(id) => {
                self.tokens.remove(id);
            }
            Subject::Document(_) => {}
        }
    }

    pub fn zone(&self, apex: &Name) -> Option<&(StoredZone, u64)> {
        self.zones.get(apex)
    }

    pub fn zones(&self) -> impl Iterator<Item = &StoredZone> {
        self.zones.values().map(|(zone, _)| zone)
    }

    pub fn set(&self, zone: &Name, name: &Name, rtype: RecordType) -> Option<&Kept> {
        self.sets.get(zone)?.get(name, rtype)
    }

    /// The record sets of a zone in no order.
    pub fn sets(&self, zone: &Name) -> impl Iterator<Item = (SetKey, &Kept)> {
        self.sets.get(zone).into_iter().flat_map(KeptSets::iter)
    }

    /// How many record sets a zone has.
    pub fn sets_count(&self, zone: &Name) -> usize {
        self.sets.get(zone).map_or(0, KeptSets::len)
    }

    /// The types of the record sets at a name.
    pub fn types_of(&self, zone: &Name, name: &Name) -> Vec<RecordType> {
        self.sets.get(zone).map(|sets| sets.types_of(name)).unwrap_or_default()
    }

    /// The zones that have record sets.
    pub fn zones_with_sets(&self) -> impl Iterator<Item = &Name> {
        self.sets.keys()
    }

    pub fn serials(&self) -> impl Iterator<Item = (&Name, u32)> {
        self.serials.iter().map(|(zone, serial)| (zone, *serial))
    }

    /// The newest serial that was given to a zone.
    pub fn serial(&self, apex: &Name) -> Option<u32> {
        self.serials.get(apex).copied()
    }

    pub fn forwarder(&self, domain: &Name) -> Option<&(StoredForwarder, u64)> {
        self.forwarders.get(domain)
    }

    pub fn forwarders(&self) -> impl Iterator<Item = &(StoredForwarder, u64)> {
        self.forwarders.values()
    }

    pub fn token(&self, id: &str) -> Option<&(StoredToken, u64)> {
        self.tokens.get(id)
    }

    pub fn tokens(&self) -> impl Iterator<Item = &StoredToken> {
        self.tokens.values().map(|(token, _)| token)
    }

    /// The revision of an entry's last change.
    pub fn revision_of(&self, subject: &Subject) -> Option<u64> {
        match subject {
            Subject::Zone(apex) => self.zones.get(apex).map(|(_, revision)| *revision),
            Subject::RecordSet { zone, name, rtype } => {
                self.set(zone, name, *rtype).map(|kept| kept.revision)
            }
            Subject::Forwarder(domain) => self.forwarders.get(domain).map(|(_, revision)| *revision),
            Subject::Token(id) => self.tokens.get(id).map(|(_, revision)| *revision),
            Subject::Document(_) => None,
        }
    }

    /// Why a record set is not served.
    pub fn why_refused(&self, zone: &Name, name: &Name, rtype: RecordType) -> Option<&Arc<str>> {
        if self.refused.is_empty() {
            return None;
        }
        self.refused.get(&(zone.clone(), name.clone(), rtype))
    }

    /// Why a zone, or its settings, are not in force.
    pub fn why_zone_refused(&self, apex: &Name) -> Option<&Arc<str>> {
        self.refused_zones.get(apex)
    }

    /// All record sets that are not served, in order.
    pub fn refused(&self) -> impl Iterator<Item = (&Name, &Name, RecordType, &Arc<str>)> {
        self.refused.iter().map(|((zone, name, rtype), why)| (zone, name, *rtype, why))
    }

    /// The record sets of a zone that are not served, in order.
    pub fn refused_of<'s>(&'s self, apex: &'s Name) -> impl Iterator<Item = (&'s Name, RecordType)> {
        let of_zone = self.refused.range((apex.clone(), Name::root(), RecordType(0))..);
        of_zone.take_while(move |((zone, ..), _)| zone == apex).map(|((_, name, rtype), _)| (name, *rtype))
    }

    /// Zones that are not as they were written.
    pub fn refused_zones(&self) -> impl Iterator<Item = &Name> {
        self.refused_zones.keys()
    }

    pub fn refuse_set(&mut self, zone: &Name, name: &Name, rtype: RecordType, why: &str) {
        self.refused.insert((zone.clone(), name.clone(), rtype), why.into());
    }

    pub fn refuse_zone(&mut self, apex: &Name, why: &str) {
        self.refused_zones.insert(apex.clone(), why.into());
    }

    pub fn serve_set(&mut self, zone: &Name, name: &Name, rtype: RecordType) {
        if !self.refused.is_empty() {
            self.refused.remove(&(zone.clone(), name.clone(), rtype));
        }
    }

    /// Whether the rules of forwarding are not in force as they were written, and why.
    pub fn refuse_rules(&mut self, why: Option<&str>) {
        self.refused_rules = why.map(Arc::from);
    }

    pub fn why_rules_refused(&self) -> Option<&Arc<str>> {
        self.refused_rules.as_ref()
    }

    pub fn serve_zone(&mut self, apex: &Name) {
        self.refused_zones.remove(apex);
    }

    pub fn serve_all(&mut self) {
        self.refused.clear();
        self.refused_zones.clear();
    }

    pub fn set_bases(&mut self, bases: Bases) {
        self.bases = bases;
    }

    /// Keeps how a zone is without operators' settings, before these lie over it: sync makes zones that config does not
    /// name.
    pub fn learn_base(&mut self, header: ZoneHeader) {
        self.bases.zones.insert(header.apex.clone(), header);
    }

    pub fn knows_base(&self, apex: &Name) -> bool {
        self.bases.zones.contains_key(apex)
    }

    /// A zone without what operators set of it; `None` for one that only operators make.
    pub fn base_of(&self, apex: &Name, snapshot: &Snapshot) -> Option<ZoneHeader> {
        if let Some(base) = self.bases.zones.get(apex) {
            return Some(base.clone());
        }
        let is_made = self.zones.get(apex).is_some_and(|(zone, _)| matches!(zone.made, Made::ByRest(_)));
        let served = snapshot.zone(apex.borrow()).filter(|_| !is_made);
        served.map(|zone| zone.header().clone())
    }

    /// A private-link zone that nobody says anything of.
    pub fn usual(&self, apex: &Name) -> ZoneHeader {
        let mut header = ZoneHeader::private_link(apex.clone());
        header.on_missing = self.bases.private_link_on_missing.unwrap_or(header.on_missing);
        header
    }

    /// A zone as it is to be served; `None` when nobody makes it.
    pub fn header_of(&self, zone: &StoredZone, snapshot: &Snapshot) -> Option<ZoneHeader> {
        let made = match (self.bases.zones.get(&zone.apex), zone.made) {
            (Some(base), _) => base.clone(),
            (None, Made::ByRest(ZoneKind::Plain)) => ZoneHeader::plain(zone.apex.clone()),
            (None, Made::ByRest(ZoneKind::PrivateLink)) => self.usual(&zone.apex),
            (None, Made::Elsewhere) => self.base_of(&zone.apex, snapshot)?,
        };
        Some(overlaid(zone, made))
    }
}

/// A zone's header with an operator's settings over it.
fn overlaid(zone: &StoredZone, mut header: ZoneHeader) -> ZoneHeader {
    header.on_missing = zone.on_missing.unwrap_or(header.on_missing);
    if let Some(networks) = &zone.networks {
        header.networks.clone_from(networks);
    }
    header
}

impl Overlay for Written {
    fn made(&self) -> BTreeSet<Name> {
        let state = self.read();
        let made = state.zones().filter(|zone| matches!(zone.made, Made::ByRest(_)));
        made.map(|zone| zone.apex.clone()).collect()
    }

    fn header_over_learnt(&self, base: &ZoneHeader) -> ZoneHeader {
        let is_set = self.read().zone(&base.apex).is_some_and(|(zone, _)| zone.made == Made::Elsewhere);
        if is_set {
            self.write().learn_base(base.clone());
        }
        self.header_over(base)
    }
}

impl TokenBook for Written {
    fn find(&self, id: &str) -> Option<KnownToken> {
        let stored = self.read().tokens.get(id).map(|(token, _)| token.clone())?;
        let time = |secs: u64| UNIX_EPOCH + Duration::from_secs(secs);
        // A token whose scope or hash cannot be read opens nothing.
        let scope = if stored.zones.is_empty() { Scope::All } else { Scope::parse(&stored.zones).ok()? };
        Some(KnownToken {
            id: stored.id.to_string(),
            name: stored.name.to_string(),
            secret_sha256: (*stored.hash).try_into().ok()?,
            role: role(stored.role),
            scope,
            created: time(stored.created_secs),
            expires: stored.expires_secs.map(time),
            revoked: stored.revoked_secs.map(time),
        })
    }

    /// Every store has a revision: that of its first token.
    fn is_known(&self) -> bool {
        self.read().revision > 0
    }

    fn why_unknown(&self) -> Option<Arc<str>> {
        self.away.clone()
    }

    fn used(&self, id: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut used = self.used.lock();
        match used.get_mut(id) {
            Some(last) => *last = now,
            None => {
                used.insert(id.into(), now);
            }
        }
    }
}

/// The role as the door knows it.
pub fn role(stored: persist::Role) -> who::Role {
    match stored {
        persist::Role::Reader => who::Role::Reader,
        persist::Role::Operator => who::Role::Operator,
        persist::Role::Admin => who::Role::Admin,
    }
}

/// The role as it is stored.
pub fn stored_role(role: who::Role) -> persist::Role {
    match role {
        who::Role::Reader => persist::Role::Reader,
        who::Role::Operator => persist::Role::Operator,
        who::Role::Admin => persist::Role::Admin,
    }
}
