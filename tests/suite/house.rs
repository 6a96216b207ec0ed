//! The arrow rule (design §7): a room uses rooms on lower floors only, never above, never beside.

mod circles;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The floors of design §7. `main.rs` stands above all of them.
const FLOORS: &[(u8, &[&str])] = &[
    (1, &["telemetry", "dns", "machine", "net", "tls"]),
    (2, &["zone", "privatelink", "cache", "observe"]),
    (3, &["sync", "persist", "transfer", "answer", "forward"]),
    (4, &["ledger", "sources", "respond"]),
    (5, &["admin", "console", "listen"]),
    (6, &["config"]),
    (7, &["daemon"]),
    (8, &["commands"]),
];

#[test]
fn no_room_uses_a_room_above_or_beside_it() {
    let rooms = rooms();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for file in sources() {
        let path = file.strip_prefix(src()).unwrap();
        let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
        let room = first.strip_suffix(".rs").unwrap_or(first);
        let Some(own) = rooms.get(room) else {
            assert!(matches!(first, "lib.rs" | "main.rs"), "src/{first} stands on no floor of design §7");
            continue;
        };
        let text = std::fs::read_to_string(&file).unwrap();
        checked += 1;
        for (line, used) in uses(&text) {
            let is_below = rooms.get(used.as_str()).is_some_and(|floor| floor < own);
            if !is_below && used != room && rooms.contains_key(used.as_str()) {
                let floor = rooms[used.as_str()];
                wrong.push(format!(
                    "src/{}:{line}: {room} (floor {own}) uses {used} (floor {floor})",
                    path.display()
                ));
            }
        }
    }
    assert!(checked > 20, "only {checked} files were found");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Where failures are made; each of these places demands a reason (systemd-resolved 257 leaves a server for good that says
/// SERVFAIL without an extended error).
const FAILURES: &[(&str, usize)] = &[
    ("answer/chase.rs", 1),
    ("forward/failure.rs", 2),
    ("forward/forwarder.rs", 1),
    ("respond/complete.rs", 2),
    ("respond/responder.rs", 1),
];

#[test]
fn failures_are_made_where_a_reason_is_demanded() {
    let mut made = BTreeMap::new();
    for file in sources() {
        let text = std::fs::read_to_string(&file).unwrap();
        let served = text.split("#[cfg(test)]").next().unwrap_or_default();
        let count = served.matches("Rcode::SERVFAIL").count();
        let path = file.strip_prefix(src()).unwrap().to_str().unwrap().to_owned();
        if count > 0 && !path.ends_with("tests.rs") && !path.ends_with("scripted.rs") {
            made.insert(path, count);
        }
    }
    let listed: BTreeMap<String, usize> =
        FAILURES.iter().map(|(path, count)| ((*path).to_owned(), *count)).collect();
    assert_eq!(made, listed, "a failure is made by what takes its reason: see FAILURES");
}

/// `lib.rs` draws what design §7 says, and leaves no room out.
#[test]
fn lib_rs_draws_the_floors() {
    let text = std::fs::read_to_string(src().join("lib.rs")).unwrap();
    let mut floor = 0;
    let mut drawn = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("// Floor ") {
            floor = rest.split_once(':').expect("`// Floor N: words`").0.parse().unwrap();
        }
        if let Some(room) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) {
            assert_eq!(Some(&floor), rooms().get(room), "lib.rs draws {room} on floor {floor}");
            drawn.insert(room.to_owned(), floor);
        }
    }
    for (room, floor) in rooms() {
        let is_there = src().join(room).is_dir() || src().join(format!("{room}.rs")).is_file();
        let is_drawn = drawn.contains_key(room) || floor == 8;
        assert!(!is_there || is_drawn, "lib.rs does not draw src/{room}");
    }
}

#[test]
fn uses_are_found_in_all_their_forms() {
    let text = "use crate::dns::Name;\n\
        pub use crate::{zone::{Zone, store}, cache::Cache, };\n\
        // use crate::listen::Udp;\n\
        fn a(b: crate::answer::Chase) -> Option<crate::forward::Forwarder> { todo!() }\n\
        use super::super::config::Settings;\n\
        use crate::{\n    respond::Responder,\n    telemetry,\n};\n\
        /// `crate::daemon` is only spoken of.\n\
        const TEXT: &str = \"x\"; pub(in crate::sync) fn c() {}\n";
    let found: Vec<(usize, String)> = uses(text).collect();
    let expected = [
        (1, "dns"),
        (2, "zone"),
        (2, "cache"),
        (4, "answer"),
        (4, "forward"),
        (5, "config"),
        (7, "respond"),
        (8, "telemetry"),
        (11, "sync"),
    ];
    assert_eq!(found, expected.map(|(line, room)| (line, room.to_owned())));
}

fn rooms() -> BTreeMap<&'static str, u8> {
    FLOORS.iter().flat_map(|(floor, rooms)| rooms.iter().map(|room| (*room, *floor))).collect()
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All `.rs` files below `src`, in order.
fn sources() -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![src()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The rooms that a file's paths begin with, each with its line: behind `crate::`, or behind `super::super::`.
fn uses(text: &str) -> impl Iterator<Item = (usize, String)> {
    // Comments may speak of any room; their bytes stay, so that lines still count.
    let code: String = text
        .lines()
        .map(|line| match line.find("//") {
            Some(at) if !line[..at].contains('"') => &line[..at],
            _ => line,
        })
        .fold(String::new(), |code, line| code + line + "\n");
    let mut found = Vec::new();
    for root in ["crate::", "super::super::"] {
        for (at, _) in code.match_indices(root) {
            let is_word = code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
            if is_word || code[..at].ends_with("super::") {
                continue;
            }
            let start = at + root.len() + code[at + root.len()..].len()
                - code[at + root.len()..].trim_start_matches("super::").len();
            found.extend(first_segments(&code, start));
        }
    }
    found.sort();
    found.dedup();
    let lines: Vec<_> =
        found.into_iter().map(|(at, room)| (code[..at].matches('\n').count() + 1, room)).collect();
    lines.into_iter()
}

/// The first segments of the path or of the group of paths at `start`, with their places.
fn first_segments(code: &str, start: usize) -> Vec<(usize, String)> {
    let segment = |at: usize| -> String {
        code[at..].chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect()
    };
    if !code[start..].starts_with('{') {
        return vec![(start, segment(start))];
    }
    let (mut found, mut depth, mut expects) = (Vec::new(), 0, false);
    for (offset, char) in code[start..].char_indices() {
        match char {
            '{' => {
                depth += 1;
                expects = depth == 1;
            }
            '}' => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            ',' if depth == 1 => expects = true,
            _ if expects && depth == 1 && (char.is_alphanumeric() || char == '_') => {
                found.push((start + offset, segment(start + offset)));
                expects = false;
            }
            _ => {}
        }
    }
    found
}
