//! Splits a set of xattrs between the inode, an xattr block and EA inodes.

use std::cmp::Reverse;

use super::pack;
use crate::ondisk::xattr as disk;
use crate::tree::{Tree, Xattr, XattrSetId};

/// The locations of the xattrs in a set. In by far the most common case, all xattrs are in the inode: then
/// the field is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Split(Option<Box<SplitParts>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct SplitParts {
    place: EntryPlaces,
    /// For each xattr, whether its value is in an EA inode; empty if no value is.
    outside: Box<[bool]>,
}

/// The locations of the entries in a set.
#[derive(Clone, Debug, PartialEq, Eq)]
enum EntryPlaces {
    Body,
    Block,
    /// For each entry, whether it is in the inode.
    Mixed(Box<[bool]>),
}

/// The room for entries and values in an inode and in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct XattrRoom {
    /// The number of bytes in the inode.
    pub body: usize,
    /// The number of bytes in the block.
    pub block: usize,
}

/// The size of an xattr in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct XattrSize {
    /// The size of the entry with its name.
    pub entry: usize,
    /// The size of the value if it is not in an EA inode.
    pub value: usize,
}

impl XattrSize {
    /// Computes the size of an xattr.
    pub(super) fn of(tree: &Tree, xattr: &Xattr) -> Self {
        Self {
            entry: disk::entry_size(tree.text(xattr.name).len()),
            value: disk::value_size(tree.text(xattr.value).len()),
        }
    }
}

impl Split {
    /// Splits a set for an inode and a block with this room. Returns `None` if the set does not fit. Moves as
    /// few values as possible to EA inodes: the largest values, and the first of equally large values.
    pub(super) fn new(set: &[XattrSize], room: XattrRoom, with_inodes: bool) -> Option<Self> {
        if set.iter().map(|size| size.entry + size.value).sum::<usize>() <= room.body {
            return Some(Self(None));
        }
        let mut by_size: Vec<usize> = (0..set.len()).filter(|index| set[*index].value > 0).collect();
        by_size.sort_by_key(|index| (Reverse(set[*index].value), *index));
        let try_with = |count: usize| {
            let mut outside = vec![false; set.len()];
            by_size[..count].iter().for_each(|index| outside[*index] = true);
            let sizes: Vec<usize> = set
                .iter()
                .zip(&outside)
                .map(|(size, outside)| size.entry + if *outside { 0 } else { size.value })
                .collect();
            let outside = if count == 0 { Vec::new() } else { outside };
            place(&sizes, room)
                .map(|place| Self(Some(Box::new(SplitParts { place, outside: outside.into() }))))
        };
        if let Some(split) = try_with(0) {
            return Some(split);
        }
        if !with_inodes || by_size.is_empty() {
            return None;
        }
        // If the set fits after moving some values, it also fits after moving more values.
        let counts: Vec<usize> = (1..=by_size.len()).collect();
        let least = counts.partition_point(|count| try_with(*count).is_none());
        try_with(*counts.get(least)?)
    }

    /// Returns whether all entries are in the inode.
    pub(super) fn is_in_body(&self) -> bool {
        self.0.as_ref().is_none_or(|parts| parts.place == EntryPlaces::Body)
    }

    /// Returns the number of values in EA inodes.
    pub(super) fn outside(&self) -> usize {
        self.0.as_ref().map_or(0, |parts| parts.outside.iter().filter(|outside| **outside).count())
    }

    /// Returns the xattrs in the inode if `body` is set, otherwise those in the block. The flag of each xattr
    /// is set if its value is in an EA inode.
    pub(super) fn part<'t>(
        &self,
        tree: &'t Tree,
        set: XattrSetId,
        body: bool,
    ) -> impl Iterator<Item = (&'t Xattr, bool)> + use<'t, '_> {
        let parts = self.0.as_deref();
        let outside =
            move |index: usize| parts.is_some_and(|parts| !parts.outside.is_empty() && parts.outside[index]);
        tree.xattr_set(set)
            .iter()
            .enumerate()
            .filter(move |(index, _)| match parts.map(|parts| &parts.place) {
                None | Some(EntryPlaces::Body) => body,
                Some(EntryPlaces::Block) => !body,
                Some(EntryPlaces::Mixed(in_body)) => in_body[*index] == body,
            })
            .map(move |(index, xattr)| (xattr, outside(index)))
    }
}

/// Places entries. In order, each entry that still fits goes into the inode. If the remaining entries don't
/// fit into the block, the inode gets the subset that fills it most.
fn place(sizes: &[usize], XattrRoom { body, block }: XattrRoom) -> Option<EntryPlaces> {
    let total: usize = sizes.iter().sum();
    if total <= body {
        return Some(EntryPlaces::Body);
    }
    if total > body + block {
        return None;
    }
    let (in_order, taken) = pack::in_order(sizes, body);
    if total - taken <= block {
        return Some(if taken == 0 { EntryPlaces::Block } else { EntryPlaces::Mixed(in_order.into()) });
    }
    let (fullest, taken) = pack::fullest(sizes, body);
    (total - taken <= block).then(|| EntryPlaces::Mixed(fullest.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: XattrRoom = XattrRoom { body: 88, block: 988 };

    #[test]
    fn the_inode_takes_what_fits_in_order() {
        assert_eq!(place(&[40, 40], ROOM), Some(EntryPlaces::Body));
        assert_eq!(place(&[100, 200], ROOM), Some(EntryPlaces::Block));
        assert_eq!(place(&[40, 60, 40], ROOM), Some(EntryPlaces::Mixed([true, false, true].into())));
    }

    /// In order, the inode would get 40 and 40. The block would get 88 and 908, which is more than 988.
    #[test]
    fn a_tight_set_is_split_by_the_fullest_choice() {
        assert_eq!(
            place(&[40, 40, 88, 908], ROOM),
            Some(EntryPlaces::Mixed([false, false, true, false].into()))
        );
        assert_eq!(place(&[88, 88, 988], ROOM), None);
    }

    fn sizes(values: &[usize]) -> Vec<XattrSize> {
        values.iter().map(|value| XattrSize { entry: 20, value: *value }).collect()
    }

    /// Each xattr has an entry of 20 bytes and a value of about 500. A block of 988 bytes has room for one
    /// such value, but not for two. The inode has room only for entries.
    #[test]
    fn as_few_values_as_can_be_go_outside_and_these_the_largest() {
        let set = sizes(&[500, 504, 500]);
        assert_eq!(Split::new(&set, ROOM, false), None);
        let split = Split::new(&set, ROOM, true).unwrap();
        let parts = split.0.as_ref().unwrap();
        assert_eq!(parts.outside, [true, true, false].into());
        assert_eq!(parts.place, EntryPlaces::Mixed([true, true, false].into()));
        assert_eq!(Split::new(&sizes(&[4, 4]), ROOM, true).unwrap().outside(), 0);
        let alone = Split::new(&sizes(&[2000]), ROOM, true).unwrap();
        assert_eq!((alone.is_in_body(), alone.outside()), (true, 1));
        assert_eq!(Split::new(&sizes(&[0; 60]), ROOM, true), None);
    }
}
