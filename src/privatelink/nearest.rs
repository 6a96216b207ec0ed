//! The known word closest to a mistyped one.

/// The candidate that differs least from `word`, if it differs by no more than a third.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    let word = word.to_ascii_lowercase();
    candidates
        .map(|candidate| (distance(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| distance * 3 <= word.len().max(candidate.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}

/// The bytes to add, remove or replace to come from `from` to `to` (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_noise_finds_none() {
        let words = ["blob", "queue", "Azure Key Vault"];
        assert_eq!(nearest("bolb", words.into_iter()), None);
        assert_eq!(nearest("blobs", words.into_iter()).as_deref(), Some("blob"));
        assert_eq!(nearest("azure keyvault", words.into_iter()).as_deref(), Some("Azure Key Vault"));
        assert_eq!(nearest("zzzz", words.into_iter()), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
