//! Collects the blocks that the structures and files of the input claim, and checks that each block has at
//! most one claim and each cluster has one owner.

use std::ops::Range;

use rayon::slice::ParallelSliceMut;

use super::inodes::ReadInode;
use crate::error::{Error, Location, Result, Structure};
use crate::map::FileMap;
use crate::source::Source;
use crate::tree::Run;
use crate::units::{BlockNr, GroupNr, InodeNr};

/// A claim: consecutive blocks that one structure or inode uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The first block.
    pub start: BlockNr,
    /// The number of blocks, at least 1.
    pub count: u64,
    /// The inode that owns the blocks; `None` for static metadata.
    pub owner: Option<InodeNr>,
    /// The logical block of the first block, if the blocks are content; otherwise `None`.
    logical: Option<u32>,
}

impl Claim {
    /// Creates a claim of static metadata.
    pub fn of_metadata(start: u64, count: u64) -> Self {
        Self { start: BlockNr(start), count, owner: None, logical: None }
    }

    /// Creates a claim of an inode on blocks that are not content: extent tree nodes, indirect blocks, or its
    /// xattr block.
    pub fn of_inode(owner: InodeNr, start: BlockNr, count: u64) -> Self {
        Self { start, count, owner: Some(owner), logical: None }
    }

    /// Creates a claim of an inode on content.
    pub fn of_content(owner: InodeNr, run: &Run) -> Self {
        let count = run.count.into();
        Self { start: run.physical(), count, owner: Some(owner), logical: Some(run.logical) }
    }

    /// Returns the claims on the extent tree nodes or indirect blocks of a map.
    pub fn of_nodes(owner: InodeNr, map: &FileMap) -> impl Iterator<Item = Self> + use<'_> {
        map.nodes.iter().map(move |block| Self::of_inode(owner, *block, 1))
    }

    /// Returns the claims on all blocks of a map: content, and extent tree nodes or indirect blocks.
    pub fn of_map(owner: InodeNr, map: &FileMap) -> impl Iterator<Item = Self> + use<'_> {
        let content = map.runs.iter().map(move |run| Self::of_content(owner, run));
        content.chain(Self::of_nodes(owner, map))
    }

    /// Returns the logical block of the first block if the blocks are content; otherwise `None`.
    pub fn logical(&self) -> Option<u32> {
        self.logical
    }

    /// Returns the range of physical blocks.
    pub fn range(&self) -> Range<u64> {
        self.start.0..self.start.0 + self.count
    }

    /// Returns the key by which claims are sorted.
    fn key(&self) -> (BlockNr, u64, Option<InodeNr>, Option<u32>) {
        (self.start, self.count, self.owner, self.logical)
    }

    /// Returns whether a claim on later blocks may share the last cluster of this claim. Static metadata may
    /// share clusters, and so may content of the same logical cluster. All other blocks need separate
    /// clusters.
    fn may_share(&self, other: &Self) -> bool {
        // Blocks have the same position in their cluster as in the file, so equal distances mean the same
        // logical cluster.
        let distance = |claim: &Self| claim.logical.map(|logical| claim.start.0.wrapping_sub(logical.into()));
        match self.owner {
            None => other.owner.is_none(),
            Some(_) => {
                self.owner == other.owner && distance(self).is_some() && distance(self) == distance(other)
            }
        }
    }
}

/// Returns the error for a block or a cluster with two owners.
fn conflict(first: &Claim, second: &Claim, overlap: bool) -> Error {
    let owner = second.owner.or(first.owner);
    let other = if second.owner.is_some() { first.owner } else { None };
    let at = match owner {
        Some(inode) => Location::of(Structure::FileMap).inode(inode),
        None => Location::of(Structure::GroupDescriptor),
    };
    let by = other.map_or("filesystem metadata".to_owned(), |inode| format!("inode {inode}"));
    at.block(second.start).wrong(if overlap {
        format!("is also claimed by {by}")
    } else {
        format!("is in a cluster that is also claimed by {by}")
    })
}

/// The content of all regular files. There can be many runs, so they are used directly, without a claim for
/// each.
#[derive(Clone, Copy, Debug)]
pub struct FileRuns<'s> {
    /// The runs of all files.
    pub runs: &'s [Run],
    /// The inodes of these files.
    pub inodes: &'s [ReadInode],
}

impl FileRuns<'_> {
    /// An empty set of files.
    pub const NONE: Self = Self { runs: &[], inodes: &[] };

    /// Returns the owner of each run.
    fn owners(&self) -> Vec<InodeNr> {
        let mut owners = vec![InodeNr(0); self.runs.len()];
        for inode in self.inodes.iter().filter(|inode| inode.is_regular()) {
            owners[inode.runs.range()].fill(inode.number);
        }
        owners
    }
}

/// All claims on blocks of the input.
#[derive(Debug, Default)]
pub struct BlockClaims {
    /// The runs of regular files, as indices, sorted by their blocks.
    order: Vec<u32>,
    /// All claims that are not runs of regular files.
    others: Vec<Claim>,
}

impl BlockClaims {
    /// Returns the claims of superblocks, group descriptors, bitmaps and inode tables.
    pub fn of_metadata(source: &Source<'_>) -> Self {
        let geometry = &source.geometry;
        let mut others = Vec::new();
        let mut claim = |start: u64, count: u64| others.push(Claim::of_metadata(start, count));
        for (group, descriptor) in (0..geometry.groups).map(GroupNr).zip(&source.descriptors) {
            for range in geometry.head_ranges(group) {
                claim(range.start, range.end - range.start);
            }
            claim(descriptor.block_bitmap().0, 1);
            claim(descriptor.inode_bitmap().0, 1);
            claim(descriptor.inode_table().0, geometry.inode_table_blocks());
        }
        Self { order: Vec::new(), others }
    }

    /// Adds claims that are not runs of regular files.
    pub fn extend(&mut self, claims: impl IntoIterator<Item = Claim>) {
        self.others.extend(claims);
    }

    /// Sorts all claims, including those on content. Returns an error if a block is claimed twice, or if a
    /// cluster of `cluster` blocks has two owners.
    pub fn check(&mut self, content: FileRuns<'_>, cluster: u64) -> Result<()> {
        self.others.shrink_to_fit();
        self.others.par_sort_unstable_by_key(Claim::key);
        let count = u32::try_from(content.runs.len()).expect("fits: Inodes::check_counts refuses more runs");
        self.order = (0..count).collect();
        self.order.par_sort_unstable_by_key(|index| {
            let run = &content.runs[*index as usize];
            // The index orders equal runs, so that the reported error is always the same.
            (run.physical(), run.count, *index)
        });
        let may_touch =
            |first: &Range<u64>, second: &Range<u64>| first.end.next_multiple_of(cluster) > second.start;
        let mut last = 0..0;
        let mut ranges = self.claimed(content.runs).within(0, u64::MAX);
        if ranges.any(|range| may_touch(&std::mem::replace(&mut last, range.clone()), &range)) {
            // With clusters of one block, this code runs only if claims overlap.
            let owners = content.owners();
            let runs = self.order.iter().map(|index| *index as usize);
            let runs = runs.map(|index| Claim::of_content(owners[index], &content.runs[index]));
            let merged = || merged(runs.clone(), self.others.iter().copied(), Claim::key);
            for (first, second) in merged().zip(merged().skip(1)) {
                let (one, other) = (first.range(), second.range());
                let overlap = one.end > other.start;
                if overlap || (may_touch(&one, &other) && !first.may_share(&second)) {
                    return Err(conflict(&first, &second, overlap));
                }
            }
        }
        Ok(())
    }

    /// Returns the checked claims. `runs` must be the same runs as in the check.
    pub fn claimed<'s>(&'s self, runs: &'s [Run]) -> CheckedClaims<'s> {
        CheckedClaims { claims: self, runs }
    }

    /// Returns the claims that are not runs of files.
    pub fn others(&self) -> &[Claim] {
        &self.others
    }

    /// Returns whether the claims refer to runs of regular files. With the `shared_blocks` feature, they
    /// don't.
    pub fn has_runs(&self) -> bool {
        !self.order.is_empty()
    }

    /// Allows regular files to share content blocks, and merges their claims, so that each block is claimed
    /// once. Returns the number of additional blocks that the files need if they share no blocks.
    pub fn settle_shared(&mut self, content: FileRuns<'_>) -> u64 {
        let owners = content.owners();
        let claims = owners.iter().zip(content.runs).map(|(owner, run)| Claim::of_content(*owner, run));
        let mut shared: Vec<Claim> = claims.collect();
        let is_regular = |claim: &Claim| {
            let owner = claim.owner.filter(|_| claim.logical.is_some());
            owner.is_some_and(|owner| {
                let found = content.inodes.binary_search_by_key(&owner, |inode| inode.number);
                found.is_ok_and(|index| content.inodes[index].is_regular())
            })
        };
        shared.extend(self.others.extract_if(.., |claim| is_regular(claim)));
        shared.par_sort_unstable_by_key(Claim::key);
        let (mut end, mut saved) = (0, 0);
        for claim in shared {
            let start = claim.start.0.max(end);
            saved += claim.count.min(start - claim.start.0);
            if claim.range().end > start {
                end = claim.range().end;
                self.others.push(Claim { start: BlockNr(start), count: end - start, ..claim });
            }
        }
        saved
    }
}

/// Claims on blocks that passed the checks.
#[derive(Clone, Copy, Debug)]
pub struct CheckedClaims<'s> {
    claims: &'s BlockClaims,
    runs: &'s [Run],
}

impl<'s> CheckedClaims<'s> {
    /// Returns the claims that overlap a range of blocks, in order and cut to the range.
    pub fn within(self, start: u64, end: u64) -> impl Iterator<Item = Range<u64>> + Clone + use<'s> {
        let Self { claims: BlockClaims { order, others }, runs } = self;
        let range = |index: &u32| runs[*index as usize].blocks();
        let first = order.partition_point(|index| range(index).end <= start);
        let of_runs = order[first..].iter().map(move |index| runs[*index as usize].blocks());
        let first = others.partition_point(|claim| claim.range().end <= start);
        let of_others = others[first..].iter().map(Claim::range);
        merged(of_runs, of_others, |range| range.start)
            .take_while(move |range| range.start < end)
            .map(move |range| range.start.max(start)..range.end.min(end))
    }

    /// Returns an error if a block or cluster of an orphan also has another owner, because the orphan's
    /// blocks will be freed. Both sets of claims must already be checked separately.
    pub fn check_orphans(self, content: FileRuns<'_>, orphans: &BlockClaims, cluster: u64) -> Result<()> {
        for orphan in &orphans.others {
            let blocks = orphan.range();
            let (start, end) = (blocks.start / cluster * cluster, blocks.end.next_multiple_of(cluster));
            let Some(found) = self.within(start, end).next() else { continue };
            let has_it = |range: Range<u64>| range.contains(&found.start);
            let others = self.claims.others.iter().copied().find(|claim| has_it(claim.range()));
            let other = others.or_else(|| {
                let index = self.runs.iter().position(|run| has_it(run.blocks()))?;
                Some(Claim::of_content(*content.owners().get(index)?, &self.runs[index]))
            });
            if let Some(other) = other {
                let overlap = other.start.0 < blocks.end && blocks.start < other.range().end;
                return Err(conflict(&other, orphan, overlap));
            }
        }
        Ok(())
    }
}

/// Merges two sorted sequences.
fn merged<T: Clone, K: Ord>(
    one: impl Iterator<Item = T> + Clone,
    other: impl Iterator<Item = T> + Clone,
    key: impl Fn(&T) -> K + Clone,
) -> impl Iterator<Item = T> + Clone {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(first), Some(second)) if key(second) < key(first) => other.next(),
        (Some(_), _) => one.next(),
        (None, _) => other.next(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: InodeNr = InodeNr(12);

    fn content(logical: u32, physical: u64, count: u32) -> Claim {
        Claim::of_content(FILE, &Run::in_blocks(logical, count, BlockNr(physical), false))
    }

    /// Returns whether claims are valid with clusters of 16 blocks, and with clusters of one block.
    fn fits(claims: &[Claim]) -> (bool, bool) {
        let check = |cluster| {
            let mut claims = BlockClaims { others: claims.to_vec(), order: Vec::new() };
            claims.check(FileRuns::NONE, cluster).is_ok()
        };
        (check(16), check(1))
    }

    #[test]
    fn clusters_are_shared_by_one_logical_cluster_and_by_static_metadata() {
        let metadata = Claim::of_metadata;
        assert_eq!(fits(&[content(3, 163, 2), content(9, 169, 1), content(16, 176, 40)]), (true, true));
        assert_eq!(fits(&[metadata(0, 2), metadata(2, 40), metadata(43, 1)]), (true, true));
        // The second claim is in a different logical cluster of the same file.
        assert_eq!(fits(&[content(3, 163, 2), content(25, 169, 1)]), (false, true));
        let map = |block| Claim::of_inode(FILE, BlockNr(block), 1);
        assert_eq!(fits(&[content(3, 163, 2), map(169)]), (false, true));
        assert_eq!(fits(&[map(160), map(161)]), (false, true));
        assert_eq!(fits(&[map(160), map(176)]), (true, true));
        assert_eq!(fits(&[content(3, 163, 2), metadata(160, 1)]), (false, true));
        let other = Claim::of_inode(InodeNr(13), BlockNr(175), 1);
        assert_eq!(fits(&[content(3, 163, 2), other]), (false, true));
        assert_eq!(fits(&[content(3, 163, 2), content(4, 164, 1)]), (false, false));
        assert_eq!(fits(&[metadata(0, 2), metadata(1, 1)]), (false, false));
    }
}
