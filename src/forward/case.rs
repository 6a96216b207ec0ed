//! 0x20: letters of a query's name in random case, which only a reply to that query repeats.

use rand::RngCore;

/// Letters from which on a name's case can be told from coincidence, and from one guess of who wants it to look ours.
const LETTERS_MIN: usize = 16;

/// How a query's letters are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    /// In random case, and the reply must have the same.
    Mixed,
    /// In lower case, and the reply may have any: its sender does not keep case.
    Plain,
}

/// Gives each letter of a wire name a random case.
// Lengths of labels are at most 63 and thus no letters.
pub fn mix(name: &mut [u8], random: &mut impl RngCore) {
    // A bit for each byte, used or not: to look for letters first costs more than bits do.
    for bytes in name.chunks_mut(u64::BITS as usize) {
        let mut bits = random.next_u64();
        for byte in bytes {
            *byte ^= (u8::from(byte.is_ascii_alphabetic()) & bits as u8) << 5;
            bits >>= 1;
        }
    }
}

/// Whether a question's name has letters enough, in both cases, that nobody else would have written it so.
pub fn is_recognisable(question: &[u8]) -> bool {
    // Most ask in lower case.
    let has_upper = question.iter().any(u8::is_ascii_uppercase);
    let (upper, lower) = if has_upper { letters(question) } else { (0, 0) };
    upper + lower >= LETTERS_MIN && upper >= 2 && lower >= 2
}

/// Whether a question's name has letters enough that some case of them is recognisable.
pub fn has_letters(question: &[u8]) -> bool {
    let (upper, lower) = letters(question);
    upper + lower >= LETTERS_MIN
}

/// Upper and lower letters of a question's name.
fn letters(question: &[u8]) -> (usize, usize) {
    let name = &question[..question.len().saturating_sub(4)];
    // Sums of narrow numbers are added many at a time.
    let upper: u16 = name.iter().map(|byte| u16::from(byte.is_ascii_uppercase())).sum();
    let lower: u16 = name.iter().map(|byte| u16::from(byte.is_ascii_lowercase())).sum();
    (upper.into(), lower.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_takes_both_cases_and_nothing_else_changes() {
        let name: &[u8] = b"\x0aaz-09{[@`z\x04blob\x00";
        let mut seen = vec![[false; 2]; name.len()];
        for _ in 0..200 {
            let mut mixed = name.to_vec();
            mix(&mut mixed, &mut rand::rng());
            assert!(mixed.eq_ignore_ascii_case(name));
            for (index, byte) in mixed.iter().enumerate() {
                seen[index][usize::from(byte.is_ascii_uppercase())] = true;
            }
        }
        for (byte, seen) in name.iter().zip(seen) {
            assert_eq!(seen[1], byte.is_ascii_alphabetic());
        }
    }

    #[test]
    fn a_name_in_one_case_or_with_few_letters_proves_nothing() {
        assert!(is_recognisable(b"\x10aBcDeFgHiJkLmNoP\x00\x00\x01\x00\x01"));
        assert!(!is_recognisable(b"\x0faBcDeFgHiJkLmNo\x00\x00\x01\x00\x01"));
        assert!(!is_recognisable(b"\x10abcdefghijklmnop\x00\x00\x01\x00\x01"));
        assert!(!is_recognisable(b"\x10ABCDEFGHIJKLMNOP\x00\x00\x01\x00\x01"));
        assert!(!is_recognisable(b"\x10Abcdefghijklmnop\x00\x00\x01\x00\x01"));
        assert!(!is_recognisable(b""));
    }
}
