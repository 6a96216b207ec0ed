//! Entity tags, and what `If-Match` and `If-None-Match` decide (RFC 9110 §8.8.3, §13).

use std::fmt;

use super::refusal::{Refusal, RefusalKind};

/// The most tags of one header; more than a handful help nobody.
pub const TAGS_MAX: usize = 64;

/// The name of one state of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Etag {
    pub strength: Strength,
    opaque: String,
}

/// Whether equal tags mean equal bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strength {
    Strong,
    Weak,
}

/// What a header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`: any state, as long as there is one.
    Any,
    These(Vec<Etag>),
}

/// The conditions of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    pub if_match: Option<Tags>,
    pub if_none_match: Option<Tags>,
}

/// Whether a write must say which state it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Required,
    Optional,
}

/// Why a write is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// 412: the state is another one than the client thinks; here is the one it is in.
    Mismatch { current: Option<Etag> },
    /// 412: it is there, in a state that the client does not mean.
    Exists { current: Etag },
    /// 428: the client does not say which state it means.
    Missing { current: Etag },
}

impl Etag {
    /// The tag of a state that is counted in revisions.
    pub fn of_revision(revision: u64) -> Etag {
        Etag { strength: Strength::Strong, opaque: revision.to_string() }
    }

    /// The tag of a state that has no revision: of all that is shown of it.
    pub fn of_content(shown: &[u8]) -> Etag {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, shown);
        // 64 bits: a client compares a handful of states of one thing.
        let opaque = data_encoding::HEXLOWER.encode(&digest.as_ref()[..8]);
        Etag { strength: Strength::Strong, opaque: format!("h{opaque}") }
    }

    /// The revision it names, if it is the tag of one.
    pub fn revision(&self) -> Option<u64> {
        self.opaque.parse().ok()
    }

    /// RFC 9110 §8.8.3.2: both are strong and equal.
    fn equals_strongly(&self, other: &Etag) -> bool {
        self.strength == Strength::Strong && self == other
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weak = if self.strength == Strength::Weak { "W/" } else { "" };
        write!(out, "{weak}\"{}\"", self.opaque)
    }
}

impl Tags {
    pub fn of_text(text: &str) -> Option<Tags> {
        let mut rest = text.trim_matches(BLANK);
        if rest == "*" {
            return Some(Tags::Any);
        }
        let mut tags = Vec::new();
        // RFC 9110 §5.6.1.2: empty members of a list are skipped.
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                return (!tags.is_empty()).then_some(Tags::These(tags));
            }
            let (strength, quoted) = match rest.strip_prefix("W/") {
                Some(rest) => (Strength::Weak, rest),
                None => (Strength::Strong, rest),
            };
            // RFC 9110 §8.8.3: a tag is visible ASCII without quotes; there are no escapes.
            let (opaque, behind) = quoted.strip_prefix('"')?.split_once('"')?;
            let behind = behind.trim_start_matches(BLANK);
            let is_end = behind.is_empty() || behind.starts_with(',');
            if !is_end || tags.len() == TAGS_MAX || !opaque.bytes().all(|it| it.is_ascii_graphic()) {
                return None;
            }
            tags.push(Etag { strength, opaque: opaque.to_owned() });
            rest = behind;
        }
    }
}

/// Optional white space (RFC 9110 §5.6.3).
const BLANK: [char; 2] = [' ', '\t'];

pub const MALFORMED: &str =
    "this is no list of entity tags; send an `ETag` as it was received, quotes included, or `*`";

impl Preconditions {
    /// Reads fields of a body, each a list of tags or `*`.
    pub fn of_texts(
        if_match: Option<&str>,
        if_none_match: Option<&str>,
    ) -> Result<Preconditions, &'static str> {
        let read = |text: Option<&str>| text.map(|text| Tags::of_text(text).ok_or(MALFORMED)).transpose();
        Ok(Preconditions { if_match: read(if_match)?, if_none_match: read(if_none_match)? })
    }

    /// Whether a write of what is in the state `current` (`None`: not there) may go on.
    pub fn check(&self, current: Option<&Etag>, need: Need) -> Result<(), Unmet> {
        let mismatch = || Err(Unmet::Mismatch { current: current.cloned() });
        // RFC 9110 §13.2.2: If-Match first; it compares strongly, If-None-Match weakly.
        match (&self.if_match, current) {
            (Some(_), None) => return mismatch(),
            (Some(Tags::These(tags)), Some(current))
                if !tags.iter().any(|it| it.equals_strongly(current)) =>
            {
                return mismatch();
            }
            _ => {}
        }
        match (&self.if_none_match, current) {
            (Some(Tags::Any), Some(current)) => return Err(Unmet::Exists { current: current.clone() }),
            (Some(Tags::These(tags)), Some(current)) if tags.iter().any(|it| it.opaque == current.opaque) => {
                return Err(Unmet::Exists { current: current.clone() });
            }
            _ => {}
        }
        match current {
            // A list in If-None-Match says which states are not meant, not which one is.
            Some(current) if need == Need::Required && self.if_match.is_none() => {
                Err(Unmet::Missing { current: current.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Whether a read is answered with 304: the client has this state.
    pub fn has_seen(&self, current: &Etag) -> bool {
        match &self.if_none_match {
            Some(Tags::Any) => true,
            Some(Tags::These(tags)) => tags.iter().any(|it| it.opaque == current.opaque),
            None => false,
        }
    }
}

impl From<Unmet> for Refusal {
    fn from(unmet: Unmet) -> Refusal {
        match unmet {
            Unmet::Mismatch { current: Some(current) } => {
                let detail = format!("its ETag is {current} now; read it again, and send what still applies");
                Refusal::new(RefusalKind::PreconditionFailed, detail).at("If-Match")
            }
            Unmet::Mismatch { current: None } => {
                let detail = "it is not there (any more); send it without If-Match to create it";
                Refusal::new(RefusalKind::PreconditionFailed, detail).at("If-Match")
            }
            Unmet::Exists { current } => {
                let detail =
                    format!("it is there already, with the ETag {current}; send `If-Match` to change it");
                Refusal::new(RefusalKind::PreconditionFailed, detail).at("If-None-Match")
            }
            Unmet::Missing { current } => {
                let detail = format!(
                    "it is there already: send `If-Match` with its ETag ({current} now), or `If-Match: *` for \
                     whatever is there; a PUT with `If-None-Match: *` only creates what is not there"
                );
                Refusal::new(RefusalKind::PreconditionRequired, detail).at("If-Match")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(if_match: Option<&str>, if_none_match: Option<&str>) -> Preconditions {
        let tags = |text: &str| Tags::of_text(text).unwrap();
        Preconditions { if_match: if_match.map(tags), if_none_match: if_none_match.map(tags) }
    }

    fn decide(if_match: Option<&str>, if_none_match: Option<&str>, current: Option<u64>) -> u16 {
        let current = current.map(Etag::of_revision);
        match conditions(if_match, if_none_match).check(current.as_ref(), Need::Required) {
            Ok(()) => 200,
            Err(unmet) => match Refusal::from(unmet).kind {
                RefusalKind::PreconditionFailed => 412,
                RefusalKind::PreconditionRequired => 428,
                other => panic!("{other:?}"),
            },
        }
    }

    #[test]
    fn lists_are_read_weak_and_strong() {
        let tag = |strength, opaque: &str| Etag { strength, opaque: opaque.to_owned() };
        let read = Tags::of_text(r#" "1" ,, W/"a,b" , "" "#);
        let expected = [tag(Strength::Strong, "1"), tag(Strength::Weak, "a,b"), tag(Strength::Strong, "")];
        assert_eq!(read, Some(Tags::These(expected.to_vec())));
        assert_eq!(Tags::of_text(" * "), Some(Tags::Any));
        let many = r#""a","#.repeat(TAGS_MAX + 1);
        for wrong in ["", ",", "1", r#""1"#, r#""1" "2""#, r#"w/"1""#, r#"*, "1""#, "\"a b\"", &many] {
            assert_eq!(Tags::of_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn writes_are_decided_as_rfc_9110_says() {
        let same = Some("\"7\"");
        assert_eq!(decide(same, None, Some(7)), 200);
        assert_eq!(decide(Some("\"6\", \"7\""), None, Some(7)), 200);
        assert_eq!(decide(Some("\"6\""), None, Some(7)), 412);
        assert_eq!(decide(Some("W/\"7\""), None, Some(7)), 412, "If-Match compares strongly");
        assert_eq!(decide(same, None, None), 412);
        assert_eq!(decide(Some("*"), None, Some(7)), 200);
        assert_eq!(decide(Some("*"), None, None), 412);
        assert_eq!(decide(None, Some("*"), None), 200);
        assert_eq!(decide(None, Some("*"), Some(7)), 412);
        assert_eq!(decide(None, Some("W/\"7\""), Some(7)), 412, "If-None-Match compares weakly");
        assert_eq!(decide(None, Some("\"6\""), Some(7)), 428);
        assert_eq!(decide(None, None, Some(7)), 428);
        assert_eq!(decide(None, None, None), 200);
        let free = conditions(None, None).check(Some(&Etag::of_revision(7)), Need::Optional);
        assert_eq!(free, Ok(()));
    }

    #[test]
    fn who_has_seen_a_state_is_not_sent_it_again() {
        assert!(conditions(None, Some("W/\"7\"")).has_seen(&Etag::of_revision(7)));
        assert!(conditions(None, Some("*")).has_seen(&Etag::of_revision(7)));
        assert!(!conditions(None, Some("\"6\"")).has_seen(&Etag::of_revision(7)));
        assert!(!conditions(None, None).has_seen(&Etag::of_revision(7)));
        assert_ne!(Etag::of_content(b"a"), Etag::of_content(b"b"));
        assert_eq!(Etag::of_content(b"12").revision(), None);
    }
}
