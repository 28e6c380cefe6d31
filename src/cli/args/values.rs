//! Parsers for the values of options.

use std::num::NonZeroUsize;

use anyhow::{Context as _, Result, bail, ensure};
use ext4_canon::{SizePolicy, UuidPolicy};
use uuid::Uuid;

/// The maximum number of threads. A larger number is probably a typing error.
const MOST_THREADS: usize = 4096;

/// Parses a Unix time in seconds.
pub fn epoch(text: &str) -> Result<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    ensure!(is_number, "expected a number of seconds since 1970");
    text.parse().ok().context("that is too far from 1970")
}

/// Parses the value of `--uuid`.
pub fn uuid_policy(text: &str) -> Result<UuidPolicy> {
    match text {
        "content" => Ok(UuidPolicy::Content),
        "keep" => Ok(UuidPolicy::Keep),
        // `Uuid::try_parse` also accepts other notations; accept only the usual one with hyphens.
        _ if text.len() == 36 => Ok(UuidPolicy::Given(Uuid::try_parse(text)?.into_bytes())),
        _ => bail!("expected content, keep, or a UUID like 01234567-89ab-cdef-0123-456789abcdef"),
    }
}

/// Parses a number of threads.
///
/// # Errors
///
/// A message, if the number is 0 or too large, or the text is not a number.
pub fn threads(text: &str) -> Result<NonZeroUsize> {
    text.parse()
        .ok()
        .filter(|number: &NonZeroUsize| number.get() <= MOST_THREADS)
        .with_context(|| format!("expected a number from 1 to {MOST_THREADS}"))
}

/// Parses a sector size in bytes.
pub fn sector_size(text: &str) -> Result<u64> {
    text.parse().ok().filter(|size| [512, 4096].contains(size)).context("not 512 or 4096")
}

/// Parses a number of bytes, with an optional suffix for a power of 1024.
pub fn bytes(text: &str) -> Result<u64> {
    let (digits, power) = match text.char_indices().next_back().filter(|(_, unit)| !unit.is_ascii_digit()) {
        Some((end, unit)) => {
            let power = ['K', 'M', 'G', 'T'].iter().position(|known| *known == unit.to_ascii_uppercase());
            (&text[..end], power.map(|power| power + 1))
        }
        None => (text, Some(0)),
    };
    let number = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let bytes = number.and_then(|digits| digits.parse::<u64>().ok()).zip(power);
    bytes
        .and_then(|(number, power)| number.checked_mul(1 << (10 * power)))
        .context("expected a number of bytes, such as 1048576, 1024K or 1M")
}

/// Parses the value of `--size`.
pub fn size(text: &str) -> Result<SizePolicy> {
    match (text, text.strip_prefix('+')) {
        ("min", _) => Ok(SizePolicy::Smallest),
        (_, Some(more)) => bytes(more).map(SizePolicy::More),
        _ => bytes(text).map(SizePolicy::Bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_powers_of_1024() {
        assert_eq!(size("0").unwrap(), SizePolicy::Bytes(0));
        assert_eq!(size("1048577").unwrap(), SizePolicy::Bytes(1_048_577));
        assert_eq!(size("3k").unwrap(), SizePolicy::Bytes(3072));
        assert_eq!(size("+2T").unwrap(), SizePolicy::More(2 << 40));
        assert_eq!(size("min").unwrap(), SizePolicy::Smallest);
        for bad in [
            "",
            "+",
            "K",
            "-1",
            "++1",
            "1.5M",
            "1P",
            "1MB",
            "Min",
            "18446744073709551616",
            "16777216T",
            "1 M",
            "½",
        ] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
