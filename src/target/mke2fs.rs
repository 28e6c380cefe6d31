//! Computes the sizes that mke2fs 1.47 chooses for a new filesystem.

use crate::geometry::Geometry;
use crate::ondisk::features::Compat;
use crate::units::fits;

/// The bytes of content for which mke2fs makes one inode, in the type "default".
pub(super) const INODE_RATIO: u64 = 16384;

/// The number of groups in a flex group, as a power of two.
pub(super) const LOG_GROUPS_PER_FLEX: u8 = 4;

/// The number of blocks in a cluster, if bigalloc is set without a cluster size.
pub(super) const BLOCKS_PER_CLUSTER: u64 = 16;

/// The number of blocks in the smallest journal.
pub(super) const SMALLEST_JOURNAL: u32 = 1024;

/// The number of blocks in the largest journal.
pub(super) const LARGEST_JOURNAL: u32 = 10_240_000;

/// The maximum number of clusters in a group: a multiple of 8 with 16 bits.
const MAX_CLUSTERS_PER_GROUP: u64 = 65528;

/// The maximum number of inodes in a group, before the inodes of one block are subtracted.
const MAX_INODES_PER_GROUP: u64 = 65536;

/// Returns the number of blocks of an internal journal; `None` if the filesystem is too small for one.
pub(super) fn journal_blocks(blocks: u64) -> Option<u32> {
    Some(match blocks {
        0..2048 => return None,
        2048..32_768 => 1024,
        32_768..262_144 => 4096,
        262_144..524_288 => 8192,
        524_288..4_194_304 => 16_384,
        4_194_304..8_388_608 => 32_768,
        8_388_608..16_777_216 => 65_536,
        16_777_216..33_554_432 => 131_072,
        _ => 262_144,
    })
}

/// Returns the number of blocks for fast commits, which are added to the journal of a filesystem with this many
/// blocks.
pub(super) fn fast_commit_blocks(blocks: u64) -> u32 {
    journal_blocks(blocks).unwrap_or(SMALLEST_JOURNAL) / 64
}

/// Returns the number of blocks of the orphan file.
pub(super) fn orphan_file_blocks(blocks: u64, blocks_per_cluster: u64) -> u32 {
    let count = (blocks / 4096).clamp(32, 512);
    fits(count.next_multiple_of(blocks_per_cluster), "a cluster has at most 2^19 blocks")
}

/// Returns the number of blocks in a group.
pub(super) fn blocks_per_group(block_size: usize, blocks_per_cluster: u64) -> u64 {
    (block_size as u64 * 8).min(MAX_CLUSTERS_PER_GROUP) * blocks_per_cluster
}

/// Returns the number of inodes in a group, for about `inodes` inodes in all groups.
pub(super) fn inodes_per_group(geometry: &Geometry, inodes: u64) -> u32 {
    let per_block = (geometry.block_size / geometry.inode_size) as u64;
    let most = (MAX_INODES_PER_GROUP - per_block).min(geometry.bits_per_block());
    let wanted = inodes.div_ceil(geometry.groups.into()).min(most);
    // Fill the last block of the table. The bitmap is made of whole bytes.
    let full = wanted.div_ceil(per_block) * per_block;
    // lost+found needs an inode after the reserved ones, also if the bitmap is rounded down.
    let least = u64::from(geometry.first_inode.0 + 1).div_ceil(geometry.groups.into()).next_multiple_of(8);
    fits((full.max(8) / 8 * 8).max(least), "a group has fewer than 2^19 inodes")
}

/// Returns the number of reserved GDT blocks, with which the filesystem can grow to 1024 times its size.
pub(super) fn reserved_gdt_blocks(geometry: &Geometry) -> u64 {
    if !geometry.features.has(Compat::RESIZE_INODE) {
        return 0;
    }
    let most = geometry.blocks_count.saturating_mul(1024).min(u32::MAX.into());
    let groups = (most - geometry.first_data_block).div_ceil(geometry.blocks_per_group);
    let blocks = groups.div_ceil(geometry.descriptors_per_block());
    blocks.saturating_sub(geometry.descriptor_blocks()).min(geometry.pointers_per_block())
}

/// Returns the groups with backup superblocks for `sparse_super2`: group 1 and the last one.
pub(super) fn backup_groups(groups: u32) -> [u32; 2] {
    match groups {
        0 | 1 => [0; 2],
        2 => [0, 1],
        _ => [1, groups - 1],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::forty_gib;

    /// The values are those of mke2fs 1.47.0.
    #[test]
    fn sizes_are_those_of_mke2fs() {
        let journals =
            [512, 2048, 32_512, 32_768, 262_144, 1_280_000, 5_120_000, 20_480_000].map(journal_blocks);
        let expected = [0, 1024, 1024, 4096, 8192, 16_384, 32_768, 131_072];
        assert_eq!(journals.map(|blocks| blocks.unwrap_or(0)), expected);
        let orphans =
            [2048, 204_800, 256_000, 1_280_000, 5_120_000].map(|blocks| orphan_file_blocks(blocks, 1));
        assert_eq!(orphans, [32, 50, 62, 312, 512]);
        assert_eq!([4096, 65_536].map(|size| blocks_per_group(size, 1)), [32_768, 65_528]);
        let mut geometry = Geometry { blocks_count: 5_120_000, groups: 157, ..forty_gib() };
        assert_eq!((inodes_per_group(&geometry, 1_280_000), reserved_gdt_blocks(&geometry)), (8160, 1024));
        (geometry.block_size, geometry.blocks_per_group) = (1024, 8192);
        (geometry.blocks_count, geometry.groups, geometry.first_data_block) = (525_312, 65, 1);
        assert_eq!((inodes_per_group(&geometry, 32_832), reserved_gdt_blocks(&geometry)), (504, 256));
        assert_eq!([1, 2, 8].map(backup_groups), [[0, 0], [0, 1], [1, 7]]);
    }
}
