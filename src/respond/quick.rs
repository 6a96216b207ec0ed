//! The usual answers at their least cost: an address of a zone, or that there is none.
//!
//! What is written here is byte for byte what a `Chase` makes; whatever might differ is left to it.

use super::ahead::Place;
use super::client::Client;
use super::complete::Asked;
use super::reply::{Reply, ReplyKind};
use crate::dns::header::QUESTION_POINTER;
use crate::dns::record::CLASS_IN;
use crate::dns::{Flags, NameRef, Rcode, RecordSet, RecordType, ReplyWriter};
use crate::observe::AnswerPath;
use crate::zone::{OnMissing, Outcome, Snapshot, ViewId, Zone};

/// Bytes of a record with a compressed owner before its data.
const RECORD_HEAD_BYTES: usize = 12;

/// Whether a question may be answered here.
pub(super) fn is_quick(name: NameRef<'_>, rtype: RecordType) -> bool {
    matches!(rtype, RecordType::A | RecordType::AAAA) && !name.is_root()
}

/// The reply to a question that one zone answers at once, if this is one.
pub(super) fn answer(
    asked: &Asked<'_>,
    name: NameRef<'_>,
    place: Option<&Place<'_>>,
    snapshot: &Snapshot,
    view: ViewId,
    client: Client,
    buffer: &mut [u8],
) -> Option<Reply> {
    // A reason belongs to what is stale.
    if !is_quick(name, asked.rtype) || snapshot.stale().is_some() {
        return None;
    }
    let (zone, outcome) = match place {
        Some(Place::Zone(way)) => (way.zone(), way.lookup(name, asked.rtype, view)),
        Some(Place::Finished(_)) => return None,
        None => {
            let zone = snapshot.zone_for(name, view)?;
            (zone, zone.lookup(name, asked.rtype, view))
        }
    };
    let edns = asked.reply_edns(client, &[]);
    let mut writer = ReplyWriter::new(buffer, asked.limit(client), asked.question).ok()?;
    writer.reserve(edns.as_ref());
    let rcode = match outcome {
        Outcome::Hit(offer) => {
            write_set(&mut writer, &offer.set)?;
            Rcode::NOERROR
        }
        Outcome::NoData => {
            write_soa(&mut writer, zone, name)?;
            Rcode::NOERROR
        }
        // A reason may belong to the answer.
        Outcome::NoSuchName
            if zone.header().on_missing == OnMissing::NxDomain && snapshot.withheld(name).is_none() =>
        {
            write_soa(&mut writer, zone, name)?;
            Rcode::NXDOMAIN
        }
        _ => return None,
    };
    let length = writer.finish(asked.id, asked.reply_flags().with(Flags::AA, true), rcode, edns.as_ref());
    Some(Reply::new(length, ReplyKind::new(rcode, AnswerPath::Authoritative), zone.number()))
}

/// Writes addresses, owned by the question's name; `None` when they do not fit.
fn write_set(writer: &mut ReplyWriter<'_>, set: &RecordSet) -> Option<()> {
    for data in set.records() {
        let mut record = [0; RECORD_HEAD_BYTES + 16];
        record[..2].copy_from_slice(&QUESTION_POINTER);
        record[2..4].copy_from_slice(&set.rtype.0.to_be_bytes());
        record[4..6].copy_from_slice(&CLASS_IN.to_be_bytes());
        record[6..10].copy_from_slice(&set.ttl.secs().to_be_bytes());
        record[10..12].copy_from_slice(&(data.len() as u16).to_be_bytes());
        let end = RECORD_HEAD_BYTES + data.len();
        record.get_mut(RECORD_HEAD_BYTES..end)?.copy_from_slice(data);
        writer.finished([1, 0, 0], &record[..end]).ok()?;
    }
    Some(())
}

fn write_soa(writer: &mut ReplyWriter<'_>, zone: &Zone, name: NameRef<'_>) -> Option<()> {
    zone.negative()?.write(writer, name).then_some(())
}
