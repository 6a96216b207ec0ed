//! Holds `config/example.toml`, `config/quickstart.toml` and the README against the code.

use std::collections::BTreeSet;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::document::{Document, Fitted};
use super::file::File;

const EXAMPLE: &str = include_str!("../../config/example.toml");
/// Keys outside of all tables.
const AT_THE_TOP: [&str; 3] = ["state_dir", "user", "lame_duck_secs"];

const README: &str = include_str!("../../README.md");

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

#[test]
fn the_readme_has_a_row_for_every_key_and_no_other() {
    let rows: BTreeSet<&str> = README
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | ").map(|(key, _)| key))
        .filter(|key| key.chars().all(|letter| letter.is_ascii_lowercase() || "._".contains(letter)))
        .filter(|key| key.contains('.') || AT_THE_TOP.contains(key))
        .collect();
    let is_table = |key: &str| EXAMPLE.contains(&format!("[{key}]"));
    let mut keys = BTreeSet::new();
    for (path, names) in tables(&whole_example()) {
        keys.extend(names.iter().map(|name| format!("{path}.{name}").trim_start_matches('.').to_owned()));
    }
    let keys: BTreeSet<&str> = keys.iter().map(String::as_str).filter(|key| !is_table(key)).collect();
    assert_eq!(rows, keys);
}

#[test]
fn the_readme_tells_the_defaults_of_the_example() {
    let mut table = "";
    for line in EXAMPLE.lines() {
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_end_matches(']');
        }
        let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else { continue };
        let row = format!("| `{}` | `{value}` | ", format!("{table}.{key}").trim_start_matches('.'));
        assert!(README.contains(&row), "no row {row}");
    }
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
