//! Which blocks the structures and files of the input take, each at most once.

use rayon::slice::ParallelSliceMut;

use crate::error::{Location, Result, Structure};
use crate::source::Source;
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
}

impl Claim {
    /// Blocks of an inode.
    pub fn of_inode(owner: InodeNr, start: BlockNr, count: u64) -> Self {
        Self { start, count, owner: Some(owner) }
    }

    fn end(&self) -> u64 {
        self.start.0 + self.count
    }
}

/// All claims on blocks.
#[derive(Debug, Default)]
pub struct Claims(Vec<Claim>);

impl Claims {
    /// The claims of superblocks, descriptors, bitmaps and inode tables.
    pub fn of_metadata(source: &Source<'_>) -> Self {
        let geometry = &source.geometry;
        let mut claims = Vec::new();
        let mut claim = |start: u64, count: u64| {
            claims.push(Claim { start: BlockNr(start), count, owner: None });
        };
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

    /// Sorts the claims, and refuses blocks that are claimed twice.
    pub fn check(&mut self) -> Result<()> {
        self.0.par_sort_unstable_by_key(|claim| (claim.start, claim.count, claim.owner));
        for pair in self.0.windows(2) {
            let [first, second] = pair else { continue };
            if first.end() > second.start.0 {
                let owner = second.owner.or(first.owner);
                let other = if second.owner.is_some() { first.owner } else { None };
                let at = match owner {
                    Some(inode) => Location::of(Structure::FileMap).inode(inode),
                    None => Location::of(Structure::GroupDescriptor),
                };
                let by = other.map_or("filesystem metadata".to_owned(), |inode| format!("inode {inode}"));
                return Err(at.block(second.start).wrong(format!("is also claimed by {by}")));
            }
        }
        Ok(())
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
