//! `telemetry.listen` and `telemetry.zone_names`: what monitors may ask without a token, and where.

use std::net::SocketAddr;

use super::admin::is_same;
use super::assembly::Assembly;
use super::words::ListenAddress;
use crate::{admin, listen};

/// What monitors may ask without a token, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MonitorSettings {
    /// Where `/metrics`, `/livez` and `/readyz` are without TLS besides the admin API; mostly nowhere.
    pub listen: Vec<SocketAddr>,
    /// Whether names of zones are in what is read without a token.
    pub zone_names: bool,
}

impl Assembly<'_> {
    pub(super) fn monitors(
        &mut self,
        listen: &[String],
        zone_names: bool,
        dns: &listen::Settings,
        api: &admin::Settings,
    ) -> MonitorSettings {
        let mut settings = MonitorSettings { listen: Vec::new(), zone_names };
        for (at, ListenAddress(address)) in self.each("telemetry.listen", listen) {
            let key = format!("telemetry.listen[{at}]");
            let taken_by =
                [("listen.dns", &dns.dns), ("listen.tls", &dns.tls), ("admin.listen", &api.listen)];
            let taken_by = taken_by.iter().find(|(_, taken)| taken.iter().any(|it| is_same(*it, address)));
            if address.port() != 0 && settings.listen.contains(&address) {
                self.error(&key, format!("{address} is there already"));
            } else if let Some((by, _)) = taken_by.filter(|_| address.port() != 0) {
                self.error(&key, format!("{by} has {address} already"));
            }
            settings.listen.push(address);
        }
        settings
    }
}
