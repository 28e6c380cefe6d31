//! Represents the blocks of an inode as a list of runs, from an extent tree or a block map.

use std::ops::Range;

use smallvec::SmallVec;

use crate::error::{Location, Result, Structure};
use crate::ranges::Join;
use crate::tree::Run;
use crate::units::{BlockNr, InodeNr, count_clusters};

/// The blocks of an inode: the blocks of its content, and the blocks of the map itself.
#[derive(Debug, Default)]
pub struct FileMap {
    /// The blocks of the content, in logical order, without holes.
    pub runs: SmallVec<[Run; 4]>,
    /// The blocks of the map itself: extent tree nodes or indirect blocks.
    pub nodes: SmallVec<[BlockNr; 2]>,
}

impl FileMap {
    /// Appends a run, or extends the last run if the new one continues it.
    pub fn push(&mut self, run: Run) {
        if !self.runs.last_mut().is_some_and(|last| last.join(&run)) {
            self.runs.push(run);
        }
    }

    /// Removes the logical blocks at or after `end`, and calls `dropped` with each removed run.
    pub fn cut(&mut self, end: u64, mut dropped: impl FnMut(Run)) {
        while let Some(run) = self.runs.last_mut().filter(|run| run.end() > end) {
            match u32::try_from(end.saturating_sub(run.logical.into())) {
                Ok(count @ 1..) => {
                    dropped(run.from(run.logical + count));
                    run.count = count;
                }
                _ => {
                    dropped(*run);
                    self.runs.pop();
                }
            }
        }
    }

    /// Removes a range of logical blocks, and calls `dropped` with each removed run.
    pub fn punch(&mut self, range: Range<u64>, mut dropped: impl FnMut(Run)) {
        let within = |run: &Run| u64::from(run.logical) < range.end && run.end() > range.start;
        if range.is_empty() || !self.runs.iter().any(within) {
            return;
        }
        for run in std::mem::take(&mut self.runs) {
            if !within(&run) {
                self.runs.push(run);
                continue;
            }
            let first = u64::from(run.logical);
            let narrow = |count: u64| u32::try_from(count).expect("fits: no more blocks than the run has");
            let before = narrow(range.start.max(first) - first);
            let until = narrow(range.end.min(run.end()) - first);
            if before > 0 {
                self.runs.push(run.part(run.logical, before));
            }
            dropped(run.part(run.logical + before, until - before));
            if until < run.count {
                self.runs.push(run.from(run.logical + until));
            }
        }
    }

    /// Checks that each block has the same position in its physical cluster as in its logical cluster, and
    /// that all blocks of a logical cluster are in the same physical cluster. Clusters have `cluster` blocks.
    pub fn check_clusters(&self, number: InodeNr, cluster: u64) -> Result<()> {
        let at = |block| Location::of(Structure::FileMap).inode(number).block(block);
        // The first logical block and the first physical block of the last cluster of the last run.
        let mut last = None;
        for run in &self.runs {
            let (logical, physical) = (u64::from(run.logical), run.physical().0);
            let (place, expected) = (physical % cluster, logical % cluster);
            if place != expected {
                return Err(at(run.physical()).value("the place in its cluster", place, expected));
            }
            if last.is_some_and(|(file, disk)| file == logical - place && disk != physical - place) {
                return Err(at(run.physical()).wrong("has blocks of one logical cluster in two clusters"));
            }
            let end = u64::from(run.count) - 1;
            last = Some(((logical + end) / cluster * cluster, (physical + end) / cluster * cluster));
        }
        Ok(())
    }

    /// Returns the number of blocks that are allocated for content and map, in whole clusters of `cluster`
    /// blocks.
    pub fn blocks(&self, cluster: u64) -> u64 {
        let runs = self.runs.iter().map(|run| (run.logical, run.count));
        (self.nodes.len() as u64 + count_clusters(runs, cluster)) * cluster
    }

    /// Returns the number of logical blocks; `None` if there are holes or unwritten blocks.
    pub fn dense_blocks(&self) -> Option<u64> {
        let mut next = 0;
        for run in &self.runs {
            if u64::from(run.logical) != next || run.unwritten() {
                return None;
            }
            next += u64::from(run.count);
        }
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;

    fn run(logical: u32, count: u32, physical: u64) -> Run {
        Run::in_blocks(logical, count, BlockNr(physical), false)
    }

    #[test]
    fn what_is_punched_is_reported() {
        let punched = |range: Range<u64>| {
            let mut map =
                FileMap { runs: smallvec![run(0, 10, 100), run(20, 10, 200)], nodes: smallvec![BlockNr(5)] };
            let mut dropped = Vec::new();
            map.punch(range, |run| dropped.push(run));
            assert_eq!(map.nodes[..], [BlockNr(5)]);
            (map.runs.into_vec(), dropped)
        };
        assert_eq!(
            punched(3..22),
            (vec![run(0, 3, 100), run(22, 8, 202)], vec![run(3, 7, 103), run(20, 2, 200)])
        );
        assert_eq!(
            punched(4..5),
            (vec![run(0, 4, 100), run(5, 5, 105), run(20, 10, 200)], vec![run(4, 1, 104)])
        );
        assert_eq!(punched(0..u64::MAX), (vec![], vec![run(0, 10, 100), run(20, 10, 200)]));
        for nothing in [10..20, 30..u64::MAX, 5..5] {
            assert_eq!(punched(nothing), (vec![run(0, 10, 100), run(20, 10, 200)], vec![]));
        }
    }

    #[test]
    fn a_logical_cluster_is_one_cluster() {
        let check = |runs: &[(u32, u64, u32)]| {
            let runs = runs.iter().map(|&(logical, physical, count)| run(logical, count, physical));
            let map = FileMap { runs: runs.collect(), nodes: smallvec![BlockNr(1)] };
            (map.check_clusters(InodeNr(12), 16).is_ok(), map.blocks(16))
        };
        assert_eq!(check(&[(3, 163, 2), (9, 169, 1), (16, 48, 17)]), (true, 64));
        assert_eq!(check(&[(3, 164, 2)]), (false, 32));
        assert_eq!(check(&[(3, 163, 2), (9, 185, 1)]), (false, 32));
        assert_eq!(check(&[(0, 160, 18), (30, 174, 1)]), (false, 48));
        assert_eq!(check(&[(0, 160, 18), (30, 190, 1)]), (true, 48));
    }
}
