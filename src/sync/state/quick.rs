//! Lines of published names, read as we write them: without white space, escapes, or bytes outside ASCII.
//!
//! A million of them are most of a start. Whatever looks otherwise is left to serde, which reads what is read here the
//! same.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::line::PublishedLine;

/// What a line says of a published name.
#[derive(Debug, PartialEq)]
pub(super) struct Published<'a> {
    pub name: &'a str,
    pub zone: &'a str,
    pub addresses: SmallVec<[IpAddr; 2]>,
    pub public_names: SmallVec<[&'a str; 2]>,
    pub since_secs: u64,
    pub endpoint: &'a str,
    pub virtual_network: Option<&'a str>,
    pub subscription: &'a str,
    pub resource: Option<&'a str>,
}

impl<'a> Published<'a> {
    /// Reads the line that `bytes` begin with; answers also what is behind it. `None`: ask serde.
    pub fn read(bytes: &'a [u8]) -> Option<(Published<'a>, &'a [u8])> {
        let mut rest = Rest(bytes);
        let published = Published {
            name: rest.behind("{\"published\":{\"name\":\"")?.text()?,
            zone: rest.behind(",\"zone\":\"")?.text()?,
            addresses: rest.behind(",\"addresses\":[")?.list(|text| text.parse().ok())?,
            public_names: rest.behind(",\"public_names\":[")?.list(Some)?,
            since_secs: rest.behind(",\"since_secs\":")?.number()?,
            endpoint: rest.behind(",\"endpoint\":\"")?.text()?,
            virtual_network: rest.behind(",\"virtual_network\":")?.text_or_null()?,
            subscription: rest.behind(",\"subscription\":\"")?.text()?,
            resource: rest.behind(",\"resource\":")?.text_or_null()?,
        };
        rest.behind("}}\n")?;
        Some((published, rest.0))
    }

    /// What serde has read.
    pub fn of(line: &'a PublishedLine<'a>) -> Published<'a> {
        Published {
            name: &line.name,
            zone: &line.zone,
            addresses: line.addresses.iter().copied().collect(),
            public_names: line.public_names.iter().map(|text| &*text.0).collect(),
            since_secs: line.since_secs,
            endpoint: &line.endpoint,
            virtual_network: line.virtual_network.as_deref(),
            subscription: &line.subscription,
            resource: line.resource.as_deref(),
        }
    }
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn behind(&mut self, expected: &str) -> Option<&mut Rest<'a>> {
        self.0 = self.0.strip_prefix(expected.as_bytes())?;
        Some(self)
    }

    /// The text up to the quotation mark that ends it.
    fn text(&mut self) -> Option<&'a str> {
        let length = plain_bytes(self.0);
        let (text, rest) = self.0.split_at(length);
        self.0 = rest.strip_prefix(b"\"")?;
        str::from_utf8(text).ok()
    }

    fn text_or_null(&mut self) -> Option<Option<&'a str>> {
        if let Some(rest) = self.0.strip_prefix(b"null") {
            self.0 = rest;
            return Some(None);
        }
        self.behind("\"")?.text().map(Some)
    }

    /// Texts up to the bracket that ends them.
    fn list<T, A: smallvec::Array<Item = T>>(
        &mut self,
        item: impl Fn(&'a str) -> Option<T>,
    ) -> Option<SmallVec<A>> {
        let mut items = SmallVec::new();
        if let Some(rest) = self.0.strip_prefix(b"]") {
            self.0 = rest;
            return Some(items);
        }
        loop {
            items.push(item(self.behind("\"")?.text()?)?);
            match self.0.split_first()? {
                (b',', rest) => self.0 = rest,
                (b']', rest) => {
                    self.0 = rest;
                    return Some(items);
                }
                _ => return None,
            }
        }
    }

    fn number(&mut self) -> Option<u64> {
        let length = self.0.iter().position(|byte| !byte.is_ascii_digit())?;
        let (digits, rest) = self.0.split_at(length);
        // JSON has no number that begins with a nought but nought itself.
        if digits.len() > 1 && digits[0] == b'0' {
            return None;
        }
        self.0 = rest;
        str::from_utf8(digits).ok()?.parse().ok()
    }
}

/// How many bytes, all of them ASCII, there are before one that ends a text or makes it less than plain.
fn plain_bytes(bytes: &[u8]) -> usize {
    let is_plain = |byte: u8| (byte >= b' ') & (byte != b'"') & (byte != b'\\') & byte.is_ascii();
    // A block at a time is compared at once; of the last one only where it ends is looked for.
    let (blocks, _) = bytes.as_chunks::<16>();
    let whole = blocks.iter().take_while(|block| block.iter().fold(true, |all, byte| all & is_plain(*byte)));
    let behind = whole.count() * 16;
    let rest = bytes[behind..].iter();
    behind + rest.take_while(|byte| is_plain(**byte)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::line::{Line, PublishedLine};
    use super::*;

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![8 => "[ -~]{0,40}", 1 => any::<String>()]
    }

    /// What serde reads of the same line.
    fn by_serde(line: &[u8]) -> Option<PublishedLine<'_>> {
        match serde_json::from_slice(line) {
            Ok(Line::Published(line)) => Some(*line),
            _ => None,
        }
    }

    proptest! {
        #[test]
        fn what_is_read_quickly_is_what_serde_reads(
            texts in prop::collection::vec(text(), 5),
            addresses in prop::collection::vec(any::<IpAddr>(), 0..4),
            public_names in prop::collection::vec(text(), 0..4),
            since_secs in any::<u64>(),
            has in any::<[bool; 2]>(),
            damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let [name, zone, endpoint, subscription, other] = &texts[..] else { unreachable!() };
            let written = PublishedLine {
                name: name.into(),
                zone: zone.into(),
                addresses,
                public_names: public_names.iter().map(|name| super::super::line::Text(name.into())).collect(),
                since_secs,
                endpoint: endpoint.into(),
                virtual_network: has[0].then(|| other.into()),
                subscription: subscription.into(),
                resource: has[1].then(|| other.into()),
            };
            let mut line = serde_json::to_vec(&Line::Published(Box::new(written))).unwrap();
            line.push(b'\n');
            let is_plain = line.is_ascii() && !line.contains(&b'\\') && !line.contains(&0x7F);
            if damage.is_none() && is_plain {
                prop_assert!(Published::read(&line).is_some(), "{}", String::from_utf8_lossy(&line));
            }
            if let Some((at, byte)) = damage {
                let at = at.index(line.len());
                line[at] = byte;
            }
            let more = [&line[..], b"next"].concat();
            if let Some((quick, behind)) = Published::read(&more) {
                prop_assert!(behind.ends_with(b"next"));
                let length = more.len() - behind.len();
                let slow = by_serde(&more[..length]).expect("serde reads it too");
                prop_assert_eq!(format!("{quick:?}"), format!("{:?}", Published::of(&slow)));
            }
        }
    }
}
