//! Sole text: the data of one record by itself, as REST and the command line give it.
//!
//! It is master-file form without comments, but TXT is what people paste: text with blanks and `;` that means itself.

use super::{RdataError, STRING_BYTES_MAX, check_length, from_tokens};
use crate::dns::token::{self, Quoting, Token};
use crate::dns::{NameRef, RecordType};

/// Reads record data that stands alone; relative names end in `origin`. Nothing of the text is left out: what can be
/// read in two ways is an error.
pub fn from_sole_text(rtype: RecordType, text: &str, origin: NameRef<'_>) -> Result<Vec<u8>, RdataError> {
    if !matches!(rtype, RecordType::TXT | RecordType::SPF) {
        return from_tokens(rtype, &token::tokens_without_comments(text)?, origin);
    }
    if is_generic(text) {
        return from_tokens(rtype, &token::tokens_without_comments(text)?, origin);
    }
    let ambiguous = |why| Err(RdataError::Ambiguous(rtype, why));
    if text.contains('"') {
        let tokens = token::tokens_without_comments(text)?;
        // `"v=DMARC1"; p=none`, `say "hi"`: are the quotes marks, or part of the text?
        if tokens.iter().any(|token| token.quoting == Quoting::Plain) {
            return ambiguous("is partly in quotes: put all of it into quotes, each quote in it as \\\"");
        }
        return from_tokens(rtype, &tokens, origin);
    }
    if text.is_empty() {
        return ambiguous("is empty: write \"\" for a string without characters");
    }
    if text.trim() != text {
        return ambiguous("begins or ends with blank space: leave that out, or put all of it into quotes");
    }
    if text.chars().any(char::is_control) {
        return ambiguous(
            "has a control character or a line's end: put all of it into quotes, these as \\DDD",
        );
    }
    if !text.contains('\\') {
        return strings_of(rtype, text.as_bytes());
    }
    // One word with escapes is master-file form and nothing else.
    match &token::tokens(text)?[..] {
        [word] if is_one_word(text) => strings_of(rtype, &unescaped(rtype, word)?),
        _ => ambiguous(
            "has a backslash: put all of it into quotes, where \\\\ is a backslash and `;` needs none before it",
        ),
    }
}

/// RFC 3597 §5.
fn is_generic(text: &str) -> bool {
    text.split_ascii_whitespace().next() == Some("\\#")
}

/// Whether nothing ends the word but the text's own end.
fn is_one_word(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => {
                chars.next();
            }
            ';' | '(' | ')' => return false,
            char if char.is_whitespace() => return false,
            _ => {}
        }
    }
    true
}

fn unescaped(rtype: RecordType, word: &Token<'_>) -> Result<Vec<u8>, RdataError> {
    word.unescaped().map_err(|error| RdataError::Name(rtype, word.text.to_string(), error))
}

/// Bytes as character strings, each as long as it may be (RFC 1035 §3.3).
pub(super) fn strings_of(rtype: RecordType, bytes: &[u8]) -> Result<Vec<u8>, RdataError> {
    let mut data = Vec::with_capacity(bytes.len() + bytes.len() / STRING_BYTES_MAX + 1);
    for string in bytes.chunks(STRING_BYTES_MAX) {
        data.push(string.len() as u8);
        data.extend_from_slice(string);
    }
    check_length(rtype, data)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::to_text;
    use super::*;

    fn read(rtype: &str, text: &str) -> Result<String, String> {
        let rtype = rtype.parse().unwrap();
        let origin: crate::dns::Name = "example.".parse().unwrap();
        let data = from_sole_text(rtype, text, origin.borrow());
        data.map(|data| to_text(rtype, &data)).map_err(|error| error.to_string())
    }

    #[test]
    fn bare_text_is_one_string() {
        for text in [
            "v=DMARC1; p=none",
            "v=spf1 include:spf.protection.outlook.com -all",
            "v=DKIM1; k=rsa; p=MIGfMA0G",
            ";",
            "(a note) ; (and more",
            "caf\u{e9} \u{a0}x",
            "x",
        ] {
            let data = from_sole_text(RecordType::TXT, text, NameRef::ROOT).unwrap();
            assert_eq!((usize::from(data[0]), &data[1..]), (text.len(), text.as_bytes()), "{text}");
        }
        assert_eq!(read("TXT", r"a\;b\032c\\").unwrap(), r#""a;b c\\""#);
        assert_eq!(read("TXT", r#""v=DMARC1; p=none" "x""#).unwrap(), r#""v=DMARC1; p=none" "x""#);
        assert_eq!(read("TXT", "( \"v=DKIM1; \"\n \"p=x\" )").unwrap(), r#""v=DKIM1; " "p=x""#);
        assert_eq!(read("TXT", r"\# 3 02 6869").unwrap(), "\"hi\"");
    }

    #[test]
    fn bare_text_is_split_where_a_string_ends() {
        for length in [255, 256, 600] {
            let text = "a b;".repeat(200)[..length].to_owned();
            let data = from_sole_text(RecordType::TXT, &text, NameRef::ROOT).unwrap();
            let joined: Vec<u8> = data.chunks(256).flat_map(|string| string[1..].to_vec()).collect();
            assert_eq!((joined, data.len()), (text.into_bytes(), length + length.div_ceil(255)));
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (rtype, text, why) in [
            ("TXT", r#""v=DMARC1"; p=none"#, "`;` begins a comment"),
            ("TXT", r#"say "hi""#, "partly in quotes"),
            ("TXT", r#""a"b"#, "partly in quotes"),
            ("TXT", r"v=DMARC1\; p=none", "backslash"),
            ("TXT", r"a\;b;c", "backslash"),
            ("TXT", "", "empty"),
            ("TXT", " x", "blank space"),
            ("TXT", "a\nb", "line's end"),
            ("TXT", "\\", "an escape"),
            ("CAA", "0 issue letsencrypt.org; validationmethods=dns-01", "`;` begins a comment"),
            ("CAA", "0 issue letsencrypt.org validationmethods=dns-01", "behind its end"),
            ("CAA", "0 issue ;", "`;` begins a comment"),
            ("A", "10.0.0.4 ; web", "`;` begins a comment"),
            ("A", "10.0.0.4;web", "`;` begins a comment"),
            ("MX", "10 mail;x", "`;` begins a comment"),
            ("CNAME", "www\n; x", "`;` begins a comment"),
        ] {
            let error = read(rtype, text).unwrap_err();
            assert!(error.contains(why), "{rtype} {text}: {error}");
        }
        assert_eq!(read("CAA", r#"0 issue "ca.example; a=b""#).unwrap(), r#"0 issue "ca.example; a=b""#);
        assert_eq!(read("CAA", r"0 issue ca.example\;a=b").unwrap(), r#"0 issue "ca.example;a=b""#);
        assert_eq!(read("CNAME", r"a\;b").unwrap(), r"a\;b.example.");
        assert_eq!(read("MX", "10 mail").unwrap(), "10 mail.example.");
        assert_eq!(
            read("SOA", "ns host ( 1 1h\n5m 4w 10 )").unwrap(),
            "ns.example. host.example. 1 3600 300 2419200 10"
        );
    }

    /// What people paste: words, and the marks that master files give a meaning.
    fn pasted() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z0-9=;:()\"\\\\ \t.\n-]{0,40}",
            "[ -~]{0,300}",
            "\\PC{0,20}",
            "(v=DMARC1|v=spf1)[;: a-z=~-]{0,300}"
        ]
    }

    fn joined(data: &[u8]) -> Vec<u8> {
        let (mut rest, mut out) = (data, Vec::new());
        while let Some((length, behind)) = rest.split_first() {
            let (text, behind) = behind.split_at(usize::from(*length));
            out.extend_from_slice(text);
            rest = behind;
        }
        out
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_served_or_refused(text in pasted()) {
            if let Ok(data) = from_sole_text(RecordType::TXT, &text, NameRef::ROOT) {
                if !text.contains(['"', '\\']) {
                    prop_assert_eq!(joined(&data), text.as_bytes());
                } else if !text.contains('\\') {
                    // All strings are in quotes: between them nothing but what has no meaning.
                    let (inside, outside): (Vec<_>, Vec<_>) =
                        text.split('"').enumerate().partition(|(index, _)| index % 2 == 1);
                    let inside: String = inside.into_iter().map(|(_, part)| part).collect();
                    let is_blank = |char: char| char.is_ascii_whitespace() || matches!(char, '(' | ')');
                    prop_assert!(outside.iter().all(|(_, part)| part.chars().all(is_blank)));
                    prop_assert_eq!(joined(&data), inside.as_bytes());
                }
                let shown = to_text(RecordType::TXT, &data);
                prop_assert_eq!(from_sole_text(RecordType::TXT, &shown, NameRef::ROOT), Ok(data));
            }
        }

        #[test]
        fn no_value_of_caa_is_cut(value in pasted()) {
            let read = from_sole_text(RecordType::CAA, &format!("0 issue {value}"), NameRef::ROOT);
            if let Ok(data) = read && !value.contains(['"', '\\', '(', ')']) {
                prop_assert_eq!(&data[7..], value.trim_ascii().as_bytes());
            }
        }

        #[test]
        fn nothing_behind_an_address_or_a_name_vanishes(behind in pasted()) {
            for (rtype, text) in [(RecordType::A, "10.0.0.4"), (RecordType::MX, "10 mail."), (RecordType::CNAME, "a.")] {
                let is_blank = |char: char| char.is_ascii_whitespace() || matches!(char, '(' | ')');
                let read = from_sole_text(rtype, &format!("{text} {behind}"), NameRef::ROOT);
                prop_assert!(read.is_err() || behind.chars().all(is_blank), "{}", behind);
            }
        }
    }
}
