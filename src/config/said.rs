//! What a config file says, key by key, and how two of them differ.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use toml::{Table, Value};

use crate::persist;
use crate::telemetry::Quoted;

/// Says what holds where a file is silent; a test holds it against the code.
const EXAMPLE: &str = include_str!("../../config/example.toml");

static DEFAULTS: LazyLock<Said> = LazyLock::new(|| Said::of(EXAMPLE));

/// Keys whose values are taken at the start and stay; a dot at the end stands for all keys of a table. All others change with a
/// reload; `docs/config.md` tells so of each.
pub const AT_THE_START: [&str; 5] = ["admin.listen", "state_dir", "store.", "telemetry.listen", "user"];

/// What tells one `[[…]]` from others of its kind, the first of these that it has.
const NAMES: [&str; 7] = ["name", "domain", "subject", "service", "public", "certificate", "kind"];

/// Characters of a value that a message shows.
const VALUE_CHARS_MAX: usize = 80;

/// The values of a file by their keys, such as `cache.size_bytes` and `forward.rule[corp.example].upstreams`; no secrets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said(BTreeMap<String, Option<Value>>);

impl Said {
    /// Of a file that is known to be one.
    pub(super) fn of(text: &str) -> Said {
        let mut said = Said::default();
        said.take("", Value::Table(text.parse::<Table>().unwrap_or_default()));
        if let Some(Some(Value::String(url))) = said.0.get_mut("store.url") {
            *url = persist::Settings { url: url.clone(), ..persist::Settings::default() }.shown();
        }
        said
    }

    /// What `new` says that this does not, and what it leaves out: `cache.size_bytes 268435456 → 1048576`.
    pub fn changes_to(&self, new: &Said) -> Vec<String> {
        let keys: BTreeSet<&String> = self.0.keys().chain(new.0.keys()).collect();
        let mut changes = Vec::new();
        // An entry that comes or goes does so with all that it says.
        let mut whole: Option<String> = None;
        for key in keys {
            if whole.as_ref().is_some_and(|entry| key.starts_with(entry)) {
                continue;
            }
            let change = match (self.value(key), new.value(key)) {
                (before, now) if before == now => continue,
                (Some(None), _) => {
                    whole = Some(format!("{key}."));
                    format!("{key} is gone")
                }
                (_, Some(None)) => {
                    whole = Some(format!("{key}."));
                    format!("{key} is new")
                }
                (before, now) => format!("{key} {}", difference(before.flatten(), now.flatten())),
            };
            let note = if needs_restart(key) { " (with a restart)" } else { "" };
            changes.push(format!("{}{note}", Quoted(&change)));
        }
        changes
    }

    /// What holds of a key: `Some(None)` for an entry of a list.
    fn value(&self, key: &str) -> Option<Option<&Value>> {
        self.0.get(key).or_else(|| DEFAULTS.0.get(key)).map(Option::as_ref)
    }

    fn take(&mut self, key: &str, value: Value) {
        match value {
            Value::Table(table) => {
                let dot = if key.is_empty() { "" } else { "." };
                table.into_iter().for_each(|(name, value)| self.take(&format!("{key}{dot}{name}"), value));
            }
            Value::Array(entries) if entries.iter().any(Value::is_table) => {
                for (at, entry) in entries.into_iter().enumerate() {
                    let name = NAMES.iter().find_map(|name| entry.get(name)?.as_str().map(str::to_owned));
                    let mut own = format!("{key}[{}]", name.unwrap_or_else(|| at.to_string()));
                    if self.0.contains_key(&own) {
                        own = format!("{key}[{at}]");
                    }
                    self.0.insert(own.clone(), None);
                    self.take(&own, entry);
                }
            }
            value => {
                self.0.insert(key.to_owned(), Some(value));
            }
        }
    }
}

/// The only table whose key is called so.
pub(super) fn table_of(key: &str) -> Option<&'static str> {
    let own = DEFAULTS.0.keys().filter_map(|known| known.rsplit_once('.').filter(|(_, name)| *name == key));
    let mut tables = own.map(|(table, _)| table);
    let table = tables.next();
    if tables.next().is_none() { table } else { None }
}

/// Whether another value of a key holds from the next start on only.
pub fn needs_restart(key: &str) -> bool {
    AT_THE_START.iter().any(|fixed| match fixed.ends_with('.') {
        true => key.starts_with(fixed),
        false => key == *fixed,
    })
}

fn difference(before: Option<&Value>, now: Option<&Value>) -> String {
    if let (Some(Value::Array(before)), Some(Value::Array(now))) = (before, now)
        && !before.is_empty()
        && !now.is_empty()
    {
        let without = |some: &[Value], others: &[Value]| {
            some.iter().filter(|value| !others.contains(value)).cloned().collect::<Vec<_>>()
        };
        let (gone, come) = (without(before, now), without(now, before));
        let parts = [("without", gone), ("with", come)];
        let parts = parts.into_iter().filter(|(_, values)| !values.is_empty());
        let parts: Vec<String> =
            parts.map(|(word, values)| format!("{word} {}", shown(&Value::Array(values)))).collect();
        return if parts.is_empty() { "in another order".to_owned() } else { parts.join(", ") };
    }
    let shown = |value: Option<&Value>| value.map_or_else(|| "none".to_owned(), shown);
    format!("{} → {}", shown(before), shown(now))
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(before: &str, now: &str) -> Vec<String> {
        Said::of(before).changes_to(&Said::of(now))
    }

    #[test]
    fn keys_are_told_with_their_old_and_new_values() {
        assert_eq!(
            changes(
                "[cache]\nsize_bytes = 1\n[telemetry]\nlog_level = 'warn'\n[listen]\ndns = ['127.0.0.1:53', '[::1]:53']",
                "user = 'dns'\n[cache]\nserve_stale_secs = 0\n[listen]\ndns = ['[::1]:53', '10.0.0.1:53']",
            ),
            [
                "cache.serve_stale_secs 86400 → 0",
                "cache.size_bytes 1 → 268435456",
                "listen.dns without [\"127.0.0.1:53\"], with [\"10.0.0.1:53\"]",
                "telemetry.log_level \"warn\" → \"info\"",
                "user none → \"dns\" (with a restart)",
            ]
        );
        assert_eq!(changes("[access]\ndeny = []", "# silent"), [""; 0]);
    }

    #[test]
    fn entries_of_lists_are_known_by_their_names_wherever_they_stand() {
        let rule = |domain: &str, upstream: &str| {
            format!("[[forward.rule]]\ndomain = '{domain}'\nupstreams = ['{upstream}']\n")
        };
        let before = rule("a.example", "10.0.0.1") + &rule("b.example", "10.0.0.2");
        let now = rule("c.example", "10.0.0.3") + &rule("b.example", "10.0.0.4");
        assert_eq!(
            changes(&before, &now),
            [
                "forward.rule[a.example] is gone",
                "forward.rule[b.example].upstreams without [\"10.0.0.2\"], with [\"10.0.0.4\"]",
                "forward.rule[c.example] is new",
            ]
        );
    }

    #[test]
    fn neither_passwords_nor_control_characters_are_told() {
        let [change] = &changes("", "[store]\nurl = 'postgres://dns:secret@db/dns'")[..] else { panic!() };
        assert_eq!(change, "store.url \"sqlite:records.db\" → \"postgres://dns@db/dns\" (with a restart)");
        let [change] = &changes("", &format!("user = \"a\\u001b{}\"", "x".repeat(200)))[..] else { panic!() };
        assert!(change.len() < 150 && !change.contains('\x1b'), "{change}");
    }
}
