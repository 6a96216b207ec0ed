//! The names that a client may change.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::dns::{Name, NameError, NameRef};

/// The most patterns of one scope; more is an organisation that wants several tokens.
const PATTERNS_MAX: usize = 100;

/// Everything, or what one of some patterns covers. As JSON a list, and `["*"]` is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    #[default]
    All,
    Only(Vec<NamePattern>),
}

/// Names: `corp.internal` is that name and all below it, `*.corp.internal` all below it, and
/// `web-*.corp.internal` those whose label is of that form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    text: String,
    /// Labels that hold a `*`, first to last; they stand in front of `suffix`.
    globs: Vec<Vec<u8>>,
    suffix: Name,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("`{text}` is no name: {why}")]
    Name { text: String, why: NameError },
    #[error("`{0}` covers everything; write `*` alone if that is meant")]
    Everything(String),
    #[error("`{0}`: a label with `*` may stand only in front of those without")]
    GlobBehindName(String),
    #[error("a scope has 1 to {PATTERNS_MAX} names or patterns")]
    Count,
}

impl Scope {
    /// Reads a list of patterns; `*` alone is everything.
    pub fn parse<T: AsRef<str>>(patterns: &[T]) -> Result<Scope, PatternError> {
        match patterns {
            [one] if one.as_ref() == "*" => Ok(Scope::All),
            [] => Err(PatternError::Count),
            many if many.len() > PATTERNS_MAX => Err(PatternError::Count),
            many => many.iter().map(|it| it.as_ref().parse()).collect::<Result<_, _>>().map(Scope::Only),
        }
    }

    /// Whether it covers a name of a zone; names outside of the zone are covered by nothing.
    pub fn covers(&self, zone: &Name, name: &Name) -> bool {
        match self {
            Scope::All => true,
            Scope::Only(patterns) => name.is_within(zone) && patterns.iter().any(|it| it.covers(name)),
        }
    }

    /// Whether it covers each name that the zone can have.
    pub fn covers_zone(&self, zone: &Name) -> bool {
        match self {
            Scope::All => true,
            Scope::Only(patterns) => patterns.iter().any(|it| it.covers_all_of(zone)),
        }
    }

    /// Whether it covers some name that the zone can have: what lists show to a client with a scope.
    pub fn touches(&self, zone: &Name) -> bool {
        match self {
            Scope::All => true,
            Scope::Only(patterns) => patterns.iter().any(|it| it.touches(zone)),
        }
    }
}

impl NamePattern {
    /// Whether it covers a name.
    fn covers(&self, name: &Name) -> bool {
        let Some(front) = labels_in_front(name.borrow(), self.suffix.borrow()) else { return false };
        match self.globs.as_slice() {
            [] => true,
            [first, rest @ ..] if first.as_slice() == b"*" => {
                // A leading `*` is one label or more, as in a DNS wildcard.
                front.len() > rest.len()
                    && rest.iter().rev().zip(front.iter().rev()).all(|(glob, label)| is_like(glob, label))
            }
            globs => {
                front.len() == globs.len()
                    && globs.iter().zip(&front).all(|(glob, label)| is_like(glob, label))
            }
        }
    }

    fn covers_all_of(&self, zone: &Name) -> bool {
        match self.globs.as_slice() {
            [] => zone.is_within(&self.suffix),
            // All names of the zone lie below what its apex lies below.
            [first, ..] => first.as_slice() == b"*" && self.covers(zone),
        }
    }

    fn touches(&self, zone: &Name) -> bool {
        self.suffix.is_within(zone) || zone.is_within(&self.suffix)
    }
}

/// The labels of `name` in front of `suffix`, if it ends so.
fn labels_in_front<'n>(name: NameRef<'n>, suffix: NameRef<'_>) -> Option<Vec<&'n [u8]>> {
    let count = name.is_within(suffix).then(|| name.label_count() - suffix.label_count())?;
    Some(name.labels().take(count).collect())
}

/// Whether a label is of a form in which `*` stands for any run of characters.
fn is_like(glob: &[u8], label: &[u8]) -> bool {
    // The last `*` is tried again one character further on: no more than the product of the lengths.
    let (mut at_glob, mut at_label, mut star) = (0, 0, None);
    while at_label < label.len() {
        match (glob.get(at_glob), star) {
            (Some(b'*'), _) => {
                star = Some((at_glob, at_label));
                at_glob += 1;
            }
            (Some(byte), _) if *byte == label[at_label] => {
                at_glob += 1;
                at_label += 1;
            }
            (_, Some((star_glob, star_label))) => {
                star = Some((star_glob, star_label + 1));
                at_glob = star_glob + 1;
                at_label = star_label + 1;
            }
            (_, None) => return false,
        }
    }
    glob[at_glob..].iter().all(|byte| *byte == b'*')
}

impl FromStr for NamePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<NamePattern, PatternError> {
        let name: Name = text.parse().map_err(|why| PatternError::Name { text: text.to_owned(), why })?;
        let labels: Vec<&[u8]> = name.borrow().labels().collect();
        let count = labels.iter().rposition(|label| label.contains(&b'*')).map_or(0, |last| last + 1);
        if labels.iter().take(count).any(|label| !label.contains(&b'*')) {
            return Err(PatternError::GlobBehindName(text.to_owned()));
        }
        let suffix = name.borrow().trim_to(name.borrow().label_count() - count).map(NameRef::to_name);
        let suffix = suffix.filter(|suffix| *suffix != Name::root());
        let suffix = suffix.ok_or_else(|| PatternError::Everything(text.to_owned()))?;
        let globs = labels.iter().take(count).map(|label| label.to_vec()).collect();
        Ok(NamePattern { text: text.to_owned(), globs, suffix })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::All => out.write_str("*"),
            Scope::Only(patterns) => {
                let texts: Vec<&str> = patterns.iter().map(|it| it.text.as_str()).collect();
                out.write_str(&texts.join(", "))
            }
        }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        match self {
            Scope::All => output.collect_seq(["*"]),
            Scope::Only(patterns) => output.collect_seq(patterns.iter().map(|it| &it.text)),
        }
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Scope, D::Error> {
        Scope::parse(&Vec::<String>::deserialize(input)?).map_err(de::Error::custom)
    }
}

impl PartialSchema for Scope {
    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new()
            .description(Some(
                "Names that may be changed: `corp.internal` with all below it, `*.corp.internal` what is below it, \
                 `web-*.corp.internal` labels of that form; `*` alone is everything",
            ))
            .items(ObjectBuilder::new().schema_type(Type::String))
            .min_items(Some(1))
            .max_items(Some(PATTERNS_MAX))
            .examples([serde_json::json!(["privatelink.blob.core.windows.net"])])
            .into()
    }
}

impl ToSchema for Scope {}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn covers(pattern: &str, zone: &str, owner: &str) -> bool {
        Scope::parse(&[pattern]).unwrap().covers(&name(zone), &name(owner))
    }

    #[test]
    fn a_name_covers_itself_and_what_is_below() {
        assert!(covers("corp.internal", "corp.internal", "corp.internal"));
        assert!(covers("Corp.Internal.", "corp.internal", "a.b.corp.internal"));
        assert!(covers("dev.corp.internal", "corp.internal", "x.dev.corp.internal"));
        assert!(!covers("dev.corp.internal", "corp.internal", "corp.internal"));
        assert!(!covers("corp.internal", "internal", "xcorp.internal"));
        assert!(
            !covers("corp.internal", "a.corp.internal", "b.corp.internal"),
            "the name is not of the zone"
        );
    }

    #[test]
    fn stars_stand_for_parts_of_labels_and_a_leading_one_for_labels() {
        assert!(covers("*.corp.internal", "corp.internal", "a.b.corp.internal"));
        assert!(!covers("*.corp.internal", "corp.internal", "corp.internal"));
        assert!(covers("web-*.corp.internal", "corp.internal", "web-1.corp.internal"));
        assert!(covers("*-web-*.corp.internal", "corp.internal", "a-web-web-1.corp.internal"));
        assert!(!covers("web-*.corp.internal", "corp.internal", "a.web-1.corp.internal"));
        assert!(!covers("web-*.corp.internal", "corp.internal", "we-1.corp.internal"));
        assert!(covers("*.web-*.corp.internal", "corp.internal", "b.a.web-1.corp.internal"));
        assert!(!covers("*.web-*.corp.internal", "corp.internal", "web-1.corp.internal"));
        assert!(!covers("web-*.corp.internal", "corp.internal", "*.corp.internal"), "a wildcard is no web-…");
        assert!(covers("*.corp.internal", "corp.internal", "*.corp.internal"));
    }

    #[test]
    fn a_zone_is_covered_as_a_whole_or_touched() {
        let scope = Scope::parse(&["dev.corp.internal", "*.test", "web-*.other"]).unwrap();
        assert!(
            scope.covers_zone(&name("dev.corp.internal")) && scope.covers_zone(&name("a.dev.corp.internal"))
        );
        assert!(scope.covers_zone(&name("a.test")));
        for not_whole in ["corp.internal", "test", "other", "web-1.other"] {
            assert!(!scope.covers_zone(&name(not_whole)) && scope.touches(&name(not_whole)), "{not_whole}");
        }
        assert!(!scope.touches(&name("example")));
        assert!(Scope::All.covers_zone(&Name::root()));
    }

    #[test]
    fn what_covers_everything_or_nothing_certain_is_refused() {
        for wrong in ["", ".", "*.*", "*", "a.*.corp", "a..b"] {
            assert!(wrong.parse::<NamePattern>().is_err(), "{wrong}");
        }
        assert_eq!(Scope::parse(&["*"]), Ok(Scope::All));
        assert_eq!(Scope::parse::<&str>(&[]), Err(PatternError::Count));
        assert_eq!(serde_json::to_string(&Scope::All).unwrap(), r#"["*"]"#);
        let scope: Scope = serde_json::from_str(r#"["a.b","*.c"]"#).unwrap();
        assert_eq!(serde_json::to_string(&scope).unwrap(), r#"["a.b","*.c"]"#);
    }
}
