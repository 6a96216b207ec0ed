//! Tests of record data.

use data_encoding::HEXLOWER;

use super::*;
use crate::dns::NameBuf;

fn round(rtype: &str, text: &str) -> String {
    let rtype = rtype.parse().unwrap();
    let origin: crate::dns::Name = "example.".parse().unwrap();
    match from_text(rtype, text, origin.borrow()) {
        Ok(data) => {
            assert!(is_valid(rtype, &data));
            to_text(rtype, &data)
        }
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn text_goes_round() {
    for (rtype, text) in [
        ("A", "10.0.0.4"),
        ("AAAA", "fd00:db8:1::5"),
        ("CNAME", "a.example."),
        ("SOA", "ns.a. host.a. 1 3600 300 2419200 10"),
        ("MX", "10 mail.example."),
        ("TXT", "\"a b\" \"\\\"\\\\\\255\" \"\""),
        ("SRV", "0 5 5061 sip.example."),
        ("CAA", "0 issue \"letsencrypt.org; a=b\""),
        ("NAPTR", "100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:a@b!\" ."),
        ("DS", "60485 5 1 2bb183af5f22588179a53b0a98631fad1a292118"),
        ("DNAME", "b.example."),
        ("SVCB", "0 foo.example."),
        ("HTTPS", "1 . alpn=h2,h3 port=8443 ipv4hint=10.0.0.1,10.0.0.2"),
        ("TYPE65280", "\\# 3 abcdef"),
        ("TYPE65280", "\\# 0"),
        ("HINFO", "\"RFC8482\" \"\""),
        ("CAA", "0 issue \"\""),
    ] {
        assert_eq!(round(rtype, text), text, "{rtype}");
    }
    assert_eq!(round("MX", "10 mail"), "10 mail.example.");
    assert_eq!(round("A", "\\# 4 0a000004"), "10.0.0.4");
    assert_eq!(round("SOA", "@ a 1 1h 5m 4w 10"), "example. a.example. 1 3600 300 2419200 10");
}

#[test]
fn bad_text_is_refused_with_the_word_at_fault() {
    for (rtype, text, error) in [
        ("A", "10.0.0", "`10.0.0` is not an IPv4 address of A"),
        ("A", "10.0.0.1 10.0.0.2", "data of A has `10.0.0.2` behind its end"),
        ("MX", "ten mail", "`ten` is not a number of 16 bits of MX"),
        ("MX", "10", "data of MX ends early: a name is missing"),
        ("CNAME", "a..b", "`a..b` in data of CNAME: a label is empty"),
        ("A", "\\# 4 0a0000", "`4` is not the length of the bytes behind it of A"),
        ("A", "\\# 3 0a0000", "bytes are not data of A"),
        ("RRSIG", "A 8", "data of RRSIG cannot be written as words, use RFC 3597's \\# form"),
        ("SOA", "a b 1h 2 3 4 5", "`1h` is not a number of 32 bits of SOA"),
        ("SOA", "a b 1 2 3 4 soon", "`soon` is not a number of seconds of SOA"),
        ("ANY", "x", "type ANY only asks, it has no data"),
        ("TXT", "\"a", "a quoted string is not closed on its line"),
    ] {
        assert_eq!(round(rtype, text), format!("error: {error}"));
    }
    assert!(round("TXT", &"x".repeat(256)).contains("at most 255 bytes"));
}

#[test]
fn compressed_names_are_expanded_with_their_case() {
    let message = b"\x03Foo\x03COM\x00\x00\x0a\x04Mail\xc0\x00";
    let data = expand(RecordType::MX, message, 9, message.len()).unwrap();
    assert_eq!(data, b"\x00\x0a\x04Mail\x03Foo\x03COM\x00");
    assert!(expand(RecordType::MX, message, 9, message.len() - 1).is_err());
    assert!(expand(RecordType::A, message, 0, 3).is_err());
}

#[test]
fn pieces_put_together_are_the_data() {
    for (rtype, text, names) in [
        ("SOA", "a. b. 1 2 3 4 5", ["a.", "b."]),
        ("MX", "1 a.b.", ["a.b.", ""]),
        ("A", "1.2.3.4", ["", ""]),
        ("NS", ".", [".", ""]),
        ("SRV", "1 2 3 a.", ["", ""]),
    ] {
        let rtype = rtype.parse().unwrap();
        let data = from_text(rtype, text, NameRef::ROOT).unwrap();
        let pieces = pieces(rtype, &data);
        assert_eq!([pieces.head, &pieces.names.concat(), pieces.tail].concat(), data, "{rtype}");
        let told = pieces
            .names
            .map(|name| NameBuf::read_plain(name, 0).map_or("".into(), |name| name.0.to_string()));
        assert_eq!(told, names, "{rtype}");
    }
    // Data that is none of its type stays whole.
    for bad in [&b""[..], b"\0", b"\0\x01\x05a"] {
        let pieces = pieces(RecordType::MX, bad);
        assert_eq!([pieces.head, &pieces.names.concat(), pieces.tail].concat(), bad);
    }
}

#[test]
fn bytes_that_are_no_data_of_their_type_are_told() {
    for (rtype, data) in [
        ("A", &b"\x0a\0\0"[..]),
        ("A", b"\x0a\0\0\x01\0"),
        ("MX", b"\0\x01"),
        ("MX", b"\0\x01\xc0\x0c"),
        ("NS", b"\x01a"),
        ("TXT", b""),
        ("TXT", b"\x02a"),
        ("TXT", b"\x01a\x01"),
        ("CAA", b"\0\x00x"),
        ("CAA", b"\0\x03a b"),
        ("DS", b"\0\x01\x08\x02"),
        ("HTTPS", b"\0\x01\0\0\x03\0\x01x"),
    ] {
        let rtype = rtype.parse().unwrap();
        assert!(!is_valid(rtype, data), "{rtype} {data:?}");
        assert!(to_text(rtype, data).starts_with("\\# "), "{rtype} {data:?}");
    }
    assert!(is_valid(RecordType::TXT, b"\0") && is_valid(RecordType::CAA, b"\0\x05issue"));
    assert!(is_valid(RecordType::HTTPS, b"\0\x01\0"));
}

/// A type, text, the bytes that BIND 9.18's `named-rrchecker -u` makes of it, and the text that we make of those.
#[rustfmt::skip]
pub(crate) const AS_BIND_READS: &[(&str, &str, &str, &str)] = &[
    ("LOC", "42 21 54 N 71 06 18 W -24m 30m", "0033161389172dd070be15f000988d20", "42 21 54.000 N 71 6 18.000 W -24.00m 30m 10000m 10m"),
    ("LOC", "42 21 43.952 N 71 5 6.344 W -24m 1m 200m 10m", "001224138917069070bf2dd800988d20", "42 21 43.952 N 71 5 6.344 W -24.00m 1m 200m 10m"),
    ("LOC", "52 N 4 E 0", "001216138b28720080dbba0000989680", "52 0 0.000 N 4 0 0.000 E 0.00m 1m 10000m 10m"),
    ("LOC", "52 14 05 N 00 08 50 E 10.55m 0.05m", "005016138b3556c88008165000989a9f", "52 14 5.000 N 0 8 50.000 E 10.55m 0.05m 10000m 10m"),
    ("LOC", "0 N 0 E 42849672.95m 90000000m", "009916138000000080000000ffffffff", "0 0 0.000 N 0 0 0.000 E 42849672.95m 90000000m 10000m 10m"),
    ("LOC", "0 N 180 E -100000.00", "0012161380000000a69fb20000000000", "0 0 0.000 N 180 0 0.000 E -100000.00m 1m 10000m 10m"),
    ("LOC", "90 S 180 0 0 W 1m 0 0.5 99.99m", "000051936cb0270059604e00009896e4", "90 0 0.000 S 180 0 0.000 W 1.00m 0m 0.50m 90m"),
    ("CERT", "PKIX 1 RSASHA256 AQIDBA==", "000100010801020304", "1 1 8 AQIDBA=="),
    ("CERT", "OID 0 0 AQ==", "00fe00000001", "254 0 0 AQ=="),
    ("CERT", "65535 0 99 AQ==", "ffff00006301", "65535 0 99 AQ=="),
    ("APL", "1:192.168.32.0/21 !1:192.168.38.0/28", "00011503c0a82000011c83c0a826", "1:192.168.32.0/21 !1:192.168.38.0/28"),
    ("APL", "2:fd00::/8 1:0.0.0.0/0", "00020801fd00010000", "2:fd00::/8 1:0.0.0.0/0"),
    ("APL", "", "", ""),
    ("APL", "1:10.1.2.3/8", "000108040a010203", "1:10.1.2.3/8"),
    ("EUI48", "00-00-5E-00-53-2A", "00005e00532a", "00-00-5e-00-53-2a"),
    ("EUI48", "0-0-5e-00-53-2a", "00005e00532a", "00-00-5e-00-53-2a"),
    ("EUI64", "00-00-5e-ef-10-00-00-2a", "00005eef1000002a", "00-00-5e-ef-10-00-00-2a"),
    ("DHCID", "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=", "000201636fc0b8271c82825bb1ac5c41cf5351aa69b4febd94e8f17cdb95000da48c40", "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA="),
    ("DHCID", "AA ==", "00", "AA=="),
    ("IPSECKEY", "10 0 2 . AQ==", "0a000201", "10 0 2 . AQ=="),
    ("IPSECKEY", "10 1 2 192.0.2.38 AQ==", "0a0102c000022601", "10 1 2 192.0.2.38 AQ=="),
    ("IPSECKEY", "10 2 2 2001:db8::1 AQ==", "0a020220010db800000000000000000000000101", "10 2 2 2001:db8::1 AQ=="),
    ("IPSECKEY", "10 3 2 mygateway.example.com. AQ==", "0a0302096d7967617465776179076578616d706c6503636f6d0001", "10 3 2 mygateway.example.com. AQ=="),
    ("RT", "2 relay.", "00020572656c617900", "2 relay."),
    ("PX", "10 a. b.", "000a016100016200", "10 a. b."),
    ("NID", "10 0014:4fff:ff20:ee64", "000a00144fffff20ee64", "10 14:4fff:ff20:ee64"),
    ("L32", "10 10.1.2.0", "000a0a010200", "10 10.1.2.0"),
    ("L64", "10 2001:0DB8:1140:1000", "000a20010db811401000", "10 2001:db8:1140:1000"),
    ("LP", "10 l64.example.", "000a036c3634076578616d706c6500", "10 l64.example."),
    ("KEY", "256 3 5 AQPSKmyn", "010003050103d22a6ca7", "256 3 5 AQPSKmyn"),
    ("KEY", "NOCONF|ZONE TLS RSASHA1 AQ==", "4100010501", "16640 1 5 AQ=="),
    ("KEY", "0xC000 3 5", "c0000305", "49152 3 5"),
    ("KEY", "NOKEY DNSSEC 5", "c0000305", "49152 3 5"),
    ("KEY", "FLAG8|SIG3 255 5 AQ==", "0083ff0501", "131 255 5 AQ=="),
    ("DNSKEY", "257 3 ED25519 AQ==", "0101030f01", "257 3 15 AQ=="),
    ("DNSKEY", "ZONE DNSSEC ECDSAP256SHA256 AQ==", "0100030d01", "256 3 13 AQ=="),
    ("CDNSKEY", "0 3 0 AA==", "0000030000", "0 3 0 AA=="),
    ("DS", "1 DH 1 2bb183af5f22588179a53b0a98631fad1a292118", "000102012bb183af5f22588179a53b0a98631fad1a292118", "1 2 1 2bb183af5f22588179a53b0a98631fad1a292118"),
    ("DS", "1 rsasha256 SHA-1 2bb183af5f22588179a53b0a98631fad1a292118", "000108012bb183af5f22588179a53b0a98631fad1a292118", "1 8 1 2bb183af5f22588179a53b0a98631fad1a292118"),
    ("CDS", "0 0 0 00", "0000000000", "0 0 0 00"),
    ("CSYNC", "66 3 A NS AAAA", "000000420003000460000008", "66 3 A NS AAAA"),
    ("CSYNC", "66 3", "000000420003", "66 3"),
    ("CSYNC", "1 1 TYPE1234 A A", "000000010001000140041b000000000000000000000000000000000000000000000000000020", "1 1 A TYPE1234"),
    ("ZONEMD", "2018031500 1 240 e2d523f654b9422a96c5a8f44607bbee", "7848b78c01f0e2d523f654b9422a96c5a8f44607bbee", "2018031500 1 240 e2d523f654b9422a96c5a8f44607bbee"),
    ("NSAP", "0x47.0005.80.005a00.0000.0001.e133.ffffff000161.00", "47000580005a0000000001e133ffffff00016100", "0x47000580005a0000000001e133ffffff00016100"),
    ("X25", "311061700956", "0c333131303631373030393536", r#""311061700956""#),
    ("ISDN", "150862028003217 004", "0f31353038363230323830303332313703303034", r#""150862028003217" "004""#),
    ("GPOS", "-32.6882 116.8652 10.0", "082d33322e36383832083131362e383635320431302e30", r#""-32.6882" "116.8652" "10.0""#),
    ("NINFO", "a b", "01610162", r#""a" "b""#),
    ("AVC", r#""a""#, "0161", r#""a""#),
    ("RKEY", "0 1 8 AQ==", "0000010801", "0 1 8 AQ=="),
    ("TALINK", "a. b.", "016100016200", "a. b."),
    ("RESINFO", "qnamemin", "08716e616d656d696e", r#""qnamemin""#),
    ("WALLET", "a b", "01610162", r#""a" "b""#),
    ("SOA", "a. b. 1 1h 1h 1h 1h", "0161000162000000000100000e1000000e1000000e1000000e10", "a. b. 1 3600 3600 3600 3600"),
    ("TXT", r#"k="a b""#, "026b3d03612062", r#""k=" "a b""#),
    ("TXT", r#"ab"c d""#, "02616203632064", r#""ab" "c d""#),
];

#[test]
fn words_are_read_as_bind_reads_them() {
    for (rtype, text, hex, shown) in AS_BIND_READS {
        let rtype: RecordType = rtype.parse().unwrap();
        let data =
            from_text(rtype, text, NameRef::ROOT).unwrap_or_else(|error| panic!("{rtype} {text}: {error}"));
        assert_eq!(HEXLOWER.encode(&data), *hex, "{rtype} {text}");
        assert!(is_valid(rtype, &data), "{rtype} {text}");
        assert_eq!(to_text(rtype, &data), *shown, "{rtype} {text}");
        assert_eq!(from_text(rtype, shown, NameRef::ROOT), Ok(data), "{rtype} {shown}");
    }
}

#[test]
fn words_that_bind_refuses_are_refused() {
    for (rtype, text) in [
        ("LOC", "1 2 3.1234 N 1 E 1"),
        ("LOC", "90 1 S 1 E 1"),
        ("LOC", "1 60 N 1 E 1"),
        ("LOC", "1 N 1 E 1.234m"),
        ("LOC", "1 N 1 E 1m 1m 1m 1m 1m"),
        ("LOC", "N 1 E 1m"),
        ("LOC", "1 N 181 E 1m"),
        ("LOC", "1 N 1 E 42849673m"),
        ("CERT", "PGP 0 0"),
        ("APL", "3:01/8"),
        ("APL", "1:10.0.0.0/33"),
        ("EUI48", "00-00-5e-00-53"),
        ("EUI48", "00-00-5e-00-53-2aa"),
        ("IPSECKEY", "10 4 0 . AQ=="),
        ("IPSECKEY", "10 0 2 1.2.3.4 AQ=="),
        ("IPSECKEY", "10 1 2 192.0.2.3"),
        ("L64", "10 2001::1"),
        ("KEY", "HOST|ENTITY 3 5 AQ=="),
        ("KEY", "256 3 5"),
        ("CSYNC", "1 1 bogus"),
        ("ZONEMD", "1 1 1 aabb"),
        ("ZONEMD", "1 1 240 aabb"),
        ("NSAP", "4700"),
        ("NSAP", "0x4"),
        ("NSAP", "0x"),
        ("DNSKEY", "257 3 ECC AQ=="),
        ("MX", "0x10 a."),
        ("SOA", "a. b. +1 1 1 1 1"),
    ] {
        let rtype: RecordType = rtype.parse().unwrap();
        assert!(from_text(rtype, text, NameRef::ROOT).is_err(), "{rtype} {text}");
    }
    // RFC 4025 §2.4: algorithm 0 has no key; BIND wants one all the same.
    assert!(from_text(RecordType::IPSECKEY, "10 1 0 192.0.2.3", NameRef::ROOT).is_ok());
}

#[test]
fn bytes_of_types_that_nothing_here_depends_on_are_passed_on() {
    for rtype in ["LOC", "APL", "CSYNC", "IPSECKEY"] {
        let rtype: RecordType = rtype.parse().unwrap();
        assert_eq!(expand(rtype, b"\xff\x01", 0, 2).unwrap(), b"\xff\x01");
    }
    // RFC 3597 §4: the names of RT and PX are expanded.
    let message = b"\x01a\0\x00\x01\xc0\x00";
    assert_eq!(expand(RecordType::RT, message, 3, 7).unwrap(), b"\x00\x01\x01a\0");
}

#[test]
fn bind_reads_our_words_as_we_do() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    for (rtype, _, hex, shown) in AS_BIND_READS {
        let checker =
            Command::new("named-rrchecker").arg("-u").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut checker) = checker else {
            println!("skipped: named-rrchecker of BIND is not installed");
            return;
        };
        writeln!(checker.stdin.take().unwrap(), "IN {rtype} {shown}").unwrap();
        let out = checker.wait_with_output().unwrap();
        let out = String::from_utf8_lossy(&out.stdout).to_ascii_lowercase();
        let expected = format!("\\# {} {hex}", hex.len() / 2);
        assert!(out.trim_end().ends_with(expected.trim_end()), "{rtype} {shown}: {out}");
    }
}
