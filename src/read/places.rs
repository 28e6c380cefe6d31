//! Where the content of every inode lies.

use rayon::slice::ParallelSliceMut;

use super::reading::Reading;
use crate::tree::Run;
use crate::units::InodeNr;

/// Consecutive blocks of content: first logical block, first block, number.
pub type Place = (u32, u64, u64);

/// The places of all content, by inode.
#[derive(Debug, Default)]
pub struct Places(Vec<(InodeNr, Place)>);

impl Places {
    /// Those of an image that was not surveyed yet. Of blocks that files share, one of them is told.
    pub fn of(reading: &Reading) -> Self {
        let Reading { tree, inodes, claims, .. } = reading;
        let nodes = tree.ids().zip(inodes).filter(|_| claims.has_runs());
        let place = |run: &Run| (run.logical, run.physical().0, u64::from(run.count));
        let files =
            nodes.flat_map(|(id, number)| tree.runs_of(id).iter().map(move |run| (*number, place(run))));
        let others = claims.others().iter();
        let others =
            others.filter_map(|claim| Some((claim.owner?, (claim.logical()?, claim.start.0, claim.count))));
        let mut places: Vec<_> = files.chain(others).collect();
        places.par_sort_unstable();
        Self(places)
    }

    /// The places of an inode, in logical order, joined where they go on.
    pub fn of_inode(&self, number: InodeNr) -> Vec<Place> {
        let start = self.0.partition_point(|(owner, _)| *owner < number);
        let end = self.0.partition_point(|(owner, _)| *owner <= number);
        joined(self.0[start..end].iter().map(|(_, place)| *place))
    }
}

/// Places joined where they go on.
pub fn joined(places: impl Iterator<Item = Place>) -> Vec<Place> {
    let mut joined: Vec<Place> = Vec::new();
    for (logical, start, count) in places {
        match joined.last_mut() {
            Some(last) if u64::from(last.0) + last.2 == u64::from(logical) && last.1 + last.2 == start => {
                last.2 += count;
            }
            _ => joined.push((logical, start, count)),
        }
    }
    joined
}
