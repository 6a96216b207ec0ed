//! `[listen]`: addresses, certificates and limits of clients' queries.

use std::net::SocketAddr;
use std::time::Duration;

use super::admin::is_same;
use super::assembly::{Assembly, COUNT_MAX, TIMEOUT_SECS_MAX};
use super::certificates::{DdrName, Named};
use super::file;
use super::words::{Domain, ListenAddress};
use crate::listen::{self, Ipv6};
use crate::tls::{self, Ended, PairFiles};

/// The longest that a handshake may take: beyond it half-open ones would pile up.
const HANDSHAKE_SECS_MAX: u64 = 60;

impl Assembly<'_> {
    /// Certificates are added to those that are read before a server starts.
    pub(super) fn listen(
        &mut self,
        listen: file::Listen,
        limits: listen::Limits,
        named: &mut Vec<Named>,
    ) -> listen::Settings {
        let unavailable = [
            ("listen.https", "DNS over HTTPS", !listen.https.is_empty()),
            ("listen.quic", "DNS over QUIC", !listen.quic.is_empty()),
        ];
        for (key, what, _) in unavailable.iter().filter(|(_, _, is_set)| *is_set) {
            self.error(key, format!("not available in this version: {what}; leave it empty"));
        }
        if listen.dns.is_empty() {
            self.error("listen.dns", "there is no address to listen on");
        }
        let dns = self.addresses("listen.dns", &listen.dns);
        let tls = self.addresses("listen.tls", &listen.tls);
        for (at, address) in tls.iter().enumerate().filter(|(_, address)| address.port() != 0) {
            if dns.iter().any(|other| is_same(*other, *address)) {
                self.error(format!("listen.tls[{at}]"), format!("listen.dns has {address} already"));
            }
        }
        let certificates = self.certificates(&listen, named);
        self.listen_limits(&listen);
        let tcp = &listen.tcp;
        listen::Settings {
            dns,
            tls,
            certificates,
            handshakes: listen::HandshakeSettings {
                max: listen.handshakes_max,
                per_client_max: listen.handshakes_per_client_max,
                timeout: Duration::from_secs(listen.handshake_timeout_secs),
                ..listen::HandshakeSettings::default()
            },
            proxy_from: self.ranges("listen.proxy_from", &listen.proxy_from).collect(),
            ipv6: if self.document().says("listen.dns") { Ipv6::Needed } else { Ipv6::IfThere },
            freebind: listen.freebind,
            workers: listen.workers,
            udp_waiting_max: listen.udp_waiting_max,
            udp_buffer_size_bytes: listen.udp_buffer_size_bytes,
            tcp: listen::TcpSettings {
                connections_max: tcp.connections_max,
                connections_per_client_max: tcp.connections_per_client_max,
                waiting_max: tcp.waiting_max,
                in_flight_max: tcp.in_flight_max,
                messages_max: tcp.messages_max,
                idle_timeout: Duration::from_secs(tcp.idle_timeout_secs),
                message_timeout: Duration::from_secs(tcp.message_timeout_secs),
                write_timeout: Duration::from_secs(tcp.write_timeout_secs),
            },
            limits,
        }
    }

    fn addresses(&mut self, key: &str, texts: &[String]) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for (at, ListenAddress(address)) in self.each(key, texts) {
            // Each port 0 is another one.
            if address.port() != 0 && addresses.contains(&address) {
                self.error(format!("{key}[{at}]"), format!("{address} is there already"));
            }
            addresses.push(address);
        }
        addresses
    }

    /// What TLS is made of, if its default certificate is named.
    fn certificates(&mut self, listen: &file::Listen, named: &mut Vec<Named>) -> Option<tls::Settings> {
        let is_said = |path: &str| !path.is_empty();
        match (is_said(&listen.certificate), is_said(&listen.key)) {
            (true, false) => self.error("listen.certificate", "TLS takes listen.key as well"),
            (false, true) => self.error("listen.key", "TLS takes listen.certificate as well"),
            (false, false) if !listen.tls.is_empty() => {
                let message = "DNS over TLS takes a certificate: set listen.certificate and listen.key";
                self.error("listen.tls", message);
            }
            (false, false) if !listen.identity.is_empty() => {
                let message = "takes listen.certificate and listen.key, which all other names are shown";
                self.error("listen.identity", message);
            }
            _ => {}
        }
        let mut pair = |certificate: &str, key: &str, at: &str| {
            let files =
                PairFiles { certificate: self.whole(certificate.into()), key: self.whole(key.into()) };
            let place = |part: &str| self.document().error_at(&format!("{at}.{part}"), String::new());
            named.push(Named {
                files: files.clone(),
                certificate: place("certificate"),
                key: place("key"),
                ended: Ended::Refused,
                is_for_dns: true,
            });
            files
        };
        if !is_said(&listen.certificate) || !is_said(&listen.key) {
            return None;
        }
        let default = pair(&listen.certificate, &listen.key, "listen");
        let others = listen.identity.iter().enumerate();
        let others = others.map(|(at, it)| pair(&it.certificate, &it.key, &format!("listen.identity[{at}]")));
        let others = others.collect();
        Some(tls::Settings { default, others, client_ca: None, alpn: vec![b"dot"], ended: Ended::Refused })
    }

    /// The name that encrypted transports are told by.
    pub(super) fn ddr(&mut self, listen: &mut file::Listen) -> Option<DdrName> {
        let Domain(name) = listen.ddr_name.take()?;
        if listen.tls.is_empty() {
            let message = "there is no encrypted transport to tell of: set listen.tls";
            self.error("listen.ddr_name", message);
        }
        Some(DdrName { name, at: self.document().error_at("listen.ddr_name", String::new()) })
    }

    fn listen_limits(&mut self, listen: &file::Listen) {
        self.within("listen.workers", listen.workers as u64, 0, listen::WORKERS_MAX as u64);
        let tcp = &listen.tcp;
        let counts = [
            ("listen.udp_waiting_max", listen.udp_waiting_max as u64),
            ("listen.udp_buffer_size_bytes", listen.udp_buffer_size_bytes as u64),
            ("listen.handshakes_max", listen.handshakes_max as u64),
            ("listen.handshakes_per_client_max", listen.handshakes_per_client_max as u64),
            ("listen.tcp.connections_max", tcp.connections_max as u64),
            ("listen.tcp.connections_per_client_max", tcp.connections_per_client_max as u64),
            ("listen.tcp.waiting_max", tcp.waiting_max as u64),
            ("listen.tcp.in_flight_max", tcp.in_flight_max as u64),
            ("listen.tcp.messages_max", tcp.messages_max),
        ];
        for (key, count) in counts {
            self.within(key, count, 1, COUNT_MAX);
        }
        self.within("listen.handshake_timeout_secs", listen.handshake_timeout_secs, 1, HANDSHAKE_SECS_MAX);
        let timeouts = [
            ("listen.tcp.idle_timeout_secs", tcp.idle_timeout_secs),
            ("listen.tcp.message_timeout_secs", tcp.message_timeout_secs),
            ("listen.tcp.write_timeout_secs", tcp.write_timeout_secs),
        ];
        for (key, secs) in timeouts {
            self.within(key, secs, 1, TIMEOUT_SECS_MAX);
        }
    }
}
