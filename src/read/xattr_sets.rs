//! Sets of xattrs: each distinct one once, wherever its parts lie.

use std::collections::HashMap;

use super::ea_inode::Values;
use super::inode::ReadInode;
use super::xattr::{RawXattr, XattrBlocks};
use crate::error::{Location, Result, Structure};
use crate::tree::{Text, Tree, Xattr, XattrSetId};

/// A value as sets are compared by it. Large ones are compared once, and known by their number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Value<'v> {
    Bytes(&'v [u8]),
    Known(usize),
}

/// What makes two xattrs equal.
type Key<'v> = (u8, &'v [u8], Value<'v>);

/// The sets that have been met.
pub struct XattrSets<'v> {
    blocks: &'v XattrBlocks<'v>,
    values: &'v Values<'v>,
    distinct: HashMap<&'v [u8], usize>,
    sets: HashMap<Vec<Key<'v>>, XattrSetId>,
    /// The texts of names and values, by place and length in the input: what many inodes share is
    /// in the tree once.
    texts: HashMap<(usize, usize), Text>,
}

impl<'v> XattrSets<'v> {
    /// No set yet.
    pub fn new(blocks: &'v XattrBlocks<'v>, values: &'v Values<'v>) -> Self {
        Self { blocks, values, distinct: values.distinct(), sets: HashMap::new(), texts: HashMap::new() }
    }

    /// The set of an inode, which is added to the tree if it is new.
    pub fn set_of(&mut self, tree: &mut Tree, inode: &'v ReadInode<'v>) -> Result<Option<XattrSetId>> {
        let in_block = inode.xattr_block.map_or(&[][..], |block| self.blocks.entries(block));
        let mut set: Vec<&'v RawXattr<'v>> = inode.xattrs.iter().chain(in_block).collect();
        if set.is_empty() {
            return Ok(None);
        }
        set.sort_unstable_by(|a, b| a.key().cmp(&b.key()));
        if let Some([double, _]) =
            set.windows(2).find_map(|pair| <&[_; 2]>::try_from(pair).ok().filter(|[a, b]| a.key() == b.key()))
        {
            let name = crate::ondisk::xattr::full_name(double.index, double.name);
            return Err(Location::of(Structure::Xattr)
                .inode(inode.number)
                .wrong(format!("have two values for {name}")));
        }
        let key = set.iter().map(|xattr| (xattr.index, xattr.name, self.value(xattr))).collect();
        if let Some(id) = self.sets.get(&key) {
            return Ok(Some(*id));
        }
        let id = XattrSetId(u32::try_from(self.sets.len()).unwrap_or(u32::MAX));
        let start = u32::try_from(tree.xattrs.len()).unwrap_or(u32::MAX);
        for xattr in set {
            let (name, value) = (self.text(tree, xattr.name), self.text(tree, self.values.of(xattr)));
            tree.xattrs.push(Xattr { index: xattr.index, name, value });
        }
        tree.xattr_sets.push(start..u32::try_from(tree.xattrs.len()).unwrap_or(u32::MAX));
        self.sets.insert(key, id);
        Ok(Some(id))
    }

    fn value(&self, xattr: &'v RawXattr<'v>) -> Value<'v> {
        if self.distinct.is_empty() {
            return Value::Bytes(xattr.value);
        }
        match self.values.number_of(xattr, &self.distinct) {
            Some(number) => Value::Known(number),
            None => Value::Bytes(xattr.value),
        }
    }

    fn text(&mut self, tree: &mut Tree, bytes: &[u8]) -> Text {
        let place = (bytes.as_ptr().addr(), bytes.len());
        *self.texts.entry(place).or_insert_with(|| tree.add_text(bytes))
    }
}
