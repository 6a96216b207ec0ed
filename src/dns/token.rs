//! Tokens of master files (RFC 1035 §5.1): words, quoted strings, parentheses over lines, comments.

use std::borrow::Cow;

use super::name::{NameError, unescape};

/// A word or a quoted string, escapes not yet resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token<'t> {
    pub text: Cow<'t, str>,
    pub quoting: Quoting,
}

/// Whether a token stood in quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoting {
    Plain,
    Quoted,
}

/// The tokens of one entry, which parentheses may stretch over lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'t> {
    /// The line it begins on, from 1.
    pub line: usize,
    /// Whether it begins with blank space, which stands for the last owner.
    pub indented: bool,
    pub tokens: Vec<Token<'t>>,
}

/// Owner, TTL, class, type and an address.
const TOKENS_USUAL: usize = 5;

/// Why text is not made of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("a quoted string is not closed on its line")]
    OpenQuote,
    #[error("a parenthesis is not closed")]
    OpenParenthesis,
    #[error("a parenthesis is closed that was not opened")]
    StrayParenthesis,
    #[error("an escape is not \\DDD or \\X")]
    BadEscape,
}

impl Token<'_> {
    /// The bytes that the token stands for.
    pub fn unescaped(&self) -> Result<Vec<u8>, NameError> {
        let mut out = Vec::with_capacity(self.text.len());
        let mut bytes = self.text.bytes();
        while let Some(byte) = bytes.next() {
            out.push(if byte == b'\\' { unescape(&mut bytes)? } else { byte });
        }
        Ok(out)
    }
}

/// Splits text into entries; an error names its line.
pub fn entries(text: &str) -> impl Iterator<Item = Result<Entry<'_>, (usize, TokenError)>> {
    let mut lines = text.lines().enumerate();
    std::iter::from_fn(move || {
        let (number, mut line) = lines.next()?;
        let indented = line.starts_with([' ', '\t']);
        let mut entry = Entry { line: number + 1, indented, tokens: Vec::with_capacity(TOKENS_USUAL) };
        let mut depth = 0_usize;
        loop {
            if let Err(error) = tokens_of_line(line, &mut entry.tokens, &mut depth) {
                return Some(Err((entry.line, error)));
            }
            if depth == 0 {
                return Some(Ok(entry));
            }
            match lines.next() {
                Some((_, next)) => line = next,
                None => return Some(Err((entry.line, TokenError::OpenParenthesis))),
            }
        }
    })
    .filter(|entry| !matches!(entry, Ok(Entry { tokens, .. }) if tokens.is_empty()))
}

/// The tokens of record data on one line.
pub fn tokens(text: &str) -> Result<Vec<Token<'_>>, TokenError> {
    let mut all = Vec::new();
    let mut depth = 0;
    for line in text.lines() {
        tokens_of_line(line, &mut all, &mut depth)?;
    }
    if depth == 0 { Ok(all) } else { Err(TokenError::OpenParenthesis) }
}

fn tokens_of_line<'t>(
    mut line: &'t str,
    tokens: &mut Vec<Token<'t>>,
    depth: &mut usize,
) -> Result<(), TokenError> {
    // Nearly all words stand there as they are meant: they are not copied.
    loop {
        line = line.trim_start_matches([' ', '\t']);
        let length = plain_word_bytes(line);
        let Some((word, behind)) = line.split_at_checked(length).filter(|_| length > 0) else { break };
        tokens.push(Token { text: word.into(), quoting: Quoting::Plain });
        line = behind;
    }
    let mut chars = line.chars().peekable();
    while let Some(&next) = chars.peek() {
        match next {
            ';' => break,
            '(' => {
                *depth += 1;
                chars.next();
            }
            ')' => {
                *depth = depth.checked_sub(1).ok_or(TokenError::StrayParenthesis)?;
                chars.next();
            }
            '"' => {
                chars.next();
                let mut text = String::new();
                loop {
                    match chars.next().ok_or(TokenError::OpenQuote)? {
                        '"' => break,
                        '\\' => text.extend(['\\', chars.next().ok_or(TokenError::BadEscape)?]),
                        other => text.push(other),
                    }
                }
                tokens.push(Token { text: text.into(), quoting: Quoting::Quoted });
            }
            space if space.is_whitespace() => {
                chars.next();
            }
            _ => {
                let mut text = String::new();
                // A quote inside a word (`alpn="h2,h3"`) lasts to its twin; its marks go.
                let mut in_quotes = false;
                while let Some(&next) = chars.peek() {
                    match next {
                        '"' => in_quotes = !in_quotes,
                        '\\' => {
                            chars.next();
                            text.extend(['\\', *chars.peek().ok_or(TokenError::BadEscape)?]);
                        }
                        '(' | ')' | ';' if !in_quotes => break,
                        space if space.is_whitespace() && !in_quotes => break,
                        other => text.push(other),
                    }
                    chars.next();
                }
                if in_quotes {
                    return Err(TokenError::OpenQuote);
                }
                tokens.push(Token { text: text.into(), quoting: Quoting::Plain });
            }
        }
    }
    Ok(())
}

/// How long the word is that the line begins with, if it is of printed ASCII without anything that has a meaning.
fn plain_word_bytes(line: &str) -> usize {
    let is_plain = |byte: &u8| matches!(byte, b'!'..=b'~') && !b"\"\\;()".contains(byte);
    let length = line.as_bytes().iter().take_while(|byte| is_plain(byte)).count();
    match line.as_bytes().get(length) {
        None | Some(b' ' | b'\t') => length,
        Some(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        entries(text)
            .map(|entry| entry.unwrap().tokens.into_iter().map(|token| token.text.into_owned()).collect())
            .collect()
    }

    #[test]
    fn parentheses_join_lines_and_comments_end_them() {
        assert_eq!(
            words("a ( b ; c\n d )\n; only\n\ne \"f ; g\"\n"),
            [vec!["a", "b", "d"], vec!["e", "f ; g"]]
        );
        assert_eq!(words("k=\"a b\" c"), [["k=a b", "c"]]);
    }

    #[test]
    fn errors_name_their_line() {
        let errors = |text| entries(text).find_map(Result::err).unwrap();
        assert_eq!(errors("a\nb (\nc\n"), (2, TokenError::OpenParenthesis));
        assert_eq!(errors("a )"), (1, TokenError::StrayParenthesis));
        assert_eq!(errors("\n\"a"), (2, TokenError::OpenQuote));
        assert_eq!(errors("a\\"), (1, TokenError::BadEscape));
    }
}
