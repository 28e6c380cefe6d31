//! Which blocks the structures and files of the input take, each at most once, and each cluster by one
//! owner.

use rayon::slice::ParallelSliceMut;

use crate::error::{Location, Result, Structure};
use crate::source::Source;
use crate::tree::Run;
use crate::units::{BlockNr, GroupNr, InodeNr};

/// Consecutive blocks with one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The first block.
    pub start: BlockNr,
    /// The number of blocks, at least 1.
    pub count: u64,
    /// The inode; `None` for static metadata.
    pub owner: Option<InodeNr>,
    /// The first logical block of content; `None` for anything else.
    logical: Option<u32>,
}

impl Claim {
    /// Static metadata.
    pub fn of_metadata(start: u64, count: u64) -> Self {
        Self { start: BlockNr(start), count, owner: None, logical: None }
    }

    /// Blocks of an inode that are not its content: of its map, or of its xattrs.
    pub fn of_inode(owner: InodeNr, start: BlockNr, count: u64) -> Self {
        Self { start, count, owner: Some(owner), logical: None }
    }

    /// Content of an inode.
    pub fn of_content(owner: InodeNr, run: &Run) -> Self {
        let count = run.count.into();
        Self { start: run.physical(), count, owner: Some(owner), logical: Some(run.logical) }
    }

    /// The first logical block of content; `None` for anything else.
    pub fn logical(&self) -> Option<u32> {
        self.logical
    }

    fn end(&self) -> u64 {
        self.start.0 + self.count
    }

    /// Whether another claim, on blocks behind these, may lie in the cluster that these end in:
    /// static metadata shares clusters, and so does content of one logical cluster. Anything else
    /// has clusters of its own.
    fn may_share(&self, other: &Self) -> bool {
        // Where both lie as deep in the cluster as in the file, equal distances are one cluster.
        let distance = |claim: &Self| claim.logical.map(|logical| claim.start.0.wrapping_sub(logical.into()));
        match self.owner {
            None => other.owner.is_none(),
            Some(_) => {
                self.owner == other.owner && distance(self).is_some() && distance(self) == distance(other)
            }
        }
    }
}

/// Refuses a block, or a cluster, with two owners.
fn conflict(first: &Claim, second: &Claim, overlap: bool) -> crate::Error {
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
        format!("lies in a cluster that is also claimed by {by}")
    })
}

/// All claims on blocks.
#[derive(Debug, Default)]
pub struct Claims(Vec<Claim>);

impl Claims {
    /// The claims of superblocks, descriptors, bitmaps and inode tables.
    pub fn of_metadata(source: &Source<'_>) -> Self {
        let geometry = &source.geometry;
        let mut claims = Vec::new();
        let mut claim = |start: u64, count: u64| claims.push(Claim::of_metadata(start, count));
        for (group, descriptor) in (0..geometry.groups).map(GroupNr).zip(&source.descriptors) {
            for range in geometry.head_ranges(group) {
                claim(range.start, range.end - range.start);
            }
            claim(descriptor.block_bitmap().0, 1);
            claim(descriptor.inode_bitmap().0, 1);
            claim(descriptor.inode_table().0, geometry.inode_table_blocks());
        }
        Self(claims)
    }

    /// Adds claims.
    pub fn extend(&mut self, claims: impl IntoIterator<Item = Claim>) {
        self.0.extend(claims);
    }

    /// Sorts the claims, and refuses blocks that are claimed twice, and clusters, of so many blocks,
    /// that have two owners.
    pub fn check(&mut self, cluster: u64) -> Result<()> {
        self.0.shrink_to_fit();
        self.0.par_sort_unstable_by_key(|claim| (claim.start, claim.count, claim.owner, claim.logical));
        for pair in self.0.windows(2) {
            let [first, second] = pair else { continue };
            let overlap = first.end() > second.start.0;
            if overlap || (first.end().next_multiple_of(cluster) > second.start.0 && !first.may_share(second))
            {
                return Err(conflict(first, second, overlap));
            }
        }
        Ok(())
    }

    /// Refuses blocks and clusters of orphans that are to be given back, but that something else needs.
    /// Both must have been checked on their own.
    pub fn check_orphans(&self, orphans: &Self, cluster: u64) -> Result<()> {
        for orphan in &orphans.0 {
            let (start, end) = (orphan.start.0 / cluster * cluster, orphan.end().next_multiple_of(cluster));
            let first = self.0.partition_point(|claim| claim.end() <= start);
            if let Some(other) = self.0.get(first).filter(|claim| claim.start.0 < end) {
                let overlap = other.start.0 < orphan.end() && orphan.start.0 < other.end();
                return Err(conflict(other, orphan, overlap));
            }
        }
        Ok(())
    }

    /// Lets content share blocks with content, where its owners may, and returns how many blocks more
    /// there would be if none were shared. What is left has each block once.
    pub fn settle_shared(&mut self, may_share: impl Fn(InodeNr) -> bool) -> u64 {
        let shareable = |claim: &Claim| claim.logical.is_some() && claim.owner.is_some_and(&may_share);
        let (mut shared, others): (Vec<Claim>, Vec<Claim>) = self.0.drain(..).partition(shareable);
        self.0 = others;
        shared.par_sort_unstable_by_key(|claim| (claim.start, claim.count, claim.owner, claim.logical));
        let (mut end, mut saved) = (0, 0);
        for claim in shared {
            let start = claim.start.0.max(end);
            saved += claim.count.min(start - claim.start.0);
            if claim.end() > start {
                end = claim.end();
                self.0.push(Claim { start: BlockNr(start), count: end - start, ..claim });
            }
        }
        saved
    }

    /// The claims, in the order of their blocks once they have been checked.
    pub fn iter(&self) -> impl Iterator<Item = &Claim> {
        self.0.iter()
    }

    /// The claims that lie in a range of blocks, cut to it. The claims must have been checked.
    pub fn within(&self, start: u64, end: u64) -> impl Iterator<Item = std::ops::Range<u64>> + use<'_> {
        let first = self.0.partition_point(|claim| claim.end() <= start);
        self.0[first..]
            .iter()
            .take_while(move |claim| claim.start.0 < end)
            .map(move |claim| claim.start.0.max(start)..claim.end().min(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: InodeNr = InodeNr(12);

    fn content(logical: u32, physical: u64, count: u32) -> Claim {
        Claim::of_content(FILE, &Run::in_blocks(logical, count, BlockNr(physical), false))
    }

    /// Whether claims are in order where clusters have 16 blocks, and where blocks are clusters.
    fn fits(claims: &[Claim]) -> (bool, bool) {
        let check = |cluster| Claims(claims.to_vec()).check(cluster).is_ok();
        (check(16), check(1))
    }

    #[test]
    fn clusters_are_shared_by_one_logical_cluster_and_by_static_metadata() {
        let metadata = Claim::of_metadata;
        assert_eq!(fits(&[content(3, 163, 2), content(9, 169, 1), content(16, 176, 40)]), (true, true));
        assert_eq!(fits(&[metadata(0, 2), metadata(2, 40), metadata(43, 1)]), (true, true));
        // Another logical cluster of the same file.
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
