//! The known word closest to a mistyped one.

/// The candidate that differs least from `word`, if it differs by no more than a third.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let word = word.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| distance * 3 <= word.len().max(candidate.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}

/// What a message about an unknown word ends with; nothing where no known word is near.
pub fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_noise_finds_none() {
        let words = ["blob", "queue", "Azure Key Vault", "dns"];
        assert_eq!(nearest("bolb", words).as_deref(), Some("blob"));
        assert_eq!(nearest("dsn", words).as_deref(), Some("dns"));
        assert_eq!(nearest("blobs", words).as_deref(), Some("blob"));
        assert_eq!(nearest("azure keyvault", words).as_deref(), Some("Azure Key Vault"));
        assert_eq!(nearest("zzzz", words), None);
        assert_eq!(did_you_mean(nearest("bolb", words).as_deref()), "; did you mean `blob`?");
    }
}
