//! dnstap: all questions and replies, for a collector.

mod collector;
mod frames;
mod messages;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::messages::{Dnstap, Message, MessageType, SocketFamily, SocketProtocol, Type};
use super::counters::Tally;
use super::moment::Moment;
use super::outlet::{Outlet, outlet};
use super::{AnswerPath, End, Kind, Seen, Transport, Zones};
use crate::dns::{RawQuestion, header::HEADER_BYTES};

pub use self::collector::Collector;

/// Where dnstap goes, and what it calls this server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    pub collector: Collector,
    pub identity: String,
}

/// What this machine is called; the server's own name where it has none.
pub fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().map(|name| name.to_string_lossy().into_owned());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "privatelink-dns".to_owned())
}

/// The server as dnstap tells it.
const VERSION: &str = concat!("privatelink-dns ", env!("CARGO_PKG_VERSION"));

/// Makes frames of events, and has them sent.
pub(super) struct Sender {
    pub settings: Settings,
    frames: Outlet,
    /// Whose zones answer.
    zones: Arc<Zones>,
}

impl Sender {
    /// Begins to send; the connection is a task of `tracker`, which leaves what is unsent once it is `given_up`.
    pub fn new(
        settings: Settings,
        zones: Arc<Zones>,
        tally: Arc<dyn Tally>,
        runtime: &Handle,
        (tracker, given_up): (&TaskTracker, CancellationToken),
    ) -> Sender {
        let (frames, inlet) = outlet(tally);
        tracker.spawn_on(settings.collector.clone().serve(inlet, given_up), runtime);
        Sender { settings, frames, zones }
    }

    /// Takes an event: a frame for the question and one for the reply, if there is one.
    pub fn take(&mut self, seen: Seen<'_>, moment: &Moment) {
        let [query_type, response_type] = types(seen.event.kind);
        let mut message = self.common(seen, moment);
        message.r#type = query_type as i32;
        message.query_message = Some(seen.query.to_vec());
        let message = self.send(message);
        let (Some(answered), Some(mut message)) = (seen.event.answered, message) else { return };
        message.r#type = response_type as i32;
        message.query_message = None;
        message.response_message = Some(seen.reply.to_vec());
        let (secs, nanos) = time(moment, answered);
        (message.response_time_sec, message.response_time_nsec) = (Some(secs), Some(nanos));
        self.send(message);
    }

    /// Hands over what was taken.
    pub fn flush(&mut self) {
        self.frames.flush();
    }

    /// What the frames of an event have in common.
    fn common(&self, seen: Seen<'_>, moment: &Moment) -> Message {
        let event = seen.event;
        let address = |end: Option<End>| end.map(|end| octets(end.address));
        let port = |end: Option<End>| end.and_then(|end| end.port).map(u32::from);
        let (secs, nanos) = time(moment, event.asked);
        let family = event.from.or(event.to).map(|end| match end.address {
            IpAddr::V4(_) => SocketFamily::Inet,
            IpAddr::V6(_) => SocketFamily::Inet6,
        });
        let protocol = match event.transport {
            Transport::Udp => SocketProtocol::Udp,
            Transport::Tcp => SocketProtocol::Tcp,
            Transport::Tls => SocketProtocol::Dot,
        };
        Message {
            socket_family: family.map(|family| family as i32),
            socket_protocol: Some(protocol as i32),
            query_address: address(event.from),
            response_address: address(event.to),
            query_port: port(event.from),
            response_port: port(event.to),
            query_time_sec: Some(secs),
            query_time_nsec: Some(nanos),
            query_zone: self.zone(seen),
            ..Message::default()
        }
    }

    /// The zone that answers, in wire form.
    fn zone(&self, seen: Seen<'_>) -> Option<Vec<u8>> {
        if !seen.zone.is_empty() {
            return Some(seen.zone.to_vec());
        }
        let Kind::Client { path: AnswerPath::Authoritative, .. } = seen.event.kind else { return None };
        let asked = RawQuestion::read(seen.query, HEADER_BYTES)?.name.to_buf();
        let zone = (self.zones)(asked.borrow(), seen.event.from?.address)?;
        Some(zone.as_wire().to_vec())
    }

    /// Sends a message and gives it back.
    fn send(&mut self, message: Message) -> Option<Message> {
        let dnstap = Dnstap {
            identity: Some(self.settings.identity.clone().into_bytes()),
            version: Some(VERSION.as_bytes().to_vec()),
            message: Some(message),
            r#type: Type::Message as i32,
        };
        self.frames.push(|bytes| dnstap.write_frame(bytes));
        dnstap.message
    }
}

/// The types of an event's question and of its reply.
fn types(kind: Kind) -> [MessageType; 2] {
    match kind {
        Kind::Client { path: AnswerPath::Authoritative, .. } => {
            [MessageType::AuthQuery, MessageType::AuthResponse]
        }
        Kind::Client { .. } => [MessageType::ClientQuery, MessageType::ClientResponse],
        Kind::Forwarder => [MessageType::ForwarderQuery, MessageType::ForwarderResponse],
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Seconds since 1970, and nanoseconds.
fn time(moment: &Moment, instant: Instant) -> (u64, u32) {
    let since = moment.since_1970(instant);
    (since.as_secs(), since.subsec_nanos())
}

#[cfg(test)]
mod tests;
