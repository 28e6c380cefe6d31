//! Stores the runs of regular files that the output contains.

use crate::source::Source;
use crate::tree::{NodeId, Run, Tree};
use crate::view::View;

/// The result of surveying all regular files.
#[derive(Debug, Default)]
pub struct Survey {
    /// The runs that the output stores.
    pub(super) stored: Stored,
    /// Swap files, in the order of the nodes.
    pub(super) swap_files: Vec<NodeId>,
    /// Files whose first bytes look like the root of an extent tree, in the order of the nodes.
    pub(super) lookalikes: Vec<NodeId>,
    /// The number of zero blocks and unwritten blocks that became holes.
    pub punched: u64,
    /// The number of blocks of the view in a block of the output.
    pub(super) per_block: u32,
}

impl Survey {
    /// Returns whether e2fsck would mistake the content of a file for an extent tree if it were inline data.
    pub fn looks_like_extents(&self, id: NodeId) -> bool {
        self.lookalikes.binary_search(&id).is_ok()
    }

    /// Returns whether a file is a swap file with content.
    pub fn is_swap_file(&self, id: NodeId) -> bool {
        self.swap_files.binary_search(&id).is_ok()
    }

    /// Returns a tree with the runs that the output stores.
    pub fn stored<'t>(&'t self, tree: &'t Tree) -> StoredTree<'t> {
        StoredTree { tree, stored: &self.stored, per_block: self.per_block }
    }

    /// Reserves memory for the results that will be appended.
    pub(super) fn reserve(&mut self, next: &[Self]) {
        self.stored.runs.reserve_exact(next.iter().map(|next| next.stored.runs.len()).sum());
    }

    /// Appends the result for the next nodes.
    pub(super) fn append(&mut self, mut next: Self) {
        let start = self.stored.runs.len();
        self.stored.runs.append(&mut next.stored.runs);
        self.stored.files.extend(next.stored.files.iter().map(|(node, end)| (*node, start + end)));
        self.swap_files.append(&mut next.swap_files);
        self.lookalikes.append(&mut next.lookalikes);
        self.punched += next.punched;
    }
}

/// The stored runs of all files whose runs differ from the input's runs.
#[derive(Debug, Default)]
pub struct Stored {
    /// These files, in the order of the nodes. Each has the end of its runs in `runs`.
    files: Vec<(NodeId, usize)>,
    pub(super) runs: Vec<Run>,
}

impl Stored {
    /// Finishes a file. Its runs are all runs that were added since the last finished file.
    pub(super) fn end_file(&mut self, node: NodeId) {
        self.files.push((node, self.runs.len()));
    }

    /// Returns the runs of a file if they differ from the input's.
    fn changed(&self, node: NodeId) -> Option<&[Run]> {
        let index = self.files.binary_search_by_key(&node, |(node, _)| *node).ok()?;
        let start = index.checked_sub(1).map_or(0, |before| self.files[before].1);
        Some(&self.runs[start..self.files[index].1])
    }
}

/// A tree with the runs that the output stores.
#[derive(Clone, Copy, Debug)]
pub struct StoredTree<'t> {
    /// The tree, with the runs of the input.
    pub tree: &'t Tree,
    /// The runs of all files whose runs differ from the input's runs.
    pub stored: &'t Stored,
    /// The number of blocks of the view, in which runs are counted, in a block of the output.
    pub per_block: u32,
}

impl<'t> StoredTree<'t> {
    /// Returns an upper bound for the number of runs of all files together.
    pub fn runs(self) -> usize {
        // Several files can have the same runs.
        self.tree.ids().map(|id| self.tree.runs_of(id).len()).sum::<usize>() + self.stored.runs.len()
    }

    /// Returns the stored runs of a regular file. The list is empty for all other file types.
    pub fn runs_of(self, id: NodeId) -> &'t [Run] {
        self.stored.changed(id).unwrap_or_else(|| self.tree.runs_of(id))
    }
}

/// A tree with the runs that the output stores, and the image that contains the content of its files.
#[derive(Clone, Copy, Debug)]
pub struct StoredView<'v, 'a> {
    /// The image.
    pub source: &'v Source<'a>,
    /// The tree.
    pub stored: StoredTree<'v>,
}

impl<'v, 'a> StoredView<'v, 'a> {
    /// Returns the tree with the runs of the input.
    pub fn view(self) -> View<'v, 'a> {
        View { source: self.source, tree: self.stored.tree }
    }
}
