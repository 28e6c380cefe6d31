//! Sets of xattrs: each distinct one once, wherever its parts lie.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use rayon::prelude::*;
use smallvec::{SmallVec, smallvec};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::ea_inode::Values;
use super::inodes::Inodes;
use super::xattr::{RawXattr, XattrBlocks};
use crate::error::{Location, Result, Structure};
use crate::tree::{Tree, Xattr, XattrSetId};

/// An xattr of a set.
#[derive(Clone, Copy)]
struct Member<'v> {
    xattr: &'v RawXattr<'v>,
    /// Whether others may have it from the same place.
    shared: bool,
}

/// The xattrs of an inode.
type Set<'v> = SmallVec<[Member<'v>; 4]>;

/// Finds the sets of inodes.
struct Finder<'v> {
    inodes: &'v Inodes<'v>,
    blocks: &'v XattrBlocks<'v>,
    values: &'v Values<'v>,
    distinct: HashMap<&'v [u8], usize>,
    seed: u64,
}

/// Finds the set of each node's xattrs, and adds the distinct ones to the tree, in the order of their
/// first use. For each node there is the index of its inode, if it has one.
pub fn add<'v>(
    tree: &mut Tree,
    order: &[u32],
    inodes: &'v Inodes<'v>,
    (blocks, values): (&'v XattrBlocks<'v>, &'v Values<'v>),
) -> Result<()> {
    // Nobody who makes images can know which sets will have one hash.
    let seed = RandomState::new().hash_one(0);
    let finder = Finder { inodes, blocks, values, distinct: values.distinct(), seed };
    let mut texts = HashMap::new();
    for Found { node, first } in finder.find(order)? {
        if node != first {
            tree.nodes[node as usize].xattrs = tree.nodes[first as usize].xattrs;
            continue;
        }
        let start = u32::try_from(tree.xattrs.len()).unwrap_or(u32::MAX);
        for Member { xattr, shared } in finder.members(order[node as usize]) {
            let mut text = |bytes: &'v [u8]| match shared {
                true => {
                    let place = (bytes.as_ptr().addr(), bytes.len());
                    *texts.entry(place).or_insert_with(|| tree.add_text(bytes))
                }
                false => tree.add_text(bytes),
            };
            let (name, value) = (text(xattr.name), text(values.of(xattr)));
            tree.xattrs.push(Xattr { index: xattr.index, name, value });
        }
        let id = XattrSetId(u32::try_from(tree.xattr_sets.len()).unwrap_or(u32::MAX));
        tree.xattr_sets.push(start..u32::try_from(tree.xattrs.len()).unwrap_or(u32::MAX));
        tree.nodes[node as usize].xattrs = Some(id);
    }
    Ok(())
}

/// A node with xattrs, and the first node with the same.
#[derive(Clone, Copy)]
struct Found {
    node: u32,
    first: u32,
}

impl<'v> Finder<'v> {
    /// All nodes with xattrs, in order.
    fn find(&self, order: &[u32]) -> Result<Vec<Found>> {
        let hash = |buffer: &mut Vec<u8>, (node, index): (usize, &u32)| {
            let found = self.hash(*index, buffer)?;
            // Nodes are counted by 32 bits.
            Ok(found.map(|hash| (hash, u32::try_from(node).unwrap_or(u32::MAX))))
        };
        let mut hashes: Vec<(u64, u32)> = order
            .par_iter()
            .enumerate()
            .map_init(Vec::new, hash)
            .filter_map(Result::transpose)
            .collect::<Result<_>>()?;
        hashes.par_sort_unstable();
        let mut found: Vec<Found> = hashes
            .par_chunk_by(|one, next| one.0 == next.0)
            .flat_map_iter(|alike| self.firsts(order, alike))
            .collect();
        found.par_sort_unstable_by_key(|found| found.node);
        Ok(found)
    }

    /// Finds which of some nodes, whose sets have one hash, have the same set.
    fn firsts(&self, order: &[u32], alike: &[(u64, u32)]) -> SmallVec<[Found; 1]> {
        if let [(_, node)] = alike {
            return smallvec![Found { node: *node, first: *node }];
        }
        let mut firsts: Vec<(u32, Set<'v>)> = Vec::new();
        let found = alike.iter().map(|(_, node)| {
            let set = self.members(order[*node as usize]);
            match firsts.iter().find(|(_, known)| self.are_same(known, &set)) {
                Some((first, _)) => Found { node: *node, first: *first },
                None => {
                    firsts.push((*node, set));
                    Found { node: *node, first: *node }
                }
            }
        });
        found.collect()
    }

    /// A hash of the xattrs of an inode; `None` where it has none. The buffer serves for many inodes.
    fn hash(&self, index: u32, buffer: &mut Vec<u8>) -> Result<Option<u64>> {
        let set = self.members(index);
        if set.is_empty() {
            return Ok(None);
        }
        if let Some([double, _]) = set.windows(2).find(|pair| pair[0].xattr.key() == pair[1].xattr.key()) {
            let double = double.xattr;
            let name = crate::ondisk::xattr::full_name(double.index, double.name);
            return Err(Location::of(Structure::Xattr)
                .inode(self.inodes.list[index as usize].number)
                .wrong(format!("have two values for {name}")));
        }
        buffer.clear();
        for Member { xattr, .. } in set {
            buffer.push(xattr.index);
            buffer.extend(xattr.name.len().to_le_bytes());
            buffer.extend(xattr.name);
            match self.number(xattr) {
                Some(number) => buffer.extend(number.to_le_bytes()),
                None => buffer.extend(xattr.value),
            }
        }
        Ok(Some(xxh3_64_with_seed(buffer, self.seed)))
    }

    /// All xattrs of an inode, sorted.
    fn members(&self, index: u32) -> Set<'v> {
        let Some(inode) = self.inodes.list.get(index as usize) else { return Set::new() };
        let in_block = inode.xattr_block.map_or(&[][..], |block| self.blocks.entries(block));
        // What lies in the inode itself is nobody else's.
        let own = self.inodes.hold(inode).xattrs.iter();
        let own = own.map(|xattr| Member { xattr, shared: xattr.inode.is_some() });
        let shared = in_block.iter().map(|xattr| Member { xattr, shared: true });
        let mut set: Set<'v> = own.chain(shared).collect();
        set.sort_unstable_by(|a, b| a.xattr.key().cmp(&b.xattr.key()));
        set
    }

    /// The number of a large value, by which it is compared: its bytes were compared once.
    fn number(&self, xattr: &RawXattr<'_>) -> Option<usize> {
        if self.distinct.is_empty() { None } else { self.values.number_of(xattr, &self.distinct) }
    }

    fn are_same(&self, one: &[Member<'_>], other: &[Member<'_>]) -> bool {
        let same = |one: &RawXattr<'_>, other: &RawXattr<'_>| {
            let numbers = (self.number(one), self.number(other));
            one.key() == other.key()
                && match numbers {
                    (None, None) => one.value == other.value,
                    (one, other) => one == other,
                }
        };
        one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one.xattr, other.xattr))
    }
}
