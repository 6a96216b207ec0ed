//! Words for numbers in record data, as BIND takes them; a number is always taken too.

/// DNSSEC algorithms (IANA "DNS Security Algorithm Numbers") with their older and newer spellings.
pub(super) const ALGORITHMS: &[(&str, u16)] = &[
    ("RSAMD5", 1),
    ("DH", 2),
    ("DSA", 3),
    ("RSASHA1", 5),
    ("NSEC3DSA", 6),
    ("DSA-NSEC3-SHA1", 6),
    ("NSEC3RSASHA1", 7),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECCGOST", 12),
    ("ECC-GOST", 12),
    ("ECDSAP256SHA256", 13),
    ("ECDSA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ECDSA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
    ("INDIRECT", 252),
    ("PRIVATEDNS", 253),
    ("PRIVATEOID", 254),
];

/// Digest types of DS (IANA "Delegation Signer (DS) Digest Algorithms").
pub(super) const DIGESTS: &[(&str, u16)] = &[
    ("SHA-1", 1),
    ("SHA1", 1),
    ("SHA-256", 2),
    ("SHA256", 2),
    ("GOST", 3),
    ("GOST R 34.11-94", 3),
    ("SHA-384", 4),
    ("SHA384", 4),
];

/// Certificate types (RFC 4398 §2.1).
pub(super) const CERTIFICATES: &[(&str, u16)] = &[
    ("PKIX", 1),
    ("SPKI", 2),
    ("PGP", 3),
    ("IPKIX", 4),
    ("ISPKI", 5),
    ("IPGP", 6),
    ("ACPKIX", 7),
    ("IACPKIX", 8),
    ("URI", 253),
    ("OID", 254),
];

/// Protocols of KEY (RFC 2535 §3.1.3).
pub(super) const PROTOCOLS: &[(&str, u16)] =
    &[("NONE", 0), ("TLS", 1), ("EMAIL", 2), ("DNSSEC", 3), ("IPSEC", 4), ("ALL", 255)];

/// Flags of KEY and DNSKEY (RFC 2535 §3.1.2), joined by `|`.
const KEY_FLAGS: &[(&str, u16)] = &[
    ("NOAUTH", 0x8000),
    ("NOCONF", 0x4000),
    ("NOKEY", 0xC000),
    ("FLAG2", 0x2000),
    ("EXTEND", 0x1000),
    ("FLAG4", 0x0800),
    ("FLAG5", 0x0400),
    ("USER", 0x0000),
    ("ZONE", 0x0100),
    ("HOST", 0x0200),
    ("NTYP3", 0x0300),
    ("FLAG8", 0x0080),
    ("FLAG9", 0x0040),
    ("FLAG10", 0x0020),
    ("FLAG11", 0x0010),
    ("SIG0", 0x0000),
    ("SIG1", 0x0001),
    ("SIG2", 0x0002),
    ("SIG3", 0x0003),
    ("SIG4", 0x0004),
    ("SIG5", 0x0005),
    ("SIG6", 0x0006),
    ("SIG7", 0x0007),
    ("SIG8", 0x0008),
    ("SIG9", 0x0009),
    ("SIG10", 0x000A),
    ("SIG11", 0x000B),
    ("SIG12", 0x000C),
    ("SIG13", 0x000D),
    ("SIG14", 0x000E),
    ("SIG15", 0x000F),
    ("KSK", 0x0001),
    ("REVOKE", 0x0080),
];

/// What a word stands for.
pub(super) fn number_of(words: &[(&str, u16)], text: &str) -> Option<u16> {
    words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, number)| *number)
}

/// Flags of a key: a number, also `0x101`, or words joined by `|`.
pub(super) fn key_flags(text: &str) -> Option<u16> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u16::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+'));
    }
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return text.parse().ok();
    }
    text.split('|').try_fold(0, |flags, word| Some(flags | number_of(KEY_FLAGS, word)?))
}
