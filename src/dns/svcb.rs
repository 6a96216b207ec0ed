//! Service parameters of SVCB and HTTPS records (RFC 9460 §2.1, §14.3).

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::BASE64;

use super::token::{Quoting, Token};

const KEYS: [&str; 8] =
    ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath"];

/// Why a word is not a service parameter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    #[error("parameter key `{0}` is not known")]
    Key(String),
    #[error("parameter `{0}` stands twice")]
    Twice(String),
    #[error("value of parameter `{0}` is not valid")]
    Value(String),
    #[error("parameter `{0}` is mandatory but missing")]
    Mandatory(String),
}

fn key_number(text: &str) -> Option<u16> {
    if let Some(number) = KEYS.iter().position(|key| *key == text) {
        return Some(number as u16);
    }
    text.strip_prefix("key")
        .filter(|digits| *digits == "0" || !digits.starts_with(['0', '+']))
        .and_then(|digits| digits.parse().ok())
}

fn key_text(number: u16) -> String {
    KEYS.get(usize::from(number)).map_or_else(|| format!("key{number}"), |key| (*key).to_owned())
}

/// Reads `key=value` words and writes them in the order of their keys (RFC 9460 §2.2).
pub(super) fn from_tokens(tokens: &[Token<'_>]) -> Result<Vec<u8>, ParameterError> {
    let mut parameters: Vec<(u16, Vec<u8>)> = Vec::with_capacity(tokens.len());
    for token in tokens {
        let text = token.without_marks();
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (&*text, None),
        };
        let number = key_number(key).ok_or_else(|| ParameterError::Key(key.to_owned()))?;
        let value = match KEYS.contains(&key) {
            true => read_value(number, value),
            false => read_numbered(number, value),
        };
        let value = value.ok_or_else(|| ParameterError::Value(key.to_owned()))?;
        parameters.push((number, value));
    }
    parameters.sort_by_key(|(number, _)| *number);
    if let Some(pair) = parameters.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(ParameterError::Twice(key_text(pair[0].0)));
    }
    if let Some((0, mandatory)) = parameters.first() {
        let missing = mandatory
            .chunks_exact(2)
            .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
            .find(|key| !parameters.iter().any(|(number, _)| number == key));
        if let Some(missing) = missing {
            return Err(ParameterError::Mandatory(key_text(missing)));
        }
    }
    let mut out = Vec::new();
    for (number, value) in parameters {
        out.extend(number.to_be_bytes());
        let length = u16::try_from(value.len()).map_err(|_| ParameterError::Value(key_text(number)))?;
        out.extend(length.to_be_bytes());
        out.extend(value);
    }
    Ok(out)
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    Token { text: text.into(), quoting: Quoting::Plain }.unescaped().ok()
}

fn read_value(key: u16, text: Option<&str>) -> Option<Vec<u8>> {
    let items = || text.filter(|text| !text.is_empty()).map(|text| text.split(','));
    match key {
        0 => {
            let mut keys: Vec<u16> = items()?.map(key_number).collect::<Option<_>>()?;
            keys.sort_unstable();
            let twins = keys.windows(2).any(|pair| pair[0] == pair[1]);
            // RFC 9460 §8: `mandatory` does not name itself, nor a key twice.
            (!twins && keys.first() != Some(&0))
                .then(|| keys.iter().flat_map(|key| key.to_be_bytes()).collect())
        }
        1 => {
            let mut out = Vec::new();
            for item in split_list(&unescape(text?)?)? {
                out.push(u8::try_from(item.len()).ok().filter(|length| *length > 0)?);
                out.extend(item);
            }
            (!out.is_empty()).then_some(out)
        }
        2 => text.is_none().then(Vec::new),
        3 => text?.parse::<u16>().ok().map(|port| port.to_be_bytes().to_vec()),
        4 => items()?
            .map(|item| item.parse::<Ipv4Addr>().ok().map(|ip| ip.octets()))
            .collect::<Option<Vec<_>>>()
            .map(|ips| ips.concat()),
        5 => BASE64.decode(text?.as_bytes()).ok().filter(|bytes| !bytes.is_empty()),
        6 => items()?
            .map(|item| item.parse::<Ipv6Addr>().ok().map(|ip| ip.octets()))
            .collect::<Option<Vec<_>>>()
            .map(|ips| ips.concat()),
        _ => unescape(text.unwrap_or("")),
    }
}

/// Reads the value of a key that is written by its number: it is the wire form, also where the key has a name (RFC 9460 §2.1).
fn read_numbered(key: u16, text: Option<&str>) -> Option<Vec<u8>> {
    let value = unescape(text.unwrap_or(""))?;
    write_value(key, &value, &mut String::new())?;
    Some(value)
}

/// RFC 9460 appendix A.1: a comma ends an item, a backslash keeps the next byte.
fn split_list(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut items = vec![Vec::new()];
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b',' => items.push(Vec::new()),
            b'\\' => items.last_mut()?.push(*rest.next()?),
            byte => items.last_mut()?.push(*byte),
        }
    }
    Some(items)
}

/// Writes parameters as text; `None` when the bytes are not parameters.
pub(super) fn write(mut data: &[u8], out: &mut String) -> Option<()> {
    let mut last = None;
    while !data.is_empty() {
        let (key, rest) = data.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let key = u16::from_be_bytes(*key);
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        // RFC 9460 §2.2: strictly rising keys.
        if last.is_some_and(|last| last >= key) {
            return None;
        }
        if last.is_some() {
            out.push(' ');
        }
        last = Some(key);
        out.push_str(&key_text(key));
        write_value(key, value, out)?;
        data = rest;
    }
    Some(())
}

fn write_value(key: u16, value: &[u8], out: &mut String) -> Option<()> {
    let words = |size: usize| {
        (!value.is_empty() && value.len().is_multiple_of(size)).then(|| value.chunks_exact(size))
    };
    let list: Vec<String> = match key {
        0 => words(2)?.map(|bytes| key_text(u16::from_be_bytes([bytes[0], bytes[1]]))).collect(),
        1 => {
            let mut items = Vec::new();
            let mut rest = value;
            while let Some((length, behind)) = rest.split_first() {
                let (item, behind) = behind.split_at_checked(usize::from(*length)).filter(|_| *length > 0)?;
                items.push(alpn_text(item));
                rest = behind;
            }
            (!items.is_empty()).then_some(items)?
        }
        2 => return value.is_empty().then_some(()),
        3 => vec![u16::from_be_bytes(*value.first_chunk().filter(|_| value.len() == 2)?).to_string()],
        4 => words(4)?
            .map(|ip| <[u8; 4]>::try_from(ip).ok().map(|ip| Ipv4Addr::from(ip).to_string()))
            .collect::<Option<_>>()?,
        5 => vec![BASE64.encode((!value.is_empty()).then_some(value)?)],
        6 => words(16)?
            .map(|ip| <[u8; 16]>::try_from(ip).ok().map(|ip| Ipv6Addr::from(ip).to_string()))
            .collect::<Option<_>>()?,
        _ if value.is_empty() => return Some(()),
        _ => {
            out.push('=');
            super::rdata::write_quoted(value, out);
            return Some(());
        }
    };
    out.push('=');
    out.push_str(&list.join(","));
    Some(())
}

/// One ALPN id, its commas and backslashes escaped for the list and again for the master file.
fn alpn_text(item: &[u8]) -> String {
    let mut text = String::new();
    for &byte in item {
        match byte {
            b',' => text.push_str("\\\\,"),
            b'\\' => text.push_str("\\\\\\\\"),
            b'"' | b'(' | b')' | b';' => text.extend(['\\', char::from(byte)]),
            0x21..=0x7E => text.push(char::from(byte)),
            byte => write!(text, "\\{byte:03}").expect("writing to a string does not fail"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::token;
    use super::*;

    fn round(text: &str) -> Result<String, ParameterError> {
        let bytes = from_tokens(&token::tokens(text).unwrap())?;
        let mut out = String::new();
        write(&bytes, &mut out).expect("what we wrote reads back");
        Ok(out)
    }

    #[test]
    fn parameters_come_in_the_order_of_their_keys() {
        assert_eq!(
            round("port=53 alpn=\"h2,h3\" mandatory=alpn").unwrap(),
            "mandatory=alpn alpn=h2,h3 port=53"
        );
        assert_eq!(
            round("key65000=\"a b\\001\" no-default-alpn alpn=x").unwrap(),
            "alpn=x no-default-alpn key65000=\"a b\\001\""
        );
        assert_eq!(round("alpn=\"f\\\\\\\\oo\\\\,bar,h2\"").unwrap(), "alpn=f\\\\\\\\oo\\\\,bar,h2");
    }

    #[test]
    fn the_value_of_a_numbered_key_is_its_wire_form() {
        for (numbered, named) in [
            (r"key1=\002h2", "alpn=h2"),
            ("key2", "no-default-alpn"),
            (r"key3=\001\187", "port=443"),
            (r#"key4="\192\000\002\001""#, "ipv4hint=192.0.2.1"),
            (r"key0=\000\003 port=53", "mandatory=port port=53"),
            (r"key7=/q{?dns}", "dohpath=\"/q{?dns}\""),
        ] {
            assert_eq!(round(numbered).unwrap(), named, "{numbered}");
        }
        for (wrong, key) in
            [("key3=443", "key3"), ("key1=h2", "key1"), ("key2=x", "key2"), ("key4=1", "key4")]
        {
            assert_eq!(round(wrong), Err(ParameterError::Value(key.into())), "{wrong}");
        }
    }

    #[test]
    fn bad_parameters_are_named() {
        assert_eq!(round("bogus=1"), Err(ParameterError::Key("bogus".into())));
        assert_eq!(round("port=1 port=2"), Err(ParameterError::Twice("port".into())));
        assert_eq!(round("port=x"), Err(ParameterError::Value("port".into())));
        assert_eq!(round("ipv4hint=1.2.3"), Err(ParameterError::Value("ipv4hint".into())));
        assert_eq!(round("mandatory=port"), Err(ParameterError::Mandatory("port".into())));
    }
}
