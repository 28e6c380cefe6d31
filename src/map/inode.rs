//! Reads an inode as stored in the inode table, and checks its checksum.

use super::file_map::FileMap;
use crate::error::{Location, Problem, Result, Structure};
use crate::ondisk::features::{Compat, RoCompat};
use crate::ondisk::inode::{BASE_SIZE, EXTRA_WITH_CHECKSUM, Inode, InodeFlags};
use crate::source::Source;
use crate::units::{BlockNr, InodeNr};

/// An inode as bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawInode<'a> {
    /// The inode number.
    pub number: InodeNr,
    /// All bytes of the inode.
    pub bytes: &'a [u8],
}

/// An inode as bytes and as fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecodedInode<'a> {
    /// The inode number.
    pub number: InodeNr,
    /// All bytes of the inode.
    pub bytes: &'a [u8],
    /// The decoded fields.
    pub fields: Inode,
}

/// The two parts of inline data: in `i_block` and in the xattr `system.data`.
pub(crate) type InlineParts<'a> = [&'a [u8]; 2];

impl<'a> RawInode<'a> {
    /// Decodes the fields.
    pub(crate) fn decode(self) -> DecodedInode<'a> {
        DecodedInode::new(self.number, self.bytes)
    }
}

impl<'a> DecodedInode<'a> {
    /// Decodes the fields of an inode.
    pub(crate) fn new(number: InodeNr, bytes: &'a [u8]) -> Self {
        Self { number, bytes, fields: Inode::decode(bytes) }
    }

    /// Returns the location of an error in the inode.
    pub(crate) fn at(&self) -> Location {
        Location::of(Structure::Inode).inode(self.number)
    }

    /// Checks the checksum of the inode.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the checksum is wrong.
    pub(crate) fn check_checksum(&self, source: &Source<'_>) -> Result<()> {
        let fields = &self.fields;
        let with_high = self.bytes.len() > BASE_SIZE && fields.i_extra_isize.get() >= EXTRA_WITH_CHECKSUM;
        let expected = source.checksums.inode(self.number, fields.i_generation.get(), self.bytes, with_high);
        let Some(expected) = expected else { return Ok(()) };
        let low = u32::from(fields.l_i_checksum_lo.get());
        let (found, expected) = if with_high {
            (u32::from(fields.i_checksum_hi.get()) << 16 | low, expected)
        } else {
            (low, expected & 0xFFFF)
        };
        if found == expected {
            return Ok(());
        }
        Err(self.at().corrupt(Problem::Checksum { found, expected }))
    }

    /// Checks `i_extra_isize`, if inodes have more than 128 bytes.
    ///
    /// # Errors
    ///
    /// `Corrupt` for a value that the kernel or e2fsck rejects.
    pub(crate) fn check_extra_isize(&self, source: &Source<'_>) -> Result<()> {
        let Some(room) = source.geometry.inode_size.checked_sub(BASE_SIZE).filter(|room| *room > 0) else {
            return Ok(());
        };
        let extra = usize::from(self.fields.i_extra_isize.get());
        if extra == 0 || ((4..=room).contains(&extra) && extra.is_multiple_of(4)) {
            return Ok(());
        }
        let expected = format!("0, or a multiple of 4 from 4 to {room}");
        Err(self.at().value("i_extra_isize", self.fields.i_extra_isize.get(), expected))
    }

    /// Returns `i_blocks` in units of 512 bytes.
    pub(crate) fn sectors(&self, source: &Source<'_>) -> u64 {
        let low = u64::from(self.fields.i_blocks_lo.get());
        if !source.features().has(RoCompat::HUGE_FILE) {
            return low;
        }
        let whole = u64::from(self.fields.l_i_blocks_high.get()) << 32 | low;
        let in_blocks = self.fields.flags().contains(InodeFlags::HUGE_FILE);
        whole * if in_blocks { source.geometry.block_bytes() / 512 } else { 1 }
    }

    /// Returns whether `i_blocks` does not match the blocks of a map. Returns `false` for an inode from a fast
    /// commit, since fast commits do not contain `i_blocks`.
    pub(crate) fn has_wrong_blocks(&self, source: &Source<'_>, map: &FileMap) -> bool {
        let bytes = map.blocks(source.geometry.blocks_per_cluster) * source.geometry.block_bytes();
        !source.fast_commits().inodes.contains_key(&self.number) && self.sectors(source) != bytes / 512
    }

    /// Returns the xattr block of the inode, if it has one.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the inode can't have an xattr block, or the block is outside the filesystem.
    pub(crate) fn xattr_block(&self, source: &Source<'_>) -> Result<Option<BlockNr>> {
        let high = self.fields.l_i_file_acl_high.get();
        if !source.geometry.is_64bit() && high != 0 {
            return Err(self.at().value("l_i_file_acl_high", high, "0 without the 64bit feature"));
        }
        let block = BlockNr(self.fields.file_acl());
        if block.0 == 0 {
            return Ok(None);
        }
        if !source.features().has(Compat::EXT_ATTR) {
            return Err(self.at().value("i_file_acl", block.0, "0 without the ext_attr feature"));
        }
        if !source.has_blocks(block, 1) {
            return Err(self.at().value("i_file_acl", block.0, "a block of the filesystem"));
        }
        Ok(Some(block))
    }
}
