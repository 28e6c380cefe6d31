//! Parses the values of options.

use std::num::NonZeroUsize;

use anyhow::{Context as _, Result, bail, ensure};
use ext4_canon::{FeatureChanges, Inodes, Reserved, SizePolicy, UuidPolicy};
use uuid::Uuid;

/// The maximum number of threads. A larger number is probably a typing error.
const MAX_THREADS: usize = 4096;

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
        // `Uuid::try_parse` also accepts other notations; accept only the usual notation with hyphens.
        _ if text.len() == 36 => Ok(UuidPolicy::Given(Uuid::try_parse(text)?.into_bytes())),
        _ => bail!("expected content, keep, or a UUID like 01234567-89ab-cdef-0123-456789abcdef"),
    }
}

/// Parses a number of threads.
///
/// # Errors
///
/// A message if the number is 0 or too large, or if the text is not a number.
pub fn threads(text: &str) -> Result<NonZeroUsize> {
    text.parse()
        .ok()
        .filter(|number: &NonZeroUsize| number.get() <= MAX_THREADS)
        .with_context(|| format!("expected a number from 1 to {MAX_THREADS}"))
}

/// Parses a sector size in bytes.
pub fn sector_size(text: &str) -> Result<u64> {
    text.parse().ok().filter(|size| [512, 4096].contains(size)).context("not 512 or 4096")
}

/// Parses a number of bytes, with an optional unit: `K` and `KiB` mean 1024 bytes, `KB` means 1000 bytes, and
/// so on.
pub fn bytes(text: &str) -> Result<u64> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number = digits.parse::<u64>().ok();
    number
        .zip(unit_bytes(&unit.to_ascii_lowercase()))
        .and_then(|(number, unit)| number.checked_mul(unit))
        .context("expected a number of bytes, such as 1048576, 1024K, 1M, 1MiB or 1MB (1000000)")
}

fn unit_bytes(unit: &str) -> Option<u64> {
    if unit.is_empty() {
        return Some(1);
    }
    let power = ["k", "m", "g", "t"].iter().position(|prefix| unit.starts_with(prefix))? as u32 + 1;
    match &unit[1..] {
        "" | "ib" => Some(1 << (10 * power)),
        "b" => Some(1000_u64.pow(power)),
        _ => None,
    }
}

/// Parses the value of `--size`.
pub fn size(text: &str) -> Result<SizePolicy> {
    match (text, text.strip_prefix('+')) {
        ("min", _) => Ok(SizePolicy::Smallest),
        (_, Some(more)) => bytes(more).map(SizePolicy::More),
        _ => bytes(text).map(SizePolicy::Bytes),
    }
}

/// Parses the size of a block, cluster or inode, which is a power of two.
pub fn power_of_two(text: &str) -> Result<u32> {
    let value = u32::try_from(bytes(text)?).ok();
    value
        .filter(|value| value.is_power_of_two() && *value >= 128)
        .context("not a power of two from 128 to 2G")
}

/// Parses features to set and to clear.
pub fn features(text: &str) -> Result<FeatureChanges> {
    text.parse().map_err(anyhow::Error::msg)
}

/// Parses a number of inodes.
pub fn inodes(text: &str) -> Result<Inodes> {
    if text == "min" {
        return Ok(Inodes::Fewest);
    }
    text.parse().map(Inodes::Count).ok().context("expected min, or a number of inodes")
}

/// Parses a number or a percentage of reserved blocks. A percentage has up to three decimals.
pub fn reserved(text: &str) -> Result<Reserved> {
    const EXPECTED: &str = "expected a percentage up to 50%, or a number of blocks";
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let Some(percent) = text.strip_suffix('%') else {
        ensure!(is_number(text), EXPECTED);
        return text.parse().map(Reserved::Blocks).ok().context(EXPECTED);
    };
    let (whole, decimals) = percent.split_once('.').unwrap_or((percent, "0"));
    ensure!(is_number(whole) && is_number(decimals) && decimals.len() <= 3, EXPECTED);
    let share = format!("{whole}{decimals:0<3}").parse().ok();
    share.filter(|share| *share <= 50_000).map(Reserved::Share).context(EXPECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("0").unwrap(), SizePolicy::Bytes(0));
        assert_eq!(size("1048577").unwrap(), SizePolicy::Bytes(1_048_577));
        assert_eq!(size("3k").unwrap(), SizePolicy::Bytes(3072));
        assert_eq!(size("+2T").unwrap(), SizePolicy::More(2 << 40));
        for (text, expected) in
            [("1GiB", 1 << 30), ("10MB", 10_000_000), ("64m", 64 << 20), ("2kb", 2000), ("1tib", 1 << 40)]
        {
            assert_eq!(size(text).unwrap(), SizePolicy::Bytes(expected), "{text}");
        }
        assert_eq!(size("min").unwrap(), SizePolicy::Smallest);
        for bad in [
            "",
            "+",
            "K",
            "-1",
            "++1",
            "1.5M",
            "1P",
            "1MiBB",
            "1MI",
            "1B",
            "Min",
            "18446744073709551616",
            "16777216T",
            "1 M",
            "½",
        ] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shares_have_decimals() {
        for (text, share) in [("5%", 5000), ("0%", 0), ("2.5%", 2500), ("0.125%", 125), ("50%", 50_000)] {
            assert_eq!(reserved(text).unwrap(), Reserved::Share(share), "{text}");
        }
        assert_eq!(reserved("1000").unwrap(), Reserved::Blocks(1000));
        for bad in ["", "%", "-1%", "51%", "1.%", ".5%", "1.2345%", "1 %", "+3", "x"] {
            assert!(reserved(bad).is_err(), "{bad}");
        }
    }
}
