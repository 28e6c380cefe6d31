//! Joins sorted ranges of numbers and runs of blocks, and finds the gaps between ranges.

use std::fmt;
use std::ops::Range;

/// A range or run that can be joined with the next one.
pub(crate) trait Join {
    /// Extends `self` by `next` if `next` starts at the end of `self`. Returns whether `self` was extended.
    fn join(&mut self, next: &Self) -> bool;
}

impl<T: Copy + PartialEq> Join for Range<T> {
    fn join(&mut self, next: &Self) -> bool {
        let touches = self.end == next.start;
        if touches {
            self.end = next.end;
        }
        touches
    }
}

/// Appends a range, or extends the last range if the new range continues it.
pub(crate) fn push_joined<T: Join>(ranges: &mut Vec<T>, next: T) {
    if !ranges.last_mut().is_some_and(|last| last.join(&next)) {
        ranges.push(next);
    }
}

/// The location of a run's first block, in the input or the output.
pub trait BlockPlace: Copy + PartialEq {
    /// Returns the location `blocks` blocks after this one; `None` if there is no such block.
    fn later(self, blocks: u32) -> Option<Self>;
}

/// Consecutive logical blocks of a file in consecutive blocks of an image.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockRun<P> {
    /// The first logical block.
    pub logical: u32,
    /// The number of blocks.
    pub count: u32,
    place: P,
}

impl<P> BlockRun<P> {
    /// Creates a run whose first block is at `place`.
    pub const fn at(logical: u32, count: u32, place: P) -> Self {
        Self { logical, count, place }
    }

    /// Returns the logical block after the last one.
    pub fn end(&self) -> u64 {
        u64::from(self.logical) + u64::from(self.count)
    }
}

impl<P: BlockPlace> BlockRun<P> {
    /// Returns the location of the first block.
    pub fn place(&self) -> P {
        self.place
    }

    /// Returns the part of the run with `count` blocks that starts at the logical block `logical`.
    pub fn part(&self, logical: u32, count: u32) -> Self {
        let place = self.place.later(logical - self.logical);
        Self { logical, count, place: place.expect("all blocks of a run have a place") }
    }

    /// Returns the part of the run from the logical block `logical` to the end.
    pub fn from(&self, logical: u32) -> Self {
        self.part(logical, self.count - (logical - self.logical))
    }

    /// Returns whether `next` continues this run, both in the file and in the image.
    pub fn goes_on_in(&self, next: &Self) -> bool {
        self.end() == u64::from(next.logical) && self.place.later(self.count) == Some(next.place)
    }
}

impl<P: fmt::Debug> fmt::Debug for BlockRun<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}: {:?}", self.logical, self.count, self.place)
    }
}

impl<P: BlockPlace> Join for BlockRun<P> {
    /// Joins `next` to this run if it continues the run, and if the total number of blocks fits into a `u32`.
    fn join(&mut self, next: &Self) -> bool {
        let count = self.count.checked_add(next.count).filter(|_| self.goes_on_in(next));
        if let Some(count) = count {
            self.count = count;
        }
        count.is_some()
    }
}

/// Returns the location of a logical block; `None` for a hole. `runs` are the runs of the file, which must be
/// in logical order.
pub(crate) fn place_of<P: BlockPlace>(runs: &[BlockRun<P>], logical: u32) -> Option<P> {
    let run = runs.get(runs.partition_point(|run| run.end() <= logical.into()))?;
    run.place.later(logical.checked_sub(run.logical)?)
}

/// Returns the parts of `0..length` outside the given ranges, in order. The ranges may overlap, and may end
/// past `length`.
pub(crate) fn outside(mut ranges: Vec<Range<u64>>, length: u64) -> Vec<Range<u64>> {
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

    /// Models a block number, or with `None` a location that no other location follows.
    impl BlockPlace for Option<u64> {
        fn later(self, blocks: u32) -> Option<Self> {
            match self {
                Some(block) => Some(Some(block + u64::from(blocks))),
                None => (blocks == 0).then_some(None),
            }
        }
    }

    #[test]
    fn runs_go_on_in_the_file_and_in_the_image() {
        let run = |logical, count, block| BlockRun::at(logical, count, block);
        let joined = |runs: &[BlockRun<Option<u64>>]| {
            let mut joined = Vec::new();
            runs.iter().for_each(|run| push_joined(&mut joined, *run));
            joined
        };
        assert_eq!(joined(&[run(0, 2, Some(7)), run(2, 3, Some(9))]), [run(0, 5, Some(7))]);
        for apart in [
            [run(0, 2, Some(7)), run(3, 3, Some(9))],
            [run(0, 2, Some(7)), run(2, 3, Some(10))],
            [run(0, 1, None), run(1, 1, None)],
            [run(0, u32::MAX, Some(7)), run(u32::MAX, 1, Some(7 + u64::from(u32::MAX)))],
        ] {
            assert_eq!(joined(&apart), apart);
        }
    }

    #[test]
    fn parts_of_runs_have_their_own_places() {
        let runs = [BlockRun::at(2, 4, Some(10)), BlockRun::at(8, 1, None)];
        assert_eq!(runs[0].part(3, 2), BlockRun::at(3, 2, Some(11)));
        assert_eq!(runs[0].from(5), BlockRun::at(5, 1, Some(13)));
        let places: Vec<_> = (0..10).map(|logical| place_of(&runs, logical)).collect();
        let of_first = (10..14).map(|block| Some(Some(block)));
        let expected: Vec<_> =
            [None; 2].into_iter().chain(of_first).chain([None, None, Some(None), None]).collect();
        assert_eq!(places, expected);
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
