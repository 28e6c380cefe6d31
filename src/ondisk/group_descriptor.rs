//! Decodes and encodes group descriptors, which have 32 bytes, or 64 bytes or more with the `64bit` feature.

use zerocopy::little_endian::{U16, U32};

use super::on_disk;
use crate::units::{AnyBlock, BlockNr};

/// `bg_flags`: no inode of the group is in use, and its inode bitmap is ignored.
pub const INODE_UNINIT: u16 = 1;
/// `bg_flags`: only static metadata is in use in the group, and its block bitmap is ignored.
pub const BLOCK_UNINIT: u16 = 2;
/// `bg_flags`: the unused part of the inode table is zero.
pub const INODE_ZEROED: u16 = 4;
/// The length of a descriptor without the `64bit` feature, in bytes.
pub const OLD_SIZE: usize = 32;
/// The minimum length of a descriptor with the high halves, in bytes.
pub const WIDE_SIZE: usize = 64;

on_disk! {
    /// A group descriptor. The second half is zero for a descriptor of 32 bytes.
    pub struct GroupDescriptor: 64 {
        bg_block_bitmap_lo: U32,
        bg_inode_bitmap_lo: U32,
        bg_inode_table_lo: U32,
        bg_free_blocks_count_lo: U16,
        bg_free_inodes_count_lo: U16,
        bg_used_dirs_count_lo: U16,
        bg_flags: U16,
        bg_exclude_bitmap_lo: U32,
        bg_block_bitmap_csum_lo: U16,
        bg_inode_bitmap_csum_lo: U16,
        bg_itable_unused_lo: U16,
        bg_checksum: U16,
        bg_block_bitmap_hi: U32,
        bg_inode_bitmap_hi: U32,
        bg_inode_table_hi: U32,
        bg_free_blocks_count_hi: U16,
        bg_free_inodes_count_hi: U16,
        bg_used_dirs_count_hi: U16,
        bg_itable_unused_hi: U16,
        bg_exclude_bitmap_hi: U32,
        bg_block_bitmap_csum_hi: U16,
        bg_inode_bitmap_csum_hi: U16,
        bg_reserved: U32,
    }
}

fn join32(low: U32, high: U32) -> BlockNr {
    BlockNr(u64::from(high.get()) << 32 | u64::from(low.get()))
}

fn join16(low: U16, high: U16) -> u32 {
    u32::from(high.get()) << 16 | u32::from(low.get())
}

fn split(value: u32) -> (U16, U16) {
    let [a, b, c, d] = value.to_le_bytes();
    (U16::from_bytes([a, b]), U16::from_bytes([c, d]))
}

fn split_block(block: impl AnyBlock) -> (U32, U32) {
    let [a, b, c, d, e, f, g, h] = block.number().to_le_bytes();
    (U32::from_bytes([a, b, c, d]), U32::from_bytes([e, f, g, h]))
}

impl GroupDescriptor {
    /// Decodes a descriptor. If it has fewer than 64 bytes, the second half is zero.
    pub fn decode(bytes: &[u8]) -> Self {
        let mut whole = [0_u8; WIDE_SIZE];
        let length = if bytes.len() < WIDE_SIZE { OLD_SIZE.min(bytes.len()) } else { WIDE_SIZE };
        whole[..length].copy_from_slice(&bytes[..length]);
        zerocopy::transmute!(whole)
    }

    /// Returns the block of the block bitmap.
    pub fn block_bitmap(&self) -> BlockNr {
        join32(self.bg_block_bitmap_lo, self.bg_block_bitmap_hi)
    }

    /// Returns the block of the inode bitmap.
    pub fn inode_bitmap(&self) -> BlockNr {
        join32(self.bg_inode_bitmap_lo, self.bg_inode_bitmap_hi)
    }

    /// Returns the first block of the inode table.
    pub fn inode_table(&self) -> BlockNr {
        join32(self.bg_inode_table_lo, self.bg_inode_table_hi)
    }

    /// Returns the number of inodes at the end of the table that were never used.
    pub fn itable_unused(&self) -> u32 {
        join16(self.bg_itable_unused_lo, self.bg_itable_unused_hi)
    }

    /// Returns the number of free clusters of the group.
    pub fn free_blocks_count(&self) -> u32 {
        join16(self.bg_free_blocks_count_lo, self.bg_free_blocks_count_hi)
    }

    /// Returns the number of free inodes of the group.
    pub fn free_inodes_count(&self) -> u32 {
        join16(self.bg_free_inodes_count_lo, self.bg_free_inodes_count_hi)
    }

    /// Returns the number of directories of the group.
    pub fn used_dirs_count(&self) -> u32 {
        join16(self.bg_used_dirs_count_lo, self.bg_used_dirs_count_hi)
    }

    /// Returns the checksum of the block bitmap.
    pub fn block_bitmap_csum(&self) -> u32 {
        join16(self.bg_block_bitmap_csum_lo, self.bg_block_bitmap_csum_hi)
    }

    /// Returns the checksum of the inode bitmap.
    pub fn inode_bitmap_csum(&self) -> u32 {
        join16(self.bg_inode_bitmap_csum_lo, self.bg_inode_bitmap_csum_hi)
    }

    /// Sets the blocks of the bitmaps and the inode table.
    pub fn set_places<B: AnyBlock>(&mut self, block_bitmap: B, inode_bitmap: B, inode_table: B) {
        (self.bg_block_bitmap_lo, self.bg_block_bitmap_hi) = split_block(block_bitmap);
        (self.bg_inode_bitmap_lo, self.bg_inode_bitmap_hi) = split_block(inode_bitmap);
        (self.bg_inode_table_lo, self.bg_inode_table_hi) = split_block(inode_table);
    }

    /// Sets the numbers of free clusters, free inodes and directories.
    pub fn set_counts(&mut self, free_blocks: u32, free_inodes: u32, used_dirs: u32) {
        (self.bg_free_blocks_count_lo, self.bg_free_blocks_count_hi) = split(free_blocks);
        (self.bg_free_inodes_count_lo, self.bg_free_inodes_count_hi) = split(free_inodes);
        (self.bg_used_dirs_count_lo, self.bg_used_dirs_count_hi) = split(used_dirs);
    }

    /// Sets the number of inodes at the end of the table that were never used.
    pub fn set_itable_unused(&mut self, unused: u32) {
        (self.bg_itable_unused_lo, self.bg_itable_unused_hi) = split(unused);
    }

    /// Sets the checksums of the bitmaps. Only a wide descriptor has the high halves.
    pub fn set_bitmap_csums(&mut self, block_bitmap: u32, inode_bitmap: u32, wide: bool) {
        let ((low, high), (inode_low, inode_high)) = (split(block_bitmap), split(inode_bitmap));
        (self.bg_block_bitmap_csum_lo, self.bg_inode_bitmap_csum_lo) = (low, inode_low);
        if wide {
            (self.bg_block_bitmap_csum_hi, self.bg_inode_bitmap_csum_hi) = (high, inode_high);
        }
    }
}
