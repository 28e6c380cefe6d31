//! Reads the extent tree or the block map of an inode, and applies the changes of fast commits.

use std::collections::BTreeMap;

use super::budget::Budget;
use super::file_map::FileMap;
use super::inode::DecodedInode;
use super::{block_map, extent_tree};
use crate::error::Result;
use crate::ondisk::features::{Incompat, RoCompat};
use crate::ondisk::inode::InodeFlags;
use crate::source::{RangeEdit, Source};
use crate::tree::Run;

/// Reads the extent tree or the block map of an inode, and applies the changes of fast commits.
///
/// # Errors
///
/// `Corrupt`, with the inode and the block.
pub(crate) fn read(source: &Source<'_>, budget: &Budget, inode: &DecodedInode<'_>) -> Result<FileMap> {
    let stored = read_stored(source, budget, inode)?;
    let edits = source.fast_commits().inodes.get(&inode.number).map_or(&[][..], |inode| &inode.edits);
    let map = if edits.is_empty() { stored } else { edited(stored, edits) };
    map.check_clusters(inode.number, source.geometry.blocks_per_cluster)?;
    Ok(map)
}

/// Reads the map that the image stores.
fn read_stored(source: &Source<'_>, budget: &Budget, inode: &DecodedInode<'_>) -> Result<FileMap> {
    if inode.fields.flags().contains(InodeFlags::EXTENTS) {
        if !source.features().has(Incompat::EXTENTS) {
            return Err(inode.at().wrong("has the EXTENTS flag without the extent feature"));
        }
        return extent_tree::read(source, budget, inode);
    }
    let map = block_map::read(source, budget, inode)?;
    let empty = map.runs.is_empty() && map.nodes.is_empty();
    if !empty && source.features().has(RoCompat::BIGALLOC) {
        return Err(inode.at().wrong("has a block map, but with bigalloc there are only extent trees"));
    }
    Ok(map)
}

/// Applies the changes of fast commits to a map. The result has no nodes, because the blocks of the stored
/// nodes can contain other data by now.
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

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::units::BlockNr;

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
}
