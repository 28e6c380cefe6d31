//! Where the content of every inode is.

use rayon::slice::ParallelSliceMut;

use crate::read::Reading;
use crate::tree::Run;
use crate::units::InodeNr;

/// Consecutive blocks of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContentExtent {
    /// The first logical block.
    pub logical: u32,
    /// The first block.
    pub start: u64,
    /// The number of blocks.
    pub count: u64,
}

impl ContentExtent {
    /// The blocks of a run.
    pub fn of(run: &Run) -> Self {
        Self { logical: run.logical, start: run.physical().0, count: run.count.into() }
    }

    /// Whether content goes on in `next` where this ends.
    fn goes_on_in(&self, next: &Self) -> bool {
        u64::from(self.logical) + self.count == u64::from(next.logical)
            && self.start + self.count == next.start
    }
}

/// The places of all content, by inode.
#[derive(Debug, Default)]
pub struct ContentPlaces(Vec<(InodeNr, ContentExtent)>);

impl ContentPlaces {
    /// Those of an image that was not surveyed yet. Blocks that files share count for one of them.
    pub fn of(reading: &Reading) -> Self {
        let Reading { tree, inodes, claims, .. } = reading;
        let nodes = tree.ids().zip(inodes).filter(|_| claims.has_runs());
        let files = nodes.flat_map(|(id, number)| {
            tree.runs_of(id).iter().map(move |run| (*number, ContentExtent::of(run)))
        });
        let others = claims.others().iter().filter_map(|claim| {
            let extent =
                ContentExtent { logical: claim.logical()?, start: claim.start.0, count: claim.count };
            Some((claim.owner?, extent))
        });
        let mut places: Vec<_> = files.chain(others).collect();
        places.par_sort_unstable();
        Self(places)
    }

    /// The places of an inode, in logical order, joined where they go on.
    pub fn of_inode(&self, number: InodeNr) -> Vec<ContentExtent> {
        let start = self.0.partition_point(|(owner, _)| *owner < number);
        let end = self.0.partition_point(|(owner, _)| *owner <= number);
        joined(self.0[start..end].iter().map(|(_, extent)| *extent))
    }
}

/// Joins extents where they go on.
pub fn joined(extents: impl Iterator<Item = ContentExtent>) -> Vec<ContentExtent> {
    let mut joined: Vec<ContentExtent> = Vec::new();
    for extent in extents {
        match joined.last_mut() {
            Some(last) if last.goes_on_in(&extent) => last.count += extent.count,
            _ => joined.push(extent),
        }
    }
    joined
}
