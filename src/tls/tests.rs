//! Files, and handshakes made with them.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedKey, KeyPair, date_time_ymd};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, ServerConnection};
use tempfile::TempDir;

use super::pair::provider;
use super::*;

/// Certificate and key for names, written as `NAME.crt` and `NAME.key`.
fn write(folder: &Path, name: &str, names: &[&str]) -> PairFiles {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    write_pem(folder, name, &cert.pem(), &signing_key.serialize_pem())
}

fn write_pem(folder: &Path, name: &str, certificate: &str, key: &str) -> PairFiles {
    let path = |ending: &str| folder.join(format!("{name}.{ending}"));
    let files = PairFiles { certificate: path("crt"), key: path("key") };
    fs::write(&files.certificate, certificate).unwrap();
    fs::write(&files.key, key).unwrap();
    files
}

fn settings(default: PairFiles, others: Vec<PairFiles>) -> Settings {
    Settings { default, others, client_ca: None, alpn: vec![b"dot"], ended: Ended::Refused }
}

/// A client that believes every certificate.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn client(version: &'static rustls::SupportedProtocolVersion, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

/// What a client sees of a handshake: the certificate, the protocol, and whether a session was resumed.
struct Seen {
    certificate: CertificateDer<'static>,
    alpn: Option<Vec<u8>>,
    kind: HandshakeKind,
}

fn shake(server: &Server, client: &Arc<ClientConfig>, name: &str) -> Result<Seen, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(server.config()).unwrap();
    let mut wire = Vec::new();
    let mut failed = None;
    // Once more than the handshake takes, for the tickets behind it.
    for _ in 0..4 {
        wire.clear();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut sent = wire.as_slice();
        while !sent.is_empty() {
            server.read_tls(&mut sent).unwrap();
            failed = failed.or(server.process_new_packets().err());
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut sent = wire.as_slice();
        while !sent.is_empty() {
            client.read_tls(&mut sent).unwrap();
            client.process_new_packets()?;
        }
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(Seen {
        certificate: client.peer_certificates().unwrap()[0].clone(),
        alpn: client.alpn_protocol().map(<[u8]>::to_vec),
        kind: client.handshake_kind().unwrap(),
    })
}

fn certificate_of(files: &PairFiles) -> CertificateDer<'static> {
    super::pem::certificates(Part::Certificate, &files.certificate).unwrap().remove(0)
}

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

#[test]
fn a_name_is_shown_its_certificate_and_all_else_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let default = write(folder.path(), "default", &["dns.example", "192.0.2.53"]);
    let own = write(folder.path(), "own", &["one.example", "*.two.example"]);
    let server = Server::load(settings(default.clone(), vec![own.clone()]), None).unwrap();
    let default = certificate_of(&default);
    let own = certificate_of(&own);
    for version in VERSIONS {
        for (name, expected) in [
            ("dns.example", &default),
            ("one.example", &own),
            ("ONE.example", &own),
            ("a.two.example", &own),
            ("two.example", &default),
            ("a.b.two.example", &default),
            ("unknown.example", &default),
            // A client that connects to an address sends no name.
            ("192.0.2.53", &default),
        ] {
            let seen = shake(&server, &client(version, &[]), name).unwrap();
            assert_eq!(seen.certificate, *expected, "{name}");
        }
    }
    let identities = server.identities();
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    assert!(identities.cover("dns.example.", address("192.0.2.53")));
    assert!(identities.cover("dns.example", address("::ffff:192.0.2.53")));
    assert!(!identities.cover("dns.example", address("192.0.2.54")));
    assert!(!identities.cover("one.example", address("192.0.2.53")), "its certificate has no address");
}

#[test]
fn no_protocol_need_be_offered_and_of_those_that_are_one_must_be_spoken() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::load(settings(write(folder.path(), "a", &["a.example"]), Vec::new()), None).unwrap();
    for version in VERSIONS {
        let shake = |alpn: &[&[u8]]| shake(&server, &client(version, alpn), "a.example");
        assert_eq!(shake(&[]).unwrap().alpn, None);
        assert_eq!(shake(&[b"h2", b"dot"]).unwrap().alpn.as_deref(), Some(&b"dot"[..]));
        // RFC 7301 §3.2.
        let alert = rustls::AlertDescription::NoApplicationProtocol;
        assert_eq!(shake(&[b"h2"]).err(), Some(rustls::Error::AlertReceived(alert)));
    }
}

#[test]
fn sessions_are_resumed_past_a_new_certificate_and_not_without_tickets() {
    let folder = tempfile::tempdir().unwrap();
    let files = write(folder.path(), "a", &["a.example"]);
    let of = |tickets| Server::load(settings(files.clone(), Vec::new()), tickets).unwrap();
    for version in VERSIONS {
        let client = client(version, &[]);
        let server = of(Some(Tickets::new().unwrap()));
        let kind = |server: &Server| shake(server, &client, "a.example").unwrap().kind;
        assert_eq!(kind(&server), HandshakeKind::Full);
        write(folder.path(), "a", &["a.example"]);
        server.look("a test");
        assert_eq!(kind(&server), HandshakeKind::Resumed);
        let next = of(server.tickets().cloned());
        assert_eq!(kind(&next), HandshakeKind::Resumed);
        // Another process has other keys.
        assert_eq!(kind(&of(Some(Tickets::new().unwrap()))), HandshakeKind::Full);
    }
    let (client, server) = (client(&rustls::version::TLS13, &[]), of(None));
    let kind = || shake(&server, &client, "a.example").unwrap().kind;
    assert_eq!([kind(), kind()], [HandshakeKind::Full, HandshakeKind::Resumed]);
    server.reload(settings(files.clone(), Vec::new())).unwrap();
    assert_eq!(kind(), HandshakeKind::Full, "what was remembered ends with what it began with");
}

#[test]
fn changed_files_are_read_and_broken_ones_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = write(folder.path(), "a", &["a.example"]);
    let server = Server::load(settings(files.clone(), Vec::new()), None).unwrap();
    let shown = || shake(&server, &client(&rustls::version::TLS13, &[]), "a.example").unwrap().certificate;
    let first = certificate_of(&files);
    fs::write(&files.certificate, "nonsense").unwrap();
    server.look("a test");
    assert_eq!(shown(), first);
    fs::remove_file(&files.key).unwrap();
    server.look("a test");
    assert_eq!(shown(), first);
    write(folder.path(), "a", &["a.example"]);
    server.look("a test");
    assert_ne!(shown(), first);
    assert_eq!(shown(), certificate_of(&files));
}

/// A folder with what may be wrong with certificates and keys.
fn wrong(folder: &TempDir) -> Vec<(PairFiles, Part, &'static str)> {
    let root = folder.path();
    let good = write(root, "good", &["a.example"]);
    let text = |path: &PathBuf| fs::read_to_string(path).unwrap();
    let (certificate, key) = (text(&good.certificate), text(&good.key));
    let cut = |text: &str| text[..text.len() / 2].to_owned();
    let other = KeyPair::generate().unwrap().serialize_pem();
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.not_after = date_time_ymd(2020, 2, 1);
    let own = KeyPair::generate().unwrap();
    let ended = params.self_signed(&own).unwrap().pem();
    fs::create_dir(root.join("folder")).unwrap();
    let missing = root.join("missing");
    let pair = |name: &str, certificate: &str, key: &str| write_pem(root, name, certificate, key);
    vec![
        (PairFiles { certificate: missing.clone(), ..good.clone() }, Part::Certificate, "No such file"),
        (PairFiles { key: missing, ..good.clone() }, Part::Key, "No such file"),
        (PairFiles { key: root.join("folder"), ..good.clone() }, Part::Key, "it is a folder"),
        (pair("1", "nonsense", &key), Part::Certificate, "no PEM certificate"),
        (pair("2", &cut(&certificate), &key), Part::Certificate, "cut short or damaged"),
        (pair("3", &certificate, "nonsense"), Part::Key, "no PEM private key"),
        (pair("4", &certificate, &cut(&key)), Part::Key, "cut short or damaged"),
        (pair("5", &certificate, &encrypted), Part::Key, "with a passphrase"),
        (pair("6", &certificate, &other), Part::Key, "is not the key of the certificate"),
        (pair("7", &ended, &own.serialize_pem()), Part::Certificate, "has expired on 2020-02-01"),
        (pair("8", &key.replace("PRIVATE KEY", "CERTIFICATE"), &key), Part::Certificate, "cannot be used"),
        (
            pair("9", &certificate, &certificate.replace("CERTIFICATE", "PRIVATE KEY")),
            Part::Key,
            "cannot be used",
        ),
    ]
}

#[test]
fn what_is_wrong_is_told_with_the_file_and_nothing_of_the_key() {
    let folder = tempfile::tempdir().unwrap();
    for (files, part, expected) in wrong(&folder) {
        let error = settings(files.clone(), Vec::new()).identities().unwrap_err();
        let text = error.to_string();
        assert!(error.part() == part && text.contains(expected), "{expected}: {text}");
        let path = if part == Part::Key { &files.key } else { &files.certificate };
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        for line in fs::read_to_string(&files.key).unwrap_or_default().lines() {
            let secret = !line.starts_with('-') && line != "nonsense";
            assert!(!secret || !(text.contains(line) || format!("{error:?}").contains(line)), "{text}");
        }
    }
}

#[test]
fn one_that_has_expired_may_be_shown_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (ended, ..) = wrong(&folder).swap_remove(9);
    let settings = Settings { ended: Ended::Shown, ..settings(ended, Vec::new()) };
    assert!(Server::load(settings, None).is_ok());
}
