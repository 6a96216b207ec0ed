//! Holds `config/example.toml`, `config/quickstart.toml`, `docs/config.md` and the README against the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::document::{Document, Fitted};
use super::file::File;
use super::said::needs_restart;

const EXAMPLE: &str = include_str!("../../config/example.toml");
/// Keys outside of all tables.
const AT_THE_TOP: [&str; 3] = ["state_dir", "user", "lame_duck_secs"];

const README: &str = include_str!("../../README.md");
/// Lists every key; the README lists those that most people need.
const KEYS: &str = include_str!("../../docs/config.md");

/// The example with the lines that show what has no default.
fn whole_example() -> String {
    let is_shown =
        |line: &&str| line.strip_prefix('#').is_some_and(|line| !line.is_empty() && !line.starts_with(' '));
    EXAMPLE.lines().map(|line| if is_shown(&line) { &line[1..] } else { line }.to_owned() + "\n").collect()
}

fn file(text: &str) -> File {
    let fitted: Fitted<File> = Document::read(text, Path::new("example.toml")).unwrap().to();
    assert_eq!(fitted.errors, [], "{:?}", fitted.left_out);
    fitted.value.unwrap()
}

/// The tables of a file, `[[…]]` with their first index, and the keys in each.
fn tables(text: &str) -> Vec<(String, BTreeSet<String>)> {
    let root = DeTable::parse(text).unwrap();
    let mut tables = Vec::new();
    collect("", root.get_ref(), &mut tables);
    tables
}

fn collect(path: &str, table: &DeTable<'_>, tables: &mut Vec<(String, BTreeSet<String>)>) {
    tables.push((path.to_owned(), table.keys().map(|key| key.get_ref().to_string()).collect()));
    for (key, value) in table.iter() {
        let path = format!("{path}.{}", key.get_ref());
        // Its form is that of the catalogue, which explains it.
        if path == ".private_link.service" {
            continue;
        }
        match value.get_ref() {
            DeValue::Table(table) => collect(&path, table, tables),
            DeValue::Array(array) => {
                let inner = array.iter().filter_map(|value| value.get_ref().as_table());
                inner.for_each(|table| collect(&path, table, tables));
            }
            _ => {}
        }
    }
}

/// The keys that the code knows in a table: its own error to a key that it does not know tells them.
fn known_keys(path: &str) -> BTreeSet<String> {
    let parts: Vec<&str> = path.split('.').filter(|part| !part.is_empty()).collect();
    let is_array =
        |path: &str| EXAMPLE.lines().any(|line| line == format!("#[[{}]]", path.trim_start_matches('.')));
    let header = match parts.as_slice() {
        [] => String::new(),
        parts if is_array(path) => format!("[[{}]]\n", parts.join(".")),
        parts => format!("[{}]\n", parts.join(".")),
    };
    let text = format!("{header}no-such-key = 1\n");
    let document = Document::read(&text, Path::new("probe.toml")).unwrap();
    let errors = document.to::<File>().errors;
    let message = &errors.iter().find(|error| error.message.contains("no-such-key")).unwrap().message;
    let words = message.split('`').skip(1).step_by(2).map(str::to_owned);
    words.filter(|word| word != "no-such-key").collect()
}

#[test]
fn the_example_shows_every_key_and_no_other() {
    let shown = whole_example();
    file(&shown);
    let mut tables = tables(&shown);
    tables.sort();
    let mut merged: Vec<(String, BTreeSet<String>)> = Vec::new();
    for (path, keys) in tables {
        match merged.last_mut() {
            Some((last, all)) if *last == path => all.extend(keys),
            _ => merged.push((path, keys)),
        }
    }
    assert!(merged.len() >= 14, "{merged:?}");
    for (path, keys) in merged {
        assert_eq!(keys, known_keys(&path), "the keys of [{path}]");
    }
}

#[test]
fn the_example_as_it_stands_is_the_default() {
    assert_eq!(file(EXAMPLE), File::default());
}

/// The cells of the rows that begin with a key.
fn rows(text: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    let row = |line| {
        let (key, cells) = str::strip_prefix(line, "| `")?.strip_suffix(" |")?.split_once("` | ")?;
        Some((key, cells.split(" | ").collect()))
    };
    let is_key = |key: &str| {
        key.chars().all(|letter| letter.is_ascii_lowercase() || "._".contains(letter))
            && (key.contains('.') || AT_THE_TOP.contains(&key))
    };
    text.lines().filter_map(row).filter(move |(key, _)| is_key(key))
}

#[test]
fn the_list_of_keys_has_a_row_for_every_key_and_no_other() {
    let listed: BTreeSet<&str> = rows(KEYS).map(|(key, _)| key).collect();
    let is_table = |key: &str| EXAMPLE.contains(&format!("[{key}]"));
    let mut keys = BTreeSet::new();
    for (path, names) in tables(&whole_example()) {
        keys.extend(names.iter().map(|name| format!("{path}.{name}").trim_start_matches('.').to_owned()));
    }
    let keys: BTreeSet<&str> = keys.iter().map(String::as_str).filter(|key| !is_table(key)).collect();
    assert_eq!(listed, keys);
}

#[test]
fn the_list_of_keys_tells_the_defaults_of_the_example() {
    let mut table = "";
    for line in EXAMPLE.lines() {
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_end_matches(']');
        }
        let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else { continue };
        let row = format!("| `{}` | `{value}` | ", format!("{table}.{key}").trim_start_matches('.'));
        assert!(KEYS.contains(&row), "no row {row}");
    }
}

#[test]
fn the_list_of_keys_tells_what_a_reload_changes_and_what_a_restart() {
    for (key, cells) in rows(KEYS) {
        let [_, when, meaning] = cells[..] else { panic!("{key}: {cells:?}") };
        let expected = match (meaning.contains("not in this version"), needs_restart(key)) {
            (true, _) => "–",
            (false, true) => "restart",
            (false, false) => "reload",
        };
        assert_eq!(when, expected, "{key}");
    }
}

#[test]
fn the_list_of_keys_tells_the_ranges_that_errors_tell() {
    let rows: BTreeMap<&str, Vec<&str>> = rows(KEYS).collect();
    let mut table = "";
    let mut wrong = Vec::new();
    for line in EXAMPLE.lines() {
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_end_matches(']');
        }
        let Some((name, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else { continue };
        if value.parse::<u64>().is_err() {
            continue;
        }
        let key = format!("{table}.{name}");
        let key = key.trim_start_matches('.');
        let error = |value: i128| {
            let text = format!("{key} = {value}\nlisten.dns = ['127.0.0.1:0']\n");
            let errors = super::Config::parse(&text, Path::new("c.toml")).err();
            errors.map(|errors| errors.to_string()).filter(|text| text.contains(key))
        };
        let range = match error(i64::MAX.into()) {
            None => String::new(),
            Some(text) => {
                let (_, range) = text.split_once("between ").or(text.split_once("from ")).unwrap();
                range.trim().replace(" and ", " to ")
            }
        };
        let Some((min, max)) = range.split_once(" to ") else { continue };
        let [min, max] = [min, max].map(|bound| bound.parse::<i128>().unwrap());
        for (bound, beyond) in [(min, min - 1), (max, max + 1)] {
            assert_eq!(error(bound), None, "{key}: {range}");
            assert!(error(beyond).is_some(), "{key}: {range}");
        }
        // What no machine has is no bound to think of.
        let shown = match (min, max >= i32::MAX.into()) {
            (0, true) => continue,
            (_, true) => format!("{min} or more"),
            (_, false) => range,
        };
        if !rows[key][2].ends_with(&format!("; {shown}")) {
            wrong.push(format!("{key}; {shown}"));
        }
    }
    assert!(wrong.is_empty(), "docs/config.md does not end these rows so:\n{}", wrong.join("\n"));
}

#[test]
fn the_readme_tells_of_keys_what_their_list_does() {
    let keys: BTreeMap<&str, Vec<&str>> = rows(KEYS).collect();
    assert_eq!(keys.len(), rows(KEYS).count(), "each key has one row");
    let mut shown = 0;
    for (key, cells) in rows(README) {
        assert_eq!(Some(cells[0]), keys.get(key).map(|cells| cells[0]), "the default of {key}");
        shown += 1;
    }
    assert!((10..30).contains(&shown), "{shown} keys in the README");
}

#[test]
fn the_configs_in_the_readme_are_good() {
    let blocks: Vec<&str> =
        README.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 6);
    for block in blocks {
        // Beside the example, where the zone file is that they name.
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/readme.toml");
        super::Config::parse(block, &path).unwrap_or_else(|errors| panic!("{errors}"));
    }
}

#[test]
fn the_quickstart_is_a_good_config() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/quickstart.toml");
    let config = super::Config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
    // It must not ask strangers.
    assert!(config.forward.rules.is_empty());
}
