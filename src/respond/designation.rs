//! Discovery of designated resolvers (RFC 9462): who asks over plain DNS is told of the encrypted transports.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::client::Client;
use super::complete::Asked;
use super::query::Query;
use super::reply::{Reply, ReplyKind};
use super::responder::{Responder, Serving};
use crate::dns::{Flags, Name, NameRef, Rcode, RecordType, ReplyWriter, Section, rdata};
use crate::observe::AnswerPath;
use crate::tls::Server;
use crate::zone::{Snapshot, UNNAMED, ViewId};

/// The name that is asked for (RFC 9462 §4).
const ASKED: &[u8] = b"\x04_dns\x08resolver\x04arpa\0";

/// As long as a port or a name that is given up should be asked for still.
const TTL_SECS: u32 = 300;

/// Where clients find encrypted transports of this server.
#[derive(Clone, Debug)]
pub struct Designation {
    /// What they call it, for which a certificate must be.
    pub name: Name,
    /// Where it listens for DNS over TLS.
    pub tls: Vec<SocketAddr>,
    /// The certificates that are shown there.
    pub server: Arc<Server>,
}

impl Designation {
    /// The ports of an address; none where no certificate is for both the name and the address, which clients verify
    /// (RFC 9462 §4.2).
    fn tls_ports(&self, address: IpAddr) -> Vec<u16> {
        let mut ports = Vec::new();
        if self.server.identities().cover(&self.name.to_string(), address) {
            let any = |ip: IpAddr| ip.is_unspecified() && ip.is_ipv4() == address.is_ipv4();
            let here = self.tls.iter().filter(|own| own.ip() == address || any(own.ip()));
            here.map(SocketAddr::port).for_each(|port| {
                if !ports.contains(&port) {
                    ports.push(port);
                }
            });
        }
        ports
    }

    fn write(
        &self,
        owner: NameRef<'_>,
        asked: &Asked<'_>,
        client: Client,
        buffer: &mut [u8],
    ) -> Option<Reply> {
        // The address that was asked is the one that its client can reach.
        let address = client.local?.to_canonical();
        let ports = self.tls_ports(address);
        if ports.is_empty() {
            return None;
        }
        let edns = asked.reply_edns(client, &[]);
        let mut writer = ReplyWriter::new(buffer, asked.limit(client), asked.question).ok()?;
        writer.reserve(edns.as_ref());
        let hint = if address.is_ipv4() { "ipv4hint" } else { "ipv6hint" };
        for (port, priority) in ports.iter().zip(1..) {
            let text = format!("{priority} {} alpn=dot port={port} {hint}={address}", self.name);
            let data = rdata::from_text(RecordType::SVCB, &text, NameRef::ROOT).ok()?;
            writer.record(Section::Answer, owner, RecordType::SVCB, TTL_SECS, &data).ok()?;
        }
        let (rtype, octets) = match address {
            IpAddr::V4(address) => (RecordType::A, address.octets().to_vec()),
            IpAddr::V6(address) => (RecordType::AAAA, address.octets().to_vec()),
        };
        // The hint says the same where there is no room for it.
        let _ = writer.record(Section::Additional, self.name.borrow(), rtype, TTL_SECS, &octets);
        let flags = asked.reply_flags().with(Flags::AA, true);
        let length = writer.finish(asked.id, flags, Rcode::NOERROR, edns.as_ref());
        Some(Reply::new(length, ReplyKind::new(Rcode::NOERROR, AnswerPath::Authoritative), UNNAMED))
    }
}

impl Responder {
    /// From now on clients are told of these transports, or of none.
    pub fn designate(&self, designation: Option<Designation>) {
        self.designation.store(designation.map(Arc::new));
    }

    /// The reply to a question of the type SVCB that asks for encrypted transports, if there is one to tell of and nobody
    /// else answers for the name.
    #[cold]
    pub(super) fn designated(
        &self,
        query: &Query<'_>,
        (snapshot, serving): (&Snapshot, &Serving),
        view: ViewId,
        client: Client,
        buffer: &mut [u8],
    ) -> Option<Reply> {
        let asked = &query.asked;
        if !query.name.as_wire().eq_ignore_ascii_case(ASKED) {
            return None;
        }
        let mut room = None;
        let name = query.name.lower_in(&mut room);
        let is_ours = snapshot.zone_for(name, view).is_none() && serving.rules.keeps(name);
        self.designation.load().as_ref().filter(|_| is_ours)?.write(name, asked, client, buffer)
    }
}
