//! A query to an upstream, and how to know the reply to it.

use rand::Rng;

use super::case::{self, Case};
use crate::dns::edns::{Edns, OPTION_PADDING};
use crate::dns::header::{HEADER_BYTES, OPCODE_QUERY};
use crate::dns::message::{self, QueryBytes};
use crate::dns::request::RawRecord;
use crate::dns::{Flags, QueryFlags, Question, Rcode, RecordType};

/// Tries to mix a name's case well; of names with eight letters one in fourteen needs a second.
const MIXES_MAX: usize = 4;

/// The length that queries over TLS are multiples of (RFC 8467 §4.1).
const PADDING_BLOCK: usize = 128;

/// Where the header's count of additional records ends.
const ARCOUNT_END: usize = HEADER_BYTES - 1;

/// An OPT record without options.
const OPT_BYTES: usize = 11;

/// Code and length of an option.
const OPTION_HEADER_BYTES: usize = 4;

/// A query's bytes, its id and its case random.
#[derive(Clone, Debug)]
pub struct Query {
    bytes: QueryBytes,
    question_end: usize,
    case: Case,
}

/// What received bytes are to a query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// Its reply.
    Reply,
    /// Its reply, or a forgery that guessed all but the case.
    CaseDiffers,
    /// Its reply, cut before the end of the question; or a forgery that guessed id and port.
    Cut,
    /// An error without the question (RFC 1035 §4.1.1), its reply; or a forgery that guessed id and port.
    Bare(Rcode),
    /// Something else.
    Stranger,
}

impl Query {
    pub(super) fn new(question: &Question, flags: QueryFlags, edns: bool, case: Case) -> Query {
        let mut random = rand::rng();
        let name = question.name.borrow();
        let mut bytes = message::query_bytes(random.random(), name, question.rtype, flags, edns);
        let name_end = HEADER_BYTES + name.as_wire().len();
        if case == Case::Mixed {
            case::mix(&mut bytes[HEADER_BYTES..name_end], &mut random);
            // Again if by chance nearly all letters have one case: the question must be known if it comes back.
            let can_be_known = case::has_letters(&bytes[HEADER_BYTES..name_end + 4]);
            for _ in 1..MIXES_MAX {
                if !can_be_known || case::is_recognisable(&bytes[HEADER_BYTES..name_end + 4]) {
                    break;
                }
                case::mix(&mut bytes[HEADER_BYTES..name_end], &mut random);
            }
        }
        Query { bytes, question_end: name_end + 4, case }
    }

    /// The same for a server that is to say what it has, and to ask nobody (RD clear).
    pub(super) fn without_recursion(mut self) -> Query {
        self.bytes[2] &= !((Flags::RD.0 >> 8) as u8);
        self
    }

    /// Makes its length a multiple of 128 (RFC 8467 §4.1), once; one without EDNS stays as it is.
    pub(super) fn pad(&mut self) {
        let has_bare_opt = self.bytes[ARCOUNT_END] == 1 && self.bytes.len() == self.question_end + OPT_BYTES;
        if has_bare_opt {
            let end = self.bytes.len();
            let padded = (end + OPTION_HEADER_BYTES).next_multiple_of(PADDING_BLOCK);
            let padding = padded - end - OPTION_HEADER_BYTES;
            // Below a block each, so that the high bytes of both lengths are 0.
            self.bytes[end - 1] = (OPTION_HEADER_BYTES + padding) as u8;
            self.bytes.extend_from_slice(&[0, OPTION_PADDING as u8, 0, padding as u8]);
            self.bytes.resize(padded, 0);
        }
    }

    /// The whole message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The question section.
    pub fn question(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..self.question_end]
    }

    /// How its letters are written.
    pub(super) fn case(&self) -> Case {
        self.case
    }

    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.bytes[0], self.bytes[1]])
    }

    /// Takes another random id.
    pub fn renew_id(&mut self) {
        self.bytes[..2].copy_from_slice(&rand::random::<[u8; 2]>());
    }

    /// What `received` from the query's own upstream is (RFC 5452 §9.1).
    pub fn judge(&self, received: &[u8]) -> Judgement {
        let Some(header) = received.first_chunk::<HEADER_BYTES>() else { return Judgement::Stranger };
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let flags = Flags(word(2));
        if header[..2] != self.bytes[..2] || !flags.has(Flags::QR) || flags.opcode() != OPCODE_QUERY {
            return Judgement::Stranger;
        }
        let question = received.get(HEADER_BYTES..self.question_end).filter(|_| word(4) == 1);
        match question {
            Some(question) if question == self.question() => Judgement::Reply,
            Some(question) if same_but_for_case(question, self.question()) => match self.case {
                Case::Mixed => Judgement::CaseDiffers,
                Case::Plain => Judgement::Reply,
            },
            Some(_) => Judgement::Stranger,
            None if flags.has(Flags::TC) && self.begins_with(&received[HEADER_BYTES..], word(4)) => {
                Judgement::Cut
            }
            None => bare_error(received).map_or(Judgement::Stranger, Judgement::Bare),
        }
    }

    /// Whether what is left behind a header that counts so many questions may be of this query's reply.
    fn begins_with(&self, left: &[u8], questions: u16) -> bool {
        let own = &self.question()[..left.len().min(self.question().len())];
        match questions {
            0 => true,
            1 => left.eq_ignore_ascii_case(own),
            _ => false,
        }
    }
}

/// The code of an error that consists of the header, or of the header and an OPT record.
// Real servers send both: Unbound 1.17 to those whom it refuses by default, others to EDNS that they do not know.
fn bare_error(received: &[u8]) -> Option<Rcode> {
    let (header, rest) = received.split_first_chunk::<HEADER_BYTES>()?;
    let low = u16::from(header[3] & 0x0F);
    let rcode = if rest.is_empty() {
        // Whatever it still counts.
        low
    } else {
        let raw = RawRecord::read(received, HEADER_BYTES)?;
        let is_opt = raw.rtype == RecordType::OPT && raw.end == received.len();
        if !is_opt || header[4..] != [0, 0, 0, 0, 0, 0, 0, 1] {
            return None;
        }
        let edns = Edns::read(raw.class, raw.ttl, raw.data(received)).ok()?;
        u16::from(edns.rcode_high) << 4 | low
    };
    (rcode != 0).then_some(Rcode(rcode))
}

/// Whether two question sections of one length differ in the case of letters only; type and class have none.
fn same_but_for_case(one: &[u8], other: &[u8]) -> bool {
    let (name, fixed) = one.split_at(one.len() - 4);
    let (other_name, other_fixed) = other.split_at(other.len() - 4);
    fixed == other_fixed && name.eq_ignore_ascii_case(other_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Message, RecordType};

    fn query(case: Case) -> Query {
        let question =
            Question { name: "account.blob.core.windows.net.".parse().unwrap(), rtype: RecordType::A };
        Query::new(&question, QueryFlags { dnssec_ok: true, checking_disabled: true }, true, case)
    }

    fn reply_to(query: &Query) -> Vec<u8> {
        let mut reply = query.as_bytes()[..query.question_end].to_vec();
        reply[2] |= 0x80;
        reply[11] = 0;
        reply
    }

    #[test]
    fn a_query_says_no_more_than_it_must() {
        let sent = Message::read(query(Case::Mixed).as_bytes()).unwrap();
        assert_eq!(sent.flags, Flags::RD.with(Flags::CD, true));
        assert!(sent.has_edns && sent.cookie.is_none() && sent.additional.is_empty());
    }

    #[test]
    fn queries_over_tls_are_multiples_of_128_bytes() {
        for labels in 0..60 {
            let name = format!("{}a.", "b.".repeat(labels));
            let question = Question { name: name.parse().unwrap(), rtype: RecordType::A };
            let mut query = Query::new(&question, QueryFlags::default(), true, Case::Plain);
            query.pad();
            query.pad();
            assert_eq!(query.as_bytes().len() % 128, 0, "{name}");
            assert!(query.as_bytes().len() <= query.question_end + OPT_BYTES + OPTION_HEADER_BYTES + 127);
            let sent = Message::read(query.as_bytes()).unwrap();
            assert!(sent.has_edns && sent.additional.is_empty());
            let mut plain = Query::new(&question, QueryFlags::default(), false, Case::Plain);
            plain.pad();
            assert_eq!(plain.as_bytes().len(), plain.question_end);
        }
    }

    #[test]
    fn only_the_reply_to_this_query_is_one() {
        let query = query(Case::Plain);
        let reply = reply_to(&query);
        assert_eq!(query.judge(&reply), Judgement::Reply);
        let changed = |at: usize, bit: u8| {
            let mut reply = reply.clone();
            reply[at] ^= bit;
            query.judge(&reply)
        };
        for (at, bit) in [(0, 1), (1, 1), (2, 0x80), (2, 0x08), (5, 1), (14, 1), (query.question_end - 3, 1)]
        {
            assert_eq!(changed(at, bit), Judgement::Stranger, "byte {at}");
        }
        assert_eq!(query.judge(&reply[..reply.len() - 1]), Judgement::Stranger);
        assert_eq!(query.judge(&reply[..5]), Judgement::Stranger);
        // Case is of no matter when the query had none.
        assert_eq!(changed(14, 0x20), Judgement::Reply);
    }

    #[test]
    fn an_error_without_the_question_is_known_for_one() {
        const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
        let query = query(Case::Mixed);
        let bare = |rcode: u8, questions: u8, opts: u8, rest: &[u8]| {
            let id = query.id().to_be_bytes();
            let header = [id[0], id[1], 0x80, rcode, 0, questions, 0, 0, 0, 0, 0, opts];
            query.judge(&[&header[..], rest].concat())
        };
        for rcode in 1..16 {
            assert_eq!(bare(rcode, 0, 0, b""), Judgement::Bare(Rcode(rcode.into())));
            assert_eq!(bare(rcode, 0, 1, OPT), Judgement::Bare(Rcode(rcode.into())));
        }
        // What is counted and not there, as of a query whose header came back.
        assert_eq!(bare(5, 1, 1, b""), Judgement::Bare(Rcode::REFUSED));
        let badvers = [&OPT[..5], &[1], &OPT[6..]].concat();
        assert_eq!(bare(0, 0, 1, &badvers), Judgement::Bare(Rcode::BADVERS));
        for (rcode, questions, opts, rest) in [
            (0, 0, 0, &b""[..]),
            (0, 0, 1, OPT),
            (5, 0, 0, OPT),
            (5, 1, 1, OPT),
            (5, 0, 1, &OPT[1..]),
            (5, 0, 1, &[OPT, b"x"].concat()),
            (5, 0, 2, &[OPT, OPT].concat()),
        ] {
            assert_eq!(bare(rcode, questions, opts, rest), Judgement::Stranger, "{rcode} {questions} {opts}");
        }
    }

    #[test]
    fn a_reply_that_is_cut_must_match_as_far_as_it_goes() {
        let query = query(Case::Mixed);
        let mut whole = reply_to(&query);
        whole[2] |= 0x02;
        assert_eq!(query.judge(&whole), Judgement::Reply);
        for end in HEADER_BYTES..whole.len() {
            assert_eq!(query.judge(&whole[..end]), Judgement::Cut, "{end} bytes");
        }
        whole[5] = 0;
        assert_eq!(query.judge(&whole[..HEADER_BYTES]), Judgement::Cut);
        for (at, bit) in [(1, 1), (2, 0x80), (2, 0x02), (5, 3), (14, 1)] {
            let mut other = whole[..20].to_vec();
            other[5] = 1;
            other[at] ^= bit;
            assert_eq!(query.judge(&other), Judgement::Stranger, "byte {at}");
        }
    }

    #[test]
    fn a_reply_in_another_case_is_told_apart() {
        let query = query(Case::Mixed);
        let mut reply = reply_to(&query);
        assert_eq!(query.judge(&reply), Judgement::Reply);
        reply[14] ^= 0x20;
        assert_eq!(query.judge(&reply), Judgement::CaseDiffers);
    }

    #[test]
    fn ids_of_ten_thousand_queries_look_random() {
        let ids: Vec<u16> = (0..10_000).map(|_| query(Case::Mixed).id()).collect();
        for bit in 0..16 {
            let ones = ids.iter().filter(|id| *id >> bit & 1 == 1).count();
            // Fifty is one deviation; ten of them do not happen.
            assert!((4500..5500).contains(&ones), "bit {bit} is set in {ones}");
        }
        let distinct: std::collections::HashSet<&u16> = ids.iter().collect();
        assert!(distinct.len() > 9000);
        let rising = ids.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((4500..5500).contains(&rising));
    }
}
