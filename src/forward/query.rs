//! A query to an upstream, and how to know the reply to it.

use rand::Rng;

use super::case::{self, Case};
use crate::dns::header::{HEADER_BYTES, OPCODE_QUERY};
use crate::dns::message::{self, QueryBytes};
use crate::dns::{Flags, QueryFlags, Question, Rcode};

/// Tries to mix a name's case well; of names with eight letters one in fourteen needs a second.
const MIXES_MAX: usize = 4;

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
        // Servers that cannot read a query answer with the bare header (RFC 1035 §4.1.1).
        if word(4) == 0 && received.len() == HEADER_BYTES && flags.rcode() == Rcode::FORMERR {
            return Judgement::Reply;
        }
        let question = received.get(HEADER_BYTES..self.question_end).filter(|_| word(4) == 1);
        match question {
            Some(question) if question == self.question() => Judgement::Reply,
            Some(question) if same_but_for_case(question, self.question()) => match self.case {
                Case::Mixed => Judgement::CaseDiffers,
                Case::Plain => Judgement::Reply,
            },
            _ => Judgement::Stranger,
        }
    }
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
        let mut formerr = reply[..HEADER_BYTES].to_vec();
        (formerr[3], formerr[5]) = (1, 0);
        assert_eq!(query.judge(&formerr), Judgement::Reply);
        formerr[3] = 0;
        assert_eq!(query.judge(&formerr), Judgement::Stranger);
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
