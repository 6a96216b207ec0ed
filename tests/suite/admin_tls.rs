//! TLS of the admin API: certificates from files, changed while it runs, and those of clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use privatelink_dns::admin::auth::CertificateRole;
use privatelink_dns::admin::{Settings, StartError, bind};
use privatelink_dns::ledger::{Role, Scope};
use privatelink_dns::tls::TlsError;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use reqwest::{Certificate, Client, ClientBuilder, Identity};
use serde_json::Value;
use tempfile::TempDir;

use super::support::admin_api::{TestApi, problem_of, settings};

/// An authority that tests trust.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key (PEM) for a name.
    fn sign(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (String, String) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn server(&self) -> (String, String) {
        self.sign("server", ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn client(&self) -> ClientBuilder {
        let root = Certificate::from_pem(self.pem.as_bytes()).unwrap();
        Client::builder().no_proxy().tls_certs_only([root])
    }
}

fn write(folder: &Path, (certificate, key): &(String, String)) -> (PathBuf, PathBuf) {
    let paths = (folder.join("tls.crt"), folder.join("tls.key"));
    fs::write(&paths.0, certificate).unwrap();
    fs::write(&paths.1, key).unwrap();
    paths
}

fn tls_settings(folder: &TempDir, authority: &Authority) -> Settings {
    let (certificate, key) = write(folder.path(), &authority.server());
    Settings { certificate: Some(certificate), key: Some(key), ..settings() }
}

async fn is_served(api: &TestApi, client: &Client) -> bool {
    client.get(format!("https://{}/livez", api.address())).send().await.is_ok_and(|it| it.status() == 200)
}

/// Whether the server comes to be seen so: files are looked at every now and then.
async fn comes_to(api: &TestApi, client: impl Fn() -> Client, expected: bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if is_served(api, &client()).await == expected {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

#[tokio::test]
async fn a_changed_certificate_is_served_without_a_restart_and_a_bad_one_never() {
    let (folder, old, new) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    let settings = Settings { certificate_check: Duration::from_millis(20), ..tls_settings(&folder, &old) };
    let api = TestApi::start(settings);
    assert!(is_served(&api, &old.client().build().unwrap()).await);
    assert!(!is_served(&api, &new.client().build().unwrap()).await);
    assert!(api.get("/livez").send().await.is_err(), "TLS only");
    // A key of another certificate, as when only one of the two files is written yet.
    let (certificate, key) = new.server();
    write(folder.path(), &(certificate.clone(), old.server().1));
    assert!(is_served(&api, &old.client().build().unwrap()).await);
    write(folder.path(), &(certificate, key));
    assert!(comes_to(&api, || new.client().build().unwrap(), true).await);
    fs::write(folder.path().join("tls.crt"), "nonsense").unwrap();
    let broken = api.running.reload(tls_like(&folder));
    assert!(matches!(broken, Err(StartError::Tls(TlsError::NoPem { .. }))), "{broken:?}");
    assert!(is_served(&api, &new.client().build().unwrap()).await, "the old pair stays");
}

fn tls_like(folder: &TempDir) -> Settings {
    let path = |name: &str| Some(folder.path().join(name));
    Settings { certificate: path("tls.crt"), key: path("tls.key"), ..settings() }
}

#[tokio::test]
async fn http_2_is_spoken_where_it_is_asked_for() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let api = TestApi::start(tls_settings(&folder, &authority));
    let mut roots = rustls::RootCertStore::empty();
    let pem = authority.pem.as_bytes();
    roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(pem).unwrap()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = tokio::net::TcpStream::connect(api.address()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let stream = connector.connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let connection = tokio::spawn(connection);
    let url = format!("https://{}/livez", api.address());
    let request = hyper::Request::get(url).body(axum::body::Body::empty()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    api.running.drain(Duration::from_secs(20)).await;
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn client_certificates_of_our_authority_have_the_role_of_their_name() {
    let (folder, server, clients) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    let client_ca = folder.path().join("clients.pem");
    fs::write(&client_ca, &clients.pem).unwrap();
    let role = CertificateRole { subject: "deploy".into(), role: Role::Operator, scope: Scope::All };
    let settings = Settings {
        client_ca: Some(client_ca),
        client_certificates: vec![role],
        ..tls_settings(&folder, &server)
    };
    let api = TestApi::start(settings);
    let url = format!("https://{}/api/v1/whoami", api.address());
    let client = |authority: &Authority, name: &str| {
        let (certificate, key) = authority.sign(name, ExtendedKeyUsagePurpose::ClientAuth);
        let identity = Identity::from_pem(format!("{certificate}{key}").as_bytes()).unwrap();
        server.client().identity(identity).build().unwrap()
    };
    let known = client(&clients, "deploy");
    let who: Value = known.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!((who["name"].as_str(), who["role"].as_str()), (Some("deploy"), Some("operator")));
    assert_eq!(who["how"]["kind"], "certificate");
    let wrong_token = known.get(&url).bearer_auth("nonsense").send().await.unwrap();
    assert_eq!(wrong_token.status(), 401, "a token that is sent counts, also a wrong one");

    let unmapped = client(&clients, "other").get(&url).send().await.unwrap();
    assert_eq!(problem_of(unmapped).await.0, 403);
    assert_eq!(api.book.refused.lock().last().unwrap().who.name, "other");
    let stranger = client(&Authority::new(), "deploy").get(&url).send().await;
    assert!(stranger.is_err(), "signed by another authority");
    let server_only = {
        let (certificate, key) = clients.sign("deploy", ExtendedKeyUsagePurpose::ServerAuth);
        let identity = Identity::from_pem(format!("{certificate}{key}").as_bytes()).unwrap();
        server.client().identity(identity).build().unwrap().get(&url).send().await
    };
    assert!(server_only.is_err(), "no certificate for clients");
    let token = api.book.token(Role::Reader);
    let none = server.client().build().unwrap();
    assert_eq!(none.get(&url).bearer_auth(token).send().await.unwrap().status(), 200, "tokens go on");
    assert_eq!(none.get(&url).send().await.unwrap().status(), 401);
}

#[test]
fn tls_that_is_half_set_or_unreadable_is_refused() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let good = tls_settings(&folder, &authority);
    let refused = |settings: Settings| bind(settings).unwrap_err();
    assert!(matches!(
        refused(Settings { key: None, ..good.clone() }),
        StartError::HalfTls { missing: "key" }
    ));
    assert!(matches!(refused(Settings { certificate: None, ..good.clone() }), StartError::HalfTls { .. }));
    let client_ca = Some(folder.path().join("tls.crt"));
    let without = Settings { client_ca, ..settings() };
    assert!(matches!(refused(without), StartError::ClientCaWithoutTls));
    let role = CertificateRole { subject: "a".into(), role: Role::Reader, scope: Scope::All };
    let without = Settings { client_certificates: vec![role], ..good.clone() };
    assert!(matches!(refused(without), StartError::RolesWithoutClientCa));
    let missing = Settings { key: Some(folder.path().join("none.key")), ..good.clone() };
    assert!(matches!(refused(missing), StartError::Tls(TlsError::Unreadable { .. })));
    fs::write(folder.path().join("tls.key"), authority.server().1).unwrap();
    assert!(matches!(refused(good), StartError::Tls(TlsError::Mismatch { .. })));
}
