//! Finds the distinct sets of xattrs, wherever the xattrs are stored.

use std::collections::HashMap;

use rayon::prelude::*;
use smallvec::SmallVec;

use super::blocks::XattrBlocks;
use super::ea_values::EaValues;
use super::entries::StoredXattr;
use super::set_hashes::{SetHashes, hash, is_own};
use crate::error::Result;
use crate::read::inodes::Inodes;
use crate::tree::{Tree, Xattr, XattrSetId};

/// An xattr of a set.
#[derive(Clone, Copy)]
struct SetMember<'v> {
    xattr: &'v StoredXattr<'v>,
    /// Whether other sets can contain the same stored xattr.
    shared: bool,
}

/// All xattrs of an inode, sorted.
type SetMembers<'v> = SmallVec<[SetMember<'v>; 4]>;

/// The data for comparing the xattrs of inodes.
struct SetFinder<'v> {
    inodes: &'v Inodes<'v>,
    blocks: &'v XattrBlocks<'v>,
    values: &'v EaValues<'v>,
    distinct: HashMap<&'v [u8], usize>,
}

/// The index that stands for an inode without xattrs.
const NONE: u32 = u32::MAX;

/// The groups of inodes with equal xattrs.
pub(crate) struct XattrSets<'v> {
    finder: SetFinder<'v>,
    hashes: SetHashes,
    /// For each inode, the index of the first inode with the same xattrs; `NONE` for an inode without xattrs.
    firsts: Vec<u32>,
}

impl<'v> XattrSets<'v> {
    /// Prepares the comparison for all inodes. `hashes` are the hashes that are already known.
    pub(crate) fn of(
        inodes: &'v Inodes<'v>,
        blocks: &'v XattrBlocks<'v>,
        values: &'v EaValues<'v>,
        hashes: SetHashes,
    ) -> Self {
        let finder = SetFinder { inodes, blocks, values, distinct: values.distinct() };
        Self { finder, hashes, firsts: Vec::new() }
    }

    /// Finds the inodes with equal xattrs.
    pub(crate) fn find(&mut self) -> Result<()> {
        let (finder, seed) = (&self.finder, self.hashes.seed);
        let count = u32::try_from(finder.inodes.list.len()).expect("fits: inodes have numbers of 32 bits");
        let hash = |buffer: &mut Vec<u8>, index: u32| {
            Ok(finder.hash(seed, index, buffer)?.map(|hash| (hash, index)))
        };
        let rest: Vec<_> = (0..count)
            .into_par_iter()
            .map_init(Vec::new, hash)
            .filter_map(Result::transpose)
            .collect::<Result<_>>()?;
        let mut hashes = std::mem::take(&mut self.hashes.list);
        if !finder.distinct.is_empty() {
            hashes.clear();
        }
        hashes.extend(rest);
        hashes.par_sort_unstable();
        let mut firsts = vec![NONE; finder.inodes.list.len()];
        for alike in hashes.chunk_by(|one, next| one.0 == next.0) {
            finder.add_firsts(alike, &mut firsts);
        }
        self.firsts = firsts;
        Ok(())
    }

    /// Adds the distinct sets to the tree, in the order of their first use, and returns the set of each node.
    /// `order` contains the index of each node's inode, if it has one.
    pub(crate) fn add_sets(&self, tree: &mut Tree, order: &[u32]) -> Vec<Option<XattrSetId>> {
        let count = |xattrs: &[Xattr]| {
            u32::try_from(xattrs.len()).expect("fits: 2^32 distinct xattrs need more than 64 GiB of memory")
        };
        let (mut texts, mut before) = (HashMap::new(), 0);
        // For each inode that is the first with its set of xattrs, the first node with this set.
        let (mut nodes, mut sets) = (vec![NONE; self.firsts.len()], vec![None; order.len()]);
        for (place, index) in (0_u32..).zip(order) {
            let first = self.firsts.get(*index as usize).copied().unwrap_or(NONE);
            let Some(node) = nodes.get_mut(first as usize) else { continue };
            if *node != NONE {
                sets[place as usize] = sets[*node as usize];
                continue;
            }
            *node = place;
            let start = count(&tree.xattrs);
            for (member, SetMember { xattr, shared }) in self.finder.members(*index).into_iter().enumerate() {
                let mut text = |bytes: &'v [u8]| match shared {
                    true => {
                        let place = (bytes.as_ptr().addr(), bytes.len());
                        *texts.entry(place).or_insert_with(|| tree.add_text(bytes))
                    }
                    false => tree.add_text(bytes),
                };
                let value = text(self.finder.values.of(xattr));
                // Sets often have the same names as the previous set.
                let known = tree.xattrs.get(before + member).map(|known| known.name);
                let name = known.filter(|name| tree.text(*name) == xattr.name);
                let name = name.unwrap_or_else(|| tree.add_text(xattr.name));
                tree.xattrs.push(Xattr { index: xattr.index, name, value });
            }
            let id = XattrSetId::new(tree.xattr_sets.len());
            tree.xattr_sets.push(start..count(&tree.xattrs));
            sets[place as usize] = Some(id);
            before = start as usize;
        }
        sets
    }
}

impl<'v> SetFinder<'v> {
    /// Finds the inodes with equal xattrs among inodes whose xattrs have the same hash.
    fn add_firsts(&self, alike: &[(u64, u32)], firsts: &mut [u32]) {
        if let [(_, index)] = alike {
            firsts[*index as usize] = *index;
            return;
        }
        let mut known: Vec<(u32, SetMembers<'v>)> = Vec::new();
        for (_, index) in alike {
            let set = self.members(*index);
            let first = known.iter().find(|(_, other)| self.are_same(other, &set)).map(|(first, _)| *first);
            firsts[*index as usize] = first.unwrap_or(*index);
            if first.is_none() {
                known.push((*index, set));
            }
        }
    }

    /// Returns a hash of the xattrs of an inode; `None` if there are no xattrs, or the hash is already known.
    /// Reuses the buffer.
    fn hash(&self, seed: u64, index: u32, buffer: &mut Vec<u8>) -> Result<Option<u64>> {
        let inode = &self.inodes.list[index as usize];
        let own = self.inodes.xattrs_of(inode);
        // If there are EA inodes, values in bodies can be equal to values in EA inodes, so hashes use the
        // numbers of values.
        let known = self.distinct.is_empty() && is_own(own);
        if inode.xattr_block().is_none() && (own.is_empty() || known) {
            return Ok(None);
        }
        let members = self.members(index);
        if members.is_empty() {
            return Ok(None);
        }
        let set: SmallVec<[&StoredXattr<'_>; 4]> = members.iter().map(|member| member.xattr).collect();
        let value = |xattr: &StoredXattr<'_>, buffer: &mut Vec<u8>| match self.number(xattr) {
            Some(number) => buffer.extend(number.to_le_bytes()),
            None => buffer.extend(self.values.of(xattr)),
        };
        hash(seed, inode.number, &set, buffer, value).map(Some)
    }

    /// Returns all xattrs of an inode, sorted.
    fn members(&self, index: u32) -> SetMembers<'v> {
        let Some(inode) = self.inodes.list.get(index as usize) else { return SetMembers::new() };
        let in_block = inode.xattr_block().map_or(&[][..], |block| self.blocks.entries(block));
        // Xattrs in the body belong to a single inode.
        let own = self.inodes.xattrs_of(inode).iter();
        let own = own.map(|xattr| SetMember { xattr, shared: xattr.inode().is_some() });
        let shared = in_block.iter().map(|xattr| SetMember { xattr, shared: true });
        let mut set: SetMembers<'v> = own.chain(shared).collect();
        set.sort_unstable_by(|a, b| a.xattr.key().cmp(&b.xattr.key()));
        set
    }

    /// Returns the number of a value that is equal to a value in an EA inode. Comparing numbers avoids
    /// comparing the bytes again.
    fn number(&self, xattr: &StoredXattr<'_>) -> Option<usize> {
        if self.distinct.is_empty() { None } else { self.values.number_of(xattr, &self.distinct) }
    }

    fn are_same(&self, one: &[SetMember<'_>], other: &[SetMember<'_>]) -> bool {
        let same = |one: &StoredXattr<'_>, other: &StoredXattr<'_>| {
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
