//! Name patterns with placeholders: `privatelink.{regionName}.kusto.windows.net`, `z{00-99}`.

use std::fmt;

use smallvec::SmallVec;

use crate::dns::name::{MAX_LABEL_BYTES, MAX_NAME_BYTES};
use crate::dns::{Name, NameBuf, NameRef};

/// A name whose labels may be placeholders, or have one as a part.
#[derive(Clone, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Template {
    labels: Box<[LabelTemplate]>,
}

/// One label of a template.
#[derive(Clone, PartialEq, Eq, Hash)]
struct LabelTemplate {
    before: Box<str>,
    placeholder: Option<Placeholder>,
    after: Box<str>,
}

/// What stands for a label or a part of one.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Placeholder {
    name: Box<str>,
    takes: Takes,
}

/// What a placeholder takes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Takes {
    Anything,
    /// Letters and digits, as region names and geo codes are.
    Alphanumeric,
    Digits,
    /// As many digits as the bounds are written with.
    Range {
        lowest: u32,
        highest: u32,
        digits: usize,
    },
}

/// What the placeholders of a template stood for in a name.
#[derive(Clone, Default)]
pub(super) struct Bindings<'a>(SmallVec<[(&'a str, &'a [u8]); 4]>);

/// Why text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("`{0}` is no name: {1}")]
    Name(String, crate::dns::name::NameError),
    #[error("`{0}` has a {1:?}, which is no letter of a name")]
    Letter(String, char),
    #[error("`{0}` has a brace without its fellow, an empty placeholder, or two in a label")]
    Braces(String),
    #[error("`{0}` has a placeholder, and must be a name")]
    Placeholder(String),
}

impl Template {
    /// Reads text such as `{regionCode}.privatelink.siterecovery.windowsazure.com`.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let labels = text.split('.').map(LabelTemplate::parse).collect::<Option<Box<[_]>>>();
        let labels = labels.ok_or_else(|| TemplateError::Braces(text.to_owned()))?;
        // A placeholder takes at least one byte; the rest must be a name as it stands.
        let sample: String = labels.iter().map(LabelTemplate::sample).collect::<Vec<_>>().join(".");
        let is_odd = |letter: &char| !letter.is_ascii_alphanumeric() && !"-_.*".contains(*letter);
        if let Some(odd) = sample.chars().find(is_odd) {
            return Err(TemplateError::Letter(text.to_owned(), odd));
        }
        sample.parse::<Name>().map_err(|error| TemplateError::Name(text.to_owned(), error))?;
        Ok(Template { labels })
    }

    /// Reads text in which nothing is to be filled.
    pub fn parse_literal(text: &str) -> Result<Template, TemplateError> {
        let template = Template::parse(text)?;
        template.is_literal().then_some(template).ok_or_else(|| TemplateError::Placeholder(text.to_owned()))
    }

    /// The number of labels.
    pub fn label_count(&self) -> usize {
        self.labels.len()
    }

    /// Whether nothing in it has to be filled.
    pub fn is_literal(&self) -> bool {
        self.labels.iter().all(LabelTemplate::is_literal)
    }

    /// The names of its placeholders, in order.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.labels
            .iter()
            .filter_map(|label| label.placeholder.as_ref())
            .map(|placeholder| &*placeholder.name)
    }

    /// The labels behind the last placeholder, as a name.
    pub(super) fn literal_suffix(&self) -> Name {
        let start = self.labels.iter().rposition(|label| !label.is_literal()).map_or(0, |at| at + 1);
        let mut wire = Wire::new();
        for label in &self.labels[start..] {
            push_label(&mut wire, label.before.as_bytes());
        }
        NameBuf::join(&wire, NameRef::ROOT).expect("a part of a valid name is one").to_name()
    }

    /// Where the label that marks a private zone stands: `privatelink`, `privatelink-global`, or AKS's `private`.
    pub(super) fn marker(&self) -> Option<(usize, &str)> {
        let is_marker =
            |text: &str| text == "privatelink" || text.starts_with("privatelink-") || text == "private";
        let at = self.labels.iter().position(|label| label.is_literal() && is_marker(&label.before))?;
        Some((at, &self.labels[at].before))
    }

    /// The template without the label that marks a private zone, wherever it stands.
    pub(super) fn stem(&self) -> Template {
        let marker = self.marker().map(|(at, _)| at);
        let labels = self.labels.iter().enumerate().filter(|(at, _)| Some(*at) != marker);
        Template { labels: labels.map(|(_, label)| label.clone()).collect() }
    }

    /// The labels in front of `suffix`; `None` when it does not end with it.
    pub(super) fn strip_suffix(&self, suffix: &Template) -> Option<Template> {
        let front = self.labels.strip_suffix(&*suffix.labels)?;
        Some(Template { labels: front.into() })
    }

    /// All labels but the last.
    pub(super) fn without_last(&self) -> Template {
        let front = self.labels.split_last().map_or(&[][..], |(_, front)| front);
        Template { labels: front.into() }
    }

    /// This template in front of `suffix`.
    pub(super) fn before(&self, suffix: &Template) -> Template {
        Template { labels: self.labels.iter().chain(&*suffix.labels).cloned().collect() }
    }

    /// Matches the end of `name`, adds to `bindings`, and answers the labels in front in wire form.
    pub(super) fn match_suffix<'a>(
        &'a self,
        name: NameRef<'a>,
        bindings: &mut Bindings<'a>,
    ) -> Option<&'a [u8]> {
        let suffix = name.trim_to(self.labels.len())?;
        for (template, label) in self.labels.iter().zip(suffix.labels()) {
            template.match_label(label, bindings)?;
        }
        let wire = name.as_wire();
        Some(&wire[..wire.len() - suffix.as_wire().len()])
    }

    /// `front` and the filled template; `None` when a placeholder is unbound or the name would be too long.
    pub(super) fn fill(&self, front: &[u8], bindings: &Bindings<'_>) -> Option<NameBuf> {
        let mut wire = Wire::from_slice(front);
        for label in &self.labels {
            let length_at = wire.len();
            wire.push(0);
            wire.extend_from_slice(label.before.as_bytes());
            if let Some(placeholder) = &label.placeholder {
                wire.extend_from_slice(bindings.value(&placeholder.name)?);
            }
            wire.extend_from_slice(label.after.as_bytes());
            let length = wire.len() - length_at - 1;
            if length > MAX_LABEL_BYTES || wire.len() >= MAX_NAME_BYTES {
                return None;
            }
            wire[length_at] = length as u8;
        }
        NameBuf::join(&wire, NameRef::ROOT).ok()
    }
}

/// Room for a name and a byte more.
type Wire = SmallVec<[u8; MAX_NAME_BYTES + 1]>;

fn push_label(wire: &mut Wire, label: &[u8]) {
    wire.push(label.len() as u8);
    wire.extend_from_slice(label);
}

impl LabelTemplate {
    fn parse(text: &str) -> Option<LabelTemplate> {
        let text = text.to_owned();
        let Some((before, rest)) = text.split_once('{') else {
            let literal = text.to_ascii_lowercase();
            return (!text.contains('}')).then(|| LabelTemplate {
                before: literal.into(),
                placeholder: None,
                after: "".into(),
            });
        };
        let (name, after) = rest.split_once('}')?;
        if name.is_empty() || name.contains('{') || before.contains('}') || after.contains(['{', '}']) {
            return None;
        }
        Some(LabelTemplate {
            before: before.to_ascii_lowercase().into(),
            placeholder: Some(Placeholder { name: name.into(), takes: Takes::of(name) }),
            after: after.to_ascii_lowercase().into(),
        })
    }

    fn is_literal(&self) -> bool {
        self.placeholder.is_none()
    }

    fn sample(&self) -> String {
        let filler = if self.is_literal() { "" } else { "0" };
        format!("{}{filler}{}", self.before, self.after)
    }

    fn match_label<'a>(&'a self, label: &'a [u8], bindings: &mut Bindings<'a>) -> Option<()> {
        let Some(placeholder) = &self.placeholder else {
            return (label == self.before.as_bytes()).then_some(());
        };
        let value = label.strip_prefix(self.before.as_bytes())?.strip_suffix(self.after.as_bytes())?;
        if !placeholder.takes.accepts(value) {
            return None;
        }
        bindings.bind(&placeholder.name, value)
    }
}

impl Takes {
    fn of(name: &str) -> Takes {
        match name {
            "regionName" | "regionCode" => Takes::Alphanumeric,
            // A static web app's preview names have their region where others have the partition.
            "partitionId" => Takes::Digits,
            _ => Takes::range(name).unwrap_or(Takes::Anything),
        }
    }

    fn range(name: &str) -> Option<Takes> {
        let (lowest, highest) = name.split_once('-')?;
        let digits = lowest.len();
        Some(Takes::Range { lowest: lowest.parse().ok()?, highest: highest.parse().ok()?, digits })
    }

    fn accepts(self, value: &[u8]) -> bool {
        !value.is_empty()
            && match self {
                Takes::Anything => true,
                Takes::Alphanumeric => value.iter().all(u8::is_ascii_alphanumeric),
                Takes::Digits => value.iter().all(u8::is_ascii_digit),
                Takes::Range { lowest, highest, digits } => {
                    value.len() == digits
                        && value.iter().all(u8::is_ascii_digit)
                        && std::str::from_utf8(value)
                            .ok()
                            .and_then(|text| text.parse::<u32>().ok())
                            .is_some_and(|number| (lowest..=highest).contains(&number))
                }
            }
    }
}

impl<'a> Bindings<'a> {
    /// Takes note of a value; `None` when the placeholder already stands for another.
    pub(super) fn bind(&mut self, name: &'a str, value: &'a [u8]) -> Option<()> {
        match self.value(name) {
            Some(bound) => (bound == value).then_some(()),
            None => {
                self.0.push((name, value));
                Some(())
            }
        }
    }

    fn value(&self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|(bound, _)| *bound == name).map(|(_, value)| *value)
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Template, TemplateError> {
        Template::parse(&text)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, label) in self.labels.iter().enumerate() {
            if at > 0 {
                out.write_str(".")?;
            }
            out.write_str(&label.before)?;
            if let Some(placeholder) = &label.placeholder {
                write!(out, "{{{}}}", placeholder.name)?;
            }
            out.write_str(&label.after)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn a_placeholder_stands_for_one_label_or_a_part_of_one() {
        for (pattern, text, expected) in [
            ("{regionName}.kusto.net", "a.eastus.kusto.net", Some("a")),
            ("{regionName}.kusto.net", "kusto.net", None),
            ("{regionName}.kusto.net", "a.east-us.kusto.net", None),
            ("z{00-99}.storage.net", "a.z12.storage.net", Some("a")),
            ("z{00-99}.storage.net", "a.z1.storage.net", None),
            ("z{00-99}.storage.net", "a.zz.storage.net", None),
            ("{partitionId}.apps.net", "a.2.apps.net", Some("a")),
            ("{partitionId}.apps.net", "a.westus2.apps.net", None),
            ("{x}.{x}.net", "a.b.b.net", Some("a")),
            ("{x}.{x}.net", "a.b.c.net", None),
        ] {
            let (template, name) = (template(pattern), name(text));
            let front = template.match_suffix(name.borrow(), &mut Bindings::default());
            let front =
                front.map(|wire| String::from_utf8_lossy(wire.get(1..).unwrap_or_default()).into_owned());
            assert_eq!(front.as_deref(), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_stem_lacks_the_private_link_label_wherever_it_stands() {
        for (zone, stem) in [
            ("privatelink.azurecr.io", "azurecr.io"),
            ("{regionCode}.privatelink.siterecovery.com", "{regionCode}.siterecovery.com"),
            ("privatelink-global.wvd.microsoft.com", "wvd.microsoft.com"),
            ("private.{regionName}.azmk8s.io", "{regionName}.azmk8s.io"),
        ] {
            assert_eq!(template(zone).stem(), template(stem));
        }
    }

    #[test]
    fn bad_templates_are_refused() {
        for text in ["a.{b", "a}.b", "{}.b", "{a}{b}.c", "a..b", "", "{a{b}}.c", "a b.c", "@", "\\065.c"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_that_would_be_too_long_is_not_made() {
        let long = "x".repeat(63);
        let name = name(&format!("{long}.net"));
        let any = template("{a}.net");
        let mut bindings = Bindings::default();
        any.match_suffix(name.borrow(), &mut bindings).unwrap();
        assert!(template("y{a}.net").fill(b"", &bindings).is_none());
        assert!(template("{a}.{a}.{a}.{a}.net").fill(b"", &bindings).is_none());
        assert!(template("{b}.net").fill(b"", &bindings).is_none());
    }
}
