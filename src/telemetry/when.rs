//! Times as RFC 3339 writes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::format_description::well_known::Rfc3339;
use time::macros::{datetime, format_description};

const TO_THE_SECOND: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
const TO_THE_MILLISECOND: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// The last that has a year of four digits.
const LAST: OffsetDateTime = datetime!(9999-12-31 23:59:59 UTC);

/// UTC, to the millisecond where there are any: `2026-07-01T12:01:09.120Z`.
pub fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    written(since.as_secs(), since.subsec_millis())
}

/// The same of seconds since 1970.
pub fn rfc3339_of_secs(secs: u64) -> String {
    written(secs, 0)
}

/// Seconds since 1970, as metrics have times.
pub fn unix_secs(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Reads a time with any offset: `2026-07-01T12:01:09Z`, `2026-07-01T12:01:09.5+00:00`. None are before 1970.
pub fn parse(text: &str) -> Option<SystemTime> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let since = Duration::try_from(time - OffsetDateTime::UNIX_EPOCH).ok()?;
    Some(UNIX_EPOCH + since)
}

fn written(secs: u64, millis: u32) -> String {
    let whole = i64::try_from(secs).ok().and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok());
    let time = whole.map_or(LAST, |whole| whole + Duration::from_millis(millis.into()));
    let format = if time.millisecond() == 0 { TO_THE_SECOND } else { TO_THE_MILLISECOND };
    time.format(format).expect("every part that is written is there")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_back() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339_of_secs(secs), text);
            assert_eq!(parse(text), Some(UNIX_EPOCH + Duration::from_secs(secs)), "{text}");
        }
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(1_020)), "1970-01-01T00:00:01.020Z");
        // Nobody waits for it, and nothing fails by it.
        assert_eq!(rfc3339_of_secs(u64::MAX), "9999-12-31T23:59:59Z");
        let noon = UNIX_EPOCH + Duration::from_secs(1_767_268_800);
        for text in ["2026-01-01T12:00:00+00:00", "2026-01-01T13:00:00+01:00", "2026-01-01T12:00:00.000Z"] {
            assert_eq!(parse(text), Some(noon), "{text}");
        }
        for wrong in [
            "",
            "2026-02-30T00:00:00Z",
            "2026-1-01T00:00:00Z",
            "2026-01-01",
            "2026-01-01T24:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T00:00:00.xyzZ",
            "2026-01-01T00:00:00",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
