//! On-disk structures of an image, with access to fields by the kernel's names.

use std::ops::Range;
use std::path::Path;

use ext4_canon::internals::ondisk::dir_entry::DirEntry;
use ext4_canon::internals::ondisk::extent::{Extent, ExtentHeader, ExtentIndex};
use ext4_canon::internals::ondisk::features::{Features, Incompat};
use ext4_canon::internals::ondisk::group_descriptor::{self, GroupDescriptor};
use ext4_canon::internals::ondisk::inode::{BASE_SIZE, Inode};
use ext4_canon::internals::ondisk::jbd2::JournalSuperblock;
use ext4_canon::internals::ondisk::mmp::MmpStruct;
use ext4_canon::internals::ondisk::superblock::{self, Superblock};
use ext4_canon::internals::ondisk::xattr::{IBODY_HEADER_SIZE, XattrEntry, XattrHeader};
use ext4_canon::internals::ondisk::{Field, fast_commit, htree, jbd2, orphan_file, quota};
use zerocopy::FromBytes as _;

use super::image::{block_of, blocks_of, flip, inode_offset, patch, peek, peek_all};

/// A structure with named fields.
pub trait Named {
    const FIELDS: &'static [Field];
    /// Whether numbers are big-endian.
    const BIG_ENDIAN: bool = false;
}

macro_rules! named {
    ($($type:ty $(: $big_endian:literal)?,)*) => { $(
        impl Named for $type {
            const FIELDS: &'static [Field] = Self::FIELDS;
            $(const BIG_ENDIAN: bool = $big_endian;)?
        }
    )* };
}

named! {
    Superblock,
    GroupDescriptor,
    Inode,
    ExtentHeader,
    ExtentIndex,
    Extent,
    XattrHeader,
    XattrEntry,
    MmpStruct,
    DirEntry,
    htree::DxRootInfo,
    htree::DxCountLimit,
    htree::DxEntry,
    orphan_file::OrphanBlockTail,
    quota::V2DiskDqheader,
    quota::V2DiskDqinfo,
    quota::QtDiskDqdbheader,
    quota::V2r1DiskDqblk,
    fast_commit::FastCommitTag,
    fast_commit::FastCommitHead,
    fast_commit::FastCommitTail,
    JournalSuperblock: true,
    jbd2::JournalHeader: true,
    jbd2::CommitHeader: true,
}

/// A structure at an offset of an image.
#[derive(Clone, Copy, Debug)]
pub struct Structure<'i> {
    image: &'i Path,
    /// The byte offset of the structure in the image.
    pub start: u64,
    fields: &'static [Field],
    big_endian: bool,
}

/// Returns the structure at a byte offset of an image.
pub fn structure<T: Named>(image: &Path, start: u64) -> Structure<'_> {
    Structure { image, start, fields: T::FIELDS, big_endian: T::BIG_ENDIAN }
}

impl<'i> Structure<'i> {
    fn field(&self, name: &str) -> &'static Field {
        self.fields.iter().find(|field| field.name == name).unwrap_or_else(|| panic!("no field {name}"))
    }

    /// Returns the byte offset of a field in the image.
    pub fn at(&self, name: &str) -> u64 {
        self.start + self.field(name).offset as u64
    }

    /// Returns the range of bytes of a field in the image.
    pub fn range(&self, name: &str) -> Range<u64> {
        let start = self.at(name);
        start..start + self.field(name).size as u64
    }

    /// Reads the bytes of a field.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        peek_all(self.image, self.at(name), self.field(name).size)
    }

    /// Reads a field as a number.
    pub fn get(&self, name: &str) -> u64 {
        let mut bytes = self.bytes(name);
        assert!(bytes.len() <= 8, "{name} is not a number");
        if self.big_endian {
            bytes.reverse();
        }
        bytes.resize(8, 0);
        u64::from_le_bytes(bytes.try_into().expect("8 bytes"))
    }

    /// Reads a field of at most 32 bits as a number.
    pub fn get32(&self, name: &str) -> u32 {
        u32::try_from(self.get(name)).expect("a field of 32 bits")
    }

    /// Overwrites the start of a field, or all of it.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let size = self.field(name).size;
        assert!(bytes.len() <= size, "{name} has {size} bytes");
        patch(self.image, self.at(name), bytes);
    }

    /// Sets each byte of a field to `byte`.
    pub fn fill(&self, name: &str, byte: u8) {
        self.put(name, &vec![byte; self.field(name).size]);
    }

    /// Writes a number to a field.
    pub fn set(&self, name: &str, value: u64) {
        let size = self.field(name).size;
        assert!(size <= 8 && (size == 8 || value >> (8 * size) == 0), "{value} does not fit into {name}");
        let mut bytes = value.to_le_bytes()[..size].to_vec();
        if self.big_endian {
            bytes.reverse();
        }
        self.put(name, &bytes);
    }

    /// Returns whether all of `bits` are set in a field.
    pub fn has(&self, name: &str, bits: u32) -> bool {
        self.get(name) & u64::from(bits) == u64::from(bits)
    }

    /// Sets bits of a field.
    pub fn add(&self, name: &str, bits: u32) {
        self.set(name, self.get(name) | u64::from(bits));
    }

    /// Clears bits of a field.
    pub fn remove(&self, name: &str, bits: u32) {
        self.set(name, self.get(name) & !u64::from(bits));
    }

    /// Flips one bit in the first byte of a field.
    pub fn flip(&self, name: &str) {
        flip(self.image, self.at(name));
    }

    /// Reads the little-endian 32-bit number at `index` of an array field.
    pub fn word(&self, name: &str, index: usize) -> u32 {
        let field = self.field(name);
        assert!(index * 4 < field.size, "{name} has fewer numbers");
        u32::from_le_bytes(peek(self.image, self.at(name) + index as u64 * 4))
    }

    /// Writes the little-endian 32-bit number at `index` of an array field.
    pub fn set_word(&self, name: &str, index: usize, value: u32) {
        let field = self.field(name);
        assert!(index * 4 < field.size, "{name} has fewer numbers");
        patch(self.image, self.at(name) + index as u64 * 4, &value.to_le_bytes());
    }

    /// Returns the extent at `index` in the root of an inode's extent tree.
    pub fn extent(&self, index: u64) -> Structure<'i> {
        extent(self.image, self.at("i_block"), index)
    }

    /// Overwrites an extent.
    pub fn set_extent(&self, logical: u64, count: u64, physical: u64) {
        self.set("ee_block", logical);
        self.set("ee_len", count);
        self.set("ee_start_hi", physical >> 32);
        self.set("ee_start_lo", physical & u64::from(u32::MAX));
    }

    /// Returns the extent header in an inode.
    pub fn extent_header(&self) -> Structure<'i> {
        structure::<ExtentHeader>(self.image, self.at("i_block"))
    }

    /// Returns the index entry at `index` in the root of an inode's extent tree.
    pub fn extent_index(&self, index: u64) -> Structure<'i> {
        structure::<ExtentIndex>(self.image, self.extent(index).start)
    }

    /// Returns the first xattr entry in the body of an inode.
    pub fn first_xattr(&self) -> Structure<'i> {
        let entries = BASE_SIZE as u64 + self.get("i_extra_isize") + IBODY_HEADER_SIZE as u64;
        structure::<XattrEntry>(self.image, self.start + entries)
    }

    /// Returns the header of the xattr block of an inode.
    pub fn xattr_block(&self) -> Structure<'i> {
        structure::<XattrHeader>(self.image, self.get("i_file_acl_lo") * block_size(self.image))
    }

    /// Returns the byte offset just past the structure.
    pub fn end(&self) -> u64 {
        let last = self.fields.last().expect("a structure with fields");
        self.start + (last.offset + last.size) as u64
    }
}

/// Returns the superblock of an image without a partition table.
pub fn superblock(image: &Path) -> Structure<'_> {
    superblock_at(image, 0)
}

/// Returns the superblock of the filesystem at a byte offset of a disk.
pub fn superblock_at(disk: &Path, start: u64) -> Structure<'_> {
    structure::<Superblock>(disk, start + superblock::OFFSET as u64)
}

/// Returns the block size in bytes.
pub fn block_size(image: &Path) -> u64 {
    1024 << superblock(image).get("s_log_block_size")
}

/// Returns whether a filesystem has a feature, by its name in e2fsprogs.
pub fn has_feature(image: &Path, name: &str) -> bool {
    let bytes = peek::<{ superblock::SIZE }>(image, superblock::OFFSET as u64);
    let features: Features = Superblock::read_from_bytes(&bytes).expect("1024 bytes").features();
    features.names().iter().any(|feature| feature == name)
}

/// Returns whether the journal of a filesystem needs to be replayed.
pub fn needs_recovery(image: &Path) -> bool {
    superblock(image).has("s_feature_incompat", Incompat::NEEDS_RECOVERY.bits())
}

/// Returns the descriptor of a group.
pub fn descriptor(image: &Path, group: u64) -> Structure<'_> {
    let sb = superblock(image);
    let size = match sb.get("s_desc_size") {
        0 => group_descriptor::OLD_SIZE as u64,
        size => size,
    };
    // With blocks of 1 KiB, block 0 is the boot block, even if it is part of the first cluster.
    let superblock = 1024 / block_size(image);
    structure::<GroupDescriptor>(image, (superblock + 1) * block_size(image) + group * size)
}

/// Returns the directory entry at a byte offset of a directory's first block.
pub fn entry_at<'i>(image: &'i Path, directory: &str, offset: u64) -> Structure<'i> {
    structure::<DirEntry>(image, block_of(image, directory, 0) * block_size(image) + offset)
}

/// Returns the first node below the root of a file's extent tree.
pub fn node_below_root<'i>(image: &'i Path, what: &str) -> Structure<'i> {
    extent_block(image, inode(image, what).extent_index(0).get("ei_leaf_lo"))
}

/// Returns the inode of a path, or of `<number>`.
pub fn inode<'i>(image: &'i Path, what: &str) -> Structure<'i> {
    structure::<Inode>(image, inode_offset(image, what))
}

/// Returns the header of an extent tree node in a block.
pub fn extent_block(image: &Path, block: u64) -> Structure<'_> {
    structure::<ExtentHeader>(image, block * block_size(image))
}

/// Returns the extent at `index` in the extent tree node at a byte offset.
pub fn extent(image: &Path, node: u64, index: u64) -> Structure<'_> {
    structure::<Extent>(image, node + (1 + index) * size_of::<Extent>() as u64)
}

/// Returns the superblock of the internal journal.
pub fn journal(image: &Path) -> Structure<'_> {
    structure::<JournalSuperblock>(image, blocks_of(image, "<8>")[0] * block_size(image))
}

/// Returns the MMP block.
pub fn mmp(image: &Path) -> Structure<'_> {
    structure::<MmpStruct>(image, superblock(image).get("s_mmp_block") * block_size(image))
}
