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
        ("$TTL soon", "`soon` is not a TTL: a number of seconds up to 2147483647, or units as in `1h30m`"),
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
    assert_eq!(files, ["zone", "parts/one", "parts/two", "parts/two"].map(|file| folder.path().join(file)));
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
    assert_eq!(folder_error(&[("zone", b"\n$INCLUDE sub"), ("sub/b", b"")]), "zone:2: `sub` is not a file");
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
    big.set_len(error::TEXT_BYTES_MAX).unwrap();
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
fn targets_in_a_file_of_azures_command_line_are_whole_names() {
    // azure-cli 2.91.0; the names are invented.
    let head = "\n; Exported zone file from Azure DNS\n;      Zone name: corp.internal\n\n$TTL 10\n$ORIGIN corp.internal.\n\n";
    let body = "mail 300 IN MX 10 mail.contoso.com\n_sip._tcp 300 IN SRV 0 5 5060 sip.contoso.com\n\
                4 300 IN PTR host.contoso.com\nwww 300 IN CNAME www.contoso.com.\nb 300 IN MX 10 b.contoso.com.\n\
                c 300 IN MX 10 @\n";
    let read = parsed(&format!("{head}{body}")).unwrap();
    let data = |read: &MasterFile| -> Vec<String> {
        read.entries.iter().map(|entry| rdata::to_text(entry.rtype, &entry.data)).collect()
    };
    assert_eq!(
        data(&read),
        [
            "10 mail.contoso.com.",
            "0 5 5060 sip.contoso.com.",
            "host.contoso.com.",
            "www.contoso.com.",
            "10 b.contoso.com.",
            "10 corp.internal.",
        ]
    );
    let warnings: Vec<String> = read.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 3);
    assert!(
        warnings[0].starts_with("corp.zone:8: the target mail.contoso.com is taken for a whole name"),
        "{warnings:?}"
    );
    // Anybody else's file is RFC 1035's.
    assert_eq!(data(&parsed(body).unwrap())[0], "10 mail.contoso.com.corp.internal.");
}

#[test]
fn an_owner_that_stands_on_many_lines_is_kept_once() {
    let read = parsed("a 1 A 10.0.0.1\na 1 A 10.0.0.2\n").unwrap();
    let [one, other] = &read.entries[..] else { panic!("two entries") };
    assert!(std::ptr::eq(one.owner.as_wire(), other.owner.as_wire()));
}
