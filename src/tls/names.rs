//! The names and addresses that a certificate is for.

use std::fmt;
use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// The alternative names of a certificate (RFC 9525 §3: the common name is none).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// In lower case; a wildcard as it is written.
    dns: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Names {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Names {
        let mut names = Names::default();
        let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return names };
        for name in &alternatives.value.general_names {
            match name {
                GeneralName::DNSName(name) => {
                    names.dns.push(name.trim_end_matches('.').to_ascii_lowercase());
                }
                GeneralName::IPAddress(bytes) => names.addresses.extend(address(bytes)),
                _ => {}
            }
        }
        names
    }

    /// Whether the certificate is for a name; a wildcard stands for one label (RFC 9525 §6.3).
    pub fn cover(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let behind = name.split_once('.').map(|(_, behind)| behind);
        self.dns
            .iter()
            .any(|own| *own == name || own.strip_prefix("*.").is_some_and(|suffix| behind == Some(suffix)))
    }

    /// Whether the certificate is for an address.
    pub fn cover_address(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address.to_canonical())
    }
}

impl fmt::Display for Names {
    /// `dns.example.com, 10.0.0.4`
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.addresses.iter().map(IpAddr::to_string);
        let all: Vec<String> = self.dns.iter().cloned().chain(addresses).collect();
        out.write_str(&all.join(", "))
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
