//! What the API asks of the running server, and what it is told. The daemon implements it.

use std::fs::File;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::readiness::Readiness;
use super::top_report::TopReport;
use crate::cache::{self, Listed};
use crate::dns::{Name, QueryFlags, Question, Rcode, Record};
use crate::ledger::listing::is_like;
use crate::privatelink::Catalogue;
use crate::sources::{ConfirmError, NudgeError};
use crate::sync::Fingerprint;
use crate::zone::Store;

/// The running server.
pub trait Server: Send + Sync + 'static {
    /// Whether clients are to be sent here, and what is not as it should be.
    fn readiness(&self) -> Readiness;

    /// The zones.
    fn store(&self) -> &Arc<Store>;

    /// Azure's zones and names.
    fn catalogue(&self) -> Arc<Catalogue>;

    /// Client networks that met a limit in the last day, the heaviest first.
    fn limits_met(&self) -> Vec<LimitMetReport>;

    /// What clients asked in the last seconds. It may block.
    fn top(&self) -> TopReport;

    /// Every source that inventories are read from, in the order of their names.
    fn sync(&self) -> SyncReport;

    /// Private endpoints as they were last listed, in the order of [`EndpointReport::key`]. It may take long: call it
    /// where it may block.
    fn endpoints(&self, wanted: &WantedEndpoints) -> Vec<EndpointReport>;

    /// Begins a pass of one source, or of all; one that is under way is followed by another. Answers the sources. It may
    /// block: another instance may be the one that lists.
    fn nudge(&self, source: Option<&str>) -> Result<Vec<String>, NudgeError>;

    /// Lets exactly this plan of a source pass that is held back, and begins the pass. It may block.
    fn confirm(&self, source: &str, plan: Fingerprint) -> Result<(), ConfirmError>;

    /// Entries of the cache, in the order of their places. It may block.
    fn cached(&self, wanted: &WantedEntries) -> Vec<Listed>;

    /// Forgets what is cached of a name and all below it, or everything; answers how many entries that were.
    fn flush(&self, name: Option<&Name>) -> usize;

    /// Makes a backup, and answers the file; else why there is none and what to do.
    fn backup(&self) -> BackingUp;

    /// Answers a question as a client would ask it, and tells each step.
    fn explain(&self, question: Question, flags: QueryFlags, client: IpAddr) -> Explaining;
}

/// A backup in the making.
pub type BackingUp = Pin<Box<dyn Future<Output = Result<File, String>> + Send>>;

/// An explanation in the making.
pub type Explaining = Pin<Box<dyn Future<Output = Explained> + Send>>;

/// A client network that met a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LimitMetReport {
    /// A /24 of IPv4 or a /56 of IPv6.
    #[schema(example = "10.1.2.0/24")]
    pub network: String,
    pub limit: LimitWord,
    /// Queries that were not asked upstream, or not answered.
    pub queries: u64,
    /// When it last met it.
    #[schema(example = "2026-07-01T12:01:09Z")]
    pub last: String,
}

/// Which limit a client network met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LimitWord {
    /// `limits.wait_limit` of its queries waited.
    WaitLimit,
    /// It had its share of all that waited.
    Share,
    /// Its replies would have come in one pulse, and some too late.
    Pace,
}

/// The steps to an answer, and the answer.
#[derive(Clone, Debug)]
pub struct Explained {
    pub steps: Vec<String>,
    /// `None` if the client gets no reply.
    pub reply: Option<ExplainedReply>,
}

/// The reply of an explanation.
#[derive(Clone, Debug)]
pub struct ExplainedReply {
    pub rcode: Rcode,
    pub answer: Vec<Record>,
    pub authority: Vec<Record>,
}

/// Which entries of the cache are wanted.
#[derive(Clone, Debug)]
pub struct WantedEntries {
    /// With all below it.
    pub name: Name,
    pub after: Option<cache::Cursor>,
    pub limit: usize,
}

/// Where every source stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct SyncReport {
    pub sources: Vec<SourceReport>,
    /// Names that private endpoints contest.
    pub conflicts: usize,
    pub drift: DriftReport,
    /// Why a restart would not know what is served now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Record sets of Azure's private DNS zones that contradict the private endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct DriftReport {
    pub count: usize,
    /// The first of them, with what to do.
    pub first: Vec<String>,
}

/// Where one source stands.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SourceReport {
    #[schema(example = "azure")]
    pub name: String,
    pub kind: SourceKind,
    /// Whether this instance lists it, or follows another that does.
    pub role: SourceRole,
    /// The host of the other one, once that was heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "dns-1")]
    pub listed_by: Option<String>,
    pub state: SourceStateWord,
    /// Since when it is in this state.
    #[schema(example = "2026-07-01T12:01:09Z")]
    pub since: String,
    /// Why it is not current.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When all of what is published of it was last listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_secs: Option<u64>,
    /// Names that it publishes.
    pub names: usize,
    /// Names that are not published because of their zone.
    pub names_not_served: usize,
    /// Zones that it publishes into although the catalogue lacks them: zone groups or names tell them.
    #[schema(example = json!(["privatelink.newservice.azure.net."]))]
    pub derived_zones: Vec<String>,
    /// Subscriptions and private DNS zones that cannot be listed; their records stay as they were.
    pub failing_count: usize,
    /// The first of them.
    pub failing: Vec<FailingReport>,
    /// The withdrawals that wait for an operator; all else of the pass is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBackReport>,
    pub passes: PassesReport,
}

/// What a source is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// Private endpoints of live Azure.
    Arm,
    /// Private DNS zones of live Azure.
    PrivateDns,
    /// A folder of exported JSON.
    Directory,
}

/// Of instances that share a store only one lists Azure; each reads its own folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SourceRole {
    Listing,
    Following,
}

/// Whether a source's records are as new as they can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SourceStateWord {
    Current,
    Stale,
    HeldBack,
}

/// What cannot be listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FailingReport {
    /// A subscription's id, or the ARM id of a private DNS zone.
    #[schema(example = "00000000-0000-4000-8000-0000000000a1")]
    pub id: String,
    pub since: String,
    pub age_secs: u64,
    #[schema(example = "403 Forbidden")]
    pub why: String,
}

/// A pass that withdraws so much that an operator must confirm it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct HeldBackReport {
    pub would_withdraw: usize,
    /// Record sets that the source has published.
    pub of: usize,
    /// What a confirmation must name.
    #[schema(example = "7d0c6a0b2f3e4d5c8b9a0f1e2d3c4b5a")]
    pub plan: String,
    /// By subscription, the largest first; at most 100 are shown.
    pub subscriptions: Vec<HeldSubscription>,
}

/// What waits of one subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct HeldSubscription {
    pub subscription: String,
    pub would_withdraw: usize,
    /// Record sets that are published of it.
    pub of: usize,
}

/// When a source is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct PassesReport {
    /// When the last pass began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began: Option<String>,
    /// When the last whole pass ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    pub is_under_way: bool,
    /// When the next one is due; a folder is read when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which endpoints are wanted; what is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct WantedEndpoints {
    /// A private or public name, an endpoint's name or id; `*` stands for any run of characters.
    pub name: Option<String>,
    pub state: Option<String>,
    pub subscription: Option<String>,
    pub source: Option<String>,
    pub published: Option<Extent>,
    /// The [`EndpointReport::key`] that they come behind.
    pub after: Option<String>,
    pub limit: usize,
}

/// How much of an endpoint is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// All its names.
    All,
    Some,
    None,
}

/// A private endpoint as it was last listed.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct EndpointReport {
    /// Its ARM id in lower case.
    #[schema(
        example = "/subscriptions/00000000-0000-4000-8000-0000000000a1/resourcegroups/rg/providers/microsoft.network/privateendpoints/pe-sql"
    )]
    pub id: String,
    #[schema(example = "pe-sql")]
    pub name: String,
    /// The source that lists it.
    #[schema(example = "azure")]
    pub source: String,
    #[schema(example = "00000000-0000-4000-8000-0000000000a1")]
    pub subscription: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_network: Option<String>,
    /// The resource behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Azure's word for its connection; absent where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Approved")]
    pub state: Option<String>,
    pub published: Extent,
    /// What holds for all of it, its names apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<WhyNot>,
    pub names: Vec<EndpointNameReport>,
}

/// A name of an endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct EndpointNameReport {
    /// The private name; of one that no zone takes, the one that Azure lists.
    #[schema(example = "sql1.privatelink.database.windows.net.")]
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "privatelink.database.windows.net.")]
    pub zone: Option<String>,
    #[schema(value_type = Vec<String>, example = json!(["10.1.0.5"]))]
    pub addresses: Vec<IpAddr>,
    /// The names that clients use.
    #[schema(example = json!(["sql1.database.windows.net."]))]
    pub public_names: Vec<String>,
    pub is_published: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<WhyNot>,
    /// Other endpoints that claim it with other addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<ConflictReport>,
}

/// Why something is not published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct WhyNot {
    pub reason: Reason,
    /// For people, with what to do.
    #[schema(example = "the connection is Pending: the owner of the resource must approve it")]
    pub detail: String,
}

/// The sorts of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    Pending,
    Rejected,
    Disconnected,
    /// In a state that is not known.
    NotApproved,
    /// Its subscription may not publish.
    Foreign,
    /// Neither a zone group nor the name itself nor the catalogue tells its zone.
    Unplaced,
    /// Its names are not known for now; what it had published stays.
    NamesUnknown,
    /// Azure gives it none.
    NoNames,
    /// `private_link.zones` leaves its zone out; or the catalogue lacks it, and endpoints may not make it.
    ZoneNotServed,
    /// The pass waits for an operator.
    HeldBack,
    /// An operator's record is served instead.
    Overridden,
    /// The next pass publishes it.
    NotYet,
}

/// Another endpoint's claim to a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ConflictReport {
    /// ARM id of the other endpoint.
    pub endpoint: String,
    pub source: String,
    #[schema(value_type = Vec<String>, example = json!(["10.2.0.5"]))]
    pub addresses: Vec<IpAddr>,
    /// Whether it is what clients outside both virtual networks are served.
    pub is_served_elsewhere: bool,
}

impl EndpointReport {
    /// What lists are ordered by: two sources may list one endpoint.
    pub fn key(&self) -> String {
        format!("{}\n{}", self.id, self.source)
    }
}

impl WantedEndpoints {
    /// Whether an endpoint is one of these; limit and place aside.
    pub fn fits(&self, endpoint: &EndpointReport) -> bool {
        let is = |wanted: &Option<String>, text: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(text))
        };
        is(&self.state, endpoint.state.as_deref().unwrap_or("unknown"))
            && is(&self.subscription, &endpoint.subscription)
            && is(&self.source, &endpoint.source)
            && self.published.is_none_or(|wanted| wanted == endpoint.published)
            && self.name.as_ref().is_none_or(|wanted| is_named(endpoint, &wanted.to_ascii_lowercase()))
    }
}

fn is_named(endpoint: &EndpointReport, wanted: &str) -> bool {
    let is = |text: &str| {
        let text = text.to_ascii_lowercase();
        is_like(wanted, &text) || is_like(wanted, text.trim_end_matches('.'))
    };
    let names = || endpoint.names.iter().flat_map(|it| it.public_names.iter().chain([&it.name]));
    is(&endpoint.id) || is(&endpoint.name) || names().any(|name| is(name))
}
