//! Free blocks, taken lowest first.

use std::collections::BTreeMap;
use std::ops::Range;

/// Blocks in use, while static metadata finds its places.
#[derive(Debug, Default)]
pub(super) struct UsedBlocks(BTreeMap<u64, u64>);

impl UsedBlocks {
    /// Marks blocks, which must be free.
    pub(super) fn mark(&mut self, blocks: Range<u64>) {
        debug_assert!(self.is_free(blocks.clone()));
        let mut blocks = blocks;
        if let Some((&start, &end)) = self.0.range(..=blocks.start).next_back()
            && end == blocks.start
        {
            blocks.start = start;
        }
        if let Some(end) = self.0.remove(&blocks.end) {
            blocks.end = end;
        }
        self.0.insert(blocks.start, blocks.end);
    }

    /// The first used range that ends behind a block.
    fn first_ending_behind(&self, block: u64) -> Option<Range<u64>> {
        let before = self.0.range(..=block).next_back().filter(|(_, end)| **end > block);
        before.or_else(|| self.0.range(block..).next()).map(|(start, end)| *start..*end)
    }

    /// Whether blocks are all free.
    pub(super) fn is_free(&self, blocks: Range<u64>) -> bool {
        self.first_ending_behind(blocks.start).is_none_or(|used| used.start >= blocks.end)
    }

    /// The first block within a range from which on `count` blocks are free, all below `limit`.
    pub(super) fn first_fit(&self, range: Range<u64>, count: u64, limit: u64) -> Option<u64> {
        let mut start = range.start;
        while start < range.end && start + count <= limit {
            match self.first_ending_behind(start).filter(|used| used.start < start + count) {
                Some(used) => start = used.end,
                None => return Some(start),
            }
        }
        None
    }

    /// The clusters with blocks in use, as ranges of blocks, in order; neighbours may touch.
    fn clusters(&self, blocks: u64) -> impl Iterator<Item = Range<u64>> + use<'_> {
        let mut next = 0;
        self.0.iter().filter_map(move |(&start, &end)| {
            // The cluster that the last range ended in may also hold the start of this one.
            let range = (start / blocks * blocks).max(next)..end.next_multiple_of(blocks);
            next = range.end;
            Some(range).filter(|range| !range.is_empty())
        })
    }

    /// The number of clusters of so many blocks that hold a block in use.
    pub(super) fn count_clusters(&self, blocks: u64) -> u64 {
        self.clusters(blocks).map(|range| (range.end - range.start) / blocks).sum()
    }

    /// The clusters, of so many blocks, that lie below `limit` and from `start` on and hold no block
    /// in use.
    pub(super) fn free(&self, start: u64, limit: u64, cluster: u64) -> FreeBlocks {
        let mut free = Vec::new();
        let mut next = start;
        for used in self.clusters(cluster) {
            if used.start > next {
                free.push(next..used.start.min(limit));
            }
            next = next.max(used.end);
        }
        if next < limit {
            free.push(next..limit);
        }
        FreeBlocks { ranges: free, next: 0, limit, missing: 0 }
    }
}

/// What is left for everything that is not static metadata.
#[derive(Debug)]
pub struct FreeBlocks {
    /// Sorted; those before `next` are used up.
    pub(crate) ranges: Vec<Range<u64>>,
    next: usize,
    limit: u64,
    /// Blocks that were asked for but are not there.
    missing: u64,
}

impl FreeBlocks {
    /// Takes the lowest free blocks, as few ranges as possible of them.
    ///
    /// Where there are too few, the ranges go on behind the end of the image, so that the number of
    /// missing blocks can be told in the end.
    pub fn take(&mut self, mut count: u64, mut found: impl FnMut(Range<u64>)) {
        while count > 0 {
            let Some(range) = self.ranges.get_mut(self.next) else {
                let start = self.limit + self.missing;
                self.missing += count;
                found(start..start + count);
                return;
            };
            let taken = range.start..range.end.min(range.start + count);
            range.start = taken.end;
            if range.is_empty() {
                self.next += 1;
            }
            count -= taken.end - taken.start;
            found(taken);
        }
    }

    /// Takes the lowest range of so many blocks, or the lowest blocks where there is no such range.
    pub fn take_together(&mut self, count: u64, mut found: impl FnMut(Range<u64>)) {
        let fits = self.ranges.iter().skip(self.next).position(|range| range.end - range.start >= count);
        let Some(index) = fits.map(|index| index + self.next) else { return self.take(count, found) };
        let range = &mut self.ranges[index];
        let taken = range.start..range.start + count;
        range.start = taken.end;
        if range.is_empty() {
            self.ranges.remove(index);
        }
        found(taken);
    }

    /// Blocks that were asked for but are not there.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// What is free, in order.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges[self.next.min(self.ranges.len())..]
    }

    /// The number of free blocks.
    pub fn count(&self) -> u64 {
        self.ranges().iter().map(|range| range.end - range.start).sum()
    }

    /// The free ranges that lie in a range of blocks, cut to it.
    pub fn within(&self, blocks: Range<u64>) -> impl Iterator<Item = Range<u64>> + use<'_> {
        let ranges = self.ranges();
        let first = ranges.partition_point(|range| range.end <= blocks.start);
        let Range { start, end } = blocks;
        ranges[first..]
            .iter()
            .take_while(move |range| range.start < end)
            .map(move |range| range.start.max(start)..range.end.min(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(ranges: &[Range<u64>]) -> UsedBlocks {
        let mut used = UsedBlocks::default();
        ranges.iter().for_each(|range| used.mark(range.clone()));
        used
    }

    #[test]
    fn the_first_fit_skips_what_is_too_small() {
        let used = used(&[0..10, 12..20, 30..40]);
        assert_eq!(used.first_fit(0..100, 2, 100), Some(10));
        assert_eq!(used.first_fit(0..100, 3, 100), Some(20));
        assert_eq!(used.first_fit(0..100, 11, 100), Some(40));
        assert_eq!(used.first_fit(0..20, 3, 100), None);
        assert_eq!(used.first_fit(0..100, 61, 100), None);
    }

    #[test]
    fn a_cluster_with_any_block_in_use_is_not_free() {
        let used = used(&[0..1, 3..4, 7..9, 23..33]);
        assert_eq!(used.free(0, 64, 4).ranges(), [12..20, 36..64]);
        assert_eq!(used.count_clusters(4), 7);
        assert_eq!(used.free(0, 64, 1).ranges(), [1..3, 4..7, 9..23, 33..64]);
        assert_eq!(used.count_clusters(1), 14);
    }

    #[test]
    fn blocks_are_taken_lowest_first_and_together_where_they_fit() {
        let mut free = used(&[0..10, 12..20, 90..95]).free(0, 100, 1);
        let mut got = Vec::new();
        free.take_together(40, |range| got.push(range));
        free.take(5, |range| got.push(range));
        assert_eq!(got, [20..60, 10..12, 60..63]);
        assert_eq!(free.count(), 27 + 5);
        assert!(free.within(80..92).eq(std::iter::once(80..90)));
        free.take(40, |range| got.push(range));
        assert_eq!(got[3..], [63..90, 95..100, 100..108]);
        assert_eq!((free.missing(), free.count()), (8, 0));
    }
}
