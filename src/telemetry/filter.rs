//! Which events are logged: a level, and levels of parts.

use std::fmt;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

use super::nearest::{did_you_mean, nearest};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What other programs call levels, and what they are here.
const OTHER_WORDS: [(&str, &str); 9] = [
    ("all", "trace"),
    ("critical", "error"),
    ("fatal", "error"),
    ("information", "info"),
    ("none", "off"),
    ("notice", "info"),
    ("quiet", "error"),
    ("verbose", "debug"),
    ("warning", "warn"),
];

const OWN: &str = "privatelink_dns";

/// The rooms of this server, whose events are told apart.
const ROOMS: [&str; 21] = [
    "admin",
    "answer",
    "cache",
    "commands",
    "config",
    "daemon",
    "dns",
    "forward",
    "ledger",
    "listen",
    "machine",
    "net",
    "observe",
    "persist",
    "privatelink",
    "respond",
    "sources",
    "sync",
    "telemetry",
    "tls",
    "zone",
];

/// The crates in this server that log.
const CRATES: [&str; 16] = [
    "h2",
    "hickory_net",
    "hickory_proto",
    "hickory_resolver",
    "hyper_util",
    "mio",
    "notify",
    "quinn",
    "quinn_proto",
    "quinn_udp",
    "reqwest",
    "rustls_platform_verifier",
    "sqlx",
    "sqlx_core",
    "sqlx_postgres",
    "sqlx_sqlite",
];

/// A level (`info`), or levels of parts (`info,privatelink_dns::sync=debug`). Each word of it is known.
// What a filter does not know it takes for a part that never logs: a slip would silence the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(String);

/// What is wrong with a word of a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("is empty: `off` logs nothing")]
    Empty,
    #[error(
        "`{word}` is no log level: off, error, warn, info, debug or trace, and for a part privatelink_dns::sync=debug{}",
        did_you_mean(nearest.as_deref())
    )]
    Level { word: String, nearest: Option<String> },
    #[error(
        "`{part}` is no part that logs, such as privatelink_dns, privatelink_dns::sync or sqlx{}",
        did_you_mean(nearest.as_deref())
    )]
    Part { part: String, nearest: Option<String> },
}

impl Filter {
    /// What is wrong with a text, word by word; nothing if it is a filter.
    pub fn errors(text: &str) -> Vec<FilterError> {
        if words(text).next().is_none() {
            return vec![FilterError::Empty];
        }
        words(text).filter_map(error_of).collect()
    }

    /// That of the environment, where programs that share it may name parts of their own. `None` if it is empty.
    pub(super) fn of_variable(text: &str) -> Option<Result<EnvFilter, FilterError>> {
        if text.trim().is_empty() {
            return None;
        }
        let is_wrong = |error: &FilterError| matches!(error, FilterError::Level { .. });
        let wrong = (!text.contains('[')).then(|| Filter::errors(text).into_iter().find(is_wrong)).flatten();
        let unread = || FilterError::Level { word: text.to_owned(), nearest: None };
        Some(wrong.map_or_else(|| EnvFilter::builder().parse(text).map_err(|_| unread()), Err))
    }

    pub(super) fn to_env(&self) -> EnvFilter {
        EnvFilter::builder().parse(&self.0).expect("each word was known when it was read")
    }
}

impl Default for Filter {
    fn default() -> Filter {
        Filter("info".to_owned())
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    /// The first of [`Filter::errors`], if there are any.
    fn from_str(text: &str) -> Result<Filter, FilterError> {
        match Filter::errors(text).into_iter().next() {
            Some(error) => Err(error),
            None => Ok(Filter(words(text).collect::<Vec<_>>().join(","))),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn error_of(word: &str) -> Option<FilterError> {
    let Some((part, level)) = word.split_once('=') else {
        return match (is_level(word), error_of_part(word)) {
            (true, _) => None,
            (false, None) => Some(no_level(word, Some(format!("{word}=trace")))),
            (false, Some(_)) => Some(no_level(word, nearest_level(word))),
        };
    };
    match is_level(level) {
        true => error_of_part(part),
        false => Some(no_level(level, nearest_level(level))),
    }
}

fn no_level(word: &str, nearest: Option<String>) -> FilterError {
    FilterError::Level { word: word.to_owned(), nearest }
}

fn is_level(word: &str) -> bool {
    LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word))
}

fn nearest_level(word: &str) -> Option<String> {
    let other = OTHER_WORDS.iter().find(|(other, _)| other.eq_ignore_ascii_case(word));
    other.map(|(_, level)| (*level).to_owned()).or_else(|| nearest(word, LEVELS))
}

fn error_of_part(part: &str) -> Option<FilterError> {
    let mut steps = part.split("::");
    let (first, room) = (steps.next().unwrap_or_default(), steps.next());
    let is_path = steps.all(|step| !step.is_empty() && step.bytes().all(is_of_word));
    let is_known = match room {
        _ if !is_path => false,
        Some(room) if first == OWN => ROOMS.contains(&room),
        Some(_) | None => first == OWN || CRATES.contains(&first),
    };
    let own = |room: &str| format!("{OWN}::{room}");
    let near = || {
        let rooms: Vec<String> = ROOMS.iter().map(|room| own(room)).collect();
        let others = CRATES.into_iter().chain([OWN]);
        let whole = nearest(part, rooms.iter().map(String::as_str).chain(others));
        whole.or_else(|| nearest(part, ROOMS).map(|room| own(&room)))
    };
    (!is_known).then(|| FilterError::Part { part: part.to_owned(), nearest: near() })
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn said(text: &str) -> Vec<String> {
        Filter::errors(text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn levels_and_levels_of_known_parts_are_filters() {
        for text in [
            "info",
            "WARN",
            "off",
            "info,privatelink_dns::sync=debug",
            "info, sqlx=warn ,privatelink_dns=trace,",
            "privatelink_dns::sync::azure=trace,h2::proto=debug",
        ] {
            assert_eq!(said(text), [""; 0], "{text}");
            text.parse::<Filter>().unwrap().to_env();
        }
    }

    #[test]
    fn each_unknown_word_is_told_with_the_one_that_was_meant() {
        let no_level = "is no log level: off, error, warn, info, debug or trace, and for a part privatelink_dns::sync=debug";
        let no_part = "is no part that logs, such as privatelink_dns, privatelink_dns::sync or sqlx";
        assert_eq!(said("verbose"), [format!("`verbose` {no_level}; did you mean `debug`?")]);
        assert_eq!(said("dbeug"), [format!("`dbeug` {no_level}; did you mean `debug`?")]);
        assert_eq!(said("loud"), [format!("`loud` {no_level}")]);
        assert_eq!(said("sqlx"), [format!("`sqlx` {no_level}; did you mean `sqlx=trace`?")]);
        assert_eq!(
            said("info,sync=debug,privatelink_dns::snyc=warning,privatelink-dns=debug,zzzz=info"),
            [
                format!("`sync` {no_part}; did you mean `privatelink_dns::sync`?"),
                format!("`warning` {no_level}; did you mean `warn`?"),
                format!("`privatelink-dns` {no_part}; did you mean `privatelink_dns`?"),
                format!("`zzzz` {no_part}"),
            ]
        );
        assert_eq!(
            said("privatelink_dns::snyc=info"),
            [format!("`privatelink_dns::snyc` {no_part}; did you mean `privatelink_dns::sync`?")]
        );
        assert_eq!(said(" , "), ["is empty: `off` logs nothing"]);
        assert_eq!(said("privatelink_dns::=info").len(), 1);
    }

    #[test]
    fn the_variable_may_name_parts_of_other_programs_and_knows_the_same_levels() {
        assert!(Filter::of_variable(" ").is_none());
        for text in ["info,other_program=debug", "[span]=debug", "debug"] {
            assert!(Filter::of_variable(text).unwrap().is_ok(), "{text}");
        }
        assert!(Filter::of_variable("verbose").unwrap().unwrap_err().to_string().contains("`debug`?"));
        assert!(Filter::of_variable("a=[").unwrap().is_err());
    }

    #[test]
    fn the_rooms_are_those_of_the_house() {
        let drawn = include_str!("../lib.rs").lines().filter_map(|line| line.strip_prefix("pub mod "));
        let drawn: BTreeSet<&str> = drawn.map(|room| room.trim_end_matches(';')).collect();
        assert_eq!(BTreeSet::from(ROOMS), drawn);
    }

    #[test]
    fn the_crates_are_those_of_the_lock_file_that_log() {
        // What carries the log logs nothing, nor does what is built for other systems.
        const OTHERS: [&str; 5] = ["jni", "privatelink_dns", "tracing", "tracing_log", "tracing_subscriber"];
        let packages = include_str!("../../Cargo.lock").split("[[package]]").skip(1);
        let logging = packages.filter(|package| {
            let mut lines = package.lines().map(|line| line.trim().trim_end_matches(','));
            lines.any(|line| ["\"log\"", "\"tracing\""].contains(&line))
        });
        let name = |package: &str| package.split('"').nth(1).unwrap().replace('-', "_");
        let mut named: BTreeSet<String> = logging.map(name).collect();
        named.retain(|name| !OTHERS.contains(&name.as_str()));
        // The door of its three crates logs queries in its own name.
        named.insert("sqlx".to_owned());
        assert_eq!(BTreeSet::from(CRATES.map(str::to_owned)), named);
    }
}
