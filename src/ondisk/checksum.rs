//! Computes every checksum of ext4, as a pure function of the bytes that it covers.
//!
//! All checksums are crc32c without a final inversion, except those of group descriptors with `uninit_bg`,
//! which are crc16. Stored checksum fields count as zero or are left out. Methods return `None` if the
//! filesystem does not have the checksum.

use super::extent;
use super::features::{Features, Incompat, RoCompat};
use super::superblock::Superblock;
use crate::units::{AnyBlock, GroupNr, InodeNr};

/// The initial value of a checksum.
const START: u32 = !0;

/// Continues a crc32c (Castagnoli), without inversions.
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    // The crc32c crate inverts the value before and after. The two inversions here cancel those.
    !crc32c::crc32c_append(!seed, bytes)
}

const CRC16_TABLE: [u16; 256] = {
    let mut table = [0_u16; 256];
    let mut index = 0_u16;
    while index < 256 {
        let mut value = index;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ 0xA001 } else { value >> 1 };
            bit += 1;
        }
        table[index as usize] = value;
        index += 1;
    }
    table
};

/// Continues a crc16 (polynomial 0xA001, reflected).
pub fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(seed, |crc, byte| crc >> 8 ^ CRC16_TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)])
}

/// The checksums of a filesystem, with their seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksums {
    /// The seed of all checksums of `metadata_csum`, if it is on.
    metadata: Option<u32>,
    /// The seed for values in EA inodes, which always have checksums.
    values: u32,
    /// The UUID, with `uninit_bg` and without `metadata_csum`; only for group descriptors.
    descriptors: Option<[u8; 16]>,
}

impl Checksums {
    /// Returns the checksums of a filesystem with these features, UUID, and `s_checksum_seed`.
    pub fn new(features: Features, uuid: [u8; 16], checksum_seed: u32) -> Self {
        let values =
            if features.has(Incompat::METADATA_CSUM_SEED) { checksum_seed } else { crc32c(START, &uuid) };
        let metadata = features.has(RoCompat::METADATA_CSUM).then_some(values);
        let descriptors = (metadata.is_none() && features.has(RoCompat::GDT_CSUM)).then_some(uuid);
        Self { metadata, values, descriptors }
    }

    /// Returns the checksums of a filesystem with this superblock.
    pub fn of(sb: &Superblock) -> Self {
        Self::new(sb.features(), sb.s_uuid, sb.s_checksum_seed.get())
    }

    /// Returns whether `metadata_csum` is on.
    pub fn covers_metadata(&self) -> bool {
        self.metadata.is_some()
    }

    /// Returns whether group descriptors have checksums. Without checksums, their flags are ignored.
    pub fn covers_descriptors(&self) -> bool {
        self.metadata.is_some() || self.descriptors.is_some()
    }

    /// Returns the checksum of the value in an EA inode: crc32c(seed, value).
    pub fn xattr_value(&self, value: &[u8]) -> u32 {
        crc32c(self.values, value)
    }

    /// Returns the checksum of a superblock: crc32c(~0, the first 1020 bytes).
    pub fn superblock(&self, bytes: &[u8; 1024]) -> Option<u32> {
        self.metadata.map(|_| crc32c(START, &bytes[..0x3FC]))
    }

    /// Returns the checksum of a group descriptor (`bg_checksum`). With `metadata_csum`, it is the low half
    /// of crc32c(seed, group, descriptor with `bg_checksum` zero). With `uninit_bg`, it is crc16(~0, UUID,
    /// group, descriptor without `bg_checksum`).
    pub fn group_descriptor(&self, group: GroupNr, descriptor: &[u8]) -> Option<u16> {
        let number = group.0.to_le_bytes();
        let (head, tail) = (&descriptor[..30], &descriptor[32..]);
        if let Some(seed) = self.metadata {
            let sum = [&number[..], head, &[0, 0], tail].iter().fold(seed, |sum, part| crc32c(sum, part));
            let [a, b, ..] = sum.to_le_bytes();
            return Some(u16::from_le_bytes([a, b]));
        }
        let uuid = self.descriptors?;
        Some([&uuid[..], &number, head, tail].iter().fold(!0, |sum, part| crc16(sum, part)))
    }

    /// Returns the checksum of a bitmap: crc32c(seed, the bytes that stand for blocks or inodes).
    pub fn bitmap(&self, live: &[u8]) -> Option<u32> {
        self.metadata.map(|seed| crc32c(seed, live))
    }

    /// Returns the seed for the checksums of an inode and its blocks: crc32c(seed, number, generation).
    fn of_inode(&self, inode: InodeNr, generation: u32) -> Option<u32> {
        self.metadata.map(|seed| crc32c(crc32c(seed, &inode.0.to_le_bytes()), &generation.to_le_bytes()))
    }

    /// Returns the checksum of an inode: crc32c(seed, number, generation, inode). If `with_high` is true, the
    /// inode also stores the high half of the checksum, and the bytes of both halves count as zero.
    pub fn inode(&self, inode: InodeNr, generation: u32, bytes: &[u8], with_high: bool) -> Option<u32> {
        use super::inode::{CHECKSUM_HI as HIGH, CHECKSUM_LO as LOW};
        let sum = crc32c(crc32c(self.of_inode(inode, generation)?, &bytes[..LOW]), &[0, 0]);
        Some(if with_high {
            [&bytes[LOW + 2..HIGH], &[0, 0], &bytes[HIGH + 2..]]
                .iter()
                .fold(sum, |sum, part| crc32c(sum, part))
        } else {
            crc32c(sum, &bytes[LOW + 2..])
        })
    }

    /// Returns the checksum of a directory block: crc32c(seed, number, generation, the block without its tail
    /// of 12 bytes).
    pub fn directory_block(&self, inode: InodeNr, generation: u32, block: &[u8]) -> Option<u32> {
        let live = block.len().checked_sub(super::dir_entry::TAIL_SIZE)?;
        self.of_inode(inode, generation).map(|sum| crc32c(sum, &block[..live]))
    }

    /// Returns the checksum of an htree node: crc32c(seed, number, generation, the block up to the end of its
    /// last entry, the reserved word of the tail, four zeros). `end` is the end of the last entry, `tail` the
    /// start of the tail.
    pub fn htree_node(
        &self,
        inode: InodeNr,
        generation: u32,
        block: &[u8],
        end: usize,
        tail: usize,
    ) -> Option<u32> {
        let (live, reserved) = (block.get(..end)?, block.get(tail..)?.get(..4)?);
        self.of_inode(inode, generation)
            .map(|sum| [live, reserved, &[0; 4]].iter().fold(sum, |sum, part| crc32c(sum, part)))
    }

    /// Returns the checksum of an extent tree node: crc32c(seed, number, generation, the header and `max`
    /// entries). It is stored directly after these entries.
    pub fn extent_block(&self, inode: InodeNr, generation: u32, block: &[u8], max: u16) -> Option<u32> {
        let live = block.get(..extent::ENTRY_SIZE * (usize::from(max) + 1))?;
        self.of_inode(inode, generation).map(|sum| crc32c(sum, live))
    }

    /// Returns the checksum of an xattr block: crc32c(seed, block number in 64 bits, the block).
    pub fn xattr_block(&self, at: impl AnyBlock, block: &[u8]) -> Option<u32> {
        const FIELD: usize = 0x10;
        let (head, tail) = (block.get(..FIELD)?, block.get(FIELD + 4..)?);
        self.metadata.map(|seed| {
            [&at.number().to_le_bytes()[..], head, &[0; 4], tail]
                .iter()
                .fold(seed, |sum, part| crc32c(sum, part))
        })
    }

    /// Returns the checksum of a block of the orphan file: crc32c(seed, number, generation, block number in
    /// 64 bits, the block without its tail).
    pub fn orphan_block(
        &self,
        inode: InodeNr,
        generation: u32,
        at: impl AnyBlock,
        block: &[u8],
    ) -> Option<u32> {
        let live = block.get(..block.len().checked_sub(8)?)?;
        self.of_inode(inode, generation).map(|sum| crc32c(crc32c(sum, &at.number().to_le_bytes()), live))
    }

    /// Returns the checksum of the MMP block: crc32c(seed, its first 1020 bytes).
    pub fn mmp(&self, block: &[u8]) -> Option<u32> {
        let live = block.get(..super::mmp::CHECKSUM_OFFSET)?;
        self.metadata.map(|seed| crc32c(seed, live))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values for "123456789" from the CRC catalogue: CRC-32/ISCSI is 0xE3069283 (with a final
    /// inversion), CRC-16/MODBUS is 0x4B37.
    #[test]
    fn the_two_polynomials_are_the_right_ones() {
        assert_eq!(crc32c(START, b"123456789"), !0xE306_9283);
        assert_eq!(crc16(!0, b"123456789"), 0x4B37);
        assert_eq!(crc32c(crc32c(START, b"1234"), b"56789"), crc32c(START, b"123456789"));
    }

    #[test]
    fn the_seed_is_the_uuid_unless_the_superblock_has_its_own() {
        let mut features = Features { ro_compat: RoCompat::METADATA_CSUM, ..Features::default() };
        assert_eq!(Checksums::new(features, [7; 16], 5).metadata, Some(crc32c(START, &[7; 16])));
        features.incompat = Incompat::METADATA_CSUM_SEED;
        assert_eq!(Checksums::new(features, [7; 16], 5).metadata, Some(5));
        features.ro_compat = RoCompat::GDT_CSUM;
        let checksums = Checksums::new(features, [7; 16], 5);
        assert!(checksums.covers_descriptors() && !checksums.covers_metadata());
    }

    /// Typical mistakes are to hash the stored field, or the high half of the checksum in an inode that does
    /// not store it.
    #[test]
    fn stored_fields_do_not_count() {
        let features = Features { ro_compat: RoCompat::METADATA_CSUM, ..Features::default() };
        let checksums = Checksums::new(features, [1; 16], 0);
        let mut inode = vec![0x55; 256];
        let (short, long) =
            (checksums.inode(InodeNr(12), 0, &inode, false), checksums.inode(InodeNr(12), 0, &inode, true));
        assert_ne!(short, long);
        inode[0x7C] ^= 1;
        assert_eq!(checksums.inode(InodeNr(12), 0, &inode, false), short);
        inode[0x82] ^= 1;
        assert_eq!(checksums.inode(InodeNr(12), 0, &inode, true), long);
        assert_ne!(checksums.inode(InodeNr(12), 0, &inode, false), short);
        assert_ne!(checksums.inode(InodeNr(13), 0, &inode, true), long);
        assert_ne!(checksums.inode(InodeNr(12), 1, &inode, true), long);
    }
}
