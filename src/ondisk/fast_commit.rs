//! Parses fast commits: records after the log of a journal. Unlike all other structures of the journal, they
//! are little-endian.

use zerocopy::little_endian::{U16, U32};

use super::extent::Extent;
use super::inode::BASE_SIZE;
use super::{on_disk, view};

/// Record tag: adds a mapped range of blocks to an inode.
pub const TAG_ADD_RANGE: u16 = 1;
/// Record tag: removes a range of blocks from an inode.
pub const TAG_DEL_RANGE: u16 = 2;
/// Record tag: adds the name of a new inode.
pub const TAG_CREAT: u16 = 3;
/// Record tag: adds a name to an existing inode.
pub const TAG_LINK: u16 = 4;
/// Record tag: removes a name.
pub const TAG_UNLINK: u16 = 5;
/// Record tag: writes the fields of an inode.
pub const TAG_INODE: u16 = 6;
/// Record tag: padding.
pub const TAG_PAD: u16 = 7;
/// Record tag: ends a fast commit.
pub const TAG_TAIL: u16 = 8;
/// Record tag: starts the first fast commit after a transaction.
pub const TAG_HEAD: u16 = 9;

/// The maximum length of a name, in bytes.
const NAME_LEN: usize = 255;

on_disk! {
    /// The header of every record.
    pub struct FastCommitTag: 4 {
        fc_tag: U16,
        fc_len: U16,
    }
}

on_disk! {
    /// The value of `TAG_HEAD`.
    pub struct FastCommitHead: 8 {
        fc_features: U32,
        fc_tid: U32,
    }
}

on_disk! {
    /// The value of `TAG_TAIL`, up to its padding.
    pub struct FastCommitTail: 8 {
        fc_tid: U32,
        fc_crc: U32,
    }
}

on_disk! {
    /// The value of `TAG_ADD_RANGE`.
    pub struct FastCommitAddRange: 16 {
        fc_ino: U32,
        fc_ex: Extent,
    }
}

on_disk! {
    /// The value of `TAG_DEL_RANGE`.
    pub struct FastCommitDelRange: 12 {
        fc_ino: U32,
        fc_lblk: U32,
        fc_len: U32,
    }
}

on_disk! {
    /// The value of `TAG_CREAT`, `TAG_LINK` and `TAG_UNLINK`, up to the name.
    pub struct FastCommitDentryInfo: 8 {
        fc_parent_ino: U32,
        fc_ino: U32,
    }
}

on_disk! {
    /// The value of `TAG_INODE`, up to the inode, which has as many bytes as its `i_extra_isize` covers.
    pub struct FastCommitInode: 4 {
        fc_ino: U32,
    }
}

/// A tag-length-value record in the fast-commit area of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The tag.
    pub tag: u16,
    /// The value.
    pub value: &'a [u8],
    /// The bytes of the header and the value.
    pub bytes: &'a [u8],
}

/// An iterator over the records of a block. An invalid record is returned as the item `None`, and ends the
/// iteration.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    inode_size: usize,
}

impl<'a> Records<'a> {
    /// Creates an iterator over a block of a filesystem whose inodes have `inode_size` bytes.
    pub fn new(block: &'a [u8], inode_size: usize) -> Self {
        Self { rest: block, inode_size }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Option<Record<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let head = view::<FastCommitTag>(self.rest)?;
        let (tag, length) = (head.fc_tag.get(), usize::from(head.fc_len.get()));
        let bytes = self.rest.get(..size_of::<FastCommitTag>() + length);
        let Some(bytes) = bytes.filter(|_| has_length(tag, length, self.inode_size)) else {
            self.rest = &[];
            return Some(None);
        };
        self.rest = &self.rest[bytes.len()..];
        Some(Some(Record { tag, value: &bytes[size_of::<FastCommitTag>()..], bytes }))
    }
}

/// Returns whether a value with this tag may have this length.
fn has_length(tag: u16, length: usize, inode_size: usize) -> bool {
    match tag {
        TAG_ADD_RANGE => length == size_of::<FastCommitAddRange>(),
        TAG_DEL_RANGE => length == size_of::<FastCommitDelRange>(),
        TAG_CREAT | TAG_LINK | TAG_UNLINK => {
            let name = length.checked_sub(size_of::<FastCommitDentryInfo>());
            name.is_some_and(|name| (1..=NAME_LEN).contains(&name))
        }
        TAG_INODE => {
            let inode = length.checked_sub(size_of::<FastCommitInode>());
            inode.is_some_and(|inode| (BASE_SIZE..=inode_size).contains(&inode))
        }
        TAG_PAD => true,
        TAG_TAIL => length >= size_of::<FastCommitTail>(),
        TAG_HEAD => length == size_of::<FastCommitHead>(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_follow_each_other_to_the_first_without_meaning() {
        let block = [&[7, 0, 2, 0, 1, 2][..], &[9, 0, 8, 0, 0, 0, 0, 0, 3, 0, 0, 0], &[0; 6]].concat();
        let mut records = Records::new(&block, 256);
        assert_eq!(records.next().unwrap().unwrap().value, [1, 2]);
        let head = records.next().unwrap().unwrap();
        assert_eq!((head.tag, head.bytes.len()), (TAG_HEAD, 12));
        assert_eq!(view::<FastCommitHead>(head.value).unwrap().fc_tid.get(), 3);
        assert_eq!((records.next(), records.next()), (Some(None), None));
    }

    #[test]
    fn lengths_have_limits() {
        let block = |tag: u8, length: u8| [&[tag, 0, length, 0][..], &[1; 60]].concat();
        let has_meaning = |tag, length| Records::new(&block(tag, length), 128).next().unwrap().is_some();
        assert!(has_meaning(3, 9) && !has_meaning(3, 8) && !has_meaning(3, 61));
        assert!(has_meaning(1, 16) && !has_meaning(1, 15));
        assert!(!has_meaning(6, 20) && !has_meaning(10, 4) && has_meaning(8, 9) && !has_meaning(8, 7));
    }
}
