//! Where the xattrs of all inodes go, which inodes share a block, and which entries share a value in
//! an inode of its own.

use std::collections::HashMap;

use super::inline::Candidates;
use super::xattr_split::{Room, Split};
use crate::error::{Location, Result, Structure};
use crate::form::EXTRA_ISIZE;
use crate::geometry::Geometry;
use crate::ondisk::features::Incompat;
use crate::ondisk::inode::{BASE_SIZE, FAST_SYMLINK_LIMIT};
use crate::ondisk::xattr::{self as disk, XattrHeader};
use crate::tree::{Kind, NodeId, QuotaUsage, Text, Tree, Xattr, XattrSetId};
use crate::units::{InodeNr, fits};

/// The index of a split in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SplitId(u32);

/// A block of xattrs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XattrBlock {
    /// A split whose part for the block is what the block holds.
    pub split: SplitId,
    /// The number of inodes that use it.
    pub refcount: u32,
}

/// A value in an inode of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedValue {
    /// The value.
    pub text: Text,
    /// The number of entries that refer to it, those of a block once.
    pub references: u64,
}

/// What a block holds: name index, name and value of each xattr, or the index of a value that lies in
/// an inode of its own.
type BlockPart<'t> = Vec<(u8, &'t [u8], ValuePart<'t>)>;

/// A value as blocks are compared by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum ValuePart<'t> {
    Here(&'t [u8]),
    Outside(u32),
}

/// Where all xattrs go, and which content is inline: it lies in an xattr, too.
#[derive(Debug, Default)]
pub struct XattrPlan {
    splits: Vec<(XattrSetId, Split)>,
    /// For each node, the index of its split and one more; 0 for none.
    pub(crate) split_of: Vec<u32>,
    /// For each node with inline content, the length of `system.data` and one more; 0 for the
    /// others. Empty where there is no such node at all.
    pub(crate) inline: Vec<u32>,
    /// The blocks, in the order of their first use.
    pub blocks: Vec<XattrBlock>,
    /// For each node, the index of its block and one more; 0 for none.
    pub(crate) block_of: Vec<u32>,
    /// The distinct values in inodes of their own, in the order of their first use.
    pub values: Vec<PlannedValue>,
    /// The index of each such value, by all texts that are equal to it.
    value_of: HashMap<Text, u32>,
}

/// Bytes for entries and values in an inode.
pub fn body_room(geometry: &Geometry) -> usize {
    (geometry.inode_size - BASE_SIZE)
        .saturating_sub(usize::from(EXTRA_ISIZE) + disk::IBODY_HEADER_SIZE + disk::END_SIZE)
}

/// Bytes for entries and values in a block.
fn block_room(geometry: &Geometry) -> usize {
    geometry.block_size - size_of::<XattrHeader>() - disk::END_SIZE
}

/// An index as the plan's lists hold it: one more, so that 0 is none.
fn one_more(index: usize) -> u32 {
    fits(index + 1, "there are fewer than 2^32 nodes, blocks of xattrs, and bytes inline")
}

/// Splits sets, each once for each room that its inodes leave to it.
struct Splitter<'t> {
    tree: &'t Tree,
    block_room: usize,
    /// Whether values may lie in inodes of their own.
    with_inodes: bool,
    splits: Vec<(XattrSetId, Split)>,
    /// For each set, the room that was asked for first, and the split.
    first: Vec<Option<(usize, Option<SplitId>)>>,
    /// The same for any further room.
    others: HashMap<(XattrSetId, usize), Option<SplitId>>,
    rooms: Vec<Room>,
}

impl Splitter<'_> {
    /// Whether a split leaves nothing for a block.
    fn has_no_block(&self, split: SplitId) -> bool {
        self.splits.get(split.0 as usize).is_some_and(|(_, split)| split.is_in_body())
    }

    /// The split of a set where the inode has this room; `None` where it does not fit.
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
        self.rooms.clear();
        self.rooms.extend(self.tree.xattr_set(set).iter().map(|xattr| Room::of(self.tree, xattr)));
        let split = Split::new(&self.rooms, (body_room, self.block_room), self.with_inodes);
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

    /// The split of a set beside inline content, for which the inode leaves this room; `None` where the
    /// content has to go, since a value more would need an inode, or since nothing else fits.
    fn beside_content(&mut self, set: XattrSetId, room: usize, whole_room: usize) -> Option<SplitId> {
        let beside = self.split(set, room)?;
        let outside = self.splits[beside.0 as usize].1.outside();
        if outside == 0 {
            return Some(beside);
        }
        let alone = self.split(set, whole_room)?;
        (self.splits[alone.0 as usize].1.outside() == outside).then_some(beside)
    }
}

/// Collects the values in inodes of their own.
#[derive(Default)]
struct ValueCollector<'t> {
    values: Vec<PlannedValue>,
    by_text: HashMap<Text, u32>,
    by_bytes: HashMap<&'t [u8], u32>,
}

impl<'t> ValueCollector<'t> {
    /// The index of a value, which is new where nothing equal to it was met.
    fn index(&mut self, tree: &'t Tree, text: Text) -> u32 {
        let (values, by_bytes) = (&mut self.values, &mut self.by_bytes);
        *self.by_text.entry(text).or_insert_with(|| {
            *by_bytes.entry(tree.text(text)).or_insert_with(|| {
                values.push(PlannedValue { text, references: 0 });
                fits(values.len() - 1, "each value has one of fewer than 2^32 inodes")
            })
        })
    }

    /// Counts the references of entries.
    fn refer(&mut self, tree: &'t Tree, entries: impl Iterator<Item = (&'t Xattr, bool)>) {
        for (xattr, _) in entries.filter(|(_, outside)| *outside) {
            let index = self.index(tree, xattr.value);
            self.values[index as usize].references += 1;
        }
    }
}

/// Plans all sets, decides which content is inline, and gives each node its block.
///
/// Content is inline where its xattrs then still fit into inode and block, and need no more inodes
/// for their values.
///
/// # Errors
///
/// `Unsupported` for a set that does not fit into one inode and one block.
pub fn plan(
    tree: &Tree,
    geometry: &Geometry,
    candidates: &Candidates<'_>,
    before: &[InodeNr],
) -> Result<XattrPlan> {
    let nodes = tree.nodes.len();
    let mut plan = XattrPlan {
        split_of: vec![0; nodes],
        inline: vec![0; if candidates.is_empty() { 0 } else { nodes }],
        block_of: vec![0; nodes],
        ..XattrPlan::default()
    };
    let body_room = body_room(geometry);
    let mut splitter = Splitter {
        tree,
        block_room: block_room(geometry),
        with_inodes: geometry.features.incompat.contains(Incompat::EA_INODE),
        splits: Vec::with_capacity(tree.xattr_sets.len()),
        first: vec![None; tree.xattr_sets.len()],
        others: HashMap::new(),
        rooms: Vec::new(),
    };
    let (mut sharer, mut values) = (Sharer::default(), ValueCollector::default());
    for node in tree.ids() {
        let mut inline = candidates.value_len(node);
        if let Some(set) = tree.node(node).xattrs {
            let beside = inline.and_then(|value| {
                let taken = super::inline::ENTRY_SIZE + disk::value_size(value);
                splitter.beside_content(set, body_room - taken, body_room)
            });
            // e2fsck does not see the xattr block of a symlink with inline data.
            let is_symlink = matches!(tree.node(node).kind, Kind::Symlink(_));
            let beside = beside.filter(|split| !is_symlink || splitter.has_no_block(*split));
            inline = inline.filter(|_| beside.is_some());
            let split = beside.or_else(|| splitter.split(set, body_room)).ok_or_else(|| {
                let number = before.get(node.index()).copied().unwrap_or_default();
                Location::of(Structure::Xattr).inode(number).unsupported(
                    "the canonical form of these xattrs does not fit into one inode and one block",
                    "remove some of them",
                )
            })?;
            let (_, parts) = &splitter.splits[split.0 as usize];
            if parts.outside() > 0 && is_fast_symlink(tree, node) {
                let number = before.get(node.index()).copied().unwrap_or_default();
                return Err(Location::of(Structure::Xattr).inode(number).unsupported(
                    "a symlink of less than 60 bytes with an xattr that needs an inode for its value: e2fsck takes \
                     what is charged for it for blocks of the symlink, and clears it",
                    "remove the xattr, or make its value shorter",
                ));
            }
            plan.split_of[node.index()] = one_more(split.0 as usize);
            values.refer(tree, parts.part(tree, set, true));
            let blocks = plan.blocks.len();
            let block = sharer.block_for(&mut values, (tree, set, parts), split, &mut plan.blocks);
            plan.block_of[node.index()] = block.map_or(0, one_more);
            if plan.blocks.len() > blocks {
                values.refer(tree, parts.part(tree, set, false));
            }
        }
        if let Some(value) = inline {
            plan.inline[node.index()] = one_more(value);
        }
    }
    plan.splits = splitter.splits;
    (plan.values, plan.value_of) = (values.values, values.by_text);
    Ok(plan)
}

/// Whether a node is a symlink whose target lies in `i_block`.
fn is_fast_symlink(tree: &Tree, node: NodeId) -> bool {
    match tree.node(node).kind {
        Kind::Symlink(target) => (tree.text(target).len() as u64) < FAST_SYMLINK_LIMIT,
        _ => false,
    }
}

/// Lets splits with equal parts for the block share it.
#[derive(Default)]
struct Sharer<'t> {
    contents: HashMap<BlockPart<'t>, usize>,
    /// For each split, the index of its content, if it has any.
    content_of: HashMap<SplitId, Option<usize>>,
    /// For each content, the block that is not full yet.
    current: Vec<usize>,
}

impl<'t> Sharer<'t> {
    /// The block that one more inode with a split uses, if the split needs any.
    fn block_for(
        &mut self,
        values: &mut ValueCollector<'t>,
        (tree, set, parts): (&'t Tree, XattrSetId, &Split),
        split: SplitId,
        blocks: &mut Vec<XattrBlock>,
    ) -> Option<usize> {
        if parts.is_in_body() {
            return None;
        }
        let contents = &mut self.contents;
        let content = *self.content_of.entry(split).or_insert_with(|| {
            let mut value = |xattr: &Xattr, outside| match outside {
                true => ValuePart::Outside(values.index(tree, xattr.value)),
                false => ValuePart::Here(tree.text(xattr.value)),
            };
            let in_block: Vec<_> = parts
                .part(tree, set, false)
                .map(|(xattr, outside)| (xattr.index, tree.text(xattr.name), value(xattr, outside)))
                .collect();
            let next = contents.len();
            (!in_block.is_empty()).then(|| *contents.entry(in_block).or_insert(next))
        });
        let content = content?;
        let is_full = |block: &usize| blocks[*block].refcount == disk::REFCOUNT_MAX;
        if self.current.get(content).is_none_or(is_full) {
            // Contents are numbered in the order of their first use.
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

impl XattrPlan {
    /// The index in `blocks` of the block with a node's xattrs.
    pub fn block_index_of(&self, node: NodeId) -> Option<usize> {
        self.block_of[node.index()].checked_sub(1).map(|index| index as usize)
    }

    /// The split of a node's set.
    pub fn split_of(&self, node: NodeId) -> Option<SplitId> {
        self.split_of[node.index()].checked_sub(1).map(SplitId)
    }

    /// The block with a node's xattrs.
    pub fn block_of(&self, node: NodeId) -> Option<&XattrBlock> {
        self.block_index_of(node).map(|index| &self.blocks[index])
    }

    /// The length of `system.data` of a node whose content is inline.
    pub fn inline_of(&self, node: NodeId) -> Option<usize> {
        let value = self.inline.get(node.index())?.checked_sub(1)?;
        Some(value as usize)
    }

    /// The xattrs of a node that lie in its inode, each with the index of its value among `values` if
    /// it lies in an inode of its own.
    pub fn body_part<'t>(
        &'t self,
        tree: &'t Tree,
        node: NodeId,
    ) -> impl Iterator<Item = (&'t Xattr, Option<u32>)> + use<'t> {
        self.split_of(node).into_iter().flat_map(move |split| self.part(tree, split, true))
    }

    /// The xattrs of a split that lie in a block, in the same form.
    pub fn block_part<'t>(
        &'t self,
        tree: &'t Tree,
        split: SplitId,
    ) -> impl Iterator<Item = (&'t Xattr, Option<u32>)> + use<'t> {
        self.part(tree, split, false)
    }

    fn part<'t>(
        &'t self,
        tree: &'t Tree,
        split: SplitId,
        body: bool,
    ) -> impl Iterator<Item = (&'t Xattr, Option<u32>)> + use<'t> {
        let (set, split) = &self.splits[split.0 as usize];
        split.part(tree, *set, body).map(move |(xattr, outside)| {
            (xattr, outside.then(|| self.value_of.get(&xattr.value).copied()).flatten())
        })
    }

    /// What a node is charged for its values in inodes of their own: each in whole clusters, and an
    /// inode, however many entries share it. Both `i_blocks` and quotas count it.
    pub fn charge(&self, tree: &Tree, node: NodeId, cluster_bytes: u64) -> QuotaUsage {
        let mut charge = QuotaUsage::default();
        if self.values.is_empty() {
            return charge;
        }
        let in_block = self.block_of(node).map(|block| self.block_part(tree, block.split));
        for (xattr, value) in self.body_part(tree, node).chain(in_block.into_iter().flatten()) {
            if value.is_some() {
                let bytes = tree.text(xattr.value).len() as u64;
                charge.add(QuotaUsage { inodes: 1, bytes: bytes.next_multiple_of(cluster_bytes) });
            }
        }
        charge
    }
}
