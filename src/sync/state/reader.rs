//! From lines to what sources have published: one part of the file after the other.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashSet;

use super::super::desired::Desired;
use super::super::inventory::ConnectionState;
use super::super::private_dns::{ImportedSet, PrivateZone};
use super::super::publication::{Publication, Withheld};
use super::file::{Damage, LastGood, VERSION};
use super::line::{Line, PrivateZoneLine, RecordSetLine, Text, WithheldLine};
use super::quick::Published;
use super::time::time_of;
use crate::dns::{Name, NameError, NameRef, RecordSet, RecordType, Ttl, rdata};
use crate::zone::{AzureZone, Claim, OnMissing, VirtualNetworkLink};

/// Reads parts of a file. What it meets again in another part it keeps in memory once.
#[derive(Default)]
pub(super) struct Reader {
    /// Zones, and ids of networks and subscriptions: there are few, and many names in them.
    zones: HashSet<Name>,
    last_zone: Option<(String, Name)>,
    texts: HashSet<Arc<str>>,
    /// That of the last name: names of an endpoint often follow each other.
    claim: Option<Arc<Claim>>,
    /// The line in the part.
    line: usize,
    /// The source whose lines are read; in a part of a file, as far as it is known.
    source: Arc<str>,
    part: Part,
}

/// Some of a file's lines, whole ones.
#[derive(Default)]
pub(super) struct Part {
    pub lines: usize,
    /// The lines before the first that begins a source: they are of the one before, whose name was only guessed.
    pub head: Desired,
    /// The record sets among these before the first private DNS zone, and the first one's line.
    pub head_sets: (usize, Vec<ImportedSet>),
    pub sources: Vec<LastGood>,
}

/// Where in the file a part lies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    First,
    Later,
}

impl Reader {
    /// Reads whole lines. Where a later part begins before a source's name, that is taken to be this.
    pub fn read(&mut self, bytes: &[u8], place: Place, source: &str) -> Result<Part, Damage> {
        (self.part, self.line, self.claim) = (Part::default(), 0, None);
        if *self.source != *source {
            self.source = Arc::from(source);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            self.line += 1;
            // The first line is none of these.
            if (self.line > 1 || place == Place::Later)
                && let Some((line, behind)) = Published::read(rest)
            {
                self.published(&line, place)?;
                rest = behind;
                continue;
            }
            let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
            let (line, behind) = rest.split_at(length);
            let cause = |cause| Damage::Line { line: self.line, cause };
            self.take(serde_json::from_slice(line).map_err(cause)?, place)?;
            rest = behind;
        }
        self.part.lines = self.line;
        Ok(std::mem::take(&mut self.part))
    }

    fn take(&mut self, line: Line<'_>, place: Place) -> Result<(), Damage> {
        let is_first = self.line == 1 && place == Place::First;
        match line {
            Line::SyncState { version } if is_first => {
                return if version == VERSION { Ok(()) } else { Err(Damage::Version(version)) };
            }
            _ if is_first => return Err(Damage::Order { line: self.line }),
            Line::Source { name, read_at_secs, held_back } => {
                let held_back = held_back.map(Cow::into_owned);
                let (read_at, desired) = (time_of(read_at_secs), Desired { held_back, ..Desired::default() });
                self.source = Arc::from(&*name);
                self.claim = None;
                self.part.sources.push(LastGood { source: Arc::clone(&self.source), read_at, desired });
            }
            Line::Published(line) => self.published(&Published::of(&line), place)?,
            Line::Withheld(line) => {
                let withheld = self.withheld(line)?;
                self.desired(place)?.withheld.push(withheld);
            }
            Line::PrivateZone(line) => {
                let zone = Arc::new(self.private_zone(line)?);
                self.desired(place)?.zones.push(zone);
            }
            Line::RecordSet(line) => {
                let (record_set, line) = (self.record_set(line)?, self.line);
                let is_of_head = self.part.sources.is_empty();
                match self.desired(place)?.zones.last_mut() {
                    Some(zone) => Arc::make_mut(zone).record_sets.push(record_set),
                    None if is_of_head => {
                        let (first, sets) = &mut self.part.head_sets;
                        if sets.is_empty() {
                            *first = line;
                        }
                        sets.push(record_set);
                    }
                    None => return Err(Damage::Order { line }),
                }
            }
            Line::SyncState { .. } | Line::End { .. } => return Err(Damage::Order { line: self.line }),
        }
        Ok(())
    }

    /// What the source at hand wants.
    fn desired(&mut self, place: Place) -> Result<&mut Desired, Damage> {
        match self.part.sources.last_mut() {
            Some(source) => Ok(&mut source.desired),
            None if place == Place::Later => Ok(&mut self.part.head),
            None => Err(Damage::Order { line: self.line }),
        }
    }

    fn published(&mut self, line: &Published<'_>, place: Place) -> Result<(), Damage> {
        let zone = self.zone(line.zone)?;
        let mut publication = Publication {
            name: self.name_in(&zone, line)?,
            zone,
            ipv4: Vec::new(),
            ipv6: Vec::new(),
            public_names: line.public_names.iter().map(|name| self.name(name)).collect::<Result<_, _>>()?,
            claim: self.claim(line),
        };
        for address in &line.addresses {
            match address {
                IpAddr::V4(address) => publication.ipv4.push(*address),
                IpAddr::V6(address) => publication.ipv6.push(*address),
            }
        }
        self.desired(place)?.publications.push(publication);
        Ok(())
    }

    fn claim(&mut self, line: &Published<'_>) -> Arc<Claim> {
        let last = self.claim.as_ref().filter(|last| *last.endpoint == *line.endpoint);
        let claim = Claim {
            endpoint: last.map_or_else(|| Arc::from(line.endpoint), |last| Arc::clone(&last.endpoint)),
            virtual_network: line.virtual_network.map(|text| self.texts.shared(text)),
            subscription: self.texts.shared(line.subscription),
            resource: line.resource.map(Arc::from),
            source: Arc::clone(&self.source),
            since_secs: line.since_secs,
        };
        match last {
            Some(last) if **last == claim => Arc::clone(last),
            _ => Arc::clone(self.claim.insert(Arc::new(claim))),
        }
    }

    fn withheld(&mut self, line: WithheldLine<'_>) -> Result<Withheld, Damage> {
        let names = line.public_names.iter();
        Ok(Withheld {
            zone: self.zone(&line.zone)?,
            name: self.name(&line.name)?,
            public_names: names.map(|Text(name)| self.name(name)).collect::<Result<_, _>>()?,
            endpoint: Arc::from(&*line.endpoint),
            endpoint_name: Arc::from(&*line.endpoint_name),
            state: ConnectionState::read(Some(&line.state)),
        })
    }

    fn private_zone(&mut self, line: PrivateZoneLine<'_>) -> Result<PrivateZone, Damage> {
        let links = line.links.iter().map(|link| VirtualNetworkLink {
            virtual_network: self.texts.shared(&link.virtual_network),
            on_missing: if link.redirects { OnMissing::AskPublic } else { OnMissing::NxDomain },
        });
        let links = links.collect();
        let (subscription, source) = (self.texts.shared(&line.subscription), Arc::clone(&self.source));
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
        let creator = line.creator.as_deref().map(|creator| self.texts.shared(creator));
        Ok(ImportedSet { name, set, creator })
    }

    fn zone(&mut self, text: &str) -> Result<Name, Damage> {
        // Names of a zone often follow each other.
        if let Some((_, last)) = self.last_zone.as_ref().filter(|(last, _)| last == text) {
            return Ok(last.clone());
        }
        let name = self.name(text)?;
        let name = self.zones.get_or_insert(name).clone();
        self.last_zone = Some((text.to_owned(), name.clone()));
        Ok(name)
    }

    /// A name that mostly lies in its zone, which was read already.
    fn name_in(&self, zone: &Name, line: &Published<'_>) -> Result<Name, Damage> {
        let front = line.name.strip_suffix(line.zone).and_then(|front| front.strip_suffix('.'));
        // A dot at its end or before an escape, or an `@`, would mean something else.
        let is_plain = |front: &&str| {
            front.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        match front.filter(is_plain) {
            Some(front) => self.read_as(line.name, Name::parse(front, zone.borrow())),
            None => self.name(line.name),
        }
    }

    fn name(&self, text: &str) -> Result<Name, Damage> {
        self.read_as(text, text.parse())
    }

    fn read_as(&self, text: &str, name: Result<Name, NameError>) -> Result<Name, Damage> {
        name.map_err(|cause| Damage::Name { line: self.line, name: text.to_owned(), cause })
    }
}

/// Texts that many names share.
trait Shared {
    fn shared(&mut self, text: &str) -> Arc<str>;
}

impl Shared for HashSet<Arc<str>> {
    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.get(text) {
            return Arc::clone(known);
        }
        Arc::clone(self.get_or_insert(Arc::from(text)))
    }
}
