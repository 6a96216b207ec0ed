//! The ways that answers come to be.

/// How the answer to a query came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum AnswerPath {
    /// Out of zones of ours alone.
    Authoritative,
    /// Upstream's alias led into a zone of ours, or a zone's alias to what upstream or the cache knows.
    Spliced,
    /// Made from the catalogue of Private Link services: an alias or a pointer that stands in no zone.
    Synthesised,
    /// Out of the cache alone.
    Cached,
    /// Upstream was asked.
    Forwarded,
    /// Out of the cache beyond its lifetime, since upstream does not answer (RFC 8767).
    Stale,
    /// The client may not ask this, or asked too much.
    Refused,
    /// There is no answer: the message is malformed, or nothing that was asked answers.
    Error,
}

impl AnswerPath {
    /// All paths, each at the place of its number.
    pub const ALL: [AnswerPath; 8] = [
        AnswerPath::Authoritative,
        AnswerPath::Spliced,
        AnswerPath::Synthesised,
        AnswerPath::Cached,
        AnswerPath::Forwarded,
        AnswerPath::Stale,
        AnswerPath::Refused,
        AnswerPath::Error,
    ];

    /// The word for it in metrics and logs.
    pub const fn word(self) -> &'static str {
        match self {
            AnswerPath::Authoritative => "authoritative",
            AnswerPath::Spliced => "spliced",
            AnswerPath::Synthesised => "synthesised",
            AnswerPath::Cached => "cached",
            AnswerPath::Forwarded => "forwarded",
            AnswerPath::Stale => "stale",
            AnswerPath::Refused => "refused",
            AnswerPath::Error => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_stands_at_the_place_of_its_number() {
        for (number, path) in AnswerPath::ALL.into_iter().enumerate() {
            assert_eq!(path as usize, number);
        }
    }
}
