//! Searches for bytes that are not zero.

use std::ops::Range;

/// Returns whether all bytes are zero. For most other data, it returns after the first 64 bytes.
pub fn is_zero(bytes: &[u8]) -> bool {
    let (lines, rest) = bytes.as_chunks::<64>();
    let bits =
        |line: &[u8; 64]| line.as_chunks().0.iter().fold(0, |bits, word| bits | u128::from_ne_bytes(*word));
    lines.iter().all(|line| bits(line) == 0) && rest.iter().all(|byte| *byte == 0)
}

/// Returns the offset of the first byte that is not zero in the given ranges of `bytes`. A range that ends
/// past the end of `bytes` is skipped.
pub(crate) fn first_set_byte(bytes: &[u8], ranges: impl IntoIterator<Item = Range<u64>>) -> Option<u64> {
    const STEP: usize = 1 << 16;
    ranges.into_iter().find_map(|range| {
        let bytes = bytes.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)?;
        let (start, part) =
            (range.start..).step_by(STEP).zip(bytes.chunks(STEP)).find(|(_, part)| !is_zero(part))?;
        Some(start + part.iter().position(|byte| *byte != 0)? as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_seen_to_the_last_byte() {
        for length in [0, 1, 15, 16, 17, 4096, 4099] {
            let mut bytes = vec![0_u8; length];
            assert!(is_zero(&bytes));
            for index in 0..length.min(40) {
                bytes[length - 1 - index] = 1;
                assert!(!is_zero(&bytes), "{length} {index}");
                bytes[length - 1 - index] = 0;
            }
        }
    }

    #[test]
    fn the_first_set_byte_lies_in_a_range() {
        let mut bytes = vec![0; 200_000];
        (bytes[10], bytes[70_000], bytes[199_999]) = (1, 1, 1);
        let first =
            |ranges: &[(u64, u64)]| first_set_byte(&bytes, ranges.iter().map(|(start, end)| *start..*end));
        assert_eq!(first(&[(0, 200_000)]), Some(10));
        assert_eq!(first(&[(11, 65_536), (65_540, 200_000)]), Some(70_000));
        assert_eq!(first(&[(11, 70_000), (5, 5), (70_001, 199_999)]), None);
        assert_eq!(first(&[(199_999, 200_000)]), Some(199_999));
        assert_eq!(first(&[]), None);
    }
}
