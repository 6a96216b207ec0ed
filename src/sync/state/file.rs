//! The file of what sources have published: a line of JSON for each name, a checksum in the last line.
//!
//! JSON, so that `grep` and `jq` answer an operator's question; 100,000 names are read in a fraction of a second.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::Hasher;
use std::io::{self, Write};
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::super::desired::{Publication, Withheld};
use super::super::inventory::ConnectionState;
use super::super::private_dns::{ImportedSet, PrivateZone};
use super::{Desired, time_of, unix_secs};
use crate::dns::{Name, NameError, NameRef, RecordSet, RecordType, Ttl, rdata};
use crate::zone::{AzureZone, Claim, OnMissing, VirtualNetworkLink};

/// The form that is written and read.
const VERSION: u32 = 1;

/// What a source has published, to be written.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    pub source: &'a str,
    /// When the inventory was read.
    pub read_at: SystemTime,
    /// Of this, publications, private DNS zones and what is withheld are written.
    pub desired: &'a Desired,
}

/// What a source had published before the restart.
#[derive(Clone, Debug, PartialEq)]
pub struct LastGood {
    pub source: Arc<str>,
    /// When its inventory was read, to the second.
    pub read_at: SystemTime,
    /// Only publications, private DNS zones and what is withheld.
    pub desired: Desired,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error("it ends early")]
    CutShort,
    #[error("its content and its checksum differ")]
    Checksum,
    #[error("it is of version {0}, this program reads version {VERSION}")]
    Version(u32),
    #[error("line {line}: {cause}")]
    Line { line: usize, cause: serde_json::Error },
    #[error("line {line}: `{name}`: {cause}")]
    Name { line: usize, name: String, cause: NameError },
    #[error("line {line}: {data} is not valid data of a {rtype} record")]
    Data { line: usize, rtype: String, data: String },
    #[error("line {line} does not belong there")]
    Order { line: usize },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    SyncState {
        version: u32,
    },
    Source {
        name: Cow<'a, str>,
        read_at_secs: u64,
    },
    #[serde(borrow)]
    Published(Box<PublishedLine<'a>>),
    #[serde(borrow)]
    Withheld(WithheldLine<'a>),
    /// Its record sets follow.
    #[serde(borrow)]
    PrivateZone(PrivateZoneLine<'a>),
    #[serde(borrow)]
    RecordSet(RecordSetLine<'a>),
    End {
        checksum: Cow<'a, str>,
    },
}

#[derive(Serialize, Deserialize)]
struct PublishedLine<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    zone: Cow<'a, str>,
    addresses: Vec<IpAddr>,
    #[serde(borrow)]
    public_names: Vec<Text<'a>>,
    since_secs: u64,
    #[serde(borrow)]
    endpoint: Cow<'a, str>,
    #[serde(borrow)]
    virtual_network: Option<Cow<'a, str>>,
    #[serde(borrow)]
    subscription: Cow<'a, str>,
    #[serde(borrow)]
    resource: Option<Cow<'a, str>>,
}

/// In a list, serde borrows only what is said to.
#[derive(Serialize, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Serialize, Deserialize)]
struct WithheldLine<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    zone: Cow<'a, str>,
    #[serde(borrow)]
    public_names: Vec<Text<'a>>,
    #[serde(borrow)]
    endpoint: Cow<'a, str>,
    #[serde(borrow)]
    endpoint_name: Cow<'a, str>,
    #[serde(borrow)]
    state: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct PrivateZoneLine<'a> {
    name: String,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    subscription: Cow<'a, str>,
    links: Vec<LinkLine>,
}

#[derive(Serialize, Deserialize)]
struct LinkLine {
    virtual_network: String,
    redirects: bool,
}

#[derive(Serialize, Deserialize)]
struct RecordSetLine<'a> {
    name: String,
    #[serde(rename = "type")]
    rtype: String,
    ttl_secs: u32,
    /// In master-file form.
    data: Vec<String>,
    #[serde(borrow)]
    creator: Option<Cow<'a, str>>,
}

pub(super) fn write(sources: &[Saved<'_>], out: &mut dyn Write) -> io::Result<()> {
    let mut lines = Lines { out, line: Vec::new(), checksum: SipHasher13::new() };
    lines.put(&Line::SyncState { version: VERSION })?;
    for Saved { source, read_at, desired } in sources {
        let read_at_secs = unix_secs(*read_at);
        lines.put(&Line::Source { name: (*source).into(), read_at_secs })?;
        for publication in &desired.publications {
            lines.put(&Line::Published(Box::new(PublishedLine::of(publication))))?;
        }
        for withheld in &desired.withheld {
            lines.put(&Line::Withheld(WithheldLine::of(withheld)))?;
        }
        for zone in &desired.zones {
            lines.put(&Line::PrivateZone(PrivateZoneLine::of(zone)))?;
            for record_set in &zone.record_sets {
                lines.put(&Line::RecordSet(RecordSetLine::of(record_set)))?;
            }
        }
    }
    let checksum = text_of(&lines.checksum).into();
    lines.put(&Line::End { checksum })
}

struct Lines<'o> {
    out: &'o mut dyn Write,
    line: Vec<u8>,
    checksum: SipHasher13,
}

impl Lines<'_> {
    fn put(&mut self, line: &Line<'_>) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        self.checksum.write(&self.line);
        self.out.write_all(&self.line)
    }
}

fn text_of(checksum: &SipHasher13) -> String {
    format!("{:032x}", checksum.finish128().as_u128())
}

/// All of a file or nothing of it.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<LastGood>, Damage> {
    let whole = bytes.strip_suffix(b"\n").ok_or(Damage::CutShort)?;
    let body_bytes = whole.iter().rposition(|byte| *byte == b'\n').ok_or(Damage::CutShort)? + 1;
    let (body, last) = bytes.split_at(body_bytes);
    let Ok(Line::End { checksum: told }) = serde_json::from_slice::<Line<'_>>(last) else {
        return Err(Damage::CutShort);
    };
    // Each takes half a second of a million names.
    let (checksum, sources) = thread::scope(|scope| {
        let sources = scope.spawn(|| read_lines(body));
        let mut checksum = SipHasher13::new();
        checksum.write(body);
        (text_of(&checksum), sources.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    if checksum == told { sources } else { Err(Damage::Checksum) }
}

fn read_lines(body: &[u8]) -> Result<Vec<LastGood>, Damage> {
    let mut reader = Reader::default();
    for (index, line) in body.split_inclusive(|byte| *byte == b'\n').enumerate() {
        reader.line = index + 1;
        let cause = |cause| Damage::Line { line: index + 1, cause };
        reader.take(serde_json::from_slice(line).map_err(cause)?)?;
    }
    Ok(reader.sources)
}

#[derive(Default)]
struct Reader {
    line: usize,
    sources: Vec<LastGood>,
    /// Zones, and ids of networks and subscriptions: there are few, and many names in them.
    zones: HashSet<Name>,
    last_zone: Option<(String, Name)>,
    texts: HashSet<Arc<str>>,
    /// That of the last name: names of an endpoint often follow each other.
    claim: Option<Arc<Claim>>,
}

impl Reader {
    fn take(&mut self, line: Line<'_>) -> Result<(), Damage> {
        let out_of_order = Damage::Order { line: self.line };
        match line {
            Line::SyncState { version } if self.line == 1 => {
                return if version == VERSION { Ok(()) } else { Err(Damage::Version(version)) };
            }
            _ if self.line == 1 => return Err(out_of_order),
            Line::Source { name, read_at_secs } => {
                let (read_at, desired) = (time_of(read_at_secs), Desired::default());
                self.sources.push(LastGood { source: Arc::from(&*name), read_at, desired });
                self.claim = None;
            }
            Line::Published(line) => {
                let source = Arc::clone(&self.sources.last().ok_or(out_of_order)?.source);
                let publication = self.publication(*line, source)?;
                self.last().publications.push(publication);
            }
            Line::Withheld(line) => {
                self.sources.last().ok_or(out_of_order)?;
                let withheld = self.withheld(line)?;
                self.last().withheld.push(withheld);
            }
            Line::PrivateZone(line) => {
                let source = Arc::clone(&self.sources.last().ok_or(out_of_order)?.source);
                let zone = Arc::new(self.private_zone(line, source)?);
                self.last().zones.push(zone);
            }
            Line::RecordSet(line) => {
                let record_set = self.record_set(line)?;
                let zone = self.sources.last_mut().and_then(|source| source.desired.zones.last_mut());
                Arc::make_mut(zone.ok_or(out_of_order)?).record_sets.push(record_set);
            }
            Line::SyncState { .. } | Line::End { .. } => return Err(out_of_order),
        }
        Ok(())
    }

    fn last(&mut self) -> &mut Desired {
        &mut self.sources.last_mut().expect("the caller has seen it").desired
    }

    fn publication(&mut self, line: PublishedLine<'_>, source: Arc<str>) -> Result<Publication, Damage> {
        let mut publication = Publication {
            zone: self.zone(&line.zone)?,
            name: self.name(&line.name)?,
            ipv4: Vec::new(),
            ipv6: Vec::new(),
            public_names: self.names(&line.public_names)?,
            claim: self.claim(&line, source),
        };
        for address in line.addresses {
            match address {
                IpAddr::V4(address) => publication.ipv4.push(address),
                IpAddr::V6(address) => publication.ipv6.push(address),
            }
        }
        Ok(publication)
    }

    fn claim(&mut self, line: &PublishedLine<'_>, source: Arc<str>) -> Arc<Claim> {
        let endpoint = match &self.claim {
            Some(claim) if *claim.endpoint == *line.endpoint => Arc::clone(&claim.endpoint),
            _ => Arc::from(&*line.endpoint),
        };
        let claim = Claim {
            endpoint,
            virtual_network: line.virtual_network.as_ref().map(|text| self.text(text)),
            subscription: self.text(&line.subscription),
            resource: line.resource.as_deref().map(Arc::from),
            source,
            since_secs: line.since_secs,
        };
        match &self.claim {
            Some(last) if **last == claim => {}
            _ => self.claim = Some(Arc::new(claim)),
        }
        Arc::clone(self.claim.as_ref().expect("it was just made"))
    }

    fn withheld(&mut self, line: WithheldLine<'_>) -> Result<Withheld, Damage> {
        Ok(Withheld {
            zone: self.zone(&line.zone)?,
            name: self.name(&line.name)?,
            public_names: self.names(&line.public_names)?,
            endpoint: Arc::from(&*line.endpoint),
            endpoint_name: Arc::from(&*line.endpoint_name),
            state: ConnectionState::read(Some(&line.state)),
        })
    }

    fn private_zone(&mut self, line: PrivateZoneLine<'_>, source: Arc<str>) -> Result<PrivateZone, Damage> {
        let links = line.links.iter().map(|link| VirtualNetworkLink {
            virtual_network: self.text(&link.virtual_network),
            on_missing: if link.redirects { OnMissing::AskPublic } else { OnMissing::NxDomain },
        });
        let links = links.collect();
        let subscription = self.text(&line.subscription);
        let azure = AzureZone { id: Arc::from(&*line.id), subscription, links, source };
        let (apex, azure) = (self.zone(&line.name)?, Arc::new(azure));
        Ok(PrivateZone { apex, azure, record_sets: Vec::new(), warnings: Vec::new() })
    }

    fn record_set(&mut self, line: RecordSetLine<'_>) -> Result<ImportedSet, Damage> {
        let bad = |data: &[String]| Damage::Data {
            line: self.line,
            rtype: line.rtype.clone(),
            data: data.join(" "),
        };
        let rtype: RecordType = line.rtype.parse().map_err(|_| bad(&line.data))?;
        let ttl = Ttl::from_secs(line.ttl_secs).ok_or_else(|| bad(&line.data))?;
        let data: Result<Vec<Vec<u8>>, _> =
            line.data.iter().map(|data| rdata::from_text(rtype, data, NameRef::ROOT)).collect();
        let set = data.ok().and_then(|data| RecordSet::new(rtype, ttl, data).ok());
        let set = set.filter(|set| !set.is_empty()).ok_or_else(|| bad(&line.data))?;
        let name = self.name(&line.name)?;
        Ok(ImportedSet { name, set, creator: line.creator.as_deref().map(|creator| self.text(creator)) })
    }

    fn zone(&mut self, text: &str) -> Result<Name, Damage> {
        // Names of a zone often follow each other.
        if let Some((_, last)) = self.last_zone.as_ref().filter(|(last, _)| last == text) {
            return Ok(last.clone());
        }
        let name = self.known_zone(text)?;
        self.last_zone = Some((text.to_owned(), name.clone()));
        Ok(name)
    }

    fn known_zone(&mut self, text: &str) -> Result<Name, Damage> {
        let name = self.name(text)?;
        if let Some(known) = self.zones.get(&name) {
            return Ok(known.clone());
        }
        self.zones.insert(name.clone());
        Ok(name)
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(text);
        self.texts.insert(Arc::clone(&new));
        new
    }

    fn names(&self, texts: &[Text<'_>]) -> Result<Vec<Name>, Damage> {
        texts.iter().map(|text| self.name(&text.0)).collect()
    }

    fn name(&self, text: &str) -> Result<Name, Damage> {
        text.parse().map_err(|cause| Damage::Name { line: self.line, name: text.to_owned(), cause })
    }
}

fn texts(names: &[Name]) -> Vec<Text<'static>> {
    names.iter().map(|name| Text(name.to_string().into())).collect()
}

impl<'a> PublishedLine<'a> {
    fn of(publication: &'a Publication) -> PublishedLine<'a> {
        let claim = &*publication.claim;
        let ipv4 = publication.ipv4.iter().copied().map(IpAddr::from);
        PublishedLine {
            name: publication.name.to_string().into(),
            zone: publication.zone.to_string().into(),
            addresses: ipv4.chain(publication.ipv6.iter().copied().map(IpAddr::from)).collect(),
            public_names: texts(&publication.public_names),
            since_secs: claim.since_secs,
            endpoint: (&*claim.endpoint).into(),
            virtual_network: claim.virtual_network.as_deref().map(Cow::Borrowed),
            subscription: (&*claim.subscription).into(),
            resource: claim.resource.as_deref().map(Cow::Borrowed),
        }
    }
}

impl<'a> PrivateZoneLine<'a> {
    fn of(zone: &'a PrivateZone) -> PrivateZoneLine<'a> {
        let links = zone.azure.links.iter().map(|link| LinkLine {
            virtual_network: link.virtual_network.to_string(),
            redirects: link.on_missing == OnMissing::AskPublic,
        });
        PrivateZoneLine {
            name: zone.apex.to_string(),
            id: (&*zone.azure.id).into(),
            subscription: (&*zone.azure.subscription).into(),
            links: links.collect(),
        }
    }
}

impl<'a> RecordSetLine<'a> {
    fn of(record_set: &'a ImportedSet) -> RecordSetLine<'a> {
        let set = &record_set.set;
        RecordSetLine {
            name: record_set.name.to_string(),
            rtype: set.rtype.to_string(),
            ttl_secs: set.ttl.secs(),
            data: set.records().map(|data| rdata::to_text(set.rtype, data)).collect(),
            creator: record_set.creator.as_deref().map(Cow::Borrowed),
        }
    }
}

impl<'a> WithheldLine<'a> {
    fn of(withheld: &'a Withheld) -> WithheldLine<'a> {
        WithheldLine {
            name: withheld.name.to_string().into(),
            zone: withheld.zone.to_string().into(),
            public_names: texts(&withheld.public_names),
            endpoint: (&*withheld.endpoint).into(),
            endpoint_name: (&*withheld.endpoint_name).into(),
            state: withheld.state.as_str().into(),
        }
    }
}
