//! The admin API: from bytes over who and what to an answer or a problem. Floor 5.
//!
//! `bind` opens the sockets, `Bound::serve` answers on them. A resource is a file below `routes/`; the daemon gives
//! what the API asks of the running server through the traits here and in `auth`.

mod attempts;
pub mod auth;
pub mod body;
mod budget;
mod counters;
mod events;
mod extract;
mod host;
mod listener;
pub mod page;
mod probes;
pub mod problem;
pub mod query;
mod readiness;
mod routes;
mod running;
mod server;
mod settings;
mod shell;
mod side;
mod top_report;

use std::sync::Arc;

use reqwest::dns::Resolve;
use utoipa_axum::router::OpenApiRouter;

pub use attempts::Attempts;
pub use body::Json;
pub use events::{EventSecret, EventSettings, ShortSecret};
pub use extract::{Admin, Operator};
pub use listener::{Bound, Peer, StartError, bind};
pub use probes::{BoundProbes, Probes, RunningProbes, Standing, bind_probes};
pub use problem::{Kind, Problem};
pub use query::Query;
pub use readiness::{Degraded, DegradedReason, NotReady, Readiness};
pub use running::Running;
pub use server::{
    BackingUp, ConflictReport, DriftReport, EndpointNameReport, EndpointReport, Explained, ExplainedReply,
    Explaining, Extent, FailingReport, HeldBackReport, HeldSubscription, LimitMetReport, LimitWord,
    PassesReport, Reason, Server, SourceKind, SourceReport, SourceRole, SourceStateWord, SyncReport,
    WantedEndpoints, WantedEntries, WhyNot,
};
pub use settings::{Limits, Settings};
pub use shell::RequestId;
pub use top_report::{BusiestReport, ClientCount, NameCount, PathReport, TopReport};

use crate::ledger::{Ledger, TokenBook};
use crate::telemetry::Numbers;
use auth::{Authenticator, Refusals};
use counters::Counters;
use events::EventDoor;
use side::SideWork;

/// What the daemon gives the API.
pub struct Parts {
    pub server: Arc<dyn Server>,
    /// The numbers of all parts, to which the API adds its own.
    pub numbers: Arc<Numbers>,
    pub tokens: Arc<dyn TokenBook>,
    pub refusals: Arc<dyn Refusals>,
    /// Resolves the hosts of Entra ID past our own zones; `None` leaves it to the system.
    pub resolver: Option<Arc<dyn Resolve>>,
    /// More routes below `/api/v1`; those of tests.
    pub more: OpenApiRouter<App>,
}

/// The routes of what operators own, for [`Parts::more`].
pub fn owned_routes(ledger: Arc<Ledger>) -> OpenApiRouter<App> {
    routes::of_ledger(ledger)
}

/// What handlers are given as `State`.
#[derive(Clone)]
pub struct App {
    pub server: Arc<dyn Server>,
    pub auth: Arc<Authenticator>,
    probes: Probes,
    counters: Arc<Counters>,
    events: Arc<EventDoor>,
    side: Arc<SideWork>,
}
