//! A whole message, as the slow paths read it: upstream's replies, tests, `explain`.

use smallvec::SmallVec;

use super::edns::Edns;
use super::header::{Flags, HEADER_BYTES};
use super::question::Question;
use super::record::CLASS_IN;
use super::request::RawRecord;
use super::{NameBuf, NameRef, Rcode, Record, RecordType, Ttl, rdata};

/// Most records read from one message: a 64 KiB message has no honest use for more.
const RECORDS_MAX: usize = 4096;

/// A message with all its records.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: u16,
    pub flags: Flags,
    /// The response code, EDNS's bits included.
    pub rcode: Rcode,
    pub question: Option<Question>,
    /// The question section as it came, whose case matters for 0x20.
    pub raw_question: Vec<u8>,
    pub answer: Vec<Record>,
    pub authority: Vec<Record>,
    pub additional: Vec<Record>,
    pub extended_error: Option<(u16, String)>,
    pub has_edns: bool,
    /// The COOKIE option, if any.
    pub cookie: Option<Vec<u8>>,
}

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("the message is cut short or its names are malformed")]
    Malformed,
    #[error("the message has more than {RECORDS_MAX} records")]
    TooManyRecords,
    #[error("the message has more than one question")]
    TooManyQuestions,
}

impl Message {
    /// Reads a message; records of another class than IN are left out.
    pub fn read(message: &[u8]) -> Result<Message, MessageError> {
        let header = message.first_chunk::<HEADER_BYTES>().ok_or(MessageError::Malformed)?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let flags = Flags(word(2));
        let mut at = HEADER_BYTES;
        let question = match word(4) {
            0 => None,
            1 => {
                let (name, end) = NameBuf::read(message, at).map_err(|_| MessageError::Malformed)?;
                let fixed = message.get(end..end + 4).ok_or(MessageError::Malformed)?;
                at = end + 4;
                let rtype = RecordType(u16::from_be_bytes([fixed[0], fixed[1]]));
                Some(Question { name: name.to_name(), rtype })
            }
            _ => return Err(MessageError::TooManyQuestions),
        };
        let mut read = Message {
            id: word(0),
            flags,
            rcode: flags.rcode(),
            question,
            raw_question: message[HEADER_BYTES..at].to_vec(),
            answer: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
            extended_error: None,
            has_edns: false,
            cookie: None,
        };
        let counts = [word(6), word(8), word(10)].map(usize::from);
        if counts.iter().sum::<usize>() > RECORDS_MAX {
            return Err(MessageError::TooManyRecords);
        }
        for (section, count) in counts.into_iter().enumerate() {
            for _ in 0..count {
                at = read.read_record(message, at, section)?;
            }
        }
        Ok(read)
    }

    fn read_record(&mut self, message: &[u8], at: usize, section: usize) -> Result<usize, MessageError> {
        let raw = RawRecord::read(message, at).ok_or(MessageError::Malformed)?;
        if raw.rtype == RecordType::OPT {
            let edns =
                Edns::read(raw.class, raw.ttl, raw.data(message)).map_err(|_| MessageError::Malformed)?;
            self.has_edns = true;
            self.rcode = Rcode(u16::from(edns.rcode_high) << 4 | self.rcode.0 & 0x0F);
            self.cookie = edns.cookie.map(<[u8]>::to_vec);
            self.extended_error =
                edns.extended_error.map(|(code, text)| (code, String::from_utf8_lossy(text).into_owned()));
            return Ok(raw.end);
        }
        if raw.class != CLASS_IN {
            return Ok(raw.end);
        }
        let (owner, _) = NameBuf::read(message, at).map_err(|_| MessageError::Malformed)?;
        let data = rdata::expand(raw.rtype, message, raw.data_start, raw.end);
        let data = data.map_err(|_| MessageError::Malformed)?.into_boxed_slice();
        let record = Record { owner: owner.to_name(), rtype: raw.rtype, ttl: Ttl::from_wire(raw.ttl), data };
        match section {
            0 => self.answer.push(record),
            1 => self.authority.push(record),
            _ => self.additional.push(record),
        }
        Ok(raw.end)
    }
}

/// What a query may ask of the one who answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct QueryFlags {
    pub dnssec_ok: bool,
    pub checking_disabled: bool,
}

/// Bytes of a query that are kept without the heap: one for most names.
const QUERY_BYTES_USUAL: usize = 96;

/// The bytes of a query.
pub type QueryBytes = SmallVec<[u8; QUERY_BYTES_USUAL]>;

/// A query with RD set, and an OPT record if `edns`.
pub fn query(id: u16, name: NameRef<'_>, rtype: RecordType, flags: QueryFlags, edns: bool) -> Vec<u8> {
    query_bytes(id, name, rtype, flags, edns).into_vec()
}

/// As `query`, for one of many.
pub fn query_bytes(
    id: u16,
    name: NameRef<'_>,
    rtype: RecordType,
    flags: QueryFlags,
    edns: bool,
) -> QueryBytes {
    let mut message = QueryBytes::new();
    let [id_high, id_low] = id.to_be_bytes();
    let [flags_high, flags_low] = Flags::RD.with(Flags::CD, flags.checking_disabled).0.to_be_bytes();
    let opts = u8::from(edns);
    message.extend_from_slice(&[id_high, id_low, flags_high, flags_low, 0, 1, 0, 0, 0, 0, 0, opts]);
    message.extend_from_slice(name.as_wire());
    let [[type_high, type_low], [class_high, class_low]] = [rtype.0, CLASS_IN].map(u16::to_be_bytes);
    message.extend_from_slice(&[type_high, type_low, class_high, class_low]);
    if edns {
        let [payload_high, payload_low] = super::edns::UDP_PAYLOAD_BYTES.to_be_bytes();
        let dnssec_ok = if flags.dnssec_ok { 0x80 } else { 0 };
        message.extend_from_slice(&[0, 0, 41, payload_high, payload_low, 0, 0, dnssec_ok, 0, 0, 0]);
    }
    message
}
