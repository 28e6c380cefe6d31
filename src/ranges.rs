//! Ranges of numbers in order, joined or left out.

use std::ops::Range;

/// Adds a range behind others; it is joined with the last one if that ends where it begins.
pub fn push_joined<T: PartialEq>(ranges: &mut Vec<Range<T>>, next: Range<T>) {
    match ranges.last_mut() {
        Some(last) if last.end == next.start => last.end = next.end,
        _ => ranges.push(next),
    }
}

/// Returns the parts of `0..length` outside ranges, in order. The ranges may overlap, and go beyond the length.
pub fn outside(mut ranges: Vec<Range<u64>>, length: u64) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let (mut found, mut next) = (Vec::new(), 0);
    for range in ranges.into_iter().chain(std::iter::once(length..length)) {
        let start = range.start.min(length);
        if next < start {
            found.push(next..start);
        }
        next = next.max(range.end);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_are_joined() {
        let mut ranges = Vec::new();
        for next in [0..2, 2..3, 4..5, 5..9] {
            push_joined(&mut ranges, next);
        }
        assert_eq!(ranges, [0..3, 4..9]);
    }

    #[test]
    fn what_is_outside_ranges_is_in_order() {
        let ranges = vec![5..7, 0..2, 6..9, 7..8];
        assert_eq!(outside(ranges, 12), [2..5, 9..12]);
        assert_eq!(outside(vec![0..2, 2..12], 12), []);
        assert_eq!(outside(vec![0..2, 20..30], 12).as_slice(), std::slice::from_ref(&(2..12)));
        assert_eq!(outside(vec![2..3, 0..0], 3).as_slice(), std::slice::from_ref(&(0..2)));
    }
}
