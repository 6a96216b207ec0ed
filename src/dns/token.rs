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
    #[error(
        "`;` begins a comment, which data that stands alone has not: put the value that it belongs to into quotes, \
         as in `0 issue \"ca.example; a=b\"`, or leave it out"
    )]
    Comment,
}

impl<'t> Token<'t> {
    /// Cuts a word at the quotes inside it, which end it where they are no part of a parameter (`key="a value"`), as BIND
    /// does.
    pub fn parts(self) -> impl Iterator<Item = Token<'t>> {
        let parts = match self.quoting {
            Quoting::Plain if self.text.contains('"') => cut_at_quotes(&self.text),
            _ => vec![self],
        };
        parts.into_iter()
    }

    /// The word without the quotes inside it.
    pub fn without_marks(&self) -> String {
        let parts = match self.quoting {
            Quoting::Plain => cut_at_quotes(&self.text),
            Quoting::Quoted => return self.text.clone().into_owned(),
        };
        parts.iter().map(|part| &*part.text).collect()
    }

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

/// A word's parts outside of quotes and within them; what is empty outside is no part.
fn cut_at_quotes<'t>(word: &str) -> Vec<Token<'t>> {
    let (mut parts, mut text, mut quoting) = (Vec::new(), String::new(), Quoting::Plain);
    let mut chars = word.chars();
    let mut end = |text: &mut String, quoting: Quoting| {
        if quoting == Quoting::Quoted || !text.is_empty() {
            parts.push(Token { text: std::mem::take(text).into(), quoting });
        }
    };
    while let Some(char) = chars.next() {
        match char {
            '"' => {
                end(&mut text, quoting);
                quoting = if quoting == Quoting::Plain { Quoting::Quoted } else { Quoting::Plain };
            }
            '\\' => {
                text.push('\\');
                text.extend(chars.next());
            }
            other => text.push(other),
        }
    }
    end(&mut text, quoting);
    parts
}

/// How often reading begins again behind an entry whose parentheses take in all that follows: each is a walk to the end.
const UNCLOSED_MAX: usize = 3;

/// Splits text into entries; an error names its line, and reading goes on behind it.
pub fn entries(text: &str) -> impl Iterator<Item = Result<Entry<'_>, (usize, TokenError)>> {
    let mut lines = text.lines().enumerate();
    let mut unclosed_left = UNCLOSED_MAX;
    std::iter::from_fn(move || {
        let (number, mut line) = lines.next()?;
        let behind = lines.clone();
        let indented = line.starts_with([' ', '\t']);
        let mut entry = Entry { line: number + 1, indented, tokens: Vec::with_capacity(TOKENS_USUAL) };
        let mut depth = 0_usize;
        loop {
            if let Err(error) = tokens_of_line(line, &mut entry.tokens, &mut depth) {
                if depth > 0 {
                    skip_continuation(&mut lines);
                }
                return Some(Err((entry.line, error)));
            }
            if depth == 0 {
                return Some(Ok(entry));
            }
            match lines.next() {
                Some((_, next)) => line = next,
                None => {
                    if unclosed_left > 0 {
                        unclosed_left -= 1;
                        lines = behind;
                        skip_continuation(&mut lines);
                    }
                    return Some(Err((entry.line, TokenError::OpenParenthesis)));
                }
            }
        }
    })
    .filter(|entry| !matches!(entry, Ok(Entry { tokens, .. }) if tokens.is_empty()))
}

/// Passes the lines that look like the rest of an entry in parentheses: indented, or closing it.
fn skip_continuation<'t>(lines: &mut (impl Iterator<Item = (usize, &'t str)> + Clone)) {
    let mut ahead = lines.clone();
    while let Some((_, line)) = ahead.next()
        && (line.is_empty() || line.starts_with([' ', '\t', ')', ';']))
    {
        *lines = ahead.clone();
    }
}

/// The tokens of record data on one line.
pub fn tokens(text: &str) -> Result<Vec<Token<'_>>, TokenError> {
    tokens_of_lines(text).map(|(tokens, _)| tokens)
}

/// The same, where a comment is an error.
pub fn tokens_without_comments(text: &str) -> Result<Vec<Token<'_>>, TokenError> {
    match tokens_of_lines(text)? {
        (_, LineEnd::Comment) => Err(TokenError::Comment),
        (tokens, LineEnd::Bare) => Ok(tokens),
    }
}

/// How a line ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Bare,
    Comment,
}

/// All tokens, and whether any line ends in a comment.
fn tokens_of_lines(text: &str) -> Result<(Vec<Token<'_>>, LineEnd), TokenError> {
    let mut all = Vec::new();
    let (mut depth, mut end) = (0, LineEnd::Bare);
    for line in text.lines() {
        if tokens_of_line(line, &mut all, &mut depth)? == LineEnd::Comment {
            end = LineEnd::Comment;
        }
    }
    if depth == 0 { Ok((all, end)) } else { Err(TokenError::OpenParenthesis) }
}

fn tokens_of_line<'t>(
    mut line: &'t str,
    tokens: &mut Vec<Token<'t>>,
    depth: &mut usize,
) -> Result<LineEnd, TokenError> {
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
            ';' => return Ok(LineEnd::Comment),
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
            // Others than these are of the text: a no-break space is UTF-8 like any letter.
            space if space.is_ascii_whitespace() => {
                chars.next();
            }
            _ => {
                let mut text = String::new();
                // A quote inside a word (`alpn="h2,h3"`) lasts to its twin; its marks stay, see `parts`.
                let mut in_quotes = false;
                while let Some(&next) = chars.peek() {
                    match next {
                        '"' => {
                            in_quotes = !in_quotes;
                            text.push('"');
                        }
                        '\\' => {
                            chars.next();
                            text.extend(['\\', *chars.peek().ok_or(TokenError::BadEscape)?]);
                        }
                        '(' | ')' | ';' if !in_quotes => break,
                        space if space.is_ascii_whitespace() && !in_quotes => break,
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
    Ok(LineEnd::Bare)
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
        assert_eq!(words("k=\"a b\" c"), [["k=\"a b\"", "c"]]);
        let token = tokens("k=\"a \\\"b\"c").unwrap().remove(0);
        assert_eq!(token.without_marks(), "k=a \\\"bc");
        let parts: Vec<_> = token.parts().map(|part| (part.text.into_owned(), part.quoting)).collect();
        let part = |text: &str, quoting| (text.to_owned(), quoting);
        let expected =
            [part("k=", Quoting::Plain), part("a \\\"b", Quoting::Quoted), part("c", Quoting::Plain)];
        assert_eq!(parts, expected);
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
