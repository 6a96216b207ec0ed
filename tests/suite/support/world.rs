//! A real responder with real zones, cache and forwarder; only what lies behind the forwarder is scripted.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};

use ipnet::IpNet;
use privatelink_dns::answer::{AccessSettings, PrivateReverse, PublicNames, Rules, Settings};
use privatelink_dns::cache::{self, Cache};
use privatelink_dns::dns::{Name, NameRef, RecordSet, RecordType, Ttl, rdata};
use privatelink_dns::forward::Asker;
use privatelink_dns::privatelink::{Catalogue, Cloud};
use privatelink_dns::respond::{Attempt, Client, Missing, Responder, Serving, Transport};
use privatelink_dns::zone::{
    Change, ChangeSet, Network, Networks, Offer, Origin, Store, Unwitnessed, Withheld, ZoneHeader,
};

use super::forwarding;
use super::message::{Ask, Reply};
use super::scripted::Upstreams;

/// Zones of `privatelink.*` have Azure's SOA; this is what other zones get that bring none.
const SOA: &str = "ns hostmaster 1 3600 600 86400 300";
const SOA_TTL_SECS: u32 = 3600;

/// What clients of connections are told that ask how long these may be idle.
const KEEPALIVE_100MS: u16 = 100;

/// Read once: it is the same in all cases.
static CATALOGUE: LazyLock<Arc<Catalogue>> = LazyLock::new(|| Arc::new(Catalogue::builtin(Cloud::Public)));

/// What a responder is set to.
#[derive(Default)]
pub struct Setup {
    pub public_names: PublicNames,
    pub private_reverse: PrivateReverse,
    /// Whether reverse names of endpoints' addresses are answered.
    pub reverse: bool,
    pub access: AccessSettings,
    /// The domains of explicit forwarding rules.
    pub rules: Vec<Name>,
    pub cache: cache::Settings,
    pub networks: Vec<Network>,
    pub preferred: Vec<Arc<str>>,
}

/// Everything around one responder.
pub struct World {
    pub store: Arc<Store>,
    responder: Arc<Responder>,
    withheld: Vec<Withheld>,
}

impl World {
    /// Call it inside a runtime whose clock is paused.
    pub fn new(setup: Setup, upstreams: Arc<Upstreams>) -> World {
        let store = Arc::new(Store::new(Box::new(Unwitnessed)));
        let networks = Networks::new(setup.networks, setup.preferred).expect("the networks are well formed");
        let cache = Arc::new(Cache::new(setup.cache));
        let forwarder = forwarding::forwarder(&setup.rules, cache.clone(), upstreams.clone());
        let rules = Rules::new(Settings {
            access: setup.access,
            public_names: setup.public_names,
            private_reverse: setup.private_reverse,
            forwarded: setup.rules,
            catalogue: CATALOGUE.clone(),
        });
        let serving = Serving::new(rules, cache, forwarder, None);
        let responder = Arc::new(Responder::new(store.clone(), serving, [7; 16]));
        upstreams.lead_back_to(&responder);
        let world = World { store, responder, withheld: Vec::new() };
        let reverse = Change::SetReverse { kept: setup.reverse };
        world.commit(vec![Change::SetNetworks(networks.into()), reverse]);
        world
    }

    pub fn responder(&self) -> &Arc<Responder> {
        &self.responder
    }

    pub fn commit(&self, changes: Vec<Change>) {
        self.store.commit(ChangeSet { changes }).expect("the script's zones are well formed");
    }

    /// An endpoint that would publish `name`, were it approved.
    pub fn withhold(&mut self, name: Name, endpoint: &str, state: &str) {
        self.withheld.push(Withheld {
            name,
            endpoint: endpoint_id(endpoint),
            endpoint_name: endpoint.into(),
            state: state.into(),
        });
        self.commit_withheld();
    }

    /// The endpoint of this name is withheld no more.
    pub fn unwithhold(&mut self, name: &Name) {
        self.withheld.retain(|withheld| withheld.name != *name);
        self.commit_withheld();
    }

    fn commit_withheld(&self) {
        self.commit(vec![Change::SetWithheld { source: "arm".into(), endpoints: self.withheld.clone() }]);
    }

    /// Forgets what upstreams said of a name and all below it.
    pub fn purge(&self, name: &Name) {
        self.responder.serving().cache.purge(Some(name.borrow()));
    }

    /// Asks and awaits the reply; `None` if there is none. An error is a reply that breaks a rule all replies follow.
    pub async fn ask(&self, ask: &Ask, transport: Transport) -> Result<Option<Reply>, String> {
        let transport = ask.transport.unwrap_or(transport);
        let sent = match transport {
            Transport::Tls => ask.of_connection(),
            Transport::Udp | Transport::Tcp => ask.to_bytes(),
        };
        let Some(reply) = self.send(&sent, ask.from, transport).await? else { return Ok(None) };
        if !reply.question.is_empty() && !sent[12..].starts_with(&reply.question) {
            return Err("the question comes back in other bytes".to_owned());
        }
        let limit = match (&ask.edns, transport) {
            (_, Transport::Tcp | Transport::Tls) => 65_535,
            (None, Transport::Udp) => 512,
            (Some(edns), Transport::Udp) => usize::from(edns.payload_bytes.clamp(512, 1232)),
        };
        if reply.size_bytes > limit {
            return Err(format!("the reply has {} bytes, the client takes {limit}", reply.size_bytes));
        }
        if ask.edns.is_none() && reply.has_opt {
            return Err("the reply has an OPT record, the question had none".to_owned());
        }
        let is_padded = reply.padding.is_some() && reply.size_bytes.is_multiple_of(468);
        let wants_it = transport == Transport::Tls && reply.has_opt;
        if wants_it != is_padded || wants_it != (reply.keepalive_100ms == Some(KEEPALIVE_100MS)) {
            let Reply { size_bytes, padding, keepalive_100ms, .. } = reply;
            return Err(format!(
                "a reply of {size_bytes} bytes, padding {padding:?}, keepalive {keepalive_100ms:?}"
            ));
        }
        Ok(Some(reply))
    }

    /// Sends bytes as they are: over UDP and TLS by the way that listeners take, over TCP by the one that may wait from its
    /// beginning.
    pub async fn send(
        &self,
        sent: &[u8],
        from: IpAddr,
        transport: Transport,
    ) -> Result<Option<Reply>, String> {
        let keepalive_100ms = transport.is_connected().then_some(KEEPALIVE_100MS);
        let client = Client { keepalive_100ms, ..Client::new(SocketAddr::new(from, 40_000), transport) };
        let mut buffer = vec![0xEE; 65_535];
        let attempt = match transport {
            Transport::Udp | Transport::Tls => {
                self.responder.try_answer(&self.responder.view(), None, sent, client, &mut buffer)
            }
            Transport::Tcp => Attempt::Wait(Missing::UNKNOWN),
        };
        let missing = match attempt {
            Attempt::Wait(missing) => missing,
            Attempt::Reply(_) | Attempt::Drop => Missing::UNKNOWN,
        };
        let waited = self.responder.clone().answer(sent.to_vec(), client, Asker::Server, missing).await;
        // A cookie has the time in it.
        let has_cookie = |reply: &Vec<u8>| Reply::read(reply).is_ok_and(|reply| reply.cookie.is_some());
        let got = match attempt {
            Attempt::Reply(length) => Some(buffer[..length].to_vec()),
            Attempt::Drop => None,
            Attempt::Wait(_) => waited.clone(),
        };
        // What needs no wait is the same for those who wait.
        if got != waited && !got.as_ref().is_some_and(has_cookie) {
            return Err(format!("the way that waits answers otherwise: {waited:02x?}, not {got:02x?}"));
        }
        if transport != Transport::Tcp {
            // Now the answer may be one that is kept finished, and then is one that was; and a batch is looked ahead to.
            for looks_ahead in [false, true] {
                let view = self.responder.view();
                let batch = looks_ahead.then_some((sent, from));
                let aheads = self.responder.look_ahead(&view, batch.into_iter());
                let ahead = aheads.first().and_then(Option::as_ref);
                let again = self.responder.try_answer(&view, ahead, sent, client, &mut buffer);
                let Attempt::Reply(length) = again else { continue };
                let (again, long) = (
                    Some(buffer[..length].to_vec()),
                    self.responder
                        .clone()
                        .answer(sent.to_vec(), client, Asker::Server, Missing::UNKNOWN)
                        .await,
                );
                if again != long && !again.as_ref().is_some_and(has_cookie) {
                    return Err(format!("asked again it answers otherwise: {again:02x?}, not {long:02x?}"));
                }
            }
        }
        let Some(got) = got else { return Ok(None) };
        let reply = Reply::read(&got)?;
        check_header(sent, &reply)?;
        Ok(Some(reply))
    }
}

/// What is true of every reply (RFC 1035 §4.1.1).
fn check_header(sent: &[u8], reply: &Reply) -> Result<(), String> {
    let word = |at: usize| u16::from_be_bytes([sent[at], sent[at + 1]]);
    if reply.id != word(0) {
        return Err(format!("the reply's id is {:04x}", reply.id));
    }
    // QR is set, RA is in replies to queries (RFC 8906 §8.1.4), Z is clear, opcode and RD are the question's.
    const MASK: u16 = 0xFB_C0 & !0x0600;
    let is_query = word(2) & 0x7800 == 0;
    let expected = 0x8000 | if is_query { 0x0080 } else { 0 } | word(2) & 0x7900;
    if reply.flags & MASK != expected {
        return Err(format!("the reply's flags are {:04x}, to a question's {:04x}", reply.flags, word(2)));
    }
    Ok(())
}

/// The ARM id that stands for an endpoint's name in scripts.
pub fn endpoint_id(name: &str) -> Arc<str> {
    format!("/subscriptions/s/resourcegroups/rg/providers/microsoft.network/privateendpoints/{name}").into()
}

/// A private-link zone if it is called so, else a plain one.
pub fn header(apex: &Name) -> ZoneHeader {
    let is_private_link = apex.borrow().labels().any(|label| label.starts_with(b"privatelink"));
    if is_private_link { ZoneHeader::private_link(apex.clone()) } else { ZoneHeader::plain(apex.clone()) }
}

/// The SOA of a plain zone that brings none.
pub fn default_soa(apex: &Name) -> Change {
    put(apex, apex.clone(), set(RecordType::SOA, SOA_TTL_SECS, &[SOA], apex.borrow()).unwrap(), Origin::File)
}

pub fn put(zone: &Name, name: Name, set: RecordSet, origin: Origin) -> Change {
    Change::Put { zone: zone.clone(), name, offer: Offer { set, origin } }
}

/// A record set from text.
pub fn set(
    rtype: RecordType,
    ttl_secs: u32,
    data: &[&str],
    origin: NameRef<'_>,
) -> Result<RecordSet, String> {
    let data: Result<Vec<_>, _> = data.iter().map(|text| rdata::from_text(rtype, text, origin)).collect();
    let ttl = Ttl::from_secs(ttl_secs).ok_or("the TTL is too long")?;
    RecordSet::new(rtype, ttl, data.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
}

/// A range of client addresses.
pub fn range(text: &str) -> Result<IpNet, String> {
    text.parse().map_err(|_| format!("`{text}` is no CIDR range"))
}
