//! Reading the file on all cores: each takes the next part, adds it to the checksum and reads its lines.

use std::hash::Hasher;
use std::io::{self, Read};
use std::sync::Arc;

use parking_lot::Mutex;
use siphasher::sip128::SipHasher13;

use super::super::Desired;
use super::file::{Damage, LastGood, text_of};
use super::line::Line;
use super::reader::{Part, Place, Reader};
use crate::machine::{Turns, on_all_cores};
use crate::zone::{AzureZone, Claim};

/// Bytes of a part: some thousand lines, which stay in a core's own cache from the checksum to their reading.
const PART_BYTES: usize = 1 << 20;

/// Why nothing was read.
#[derive(Debug)]
pub(super) enum Unread {
    Input(io::Error),
    Damage(Damage),
}

/// All of a file or nothing of it.
pub(super) fn read(file: impl Read + Send) -> Result<Vec<LastGood>, Unread> {
    read_in_parts(file, PART_BYTES)
}

fn read_in_parts(file: impl Read + Send, part_bytes: usize) -> Result<Vec<LastGood>, Unread> {
    let input = Mutex::new(Input::new(file, part_bytes));
    let joined = Mutex::new((Turns::default(), Joined::default()));
    let work = || -> io::Result<()> {
        let (mut reader, mut bytes) = (Reader::default(), Vec::new());
        loop {
            let Some((number, source)) = input.lock().next(&mut bytes)? else { return Ok(()) };
            let place = if number == 0 { Place::First } else { Place::Later };
            let part = reader.read(&bytes, place, &source);
            if let Ok(Part { sources, .. }) = &part
                && let Some(last) = sources.last()
            {
                input.lock().set_source(number, &last.source);
            }
            let (turns, joined) = &mut *joined.lock();
            turns.add(number, part);
            while let Some(part) = turns.take() {
                joined.add(part);
            }
        }
    };
    let read: io::Result<()> = on_all_cores(usize::MAX, work).into_iter().collect();
    read.map_err(Unread::Input)?;
    let checked = input.into_inner().check();
    checked.and_then(|()| joined.into_inner().1.whole()).map_err(Unread::Damage)
}

/// The file, as far as it was read.
struct Input<R> {
    file: R,
    part_bytes: usize,
    /// What was read behind the last part: always the beginning of a line.
    rest: Vec<u8>,
    is_over: bool,
    parts: usize,
    checksum: SipHasher13,
    /// The source that was last met, and in which part.
    source: (usize, Arc<str>),
}

impl<R: Read> Input<R> {
    fn new(file: R, part_bytes: usize) -> Input<R> {
        let (rest, checksum, source) = (Vec::new(), SipHasher13::new(), (0, Arc::from("")));
        Input { file, part_bytes, rest, is_over: false, parts: 0, checksum, source }
    }

    /// Takes the next part, and tells its number and which source it goes on with as far as that is known; `None` when
    /// nothing is left but the last line, which is none of the checksum's.
    fn next(&mut self, part: &mut Vec<u8>) -> io::Result<Option<(usize, Arc<str>)>> {
        part.clear();
        part.append(&mut self.rest);
        loop {
            if !self.is_over {
                let wanted = self.part_bytes as u64;
                self.is_over = (&mut self.file).take(wanted).read_to_end(part)? < self.part_bytes;
            }
            // The last byte ends the last line at most: what is behind the part is never nothing.
            let body = &part[..part.len().saturating_sub(1)];
            if let Some(end) = body.iter().rposition(|byte| *byte == b'\n') {
                self.rest.extend_from_slice(&part[end + 1..]);
                part.truncate(end + 1);
                break;
            }
            if self.is_over {
                self.rest.append(part);
                return Ok(None);
            }
        }
        self.checksum.write(part);
        self.parts += 1;
        Ok(Some((self.parts - 1, Arc::clone(&self.source.1))))
    }

    fn set_source(&mut self, part: usize, source: &Arc<str>) {
        if self.source.0 <= part {
            self.source = (part, Arc::clone(source));
        }
    }

    /// Whether all is there as it was written.
    fn check(self) -> Result<(), Damage> {
        let is_whole = self.parts > 0 && self.rest.ends_with(b"\n");
        match serde_json::from_slice(&self.rest) {
            Ok(Line::End { checksum }) if is_whole => {
                if text_of(&self.checksum) == checksum {
                    Ok(())
                } else {
                    Err(Damage::Checksum)
                }
            }
            _ => Err(Damage::CutShort),
        }
    }
}

/// What the parts say together.
#[derive(Default)]
struct Joined {
    sources: Vec<LastGood>,
    lines: usize,
    damage: Option<Damage>,
}

impl Joined {
    /// Adds the next part; behind damage nothing counts.
    fn add(&mut self, part: Result<Part, Damage>) {
        if self.damage.is_some() {
            return;
        }
        let added = match part {
            Ok(part) => self.append(part),
            Err(damage) => Err(damage.behind(self.lines)),
        };
        self.damage = added.err();
    }

    fn append(&mut self, mut part: Part) -> Result<(), Damage> {
        let (first_set, head_sets) = part.head_sets;
        match self.sources.last_mut() {
            Some(LastGood { source, desired, .. }) => {
                give_source(&mut part.head, source);
                if !head_sets.is_empty() {
                    let line = self.lines + first_set;
                    let zone = desired.zones.last_mut().ok_or(Damage::Order { line })?;
                    Arc::make_mut(zone).record_sets.extend(head_sets);
                }
                desired.publications.append(&mut part.head.publications);
                desired.withheld.append(&mut part.head.withheld);
                desired.zones.append(&mut part.head.zones);
            }
            None if part.head == Desired::default() && head_sets.is_empty() => {}
            None => return Err(Damage::Order { line: self.lines + 1 }),
        }
        self.sources.append(&mut part.sources);
        self.lines += part.lines;
        Ok(())
    }

    fn whole(self) -> Result<Vec<LastGood>, Damage> {
        self.damage.map_or(Ok(self.sources), Err)
    }
}

/// Corrects a guess: what is here is of this source.
fn give_source(desired: &mut Desired, source: &Arc<str>) {
    let mut last: Option<(Arc<Claim>, Arc<Claim>)> = None;
    for publication in &mut desired.publications {
        let claim = &mut publication.claim;
        if claim.source == *source {
            // They are all of the same guess.
            break;
        }
        // Names of one endpoint share its claim.
        let (_, right) = match &last {
            Some(known) if Arc::ptr_eq(&known.0, claim) => known,
            _ => {
                let right = Claim { source: Arc::clone(source), ..Claim::clone(claim) };
                last.insert((Arc::clone(claim), Arc::new(right)))
            }
        };
        *claim = Arc::clone(right);
    }
    for zone in &mut desired.zones {
        let azure = AzureZone { source: Arc::clone(source), ..AzureZone::clone(&zone.azure) };
        Arc::make_mut(zone).azure = Arc::new(azure);
    }
}

impl Damage {
    /// The same in a part that lies behind so many lines.
    fn behind(mut self, lines: usize) -> Damage {
        match &mut self {
            Damage::Line { line, .. }
            | Damage::Name { line, .. }
            | Damage::Data { line, .. }
            | Damage::Order { line } => *line += lines,
            Damage::CutShort | Damage::Checksum | Damage::Version(_) => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::{self, Saved};
    use super::super::tests::desired;
    use super::super::time::time_of;
    use super::*;

    fn lines(text: &str) -> Vec<u8> {
        let mut checksum = SipHasher13::new();
        checksum.write(text.as_bytes());
        let checksum = text_of(&checksum);
        format!("{text}{{\"end\":{{\"checksum\":\"{checksum}\"}}}}\n").into_bytes()
    }

    #[test]
    fn a_file_says_the_same_in_parts_of_any_size() {
        let (first, last) = (desired(40), desired(9));
        let nothing = Desired::default();
        let saved = |source, read_at, desired| Saved { source, read_at: time_of(read_at), desired };
        let all =
            [saved("azure", 7, &first), saved("nothing \"here\"", 8, &nothing), saved("other", 9, &last)];
        let mut bytes = Vec::new();
        file::write(&all, &mut bytes).unwrap();
        for part_bytes in (1..2500).step_by(7).chain([bytes.len() - 1, bytes.len(), bytes.len() + 1]) {
            let read = read_in_parts(&bytes[..], part_bytes).unwrap();
            assert_eq!(read.len(), 3, "{part_bytes}");
            for (read, saved) in read.iter().zip(&all) {
                assert_eq!((&*read.source, read.read_at), (saved.source, saved.read_at), "{part_bytes}");
                let (zone, is) = (saved.desired.zones.first(), read.desired.zones.first());
                assert_eq!(
                    is.map(|it| (&it.apex, &it.azure.links, &it.record_sets)),
                    zone.map(|it| (&it.apex, &it.azure.links, &it.record_sets)),
                    "{part_bytes}"
                );
                assert_eq!(read.desired.withheld, saved.desired.withheld, "{part_bytes}");
                assert_eq!(read.desired.publications.len(), saved.desired.publications.len(), "{part_bytes}");
                for (read, saved) in read.desired.publications.iter().zip(&saved.desired.publications) {
                    let claim = Claim { source: read.claim.source.clone(), ..Claim::clone(&saved.claim) };
                    assert_eq!(*read.claim, claim);
                    assert_eq!(read.name, saved.name);
                }
                assert!(read.desired.publications.iter().all(|it| it.claim.source == read.source));
                assert!(read.desired.zones.iter().all(|it| it.azure.source == read.source));
            }
        }
    }

    #[test]
    fn a_fault_is_told_by_its_line_in_the_file_whichever_part_that_is_in() {
        const SOURCE: &str = "{\"source\":{\"name\":\"azure\",\"read_at_secs\":7}}\n";
        const ZONE: &str =
            "{\"private_zone\":{\"name\":\"z.\",\"id\":\"/z\",\"subscription\":\"s\",\"links\":[]}}\n";
        const SET: &str = "{\"record_set\":{\"name\":\"a.z.\",\"type\":\"A\",\"ttl_secs\":7,\"data\":[\"10.0.0.1\"],\"creator\":null}}\n";
        let begin = "{\"sync_state\":{\"version\":1}}\n";
        for (text, told) in [
            (format!("{begin}{SOURCE}{ZONE}{SET}{SET}nonsense\n{SET}"), "line 6: "),
            (format!("{begin}{SOURCE}{ZONE}{SET}{begin}"), "line 5 does not belong there"),
            (format!("{begin}{ZONE}{SOURCE}"), "line 2 does not belong there"),
            (format!("{begin}{SOURCE}{SET}"), "line 3 does not belong there"),
            (format!("{begin}{SOURCE}{ZONE}{SET}{SOURCE}{SET}{SET}"), "line 6 does not belong there"),
            (SOURCE.to_owned(), "line 1 does not belong there"),
        ] {
            for part_bytes in (1..300).chain([10_000]) {
                let Err(Unread::Damage(damage)) = read_in_parts(&lines(&text)[..], part_bytes) else {
                    panic!("{part_bytes}: {text}")
                };
                assert!(damage.to_string().starts_with(told), "{part_bytes}: {damage}");
            }
        }
        let whole = format!("{begin}{SOURCE}{ZONE}{SET}{SET}");
        for part_bytes in 1..300 {
            let read = read_in_parts(&lines(&whole)[..], part_bytes).unwrap();
            assert_eq!(read[0].desired.zones[0].record_sets.len(), 2);
        }
    }

    #[test]
    fn an_input_that_fails_is_told_as_such() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        assert!(matches!(read(Failing), Err(Unread::Input(_))));
    }
}
