//! Defines the on-disk format of quota files: a radix tree of ids, in blocks of 1 KiB for any block size of
//! the filesystem.
//!
//! Block 0 contains the header and the file info, and block 1 is the root of the tree. A tree block has 256
//! references. Each of the four levels is indexed by one byte of the id, the highest byte first. References
//! of the last level point to data blocks, whose entries are in any order.

use zerocopy::little_endian::{U16, U32, U64};

use super::on_disk;

/// Bytes in a block of a quota file.
pub const BLOCK_SIZE: usize = 1024;
/// The block of the tree's root.
pub const ROOT: u32 = 1;
/// The number of levels of tree blocks.
pub const DEPTH: usize = 4;
/// `dqh_version`: entries have 72 bytes.
pub const VERSION: u32 = 1;
/// The offset of the file info in block 0, in bytes.
pub const INFO: usize = size_of::<V2DiskDqheader>();
/// The number of entries in a data block.
pub const ENTRIES_PER_BLOCK: usize =
    (BLOCK_SIZE - size_of::<QtDiskDqdbheader>()) / size_of::<V2r1DiskDqblk>();

/// A quota type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaType {
    /// Usage of users.
    User,
    /// Usage of groups.
    Group,
    /// Usage of projects.
    Project,
}

impl QuotaType {
    /// All types, in the order of the kernel's numbers.
    pub const ALL: [Self; 3] = [Self::User, Self::Group, Self::Project];

    /// Returns `dqh_magic`.
    pub fn magic(self) -> u32 {
        match self {
            Self::User => 0xD9C0_1F11,
            Self::Group => 0xD9C0_1927,
            Self::Project => 0xD9C0_3F14,
        }
    }

    /// Returns the name of the type.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Project => "project",
        }
    }

    /// Returns the index in an array with one element for each type.
    pub fn index(self) -> usize {
        match self {
            Self::User => 0,
            Self::Group => 1,
            Self::Project => 2,
        }
    }
}

/// Returns the slot of an id in a tree block of a level. Level 0 is the root.
pub fn slot(id: u32, level: usize) -> usize {
    id.to_be_bytes()[level].into()
}

on_disk! {
    /// The header of the file, at the start of block 0.
    pub struct V2DiskDqheader: 8 {
        dqh_magic: U32,
        dqh_version: U32,
    }
}

on_disk! {
    /// The file info in block 0.
    pub struct V2DiskDqinfo: 24 {
        dqi_bgrace: U32,
        dqi_igrace: U32,
        dqi_flags: U32,
        dqi_blocks: U32,
        dqi_free_blk: U32,
        dqi_free_entry: U32,
    }
}

on_disk! {
    /// The header of a data block.
    pub struct QtDiskDqdbheader: 16 {
        dqdh_next_free: U32,
        dqdh_prev_free: U32,
        dqdh_entries: U16,
        dqdh_pad1: U16,
        dqdh_pad2: U32,
    }
}

on_disk! {
    /// An entry with the limits and the usage of an id. Block limits are in KiB, block usage is in bytes.
    pub struct V2r1DiskDqblk: 72 {
        dqb_id: U32,
        dqb_pad: U32,
        dqb_ihardlimit: U64,
        dqb_isoftlimit: U64,
        dqb_curinodes: U64,
        dqb_bhardlimit: U64,
        dqb_bsoftlimit: U64,
        dqb_curspace: U64,
        dqb_btime: U64,
        dqb_itime: U64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_fourteen_entries_and_ids_are_taken_from_the_top() {
        assert_eq!((ENTRIES_PER_BLOCK, INFO), (14, 8));
        assert_eq!([0, 1, 2, 3].map(|level| slot(0x0102_03FF, level)), [1, 2, 3, 255]);
    }
}
