//! Master files (RFC 1035 §5): text becomes entries, each with the place it stands at.

mod error;
mod folder;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dns::record::CLASS_IN;
use crate::dns::token::{self, Quoting, Token};
use crate::dns::{Name, NameBuf, RecordType, Ttl, rdata};

pub use error::{Fault, MasterFileError};
use folder::Folder;

/// What a master file and the files it includes say, in order.
#[derive(Debug)]
pub struct MasterFile {
    pub apex: Name,
    pub entries: Vec<Entry>,
    /// The files read, the first one first; a change of any of them is a change of the zone.
    pub files: Vec<Arc<Path>>,
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
    pub fn read(path: &Path, apex: &Name, root: &Path) -> Result<MasterFile, MasterFileError> {
        let whole_file = |fault| MasterFileError { file: path.to_owned(), line: None, fault };
        let mut folder = Folder::new(root).map_err(whole_file)?;
        let opened = folder.open_first(path).map_err(whole_file)?;
        let mut reader = Reader::new(apex, Some(folder));
        reader.file(opened, Scope { origin: apex.clone(), owner: None, file: Arc::from(path) })?;
        Ok(reader.read)
    }

    /// Reads text, which may not include files; `name` stands in errors for the file's.
    pub fn parse(text: &str, name: &Path, apex: &Name) -> Result<MasterFile, MasterFileError> {
        let mut reader = Reader::new(apex, None);
        reader.text(text, &mut Scope { origin: apex.clone(), owner: None, file: Arc::from(name) })?;
        Ok(reader.read)
    }
}

/// What lasts from the first line to the last, whatever file it stands in.
struct Reader {
    read: MasterFile,
    // `None` for text that stands alone.
    folder: Option<Folder>,
    /// Of the last `$TTL`. It outlasts the file it stands in, as in BIND: a file of defaults may be included.
    default_ttl: Option<Ttl>,
    /// Of the last record that states its own.
    stated_ttl: Option<Ttl>,
    soa_minimum: Option<Ttl>,
}

/// What an included file inherits and cannot change for the one that includes it (RFC 1035 §5.1).
struct Scope {
    origin: Name,
    owner: Option<Name>,
    file: Arc<Path>,
}

impl Reader {
    fn new(apex: &Name, folder: Option<Folder>) -> Reader {
        let read = MasterFile { apex: apex.clone(), entries: Vec::new(), files: Vec::new() };
        Reader { read, folder, default_ttl: None, stated_ttl: None, soa_minimum: None }
    }

    fn file(&mut self, bytes: Vec<u8>, mut scope: Scope) -> Result<(), MasterFileError> {
        self.read.files.push(Arc::clone(&scope.file));
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            MasterFileError { file: scope.file.to_path_buf(), line: Some(line), fault: Fault::NotUtf8 }
        })?;
        self.text(&text, &mut scope)
    }

    fn text(&mut self, text: &str, scope: &mut Scope) -> Result<(), MasterFileError> {
        // Editors on Windows begin files with a byte order mark.
        for entry in token::entries(text.strip_prefix('\u{feff}').unwrap_or(text)) {
            let (line, included) = match entry {
                Ok(entry) => (entry.line, self.entry(&entry, scope)),
                Err((line, error)) => (line, Err(Fault::Token(error))),
            };
            let included = included.map_err(|fault| MasterFileError {
                file: scope.file.to_path_buf(),
                line: Some(line),
                fault,
            })?;
            if let Some((bytes, inner)) = included {
                self.file(bytes, inner)?;
                self.folder.iter_mut().for_each(Folder::close);
            }
        }
        Ok(())
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
            return self.directive(&entry.tokens, scope);
        }
        self.record(entry, scope).map(|()| None)
    }

    /// Obeys a directive; answers the file to include.
    fn directive(
        &mut self,
        tokens: &[Token<'_>],
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
                self.default_ttl = Some(ttl(&argument("a TTL")?.text)?);
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
                return Ok(Some((bytes, Scope { origin, owner: scope.owner.clone(), file: path.into() })));
            }
            "$GENERATE" => return Err(Fault::Generate),
            _ => return Err(Fault::Directive(directive.to_string())),
        }
        Ok(None)
    }

    fn record(&mut self, entry: &token::Entry<'_>, scope: &mut Scope) -> Result<(), Fault> {
        let mut tokens = &entry.tokens[..];
        if !entry.indented
            && let Some((word, behind)) = tokens.split_first()
        {
            let owner = name(word, &scope.origin)?;
            if !owner.borrow().is_within(self.read.apex.borrow()) {
                return Err(Fault::OutOfZone(owner.to_name(), self.read.apex.clone()));
            }
            // A name that stands on many lines is kept once.
            if scope.owner.as_ref().is_none_or(|last| last.borrow() != owner.borrow()) {
                scope.owner = Some(owner.to_name());
            }
            tokens = behind;
        }
        let owner = scope.owner.clone().ok_or(Fault::NoOwner)?;
        let mut stated = None;
        let mut class = None;
        // RFC 1035 §5.1: TTL and class are optional and stand in any order.
        let rtype: RecordType = loop {
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
                break word.parse().map_err(Fault::Type)?;
            }
        };
        let data = rdata::from_tokens(rtype, tokens, scope.origin.borrow()).map_err(Fault::Data)?;
        if rtype == RecordType::SOA && self.soa_minimum.is_none() {
            self.soa_minimum = data.last_chunk().and_then(|bytes| Ttl::from_secs(u32::from_be_bytes(*bytes)));
        }
        self.stated_ttl = stated.or(self.stated_ttl);
        // RFC 2308 §4: `$TTL` comes before RFC 1035's last stated one; the SOA's minimum was the default before.
        let ttl = stated.or(self.default_ttl).or(self.stated_ttl).or(self.soa_minimum).ok_or(Fault::NoTtl)?;
        let file = Arc::clone(&scope.file);
        self.read.entries.push(Entry { owner, rtype, ttl, data, line: entry.line, file });
        Ok(())
    }
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

    fn parsed(text: &str) -> Result<MasterFile, MasterFileError> {
        MasterFile::parse(text, Path::new("corp.zone"), &apex())
    }

    /// Each entry as `line owner TTL type data`.
    fn lines(read: Result<MasterFile, MasterFileError>) -> Vec<String> {
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
            ("$GENERATE 1-9 a$ A 10.0.0.$", "`$GENERATE` is not supported: write its records one by one"),
            ("$BOGUS x", "`$BOGUS` is not a directive: $ORIGIN, $TTL and $INCLUDE are"),
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
    fn read_folder(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Result<MasterFile, MasterFileError>) {
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
        let fault = |file| read(file).unwrap_err().fault;
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
        assert_eq!(
            folder_error(&[("zone", &many), ("b", &more), ("c", b"")]),
            "b:34: `c` makes more than 10000 files, those that are included again counted again"
        );
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
        assert!(matches!(read.unwrap_err().fault, Fault::TooLarge(path) if path.ends_with("big")));
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_named_with_their_line() {
        assert_eq!(
            folder_error(&[("zone", b"a 1 TXT x\nb 1 TXT caf\xe9\n")]),
            "zone:2: the line has bytes that are not UTF-8; write them as \\DDD, names in their xn-- form"
        );
    }

    #[test]
    fn an_owner_that_stands_on_many_lines_is_kept_once() {
        let read = parsed("a 1 A 10.0.0.1\na 1 A 10.0.0.2\n").unwrap();
        let [one, other] = &read.entries[..] else { panic!("two entries") };
        assert!(std::ptr::eq(one.owner.as_wire(), other.owner.as_wire()));
    }
}
