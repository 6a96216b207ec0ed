//! Master files (RFC 1035 §5): text becomes entries, each with the place it stands at.

mod error;
mod folder;
mod generate;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dns::record::CLASS_IN;
use crate::dns::token::{self, Quoting, Token};
use crate::dns::{Name, NameBuf, RecordType, Ttl, rdata};

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

/// What an included file inherits and cannot change for the one that includes it (RFC 1035 §5.1).
#[derive(Clone)]
struct Scope {
    origin: Name,
    owner: LastOwner,
    file: Arc<Path>,
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
        Scope { origin, owner: LastOwner::None, file }
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
        for entry in token::entries(text.strip_prefix('\u{feff}').unwrap_or(text)) {
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
        let (data, long_bytes) =
            rdata::from_file_tokens(rtype, tokens, scope.origin.borrow()).map_err(Fault::Data)?;
        if let Some(bytes) = long_bytes {
            let what = format!(
                "a string of {rtype} has {bytes} bytes, where 255 is the most (RFC 1035 §3.3): it is split, as what \
                 `az network private-dns zone export` writes must be"
            );
            if self.read.warnings.len() < WARNINGS_MAX {
                self.read.warnings.push(MasterFileWarning { file: Arc::clone(&scope.file), line, what });
            }
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
mod tests {
    use std::fs;

    use super::*;

    fn apex() -> Name {
        "corp.internal".parse().unwrap()
    }

    fn parsed(text: &str) -> Result<MasterFile, MasterFileErrors> {
        MasterFile::parse(text, Path::new("corp.zone"), &apex())
    }

    /// Each entry as `line owner TTL type data`.
    fn lines(read: Result<MasterFile, MasterFileErrors>) -> Vec<String> {
        let line = |entry: &Entry| {
            let data = rdata::to_text(entry.rtype, &entry.data);
            format!("{} {} {} {} {data}", entry.line, entry.owner, entry.ttl, entry.rtype)
        };
        read.unwrap().entries.iter().map(line).collect()
    }

    fn error(text: &str) -> String {
        parsed(text).unwrap_err().to_string()
    }

    #[test]
    fn a_whole_zone_is_read_in_order_with_its_lines() {
        let text = "\
; a zone
$TTL 1h
@\t\tIN SOA ns host (
          1    ; serial
          1h 5m 4w 10 )
        IN NS ns
ns      A 10.0.0.1
*.web 5m IN CNAME www.Example.COM.
$ORIGIN sub
x IN 5m TXT \"a;b\" c\\ d \"\"
\\@.y     CLASS1 1h30m TYPE65280 \\# 2 ab cd
corp.internal. TYPE1 \\# 4 0a000002";
        let expected = [
            "3 corp.internal. 3600 SOA ns.corp.internal. host.corp.internal. 1 3600 300 2419200 10",
            "6 corp.internal. 3600 NS ns.corp.internal.",
            "7 ns.corp.internal. 3600 A 10.0.0.1",
            "8 *.web.corp.internal. 300 CNAME www.example.com.",
            "10 x.sub.corp.internal. 300 TXT \"a;b\" \"c d\" \"\"",
            "11 \\@.y.sub.corp.internal. 5400 TYPE65280 \\# 2 abcd",
            "12 corp.internal. 3600 A 10.0.0.2",
        ];
        assert_eq!(lines(parsed(text)), expected);
        let with_windows_line_ends = format!("\u{feff}{}\r\n", text.replace('\n', "\r\n"));
        assert_eq!(lines(parsed(&with_windows_line_ends)), expected);
        assert!(lines(parsed("")).is_empty());
    }

    #[test]
    fn a_ttl_is_stated_or_by_directive_or_the_last_stated_or_the_minimum() {
        let soa = "@ SOA a b 1 2 3 4 77\n";
        assert_eq!(lines(parsed(&format!("{soa}a A 10.0.0.1")))[1], "2 a.corp.internal. 77 A 10.0.0.1");
        let ttls = |text: &str| -> Vec<u32> {
            parsed(text).unwrap().entries.iter().map(|entry| entry.ttl.secs()).collect()
        };
        let record = "a A 10.0.0.1\n";
        assert_eq!(ttls(&format!("{soa}a 5 A 10.0.0.2\n{record}")), [77, 5, 5]);
        assert_eq!(ttls(&format!("$TTL 9\n{soa}a 5 A 10.0.0.2\n{record}$TTL 8\n{record}")), [9, 5, 9, 8]);
        assert_eq!(
            error(record),
            "corp.zone:1: the record has no TTL, and neither `$TTL` nor a record above it says one"
        );
    }

    #[test]
    fn faults_name_file_line_and_word() {
        for (text, fault) in [
            ("www.other. 1 A 10.0.0.1", "`www.other.` lies outside the zone `corp.internal.`"),
            ("$ORIGIN net.\nwww 1 A 10.0.0.1", "`www.net.` lies outside the zone `corp.internal.`"),
            (
                " A 10.0.0.1",
                "the line begins with a space, which stands for the owner above it, but there is none",
            ),
            ("a..b 1 A 10.0.0.1", "`a..b` is not a name: a label is empty"),
            (
                "a 1x A 10.0.0.1",
                "`1x` is not a TTL: a number of seconds up to 2147483647, or units as in `1h30m`",
            ),
            (
                "a 2147483648 A 10.0.0.1",
                "`2147483648` is not a TTL: a number of seconds up to 2147483647, or units as in `1h30m`",
            ),
            ("a 1 2 A 10.0.0.1", "`2` is not a record type"),
            ("a 1 CH TXT x", "class `CH` is not served, only IN"),
            ("a 1 CLASS3 TXT x", "class `CLASS3` is not served, only IN"),
            ("a 1 CLASSIC TXT x", "`CLASSIC` is not a record type"),
            ("a 1 IN IN TXT x", "`IN` is not a record type"),
            ("a 1 IN", "`a.corp.internal.` is followed by nothing where a record type must stand"),
            ("a", "`a.corp.internal.` is followed by nothing where a record type must stand"),
            ("a 1 BOGUS x", "`BOGUS` is not a record type"),
            ("a 1 A 10.0.0", "`10.0.0` is not an IPv4 address of A"),
            ("a 1 ANY x", "type ANY only asks, it has no data"),
            ("a 1 TXT \"x", "a quoted string is not closed on its line"),
            ("a 1 TXT ( x", "a parenthesis is not closed"),
            ("a 1 TXT x )", "a parenthesis is closed that was not opened"),
            (
                "$GENERATE 9-1 a$ A 10.0.0.$",
                "`9-1` is not a range of `$GENERATE`: start-stop or start-stop/step, of numbers from 0 to 2147483647",
            ),
            (
                "$GENERATE 1-9 a${0,1,q} 1 A 10.0.0.$",
                "`a${0,1,q}` has a modifier that is none: ${offset,width,base} with a base of d, o, x, X, n or N and a \
                 width of at most 255",
            ),
            (
                "$GENERATE 0-2147483647 a$ 1 A 10.0.0.$",
                "`$GENERATE` makes more than 1000000 records, or more than 268435456 bytes of them, in this zone",
            ),
            ("$GENERATE 1-9 a$ 1 A", "`$GENERATE` is followed by nothing where record data must stand"),
            ("$GENERATE 254-256 a$ 1 A 10.0.0.$", "`10.0.0.256` is not an IPv4 address of A"),
            ("$GENERATE 1-2 a$.net. 1 A 10.0.0.$", "`a1.net.` lies outside the zone `corp.internal.`"),
            ("@ 1 SOA a b 1h 2 3 4 5", "`1h` is not a number of 32 bits of SOA"),
            (
                "@ 1 ALIAS b",
                "`ALIAS` is not a record type of the DNS: write CNAME below the apex; at the apex the A and AAAA \
                 records of its target, or for browsers `HTTPS 0 target`",
            ),
            ("$BOGUS x", "`$BOGUS` is not a directive: $ORIGIN, $TTL, $INCLUDE and $GENERATE are"),
            ("$ORIGIN", "`$ORIGIN` is followed by nothing where a name must stand"),
            ("$TTL 1 2", "`2` stands behind the end of `$TTL`"),
            (
                "$TTL soon",
                "`soon` is not a TTL: a number of seconds up to 2147483647, or units as in `1h30m`",
            ),
            ("$INCLUDE a b. c", "`c` stands behind the end of `$INCLUDE`"),
            ("$INCLUDE a", "`$INCLUDE` needs a file: this text stands alone"),
        ] {
            let line = 1 + text.matches('\n').count() + 2;
            assert_eq!(error(&format!("; first\n\n{text}\n")), format!("corp.zone:{line}: {fault}"));
        }
    }

    /// A folder of files, of which `zone` is read.
    fn read_folder(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Result<MasterFile, MasterFileErrors>) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let read = MasterFile::read(&folder.path().join("zone"), &apex(), folder.path());
        (folder, read)
    }

    fn folder_error(files: &[(&str, &[u8])]) -> String {
        let (folder, read) = read_folder(files);
        read.unwrap_err().to_string().replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn an_included_file_inherits_origin_and_owner_and_gives_neither_back() {
        let (folder, read) = read_folder(&[
            ("zone", b"$TTL 1\na A 10.0.0.1\n$INCLUDE parts/one sub\n A 10.0.0.2\n$INCLUDE \"parts/two\"\nb A 10.0.0.5"),
            ("parts/one", b" TXT same\nx A 10.0.0.3\n$ORIGIN deep\n$INCLUDE two\n$TTL 2\n"),
            ("parts/two", b"y A 10.0.0.4\n"),
        ]);
        let files: Vec<_> = read.as_ref().unwrap().files.iter().map(|file| file.to_path_buf()).collect();
        assert_eq!(
            files,
            ["zone", "parts/one", "parts/two", "parts/two"].map(|file| folder.path().join(file))
        );
        assert_eq!(read.as_ref().unwrap().entries[2].file, read.as_ref().unwrap().files[1]);
        assert_eq!(
            lines(read),
            [
                "2 a.corp.internal. 1 A 10.0.0.1",
                "1 a.corp.internal. 1 TXT \"same\"",
                "2 x.sub.corp.internal. 1 A 10.0.0.3",
                "1 y.deep.sub.corp.internal. 1 A 10.0.0.4",
                "4 a.corp.internal. 2 A 10.0.0.2",
                "1 y.corp.internal. 2 A 10.0.0.4",
                "6 b.corp.internal. 2 A 10.0.0.5",
            ]
        );
    }

    #[test]
    fn included_files_stay_within_the_folder() {
        let outside = tempfile::tempdir().unwrap();
        let secret = outside.path().join("secret");
        fs::write(&secret, "x 1 A 10.0.0.1").unwrap();
        let (folder, _) = read_folder(&[("zone", b"$INCLUDE link\n"), ("sub/zone", b"$INCLUDE ../../x\n")]);
        std::os::unix::fs::symlink(&secret, folder.path().join("link")).unwrap();
        let read = |file: &str| MasterFile::read(&folder.path().join(file), &apex(), folder.path());
        let fault = |file| read(file).unwrap_err().errors.remove(0).fault;
        assert!(matches!(fault("zone"), Fault::OutsideFolder(..)));
        fs::write(folder.path().join("zone"), format!("$INCLUDE {}", secret.display())).unwrap();
        assert!(matches!(fault("zone"), Fault::OutsideFolder(..)));
        let name = outside.path().file_name().unwrap().to_str().unwrap();
        fs::write(folder.path().join("zone"), format!("$INCLUDE ../{name}/secret")).unwrap();
        assert!(matches!(fault("zone"), Fault::OutsideFolder(..)));
        // An absolute path, a link and `..` are fine as long as they end within.
        fs::write(folder.path().join("inner"), "x 1 A 10.0.0.1").unwrap();
        fs::write(folder.path().join("sub/zone"), "$INCLUDE ../inner").unwrap();
        assert_eq!(read("sub/zone").unwrap().entries.len(), 1);
    }

    #[test]
    fn included_files_end() {
        assert_eq!(
            folder_error(&[("zone", b"\n$INCLUDE b"), ("b", b"$INCLUDE zone")]),
            "b:1: `zone` includes itself"
        );
        let mut files: Vec<(String, Vec<u8>)> = vec![("zone".to_owned(), b"$INCLUDE 1".to_vec())];
        files.extend((1..=8).map(|n| (n.to_string(), format!("$INCLUDE {}", n + 1).into_bytes())));
        files.push(("9".to_owned(), Vec::new()));
        let with = |files: &[(String, Vec<u8>)]| {
            folder_error(&files.iter().map(|(path, text)| (path.as_str(), &text[..])).collect::<Vec<_>>())
        };
        assert_eq!(with(&files), "8:1: `9` is included more than 8 files deep");
        files[8].1.clear();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), &text[..])).collect();
        assert!(read_folder(&files).1.is_ok());
    }

    #[test]
    fn files_that_include_each_other_many_times_are_refused() {
        let many = "$INCLUDE b\n".repeat(150).into_bytes();
        let more = "$INCLUDE c\n".repeat(150).into_bytes();
        let errors = folder_error(&[("zone", &many), ("b", &more), ("c", b"")]);
        let mut lines = errors.lines();
        let first = "b:34: `c` makes more than 10000 files, those that are included again counted again";
        assert_eq!((lines.next(), lines.last()), (Some(first), Some("reading stopped at 100 errors")));
    }

    #[test]
    fn faults_of_included_files_are_theirs() {
        assert_eq!(
            folder_error(&[("zone", b"$INCLUDE b"), ("b", b"\nx 1 A y")]),
            "b:2: `y` is not an IPv4 address of A"
        );
        assert_eq!(
            folder_error(&[("zone", b"\n$INCLUDE sub"), ("sub/b", b"")]),
            "zone:2: `sub` is not a file"
        );
        let missing = folder_error(&[("zone", b"\n$INCLUDE missing")]);
        assert!(missing.starts_with("zone:2: cannot read `missing`: No such file"), "{missing}");
        let missing = folder_error(&[]);
        assert!(missing.starts_with("zone: cannot read `zone`: No such file"), "{missing}");
    }

    #[test]
    fn files_are_bounded_together() {
        let (folder, _) = read_folder(&[("zone", b"$INCLUDE big"), ("big", b"")]);
        let big = fs::File::create(folder.path().join("big")).unwrap();
        // Sparse: it is refused for its size, before a byte is read.
        big.set_len(folder::TEXT_BYTES_MAX).unwrap();
        let read = MasterFile::read(&folder.path().join("zone"), &apex(), folder.path());
        assert!(matches!(&read.unwrap_err().errors[0].fault, Fault::TooLarge(path) if path.ends_with("big")));
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_named_with_their_line() {
        assert_eq!(
            folder_error(&[("zone", b"a 1 TXT x\nb 1 TXT caf\xe9\n")]),
            "zone:2: the line has bytes that are not UTF-8; write them as \\DDD, names in their xn-- form"
        );
    }

    #[test]
    fn all_errors_of_a_file_are_listed_and_none_twice() {
        let text = "\
a..b 1 A 10.0.0.1
     1 A 10.0.0.2
x A 10.0.0.3
y A 10.0.0.4
$TTL 1
z A 10.0.0
@ SOA a b ( 1h
    2 3 4 5 )
q TXT \"open
  A 10.0.0.400
r MX 10";
        assert_eq!(
            error(text),
            "\
corp.zone:1: `a..b` is not a name: a label is empty
corp.zone:3: the record has no TTL, and neither `$TTL` nor a record above it says one
corp.zone:6: `10.0.0` is not an IPv4 address of A
corp.zone:7: `1h` is not a number of 32 bits of SOA
corp.zone:9: a quoted string is not closed on its line
corp.zone:11: data of MX ends early: a name is missing"
        );
        let many = error(&"a 1 A x\n".repeat(500));
        assert_eq!(many.lines().count(), ERRORS_MAX + 1);
        assert!(many.ends_with("reading stopped at 100 errors"));
    }

    #[test]
    fn generated_records_are_those_of_their_numbers() {
        let text = "\
$TTL 60
$GENERATE 1-3/2 host${0,3} A 10.0.0.$
$GENERATE 0-1 ${0,3,n}.rev 5 IN PTR \\$$$-$.host
$GENERATE 7-7 mx$ IN 9 MX \"10 mail$\"
$GENERATE 7-7 my$ MX 10 mail$
$GENERATE 7-7 t$ TXT \"\\\"a $\\\"\"
";
        assert_eq!(
            lines(parsed(text)),
            [
                "2 host001.corp.internal. 60 A 10.0.0.1",
                "2 host003.corp.internal. 60 A 10.0.0.3",
                "3 0.0.rev.corp.internal. 5 PTR \\$\\$-0.host.corp.internal.",
                "3 1.0.rev.corp.internal. 5 PTR \\$\\$-1.host.corp.internal.",
                "4 mx7.corp.internal. 9 MX 10 mail7.corp.internal.",
                "5 my7.corp.internal. 60 MX 10 mail7.corp.internal.",
                "6 t7.corp.internal. 60 TXT \"a 7\"",
            ]
        );
        // Many lines are bounded as one is, in records and in text.
        let left = |records: u64, text_bytes: usize| {
            let mut reader =
                Reader { records_left: records, text_bytes_left: text_bytes, ..Reader::new(&apex(), None) };
            let text = "$GENERATE 1-2 a$ 1 A 10.0.0.$\n$GENERATE 3-4 a$ 1 A 10.0.0.$\n";
            reader.text(text, &[], &mut Scope::new(apex(), Path::new("corp.zone").into()));
            reader.finish().map(|read| read.entries.len()).map_err(|errors| errors.errors[0].line)
        };
        assert_eq!([left(4, 1000), left(3, 1000), left(4, 30)], [Ok(4), Err(Some(2)), Err(Some(2))]);
    }

    #[test]
    fn a_long_string_is_split_and_a_warning_says_so() {
        // As `az network private-dns zone export` writes it.
        let text = format!("@ 300 IN TXT \"{}\" \"y\"\n", "x;".repeat(200));
        let read = parsed(&text).unwrap();
        assert_eq!(read.warnings.len(), 1);
        assert!(read.warnings[0].to_string().starts_with("corp.zone:1: a string of TXT has 400 bytes"));
        let data = &read.entries[0].data;
        assert_eq!((data[0], data[256], data[402], data.len()), (255, 145, 1, 404));
        assert!(error(&format!("@ 300 HINFO a {}", "x".repeat(256))).contains("at most 255 bytes"));
    }

    #[test]
    fn an_owner_that_stands_on_many_lines_is_kept_once() {
        let read = parsed("a 1 A 10.0.0.1\na 1 A 10.0.0.2\n").unwrap();
        let [one, other] = &read.entries[..] else { panic!("two entries") };
        assert!(std::ptr::eq(one.owner.as_wire(), other.owner.as_wire()));
    }
}
