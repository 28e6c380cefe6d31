//! Checks that each entry of a directory is in exactly one leaf, and that the number of blocks matches the
//! leaves and index nodes.

use super::contradiction::ensure;
use crate::error::Result;
use crate::plan::{DirectoryPlan, Plan};
use crate::tree::{NodeId, Tree};

/// Checks all directories.
pub(super) fn check(plan: &Plan, tree: &Tree) -> Result<()> {
    for (id, directory) in plan.directories.iter() {
        let entries = tree.entries_of(id).len();
        let about = |what: &str| format!("{what} of directory {}", plan.numbering.number_of(id));
        if let Some(lists) = &directory.inline {
            ensure(lists.in_head.len() == entries, || about("the lists"))?;
            continue;
        }
        let leaves = directory.starts.len();
        let ascending = directory.starts.first() == Some(&0)
            && directory.starts.is_sorted_by(|before, after| before < after)
            && directory.starts.iter().all(|start| (*start as usize) < entries.max(1));
        ensure(ascending, || about("the leaves"))?;
        let blocks = directory.blocks as usize;
        let expected = leaves + nodes(directory);
        // lost+found can have additional blocks.
        ensure(blocks == expected || (id == NodeId::LOST_FOUND && blocks > expected), || {
            about("the blocks")
        })?;
        if let Some(index) = &directory.index {
            ensure(index.hashes.len() == leaves, || about("the hashes"))?;
            let mut seen = vec![false; entries];
            for place in &index.order {
                let entry = seen.get_mut(*place as usize);
                ensure(entry.is_some_and(|entry| !std::mem::replace(entry, true)), || about("the order"))?;
            }
            ensure(index.order.len() == entries, || about("the order"))?;
        }
    }
    Ok(())
}

/// Returns the number of htree nodes, including the root.
fn nodes(directory: &DirectoryPlan) -> usize {
    directory
        .index
        .as_ref()
        .map_or(0, |index| 1 + index.levels.iter().map(|nodes| *nodes as usize).sum::<usize>())
}
