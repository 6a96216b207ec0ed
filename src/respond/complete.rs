//! Completes a reply: the one place where header, sections and EDNS are put together.

use super::client::{Client, Transport};
use super::reply::{Reply, ReplyKind};
use crate::answer::{Authority, Chase, Delegation, Part, Relayed, STALE_TTL_SECS};
use crate::dns::edns::{ReplyEdns, UDP_PAYLOAD_BYTES, UDP_PAYLOAD_BYTES_PLAIN};
use crate::dns::header::{HEADER_BYTES, OPCODE_QUERY};
use crate::dns::reply::Full;
use crate::dns::{
    ExtendedError, Flags, NameRef, Rcode, RecordSet, RecordType, ReplyWriter, Request, Section, edns::Edns,
    negative_ttl_secs,
};
use crate::observe::AnswerPath;
use crate::zone::{Offer, UNNAMED, ViewId, Zone};

/// The block that replies are padded to (RFC 8467 §4.1).
const PADDED_TO_BYTES: u16 = 468;

/// What of a request a reply is made of.
#[derive(Clone, Copy)]
pub(super) struct Asked<'m> {
    pub id: u16,
    pub flags: Flags,
    pub question: &'m [u8],
    pub edns: Option<Edns<'m>>,
    pub rtype: RecordType,
    pub cookie: Option<[u8; 24]>,
}

impl<'m> Asked<'m> {
    pub(super) fn new(request: &Request<'m>, cookie: Option<[u8; 24]>) -> Asked<'m> {
        Asked {
            id: request.id,
            flags: request.flags,
            question: request.question,
            edns: request.edns,
            rtype: request.rtype,
            cookie,
        }
    }

    pub(super) fn reply_edns<'e>(
        &self,
        client: Client,
        extended_errors: &'e [ExtendedError],
    ) -> Option<ReplyEdns<'e>> {
        let edns = self.edns?;
        Some(ReplyEdns {
            dnssec_ok: edns.dnssec_ok,
            cookie: self.cookie,
            extended_errors,
            keepalive_100ms: client.keepalive_100ms.filter(|_| edns.keepalive),
            // RFC 7830 §4: only if the client pads, and never in the clear.
            padded_to: (edns.padding && client.transport.is_encrypted()).then_some(PADDED_TO_BYTES),
        })
    }

    /// Whether the client wants proofs (RFC 3225).
    pub(super) fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// The flags of every reply to a query: of the request only RD and CD go back.
    pub(super) fn reply_flags(&self) -> Flags {
        Flags::QR.with(Flags(self.flags.0 & (Flags::RD.0 | Flags::CD.0)), true).with(Flags::RA, true)
    }

    /// The largest reply the client takes over its transport.
    pub(super) fn limit(&self, client: Client) -> usize {
        usize::from(match (client.transport, self.edns) {
            (Transport::Tcp | Transport::Tls, _) => u16::MAX,
            (Transport::Udp, None) => UDP_PAYLOAD_BYTES_PLAIN,
            (Transport::Udp, Some(edns)) => edns.payload_bytes.min(UDP_PAYLOAD_BYTES),
        })
    }
}

/// SERVFAIL, and why; `None` when it does not fit the buffer.
pub(super) fn complete_failure(
    asked: &Asked<'_>,
    client: Client,
    why: ExtendedError,
    buffer: &mut [u8],
) -> Option<Reply> {
    complete_error(asked, client, Rcode::SERVFAIL, &[why], buffer)
}

/// A reply without records; `None` when it does not fit the buffer.
pub(super) fn complete_error(
    asked: &Asked<'_>,
    client: Client,
    rcode: Rcode,
    errors: &[ExtendedError],
    buffer: &mut [u8],
) -> Option<Reply> {
    debug_assert!(says_why(rcode, errors));
    let edns = asked.reply_edns(client, errors);
    let writer = ReplyWriter::new(buffer, asked.limit(client), asked.question).ok()?;
    // Nothing but id, opcode and RD of the request goes back (the JIGGLE attacks). RA is of queries alone (RFC 8906 §8.1.4).
    let is_query = asked.flags.opcode() == OPCODE_QUERY;
    let flags = Flags::QR.with(Flags(asked.flags.0 & 0x7900), true).with(Flags::RA, is_query);
    Some(Reply::error(writer.finish(asked.id, flags, rcode, edns.as_ref()), rcode))
}

/// A reply without records that has the client ask over TCP; `None` when it does not fit the buffer.
pub(super) fn complete_cut(asked: &Asked<'_>, client: Client, buffer: &mut [u8]) -> Option<Reply> {
    let edns = asked.reply_edns(client, &[]);
    let writer = ReplyWriter::new(buffer, asked.limit(client), asked.question).ok()?;
    let flags = asked.reply_flags().with(Flags::TC, true);
    let length = writer.finish(asked.id, flags, Rcode::NOERROR, edns.as_ref());
    Some(Reply::new(length, ReplyKind::new(Rcode::NOERROR, AnswerPath::Refused), UNNAMED))
}

/// What a reply may be longer than its question where the question may be forged: the code of an extended error.
const BYTES_MORE_MAX: usize = 6;

/// As `complete_error`, no longer than the message it answers but for `BYTES_MORE_MAX`: such replies must not be of use
/// to those who have them sent to others. The reason goes without its text, and a new cookie if there is no room.
pub(super) fn complete_error_briefly(
    asked: &Asked<'_>,
    message_bytes: usize,
    client: Client,
    rcode: Rcode,
    code: Option<u16>,
    buffer: &mut [u8],
) -> Option<Reply> {
    let error = code.map(|code| ExtendedError::new(code, ""));
    let bytes_max = message_bytes + BYTES_MORE_MAX - HEADER_BYTES - asked.question.len();
    let fits = |cookie, errors| {
        let asked = Asked { cookie, ..*asked };
        asked
            .reply_edns(client, errors)
            .is_none_or(|edns| edns.length() <= bytes_max)
            .then_some((asked, errors))
    };
    let (asked, errors) = fits(asked.cookie, error.as_slice())
        .or_else(|| fits(None, error.as_slice()))
        .unwrap_or((Asked { cookie: None, ..*asked }, &[]));
    complete_error(&asked, client, rcode, errors, buffer)
}

/// The reply that a finished chase makes; `None` when it does not fit the buffer.
pub(super) fn complete(
    asked: &Asked<'_>,
    client: Client,
    chase: &Chase<'_>,
    buffer: &mut [u8],
) -> Option<Reply> {
    let mut writer = ReplyWriter::new(buffer, asked.limit(client), asked.question).ok()?;
    debug_assert!(says_why(chase.rcode(), chase.errors()));
    let dnssec_ok = asked.dnssec_ok();
    let mut fits = |edns: Option<&ReplyEdns<'_>>| {
        writer.reserve(edns);
        let mut sections = Sections { writer: &mut writer, chase, dnssec_ok, rtype: asked.rtype };
        let written = sections.write();
        if written.is_err() {
            // RFC 2181 §9: what is cut short is asked again over TCP; no part of it is of use.
            writer.clear();
        }
        written.is_ok()
    };
    let mut edns = asked.reply_edns(client, chase.errors());
    let mut truncated = !fits(edns.as_ref());
    if truncated && !chase.errors().is_empty() {
        let bare = asked.reply_edns(client, &[]);
        truncated = !fits(bare.as_ref());
        // Records go before reasons; without any, `finish` leaves out the texts alone.
        if !truncated && !chase.parts().is_empty() {
            edns = bare;
        }
    }
    // RFC 6840 §5.8: AD tells only those who ask for it.
    let asked_for_ad = dnssec_ok || asked.flags.has(Flags::AD);
    let flags = asked
        .reply_flags()
        .with(Flags::AA, chase.is_authoritative())
        .with(Flags::AD, asked_for_ad && chase.is_authenticated())
        .with(Flags::TC, truncated);
    let length = writer.finish(asked.id, flags, chase.rcode(), edns.as_ref());
    Some(Reply::new(length, ReplyKind::new(chase.rcode(), chase.path()), chase.zone_number()))
}

/// Whether a reply gives a reason if it needs one: systemd-resolved 257 leaves a server that fails without one.
fn says_why(rcode: Rcode, errors: &[ExtendedError]) -> bool {
    rcode != Rcode::SERVFAIL || !errors.is_empty()
}

/// Writes a chase's parts into the sections of a reply.
struct Sections<'w, 'b, 'c, 's> {
    writer: &'w mut ReplyWriter<'b>,
    chase: &'c Chase<'s>,
    dnssec_ok: bool,
    rtype: RecordType,
}

impl Sections<'_, '_, '_, '_> {
    fn write(&mut self) -> Result<(), Full> {
        let chase = self.chase;
        for part in chase.parts() {
            match part {
                Part::Local { owner, offer, .. } => {
                    self.set(Section::Answer, chase.name(*owner), &offer.set)?
                }
                Part::Dname { owner, offer, .. } => {
                    self.set(Section::Answer, owner.to_buf().borrow(), &offer.set)?
                }
                Part::Alias { owner, ttl_secs } => {
                    let target = chase.name(owner + 1).as_wire();
                    self.writer.record(
                        Section::Answer,
                        chase.name(*owner),
                        RecordType::CNAME,
                        *ttl_secs,
                        target,
                    )?;
                }
                Part::Pointer { owner, ttl_secs, target } => self.writer.record(
                    Section::Answer,
                    chase.name(*owner),
                    RecordType::PTR,
                    *ttl_secs,
                    target.as_wire(),
                )?,
                Part::Upstream { relayed, records } => {
                    for record in &relayed.reply.answer[records.clone()] {
                        self.relayed(Section::Answer, relayed, record)?;
                    }
                }
            }
        }
        match chase.authority() {
            Authority::Nothing => {}
            Authority::Soa(zone) => self.soa(zone)?,
            Authority::Upstream(relayed) => {
                let mut authority = relayed.reply.authority.iter();
                authority.try_for_each(|record| self.relayed(Section::Authority, relayed, record))?;
            }
            Authority::Delegation(Delegation { cut, servers, .. }) => {
                self.set(Section::Authority, cut.to_buf().borrow(), &servers.set)?
            }
        }
        if self.dnssec_ok {
            let mut proofs = chase.proofs().into_iter();
            proofs.try_for_each(|(relayed, record)| self.relayed(Section::Authority, relayed, record))?;
        }
        match chase.authority() {
            Authority::Delegation(Delegation { servers, zone, .. }) => self.glue(servers, zone, chase.view()),
            _ => Ok(()),
        }
    }

    fn set(&mut self, section: Section, owner: NameRef<'_>, set: &RecordSet) -> Result<(), Full> {
        set.records().try_for_each(|data| self.writer.record(section, owner, set.rtype, set.ttl.secs(), data))
    }

    fn soa(&mut self, zone: &Zone) -> Result<(), Full> {
        let set = &zone.soa().set;
        let (owner, ttl_secs) = (zone.apex().borrow(), negative_ttl_secs(set));
        set.records().try_for_each(|data| {
            self.writer.record(Section::Authority, owner, RecordType::SOA, ttl_secs, data)
        })
    }

    /// Addresses of the name servers that lie in the zone; without room for them the reply is cut (RFC 9471).
    fn glue(&mut self, servers: &Offer, zone: &Zone, view: ViewId) -> Result<(), Full> {
        for server in servers.set.records() {
            let Ok((server, _)) = crate::dns::NameBuf::read_plain(server, 0) else { continue };
            let Some(node) = zone.node(server.borrow()) else { continue };
            for rtype in [RecordType::A, RecordType::AAAA] {
                if let Some(slot) = node.slot(rtype) {
                    self.set(Section::Additional, server.borrow(), &slot.served(view).set)?;
                }
            }
        }
        Ok(())
    }

    fn relayed(
        &mut self,
        section: Section,
        relayed: &Relayed,
        record: &crate::dns::Record,
    ) -> Result<(), Full> {
        if !is_shown(record.rtype, self.rtype, self.dnssec_ok) {
            return Ok(());
        }
        let ttl_secs = relayed.ttl_left_secs(record.ttl.secs());
        debug_assert!(ttl_secs <= record.ttl.secs().max(STALE_TTL_SECS));
        self.writer.record(section, record.owner(), record.rtype, ttl_secs, &record.data)
    }
}

/// Whether a record of upstream's goes into a reply: proofs only do if they were asked for.
pub(super) fn is_shown(rtype: RecordType, asked: RecordType, dnssec_ok: bool) -> bool {
    let is_proof = matches!(rtype, RecordType::RRSIG | RecordType::NSEC | RecordType::NSEC3);
    !is_proof || dnssec_ok || asked == rtype || asked == RecordType::ANY
}
