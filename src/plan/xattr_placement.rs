//! Places the xattrs of all inodes. Decides which inodes share an xattr block, and which entries share an EA
//! inode.

use std::collections::HashMap;

use super::inline::{DATA_ENTRY_SIZE, InlineCandidates};
use super::xattr_plan::{PlannedEaInode, SplitId, XattrBlock, XattrPlan};
use super::xattr_split::{Split, XattrRoom, XattrSize};
use crate::error::{Location, Result, Structure};
use crate::form::EXTRA_ISIZE;
use crate::geometry::Geometry;
use crate::ondisk::features::Incompat;
use crate::ondisk::inode::{BASE_SIZE, FAST_SYMLINK_LIMIT};
use crate::ondisk::xattr::{self as disk, XattrHeader};
use crate::tree::{Kind, NodeId, Text, Tree, Xattr, XattrSetId};
use crate::units::{InodeNr, fits};

/// The content of an xattr block. Each xattr has its name index, its name, and its value or the index of an
/// EA inode.
type BlockPart<'t> = Vec<(u8, &'t [u8], ValuePart<'t>)>;

/// The value of an xattr, for comparing blocks: the bytes, or the index of an EA inode.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum ValuePart<'t> {
    Here(&'t [u8]),
    Outside(u32),
}

/// Returns the number of bytes for entries and values in an inode.
pub(super) fn body_room(geometry: &Geometry) -> usize {
    (geometry.inode_size - BASE_SIZE)
        .saturating_sub(usize::from(EXTRA_ISIZE) + disk::IBODY_HEADER_SIZE + disk::END_SIZE)
}

/// Returns the number of bytes for entries and values in a block.
fn block_room(geometry: &Geometry) -> usize {
    geometry.block_size - size_of::<XattrHeader>() - disk::END_SIZE
}

/// Encodes an optional index: the index plus 1, so that 0 means `None`.
fn one_more(index: usize) -> u32 {
    fits(index + 1, "there are fewer than 2^32 nodes, blocks of xattrs, and bytes inline")
}

/// A splitter of xattr sets. It splits each set once for each amount of room in the inodes that have the set.
struct Splitter<'t> {
    tree: &'t Tree,
    block_room: usize,
    /// Whether values can be in EA inodes.
    with_inodes: bool,
    splits: Vec<(XattrSetId, Split)>,
    /// For each set, the room for which it was first split, and the result.
    first: Vec<Option<(usize, Option<SplitId>)>>,
    /// The results for other amounts of room.
    others: HashMap<(XattrSetId, usize), Option<SplitId>>,
    sizes: Vec<XattrSize>,
}

impl<'t> Splitter<'t> {
    fn new(tree: &'t Tree, geometry: &Geometry) -> Self {
        Self {
            tree,
            block_room: block_room(geometry),
            with_inodes: geometry.features.has(Incompat::EA_INODE),
            splits: Vec::with_capacity(tree.xattr_sets.len()),
            first: vec![None; tree.xattr_sets.len()],
            others: HashMap::new(),
            sizes: Vec::new(),
        }
    }

    /// Returns a split by its index.
    fn get(&self, split: SplitId) -> &Split {
        &self.splits[split.0 as usize].1
    }

    /// Splits a set for an inode with this room. Returns `None` if the set does not fit.
    fn split(&mut self, set: XattrSetId, body_room: usize) -> Option<SplitId> {
        let first = self.first[set.index()];
        if let Some((_, known)) = first.filter(|(room, _)| *room == body_room) {
            return known;
        }
        if first.is_some()
            && let Some(known) = self.others.get(&(set, body_room))
        {
            return *known;
        }
        self.sizes.clear();
        self.sizes.extend(self.tree.xattr_set(set).iter().map(|xattr| XattrSize::of(self.tree, xattr)));
        let room = XattrRoom { body: body_room, block: self.block_room };
        let split = Split::new(&self.sizes, room, self.with_inodes);
        let id = split.map(|split| {
            self.splits.push((set, split));
            SplitId(fits(self.splits.len() - 1, "each split belongs to one of fewer than 2^32 nodes"))
        });
        if first.is_none() {
            self.first[set.index()] = Some((body_room, id));
        } else {
            self.others.insert((set, body_room), id);
        }
        id
    }

    /// Splits a set for an inode with inline content, which leaves this room. Returns `None` if the content
    /// can't be inline, because the set does not fit, or needs fewer EA inodes without inline content.
    fn beside_content(&mut self, set: XattrSetId, room: usize, whole_room: usize) -> Option<SplitId> {
        let beside = self.split(set, room)?;
        let outside = self.get(beside).outside();
        if outside == 0 {
            return Some(beside);
        }
        let alone = self.split(set, whole_room)?;
        (self.get(alone).outside() == outside).then_some(beside)
    }
}

/// A collector of the values that are stored in EA inodes.
#[derive(Default)]
struct ValueCollector<'t> {
    values: Vec<PlannedEaInode>,
    by_text: HashMap<Text, u32>,
    by_bytes: HashMap<&'t [u8], u32>,
}

impl<'t> ValueCollector<'t> {
    /// Returns the index of a value. Equal values have the same index.
    fn index(&mut self, tree: &'t Tree, text: Text) -> u32 {
        let (values, by_bytes) = (&mut self.values, &mut self.by_bytes);
        *self.by_text.entry(text).or_insert_with(|| {
            *by_bytes.entry(tree.text(text)).or_insert_with(|| {
                values.push(PlannedEaInode { text, references: 0 });
                fits(values.len() - 1, "each value has one of fewer than 2^32 inodes")
            })
        })
    }

    /// Returns the xattrs of a split that are stored in the xattr block.
    fn block_part(&mut self, tree: &'t Tree, set: XattrSetId, split: &Split) -> BlockPart<'t> {
        let in_block = split.part(tree, set, false).map(|(xattr, outside)| {
            let value = match outside {
                true => ValuePart::Outside(self.index(tree, xattr.value)),
                false => ValuePart::Here(tree.text(xattr.value)),
            };
            (xattr.index, tree.text(xattr.name), value)
        });
        in_block.collect()
    }

    /// Counts the references from these entries to EA inodes.
    fn refer(&mut self, tree: &'t Tree, entries: impl Iterator<Item = (&'t Xattr, bool)>) {
        for (xattr, _) in entries.filter(|(_, outside)| *outside) {
            let index = self.index(tree, xattr.value);
            self.values[index as usize].references += 1;
        }
    }
}

/// Places the xattrs of all nodes, and decides which content is inline.
///
/// Content becomes inline only if the xattrs still fit into the inode and a block, and need no additional EA
/// inodes.
///
/// # Errors
///
/// `Unsupported` if a set does not fit into an inode and a block, or if e2fsck would clear a symlink because
/// one of its xattrs needs an EA inode.
pub(super) fn plan(
    tree: &Tree,
    geometry: &Geometry,
    candidates: &InlineCandidates<'_>,
    before: &[InodeNr],
) -> Result<XattrPlan> {
    let mut placer = XattrPlacer::new(tree, geometry, candidates);
    for node in tree.ids() {
        let mut inline = candidates.value_len(node);
        if let Some(set) = tree.node(node).xattrs {
            let number = before[node.index()];
            let beside = inline.and_then(|value| placer.split_beside(node, set, value));
            inline = inline.filter(|_| beside.is_some());
            let split = match beside {
                Some(split) => split,
                None => placer.split_alone(node, set, number)?,
            };
            placer.check_symlink(node, split, number)?;
            placer.place(node, set, split);
        }
        if let Some(value) = inline {
            placer.plan.inline[node.index()] = one_more(value);
        }
    }
    Ok(placer.finish())
}

/// A placer of xattrs. It places the xattrs of one node at a time.
struct XattrPlacer<'t> {
    tree: &'t Tree,
    body_room: usize,
    splitter: Splitter<'t>,
    sharer: Sharer<'t>,
    values: ValueCollector<'t>,
    plan: XattrPlan,
}

impl<'t> XattrPlacer<'t> {
    fn new(tree: &'t Tree, geometry: &Geometry, candidates: &InlineCandidates<'_>) -> Self {
        let nodes = tree.nodes.len();
        let plan = XattrPlan {
            split_of: vec![0; nodes],
            inline: vec![0; if candidates.is_empty() { 0 } else { nodes }],
            block_of: vec![0; nodes],
            ..XattrPlan::default()
        };
        Self {
            tree,
            body_room: body_room(geometry),
            splitter: Splitter::new(tree, geometry),
            sharer: Sharer::default(),
            values: ValueCollector::default(),
            plan,
        }
    }

    /// Splits the set of a node with inline content. `value` is the length of `system.data` in bytes. Returns
    /// `None` if the content can't be inline.
    fn split_beside(&mut self, node: NodeId, set: XattrSetId, value: usize) -> Option<SplitId> {
        let taken = DATA_ENTRY_SIZE + disk::value_size(value);
        let split = self.splitter.beside_content(set, self.body_room - taken, self.body_room)?;
        // e2fsck ignores the xattr block of an inline symlink.
        let is_symlink = matches!(self.tree.node(node).kind, Kind::Symlink(_));
        (!is_symlink || self.splitter.get(split).is_in_body()).then_some(split)
    }

    /// Splits the set of a node without inline content. `number` is the inode in the input, for errors.
    fn split_alone(&mut self, node: NodeId, set: XattrSetId, number: InodeNr) -> Result<SplitId> {
        self.splitter.split(set, self.body_room).ok_or_else(|| {
            let tree = self.tree;
            let size = |xattr: &Xattr| tree.text(xattr.name).len() + tree.text(xattr.value).len();
            let bytes: usize = tree.xattr_set(set).iter().map(size).sum();
            let at =
                Location::of(Structure::Xattr).inode(number).path(tree.paths().swap_remove(node.index()));
            at.unsupported(
                format!("names and values of {bytes} bytes do not fit into one inode and one block"),
                "remove some of them, choose larger blocks or inodes, or set the ea_inode feature",
            )
        })
    }

    /// Rejects a symlink that e2fsck would clear.
    fn check_symlink(&self, node: NodeId, split: SplitId, number: InodeNr) -> Result<()> {
        if self.splitter.get(split).outside() > 0 && is_fast_symlink(self.tree, node) {
            return Err(Location::of(Structure::Xattr).inode(number).unsupported(
                "a symlink of less than 60 bytes with an xattr that needs an EA inode: e2fsck counts the \
                 blocks of the EA inode as blocks of the symlink, and clears the symlink",
                "remove the xattr, or make its value shorter",
            ));
        }
        Ok(())
    }

    /// Assigns a split to a node. Also assigns an xattr block if the split needs one.
    fn place(&mut self, node: NodeId, set: XattrSetId, split: SplitId) {
        let parts = self.splitter.get(split);
        self.plan.split_of[node.index()] = one_more(split.0 as usize);
        self.values.refer(self.tree, parts.part(self.tree, set, true));
        let blocks = self.plan.blocks.len();
        let block = if parts.is_in_body() {
            None
        } else {
            let content = || self.values.block_part(self.tree, set, parts);
            self.sharer.block_for(split, &mut self.plan.blocks, content)
        };
        self.plan.block_of[node.index()] = block.map_or(0, one_more);
        if self.plan.blocks.len() > blocks {
            self.values.refer(self.tree, parts.part(self.tree, set, false));
        }
    }

    fn finish(self) -> XattrPlan {
        XattrPlan {
            splits: self.splitter.splits,
            ea_inodes: self.values.values,
            value_of: self.values.by_text,
            ..self.plan
        }
    }
}

/// Returns whether a node is a symlink whose target is in `i_block`.
fn is_fast_symlink(tree: &Tree, node: NodeId) -> bool {
    match tree.node(node).kind {
        Kind::Symlink(target) => (tree.text(target).len() as u64) < FAST_SYMLINK_LIMIT,
        _ => false,
    }
}

/// The assignment of xattr blocks. Splits with the same xattrs in the block share a block.
#[derive(Default)]
struct Sharer<'t> {
    contents: HashMap<BlockPart<'t>, usize>,
    /// For each split that needs a block, the index of the block's content.
    content_of: HashMap<SplitId, Option<usize>>,
    /// For each distinct content, the index of its newest block. Inodes share it until its reference count
    /// reaches the maximum.
    current: Vec<usize>,
}

impl<'t> Sharer<'t> {
    /// Assigns a block to an inode, if its split needs a block.
    fn block_for(
        &mut self,
        split: SplitId,
        blocks: &mut Vec<XattrBlock>,
        content: impl FnOnce() -> BlockPart<'t>,
    ) -> Option<usize> {
        let contents = &mut self.contents;
        let content = *self.content_of.entry(split).or_insert_with(|| {
            let (content, next) = (content(), contents.len());
            (!content.is_empty()).then(|| *contents.entry(content).or_insert(next))
        });
        let content = content?;
        let is_full = |block: &usize| blocks[*block].refcount == disk::REFCOUNT_MAX;
        if self.current.get(content).is_none_or(is_full) {
            // Distinct contents are numbered in the order of their first use.
            if content == self.current.len() {
                self.current.push(0);
            }
            self.current[content] = blocks.len();
            blocks.push(XattrBlock { split, refcount: 0 });
        }
        let block = self.current[content];
        blocks[block].refcount += 1;
        Some(block)
    }
}
