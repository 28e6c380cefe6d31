//! Walks two trees together, in the order of the paths.

use std::cmp::Ordering;
use std::collections::HashSet;

use crate::text;
use crate::tree::{Entry, NodeId, Tree};

/// The name of the boot-loader inode in reports. That inode has no path.
const BOOT_LOADER: &[u8] = b"(boot loader)";

/// A path that exists in at least one of the trees.
#[derive(Clone, Copy, Debug)]
pub(super) struct ComparedPath<'t> {
    /// The index of this path.
    pub index: usize,
    /// The index of the parent directory; `None` for the root and the boot loader.
    parent: Option<usize>,
    /// The file name; empty for the root.
    name: &'t [u8],
    /// The node on each side.
    pub nodes: [Option<NodeId>; 2],
    /// The hashes of an encrypted name on each side.
    pub hashes: [[u32; 2]; 2],
    /// Whether the path exists on both sides, and no earlier path has the same two nodes.
    pub first: bool,
    /// On each side, the index of the first path with the same node. Only paths that exist in both trees
    /// count.
    pub same_as: [usize; 2],
}

impl ComparedPath<'_> {
    /// Returns the nodes if the path exists on both sides.
    pub(super) fn pair(&self) -> Option<[NodeId; 2]> {
        let [Some(one), Some(other)] = self.nodes else { return None };
        Some([one, other])
    }
}

/// A directory that is being walked.
struct Frame<'t> {
    step: usize,
    entries: [&'t [Entry]; 2],
}

/// Returns all paths of two trees. Directories come before their entries, and names are in byte order.
pub(super) fn walk<'t>(trees: [&'t Tree; 2]) -> Vec<ComparedPath<'t>> {
    let firsts = trees.map(|tree| vec![None; tree.nodes.len()]);
    let mut walker = Walker { trees, steps: Vec::new(), firsts, pairs: HashSet::new() };
    let root = walker.push(None, b"", [Some(NodeId::ROOT); 2], [[0; 2]; 2]);
    let mut stack = vec![Frame { step: root, entries: trees.map(|tree| tree.entries_of(NodeId::ROOT)) }];
    while let Some(frame) = stack.last_mut() {
        let firsts = [0, 1].map(|side| frame.entries[side].first());
        let names = [0, 1].map(|side| firsts[side].map(|entry: &Entry| trees[side].text(entry.name)));
        let (taken, name) = match names {
            [None, None] => {
                stack.pop();
                continue;
            }
            [Some(name), None] => ([true, false], name),
            [None, Some(name)] => ([false, true], name),
            [Some(one), Some(other)] => match one.cmp(other) {
                Ordering::Less => ([true, false], one),
                Ordering::Equal => ([true, true], one),
                Ordering::Greater => ([false, true], other),
            },
        };
        for side in [0, 1] {
            if taken[side] {
                frame.entries[side] = &frame.entries[side][1..];
            }
        }
        let entries = [0, 1].map(|side| firsts[side].filter(|_| taken[side]));
        let nodes = entries.map(|entry| entry.map(|entry| entry.node));
        let hashes = entries.map(|entry| entry.map_or([0; 2], |entry| entry.hashes));
        let parent = frame.step;
        let step = walker.push(Some(parent), name, nodes, hashes);
        let inside = [0, 1].map(|side| nodes[side].map_or(&[][..], |node| trees[side].entries_of(node)));
        if inside.iter().any(|entries| !entries.is_empty()) {
            stack.push(Frame { step, entries: inside });
        }
    }
    let boot_loaders = trees.map(|tree| tree.boot_loader);
    if boot_loaders != [None, None] {
        walker.push(None, BOOT_LOADER, boot_loaders, [[0; 2]; 2]);
    }
    walker.steps
}

/// A walk of two trees that collects the paths and finds hard links.
struct Walker<'t> {
    trees: [&'t Tree; 2],
    steps: Vec<ComparedPath<'t>>,
    /// For each node of a tree, the index of the first path that leads to it. Only paths that exist in both
    /// trees count.
    firsts: [Vec<Option<usize>>; 2],
    /// The pairs of nodes seen so far in which both nodes have several links. Other pairs occur only once.
    pairs: HashSet<[NodeId; 2]>,
}

impl<'t> Walker<'t> {
    fn push(
        &mut self,
        parent: Option<usize>,
        name: &'t [u8],
        nodes: [Option<NodeId>; 2],
        hashes: [[u32; 2]; 2],
    ) -> usize {
        let index = self.steps.len();
        let (mut first, mut same_as) = (false, [index; 2]);
        if let [Some(one), Some(other)] = nodes {
            let linked = [0, 1].map(|side| self.trees[side].node([one, other][side]).links > 1);
            first = linked != [true; 2] || self.pairs.insert([one, other]);
            same_as = [(0, one), (1, other)]
                .map(|(side, node)| *self.firsts[side][node.index()].get_or_insert(index));
        }
        self.steps.push(ComparedPath { index, parent, name, nodes, hashes, first, same_as });
        index
    }
}

/// Returns the path as text.
pub(super) fn path(steps: &[ComparedPath<'_>], index: usize) -> String {
    let ancestors = std::iter::successors(steps.get(index), |step| steps.get(step.parent?));
    text::path(ancestors.map(|step| step.name))
}
