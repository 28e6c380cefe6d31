//! Decodes the journal: its superblock, and the blocks of its log. All structures of this module are
//! big-endian.

use zerocopy::big_endian::{U16, U32};

use super::checksum::crc32c;
use super::{on_disk, view};

/// The magic number of every block of the log, except copies of filesystem blocks.
pub const MAGIC: u32 = 0xC03B_3998;
/// `h_blocktype`: a superblock of version 1, which has only the first 36 bytes.
pub const SUPERBLOCK_V1: u32 = 3;
/// `h_blocktype`: a superblock of version 2.
pub const SUPERBLOCK_V2: u32 = 4;
/// `h_blocktype`: a descriptor block, with the tags of the copies that follow it.
pub const DESCRIPTOR_BLOCK: u32 = 1;
/// `h_blocktype`: a commit block, which ends a transaction.
pub const COMMIT_BLOCK: u32 = 2;
/// `h_blocktype`: a revoke block, with blocks whose earlier copies must not be replayed.
pub const REVOKE_BLOCK: u32 = 5;

/// `s_feature_compat`: commit blocks contain a crc32 of the transaction.
pub const COMPAT_CHECKSUM: u32 = 0x1;
/// `s_feature_incompat`: block numbers have 64 bits.
pub const INCOMPAT_64BIT: u32 = 0x2;
/// `s_feature_incompat`: a commit block can be written before the other blocks of its transaction.
pub const INCOMPAT_ASYNC_COMMIT: u32 = 0x4;
/// `s_feature_incompat`: tags contain checksums of 16 bits.
pub const INCOMPAT_CSUM_V2: u32 = 0x8;
/// `s_feature_incompat`: tags contain checksums of 32 bits.
pub const INCOMPAT_CSUM_V3: u32 = 0x10;
/// `s_feature_incompat`: the last blocks of the journal are reserved for fast commits.
pub const INCOMPAT_FAST_COMMIT: u32 = 0x20;
/// `s_feature_incompat`: the log can contain revoke blocks.
pub const INCOMPAT_REVOKE: u32 = 0x1;
/// All known bits of `s_feature_incompat`, with their names.
pub const INCOMPAT_NAMES: [(&str, u32); 6] = [
    ("REVOKE", INCOMPAT_REVOKE),
    ("64BIT", INCOMPAT_64BIT),
    ("ASYNC_COMMIT", INCOMPAT_ASYNC_COMMIT),
    ("CSUM_V2", INCOMPAT_CSUM_V2),
    ("CSUM_V3", INCOMPAT_CSUM_V3),
    ("FAST_COMMIT", INCOMPAT_FAST_COMMIT),
];

/// Tag flag: the first four bytes of the block are the magic, and were zeroed in the copy.
pub const TAG_ESCAPE: u16 = 1;
/// Tag flag: no UUID follows.
pub const TAG_SAME_UUID: u16 = 2;
/// Tag flag: this is the last tag.
pub const TAG_LAST: u16 = 8;

/// `h_chksum_type`: big-endian crc32 with the polynomial 0x04C11DB7.
pub const CHECKSUM_CRC32: u8 = 1;

/// `s_checksum_type`: crc32c, which versions 2 and 3 of checksums require.
pub const CHECKSUM_CRC32C: u8 = 4;

/// The minimum number of blocks of a journal.
pub const MIN_BLOCKS: u32 = 1024;
/// The number of fast-commit blocks if the journal superblock has 0.
pub const DEFAULT_FC_BLOCKS: u32 = 256;

on_disk! {
    /// The superblock of the journal, in the first 1024 bytes of its first block.
    pub struct JournalSuperblock: 1024 {
        h_magic: U32,
        h_blocktype: U32,
        h_sequence: U32,
        s_blocksize: U32,
        s_maxlen: U32,
        s_first: U32,
        s_sequence: U32,
        s_start: U32,
        s_errno: U32,
        s_feature_compat: U32,
        s_feature_incompat: U32,
        s_feature_ro_compat: U32,
        s_uuid: [u8; 16],
        s_nr_users: U32,
        s_dynsuper: U32,
        s_max_transaction: U32,
        s_max_trans_data: U32,
        s_checksum_type: u8,
        s_padding2: [u8; 3],
        s_num_fc_blks: U32,
        s_head: U32,
        s_padding: [U32; 40],
        s_checksum: U32,
        s_users: [u8; 768],
    }
}

on_disk! {
    /// The header of every block of the log, except copies of filesystem blocks.
    pub struct JournalHeader: 12 {
        h_magic: U32,
        h_blocktype: U32,
        h_sequence: U32,
    }
}

on_disk! {
    /// The header of a commit block.
    pub struct CommitHeader: 60 {
        h_magic: U32,
        h_blocktype: U32,
        h_sequence: U32,
        h_chksum_type: u8,
        h_chksum_size: u8,
        h_padding: [u8; 2],
        h_chksum: [U32; 8],
        h_commit_sec: [U32; 2],
        h_commit_nsec: U32,
    }
}

/// A tag in a descriptor block, which describes the copy of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The filesystem block that was copied to the log.
    pub block: u64,
    /// The flags of the tag.
    pub flags: u16,
    /// The checksum of the copy as stored in the log: 32 bits in version 3, 16 bits in version 2.
    pub checksum: u32,
}

/// The format of a log, according to its feature words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFormat {
    /// `s_feature_compat`.
    pub compat: u32,
    /// `s_feature_incompat`.
    pub incompat: u32,
    /// The seed of checksums: crc32c(~0, UUID of the journal).
    pub seed: u32,
}

impl LogFormat {
    fn has(&self, incompat: u32) -> bool {
        self.incompat & incompat != 0
    }

    /// Returns whether blocks have crc32c checksums (versions 2 and 3).
    pub fn has_checksums(&self) -> bool {
        self.has(INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3)
    }

    /// Returns the length of a tag without a UUID, in bytes.
    fn tag_size(&self) -> usize {
        if self.has(INCOMPAT_CSUM_V3) {
            return 16;
        }
        let base = if self.has(INCOMPAT_64BIT) { 12 } else { 8 };
        base + if self.has(INCOMPAT_CSUM_V2) { 2 } else { 0 }
    }

    /// Returns the tags of a descriptor block; `None` if they run past its end.
    pub fn tags(&self, block: &[u8]) -> Option<Vec<Tag>> {
        let (size, tail) = (self.tag_size(), if self.has_checksums() { 4 } else { 0 });
        let mut tags = Vec::new();
        let mut offset = size_of::<JournalHeader>();
        while offset + size <= block.len() - tail {
            let tag = self.tag(&block[offset..])?;
            offset += size + if tag.flags & TAG_SAME_UUID == 0 { 16 } else { 0 };
            tags.push(tag);
            if tag.flags & TAG_LAST != 0 {
                break;
            }
        }
        Some(tags)
    }

    fn tag(&self, bytes: &[u8]) -> Option<Tag> {
        let word = |offset: usize| bytes.get(offset..).and_then(view::<U32>).map(|word| word.get());
        let half = |offset: usize| bytes.get(offset..).and_then(view::<U16>).map(|half| half.get());
        let low = u64::from(word(0)?);
        let (flags, high, checksum) = if self.has(INCOMPAT_CSUM_V3) {
            // Only the low 16 of the 32 flag bits are in use.
            (half(6)?, word(8)?, word(12)?)
        } else {
            (half(6)?, if self.has(INCOMPAT_64BIT) { word(8)? } else { 0 }, half(4)?.into())
        };
        let high = if self.has(INCOMPAT_64BIT) { u64::from(high) << 32 } else { 0 };
        Some(Tag { block: high | low, flags, checksum })
    }

    /// Returns whether the checksum at the end of a descriptor or revoke block is valid.
    pub fn tail_is_right(&self, block: &[u8]) -> bool {
        if !self.has_checksums() {
            return true;
        }
        let Some((live, stored)) = block.split_last_chunk::<4>() else { return false };
        crc32c(crc32c(self.seed, live), &[0; 4]) == u32::from_be_bytes(*stored)
    }

    /// Returns whether the checksum of a commit block (versions 2 and 3) is valid, either as stored or with
    /// zeros after its header.
    pub fn commit_is_right(&self, block: &[u8]) -> bool {
        const FIELD: usize = 16;
        const HEADER: usize = 64;
        if !self.has_checksums() {
            return true;
        }
        let (Some(head), Some(stored), Some(tail), Some(rest)) = (
            block.get(..FIELD),
            block.get(FIELD..).and_then(view::<U32>),
            block.get(FIELD + 4..HEADER),
            block.get(HEADER..),
        ) else {
            return false;
        };
        let header = [head, &[0; 4], tail].iter().fold(self.seed, |sum, part| crc32c(sum, part));
        // A commit block is zero after its header, so it also counts if the disk wrote only the header.
        crc32c(header, rest) == stored.get() || crc32c(header, &vec![0; rest.len()]) == stored.get()
    }

    /// Returns whether the checksum of a copy is valid.
    pub fn copy_is_right(&self, tag: &Tag, sequence: u32, copy: &[u8]) -> bool {
        if !self.has_checksums() {
            return true;
        }
        let sum = crc32c(crc32c(self.seed, &sequence.to_be_bytes()), copy);
        if self.has(INCOMPAT_CSUM_V3) { sum == tag.checksum } else { sum & 0xFFFF == tag.checksum }
    }

    /// Returns the block numbers in a revoke block; `None` if its count does not fit.
    pub fn revoked(&self, block: &[u8]) -> Option<Vec<u64>> {
        let start = size_of::<JournalHeader>() + 4;
        let used = view::<U32>(block.get(start - 4..)?)?.get() as usize;
        let tail = if self.has_checksums() { 4 } else { 0 };
        if used > block.len() - tail {
            return None;
        }
        let records = block.get(start..used.max(start))?;
        Some(if self.has(INCOMPAT_64BIT) {
            records.as_chunks::<8>().0.iter().map(|record| u64::from_be_bytes(*record)).collect()
        } else {
            records.as_chunks::<4>().0.iter().map(|record| u32::from_be_bytes(*record).into()).collect()
        })
    }
}

impl CommitHeader {
    /// Returns the commit time, in seconds since 1970.
    pub fn seconds(&self) -> u64 {
        u64::from(self.h_commit_sec[0].get()) << 32 | u64::from(self.h_commit_sec[1].get())
    }
}

/// Continues a big-endian crc32 (polynomial 0x04C11DB7), which is the checksum of version 1.
pub fn crc32_be(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |crc, byte| crc << 8 ^ CRC32_BE[usize::from(crc.to_be_bytes()[0] ^ byte)])
}

const CRC32_BE: [u32; 256] = {
    let mut table = [0_u32; 256];
    let mut index = 0_u32;
    while index < 256 {
        let mut value = index << 24;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 0x8000_0000 != 0 { value << 1 ^ 0x04C1_1DB7 } else { value << 1 };
            bit += 1;
        }
        table[index as usize] = value;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// CRC-32/MPEG-2 in the CRC catalogue has the same polynomial and initial value, and no inversions.
    #[test]
    fn the_crc_of_version_one_is_big_endian() {
        assert_eq!(crc32_be(!0, b"123456789"), 0x0376_E6E7);
    }

    /// A descriptor block of version 3 as a kernel writes it: a UUID follows the first tag.
    #[test]
    fn tags_are_read_in_every_format() {
        let mut block = vec![0; 1024];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(12, &[0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0xAA, 0xBB, 0xCC, 0xDD]);
        put(44, &[0, 0, 0, 6, 0, 0, 0, 0xA, 0, 0, 0, 0, 0, 0, 0, 7]);
        let format = LogFormat { compat: 0, incompat: INCOMPAT_CSUM_V3 | INCOMPAT_64BIT, seed: 0 };
        let tags = format.tags(&block).unwrap();
        assert_eq!(
            tags,
            [
                Tag { block: 1 << 32 | 5, flags: 0, checksum: 0xAABB_CCDD },
                Tag { block: 6, flags: TAG_SAME_UUID | TAG_LAST, checksum: 7 },
            ]
        );
        let sizes = [
            (0, 8),
            (INCOMPAT_64BIT, 12),
            (INCOMPAT_CSUM_V2, 10),
            (INCOMPAT_CSUM_V2 | INCOMPAT_64BIT, 14),
            (INCOMPAT_CSUM_V3, 16),
        ];
        for (incompat, size) in sizes {
            assert_eq!(LogFormat { compat: 0, incompat, seed: 0 }.tag_size(), size);
        }
    }
}
