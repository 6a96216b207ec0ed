use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::dial::Stream;
use crate::cache::Cache;
use crate::dns::{Name, Rcode};
use crate::forward::scripted::ask;
use crate::forward::{Forwarder, Outcome, RuleSettings, Settings, Standing, UpstreamAddress};
use crate::tls::{Pin, Trust};

const NAME: &str = "dns.example";

/// What an upstream does with a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Answers,
    /// Two questions at a time, the later one first.
    AnswersBackwards,
    ClosesAfterEachReply,
    /// It reads a second question, and closes.
    ClosesOnSecond,
    /// It makes the handshake and says nothing.
    IsSilent,
    SpeaksNoTls,
    /// TLS, and then no DNS.
    SpeaksNoDns,
    IsPlain,
}

/// An authority, and what trusts it.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// An upstream and what it saw.
struct Served {
    address: std::net::SocketAddr,
    accepted: Arc<AtomicUsize>,
    seen: Seen,
    shaken: Shaken,
    pin: Pin,
}

impl Authority {
    fn new() -> Authority {
        Authority::named("Test Authority")
    }

    fn named(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { issuer, folder }
    }

    fn trust(&self) -> Trust {
        Trust::read(&self.folder.path().join("ca.pem")).unwrap()
    }

    fn params() -> CertificateParams {
        CertificateParams::new(vec![NAME.to_owned()]).unwrap()
    }

    async fn serve(&self, manner: Manner) -> Served {
        self.serve_with(manner, Authority::params()).await
    }

    async fn serve_with(&self, manner: Manner, params: CertificateParams) -> Served {
        let key = KeyPair::generate().unwrap();
        let pin = Pin::of(&rcgen::PublicKeyData::subject_public_key_info(&key));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(chain, key);
        let mut config = config.unwrap();
        config.alpn_protocols = vec![b"dot".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, seen, shaken) = (Arc::default(), Arc::default(), Arc::default());
        let served = Served { address, accepted, seen, shaken, pin };
        let (accepted, seen, shaken) = (served.accepted.clone(), served.seen.clone(), served.shaken.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accepted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(connection(stream, acceptor.clone(), manner, seen.clone(), shaken.clone()));
            }
        });
        served
    }
}

type Seen = Arc<Mutex<Vec<Vec<u8>>>>;
/// The names that were asked for, and the protocols that were agreed on.
type Shaken = Arc<Mutex<Vec<(Option<String>, Option<Vec<u8>>)>>>;

async fn connection(
    mut stream: TcpStream,
    acceptor: TlsAcceptor,
    manner: Manner,
    seen: Seen,
    shaken: Shaken,
) {
    if manner == Manner::SpeaksNoTls {
        let _ = stream.write_all(b"220 mail.example ESMTP ready\r\n").await;
        let _ = stream.read(&mut [0; 1024]).await;
        return;
    }
    if manner == Manner::IsPlain {
        return talk(Box::new(stream), manner, seen).await;
    }
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let session = stream.get_ref().1;
    let (name, protocol) = (session.server_name(), session.alpn_protocol());
    shaken.lock().push((name.map(str::to_owned), protocol.map(<[u8]>::to_vec)));
    talk(Box::new(stream), manner, seen).await;
}

async fn talk(mut stream: Box<dyn Stream>, manner: Manner, seen: Seen) {
    let mut held: Option<Vec<u8>> = None;
    for number in 0.. {
        let Ok(length) = stream.read_u16().await else { return };
        let mut query = vec![0; length.into()];
        stream.read_exact(&mut query).await.unwrap();
        let reply = reply(&query);
        seen.lock().push(query);
        let mut replies = Vec::new();
        match manner {
            Manner::IsSilent => continue,
            Manner::SpeaksNoDns => replies.push(b"hello, world".to_vec()),
            Manner::ClosesOnSecond if number == 1 => return,
            Manner::AnswersBackwards => match held.take() {
                None => held = Some(reply),
                Some(first) => replies = vec![reply, first],
            },
            _ => replies.push(reply),
        }
        for reply in replies {
            let framed = [&(reply.len() as u16).to_be_bytes()[..], &reply].concat();
            if stream.write_all(&framed).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
        if manner == Manner::ClosesAfterEachReply {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

/// An address for whatever is asked.
fn reply(query: &[u8]) -> Vec<u8> {
    let name = query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let counts = [0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 1];
    let record = [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7];
    let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    [&query[..2], &counts, &query[12..][..name + 4], &record, &opt].concat()
}

impl Served {
    fn named(&self, name: &str) -> String {
        format!("tls://{}#{name}", self.address)
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

fn settings(upstreams: &[String], trust: &Trust) -> Settings {
    let upstreams: Vec<UpstreamAddress> = upstreams.iter().map(|text| text.parse().unwrap()).collect();
    let rule = RuleSettings { domain: Name::root(), upstreams, queries_per_second_max: None };
    Settings { rules: vec![rule], trust: trust.clone(), ..Settings::default() }
}

fn forwarder(upstreams: &[String], trust: &Trust) -> Arc<Forwarder> {
    Forwarder::new(settings(upstreams, trust), Arc::new(Cache::new(Default::default())))
}

async fn ask_many(forwarder: &Arc<Forwarder>, names: std::ops::Range<usize>) -> Vec<Outcome> {
    let asked: Vec<_> = names
        .map(|number| {
            let forwarder = forwarder.clone();
            tokio::spawn(async move { ask(&forwarder, &format!("n{number}.x.")).await })
        })
        .collect();
    let mut outcomes = Vec::new();
    for asked in asked {
        outcomes.push(asked.await.unwrap());
    }
    outcomes
}

fn is_answered(outcome: &Outcome) -> bool {
    outcome.reply.rcode == Rcode::NOERROR && outcome.reply.answer.len() == 1 && outcome.stale.is_none()
}

fn why(outcome: &Outcome) -> String {
    outcome.reply.extended_error.as_ref().map(|why| why.text.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn a_cold_burst_is_asked_on_one_connection_with_name_and_protocol_and_padded() {
    let authority = Authority::new();
    let served = authority.serve(Manner::AnswersBackwards).await;
    let forwarder = forwarder(&[served.named(NAME)], &authority.trust());
    let outcomes = ask_many(&forwarder, 0..200).await;
    assert!(outcomes.iter().all(is_answered), "{:?}", outcomes.iter().map(why).collect::<Vec<_>>());
    assert_eq!((served.accepted(), forwarder.counters.connections_opened.value()), (1, 1));
    assert_eq!(*served.shaken.lock(), [(Some(NAME.to_owned()), Some(b"dot".to_vec()))]);
    assert!(served.seen.lock().iter().all(|query| query.len() == 128));
    let health = forwarder.health().remove(0);
    let link = health.link.unwrap();
    assert_eq!((health.standing, link.connections, link.is_resumed), (Standing::Up, 1, false));
    let shown = link.certificate.unwrap();
    assert_eq!(
        (shown.names.as_str(), shown.issuer.as_str(), shown.pin),
        (NAME, "Test Authority", served.pin)
    );
    assert!(link.took.is_some() && link.trouble.is_none());
}

#[tokio::test]
async fn what_is_wrong_with_an_upstream_is_told_in_words_and_nothing_is_asked_of_it() {
    let (authority, other) = (Authority::new(), Authority::named("Another"));
    let mut expired = Authority::params();
    expired.not_after = date_time_ymd(2020, 2, 3);
    let mut coming = Authority::params();
    coming.not_before = date_time_ymd(2999, 1, 1);
    let good = authority.serve(Manner::Answers).await;
    let wrong_pin = format!("tls://{}#{NAME}?pin={}", good.address, Pin::of(b"another key"));
    let mail = authority.serve(Manner::SpeaksNoTls).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let pin = good.pin;
    for (upstream, trust, words) in [
        (
            good.named("other.example"),
            authority.trust(),
            "its certificate is for dns.example, not for other.example".to_owned(),
        ),
        (
            authority.serve_with(Manner::Answers, expired).await.named(NAME),
            authority.trust(),
            "its certificate has expired on 2020-02-03".to_owned(),
        ),
        (
            authority.serve_with(Manner::Answers, coming).await.named(NAME),
            authority.trust(),
            "not valid yet".to_owned(),
        ),
        (good.named(NAME), other.trust(), "of an unknown issuer, Test Authority".to_owned()),
        (
            good.named(NAME),
            Authority::new().trust(),
            "of an unknown issuer, another Test Authority than".to_owned(),
        ),
        (wrong_pin, authority.trust(), format!("its key is {pin}, which is no pin of it")),
        (mail.named(NAME), authority.trust(), "it speaks no TLS".to_owned()),
        (format!("tls://{nobody}#{NAME}"), authority.trust(), "connection refused".to_owned()),
    ] {
        let forwarder = forwarder(std::slice::from_ref(&upstream), &trust);
        let outcome = ask(&forwarder, "a.x.").await;
        assert!(
            outcome.reply.rcode == Rcode::SERVFAIL && why(&outcome).contains(&words),
            "{}",
            why(&outcome)
        );
        assert!(why(&outcome).contains(&format!("upstream {upstream}")), "{}", why(&outcome));
        let link = forwarder.health().remove(0).link.unwrap();
        assert!(link.to_string().contains(&words), "{link}");
    }
    assert!(good.seen.lock().is_empty() && mail.seen.lock().is_empty());
}

#[tokio::test]
async fn a_pin_is_enough_and_the_name_is_only_asked_for_then() {
    let authority = Authority::new();
    let mut ended = CertificateParams::new(vec!["elsewhere.example".to_owned()]).unwrap();
    ended.not_after = date_time_ymd(2020, 2, 3);
    let served = authority.serve_with(Manner::Answers, ended).await;
    let (address, pin, other) = (served.address, served.pin, Pin::of(b"the next key"));
    for upstream in
        [format!("tls://{address}?pin={pin}"), format!("tls://{address}#{NAME}?pin={other}&pin={pin}")]
    {
        let forwarder = forwarder(&[upstream], &Trust::default());
        let outcome = ask(&forwarder, "a.x.").await;
        assert!(is_answered(&outcome), "{}", why(&outcome));
    }
    let names: Vec<Option<String>> = served.shaken.lock().iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, [None, Some(NAME.to_owned())]);
}

#[tokio::test]
async fn no_question_is_lost_to_an_upstream_that_closes_after_each_reply() {
    let authority = Authority::new();
    let served = authority.serve(Manner::ClosesAfterEachReply).await;
    let forwarder = forwarder(&[served.named(NAME)], &authority.trust());
    for number in 0..5 {
        let outcome = ask(&forwarder, &format!("a{number}.x.")).await;
        assert!(is_answered(&outcome), "{}", why(&outcome));
    }
    let outcomes = ask_many(&forwarder, 0..10).await;
    assert!(outcomes.iter().all(is_answered), "{:?}", outcomes.iter().map(why).collect::<Vec<_>>());
    assert_eq!(forwarder.health()[0].standing, Standing::Up);
    // The session is resumed, which takes half of the handshake.
    assert!(forwarder.health()[0].link.as_ref().unwrap().is_resumed);
}

#[tokio::test]
async fn a_question_that_meets_a_closing_connection_is_asked_again_and_is_no_failure() {
    let authority = Authority::new();
    let served = authority.serve(Manner::ClosesOnSecond).await;
    let forwarder = forwarder(&[served.named(NAME)], &authority.trust());
    for number in 0..6 {
        let outcome = ask(&forwarder, &format!("a{number}.x.")).await;
        assert!(is_answered(&outcome), "{}", why(&outcome));
    }
    let counters = &forwarder.counters;
    assert_eq!((counters.asked_again.value(), counters.network_errors.value()), (5, 0));
    assert_eq!((counters.timeouts.value(), served.accepted()), (0, 6));
}

#[tokio::test]
async fn one_that_is_silent_or_speaks_no_dns_behind_the_handshake_leaves_questions_to_the_next() {
    let authority = Authority::new();
    let good = authority.serve(Manner::Answers).await;
    for manner in [Manner::IsSilent, Manner::SpeaksNoDns] {
        let odd = authority.serve(manner).await;
        let alone = forwarder(&[odd.named(NAME)], &authority.trust());
        let outcome = ask(&alone, "a.x.").await;
        assert_eq!(outcome.reply.rcode, Rcode::SERVFAIL);
        assert!(why(&outcome).contains(&odd.named(NAME)), "{}", why(&outcome));
        let both = forwarder(&[odd.named(NAME), good.named(NAME)], &authority.trust());
        let outcomes = ask_many(&both, 0..20).await;
        assert!(outcomes.iter().all(is_answered), "{:?}", outcomes.iter().map(why).collect::<Vec<_>>());
        assert!(odd.accepted() <= 2 * super::CONNECTIONS_MAX, "{}", odd.accepted());
    }
}

#[tokio::test]
async fn connections_outlive_a_reload_unless_others_are_trusted() {
    let (authority, other) = (Authority::new(), Authority::named("Another"));
    let served = authority.serve(Manner::Answers).await;
    let upstream = served.named(NAME);
    let first = forwarder(std::slice::from_ref(&upstream), &authority.trust());
    assert!(is_answered(&ask(&first, "a.x.").await));
    let upstreams = [upstream, "127.0.0.1:9".to_owned()];
    let second = first.with_settings(settings(&upstreams, &authority.trust()), first.cache.clone());
    drop(first);
    assert!(is_answered(&ask(&second, "b.x.").await));
    assert_eq!(served.accepted(), 1);
    let third = second.with_settings(settings(&upstreams[..1], &other.trust()), second.cache.clone());
    let outcome = ask(&third, "c.x.").await;
    assert!(why(&outcome).contains("unknown issuer"), "{}", why(&outcome));
    assert_eq!(served.accepted(), 2);
}

#[tokio::test]
async fn one_over_tcp_alone_is_asked_the_same_way() {
    let authority = Authority::new();
    let served = authority.serve(Manner::IsPlain).await;
    let forwarder = forwarder(&[format!("tcp://{}", served.address)], &Trust::default());
    let outcomes = ask_many(&forwarder, 0..50).await;
    assert!(outcomes.iter().all(is_answered), "{:?}", outcomes.iter().map(why).collect::<Vec<_>>());
    assert_eq!(served.accepted(), 1);
    // Padding hides nothing there.
    assert!(served.seen.lock().iter().all(|query| query.len() < 128));
}
