//! What monitors ask: on the API's listener, and on one of its own without token and TLS (`telemetry.listen`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tracing::info;
use utoipa_axum::router::OpenApiRouter;

use super::auth::Authenticator;
use super::counters::Counters;
use super::host::Hosts;
use super::listener::{self, Serving, StartError};
use super::settings::Settings;
use super::shell::{Shell, no_such_route, shell};
use super::{DegradedReason, Readiness, Server, routes};
use crate::telemetry::{Families, Measured, Numbers, label};

/// What the routes of monitors are given as `State`.
#[derive(Clone)]
pub struct Probes {
    pub(super) server: Arc<dyn Server>,
    pub(super) numbers: Arc<Numbers>,
    /// Finds out whether names of zones are for who asks; `None` where nobody is asked for a token.
    pub(super) auth: Option<Arc<Authenticator>>,
}

impl Probes {
    pub(super) fn new(
        server: Arc<dyn Server>,
        numbers: Arc<Numbers>,
        auth: Option<Arc<Authenticator>>,
    ) -> Probes {
        Probes { server, numbers, auth }
    }
}

/// Sockets for monitors that are bound and serve nobody yet.
pub struct BoundProbes(listener::Bound);

/// What answers monitors; dropping it ends it at once.
pub struct RunningProbes(Serving);

/// Opens the sockets of a listener for monitors, also at addresses that the host does not have yet.
pub fn bind_probes(listen: Vec<SocketAddr>, freebind: bool) -> Result<BoundProbes, StartError> {
    // Nothing secret passes: no token is asked for, and none is taken.
    let settings = Settings { listen, freebind, allow_plaintext: true, ..Settings::default() };
    listener::bind(settings).map(BoundProbes)
}

impl BoundProbes {
    /// Begins to answer. Needs a tokio runtime.
    pub fn serve(self, server: Arc<dyn Server>, numbers: Arc<Numbers>) -> Result<RunningProbes, StartError> {
        let around = Arc::new(Shell::new(&self.0.settings().limits, Hosts::Any, Arc::<Counters>::default()));
        let routes: OpenApiRouter = routes::probes::routes(Probes::new(server, numbers, None));
        let router = Router::from(routes.fallback(no_such_route));
        let serving =
            self.0.serve_by(router.layer(from_fn_with_state(Arc::clone(&around), shell)), around)?;
        for address in &serving.addresses {
            info!(%address, "Numbers for monitors are at http://{address}/metrics");
        }
        Ok(RunningProbes(serving))
    }
}

impl RunningProbes {
    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0.addresses
    }

    /// Takes no more connections, and lets requests end within `grace`.
    pub async fn drain(&self, grace: Duration) {
        self.0.drain(grace).await;
    }
}

/// Tells whether a server is as it should be.
pub struct Standing(pub Arc<dyn Server>);

impl Measured for Standing {
    fn measure(&self, families: &mut Families) {
        let Readiness { not_ready, degraded } = self.0.readiness();
        families.flag("ready", "1 if clients are to be sent here, as /readyz says", not_ready.is_empty());
        let reasons = DegradedReason::ALL.map(|reason| {
            let is_degraded = degraded.iter().any(|it| it.reason == reason);
            (label("reason", reason.word()), f64::from(u8::from(is_degraded)))
        });
        families.gauges("degraded", "1 for each reason why the server is not as it should be", reasons);
    }
}
