//! Records: their types, classes, lifetimes, and the sets they come in.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use super::{Name, NameBuf, NameRef};

/// A record type by number; text is its mnemonic or `TYPE123` (RFC 3597 §5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordType(pub u16);

macro_rules! record_types {
    ($($name:ident = $number:literal,)*) => {
        impl RecordType {
            $(pub const $name: RecordType = RecordType($number);)*
        }

        const MNEMONICS: &[(&str, RecordType)] = &[$((stringify!($name), RecordType::$name),)*];
    };
}

record_types! {
    A = 1, NS = 2, MD = 3, MF = 4, CNAME = 5, SOA = 6, MB = 7, MG = 8, MR = 9, NULL = 10, PTR = 12, HINFO = 13,
    MINFO = 14, MX = 15, TXT = 16, RP = 17, AFSDB = 18, X25 = 19, ISDN = 20, RT = 21, NSAP = 22, SIG = 24, KEY = 25,
    PX = 26, GPOS = 27, AAAA = 28, LOC = 29, NXT = 30, SRV = 33, NAPTR = 35, KX = 36, CERT = 37, DNAME = 39, OPT = 41,
    APL = 42, DS = 43, SSHFP = 44, IPSECKEY = 45, RRSIG = 46, NSEC = 47, DNSKEY = 48, DHCID = 49, NSEC3 = 50,
    NSEC3PARAM = 51, TLSA = 52, SMIMEA = 53, NINFO = 56, RKEY = 57, TALINK = 58, CDS = 59, CDNSKEY = 60,
    OPENPGPKEY = 61, CSYNC = 62, ZONEMD = 63, SVCB = 64, HTTPS = 65, SPF = 99, NID = 104, L32 = 105, L64 = 106,
    LP = 107, EUI48 = 108, EUI64 = 109, NXNAME = 128, TKEY = 249, TSIG = 250, IXFR = 251, AXFR = 252, MAILB = 253,
    MAILA = 254, ANY = 255, URI = 256, CAA = 257, AVC = 258, RESINFO = 261, WALLET = 262,
}

impl RecordType {
    /// Whether the number asks something rather than names data (RFC 6895 §3.1).
    pub fn is_question_only(self) -> bool {
        matches!(self.0, 0 | 41 | 128..=255)
    }

    /// Types that live beside a CNAME or are answered instead of it (RFC 4035 §2.5).
    pub fn is_beside_cname(self) -> bool {
        matches!(self, RecordType::CNAME | RecordType::RRSIG | RecordType::NSEC | RecordType::NSEC3)
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match MNEMONICS.iter().find(|(_, rtype)| rtype == self) {
            Some((mnemonic, _)) => out.write_str(mnemonic),
            None => write!(out, "TYPE{}", self.0),
        }
    }
}

impl fmt::Debug for RecordType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for RecordType {
    type Err = UnknownRecordType;

    fn from_str(text: &str) -> Result<RecordType, UnknownRecordType> {
        if let Some((_, rtype)) = MNEMONICS.iter().find(|(mnemonic, _)| mnemonic.eq_ignore_ascii_case(text)) {
            return Ok(*rtype);
        }
        let number = text.get(..4).filter(|prefix| prefix.eq_ignore_ascii_case("TYPE")).map(|_| &text[4..]);
        number
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .map(RecordType)
            .ok_or_else(|| UnknownRecordType(text.to_owned()))
    }
}

/// Text that is no record type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a record type{advice}", advice = advice(.0))]
pub struct UnknownRecordType(String);

/// What to write instead of what other servers take for a type.
fn advice(text: &str) -> &'static str {
    let is_alias = ["ALIAS", "ANAME"].iter().any(|alias| alias.eq_ignore_ascii_case(text));
    match is_alias {
        true => {
            " of the DNS: write CNAME below the apex; at the apex the A and AAAA records of its target, or for \
             browsers `HTTPS 0 target`"
        }
        false => "",
    }
}

/// The class of the Internet, the only one served.
pub const CLASS_IN: u16 = 1;

/// Seconds a record may be kept; the top bit is clear (RFC 2181 §8).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ttl(u32);

impl Ttl {
    /// The longest lifetime (RFC 2181 §8), also Azure Private DNS's.
    pub const MAX: Ttl = Ttl(i32::MAX as u32);

    /// A lifetime as a zone may state it.
    pub fn from_secs(secs: u32) -> Option<Ttl> {
        (secs <= Ttl::MAX.0).then_some(Ttl(secs))
    }

    /// A lifetime as a message states it: with the top bit set it counts as zero (RFC 2181 §8).
    pub fn from_wire(value: u32) -> Ttl {
        Ttl::from_secs(value).unwrap_or(Ttl(0))
    }

    /// Seconds.
    pub fn secs(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

impl fmt::Debug for Ttl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

/// All records of one type at one name; record data sorted, no two alike.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordSet {
    pub rtype: RecordType,
    pub ttl: Ttl,
    count: u16,
    data: SetData,
}

/// Two addresses with their lengths take twelve bytes; so large, a set is 24 bytes.
const SHORT_DATA_BYTES_MAX: usize = 14;

/// Each record's data behind its length in 16 bits; names in it are not compressed. What is short lies in place.
#[derive(Clone, PartialEq, Eq)]
enum SetData {
    Short { length: u8, bytes: [u8; SHORT_DATA_BYTES_MAX] },
    // One word here, where `Arc<[u8]>` would make every set larger.
    Long(Arc<Vec<u8>>),
}

/// More records than a set may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record set's data is larger than a message can carry ({} bytes)", RecordSet::MAX_BYTES)]
pub struct RecordSetTooLarge;

impl RecordSet {
    /// A set must fit a message of 64 KiB with its header, question, owner and OPT record.
    pub const MAX_BYTES: usize = 60_000;

    /// A set of record data in wire form; what is there twice counts once (RFC 2181 §5).
    pub fn new<D: AsRef<[u8]>>(
        rtype: RecordType,
        ttl: Ttl,
        records: impl IntoIterator<Item = D>,
    ) -> Result<RecordSet, RecordSetTooLarge> {
        let mut records = records.into_iter();
        let first = records.next();
        // Most sets are one record: it is not sorted, nor put into a list for that.
        let Some(second) = records.next() else {
            return RecordSet::of_sorted(rtype, ttl, first.as_slice());
        };
        let mut records: Vec<D> = first.into_iter().chain([second]).chain(records).collect();
        records.sort_by(|one, other| one.as_ref().cmp(other.as_ref()));
        records.dedup_by(|one, other| one.as_ref() == other.as_ref());
        RecordSet::of_sorted(rtype, ttl, &records)
    }

    fn of_sorted<D: AsRef<[u8]>>(
        rtype: RecordType,
        ttl: Ttl,
        records: &[D],
    ) -> Result<RecordSet, RecordSetTooLarge> {
        let data = SetData::of(records)?;
        // Each record costs ten bytes and a pointer more in a message than here.
        if data.len() + records.len() * 10 > RecordSet::MAX_BYTES {
            return Err(RecordSetTooLarge);
        }
        Ok(RecordSet { rtype, ttl, count: records.len() as u16, data })
    }

    /// The data of each record.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.data[..];
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk::<2>()?;
            let (record, behind) = behind.split_at(usize::from(u16::from_be_bytes(*length)));
            rest = behind;
            Some(record)
        })
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The name that a CNAME, DNAME or NS set's first record points to.
    pub fn target(&self) -> Option<NameBuf> {
        let first = self.records().next()?;
        NameBuf::read_plain(first, 0).ok().map(|(name, _)| name)
    }
}

impl SetData {
    fn of<D: AsRef<[u8]>>(records: &[D]) -> Result<SetData, RecordSetTooLarge> {
        let length = records.iter().map(|record| record.as_ref().len() + 2).sum();
        let mut short = [0; SHORT_DATA_BYTES_MAX];
        let mut long = Vec::new();
        let is_short = length <= SHORT_DATA_BYTES_MAX;
        if !is_short {
            long.resize(length, 0);
        }
        let mut rest = if is_short { &mut short[..] } else { &mut long[..] };
        for record in records {
            let record = record.as_ref();
            let prefix = u16::try_from(record.len()).map_err(|_| RecordSetTooLarge)?;
            let (place, behind) = rest.split_at_mut(2 + record.len());
            place[..2].copy_from_slice(&prefix.to_be_bytes());
            place[2..].copy_from_slice(record);
            rest = behind;
        }
        Ok(match is_short {
            true => SetData::Short { length: length as u8, bytes: short },
            false => SetData::Long(Arc::new(long)),
        })
    }
}

impl Deref for SetData {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            SetData::Short { length, bytes } => &bytes[..usize::from(*length)],
            SetData::Long(bytes) => bytes,
        }
    }
}

impl fmt::Debug for RecordSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for record in self.records() {
            write!(out, "{} {} {}; ", self.ttl, self.rtype, super::rdata::to_text(self.rtype, record))?;
        }
        Ok(())
    }
}

/// Bytes of an RRSIG record's data before its signer (RFC 4034 §3.1).
const RRSIG_FIXED_BYTES: usize = 18;

/// One record as a message carried it, names in its data uncompressed.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    pub owner: Name,
    pub rtype: RecordType,
    pub ttl: Ttl,
    pub data: Box<[u8]>,
}

impl Record {
    /// The name that a CNAME or DNAME record points to.
    pub fn target(&self) -> Option<NameBuf> {
        NameBuf::read_plain(&self.data, 0).ok().map(|(name, _)| name)
    }

    /// The type that an RRSIG record signs (RFC 4034 §3.1.1).
    pub fn type_covered(&self) -> Option<RecordType> {
        let bytes = self.data.first_chunk::<2>().filter(|_| self.rtype == RecordType::RRSIG)?;
        Some(RecordType(u16::from_be_bytes(*bytes)))
    }

    /// The zone whose key made an RRSIG record (RFC 4034 §3.1.7).
    pub fn signer(&self) -> Option<NameBuf> {
        let data = self.data.get(RRSIG_FIXED_BYTES..).filter(|_| self.rtype == RecordType::RRSIG)?;
        NameBuf::read_plain(data, 0).ok().map(|(name, _)| name)
    }

    /// Whether an RRSIG record signs what a wildcard made: its owner has more labels than were signed (RFC 4034 §3.1.3).
    pub fn is_of_wildcard(&self) -> bool {
        let signed = self.data.get(3).filter(|_| self.rtype == RecordType::RRSIG);
        let labels = self.owner().label_count() - usize::from(self.owner().is_wildcard());
        signed.is_some_and(|signed| usize::from(*signed) < labels)
    }

    /// Owner as a reference.
    pub fn owner(&self) -> NameRef<'_> {
        self.owner.borrow()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = super::rdata::to_text(self.rtype, &self.data);
        write!(out, "{} {} {} {data}", self.owner, self.ttl, self.rtype)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_types_have_names_or_numbers() {
        for (text, number) in [("AAAA", 28), ("https", 65), ("TYPE65280", 65280), ("type1", 1)] {
            assert_eq!(text.parse::<RecordType>().unwrap().0, number);
        }
        assert_eq!(RecordType(65280).to_string(), "TYPE65280");
        for text in ["", "TYPE", "TYPE65536", "TYPE+1", "BOGUS"] {
            assert!(text.parse::<RecordType>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_set_is_sorted_and_has_no_twins() {
        let ttl = Ttl::from_secs(60).unwrap();
        let set = RecordSet::new(RecordType::A, ttl, [[10, 0, 0, 2], [10, 0, 0, 1], [10, 0, 0, 2]]).unwrap();
        assert_eq!(set.records().collect::<Vec<_>>(), [[10, 0, 0, 1], [10, 0, 0, 2]]);
        assert_eq!(set.len(), 2);
        assert!(RecordSet::new(RecordType::TXT, ttl, (0..100u8).map(|n| vec![n; 1000])).is_err());
    }

    #[test]
    fn a_ttl_with_the_top_bit_set_counts_as_zero() {
        assert_eq!(Ttl::from_wire(0x8000_0001).secs(), 0);
        assert_eq!(Ttl::from_secs(0x8000_0000), None);
    }
}
