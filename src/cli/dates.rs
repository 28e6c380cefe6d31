//! Formats times as dates.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Converts a time from seconds since 1970, with a fraction, to a date such as `2025-01-01T00:00:00Z`.
/// Returns the text unchanged if it is not such a time.
pub fn iso(seconds: &str) -> String {
    let date = nanoseconds(seconds).and_then(|time| OffsetDateTime::from_unix_timestamp_nanos(time).ok());
    date.and_then(|date| date.format(&Rfc3339).ok()).unwrap_or_else(|| seconds.to_owned())
}

fn nanoseconds(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (seconds, fraction) = digits.split_once('.')?;
    let fraction = fraction.parse::<i128>().ok().filter(|_| fraction.len() == 9)?;
    Some(sign * (seconds.parse::<i128>().ok()?.checked_mul(1_000_000_000)? + fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        assert_eq!(iso("1735689600.000000000"), "2025-01-01T00:00:00Z");
        assert_eq!(iso("1735689600.500000000"), "2025-01-01T00:00:00.5Z");
        assert_eq!(iso("-0.500000000"), "1969-12-31T23:59:59.5Z");
        // These are the first and the last time that an inode can store.
        assert_eq!(iso("-2147483648.000000000"), "1901-12-13T20:45:52Z");
        assert_eq!(iso("15032385535.999999999"), "2446-05-10T22:38:55.999999999Z");
        assert_eq!(iso("today"), "today");
    }
}
