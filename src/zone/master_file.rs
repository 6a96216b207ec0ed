//! Master files (RFC 1035 §5): text becomes entries, each with the place it stands at.

mod error;
mod folder;
mod generate;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dns::record::CLASS_IN;
use crate::dns::token::{self, Quoting, Token};
use crate::dns::{Name, NameBuf, NameRef, RecordType, Ttl, rdata};

use error::{ERRORS_MAX, WARNINGS_MAX};
pub use error::{Fault, MasterFileError, MasterFileErrors, MasterFileWarning};
use folder::Folder;
use generate::Range;

/// What a master file and the files it includes say, in order.
#[derive(Debug)]
pub struct MasterFile {
    pub apex: Name,
    pub entries: Vec<Entry>,
    /// The files read, the first one first; a change of any of them is a change of the zone.
    pub files: Vec<Arc<Path>>,
    /// What was read in another way than it is written; the first hundred.
    pub warnings: Vec<MasterFileWarning>,
}

/// One record and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub owner: Name,
    pub rtype: RecordType,
    pub ttl: Ttl,
    /// Record data in wire form, its names in lower case.
    pub data: Vec<u8>,
    /// The line that the record begins on, from 1.
    pub line: usize,
    pub file: Arc<Path>,
}

impl MasterFile {
    /// Reads a file; what it includes must lie in the folder `root`.
    pub fn read(path: &Path, apex: &Name, root: &Path) -> Result<MasterFile, MasterFileErrors> {
        let whole_file = |fault| MasterFileError { file: path.to_owned(), line: None, fault };
        let mut folder = Folder::new(root).map_err(whole_file)?;
        let opened = folder.open_first(path).map_err(whole_file)?;
        let mut reader = Reader::new(apex, Some(folder));
        reader.file(opened, Scope::new(apex.clone(), path.into()));
        reader.finish()
    }

    /// A file that says nothing.
    pub fn empty(apex: &Name) -> MasterFile {
        MasterFile { apex: apex.clone(), entries: Vec::new(), files: Vec::new(), warnings: Vec::new() }
    }

    /// Reads text, which may not include files; `name` stands in errors for the file's.
    pub fn parse(text: &str, name: &Path, apex: &Name) -> Result<MasterFile, MasterFileErrors> {
        let mut reader = Reader::new(apex, None);
        reader.text(text, &[], &mut Scope::new(apex.clone(), name.into()));
        reader.finish()
    }
}

/// What lasts from the first line to the last, whatever file it stands in.
struct Reader {
    read: MasterFile,
    errors: Vec<MasterFileError>,
    // `None` for text that stands alone.
    folder: Option<Folder>,
    /// Of the last `$TTL`. It outlasts the file it stands in, as in BIND: a file of defaults may be included.
    default_ttl: Option<Ttl>,
    /// Of the last record that states its own.
    stated_ttl: Option<Ttl>,
    soa_minimum: Option<Ttl>,
    /// That there is no TTL is one mistake, on however many lines.
    no_ttl_is_listed: bool,
    /// What `$GENERATE` may still make.
    records_left: u64,
    text_bytes_left: usize,
}

/// Types whose targets `az network private-dns zone export` writes without the dot that ends a whole name (azure-cli 2.91.0;
/// `findings/az-private-export-relative-targets.sh`). The export of public zones has it.
const DOTLESS_IN_AZ_EXPORTS: [RecordType; 3] = [RecordType::MX, RecordType::SRV, RecordType::PTR];

/// Whether the comment that a file begins with is that of Azure's command line.
fn is_az_export(text: &str) -> bool {
    let mut head = text.lines().map(str::trim).filter(|line| !line.is_empty());
    head.next()
        .is_some_and(|first| first.starts_with(';') && first.contains("Exported zone file from Azure DNS"))
}

/// What an included file inherits and cannot change for the one that includes it (RFC 1035 §5.1).
#[derive(Clone)]
struct Scope {
    origin: Name,
    owner: LastOwner,
    file: Arc<Path>,
    /// Whether `az` has written the file.
    is_az_export: bool,
}

/// What blank space at the beginning of a line stands for.
#[derive(Clone)]
enum LastOwner {
    None,
    Known(Name),
    /// Its line has an error, which the lines below it need not repeat.
    Wrong,
}

impl Scope {
    fn new(origin: Name, file: Arc<Path>) -> Scope {
        Scope { origin, owner: LastOwner::None, file, is_az_export: false }
    }
}

impl Reader {
    fn new(apex: &Name, folder: Option<Folder>) -> Reader {
        Reader {
            read: MasterFile::empty(apex),
            errors: Vec::new(),
            folder,
            default_ttl: None,
            stated_ttl: None,
            soa_minimum: None,
            no_ttl_is_listed: false,
            records_left: generate::RECORDS_MAX,
            text_bytes_left: generate::TEXT_BYTES_MAX,
        }
    }

    fn finish(self) -> Result<MasterFile, MasterFileErrors> {
        let is_cut = self.is_full();
        match self.errors.is_empty() {
            true => Ok(self.read),
            false => Err(MasterFileErrors { errors: self.errors, is_cut }),
        }
    }

    /// Whether no more errors are listed, so that there is no use in reading on.
    fn is_full(&self) -> bool {
        self.errors.len() >= ERRORS_MAX
    }

    fn list(&mut self, scope: &Scope, line: usize, fault: Fault) {
        if matches!(fault, Fault::NoTtl) && std::mem::replace(&mut self.no_ttl_is_listed, true) {
            return;
        }
        if !self.is_full() {
            self.errors.push(MasterFileError { file: scope.file.to_path_buf(), line: Some(line), fault });
        }
    }

    fn file(&mut self, bytes: Vec<u8>, mut scope: Scope) {
        self.read.files.push(Arc::clone(&scope.file));
        match String::from_utf8(bytes) {
            Ok(text) => self.text(&text, &[], &mut scope),
            Err(error) => {
                let lines = error.as_bytes().split(|byte| *byte == b'\n').zip(1..);
                let wrong = lines.filter(|(line, _)| str::from_utf8(line).is_err()).map(|(_, number)| number);
                let wrong: Vec<usize> = wrong.take(ERRORS_MAX).collect();
                wrong.iter().for_each(|line| self.list(&scope, *line, Fault::NotUtf8));
                self.text(&String::from_utf8_lossy(error.as_bytes()), &wrong, &mut scope);
            }
        }
    }

    /// Reads text; what is wrong with the lines `known` is listed already.
    fn text(&mut self, text: &str, known: &[usize], scope: &mut Scope) {
        // Editors on Windows begin files with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        scope.is_az_export = is_az_export(text);
        for entry in token::entries(text) {
            if self.is_full() {
                return;
            }
            let (line, included) = match entry {
                Ok(entry) if known.binary_search(&entry.line).is_ok() => {
                    scope.owner = LastOwner::Wrong;
                    continue;
                }
                Ok(entry) => (entry.line, self.entry(&entry, scope)),
                Err((line, error)) => {
                    scope.owner = LastOwner::Wrong;
                    (line, Err(Fault::Token(error)))
                }
            };
            match included {
                Ok(None) => {}
                Ok(Some((bytes, inner))) => {
                    self.file(bytes, inner);
                    self.folder.iter_mut().for_each(Folder::close);
                }
                Err(fault) => self.list(scope, line, fault),
            }
        }
    }

    /// Takes one entry in; answers the file to include.
    fn entry(
        &mut self,
        entry: &token::Entry<'_>,
        scope: &mut Scope,
    ) -> Result<Option<(Vec<u8>, Scope)>, Fault> {
        let is_directive = entry.tokens.first().is_some_and(|first| {
            !entry.indented && first.quoting == Quoting::Plain && first.text.starts_with('$')
        });
        if is_directive {
            return self.directive(&entry.tokens, entry.line, scope);
        }
        let mut tokens = &entry.tokens[..];
        if !entry.indented
            && let Some((word, behind)) = tokens.split_first()
        {
            self.own(word, scope)?;
            tokens = behind;
        }
        let owner = match &scope.owner {
            LastOwner::Known(owner) => owner.clone(),
            LastOwner::None => return Err(Fault::NoOwner),
            LastOwner::Wrong => return Ok(None),
        };
        let (head, tokens) = self.head(&owner, tokens)?;
        self.record(owner, head, tokens, entry.line, scope).map(|()| None)
    }

    /// Obeys a directive; answers the file to include.
    fn directive(
        &mut self,
        tokens: &[Token<'_>],
        line: usize,
        scope: &mut Scope,
    ) -> Result<Option<(Vec<u8>, Scope)>, Fault> {
        let (directive, arguments) = (&tokens[0].text, &tokens[1..]);
        let argument = |what| arguments.first().ok_or_else(|| Fault::Missing(directive.to_string(), what));
        let end = |count: usize| match arguments.get(count) {
            Some(extra) => Err(Fault::Extra(directive.to_string(), extra.text.to_string())),
            None => Ok(()),
        };
        match directive.to_ascii_uppercase().as_str() {
            "$ORIGIN" => {
                scope.origin = name(argument("a name")?, &scope.origin)?.to_name();
                end(1)?;
            }
            "$TTL" => {
                let read = argument("a TTL").and_then(|word| ttl(&word.text));
                // A TTL that cannot be read is no reason to miss one on each record below it.
                self.no_ttl_is_listed |= read.is_err();
                self.default_ttl = Some(read?);
                end(1)?;
            }
            "$INCLUDE" => {
                let word = argument("a file")?;
                end(2)?;
                let origin = match arguments.get(1) {
                    Some(origin) => name(origin, &scope.origin)?.to_name(),
                    None => scope.origin.clone(),
                };
                let bytes = word.unescaped().map_err(|error| Fault::Name(word.text.to_string(), error))?;
                let path = String::from_utf8(bytes).map_err(|_| Fault::NotUtf8)?;
                let folder = self.folder.as_mut().ok_or(Fault::IncludeInText)?;
                // Relative to the file that includes it, so that a folder can be moved.
                let path: PathBuf = scope.file.parent().unwrap_or(Path::new("")).join(path);
                let bytes = folder.open(&path)?;
                let inner = Scope { origin, file: path.into(), ..scope.clone() };
                return Ok(Some((bytes, inner)));
            }
            "$GENERATE" => self.generate(directive, arguments, line, scope)?,
            _ => return Err(Fault::Directive(directive.to_string())),
        }
        Ok(None)
    }

    /// Makes a word the owner.
    fn own(&self, word: &Token<'_>, scope: &mut Scope) -> Result<(), Fault> {
        let last = std::mem::replace(&mut scope.owner, LastOwner::Wrong);
        let owner = name(word, &scope.origin)?;
        if !owner.borrow().is_within(self.read.apex.borrow()) {
            return Err(Fault::OutOfZone(owner.to_name(), self.read.apex.clone()));
        }
        // A name that stands on many lines is kept once.
        scope.owner = match last {
            LastOwner::Known(last) if last.borrow() == owner.borrow() => LastOwner::Known(last),
            _ => LastOwner::Known(owner.to_name()),
        };
        Ok(())
    }

    /// Reads what stands between owner and data.
    // RFC 1035 §5.1: TTL and class are optional and stand in any order.
    fn head<'t, 'e>(
        &self,
        owner: &Name,
        mut tokens: &'e [Token<'t>],
    ) -> Result<(Head, &'e [Token<'t>]), Fault> {
        let (mut stated, mut class) = (None, None);
        loop {
            let Some((word, behind)) = tokens.split_first() else {
                return Err(Fault::Missing(owner.to_string(), "a record type"));
            };
            tokens = behind;
            let word = &*word.text;
            if stated.is_none() && word.starts_with(|first: char| first.is_ascii_digit()) {
                stated = Some(ttl(word)?);
            } else if class.is_none()
                && let Some(read) = Class::read(word)
            {
                if read == Class::Other {
                    return Err(Fault::Class(word.to_owned()));
                }
                class = Some(read);
            } else {
                let rtype = word.parse().map_err(Fault::Type)?;
                return Ok((Head { stated, rtype }, tokens));
            }
        }
    }

    fn record(
        &mut self,
        owner: Name,
        Head { stated, rtype }: Head,
        tokens: &[Token<'_>],
        line: usize,
        scope: &Scope,
    ) -> Result<(), Fault> {
        let dotless = tokens.last().filter(|target| {
            let is_relative = target.text != "@" && !target.text.ends_with('.');
            scope.is_az_export && DOTLESS_IN_AZ_EXPORTS.contains(&rtype) && is_relative
        });
        let origin = if dotless.is_some() { NameRef::ROOT } else { scope.origin.borrow() };
        let (data, long_bytes) = rdata::from_file_tokens(rtype, tokens, origin).map_err(Fault::Data)?;
        if let Some(target) = dotless {
            let target = &target.text;
            let what = format!(
                "the target {target} is taken for a whole name, as `az network private-dns zone export` writes those of \
                 {rtype} without the dot"
            );
            self.warn(scope, line, what);
        }
        if let Some(bytes) = long_bytes {
            let what = format!(
                "a string of {rtype} has {bytes} bytes, where 255 is the most (RFC 1035 §3.3): it is split, as what \
                 `az network private-dns zone export` writes must be"
            );
            self.warn(scope, line, what);
        }
        if rtype == RecordType::SOA && self.soa_minimum.is_none() {
            self.soa_minimum = data.last_chunk().and_then(|bytes| Ttl::from_secs(u32::from_be_bytes(*bytes)));
        }
        self.stated_ttl = stated.or(self.stated_ttl);
        // RFC 2308 §4: `$TTL` comes before RFC 1035's last stated one; the SOA's minimum was the default before.
        let ttl = stated.or(self.default_ttl).or(self.stated_ttl).or(self.soa_minimum).ok_or(Fault::NoTtl)?;
        let file = Arc::clone(&scope.file);
        self.read.entries.push(Entry { owner, rtype, ttl, data, line, file });
        Ok(())
    }

    fn warn(&mut self, scope: &Scope, line: usize, what: String) {
        if self.read.warnings.len() < WARNINGS_MAX {
            self.read.warnings.push(MasterFileWarning { file: Arc::clone(&scope.file), line, what });
        }
    }

    /// Makes the records of `range owner [TTL] [class] type data`.
    fn generate(
        &mut self,
        directive: &str,
        arguments: &[Token<'_>],
        line: usize,
        scope: &Scope,
    ) -> Result<(), Fault> {
        let missing = |what| Fault::Missing(directive.to_owned(), what);
        let (range, arguments) = arguments.split_first().ok_or_else(|| missing("a range"))?;
        let (owner, arguments) = arguments.split_first().ok_or_else(|| missing("an owner"))?;
        let range = Range::parse(&range.text).ok_or_else(|| Fault::GenerateRange(range.text.to_string()))?;
        // Counted before anything is made.
        self.records_left = self.records_left.checked_sub(range.count()).ok_or(Fault::GenerateTooMany)?;
        let (head, words) = self.head(&self.read.apex, arguments)?;
        if words.is_empty() {
            return Err(missing("record data"));
        }
        let modifier = |text: &str| Fault::GenerateModifier(text.to_owned());
        for number in range.numbers() {
            let owner_text =
                generate::substitute(&owner.text, number).ok_or_else(|| modifier(&owner.text))?;
            let data = generate::data_text(words, number).ok_or_else(|| {
                let words: Vec<&str> = words.iter().map(|word| &*word.text).collect();
                modifier(&words.join(" "))
            })?;
            let bytes = owner_text.len() + data.len();
            self.text_bytes_left = self.text_bytes_left.checked_sub(bytes).ok_or(Fault::GenerateTooMany)?;
            let mut own = scope.clone();
            self.own(&Token { text: owner_text.into(), quoting: Quoting::Plain }, &mut own)?;
            let LastOwner::Known(name) = own.owner else { continue };
            let tokens = token::tokens(&data).map_err(Fault::Token)?;
            self.record(name, head, &tokens, line, scope)?;
        }
        Ok(())
    }
}

/// What a record says between owner and data.
#[derive(Clone, Copy)]
struct Head {
    stated: Option<Ttl>,
    rtype: RecordType,
}

fn name(word: &Token<'_>, origin: &Name) -> Result<NameBuf, Fault> {
    NameBuf::parse(&word.text, origin.borrow()).map_err(|error| Fault::Name(word.text.to_string(), error))
}

fn ttl(word: &str) -> Result<Ttl, Fault> {
    rdata::seconds(word).and_then(Ttl::from_secs).ok_or_else(|| Fault::Ttl(word.to_owned()))
}

/// A class in words or by number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Internet,
    Other,
}

impl Class {
    fn read(word: &str) -> Option<Class> {
        const OTHERS: [&str; 6] = ["CH", "CHAOS", "HS", "HESIOD", "CS", "NONE"];
        if word.eq_ignore_ascii_case("IN") {
            return Some(Class::Internet);
        }
        if OTHERS.iter().any(|other| word.eq_ignore_ascii_case(other)) {
            return Some(Class::Other);
        }
        // RFC 3597 §5: `CLASS1`.
        let (prefix, number) = word.split_at_checked(5)?;
        let number: u16 = number.parse().ok().filter(|_| prefix.eq_ignore_ascii_case("CLASS"))?;
        Some(if number == CLASS_IN { Class::Internet } else { Class::Other })
    }
}

#[cfg(test)]
mod tests;
