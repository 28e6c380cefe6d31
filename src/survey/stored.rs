//! What is to be stored of the content of regular files.

use crate::source::Source;
use crate::tree::{NodeId, Run, Tree};
use crate::view::View;

/// What was found about the content of all regular files.
#[derive(Debug, Default)]
pub struct Survey {
    /// What is to be stored of it.
    pub(super) stored: Stored,
    /// Swap files, in the order of the nodes.
    pub(super) swap_files: Vec<NodeId>,
    /// Files that begin like the root of an extent tree, in the order of the nodes.
    pub(super) lookalikes: Vec<NodeId>,
    /// Blocks of zeros, and unwritten ones, that became holes.
    pub punched: u64,
}

impl Survey {
    /// Whether e2fsck would take the content of a file, were it inline, for an extent tree.
    pub fn looks_like_extents(&self, id: NodeId) -> bool {
        self.lookalikes.binary_search(&id).is_ok()
    }

    /// Whether a file is a swap file with content.
    pub fn is_swap_file(&self, id: NodeId) -> bool {
        self.swap_files.binary_search(&id).is_ok()
    }

    /// A tree as it is to be stored.
    pub fn stored<'t>(&'t self, tree: &'t Tree) -> StoredTree<'t> {
        StoredTree { tree, stored: &self.stored }
    }

    /// Makes room for what will be added.
    pub(super) fn reserve(&mut self, next: &[Self]) {
        self.stored.runs.reserve_exact(next.iter().map(|next| next.stored.runs.len()).sum());
    }

    /// Adds what was found about the nodes behind.
    pub(super) fn append(&mut self, mut next: Self) {
        let start = self.stored.runs.len();
        self.stored.runs.append(&mut next.stored.runs);
        self.stored.files.extend(next.stored.files.iter().map(|(node, end)| (*node, start + end)));
        self.swap_files.append(&mut next.swap_files);
        self.lookalikes.append(&mut next.lookalikes);
        self.punched += next.punched;
    }
}

/// The runs that are to be stored of files whose content the input holds in another way.
#[derive(Debug, Default)]
pub struct Stored {
    /// These files, in the order of the nodes, and where in `runs` those of each end.
    files: Vec<(NodeId, usize)>,
    pub(super) runs: Vec<Run>,
}

impl Stored {
    /// Ends the runs of a file; those behind the file before are its own.
    pub(super) fn end_file(&mut self, node: NodeId) {
        self.files.push((node, self.runs.len()));
    }

    /// The runs of a file that are not the input's.
    fn changed(&self, node: NodeId) -> Option<&[Run]> {
        let index = self.files.binary_search_by_key(&node, |(node, _)| *node).ok()?;
        let start = index.checked_sub(1).map_or(0, |before| self.files[before].1);
        Some(&self.runs[start..self.files[index].1])
    }
}

/// A tree as it is to be stored.
#[derive(Clone, Copy, Debug)]
pub struct StoredTree<'t> {
    /// The tree, whose runs are those of the input.
    pub tree: &'t Tree,
    /// What the survey found.
    pub stored: &'t Stored,
}

impl<'t> StoredTree<'t> {
    /// At least as many runs as all files have together.
    pub fn runs(self) -> usize {
        self.tree.runs.len() + self.stored.runs.len()
    }

    /// The runs of a regular file that are to be stored; none of anything else.
    pub fn runs_of(self, id: NodeId) -> &'t [Run] {
        self.stored.changed(id).unwrap_or_else(|| self.tree.runs_of(id))
    }
}

/// A tree as it is to be stored, and the image that its content is read from.
#[derive(Clone, Copy, Debug)]
pub struct StoredView<'v, 'a> {
    /// The image.
    pub source: &'v Source<'a>,
    /// The tree.
    pub stored: StoredTree<'v>,
}

impl<'v, 'a> StoredView<'v, 'a> {
    /// The tree as the image has it.
    pub fn view(self) -> View<'v, 'a> {
        View { source: self.source, tree: self.stored.tree }
    }
}
