//! `$GENERATE`: many records out of one line, as BIND writes them (BIND 9 ARM, "Master File Extension: the $GENERATE
//! Directive").

use crate::dns::token::{Quoting, Token};

/// Records of all `$GENERATE` lines of a zone together: a /16 of addresses is 65,536, and a line of 40 bytes could make
/// billions.
pub(super) const RECORDS_MAX: u64 = 1_000_000;
/// Text of these together, before it is read: a million owners and addresses, and no million of long texts.
pub(super) const TEXT_BYTES_MAX: usize = 256 << 20;
/// Characters of one number: no name has more.
const WIDTH_MAX: usize = 255;

/// The numbers of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    start: u32,
    stop: u32,
    step: u32,
}

/// What a number is written as.
#[derive(Clone, Copy)]
enum Base {
    Decimal,
    Octal,
    Hex {
        is_upper: bool,
    },
    /// Digits as labels, the last one first: for `ip6.arpa`.
    Nibbles {
        is_upper: bool,
    },
}

impl Range {
    /// Reads `start-stop` or `start-stop/step`; numbers are below 2^31, as in BIND.
    pub(super) fn parse(text: &str) -> Option<Range> {
        let number = |text: &str| {
            let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>().ok().filter(|number| is_digits && *number <= i32::MAX as u32)
        };
        let (ends, step) = text.split_once('/').map_or((text, Some(1)), |(ends, step)| (ends, number(step)));
        let (start, stop) = ends.split_once('-')?;
        let range = Range { start: number(start)?, stop: number(stop)?, step: step? };
        (range.start <= range.stop && range.step > 0).then_some(range)
    }

    /// How many numbers it has.
    pub(super) fn count(self) -> u64 {
        u64::from((self.stop - self.start) / self.step) + 1
    }

    pub(super) fn numbers(self) -> impl Iterator<Item = u32> {
        (self.start..=self.stop).step_by(self.step as usize)
    }
}

/// Puts a number in the place of each `$` and `${offset,width,base}`; `$$` is a dollar sign, and what an escape has is
/// left alone. `None` for a modifier that is none, or a number that it cannot write.
pub(super) fn substitute(text: &str, number: u32) -> Option<String> {
    let mut out = String::with_capacity(text.len() + 8);
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' => {
                out.push('\\');
                out.extend(chars.next());
            }
            '$' if chars.next_if_eq(&'$').is_some() => out.push('$'),
            '$' if chars.next_if_eq(&'{').is_some() => {
                let rest: String = chars.clone().collect();
                let (modifier, _) = rest.split_once('}')?;
                write_modified(modifier, number, &mut out)?;
                chars.nth(modifier.chars().count());
            }
            '$' => out.push_str(&number.to_string()),
            other => out.push(other),
        }
    }
    Some(out)
}

fn write_modified(modifier: &str, number: u32, out: &mut String) -> Option<()> {
    let mut parts = modifier.split(',');
    let offset: i64 = parts.next()?.parse().ok()?;
    let width: usize = parts.next().map_or(Some(0), |width| width.parse().ok())?;
    let base = match parts.next() {
        None | Some("d") => Base::Decimal,
        Some("o") => Base::Octal,
        Some("x") => Base::Hex { is_upper: false },
        Some("X") => Base::Hex { is_upper: true },
        Some("n") => Base::Nibbles { is_upper: false },
        Some("N") => Base::Nibbles { is_upper: true },
        Some(_) => return None,
    };
    if parts.next().is_some() || width > WIDTH_MAX {
        return None;
    }
    let value = i32::try_from(i64::from(number) + offset).ok()?;
    match base {
        Base::Decimal => out.push_str(&format!("{value:0width$}")),
        // Below zero these show the number's 32 bits, as BIND does; as nibbles they would never end.
        Base::Nibbles { .. } if value < 0 => return None,
        Base::Octal => out.push_str(&format!("{value:0width$o}")),
        Base::Hex { is_upper: false } => out.push_str(&format!("{value:0width$x}")),
        Base::Hex { is_upper: true } => out.push_str(&format!("{value:0width$X}")),
        Base::Nibbles { is_upper } => write_nibbles(value as u32, width, is_upper, out),
    }
    Some(())
}

/// The width counts the dots as well.
fn write_nibbles(mut value: u32, mut width: usize, is_upper: bool, out: &mut String) {
    loop {
        let digit = char::from_digit(value & 15, 16).expect("four bits are a digit");
        out.push(if is_upper { digit.to_ascii_uppercase() } else { digit });
        value >>= 4;
        width = width.saturating_sub(1);
        if value == 0 && width == 0 {
            return;
        }
        out.push('.');
        width = width.saturating_sub(1);
        if value == 0 && width == 0 {
            return;
        }
    }
}

/// Record data with the number in its place, as text to be read again. BIND has one word, in quotes where it is several;
/// several words are taken as they are.
pub(super) fn data_text(words: &[Token<'_>], number: u32) -> Option<String> {
    if let [word] = words {
        // Within the quotes that hold it together a quote is written `\"`.
        let text = match word.quoting {
            Quoting::Quoted => word.text.replace("\\\"", "\""),
            Quoting::Plain => word.text.clone().into_owned(),
        };
        return substitute(&text, number);
    }
    let mut out = String::new();
    for word in words {
        let text = substitute(&word.text, number)?;
        match word.quoting {
            Quoting::Quoted => out.extend(["\"", &text, "\" "]),
            Quoting::Plain => out.extend([&text, " "]),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_bounded_and_have_steps() {
        let numbers = |text: &str| Range::parse(text).map(|range| range.numbers().collect::<Vec<_>>());
        assert_eq!(numbers("1-3"), Some(vec![1, 2, 3]));
        assert_eq!(numbers("0-7/3"), Some(vec![0, 3, 6]));
        assert_eq!(numbers("5-5/9"), Some(vec![5]));
        assert_eq!(Range::parse("0-2147483647").unwrap().count(), 1 << 31);
        for wrong in ["", "1", "3-1", "1-3/0", "-1-3", "1-2147483648", "1-3/", "a-b", "1-+3", "1 -3"] {
            assert_eq!(Range::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_number_is_written_as_its_modifier_says() {
        for (text, number, expected) in [
            ("host$.a", 7, "host7.a"),
            ("$$-\\$-$", 7, "$-\\$-7"),
            ("${10}", 7, "17"),
            ("${-10}", 7, "-3"),
            ("${0,3}", 7, "007"),
            ("${0,3,d}", 7, "007"),
            ("${0,4,o}", 8, "0010"),
            ("${0,2,x}${0,0,X}", 171, "abAB"),
            ("${-3,3}${-3,3,x}", 1, "-02fffffffe"),
            ("${0,0,n}", 0x1a2, "2.a.1"),
            ("${0,7,N}", 0x1a2, "2.A.1.0"),
            ("${0,4,n}", 1, "1.0."),
            ("no", 1, "no"),
        ] {
            assert_eq!(substitute(text, number).as_deref(), Some(expected), "{text}");
        }
        for wrong in
            ["${}", "${x}", "${1,a}", "${1,2,q}", "${1,2,d,3}", "${0,256}", "${0,300,n}", "${-9,1,n}", "${1"]
        {
            assert_eq!(substitute(wrong, 1), None, "{wrong}");
        }
    }
}
