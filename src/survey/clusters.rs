//! Allocates whole clusters: in a cluster with content, a block of zeros needs no additional space, but a
//! hole would need an additional extent.

use std::ops::Range;

use super::run_list::RunList;
use super::windows::cut;
use crate::tree::{Bytes, Run};

/// A file that is stored in whole clusters.
pub(super) struct ClusteredFile<'t> {
    /// The length of the file in blocks. Blocks past the end are not filled.
    pub blocks: u64,
    /// The number of blocks in a cluster.
    pub cluster: u64,
    /// The runs of the input.
    pub input: &'t [Run],
}

impl ClusteredFile<'_> {
    /// Adds runs to `stored`, and fills their clusters with zeros. Returns the number of added zero blocks
    /// that are allocated in the input. These blocks do not become holes.
    pub(super) fn fill(&self, runs: &[Run], stored: &mut RunList<'_>) -> u64 {
        let Self { blocks, cluster, .. } = *self;
        // The end of the last added run, and the end of its cluster.
        let (mut next, mut end) = (0, 0);
        let mut kept = 0;
        for run in runs {
            let start = u64::from(run.logical);
            kept += self.add_zeros(next..end.min(start), stored);
            kept += self.add_zeros(end.max(start / cluster * cluster)..start.min(blocks), stored);
            stored.push(*run);
            (next, end) = (run.end(), run.end().next_multiple_of(cluster).min(blocks));
        }
        kept + self.add_zeros(next..end, stored)
    }

    /// Adds blocks of zeros. Returns the number of these blocks that are allocated in the input.
    fn add_zeros(&self, blocks: Range<u64>, stored: &mut RunList<'_>) -> u64 {
        let count = blocks.end.saturating_sub(blocks.start);
        // Logical block numbers have 32 bits, so no file has blocks past that.
        let (Ok(logical), Ok(count @ 1..)) = (u32::try_from(blocks.start), u32::try_from(count)) else {
            return 0;
        };
        stored.push(Run::new(logical, count, Bytes::Zeros));
        let from = self.input.partition_point(|run| run.end() <= blocks.start);
        self.input[from..].iter().map_while(|run| cut(run, &blocks)).map(|run| u64::from(run.count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::BlockNr;

    fn run(logical: u32, count: u32, block: Option<u64>) -> Run {
        Run::new(logical, count, block.map_or(Bytes::Zeros, |block| Bytes::At(BlockNr(block))))
    }

    fn filled(runs: &[Run], blocks: u64, input: &[Run], punched: u64) -> (Vec<Run>, u64) {
        let mut list = Vec::new();
        let mut stored = RunList::new(&[], &mut list);
        let kept = ClusteredFile { blocks, cluster: 8, input }.fill(runs, &mut stored);
        stored.finish();
        (list, punched - kept)
    }

    /// Uses a file of 30 blocks in clusters of 8. Blocks 0 to 17 and 28 are allocated in the input.
    #[test]
    fn zeros_in_clusters_with_content_are_stored() {
        let runs = [run(2, 1, Some(102)), run(4, 2, Some(104)), run(28, 1, Some(300))];
        let expected = vec![
            run(0, 2, None),
            run(2, 1, Some(102)),
            run(3, 1, None),
            run(4, 2, Some(104)),
            run(6, 2, None),
            run(24, 4, None),
            run(28, 1, Some(300)),
            run(29, 1, None),
        ];
        // The input has 15 zero blocks. Blocks 0, 1, 3, 6 and 7 of them are stored.
        let input = [run(0, 18, Some(100)), run(28, 1, Some(300))];
        assert_eq!(filled(&runs, 30, &input, 15), (expected, 10));
        // In a file of 3 blocks, blocks past the end (a Merkle tree) are unchanged.
        let runs = [run(1, 1, Some(9)), run(6, 1, Some(10)), run(17, 2, None)];
        let expected =
            vec![run(0, 1, None), run(1, 1, Some(9)), run(2, 1, None), run(6, 1, Some(10)), run(17, 2, None)];
        assert_eq!(filled(&runs, 3, &[], 0), (expected, 0));
        let runs = [run(6, 1, Some(9)), run(9, 1, Some(10))];
        let expected =
            vec![run(0, 6, None), run(6, 1, Some(9)), run(7, 2, None), run(9, 1, Some(10)), run(10, 2, None)];
        assert_eq!(filled(&runs, 12, &[], 0), (expected, 0));
    }
}
