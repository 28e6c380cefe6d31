//! Which xattrs go into the inode and which into a block, and which inodes share a block.

use std::collections::HashMap;

use super::inline::Candidates;
use super::pack;
use crate::error::{Location, Result, Structure};
use crate::form::EXTRA_ISIZE;
use crate::geometry::Geometry;
use crate::ondisk::inode::BASE_SIZE;
use crate::ondisk::xattr::{self as disk, XattrHeader};
use crate::tree::{Kind, NodeId, Tree, Xattr, XattrSetId};
use crate::units::{BlockNr, InodeNr};

/// How a set is split between the inode and a block.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Split {
    Body,
    Block,
    /// For each xattr, whether it lies in the inode.
    Mixed(Box<[bool]>),
}

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
    /// Where it lies.
    pub at: BlockNr,
}

/// What a block holds: name index, name and value of each xattr.
type BlockPart<'t> = Vec<(u8, &'t [u8], &'t [u8])>;

/// Where all xattrs go, and which content is inline: it lies in an xattr, too.
#[derive(Debug, Default)]
pub struct XattrPlan {
    splits: Vec<(XattrSetId, Split)>,
    /// For each node, the index of its split and one more; 0 for none.
    split_of: Vec<u32>,
    /// For each node with inline content, the length of `system.data` and one more; 0 for the
    /// others. Empty where there is no such node at all.
    inline: Vec<u32>,
    /// The blocks, in the order of their first use.
    pub blocks: Vec<XattrBlock>,
    /// For each node, the index of its block and one more; 0 for none.
    block_of: Vec<u32>,
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
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}

/// Splits sets, each once for each room that its inodes leave to it.
struct Splitter<'t> {
    tree: &'t Tree,
    block_room: usize,
    splits: Vec<(XattrSetId, Split)>,
    known: HashMap<(XattrSetId, usize), Option<SplitId>>,
}

impl Splitter<'_> {
    /// Whether a split leaves nothing for a block.
    fn has_no_block(&self, split: SplitId) -> bool {
        matches!(self.splits.get(split.0 as usize), Some((_, Split::Body)))
    }

    /// The split of a set where the inode has this room; `None` where it does not fit.
    fn split(&mut self, set: XattrSetId, body_room: usize) -> Option<SplitId> {
        if let Some(known) = self.known.get(&(set, body_room)) {
            return *known;
        }
        let sizes: Vec<usize> = self.tree.xattr_set(set).iter().map(|xattr| room(self.tree, xattr)).collect();
        let id = split(&sizes, (body_room, self.block_room)).map(|split| {
            self.splits.push((set, split));
            SplitId(u32::try_from(self.splits.len() - 1).unwrap_or(u32::MAX))
        });
        self.known.insert((set, body_room), id);
        id
    }
}

/// Plans all sets, decides which content is inline, and gives each node its block.
///
/// Content is inline where its xattrs then still fit into inode and block.
///
/// # Errors
///
/// `Unsupported` for a set that does not fit into one inode and one block.
pub fn plan(
    tree: &Tree,
    geometry: &Geometry,
    candidates: &Candidates<'_>,
    number_of: impl Fn(NodeId) -> InodeNr,
) -> Result<XattrPlan> {
    let nodes = tree.nodes.len();
    let mut plan = XattrPlan {
        split_of: vec![0; nodes],
        inline: vec![0; if candidates.is_empty() { 0 } else { nodes }],
        block_of: vec![0; nodes],
        ..XattrPlan::default()
    };
    let body_room = body_room(geometry);
    let mut splitter =
        Splitter { tree, block_room: block_room(geometry), splits: Vec::new(), known: HashMap::new() };
    let mut sharer = Sharer::default();
    for node in tree.ids() {
        let mut inline = candidates.value_len(node);
        if let Some(set) = tree.node(node).xattrs {
            let beside = inline.and_then(|value| {
                splitter.split(set, body_room - super::inline::ENTRY_SIZE - disk::value_size(value))
            });
            // e2fsck does not see the xattr block of a symlink with inline data.
            let is_symlink = matches!(tree.node(node).kind, Kind::Symlink(_));
            let beside = beside.filter(|split| !is_symlink || splitter.has_no_block(*split));
            inline = inline.filter(|_| beside.is_some());
            let split = beside.or_else(|| splitter.split(set, body_room)).ok_or_else(|| {
                Location::of(Structure::Xattr).inode(number_of(node)).unsupported(
                    "the canonical form of these xattrs does not fit into one inode and one block",
                    "remove some of them",
                )
            })?;
            plan.split_of[node.index()] = one_more(split.0 as usize);
            let block = sharer.block_for(tree, &splitter.splits, split, &mut plan.blocks);
            plan.block_of[node.index()] = block.map_or(0, one_more);
        }
        if let Some(value) = inline {
            plan.inline[node.index()] = one_more(value);
        }
    }
    plan.splits = splitter.splits;
    Ok(plan)
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
        tree: &'t Tree,
        splits: &[(XattrSetId, Split)],
        split: SplitId,
        blocks: &mut Vec<XattrBlock>,
    ) -> Option<usize> {
        let contents = &mut self.contents;
        let content = *self.content_of.entry(split).or_insert_with(|| {
            let in_block: Vec<_> = part(tree, &splits[split.0 as usize], false)
                .map(|xattr| (xattr.index, tree.text(xattr.name), tree.text(xattr.value)))
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
            blocks.push(XattrBlock { split, refcount: 0, at: BlockNr(0) });
        }
        let block = self.current[content];
        blocks[block].refcount += 1;
        Some(block)
    }
}

/// The bytes that an xattr takes.
fn room(tree: &Tree, xattr: &Xattr) -> usize {
    disk::entry_size(tree.text(xattr.name).len()) + disk::value_size(tree.text(xattr.value).len())
}

/// Splits a set: in its order, whatever still fits goes into the inode. Where the block can't
/// hold the rest, the inode takes the choice that fills it most.
fn split(sizes: &[usize], (body, block): (usize, usize)) -> Option<Split> {
    let total: usize = sizes.iter().sum();
    if total <= body {
        return Some(Split::Body);
    }
    let (in_order, taken) = pack::in_order(sizes, body);
    if total - taken <= block {
        return Some(if taken == 0 { Split::Block } else { Split::Mixed(in_order.into()) });
    }
    let (fullest, taken) = pack::fullest(sizes, body);
    (total - taken <= block).then(|| Split::Mixed(fullest.into()))
}

/// The xattrs of a split that lie in the inode, or else those in the block.
fn part<'t>(
    tree: &'t Tree,
    (set, split): &(XattrSetId, Split),
    body: bool,
) -> impl Iterator<Item = &'t Xattr> {
    tree.xattr_set(*set)
        .iter()
        .enumerate()
        .filter(move |(index, _)| match split {
            Split::Body => body,
            Split::Block => !body,
            Split::Mixed(in_body) => in_body[*index] == body,
        })
        .map(|(_, xattr)| xattr)
}

impl XattrPlan {
    /// The block of a node's xattrs.
    pub fn block_of(&self, node: NodeId) -> Option<&XattrBlock> {
        let index = self.block_of[node.index()].checked_sub(1)?;
        self.blocks.get(index as usize)
    }

    /// The length of `system.data` of a node whose content is inline.
    pub fn inline_of(&self, node: NodeId) -> Option<usize> {
        let value = self.inline.get(node.index())?.checked_sub(1)?;
        Some(value as usize)
    }

    /// The xattrs of a node that lie in its inode.
    pub fn body_part<'t>(
        &self,
        tree: &'t Tree,
        node: NodeId,
    ) -> impl Iterator<Item = &'t Xattr> + use<'t, '_> {
        let split = self.split_of[node.index()].checked_sub(1);
        split.into_iter().flat_map(|split| part(tree, &self.splits[split as usize], true))
    }

    /// The xattrs of a split that lie in a block.
    pub fn block_part<'t>(
        &self,
        tree: &'t Tree,
        split: SplitId,
    ) -> impl Iterator<Item = &'t Xattr> + use<'t, '_> {
        part(tree, &self.splits[split.0 as usize], false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inode_takes_what_fits_in_order() {
        assert_eq!(split(&[40, 40], (88, 988)), Some(Split::Body));
        assert_eq!(split(&[100, 200], (88, 988)), Some(Split::Block));
        assert_eq!(split(&[40, 60, 40], (88, 988)), Some(Split::Mixed([true, false, true].into())));
    }

    /// In order, 40 and 40 would go into the inode and leave 1000 for the block: too much.
    #[test]
    fn a_tight_set_is_split_by_the_fullest_choice() {
        assert_eq!(
            split(&[40, 40, 88, 908], (88, 988)),
            Some(Split::Mixed([false, false, true, false].into()))
        );
        assert_eq!(split(&[88, 88, 988], (88, 988)), None);
    }
}
