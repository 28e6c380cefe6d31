//! Where an inode's blocks lie: an extent tree or a block map, as one list of runs.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use smallvec::SmallVec;

use super::claims::Claim;
use crate::error::{Location, Result, Structure};
use crate::ondisk::features::{Incompat, RoCompat};
use crate::ondisk::inode::{Inode, InodeFlags};
use crate::source::{RangeEdit, Source};
use crate::tree::Run;
use crate::units::{BlockNr, InodeNr, count_clusters};

/// The blocks of an inode.
#[derive(Debug, Default)]
pub struct FileMap {
    /// The blocks of its content, in logical order; holes are left out.
    pub runs: SmallVec<[Run; 4]>,
    /// The blocks of the map itself.
    pub nodes: SmallVec<[BlockNr; 2]>,
}

/// How often each block may be shared on average with `shared_blocks`: far more than fits once each
/// file has blocks of its own.
const SHARED_TIMES: u64 = 16;

/// How many blocks all maps together may still name: no more than there are. It bounds the work
/// on an image whose maps name the same blocks over and over; and since a sparse image may have any number of
/// blocks, each block is part of one map, once.
#[derive(Debug)]
pub struct Budget {
    left: AtomicU64,
    nodes: Mutex<HashSet<BlockNr>>,
}

impl Budget {
    /// The budget of an image.
    pub fn new(source: &Source<'_>) -> Self {
        let shared = source.features().ro_compat.contains(RoCompat::SHARED_BLOCKS);
        let times = if shared { SHARED_TIMES } else { 1 };
        let left = AtomicU64::new(source.geometry.blocks_count * times);
        Self { left, nodes: Mutex::default() }
    }

    /// Takes a block of a map itself.
    pub fn take_node(&self, inode: InodeNr, block: BlockNr) -> Result<()> {
        self.take(inode, 1)?;
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.insert(block) {
            return Ok(());
        }
        Err(Location::of(Structure::FileMap)
            .inode(inode)
            .block(block)
            .wrong("is part of this map twice, or also claimed by another one"))
    }

    /// Takes blocks from the budget.
    pub fn take(&self, inode: InodeNr, blocks: u64) -> Result<()> {
        let taken =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(blocks));
        match taken {
            Ok(_) => Ok(()),
            Err(_) => Err(Location::of(Structure::FileMap)
                .inode(inode)
                .wrong("names blocks that other files name too: all maps together name more than there are")),
        }
    }
}

/// The block of the image that is a logical block of some runs; `None` for a hole.
pub fn block_at(runs: &[Run], logical: u32) -> Option<BlockNr> {
    let index = runs.partition_point(|run| run.end() <= logical.into());
    let run = runs.get(index)?;
    Some(BlockNr(run.physical().0 + u64::from(logical.checked_sub(run.logical)?)))
}

/// Reads the map of an inode.
pub fn read(source: &Source<'_>, budget: &Budget, number: InodeNr, inode: &Inode) -> Result<FileMap> {
    let stored = read_stored(source, budget, number, inode)?;
    let edits = source.fast_commits().inodes.get(&number).map_or(&[][..], |inode| &inode.edits);
    let map = if edits.is_empty() { stored } else { edited(stored, edits) };
    map.check_clusters(number, source.geometry.blocks_per_cluster)?;
    Ok(map)
}

/// Reads the map that the image holds.
fn read_stored(source: &Source<'_>, budget: &Budget, number: InodeNr, inode: &Inode) -> Result<FileMap> {
    if inode.flags().contains(InodeFlags::EXTENTS) {
        if !source.features().incompat.contains(Incompat::EXTENTS) {
            return Err(Location::of(Structure::Inode)
                .inode(number)
                .wrong("has the EXTENTS flag without the extent feature"));
        }
        super::extent_tree::read(source, budget, number, inode)
    } else {
        let map = super::block_map::read(source, budget, number, inode)?;
        let empty = map.runs.is_empty() && map.nodes.is_empty();
        if !empty && source.features().ro_compat.contains(RoCompat::BIGALLOC) {
            return Err(Location::of(Structure::Inode)
                .inode(number)
                .wrong("has a block map, but with bigalloc there are only extent trees"));
        }
        Ok(map)
    }
}

/// A map as fast commits leave it: its nodes may be anything's by now.
fn edited(map: FileMap, edits: &[RangeEdit]) -> FileMap {
    let mut runs: BTreeMap<u32, Run> = map.runs.into_iter().map(|run| (run.logical, run)).collect();
    for edit in edits {
        // The ends of runs and edits are below 2^32.
        let end = edit.logical + edit.count;
        let before = runs.range(..edit.logical).next_back().map(|(_, run)| *run);
        if let Some(run) = before.filter(|run| run.logical + run.count > edit.logical) {
            runs.insert(run.logical, run.part(run.logical, edit.logical - run.logical));
            if run.logical + run.count > end {
                let tail = run.from(end);
                runs.insert(end, tail);
            }
        }
        while let Some((first, run)) = runs.range(edit.logical..end).next().map(|(first, run)| (*first, *run))
        {
            runs.remove(&first);
            if run.logical + run.count > end {
                let tail = run.from(end);
                runs.insert(end, tail);
            }
        }
        if let Some((physical, unwritten)) = edit.mapped {
            runs.insert(edit.logical, Run::in_blocks(edit.logical, edit.count, physical, unwritten));
        }
    }
    let mut map = FileMap::default();
    runs.into_values().for_each(|run| map.push(run));
    map
}

impl FileMap {
    /// Appends blocks, and joins them with the last run where they continue it.
    pub fn push(&mut self, run: Run) {
        match self.runs.last_mut() {
            Some(last) if last.goes_on_in(&run) && last.count.checked_add(run.count).is_some() => {
                last.count += run.count;
            }
            _ => self.runs.push(run),
        }
    }

    /// Drops the logical blocks from `end` on, and tells them.
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

    /// Drops a range of logical blocks, and reports the runs that lay in it.
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

    /// Checks that each block lies at the same place in its cluster, of so many blocks, as in the
    /// file, and that one logical cluster is one cluster.
    fn check_clusters(&self, number: InodeNr, cluster: u64) -> Result<()> {
        let at = |block| Location::of(Structure::FileMap).inode(number).block(block);
        // The first logical and the first physical block of the cluster that the last run ended in.
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

    /// The claims on all blocks of the map.
    pub fn claims(&self, owner: InodeNr) -> impl Iterator<Item = Claim> + use<'_> {
        let content = self.runs.iter().map(move |run| Claim::of_content(owner, run));
        content.chain(self.own_claims(owner))
    }

    /// The claims on the blocks of the map itself.
    pub fn own_claims(&self, owner: InodeNr) -> impl Iterator<Item = Claim> + use<'_> {
        self.nodes.iter().map(move |block| Claim::of_inode(owner, *block, 1))
    }

    /// The number of blocks, in whole clusters of so many blocks, that are allocated for content and
    /// map.
    pub fn blocks(&self, cluster: u64) -> u64 {
        let runs = self.runs.iter().map(|run| (run.logical, run.count));
        (self.nodes.len() as u64 + count_clusters(runs, cluster)) * cluster
    }

    /// The number of logical blocks, if the map is one dense sequence of written blocks from 0 on.
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
    fn edits_cut_runs_and_put_others_in() {
        let map =
            || FileMap { runs: smallvec![run(0, 10, 100), run(20, 10, 200)], nodes: smallvec![BlockNr(5)] };
        let hole = |logical, count| RangeEdit { logical, count, mapped: None };
        let put = |logical, count, to| RangeEdit { logical, count, mapped: Some((BlockNr(to), false)) };
        let of = |edits: &[RangeEdit]| edited(map(), edits).runs.into_vec();
        assert_eq!(of(&[hole(3, 4)]), [run(0, 3, 100), run(7, 3, 107), run(20, 10, 200)]);
        assert_eq!(of(&[hole(5, 20)]), [run(0, 5, 100), run(25, 5, 205)]);
        assert_eq!(of(&[hole(0, u32::MAX)]), []);
        assert_eq!(of(&[put(10, 2, 110)]), [run(0, 12, 100), run(20, 10, 200)]);
        assert_eq!(of(&[put(8, 14, 300)]), [run(0, 8, 100), run(8, 14, 300), run(22, 8, 202)]);
        assert_eq!(of(&[hole(0, 30), put(4, 1, 7)]), [run(4, 1, 7)]);
        assert!(edited(map(), &[hole(0, 1)]).nodes.is_empty());
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
