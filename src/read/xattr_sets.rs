//! Sets of xattrs: each distinct one once, wherever its parts lie.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::ea_inode::Values;
use super::inode::ReadInode;
use super::xattr::{RawXattr, XattrBlocks};
use crate::error::{Location, Result, Structure};
use crate::tree::{Text, Tree, Xattr, XattrSetId};

/// An xattr of a set.
#[derive(Clone, Copy)]
struct Member<'v> {
    xattr: &'v RawXattr<'v>,
    /// Whether others may have it from the same place.
    shared: bool,
}

/// The sets that have been met.
pub struct XattrSets<'v> {
    blocks: &'v XattrBlocks<'v>,
    values: &'v Values<'v>,
    distinct: HashMap<&'v [u8], usize>,
    /// The sets by the hash of their bytes; where that is taken by another set, by the next number.
    sets: HashMap<u64, XattrSetId>,
    seed: u64,
    /// The bytes of the set that is looked for.
    bytes: Vec<u8>,
    /// For each xattr in the tree, the number of its value; empty where no value has one.
    numbers: Vec<Option<usize>>,
    /// The texts of names and values outside of inodes, by place and length in the input: what many
    /// inodes share is in the tree once.
    texts: HashMap<(usize, usize), Text>,
}

impl<'v> XattrSets<'v> {
    /// No set yet.
    pub fn new(blocks: &'v XattrBlocks<'v>, values: &'v Values<'v>) -> Self {
        Self {
            blocks,
            values,
            distinct: values.distinct(),
            sets: HashMap::new(),
            // Nobody who makes images can know which sets will collide.
            seed: RandomState::new().hash_one(0),
            bytes: Vec::new(),
            numbers: Vec::new(),
            texts: HashMap::new(),
        }
    }

    /// The set of an inode, which is added to the tree if it is new.
    pub fn set_of(&mut self, tree: &mut Tree, inode: &'v ReadInode<'v>) -> Result<Option<XattrSetId>> {
        let in_block = inode.xattr_block.map_or(&[][..], |block| self.blocks.entries(block));
        // What lies in the inode itself is nobody else's.
        let own = inode.xattrs.iter().map(|xattr| Member { xattr, shared: xattr.inode.is_some() });
        let shared = in_block.iter().map(|xattr| Member { xattr, shared: true });
        let mut set: Vec<Member<'v>> = own.chain(shared).collect();
        if set.is_empty() {
            return Ok(None);
        }
        set.sort_unstable_by(|a, b| a.xattr.key().cmp(&b.xattr.key()));
        if let Some([double, _]) = set.windows(2).find(|pair| pair[0].xattr.key() == pair[1].xattr.key()) {
            let double = double.xattr;
            let name = crate::ondisk::xattr::full_name(double.index, double.name);
            return Err(Location::of(Structure::Xattr)
                .inode(inode.number)
                .wrong(format!("have two values for {name}")));
        }
        let mut hash = self.hash(&set);
        while let Some(id) = self.sets.get(&hash) {
            if self.is_same(tree, *id, &set) {
                return Ok(Some(*id));
            }
            hash = hash.wrapping_add(1);
        }
        let id = XattrSetId(u32::try_from(self.sets.len()).unwrap_or(u32::MAX));
        let start = u32::try_from(tree.xattrs.len()).unwrap_or(u32::MAX);
        for Member { xattr, shared } in set {
            let name = self.text(tree, xattr.name, shared);
            let value = self.text(tree, self.values.of(xattr), shared);
            tree.xattrs.push(Xattr { index: xattr.index, name, value });
            if !self.distinct.is_empty() {
                self.numbers.push(self.number(xattr));
            }
        }
        tree.xattr_sets.push(start..u32::try_from(tree.xattrs.len()).unwrap_or(u32::MAX));
        self.sets.insert(hash, id);
        Ok(Some(id))
    }

    /// The number of a large value, by which it is compared: its bytes were compared once.
    fn number(&self, xattr: &RawXattr<'_>) -> Option<usize> {
        if self.distinct.is_empty() { None } else { self.values.number_of(xattr, &self.distinct) }
    }

    fn hash(&mut self, set: &[Member<'_>]) -> u64 {
        self.bytes.clear();
        for Member { xattr, .. } in set {
            let number = self.number(xattr);
            self.bytes.push(xattr.index);
            self.bytes.extend(xattr.name.len().to_le_bytes());
            self.bytes.extend(xattr.name);
            match number {
                Some(number) => self.bytes.extend(number.to_le_bytes()),
                None => self.bytes.extend(xattr.value),
            }
        }
        xxh3_64_with_seed(&self.bytes, self.seed)
    }

    fn is_same(&self, tree: &Tree, id: XattrSetId, set: &[Member<'_>]) -> bool {
        let range = &tree.xattr_sets[id.0 as usize];
        let places = range.start as usize..range.end as usize;
        places.len() == set.len()
            && places.zip(set).all(|(place, Member { xattr, .. })| {
                let known = &tree.xattrs[place];
                let number = self.number(xattr);
                known.index == xattr.index
                    && tree.text(known.name) == xattr.name
                    && self.numbers.get(place).copied().flatten() == number
                    && (number.is_some() || tree.text(known.value) == xattr.value)
            })
    }

    fn text(&mut self, tree: &mut Tree, bytes: &[u8], shared: bool) -> Text {
        if !shared {
            return tree.add_text(bytes);
        }
        let place = (bytes.as_ptr().addr(), bytes.len());
        *self.texts.entry(place).or_insert_with(|| tree.add_text(bytes))
    }
}
