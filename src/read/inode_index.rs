//! Looks up the index of an inode by its number. The lookup must be fast, because each name needs it.

use crate::units::InodeNr;

/// Sorted inode numbers, with a table of starting points for the search.
#[derive(Debug)]
pub(super) struct InodeIndex {
    numbers: Vec<InodeNr>,
    /// For each value of the high bits, the number of inode numbers whose high bits are lower. It has at most
    /// about as many elements as `numbers`.
    starts: Vec<u32>,
    /// The number of low bits that are ignored in `starts`.
    shift: u32,
}

impl InodeIndex {
    /// Creates the index of sorted numbers.
    pub(super) fn new(numbers: Vec<InodeNr>) -> Self {
        let last = numbers.last().map_or(0, |number| number.0);
        let most = numbers.len().max(1);
        let shift = (0..u32::BITS).find(|shift| (last >> shift) as usize <= most).unwrap_or(0);
        let mut starts = vec![0; (last >> shift) as usize + 2];
        for number in &numbers {
            starts[(number.0 >> shift) as usize + 1] += 1;
        }
        let mut below = 0;
        for start in &mut starts {
            below += *start;
            *start = below;
        }
        Self { numbers, starts, shift }
    }

    /// Returns the index of an inode number.
    pub(super) fn of(&self, number: InodeNr) -> Option<usize> {
        let place = (number.0 >> self.shift) as usize;
        let &[start, end] = self.starts.get(place..)?.first_chunk()?;
        let (start, end) = (start as usize, end as usize);
        self.numbers[start..end].binary_search(&number).ok().map(|index| start + index)
    }

    /// Returns the inode number at an index.
    pub(super) fn number(&self, index: usize) -> Option<InodeNr> {
        self.numbers.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_and_others_are_not() {
        for numbers in [&[][..], &[2], &[2, 11, 12, 13], &[2, 11, 5000, 5001, 70_000, u32::MAX]] {
            let index = InodeIndex::new(numbers.iter().copied().map(InodeNr).collect());
            for (place, number) in numbers.iter().enumerate() {
                assert_eq!(index.of(InodeNr(*number)), Some(place));
                assert_eq!(index.number(place), Some(InodeNr(*number)));
                for other in [number.wrapping_sub(1), number.wrapping_add(1), number ^ 1 << 31] {
                    assert_eq!(index.of(InodeNr(other)).is_some(), numbers.contains(&other), "{other}");
                }
            }
            assert!(index.starts.len() <= numbers.len() + 3);
        }
    }
}
