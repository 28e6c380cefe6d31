//! Which xattrs go into the inode and which into a block, and which inodes share a block.

use std::collections::HashMap;

use crate::error::{Location, Result, Structure};
use crate::form::EXTRA_ISIZE;
use crate::geometry::Geometry;
use crate::ondisk::inode::BASE_SIZE;
use crate::ondisk::xattr::{self as disk, XattrHeader};
use crate::tree::{NodeId, Tree, Xattr, XattrSetId};
use crate::units::{BlockNr, InodeNr};

/// How a set is split between the inode and a block.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Split {
    Body,
    Block,
    /// For each xattr, whether it lies in the inode.
    Mixed(Box<[bool]>),
}

/// A block of xattrs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XattrBlock {
    /// A set whose part for the block is what the block holds.
    pub set: XattrSetId,
    /// The number of inodes that use it.
    pub refcount: u32,
    /// Where it lies.
    pub at: BlockNr,
}

/// What a block holds: name index, name and value of each xattr.
type BlockPart<'t> = Vec<(u8, &'t [u8], &'t [u8])>;

/// Where all xattrs go.
#[derive(Debug, Default)]
pub struct XattrPlan {
    splits: Vec<Split>,
    /// The blocks, in the order of their first use.
    pub blocks: Vec<XattrBlock>,
    /// For each node, the index of its block and one more; 0 for none.
    block_of: Vec<u32>,
}

/// Bytes for entries and values in an inode.
fn body_room(geometry: &Geometry) -> usize {
    (geometry.inode_size - BASE_SIZE)
        .saturating_sub(usize::from(EXTRA_ISIZE) + disk::IBODY_HEADER_SIZE + disk::END_SIZE)
}

/// Bytes for entries and values in a block.
fn block_room(geometry: &Geometry) -> usize {
    geometry.block_size - size_of::<XattrHeader>() - disk::END_SIZE
}

/// Plans all sets, and gives each node its block.
///
/// # Errors
///
/// `Unsupported` for a set that does not fit into one inode and one block.
pub fn plan(tree: &Tree, geometry: &Geometry, number_of: impl Fn(NodeId) -> InodeNr) -> Result<XattrPlan> {
    let mut plan = XattrPlan { block_of: vec![0; tree.nodes.len()], ..XattrPlan::default() };
    let rooms = (body_room(geometry), block_room(geometry));
    // Sets with the same part for the block share it.
    let mut contents: HashMap<BlockPart<'_>, usize> = HashMap::new();
    let mut content_of = vec![None; tree.xattr_sets.len()];
    let mut current: Vec<usize> = Vec::new();
    for node in tree.ids() {
        let Some(set) = tree.node(node).xattrs else { continue };
        let index = set.0 as usize;
        // Sets are numbered in the order of their first use, as the nodes come.
        if index == plan.splits.len() {
            let xattrs = tree.xattr_set(set);
            let sizes: Vec<usize> = xattrs.iter().map(|xattr| room(tree, xattr)).collect();
            let split = split(&sizes, rooms).ok_or_else(|| {
                Location::of(Structure::Xattr).inode(number_of(node)).unsupported(
                    "the canonical form of these xattrs does not fit into one inode and one block",
                    "remove some of them",
                )
            })?;
            plan.splits.push(split);
            let in_block: Vec<_> = plan
                .block_part(tree, set)
                .map(|xattr| (xattr.index, tree.text(xattr.name), tree.text(xattr.value)))
                .collect();
            if !in_block.is_empty() {
                let next = contents.len();
                content_of[index] = Some(*contents.entry(in_block).or_insert(next));
            }
        }
        let Some(content) = content_of[index] else { continue };
        let full = |block: &usize| plan.blocks[*block].refcount == disk::REFCOUNT_MAX;
        if content == current.len() {
            current.push(plan.blocks.len());
            plan.blocks.push(XattrBlock { set, refcount: 0, at: BlockNr(0) });
        } else if full(&current[content]) {
            current[content] = plan.blocks.len();
            plan.blocks.push(XattrBlock { set, refcount: 0, at: BlockNr(0) });
        }
        let block = current[content];
        plan.blocks[block].refcount += 1;
        plan.block_of[node.index()] = u32::try_from(block + 1).unwrap_or(u32::MAX);
    }
    Ok(plan)
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
    let mut left = body;
    let greedy: Vec<bool> = sizes
        .iter()
        .map(|size| {
            let fits = *size <= left;
            left -= if fits { *size } else { 0 };
            fits
        })
        .collect();
    let taken = body - left;
    if total - taken <= block {
        return Some(if taken == 0 { Split::Block } else { Split::Mixed(greedy.into()) });
    }
    let fullest = fullest(sizes, body);
    let taken: usize = sizes.iter().zip(&fullest).filter(|(_, taken)| **taken).map(|(size, _)| size).sum();
    (total - taken <= block).then(|| Split::Mixed(fullest.into()))
}

/// The choice of sizes with the greatest sum that fits into `room`; of several, the one that
/// takes the later sizes only where it must.
fn fullest(sizes: &[usize], room: usize) -> Vec<bool> {
    // reach[n][sum]: the first n sizes can make up the sum. Sizes are multiples of 4.
    let (slots, unit) = (room / 4, 4);
    let mut reach = vec![vec![false; slots + 1]];
    reach[0][0] = true;
    for size in sizes {
        let before = &reach[reach.len() - 1];
        let step = size / unit;
        let next = (0..=slots).map(|sum| before[sum] || (sum >= step && before[sum - step])).collect();
        reach.push(next);
    }
    let mut sum = (0..=slots).rev().find(|sum| reach[sizes.len()][*sum]).unwrap_or(0);
    let mut taken = vec![false; sizes.len()];
    for index in (0..sizes.len()).rev() {
        if !reach[index][sum] {
            taken[index] = true;
            sum -= sizes[index] / unit;
        }
    }
    taken
}

impl XattrPlan {
    /// The block of a node's xattrs.
    pub fn block_of(&self, node: NodeId) -> Option<&XattrBlock> {
        let index = self.block_of[node.index()].checked_sub(1)?;
        self.blocks.get(index as usize)
    }

    fn part<'t>(
        &self,
        tree: &'t Tree,
        set: XattrSetId,
        body: bool,
    ) -> impl Iterator<Item = &'t Xattr> + use<'t, '_> {
        let split = &self.splits[set.0 as usize];
        tree.xattr_set(set)
            .iter()
            .enumerate()
            .filter(move |(index, _)| match split {
                Split::Body => body,
                Split::Block => !body,
                Split::Mixed(in_body) => in_body[*index] == body,
            })
            .map(|(_, xattr)| xattr)
    }

    /// The xattrs of a set that lie in the inode.
    pub fn body_part<'t>(
        &self,
        tree: &'t Tree,
        set: XattrSetId,
    ) -> impl Iterator<Item = &'t Xattr> + use<'t, '_> {
        self.part(tree, set, true)
    }

    /// The xattrs of a set that lie in a block.
    pub fn block_part<'t>(
        &self,
        tree: &'t Tree,
        set: XattrSetId,
    ) -> impl Iterator<Item = &'t Xattr> + use<'t, '_> {
        self.part(tree, set, false)
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
