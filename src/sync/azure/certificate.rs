//! A client certificate: the signed assertion by which Entra ID knows its holder.

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_SHA256};
use data_encoding::BASE64URL_NOPAD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use super::token::Secret;

/// How long an assertion is good for: it is made for one request, and Entra's clock may differ by five minutes.
const LIFETIME_SECS: u64 = 600;

/// A certificate and its private key.
pub(super) struct ClientCertificate {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl ClientCertificate {
    /// Reads PEM; what is wrong with it is said without repeating anything of it.
    pub(super) fn read(pem: &Secret) -> Result<ClientCertificate, &'static str> {
        let pem = pem.reveal().as_bytes();
        let key = PrivateKeyDer::from_pem_slice(pem)
            .map_err(|_| "it holds no private key in PEM; one with a passphrase is not read")?;
        let key = match &key {
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err("its private key is not of RSA"),
        };
        let key = key.map_err(|_| "its private key is not of RSA with 2048 bits or more")?;
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|_| "its certificate is not understood")?;
        if certificates.is_empty() {
            return Err("it holds no certificate in PEM");
        }
        // A file may hold the whole chain: the certificate of the key has its public half inside.
        let public: &[u8] = key.public_key().as_ref();
        let has_key =
            |certificate: &CertificateDer<'_>| certificate.windows(public.len()).any(|it| it == public);
        let certificate = certificates.into_iter().find(has_key);
        let certificate = certificate.ok_or("its private key belongs to another certificate")?;
        Ok(ClientCertificate { certificate, key })
    }

    /// The assertion of a client to a token endpoint, at a time since 1970 (RFC 7523 §3).
    pub(super) fn assertion(&self, client_id: &str, audience: &str, now_secs: u64) -> Option<Secret> {
        let thumbprint = digest::digest(&digest::SHA256, &self.certificate);
        let header = json!({
            "alg": "PS256",
            "typ": "JWT",
            "x5t#S256": BASE64URL_NOPAD.encode(thumbprint.as_ref()),
        });
        let claims = json!({
            "aud": audience,
            "iss": client_id,
            "sub": client_id,
            "jti": format!("{:032x}", rand::random::<u128>()),
            "nbf": now_secs,
            "exp": now_secs + LIFETIME_SECS,
        });
        let encoded = |value: serde_json::Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).ok()?;
        Some(Secret::new(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> String {
        let path = format!("{}/tests/fixtures/certificate/{name}.pem", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    }

    fn read(pem: String) -> Result<ClientCertificate, &'static str> {
        ClientCertificate::read(&Secret::new(pem))
    }

    /// The parts of PEM whose first line has a word.
    fn parts(pem: &str, word: &str) -> String {
        let parts = pem.split_inclusive("-----END").collect::<String>();
        let mut kept = String::new();
        let mut is_kept = false;
        for line in parts.lines() {
            if line.starts_with("-----BEGIN") {
                is_kept = line.contains(word);
            }
            if is_kept {
                kept = kept + line + "\n";
            }
        }
        kept
    }

    #[test]
    fn a_file_holds_a_key_of_either_form_with_its_certificate_among_others() {
        let (first, second) = (fixture("first"), fixture("second"));
        assert!(first.contains("BEGIN PRIVATE KEY") && second.contains("BEGIN RSA PRIVATE KEY"));
        let alone = read(second.clone()).unwrap().certificate;
        let chain = parts(&first, "CERTIFICATE") + &second;
        assert_eq!(read(chain).unwrap().certificate, alone);
        assert_ne!(read(first).unwrap().certificate, alone);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_its_text() {
        let (first, second) = (fixture("first"), fixture("second"));
        let wrong = |pem: String| read(pem).err().unwrap();
        assert!(wrong(parts(&first, "CERTIFICATE")).contains("no private key"));
        assert!(wrong(parts(&first, "KEY")).contains("no certificate"));
        assert!(wrong(parts(&first, "CERTIFICATE") + &parts(&second, "KEY")).contains("another certificate"));
        assert!(
            wrong(
                first.replace("BEGIN PRIVATE", "BEGIN EC PRIVATE").replace("END PRIVATE", "END EC PRIVATE")
            )
            .contains("not of RSA")
        );
        assert!(wrong(first.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")).contains("no private key"));
        assert!(wrong(String::new()).contains("no private key"));
    }
}
