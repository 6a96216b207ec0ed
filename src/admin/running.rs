//! The admin API while it answers: served, reloaded, drained.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::info;

use super::auth::Authenticator;
use super::counters::Counters;
use super::events::EventDoor;
use super::host::Hosts;
use super::listener::{Bound, Serving, StartError, check_plaintext, tls_settings};
use super::probes::Probes;
use super::settings::Settings;
use super::shell::Shell;
use super::{App, Parts, routes};

/// The admin API while it answers; dropping it stops it at once.
pub struct Running {
    serving: Serving,
    settings: Mutex<Settings>,
    auth: Arc<Authenticator>,
    events: Arc<EventDoor>,
    shell: Arc<Shell>,
}

impl Bound {
    /// Begins to answer. Needs a tokio runtime.
    pub fn serve(self, parts: Parts) -> Result<Running, StartError> {
        let settings = self.settings().clone();
        let auth = Authenticator::new(&settings, parts.tokens, parts.refusals, parts.resolver)?;
        let (auth, counters) = (Arc::new(auth), Arc::<Counters>::default());
        parts.numbers.add(Arc::clone(&counters) as _);
        let events = Arc::new(EventDoor::new(settings.events.clone()));
        let app = App {
            probes: Probes::new(Arc::clone(&parts.server), parts.numbers, Some(Arc::clone(&auth))),
            server: parts.server,
            auth: Arc::clone(&auth),
            counters: Arc::clone(&counters),
            events: Arc::clone(&events),
            side: Arc::default(),
        };
        let shell = Arc::new(Shell::new(&settings.limits, Hosts::of(&settings), counters));
        let router = routes::router(app, Arc::clone(&shell), parts.more);
        let serving = self.serve_by(router, Arc::clone(&shell))?;
        let scheme = if serving.tls.is_some() { "https" } else { "http" };
        for address in &serving.addresses {
            info!(%address, "The admin API is at {scheme}://{address}/api/docs");
        }
        Ok(Running { serving, settings: Mutex::new(settings), auth, events, shell })
    }
}

impl Running {
    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.serving.addresses
    }

    /// Goes on with other settings, or, if they are wrong, with those it has.
    // Addresses, and whether they speak TLS, are decided once: sockets are bound before privileges are dropped.
    pub fn reload(&self, new: Settings) -> Result<(), StartError> {
        let mut settings = self.settings.lock();
        if settings.listen != new.listen {
            return Err(StartError::Restart { key: "listen" });
        }
        check_plaintext(&new)?;
        let rules = self.auth.prepare(&settings, &new)?;
        let tls = tls_settings(&new)?;
        // The last that may fail: either all changes or nothing.
        match (&self.serving.tls, tls) {
            (Some(running), Some(settings)) => running.reload(settings)?,
            (None, None) => {}
            _ => return Err(StartError::Restart { key: "certificate" }),
        }
        self.auth.adopt(rules, &new.limits);
        self.shell.limits.store(Arc::new(new.limits.clone()));
        self.shell.hosts.store(Arc::new(Hosts::of(&new)));
        self.events.adopt(new.events.clone());
        *settings = new;
        Ok(())
    }

    /// Takes no more connections, lets requests end within `grace`, then ends what is left.
    pub async fn drain(&self, grace: Duration) {
        self.serving.drain(grace).await;
    }
}
