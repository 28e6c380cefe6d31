//! Finds the blocks that contain the content of each inode.

use rayon::slice::ParallelSliceMut;

use crate::ranges::{BlockPlace, BlockRun, push_joined};
use crate::read::Reading;
use crate::units::{AnyBlock, InodeNr, fits};

/// A block of the input or of the output, for comparisons between the two. In both, blocks are counted from
/// the start of the filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ComparedBlock(pub u64);

impl BlockPlace for ComparedBlock {
    fn later(self, blocks: u32) -> Option<Self> {
        Some(Self(self.0 + u64::from(blocks)))
    }
}

/// Consecutive blocks of content, written or unwritten.
pub(crate) type ContentExtent = BlockRun<ComparedBlock>;

impl ContentExtent {
    /// Creates an extent that starts at a block of either image.
    pub fn of(logical: u32, count: u32, start: impl AnyBlock) -> Self {
        Self::at(logical, count, ComparedBlock(start.number()))
    }
}

/// The extents of the content of all inodes, sorted by inode.
#[derive(Debug, Default)]
pub(crate) struct ContentPlaces(Vec<(InodeNr, ContentExtent)>);

impl ContentPlaces {
    /// Returns the extents in an image, before its survey. A block that several files share is listed for
    /// only one of the files.
    pub(crate) fn of(reading: &Reading) -> Self {
        let Reading { tree, inodes, claims, .. } = reading;
        // A node without an inode in the input has the runs of another node, or none.
        let nodes = tree.ids().zip(inodes).filter(|(_, number)| claims.has_runs() && number.0 != 0);
        let files = nodes.flat_map(|(id, number)| {
            tree.runs_of(id)
                .iter()
                .map(move |run| (*number, ContentExtent::of(run.logical, run.count, run.physical())))
        });
        let others = claims.others().iter().filter_map(|claim| {
            let count = fits(claim.count, "content has logical blocks of 32 bits");
            Some((claim.owner?, ContentExtent::of(claim.logical()?, count, claim.start)))
        });
        let mut places: Vec<_> = files.chain(others).collect();
        places.par_sort_unstable();
        Self(places)
    }

    /// Returns the extents of an inode, in logical order. Contiguous extents are joined.
    pub(crate) fn of_inode(&self, number: InodeNr) -> Vec<ContentExtent> {
        let start = self.0.partition_point(|(owner, _)| *owner < number);
        let end = self.0.partition_point(|(owner, _)| *owner <= number);
        joined(self.0[start..end].iter().map(|(_, extent)| *extent))
    }
}

/// Joins contiguous extents.
pub(crate) fn joined(extents: impl Iterator<Item = ContentExtent>) -> Vec<ContentExtent> {
    let mut joined = Vec::new();
    extents.for_each(|extent| push_joined(&mut joined, extent));
    joined
}
