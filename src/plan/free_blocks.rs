//! Tracks used and free blocks, and allocates the lowest free blocks.

use std::collections::BTreeMap;
use std::ops::Range;

/// The blocks in use while static metadata is placed.
#[derive(Debug, Default)]
pub(super) struct UsedBlocks(BTreeMap<u64, u64>);

impl UsedBlocks {
    /// Marks free blocks as used.
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

    /// Returns the first used range that ends after `block`.
    fn first_ending_after(&self, block: u64) -> Option<Range<u64>> {
        let before = self.0.range(..=block).next_back().filter(|(_, end)| **end > block);
        before.or_else(|| self.0.range(block..).next()).map(|(start, end)| *start..*end)
    }

    /// Returns whether all blocks are free.
    pub(super) fn is_free(&self, blocks: Range<u64>) -> bool {
        self.first_ending_after(blocks.start).is_none_or(|used| used.start >= blocks.end)
    }

    /// Returns the first block of `range` at which `count` free blocks start. These blocks can extend past
    /// `range`, but not past `limit`.
    pub(super) fn first_fit(&self, range: Range<u64>, count: u64, limit: u64) -> Option<u64> {
        let mut start = range.start;
        while start < range.end && start + count <= limit {
            match self.first_ending_after(start).filter(|used| used.start < start + count) {
                Some(used) => start = used.end,
                None => return Some(start),
            }
        }
        None
    }

    /// Returns the clusters with used blocks, as sorted ranges of blocks. Ranges can be adjacent. `blocks` is
    /// the number of blocks per cluster.
    fn clusters(&self, blocks: u64) -> impl Iterator<Item = Range<u64>> + use<'_> {
        let mut next = 0;
        self.0.iter().filter_map(move |(&start, &end)| {
            // The range can start in the cluster in which the last range ended.
            let range = (start / blocks * blocks).max(next)..end.next_multiple_of(blocks);
            next = range.end;
            Some(range).filter(|range| !range.is_empty())
        })
    }

    /// Returns the number of clusters with used blocks. `blocks` is the number of blocks per cluster.
    pub(super) fn count_clusters(&self, blocks: u64) -> u64 {
        self.clusters(blocks).map(|range| (range.end - range.start) / blocks).sum()
    }

    /// Returns the clusters without used blocks between `start` and `limit`. `cluster` is the number of
    /// blocks per cluster.
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

/// The blocks that are free after static metadata is placed.
#[derive(Debug)]
pub struct FreeBlocks {
    /// The free ranges, sorted. Ranges before `next` are used up.
    pub(crate) ranges: Vec<Range<u64>>,
    next: usize,
    limit: u64,
    /// The number of requested blocks past the end of the filesystem.
    missing: u64,
}

impl FreeBlocks {
    /// Allocates the lowest free blocks, and passes them to `found` as ranges.
    ///
    /// If there are too few free blocks, the last range is past the end of the filesystem, and its length is
    /// added to `missing`.
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

    /// Allocates the lowest contiguous range of `count` blocks. If there is no such range, allocates the
    /// lowest free blocks.
    pub fn take_contiguous(&mut self, count: u64, mut found: impl FnMut(Range<u64>)) {
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

    /// Returns the number of requested blocks past the end of the filesystem.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Returns the free ranges, sorted.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges[self.next.min(self.ranges.len())..]
    }

    /// Returns the number of free blocks.
    pub fn count(&self) -> u64 {
        self.ranges().iter().map(|range| range.end - range.start).sum()
    }

    /// Returns the free ranges within a range of blocks.
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
        free.take_contiguous(40, |range| got.push(range));
        free.take(5, |range| got.push(range));
        assert_eq!(got, [20..60, 10..12, 60..63]);
        assert_eq!(free.count(), 27 + 5);
        assert!(free.within(80..92).eq(std::iter::once(80..90)));
        free.take(40, |range| got.push(range));
        assert_eq!(got[3..], [63..90, 95..100, 100..108]);
        assert_eq!((free.missing(), free.count()), (8, 0));
    }
}
