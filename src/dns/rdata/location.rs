//! The data of LOC: where something is on the earth (RFC 1876 §2 and §3).

use std::fmt::Write;

/// The data of version 0.
pub(super) const BYTES: usize = 16;
/// Thousandths of a second of arc in a degree.
const DEGREE: u32 = 3_600_000;
/// The equator and the prime meridian.
const MIDDLE: u32 = 1 << 31;
/// Centimetres that the sphere of reference lies below the reference spheroid.
const SEA_LEVEL_CM: i64 = 10_000_000;
/// Diameter, horizontal and vertical precision where none is said: 1 m, 10 km, 10 m.
const USUAL_SIZES_CM: [u64; 3] = [100, 1_000_000, 1_000];

/// Reads `degrees [minutes [seconds]] N|S degrees [minutes [seconds]] E|W altitude[m] [size[m] [horizontal[m]
/// [vertical[m]]]]`; answers the word at fault, or `None` in its place where one is missing.
pub(super) fn read<'w>(words: &mut impl Iterator<Item = &'w str>) -> Result<[u8; BYTES], Option<&'w str>> {
    let latitude = angle(words, 90, ["N", "S"])?;
    let longitude = angle(words, 180, ["E", "W"])?;
    let word = words.next().ok_or(None)?;
    let altitude =
        centimetres(word).and_then(|cm| u32::try_from(cm + SEA_LEVEL_CM).ok()).ok_or(Some(word))?;
    let mut sizes = [0; 3];
    for (size, usual) in sizes.iter_mut().zip(USUAL_SIZES_CM) {
        *size = match words.next() {
            None => mantissa_and_exponent(usual),
            Some(word) => {
                let cm = centimetres(word).and_then(|cm| u64::try_from(cm).ok());
                mantissa_and_exponent(cm.filter(|cm| *cm <= 9_000_000_000).ok_or(Some(word))?)
            }
        };
    }
    let mut data = [0; BYTES];
    data[1..4].copy_from_slice(&sizes);
    data[4..8].copy_from_slice(&latitude.to_be_bytes());
    data[8..12].copy_from_slice(&longitude.to_be_bytes());
    data[12..].copy_from_slice(&altitude.to_be_bytes());
    Ok(data)
}

fn angle<'w>(
    words: &mut impl Iterator<Item = &'w str>,
    degrees_max: u32,
    [positive, negative]: [&str; 2],
) -> Result<u32, Option<&'w str>> {
    let mut parts = [0_u32; 3];
    let mut count = 0;
    loop {
        let word = words.next().ok_or(None)?;
        let is_negative = word.eq_ignore_ascii_case(negative);
        if count > 0 && (is_negative || word.eq_ignore_ascii_case(positive)) {
            let thousandths = parts[0] * DEGREE + parts[1] * 60_000 + parts[2];
            return match thousandths <= degrees_max * DEGREE {
                true if is_negative => Ok(MIDDLE - thousandths),
                true => Ok(MIDDLE + thousandths),
                false => Err(Some(word)),
            };
        }
        let (digits_max, most) =
            [(0, degrees_max), (0, 59), (3, 59_999)].get(count).copied().ok_or(Some(word))?;
        let value = decimal(word, digits_max).and_then(|value| u32::try_from(value).ok());
        parts[count] = value.filter(|value| *value <= most).ok_or(Some(word))?;
        count += 1;
    }
}

/// A number with at most so many digits behind its point, as a whole number of the last.
fn decimal(word: &str, digits_max: usize) -> Option<i64> {
    let (whole, part) = word.split_once('.').unwrap_or((word, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(part) || part.len() > digits_max {
        return None;
    }
    let scale = 10_i64.pow(digits_max as u32);
    let part: i64 = format!("{part:0<digits_max$}").parse().unwrap_or(0);
    whole.parse::<i64>().ok()?.checked_mul(scale)?.checked_add(part)
}

fn centimetres(word: &str) -> Option<i64> {
    let number = word.strip_suffix(['m', 'M']).unwrap_or(word);
    match number.strip_prefix('-') {
        Some(number) => decimal(number, 2).map(|cm| -cm),
        None => decimal(number, 2),
    }
}

/// RFC 1876 §2: four bits each; what is between is rounded down, as BIND does.
fn mantissa_and_exponent(cm: u64) -> u8 {
    let (mut mantissa, mut exponent) = (cm, 0);
    while mantissa > 9 {
        mantissa /= 10;
        exponent += 1;
    }
    (mantissa as u8) << 4 | exponent
}

/// Writes data of version 0; `None` for data out of bounds.
pub(super) fn write(data: &[u8], out: &mut String) -> Option<()> {
    let data: &[u8; BYTES] = data.try_into().ok().filter(|data: &&[u8; BYTES]| data[0] == 0)?;
    let word = |at: usize| u32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]);
    write_angle(word(4), 90, ["N", "S"], out)?;
    write_angle(word(8), 180, ["E", "W"], out)?;
    let altitude = i64::from(word(12)) - SEA_LEVEL_CM;
    let sign = if altitude < 0 { "-" } else { "" };
    let cm = altitude.unsigned_abs();
    write!(out, "{sign}{}.{:02}m", cm / 100, cm % 100).ok()?;
    for size in &data[1..4] {
        let (mantissa, exponent) = (u64::from(size >> 4), u32::from(size & 15));
        if mantissa > 9 || exponent > 9 {
            return None;
        }
        let cm = mantissa * 10_u64.pow(exponent);
        match cm % 100 {
            0 => write!(out, " {}m", cm / 100).ok()?,
            part => write!(out, " {}.{part:02}m", cm / 100).ok()?,
        }
    }
    Some(())
}

fn write_angle(
    value: u32,
    degrees_max: u32,
    [positive, negative]: [&str; 2],
    out: &mut String,
) -> Option<()> {
    let direction = if value < MIDDLE { negative } else { positive };
    let rest = value.abs_diff(MIDDLE);
    if rest > degrees_max * DEGREE {
        return None;
    }
    let (degrees, minutes, thousandths) = (rest / DEGREE, rest / 60_000 % 60, rest % 60_000);
    let (seconds, part) = (thousandths / 1000, thousandths % 1000);
    write!(out, "{degrees} {minutes} {seconds}.{part:03} {direction} ").ok()
}
