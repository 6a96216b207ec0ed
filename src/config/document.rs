//! A config file as a tree that knows where each of its values stands.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::error::{ConfigError, ConfigErrors};
use super::said;
use crate::telemetry::{did_you_mean, nearest};

/// Errors told at once; what follows more than these is mostly their consequence.
const ERRORS_MAX: usize = 100;

/// The file's text, read as TOML.
pub(super) struct Document<'t> {
    text: &'t str,
    file: Arc<Path>,
    root: Spanned<DeValue<'t>>,
}

/// What a file says, and what of it does not fit.
pub(super) struct Fitted<T> {
    /// Without what does not fit; none if it is not to be told what that would be.
    pub value: Option<T>,
    pub errors: Vec<ConfigError>,
    /// The keys that do not fit: what is wrong for want of them is their consequence.
    pub left_out: Vec<String>,
}

/// The way from the root to a value.
type Way = Vec<Step>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl<'t> Document<'t> {
    /// Reads TOML; all errors of syntax at once.
    pub(super) fn read(text: &'t str, file: &Path) -> Result<Document<'t>, ConfigErrors> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let span = root.span();
        let root = Spanned::new(span, DeValue::Table(root.into_inner()));
        let document = Document { text, file: file.into(), root };
        if errors.is_empty() {
            return Ok(document);
        }
        let mut found: Vec<ConfigError> = Vec::new();
        for error in errors.iter().take(ERRORS_MAX) {
            let span = error.span().unwrap_or_default();
            let line = document.line_of(span.start);
            let key = text.get(span).filter(|_| error.message() == "duplicate key").map(str::to_owned);
            // What follows the first error of a line is mostly its consequence.
            if found.iter().all(|other| other.line != Some(line)) {
                found.push(document.error(Some(line), key, error.message().to_owned()));
            }
        }
        Err(ConfigErrors::new(found))
    }

    /// The file's text.
    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    /// The values in the form of `T`, and all that do not fit.
    pub(super) fn to<T: DeserializeOwned>(&self) -> Fitted<T> {
        let mut root = self.root.clone();
        let (mut errors, mut removed) = (Vec::new(), Vec::new());
        let fitted = |value, errors, removed: Vec<Way>| Fitted {
            // Where an entry of a list is left out, those behind it have other places.
            value: removed
                .iter()
                .all(|way| matches!(way.last(), Some(Step::Key(_))))
                .then_some(value)
                .flatten(),
            errors,
            left_out: removed.iter().map(text_of).collect(),
        };
        loop {
            let DeValue::Table(table) = root.get_ref().clone() else { unreachable!("the root is a table") };
            let error = match T::deserialize(Deserializer::from(Spanned::new(root.span(), table))) {
                Ok(value) => return fitted(Some(value), errors, removed),
                Err(error) => error,
            };
            let span = error.span().unwrap_or_default();
            let way = way_to(&root, &span);
            let place = way_to(&self.root, &span);
            let is_consequence = missing_key(error.message()).is_some_and(|key| {
                let missing = [place.as_slice(), &[Step::Key(key.to_owned())]].concat();
                removed.contains(&missing)
            });
            if !is_consequence {
                let line = self.line_of(span.start);
                let key = (!place.is_empty()).then(|| text_of(&place));
                errors.push(self.error(Some(line), key, plain_words(error.message())));
            }
            // Without the value at fault, the next one shows.
            if way.is_empty() || errors.len() == ERRORS_MAX {
                return fitted(None, errors, removed);
            }
            remove(&mut root, &way);
            removed.push(place);
        }
    }

    /// Whether something stands at a key, of no list.
    pub(super) fn says(&self, key: &str) -> bool {
        let mut value = Some(&self.root);
        for part in key.split('.') {
            value = value.and_then(|value| value.get_ref().as_table()?.get(part));
        }
        value.is_some()
    }

    /// An error about the value at `key`, or about the table that lacks it.
    pub(super) fn error_at(&self, key: &str, message: String) -> ConfigError {
        let line = self.line_of(self.start_of(key));
        self.error(Some(line), Some(key.to_owned()), message)
    }

    fn error(&self, line: Option<usize>, key: Option<String>, message: String) -> ConfigError {
        ConfigError { file: self.file.clone(), line, key, message }
    }

    /// Where the value at a key begins; that of the nearest table around it where it is left out.
    fn start_of(&self, key: &str) -> usize {
        let (mut value, mut start) = (&self.root, 0);
        for step in steps_of(key) {
            let next = match (value.get_ref(), &step) {
                (DeValue::Table(table), Step::Key(key)) => table.get(key.as_str()),
                (DeValue::Array(array), Step::Index(index)) => array.get(*index),
                _ => None,
            };
            let Some(next) = next else { break };
            (value, start) = (next, next.span().start);
        }
        start
    }

    fn line_of(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }
}

/// The way to the innermost value that a place lies in, or whose key it is.
fn way_to(root: &Spanned<DeValue<'_>>, place: &Range<usize>) -> Way {
    let covers = |span: Range<usize>| span.start <= place.start && place.end <= span.end && !span.is_empty();
    let mut best: (usize, Way) = (usize::MAX, Way::new());
    let mut consider = |span: Range<usize>, way: &Way| {
        let length = span.len();
        if covers(span) && length <= best.0 {
            best = (length, way.clone());
        }
    };
    let mut open: Vec<(&Spanned<DeValue<'_>>, Way)> = vec![(root, Way::new())];
    while let Some((value, way)) = open.pop() {
        let below = |step| [way.as_slice(), &[step]].concat();
        match value.get_ref() {
            DeValue::Table(table) => {
                for (key, value) in table.iter() {
                    let way = below(Step::Key(key.get_ref().to_string()));
                    consider(key.span(), &way);
                    consider(value.span(), &way);
                    open.push((value, way));
                }
            }
            DeValue::Array(array) => {
                for (index, value) in array.iter().enumerate() {
                    let way = below(Step::Index(index));
                    consider(value.span(), &way);
                    open.push((value, way));
                }
            }
            _ => {}
        }
    }
    best.1
}

fn remove(value: &mut Spanned<DeValue<'_>>, way: &[Step]) {
    let Some((step, rest)) = way.split_first() else { return };
    match (value.get_mut(), step) {
        (DeValue::Table(table), Step::Key(key)) if rest.is_empty() => {
            table.remove(key.as_str());
        }
        (DeValue::Table(table), Step::Key(key)) => {
            if let Some(value) = table.get_mut(key.as_str()) {
                remove(value, rest);
            }
        }
        (DeValue::Array(array), Step::Index(index)) if rest.is_empty() => {
            let mut kept = DeArray::new();
            let others = array.iter().enumerate().filter(|(at, _)| at != index);
            others.for_each(|(_, value)| kept.push(value.clone()));
            *array = kept;
        }
        (DeValue::Array(array), Step::Index(index)) => {
            if let Some(value) = array.get_mut(*index) {
                remove(value, rest);
            }
        }
        _ => {}
    }
}

fn text_of(way: &Way) -> String {
    let mut text = String::new();
    for step in way {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text = text + "." + key,
            Step::Index(index) => text += &format!("[{index}]"),
        }
    }
    text
}

fn steps_of(key: &str) -> Way {
    let mut way = Way::new();
    for part in key.split('.') {
        let (key, indices) = part.split_once('[').unwrap_or((part, ""));
        way.push(Step::Key(key.to_owned()));
        let indices = indices.split('[').filter_map(|index| index.trim_end_matches(']').parse().ok());
        way.extend(indices.map(Step::Index));
    }
    way
}

/// The key that an error of serde misses.
fn missing_key(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// Serde's words in those of a config file, with the known word that was meant.
fn plain_words(message: &str) -> String {
    let words = [
        ("unknown field", "unknown key"),
        ("missing field", "missing key"),
        ("unknown variant", "unknown word"),
        ("invalid type:", "wrong type:"),
        ("a sequence", "an array"),
        ("sequence, expected", "array, expected"),
        ("map, expected", "table, expected"),
        ("invalid value: integer", "wrong number:"),
        ("expected usize", "expected a whole number from 0"),
        ("expected u64", "expected a whole number from 0"),
        ("expected u32", "expected a whole number from 0 to 4294967295"),
    ];
    let plain = words.iter().fold(message.to_owned(), |message, (from, to)| message.replace(from, to));
    let Some((unknown, rest)) = plain.split_once("`, expected ") else { return plain };
    let Some((kind, word)) = unknown.split_once(" `").filter(|(kind, _)| kind.starts_with("unknown ")) else {
        return plain;
    };
    let known = rest.split('`').skip(1).step_by(2);
    if let Some(nearest) = nearest(word, known) {
        return format!("{kind} `{word}`{}", did_you_mean(Some(&nearest)));
    }
    match said::table_of(word).filter(|_| kind == "unknown key") {
        Some(table) => format!("{kind} `{word}`; it belongs to [{table}]"),
        None => plain,
    }
}
