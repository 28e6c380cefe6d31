//! Applies the policy for hard links to a tree: gives each name a separate inode, or merges equal files.

use rayon::prelude::*;

use crate::content::FileContent;
use crate::error::{Error, Location, Result, Structure};
use crate::ondisk::features::Compat;
use crate::ondisk::inode::{InodeFlags, LINK_MAX, Timestamp};
use crate::policy::{HardLinkPolicy, HolePolicy, Options};
use crate::read::Reading;
use crate::remedy::Remedy;
use crate::source::Source;
use crate::survey;
use crate::text;
use crate::tree::{Kind, Node, NodeId, Tree, XattrSetId};
use crate::tree_digest;
use crate::units::{InodeNr, fits};
use crate::view::View;

/// The number of runs that splitting may add, in excess of the number of blocks in the filesystem. Each run
/// of a split file needs memory once for each name.
const MORE_RUNS: u64 = 1 << 22;

/// The number of blocks that splitting may add for each block of the filesystem, and for each of
/// [`MORE_BLOCKS`]. All of them are read, although most of them may be zero.
const BLOCKS_FACTOR: u64 = 16;

/// See [`BLOCKS_FACTOR`].
const MORE_BLOCKS: u64 = 1 << 20;

/// The number of inodes that the policy added or removed; `None` for a different policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkCounts {
    /// Inodes that were added by splitting.
    pub split: Option<u64>,
    /// Inodes that were removed by merging.
    pub merged: Option<u64>,
}

/// Applies the policy for hard links. The policy for times must be applied before.
///
/// # Errors
///
/// `Options` if inode numbers are part of the content, `Unsupported` if splitting would need too much memory
/// or time.
pub(crate) fn apply(source: &Source<'_>, reading: &mut Reading, options: &Options) -> Result<LinkCounts> {
    if options.hard_links != HardLinkPolicy::Keep && source.features().has(Compat::STABLE_INODES) {
        return Err(Error::options(
            "the filesystem has the stable_inodes feature: files may be encrypted with a key that depends on \
             their inode numbers, so inodes can't be split or merged",
            Remedy::KeepHardLinks,
        ));
    }
    let before = reading.tree.nodes.len();
    match options.hard_links {
        HardLinkPolicy::Keep => Ok(LinkCounts::default()),
        HardLinkPolicy::Split => {
            check_size(source, reading)?;
            let unchanged: Vec<_> = reading.tree.ids().collect();
            reorder(&mut reading.tree, &mut reading.inodes, &unchanged, true);
            let added = reading.tree.nodes.len() - before;
            Ok(LinkCounts { split: Some(added as u64), merged: None })
        }
        HardLinkPolicy::Merge => {
            let owners = owners(View { source, tree: &reading.tree }, options.holes);
            reorder(&mut reading.tree, &mut reading.inodes, &owners, false);
            let removed = before - reading.tree.nodes.len();
            Ok(LinkCounts { split: None, merged: Some(removed as u64) })
        }
    }
}

/// The runs and blocks that splitting adds, and the file that adds most of them.
#[derive(Debug, PartialEq, Eq)]
struct Added {
    runs: u128,
    blocks: u128,
    largest: NodeId,
}

impl Added {
    /// Adds up all files of a tree.
    fn of(tree: &Tree) -> Self {
        let mut added = Self { runs: 0, blocks: 0, largest: NodeId::ROOT };
        let mut most = 0;
        for id in tree.ids() {
            let runs = tree.runs_of(id);
            let names = u128::from(tree.node(id).links.saturating_sub(1));
            let blocks = names * runs.iter().map(|run| u128::from(run.count)).sum::<u128>();
            added.runs += names * runs.len() as u128;
            added.blocks += blocks;
            if blocks > most {
                (most, added.largest) = (blocks, id);
            }
        }
        added
    }

    /// Returns whether this is more than memory and time allow in a filesystem with `blocks_count` blocks.
    fn is_too_much(&self, blocks_count: u64) -> bool {
        self.runs > u128::from(blocks_count + MORE_RUNS)
            || self.blocks > u128::from(blocks_count + MORE_BLOCKS) * u128::from(BLOCKS_FACTOR)
    }
}

/// Returns an error if splitting would add more than memory and time allow. Such an output would hardly fit
/// into any image, but that is known only after all content was read.
fn check_size(source: &Source<'_>, reading: &Reading) -> Result<()> {
    let tree = &reading.tree;
    let added = Added::of(tree);
    // The ids of nodes have 32 bits.
    let has_ids = tree.entries.len() < u32::MAX as usize - 2;
    if has_ids && !added.is_too_much(source.geometry.blocks_count) {
        return Ok(());
    }
    let Added { runs, blocks, largest } = added;
    let names = tree.node(largest).links;
    let at = Location::of(Structure::Inode).inode(reading.inodes[largest.index()]);
    let error = at.unsupported(
        format!(
            "splitting hard links would add {runs} extents and {blocks} blocks, which exceeds the limit; this \
             inode adds the most, with {names} names"
        ),
        Remedy::KeepHardLinks,
    );
    Err(error.with_path(path(tree, largest)))
}

/// Returns a path of a node.
fn path(tree: &Tree, id: NodeId) -> String {
    let parents = tree.parents();
    let ancestors = std::iter::successors(Some(id), |id| Some(parents[id.index()]?.0));
    text::path(ancestors.map(|id| parents[id.index()].map_or(&[][..], |(_, name)| tree.text(name))))
}

/// Rebuilds the nodes of a tree in canonical order, with their inode numbers.
///
/// `owners` contains, for each node, the node that gets its names: the node itself or one before it. With
/// `split`, each name of a file that is not a directory gets a separate node. The first one keeps the inode
/// number; the others are not in the input.
///
/// The entries stay in their order, which is the order of the nodes too: see [`Tree::entries`].
fn reorder(tree: &mut Tree, inodes: &mut Vec<InodeNr>, owners: &[NodeId], split: bool) {
    let (nodes, numbers) = (std::mem::take(&mut tree.nodes), std::mem::take(inodes));
    let mut new_ids: Vec<Option<NodeId>> = vec![None; nodes.len()];
    // Returns the new node for a name of an old node.
    let mut name = |old: NodeId| {
        let mut node = nodes[old.index()];
        let known = new_ids[old.index()];
        if let Some(id) = known.filter(|_| !split || node.kind.is_directory()) {
            return id;
        }
        let id = NodeId(fits(tree.nodes.len(), "`check_size` limits the number of names"));
        if !node.kind.is_directory() {
            node.links = 0;
        }
        tree.nodes.push(node);
        inodes.push(if known.is_none() { numbers[old.index()] } else { InodeNr::default() });
        new_ids[old.index()].get_or_insert(id);
        id
    };
    name(NodeId::ROOT);
    name(NodeId::LOST_FOUND);
    for entry in &mut tree.entries {
        entry.node = name(owners[entry.node.index()]);
    }
    tree.boot_loader = tree.boot_loader.map(&mut name);
    let linked = tree.entries.iter().map(|entry| entry.node).chain(tree.boot_loader);
    for id in linked {
        let node = &mut tree.nodes[id.index()];
        if !node.kind.is_directory() {
            node.links += 1;
        }
    }
    for node in &mut tree.nodes {
        if let Kind::Directory { parent, .. } = &mut node.kind {
            *parent = new_ids[parent.index()].expect("directories are not split, and none is removed");
        }
    }
}

/// The attributes that are equal in all files that become one inode.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Attributes {
    size: u64,
    mode: u16,
    uid: u32,
    gid: u32,
    project: u32,
    flags: InodeFlags,
    mtime: Timestamp,
    xattrs: Option<XattrSetId>,
}

impl Attributes {
    /// Returns the attributes of a file that may be merged with others.
    fn of(node: &Node) -> Option<Self> {
        let Node { mode, uid, gid, project, flags, mtime, xattrs, .. } = *node;
        match node.kind {
            Kind::Regular { size, .. }
                if size > 0 && !flags.intersects(InodeFlags::ENCRYPT | InodeFlags::VERITY) =>
            {
                Some(Self { size, mode, uid, gid, project, flags, mtime, xattrs })
            }
            _ => None,
        }
    }
}

/// The digest of the content of a file, and its allocation if that does not follow from the content.
type ContentKey = ([u8; 32], Option<Vec<(u32, u32, u8)>>);

/// Finds equal files. Returns, for each node, the node that gets its names.
fn owners(view: View<'_, '_>, holes: HolePolicy) -> Vec<NodeId> {
    let tree = view.tree;
    let mut owners: Vec<_> = tree.ids().collect();
    let files = tree.ids().filter(|id| tree.boot_loader != Some(*id));
    let mut files: Vec<_> = files.filter_map(|id| Some((Attributes::of(tree.node(id))?, id))).collect();
    files.par_sort_unstable();
    let alike = files.chunk_by(|one, other| one.0 == other.0).filter(|files| files.len() > 1);
    for group in alike {
        let key = |(_, id): &(Attributes, NodeId)| {
            let file = FileContent::of(view, *id).expect("only regular files have these attributes");
            let key: ContentKey =
                (tree_digest::digest_of(&file), survey::allocation(view, &view.source.geometry, holes, *id));
            (key, *id)
        };
        let mut digested: Vec<_> = group.par_iter().map(key).collect();
        digested.sort_unstable();
        for files in digested.chunk_by(|one, other| one.0 == other.0) {
            let files: Vec<_> = files.iter().map(|(_, id)| *id).collect();
            for files in equal_files(view, files) {
                share(tree, &files, &mut owners);
            }
        }
    }
    owners
}

/// Divides files with equal digests into groups of files with equal bytes. Each group is in the order of the
/// nodes.
fn equal_files(view: View<'_, '_>, mut files: Vec<NodeId>) -> Vec<Vec<NodeId>> {
    let mut groups = Vec::new();
    while let Some(first) = files.first() {
        let first = FileContent::of(view, *first).expect("only regular files have digests");
        let is_equal = |id: &NodeId| FileContent::of(view, *id).is_some_and(|file| first.equals(&file));
        let are_equal: Vec<bool> = files.par_iter().map(is_equal).collect();
        let (equal, others): (Vec<_>, Vec<_>) =
            files.into_iter().zip(are_equal).partition(|(_, is_equal)| *is_equal);
        groups.push(equal.into_iter().map(|(id, _)| id).collect());
        files = others.into_iter().map(|(id, _)| id).collect();
    }
    groups
}

/// Assigns the names of equal files to an inode, as long as it has at most [`LINK_MAX`] names, then to the
/// next inode.
fn share(tree: &Tree, files: &[NodeId], owners: &mut [NodeId]) {
    let (mut owner, mut names) = (None, 0);
    for id in files {
        let more = u64::from(tree.node(*id).links);
        match owner.filter(|_| names + more <= LINK_MAX) {
            Some(owner) => {
                owners[id.index()] = owner;
                names += more;
            }
            None => (owner, names) = (Some(*id), more),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ondisk::inode::{S_IFDIR, S_IFREG};
    use crate::tree::{Bytes, Entry, Run};
    use crate::units::BlockNr;

    fn directory(first: u32, count: u32, parent: u32) -> Node {
        Node { mode: S_IFDIR, kind: Kind::Directory { first, count, parent: NodeId(parent) }, ..file(2) }
    }

    fn file(links: u32) -> Node {
        Node {
            mode: S_IFREG,
            uid: 0,
            gid: 0,
            project: 0,
            flags: InodeFlags::empty(),
            mtime: Timestamp::default(),
            links,
            xattrs: None,
            kind: Kind::Regular { size: 1, first: 0, count: 1, inline: None },
        }
    }

    /// Returns a tree with these paths, with the inode numbers 100, 101 and so on:
    ///
    /// - `a/` (2), `a/b/` (5), `f` (3), `lost+found/` (1), `z/` (4)
    /// - `a/b/` (5), `a/f` (3), `a/g` (6)
    /// - `a/b/g` (6)
    /// - `z/f` (3), `z/h` (7)
    fn example() -> (Tree, Vec<InodeNr>) {
        let mut tree = Tree::of_runs(vec![Run::new(0, 10, Bytes::At(BlockNr(7)))]);
        tree.nodes = vec![
            directory(0, 4, 0),
            directory(10, 0, 0),
            directory(4, 3, 0),
            file(3),
            directory(8, 2, 0),
            directory(7, 1, 2),
            file(2),
            file(1),
            file(1),
        ];
        let names: [(&[u8], u32); 10] = [
            (b"a", 2),
            (b"f", 3),
            (b"lost+found", 1),
            (b"z", 4),
            (b"b", 5),
            (b"f", 3),
            (b"g", 6),
            (b"g", 6),
            (b"f", 3),
            (b"h", 7),
        ];
        for (name, node) in names {
            let name = tree.add_text(name);
            tree.entries.push(Entry { name, node: NodeId(node), hashes: [0; 2] });
        }
        tree.boot_loader = Some(NodeId(8));
        let inodes = (100..109).map(InodeNr).collect();
        (tree, inodes)
    }

    fn targets(tree: &Tree) -> Vec<u32> {
        tree.entries.iter().map(|entry| entry.node.0).collect()
    }

    fn links(tree: &Tree) -> Vec<u32> {
        tree.nodes.iter().map(|node| node.links).collect()
    }

    fn ids(numbers: impl IntoIterator<Item = u32>) -> Vec<NodeId> {
        numbers.into_iter().map(NodeId).collect()
    }

    #[test]
    fn an_order_that_is_right_does_not_change() {
        let (mut tree, mut inodes) = example();
        reorder(&mut tree, &mut inodes, &ids(0..9), false);
        let (before, numbers) = example();
        assert_eq!(
            (&tree.nodes, &tree.entries, tree.boot_loader),
            (&before.nodes, &before.entries, before.boot_loader)
        );
        assert_eq!(inodes, numbers);
    }

    #[test]
    fn each_name_gets_a_node_in_canonical_order() {
        let (mut tree, mut inodes) = example();
        reorder(&mut tree, &mut inodes, &ids(0..9), true);
        assert_eq!(targets(&tree), [2, 3, 1, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(links(&tree)[6..], [1; 6]);
        assert_eq!((tree.node(NodeId(3)).links, tree.boot_loader), (1, Some(NodeId(11))));
        let numbers: Vec<_> = inodes.iter().map(|number| number.0).collect();
        assert_eq!(numbers, [100, 101, 102, 103, 104, 105, 0, 106, 0, 0, 107, 108]);
        let again = (tree.nodes.clone(), tree.entries.clone());
        let count = tree.nodes.len() as u32;
        reorder(&mut tree, &mut inodes, &ids(0..count), true);
        assert_eq!((tree.nodes, tree.entries), again);
    }

    #[test]
    fn merged_nodes_get_the_names_of_both() {
        let (mut tree, mut inodes) = example();
        let mut owners = ids(0..9);
        share(&tree, &ids([3, 6, 7]), &mut owners);
        assert_eq!(owners, ids([0, 1, 2, 3, 4, 5, 3, 3, 8]));
        reorder(&mut tree, &mut inodes, &owners, false);
        assert_eq!(targets(&tree), [2, 3, 1, 4, 5, 3, 3, 3, 3, 3]);
        assert_eq!((links(&tree)[3], links(&tree).len(), tree.boot_loader), (6, 7, Some(NodeId(6))));
        assert!(inodes.iter().map(|number| number.0).eq([100, 101, 102, 103, 104, 105, 108]));
    }

    #[test]
    fn an_inode_is_full_at_65000_names() {
        let names = [40_000, 25_000, 1, 64_998, 2, 1, 65_000, 7];
        let mut tree = Tree::of_runs(Vec::new());
        tree.nodes = names.map(file).to_vec();
        let mut owners: Vec<_> = tree.ids().collect();
        share(&tree, &ids(0..8), &mut owners);
        assert_eq!(owners, ids([0, 0, 2, 2, 4, 4, 6, 7]));
        // After a merge, the same pass changes nothing.
        tree.nodes = [65_000, 64_999, 3, 65_000, 7].map(file).to_vec();
        let mut owners: Vec<_> = tree.ids().collect();
        share(&tree, &ids(0..5), &mut owners);
        assert_eq!(owners, ids(0..5));
    }

    #[test]
    fn splitting_is_limited() {
        let (mut tree, _) = example();
        assert_eq!(Added::of(&tree), Added { runs: 3, blocks: 30, largest: NodeId(3) });
        assert!(!Added::of(&tree).is_too_much(20));
        let blocks = |blocks| Added { runs: 1, blocks, largest: NodeId(3) };
        assert!(!blocks(17 << 20).is_too_much(1 << 16));
        assert!(blocks((17 << 20) + 1).is_too_much(1 << 16));
        tree.runs = (0..100).map(|block| Run::new(block, 1, Bytes::At(BlockNr(7)))).collect();
        tree.nodes[3].kind = Kind::Regular { size: 1, first: 0, count: 100, inline: None };
        tree.nodes[3].links = 65_000;
        assert_eq!(Added::of(&tree).runs, 6_499_901);
        assert!(Added::of(&tree).is_too_much(1000));
    }
}
