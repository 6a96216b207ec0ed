//! What zones and record sets look like as JSON.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use utoipa::ToSchema;

use super::edit::RecordSetBody;
use super::etag::Etag;
use super::found::FoundZone;
use super::kept::Kept;
use super::written::WrittenState;
use crate::dns::{Name, RecordType};
use crate::telemetry::when::rfc3339_of_secs;
use crate::zone::{
    Claim, Offer, OnMissing, Origin, Outcome, Slot, Snapshot, ViewId, Zone, ZoneHeader, ZoneKind,
};

/// A tag as text.
pub fn etag_text<S: Serializer>(etag: &Option<Etag>, output: S) -> Result<S::Ok, S::Error> {
    etag.as_ref().map(Etag::to_string).serialize(output)
}

/// A zone.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ZoneView {
    #[schema(example = "corp.internal.")]
    pub name: String,
    pub kind: KindWord,
    pub on_missing: OnMissingWord,
    /// The networks that see it; none = all.
    #[schema(value_type = Vec<String>, example = json!(["hub-westeurope"]))]
    pub networks: Vec<Arc<str>>,
    pub made_by: MadeBy,
    /// What operators set by this API; the rest is the zone's own.
    pub settings: ZoneSettings,
    /// Whether it is in force as written; a private-link zone without records is as if it were not there.
    pub served: bool,
    /// Why it, or its settings, are not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub why_not_served: Option<Arc<str>>,
    pub serial: u32,
    /// Record sets, but for SOA and NS of the apex.
    pub record_sets: usize,
    /// Record sets that operators wrote by this API.
    pub record_sets_by_rest: usize,
    /// Offers of record sets by origin; of one zone only, not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origins: Option<OriginCounts>,
    /// For `If-Match`.
    #[serde(serialize_with = "etag_text", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, example = "\"17\"")]
    pub etag: Option<Etag>,
}

/// How many offers there are of each origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct OriginCounts {
    pub rest: usize,
    pub file: usize,
    pub endpoint: usize,
    pub update: usize,
    pub transfer: usize,
    pub azure_zone: usize,
    pub built_in: usize,
}

/// Settings that lie over a zone's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ZoneSettings {
    pub on_missing: Option<OnMissingWord>,
    #[schema(value_type = Option<Vec<String>>)]
    pub networks: Option<Vec<Arc<str>>>,
}

/// What kind of zone it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KindWord {
    PrivateLink,
    Plain,
}

/// What a miss in a zone means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnMissingWord {
    AskPublic,
    #[serde(rename = "nxdomain")]
    NxDomain,
}

/// Who makes a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MadeBy {
    /// Operators, by this API.
    Rest,
    /// Config, the catalogue, or sync.
    Config,
}

/// A record set.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RecordSetView {
    #[schema(example = "corp.internal.")]
    pub zone: String,
    /// Relative to the zone; `@` for its apex.
    #[schema(example = "www")]
    pub name: String,
    #[schema(example = "www.corp.internal.")]
    pub fqdn: String,
    #[serde(rename = "type")]
    #[schema(example = "A")]
    pub rtype: String,
    #[schema(example = 300)]
    pub ttl: i64,
    #[schema(example = json!(["10.0.0.4"]))]
    pub records: Vec<String>,
    pub origin: OriginView,
    pub served: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not_served: Option<String>,
    /// What endpoints, files and others say here, and this record set goes before. DELETE takes an operator's record
    /// set back, and the best of these is served again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<OfferView>,
    /// Networks that are served something else, because endpoints contest the name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_network: Vec<NetworkOfferView>,
    /// For `If-Match`.
    #[serde(serialize_with = "etag_text", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, example = "\"17\"")]
    pub etag: Option<Etag>,
}

/// One offer of a record set.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct OfferView {
    pub ttl: i64,
    pub records: Vec<String>,
    pub origin: OriginView,
}

/// What a network is served.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct NetworkOfferView {
    #[schema(value_type = String)]
    pub network: Arc<str>,
    pub ttl: i64,
    pub records: Vec<String>,
    pub origin: OriginView,
}

/// Where a record set comes from.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct OriginView {
    pub kind: OriginWord,
    /// The private endpoint that claims the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<ClaimView>,
    /// The ARM id of the private DNS zone that it is imported from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub azure_zone: Option<Arc<str>>,
}

/// Who put a record set there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OriginWord {
    Rest,
    File,
    Endpoint,
    Update,
    Transfer,
    AzureZone,
    BuiltIn,
}

/// One private endpoint's claim.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ClaimView {
    /// Its ARM id, in lower case.
    #[schema(value_type = String)]
    pub id: Arc<str>,
    #[schema(value_type = Option<String>)]
    pub virtual_network: Option<Arc<str>>,
    #[schema(value_type = String)]
    pub subscription: Arc<str>,
    #[schema(value_type = Option<String>)]
    pub resource: Option<Arc<str>>,
    /// The sync source that listed it.
    #[schema(value_type = String)]
    pub source: Arc<str>,
    #[schema(example = "2026-07-01T12:01:09Z")]
    pub since: String,
}

impl ZoneView {
    /// A zone as it is served and written; `None` when neither.
    pub fn of(apex: &Name, state: &WrittenState, snapshot: &Snapshot) -> Option<ZoneView> {
        let found = FoundZone::of(apex, state, snapshot);
        if !found.is_there() && !found.has_content() {
            return None;
        }
        let is_made = found.is_made();
        let FoundZone { served, stored, sets: by_rest } = found;
        let header = match served {
            Some(zone) => zone.header().clone(),
            None => stored
                .and_then(|(stored, _)| state.header_of(stored, snapshot))
                .unwrap_or_else(|| ZoneHeader::plain(apex.clone())),
        };
        let settings = stored.map(|(stored, _)| ZoneSettings {
            on_missing: stored.on_missing.map(OnMissingWord::from),
            networks: stored.networks.clone(),
        });
        let why = state.why_zone_refused(apex).cloned();
        let why = why.or_else(|| served.is_none().then(|| "nobody makes this zone any more".into()));
        let is_visible = served.is_some_and(|zone| zone.content() > 0 || header.kind == ZoneKind::Plain);
        let mut view = ZoneView {
            name: apex.to_string(),
            kind: header.kind.into(),
            on_missing: header.on_missing.into(),
            networks: header.networks,
            made_by: if is_made { MadeBy::Rest } else { MadeBy::Config },
            settings: settings.unwrap_or_default(),
            served: is_visible && why.is_none(),
            why_not_served: why,
            serial: served.map_or(0, |zone| zone.serial()),
            record_sets: served.map_or(0, |zone| zone.content()),
            record_sets_by_rest: by_rest,
            origins: None,
            etag: None,
        };
        view.etag = Some(match stored {
            Some((_, revision)) => Etag::of_revision(*revision),
            None => {
                // Of what PATCH changes: records that come and go do not make another zone of it.
                let shown = json!([view.name, view.kind, view.on_missing, view.networks]);
                Etag::of_content(shown.to_string().as_bytes())
            }
        });
        Some(view)
    }
}

impl OriginCounts {
    /// Counts all offers; takes a while in a zone of a million.
    pub fn of(zone: &Zone) -> OriginCounts {
        let mut counts = OriginCounts::default();
        for offer in zone.nodes().flat_map(|(_, node)| node.slots()).flat_map(Slot::offers) {
            *match OriginWord::of(&offer.origin) {
                OriginWord::Rest => &mut counts.rest,
                OriginWord::File => &mut counts.file,
                OriginWord::Endpoint => &mut counts.endpoint,
                OriginWord::Update => &mut counts.update,
                OriginWord::Transfer => &mut counts.transfer,
                OriginWord::AzureZone => &mut counts.azure_zone,
                OriginWord::BuiltIn => &mut counts.built_in,
            } += 1;
        }
        counts
    }
}

/// One name and type of a zone, as it is served and written.
#[derive(Clone, Copy)]
pub struct Shown<'s> {
    pub apex: &'s Name,
    pub name: &'s Name,
    pub rtype: RecordType,
    pub state: &'s WrittenState,
    pub snapshot: &'s Snapshot,
}

impl<'s> Shown<'s> {
    fn zone(&self) -> Option<&'s Arc<Zone>> {
        self.snapshot.zone(self.apex.borrow())
    }

    pub fn slot(&self) -> Option<&'s Slot> {
        self.zone()?.node(self.name.borrow())?.slot(self.rtype)
    }

    pub fn kept(&self) -> Option<&'s Kept> {
        self.state.set(self.apex, self.name, self.rtype)
    }

    /// `None` when nothing is there.
    pub fn view(&self) -> Option<RecordSetView> {
        let (slot, kept) = (self.slot(), self.kept());
        let refused = kept.and_then(|_| self.state.why_refused(self.apex, self.name, self.rtype));
        let own = kept.filter(|_| refused.is_some() || slot.is_none());
        let (body, origin) = match (own, slot) {
            (Some(kept), _) => (RecordSetBody::of(&kept.set), OriginView::of(&Origin::Rest)),
            (None, Some(slot)) => {
                let offer = slot.served(ViewId::NONE);
                (RecordSetBody::of(&offer.set), OriginView::of(&offer.origin))
            }
            (None, None) => return None,
        };
        let why = match (refused, slot) {
            (Some(why), _) => Some(why.to_string()),
            // A change leaves it out, and why is noted behind the change.
            (None, None) if self.zone().is_some() => Some("a change of its zone is under way".to_owned()),
            (None, None) => Some("its zone is not served".to_owned()),
            (None, Some(_)) => self.why_hidden(),
        };
        let offers = slot.map_or(&[][..], Slot::offers);
        let shown = own.is_none().then(|| slot.map(|slot| slot.served(ViewId::NONE))).flatten();
        // Claims beside each other are no overrides: who is served which is said by network.
        let is_override = !matches!(origin.kind, OriginWord::Endpoint | OriginWord::AzureZone);
        let overrides =
            offers.iter().filter(|offer| is_override && shown.is_none_or(|shown| *offer != shown));
        let mut view = RecordSetView {
            zone: self.apex.to_string(),
            name: self.name.borrow().relative_to(self.apex.borrow()),
            fqdn: self.name.to_string(),
            rtype: self.rtype.to_string(),
            ttl: body.ttl,
            records: body.records,
            served: why.is_none(),
            why_not_served: why,
            overrides: overrides.map(OfferView::of).collect(),
            by_network: slot.filter(|_| own.is_none()).map(|slot| self.by_network(slot)).unwrap_or_default(),
            origin,
            etag: None,
        };
        view.etag = Some(self.etag_of(&view));
        Some(view)
    }

    fn etag_of(&self, view: &RecordSetView) -> Etag {
        match self.kept() {
            Some(kept) => Etag::of_revision(kept.revision),
            None => {
                let shown = serde_json::to_vec(view).expect("words and numbers are always JSON");
                Etag::of_content(&shown)
            }
        }
    }

    /// The state that a write may name; `None` when nothing is there.
    pub fn etag(&self) -> Option<Etag> {
        if let Some(kept) = self.kept() {
            return Some(Etag::of_revision(kept.revision));
        }
        self.view().map(|view| self.etag_of(&RecordSetView { etag: None, ..view }))
    }

    /// Why clients do not see what is there.
    fn why_hidden(&self) -> Option<String> {
        let zone = self.zone()?;
        match zone.lookup(self.name.borrow(), self.rtype, ViewId::NONE) {
            Outcome::Alias(_) | Outcome::NoData => Some(format!(
                "the CNAME of {} goes before it",
                self.name.borrow().relative_to(self.apex.borrow())
            )),
            Outcome::Dname { owner, .. } => Some(format!("it lies below the DNAME of {owner}")),
            Outcome::Referral { cut, .. } if cut != *self.name || self.rtype != RecordType::NS => {
                Some(format!("it lies below the delegation of {cut}, and is told as glue only"))
            }
            Outcome::Hit(_) | Outcome::Referral { .. } | Outcome::NoSuchName => None,
        }
    }

    fn by_network(&self, slot: &Slot) -> Vec<NetworkOfferView> {
        let usual = slot.served(ViewId::NONE);
        let networks = self.snapshot.networks().iter();
        let others = networks.filter_map(|(view, network)| {
            let offer = slot.served(view);
            (offer != usual).then(|| {
                let OfferView { ttl, records, origin } = OfferView::of(offer);
                NetworkOfferView { network: network.name.clone(), ttl, records, origin }
            })
        });
        others.collect()
    }
}

impl OfferView {
    pub fn of(offer: &Offer) -> OfferView {
        let RecordSetBody { ttl, records } = RecordSetBody::of(&offer.set);
        OfferView { ttl, records, origin: OriginView::of(&offer.origin) }
    }
}

impl OriginView {
    fn of(origin: &Origin) -> OriginView {
        let endpoint = match origin {
            Origin::Endpoint(claim) => Some(ClaimView::of(claim)),
            _ => None,
        };
        let azure_zone = match origin {
            Origin::AzureZone(zone) => Some(zone.id.clone()),
            _ => None,
        };
        OriginView { kind: OriginWord::of(origin), endpoint, azure_zone }
    }
}

impl OriginWord {
    pub fn of(origin: &Origin) -> OriginWord {
        match origin {
            Origin::BuiltIn => OriginWord::BuiltIn,
            Origin::File => OriginWord::File,
            Origin::Rest => OriginWord::Rest,
            Origin::Update => OriginWord::Update,
            Origin::Transfer => OriginWord::Transfer,
            Origin::Endpoint(_) => OriginWord::Endpoint,
            Origin::AzureZone(_) => OriginWord::AzureZone,
        }
    }
}

impl ClaimView {
    fn of(claim: &Claim) -> ClaimView {
        ClaimView {
            id: claim.endpoint.clone(),
            virtual_network: claim.virtual_network.clone(),
            subscription: claim.subscription.clone(),
            resource: claim.resource.clone(),
            source: claim.source.clone(),
            since: rfc3339_of_secs(claim.since_secs),
        }
    }
}

impl From<ZoneKind> for KindWord {
    fn from(kind: ZoneKind) -> KindWord {
        match kind {
            ZoneKind::PrivateLink => KindWord::PrivateLink,
            ZoneKind::Plain => KindWord::Plain,
        }
    }
}

impl From<KindWord> for ZoneKind {
    fn from(kind: KindWord) -> ZoneKind {
        match kind {
            KindWord::PrivateLink => ZoneKind::PrivateLink,
            KindWord::Plain => ZoneKind::Plain,
        }
    }
}

impl From<OnMissing> for OnMissingWord {
    fn from(on_missing: OnMissing) -> OnMissingWord {
        match on_missing {
            OnMissing::AskPublic => OnMissingWord::AskPublic,
            OnMissing::NxDomain => OnMissingWord::NxDomain,
        }
    }
}

impl From<OnMissingWord> for OnMissing {
    fn from(on_missing: OnMissingWord) -> OnMissing {
        match on_missing {
            OnMissingWord::AskPublic => OnMissing::AskPublic,
            OnMissingWord::NxDomain => OnMissing::NxDomain,
        }
    }
}
