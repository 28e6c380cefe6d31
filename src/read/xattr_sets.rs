//! Sets of xattrs: each distinct one once, wherever its parts lie.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use rayon::prelude::*;
use smallvec::SmallVec;
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

/// In the place of an inode's index: it has no xattrs.
const NONE: u32 = u32::MAX;

/// Which inodes have the same xattrs.
pub struct Alike<'v> {
    finder: Finder<'v>,
    /// For each inode, the index of the first with the same; `NONE` for one without.
    firsts: Vec<u32>,
}

impl<'v> Alike<'v> {
    /// Compares the xattrs of all inodes.
    pub fn find(
        inodes: &'v Inodes<'v>,
        (blocks, values): (&'v XattrBlocks<'v>, &'v Values<'v>),
    ) -> Result<Self> {
        // Nobody who makes images can know which sets will have one hash.
        let seed = RandomState::new().hash_one(0);
        let finder = Finder { inodes, blocks, values, distinct: values.distinct(), seed };
        // Inodes are counted by 32 bits.
        let hash =
            |buffer: &mut Vec<u8>, index: u32| Ok(finder.hash(index, buffer)?.map(|hash| (hash, index)));
        let count = u32::try_from(inodes.list.len()).unwrap_or(NONE);
        let mut hashes: Vec<(u64, u32)> = (0..count)
            .into_par_iter()
            .map_init(Vec::new, hash)
            .filter_map(Result::transpose)
            .collect::<Result<_>>()?;
        hashes.par_sort_unstable();
        let mut firsts = vec![NONE; inodes.list.len()];
        for alike in hashes.chunk_by(|one, next| one.0 == next.0) {
            finder.add_firsts(alike, &mut firsts);
        }
        Ok(Self { finder, firsts })
    }

    /// Gives each node its set, and adds the distinct ones to the tree, in the order of their first use.
    /// For each node there is the index of its inode, if it has one.
    pub fn add_sets(&self, tree: &mut Tree, order: &[u32]) {
        let (mut texts, mut before) = (HashMap::new(), 0);
        // For each inode that is the first with its xattrs, the node that came first.
        let mut nodes = vec![NONE; self.firsts.len()];
        for (place, index) in (0_u32..).zip(order) {
            let first = self.firsts.get(*index as usize).copied().unwrap_or(NONE);
            let Some(node) = nodes.get_mut(first as usize) else { continue };
            if *node != NONE {
                tree.nodes[place as usize].xattrs = tree.nodes[*node as usize].xattrs;
                continue;
            }
            *node = place;
            let start = u32::try_from(tree.xattrs.len()).unwrap_or(u32::MAX);
            for (member, Member { xattr, shared }) in self.finder.members(*index).into_iter().enumerate() {
                let mut text = |bytes: &'v [u8]| match shared {
                    true => {
                        let place = (bytes.as_ptr().addr(), bytes.len());
                        *texts.entry(place).or_insert_with(|| tree.add_text(bytes))
                    }
                    false => tree.add_text(bytes),
                };
                let value = text(self.finder.values.of(xattr));
                // Often the names are those of the set before.
                let known = tree.xattrs.get(before + member).map(|known| known.name);
                let name = known.filter(|name| tree.text(*name) == xattr.name);
                let name = name.unwrap_or_else(|| tree.add_text(xattr.name));
                tree.xattrs.push(Xattr { index: xattr.index, name, value });
            }
            let id = XattrSetId::new(tree.xattr_sets.len());
            tree.xattr_sets.push(start..u32::try_from(tree.xattrs.len()).unwrap_or(u32::MAX));
            tree.nodes[place as usize].xattrs = Some(id);
            before = start as usize;
        }
    }
}

impl<'v> Finder<'v> {
    /// Finds which of some inodes, whose xattrs have one hash, have the same.
    fn add_firsts(&self, alike: &[(u64, u32)], firsts: &mut [u32]) {
        if let [(_, index)] = alike {
            firsts[*index as usize] = *index;
            return;
        }
        let mut known: Vec<(u32, Set<'v>)> = Vec::new();
        for (_, index) in alike {
            let set = self.members(*index);
            let first = known.iter().find(|(_, other)| self.are_same(other, &set)).map(|(first, _)| *first);
            firsts[*index as usize] = first.unwrap_or(*index);
            if first.is_none() {
                known.push((*index, set));
            }
        }
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
                None => buffer.extend(self.values.of(xattr)),
            }
        }
        Ok(Some(xxh3_64_with_seed(buffer, self.seed)))
    }

    /// All xattrs of an inode, sorted.
    fn members(&self, index: u32) -> Set<'v> {
        let Some(inode) = self.inodes.list.get(index as usize) else { return Set::new() };
        let in_block = inode.xattr_block().map_or(&[][..], |block| self.blocks.entries(block));
        // What lies in the inode itself is nobody else's.
        let own = self.inodes.xattrs_of(inode).iter();
        let own = own.map(|xattr| Member { xattr, shared: xattr.inode().is_some() });
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
