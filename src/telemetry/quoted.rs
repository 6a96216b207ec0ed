//! Text of others, fit to be shown: in a log, in a terminal, in an extended error.

use std::fmt::{self, Write};

/// The most characters of a text that are shown; the rest is of no use to a reader.
const CHARS_MAX: usize = 500;

/// Shows a text without its control characters, which would steer a terminal or begin a line, and only so much of it.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'t>(pub &'t str);

/// Whether a character is not seen where it stands: it steers a terminal, begins a line, or changes the order of what is
/// read around it (Unicode TR 36 §3.2).
pub fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
        || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{e0000}'..='\u{e007f}')
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        for char in chars.by_ref().take(CHARS_MAX) {
            out.write_char(if is_hidden(char) { char::REPLACEMENT_CHARACTER } else { char })?;
        }
        if chars.next().is_some() { out.write_char('…') } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_replaced_and_long_text_is_cut() {
        assert_eq!(Quoted("pe-sql\n\x1b[31mé\u{9b}").to_string(), "pe-sql\u{fffd}\u{fffd}[31mé\u{fffd}");
        assert_eq!(Quoted("a\u{202e}b\u{2028}c\u{2066}").to_string(), "a\u{fffd}b\u{fffd}c\u{fffd}");
        let long = Quoted(&"é".repeat(CHARS_MAX + 1)).to_string();
        assert_eq!(long, "é".repeat(CHARS_MAX) + "…");
        assert_eq!(Quoted(&"a".repeat(CHARS_MAX)).to_string(), "a".repeat(CHARS_MAX));
    }
}
