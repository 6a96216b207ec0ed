//! `[telemetry.dnstap]` and `[telemetry.query_log]`: who is told of queries.

use std::net::SocketAddr;
use std::time::Duration;

use super::assembly::Assembly;
use super::file::{Dnstap, QueryLog};
use super::words::{Domain, Format, PathWord, RcodeWord};
use crate::observe::Settings;
use crate::observe::dnstap::{self, Collector};
use crate::observe::query_log::{self, Filter};

/// Nothing takes longer than a minute; what is slower than that never is logged.
const SLOWER_THAN_MS_MAX: u64 = 60_000;

impl Assembly<'_> {
    pub(super) fn observe(&mut self, dnstap: Option<Dnstap>, query_log: Option<QueryLog>) -> Settings {
        Settings {
            dnstap: dnstap.and_then(|dnstap| self.dnstap(dnstap)),
            query_log: query_log.map(|query_log| self.query_log(query_log)),
        }
    }

    fn dnstap(&mut self, dnstap: Dnstap) -> Option<dnstap::Settings> {
        let key = "telemetry.dnstap";
        let collector = match (dnstap.socket, dnstap.address) {
            (Some(socket), None) => Collector::Socket(self.whole(socket)),
            (None, Some(address)) => match address.parse::<SocketAddr>() {
                Ok(address) => Collector::Address(address),
                Err(_) => {
                    let message = format!("`{address}` is no address with a port, such as 10.0.0.9:6000");
                    self.error(format!("{key}.address"), message);
                    return None;
                }
            },
            (Some(_), Some(_)) => {
                self.error(format!("{key}.address"), "socket names the collector already: one is enough");
                return None;
            }
            (None, None) => {
                self.error(key, "dnstap goes to a collector: set socket or address");
                return None;
            }
        };
        Some(dnstap::Settings { collector, identity: dnstap.identity.unwrap_or_else(dnstap::host_name) })
    }

    fn query_log(&mut self, log: QueryLog) -> query_log::Settings {
        let key = |name: &str| format!("telemetry.query_log.{name}");
        if !(0.0..=1.0).contains(&log.sample) {
            self.error(key("sample"), format!("{} is no share between 0.0 and 1.0", log.sample));
        }
        self.within(&key("slower_than_ms"), log.slower_than_ms, 0, SLOWER_THAN_MS_MAX);
        let mut suffixes = Vec::new();
        for (at, text) in log.suffixes.into_iter().enumerate() {
            match Domain::try_from(text) {
                Ok(Domain(suffix)) => suffixes.push(suffix),
                Err(error) => self.error(format!("{}[{at}]", key("suffixes")), error),
            }
        }
        let filter = Filter {
            suffixes,
            clients: self.ranges(&key("clients"), &log.clients).collect(),
            rcodes: self.each(&key("rcodes"), &log.rcodes).map(|(_, RcodeWord(rcode))| rcode).collect(),
            paths: self.each(&key("paths"), &log.paths).map(|(_, PathWord(path))| path).collect(),
            slower_than: Duration::from_millis(log.slower_than_ms),
            sample: log.sample,
        };
        let format = match log.format {
            Format::Text => query_log::Format::Text,
            Format::Json => query_log::Format::Json,
        };
        query_log::Settings { format, path: log.path.map(|path| self.whole(path)), filter }
    }
}
