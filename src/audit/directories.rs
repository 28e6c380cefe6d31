//! Checks that each entry of a directory is in exactly one leaf, that entries fit into their leaves, and that
//! the number of blocks matches the leaves and index nodes.

use rayon::prelude::*;

use super::contradiction::ensure;
use super::directory_index;
use crate::error::Result;
use crate::ondisk::features::RoCompat;
use crate::ondisk::inode::InodeFlags;
use crate::plan::{DirectoryPlan, Plan};
use crate::tree::{NodeId, Tree};

/// Checks all directories.
pub(super) fn check(plan: &Plan, tree: &Tree) -> Result<()> {
    let directories: Vec<_> = plan.directories.iter().collect();
    directories.par_iter().try_for_each(|(id, directory)| check_one(plan, tree, *id, directory))
}

fn check_one(plan: &Plan, tree: &Tree, id: NodeId, directory: &DirectoryPlan) -> Result<()> {
    let entries = tree.entries_of(id).len();
    let about = |what: &str| format!("{what} of directory {}", plan.numbering.number_of(id));
    if let Some(lists) = &directory.inline {
        return ensure(lists.in_head.len() == entries, || about("the lists"));
    }
    let leaves = directory.starts.len();
    let ascending = directory.starts.first() == Some(&0)
        && directory.starts.is_sorted_by(|before, after| before < after)
        && directory.starts.iter().all(|start| (*start as usize) < entries.max(1));
    ensure(ascending, || about("the leaves"))?;
    let blocks = directory.blocks as usize;
    let expected = leaves + nodes(directory);
    // lost+found can have additional blocks.
    ensure(blocks == expected || (id == NodeId::LOST_FOUND && blocks > expected), || about("the blocks"))?;
    if let Some(index) = &directory.index {
        let mut seen = vec![false; entries];
        for place in &index.order {
            let entry = seen.get_mut(*place as usize);
            ensure(entry.is_some_and(|entry| !std::mem::replace(entry, true)), || about("the order"))?;
        }
        ensure(index.order.len() == entries, || about("the order"))?;
        directory_index::check(plan, tree, id, &directory.starts, index)?;
    }
    ensure(fit(plan, tree, id, directory), || about("a leaf has no room for the entries"))
}

/// Returns whether the entries of each leaf fit into a block.
fn fit(plan: &Plan, tree: &Tree, id: NodeId, directory: &DirectoryPlan) -> bool {
    let entries = tree.entries_of(id);
    let order = directory.index.as_ref().map(|index| &index.order[..]);
    let hashes = if tree.node(id).flags.contains(InodeFlags::HASHED_NAMES) { 8 } else { 0 };
    let size = |place: usize| {
        let entry = &entries[order.map_or(place, |order| order[place] as usize)];
        (8 + tree.text(entry.name).len()).next_multiple_of(4) + hashes
    };
    let checksum = if plan.geometry.features.has(RoCompat::METADATA_CSUM) { 12 } else { 0 };
    let starts = directory.starts.iter().map(|start| *start as usize);
    let ends = starts.clone().skip(1).chain(std::iter::once(entries.len()));
    starts.zip(ends).enumerate().all(|(leaf, (start, end))| {
        // A linear directory begins with the entries "." and "..".
        let dots = if leaf == 0 && order.is_none() { 24 } else { 0 };
        dots + (start..end).map(size).sum::<usize>() + checksum <= plan.geometry.block_size
    })
}

/// Returns the number of htree nodes, including the root.
fn nodes(directory: &DirectoryPlan) -> usize {
    directory
        .index
        .as_ref()
        .map_or(0, |index| 1 + index.levels.iter().map(|nodes| *nodes as usize).sum::<usize>())
}
