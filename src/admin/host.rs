//! The names that the API is called by. For a browser a page is of this server's site as soon as its owner points its name
//! at this host (DNS rebinding): what needs no token could then be read by each site that an operator visits.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::HOST;
use axum::http::uri::Authority;

use super::problem::{Kind, Problem};
use super::settings::Settings;
use crate::telemetry::Quoted;

/// Which names are taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hosts {
    Any,
    /// These, addresses, `localhost`, and names without a dot, which nobody outside can have.
    Only(Vec<String>),
}

impl Hosts {
    // With TLS a name must stand in the certificate; what speaks it in front of us has the names.
    pub(super) fn of(settings: &Settings) -> Hosts {
        if settings.certificate.is_some() || (settings.allow_plaintext && settings.hosts.is_empty()) {
            return Hosts::Any;
        }
        Hosts::Only(settings.hosts.iter().map(|host| bare(host)).collect())
    }

    /// Refuses a request for another host.
    pub(super) fn check(&self, request: &Request) -> Result<(), Problem> {
        let mut lines = request.headers().get_all(HOST).iter();
        let (line, more) = (lines.next(), lines.next());
        // RFC 9112 §3.2: two could be read as two hosts by two servers on the way.
        if more.is_some() {
            return Err(Problem::new(Kind::Malformed, "send one Host").at("Host"));
        }
        let line = line.map(HeaderValue::to_str).transpose();
        let line = line.map_err(|_| Problem::new(Kind::Malformed, "this is no host").at("Host"))?;
        let of_uri = request.uri().authority().map(Authority::as_str);
        match line.into_iter().chain(of_uri).find(|host| !self.takes(host)) {
            None => Ok(()),
            Some(host) => {
                let detail = format!(
                    "`{}` is not among the names of this server: call it by its address, or add the name to admin.hosts",
                    Quoted(host)
                );
                Err(Problem::new(Kind::WrongHost, detail).at("Host"))
            }
        }
    }

    fn takes(&self, host: &str) -> bool {
        let Hosts::Only(names) = self else { return true };
        let Ok(authority) = host.parse::<Authority>() else { return false };
        // What stands behind an address in brackets would be left out, and so would a user in front (RFC 9112 §3.2).
        let Some(port) = host.strip_prefix(authority.host()) else { return false };
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
            return false;
        }
        let host = bare(authority.host());
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        address.parse::<IpAddr>().is_ok()
            || !host.contains('.')
            || host.ends_with(".localhost")
            || names.contains(&host)
    }
}

/// A name as names are compared.
fn bare(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_others_can_have_are_not_taken_unless_they_are_given() {
        let hosts = Hosts::of(&Settings { hosts: vec!["DNS.corp.example.".into()], ..Settings::default() });
        for own in [
            "127.0.0.1:8053",
            "[::1]:8053",
            "[::1]",
            "localhost:8053",
            "LOCALHOST",
            "a.localhost",
            "dns1:8053",
            "dns.corp.example:8053",
            "dns.corp.example.",
            "10.0.0.4",
        ] {
            assert!(hosts.takes(own), "{own}");
        }
        for other in [
            "evil.example:8053",
            "[::1].evil.example",
            "[::1].evil.example:8053",
            "[::1]evil",
            "localhost@evil.example",
            "evil.example@[::1]",
            "[::1.evil.example]",
            "127.0.0.1.nip.io",
            "localhost.evil.example",
            "dns.corp.example.evil",
            "",
            "a b",
        ] {
            assert!(!hosts.takes(other), "{other}");
        }
    }

    #[test]
    fn behind_tls_each_name_is_taken() {
        let front = Settings { allow_plaintext: true, ..Settings::default() };
        assert_eq!(Hosts::of(&front), Hosts::Any);
        assert_eq!(Hosts::of(&Settings { certificate: Some("a".into()), ..Settings::default() }), Hosts::Any);
        let named = Settings { hosts: vec!["a.b".into()], ..front };
        assert_eq!(Hosts::of(&named), Hosts::Only(vec!["a.b".to_owned()]));
    }
}
