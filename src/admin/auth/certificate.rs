//! Client certificates: rustls has verified them, here their names become a role.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::ledger::{How, Identity, Role, Scope, shown};

/// The most names that are read from one certificate.
const NAMES_MAX: usize = 100;

/// What certificates with this subject may do.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificateRole {
    /// The common name, or one of the alternative names (DNS, e-mail, URI); case does not count.
    pub subject: String,
    pub role: Role,
    pub scope: Scope,
}

/// What is known of a verified client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    names: Vec<String>,
    sha256: String,
}

impl ClientCertificate {
    /// Reads a certificate that was verified already.
    pub(in crate::admin) fn read(der: &[u8]) -> Option<ClientCertificate> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut common = certificate.subject().iter_common_name();
        // With several common names it is not clear which one was verified for what.
        let common = common.next().filter(|_| common.next().is_none()).and_then(|it| it.as_str().ok());
        let alternatives = certificate.subject_alternative_name().ok()?;
        let alternatives =
            alternatives.iter().flat_map(|it| &it.value.general_names).filter_map(|it| match it {
                GeneralName::RFC822Name(name) | GeneralName::DNSName(name) | GeneralName::URI(name) => {
                    Some(*name)
                }
                _ => None,
            });
        let names = common.into_iter().chain(alternatives).take(NAMES_MAX).map(str::to_owned).collect();
        Some(ClientCertificate { names, sha256: HEXLOWER.encode(digest(&SHA256, der).as_ref()) })
    }

    /// Who it is by the first entry that fits.
    pub(super) fn identity(&self, roles: &[CertificateRole]) -> Option<Identity> {
        let fits =
            |it: &&CertificateRole| self.names.iter().any(|name| name.eq_ignore_ascii_case(&it.subject));
        let entry = roles.iter().find(fits)?;
        Some(Identity {
            name: entry.subject.clone(),
            role: entry.role,
            scope: entry.scope.clone(),
            how: self.how(),
        })
    }

    /// Who it is without an entry that fits.
    pub(super) fn stranger(&self) -> Identity {
        let name = self.names.first().map_or("a certificate without a name", String::as_str);
        Identity::without_rights(shown(name), self.how())
    }

    fn how(&self) -> How {
        How::Certificate { sha256: self.sha256.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn certificate(common_name: &str, alternatives: &[SanType]) -> Option<ClientCertificate> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = alternatives.to_vec();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        ClientCertificate::read(certificate.der())
    }

    fn role(subject: &str, role: Role) -> CertificateRole {
        CertificateRole { subject: subject.to_owned(), role, scope: Scope::All }
    }

    #[test]
    fn the_first_entry_with_one_of_its_names_decides() {
        let uri = SanType::URI("spiffe://corp/deploy".try_into().unwrap());
        let certificate = certificate("deploy", &[uri]).unwrap();
        let roles = [
            role("other", Role::Admin),
            role("SPIFFE://corp/deploy", Role::Operator),
            role("deploy", Role::Reader),
        ];
        assert_eq!(certificate.identity(&roles).unwrap().role, Role::Operator);
        assert_eq!(certificate.identity(&roles[..1]), None);
        assert_eq!(certificate.identity(&[role("deplo", Role::Admin), role("", Role::Admin)]), None);
    }

    #[test]
    fn what_is_no_certificate_has_no_names() {
        assert_eq!(ClientCertificate::read(b"\x30\x03\x02\x01\x00"), None);
    }
}
