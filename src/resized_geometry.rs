//! Computes the geometry of a filesystem with a different number of blocks. Chooses the same sizes and counts
//! as resize2fs, with rare exceptions (see docs/canonical-form.md).

use crate::error::{Error, Result};
use crate::form::LAST_GROUP_ROOM;
use crate::geometry::Geometry;
use crate::ondisk::features::{Compat, Incompat};
use crate::remedy::Remedy;
use crate::units::{GroupNr, InodeNr, fits};

/// Returns an error about the requested size.
pub(crate) fn refused<T>(problem: String, remedy: impl Into<Remedy>) -> Result<T> {
    Err(Error::options(problem, remedy))
}

/// Returns a size in bytes at which a filesystem with the same parameters has the inode `last`, or `None` if
/// no filesystem has it.
pub(crate) fn bytes_for_inodes(from: &Geometry, last: InodeNr) -> Option<u64> {
    /// resize2fs rounds the size of an image down to a multiple of the page size, which is up to 64 KiB.
    const PAGE: u64 = 64 << 10;
    let geometry = at_least(from, least_end(from, groups_for_inodes(from, last)));
    geometry.ok().map(|geometry| geometry.filesystem_bytes().next_multiple_of(PAGE))
}

/// Returns the smallest number of inodes in a group with which a filesystem has at least `inodes` inodes, and
/// no unused room in the blocks of its inode tables. At the limit of a group, the filesystem has fewer.
pub(crate) fn fewest_inodes_per_group(geometry: &Geometry, inodes: u32) -> u32 {
    let step = inodes_step(geometry);
    inodes.div_ceil(geometry.groups).next_multiple_of(step).min(most_inodes_per_group(geometry))
}

/// Returns the number of inodes by which inode tables grow: whole blocks, and whole bytes of the bitmap.
fn inodes_step(geometry: &Geometry) -> u32 {
    fits::<u32, _>(geometry.block_size / geometry.inode_size, "a block has at most 512 inodes").max(8)
}

/// Returns the maximum number of inodes in a group. Counts of free inodes have 16 bits without 64bit.
fn most_inodes_per_group(geometry: &Geometry) -> u32 {
    let step = inodes_step(geometry);
    let bits: u32 = fits(geometry.bits_per_block(), "a block has at most 2^19 bits");
    (bits.min(65536 - step) / step * step).max(step)
}

/// Returns the minimum number of groups for a filesystem that has the inode `last`.
pub(crate) fn groups_for_inodes(from: &Geometry, last: InodeNr) -> u32 {
    let per_group = match from.least_inodes {
        Some(_) => most_inodes_per_group(from),
        None => from.inodes_per_group,
    };
    last.0.div_ceil(per_group).max(1)
}

/// Returns the number of blocks of a filesystem whose last group has one block.
pub(crate) fn least_end(from: &Geometry, groups: u32) -> u64 {
    from.first_data_block + u64::from(groups - 1) * from.blocks_per_group + 1
}

/// Returns the number of blocks of static metadata.
pub(crate) fn static_blocks(geometry: &Geometry) -> u64 {
    head_blocks(geometry) + u64::from(geometry.groups) * (2 + geometry.inode_table_blocks())
}

/// Returns the number of blocks of superblocks, group descriptors and reserved GDT blocks in all groups.
pub(crate) fn head_blocks(geometry: &Geometry) -> u64 {
    let heads = (0..geometry.groups).flat_map(|group| geometry.head_ranges(GroupNr(group)));
    heads.map(|range| range.end - range.start).sum()
}

/// Returns the largest valid geometry with at most this many blocks.
pub(crate) fn resized(from: &Geometry, blocks: u64) -> Result<Geometry> {
    let blocks = blocks / from.blocks_per_cluster * from.blocks_per_cluster;
    let groups = groups_of(from, blocks)?;
    let least = least_blocks(from, groups);
    if blocks >= least {
        return checked(with_blocks(from, blocks, groups));
    }
    if groups == 1 {
        return refused(
            format!("the size leaves {blocks} blocks, of which metadata alone needs {least}"),
            Remedy::LargerSize,
        );
    }
    // Leave out the last group.
    let blocks = from.first_data_block + u64::from(groups - 1) * from.blocks_per_group;
    checked(with_blocks(from, blocks, groups - 1))
}

/// Returns the smallest geometry with at least this many blocks.
pub(crate) fn at_least(from: &Geometry, blocks: u64) -> Result<Geometry> {
    let groups = groups_of(from, blocks)?;
    let blocks = blocks.max(least_blocks(from, groups)).next_multiple_of(from.blocks_per_cluster);
    checked(with_blocks(from, blocks, groups))
}

/// Returns the number of groups of a filesystem with this number of blocks.
pub(crate) fn groups_of(from: &Geometry, blocks: u64) -> Result<u32> {
    if blocks > u32::MAX.into() && !from.is_64bit() {
        return refused(
            format!("a filesystem of {blocks} blocks needs the 64bit feature"),
            "use a smaller size, or set the feature with resize2fs -b",
        );
    }
    let groups = blocks.saturating_sub(from.first_data_block).div_ceil(from.blocks_per_group).max(1);
    let per_group = if from.least_inodes.is_some() { 8 } else { from.inodes_per_group };
    let inodes = u128::from(groups) * u128::from(per_group);
    match u32::try_from(groups) {
        Ok(groups) if blocks < 1 << 48 && inodes <= u32::MAX.into() => Ok(groups),
        _ => refused(
            format!(
                "a filesystem of {blocks} blocks would have {inodes} inodes, more than the format allows"
            ),
            "use a smaller size",
        ),
    }
}

/// Returns the minimum number of blocks of a filesystem with this number of groups. The last group must have
/// room for its metadata and, unless it is the only group, for [`LAST_GROUP_ROOM`] additional blocks.
fn least_blocks(from: &Geometry, groups: u32) -> u64 {
    let end = from.first_data_block + u64::from(groups) * from.blocks_per_group;
    let geometry = with_blocks(from, end, groups);
    let last = GroupNr(groups - 1);
    let copies: u64 = geometry.head_ranges(last).map(|range| range.end - range.start).sum();
    let bitmaps = 2;
    let room = if groups == 1 { 0 } else { LAST_GROUP_ROOM };
    (geometry.group_blocks(last).start + copies + bitmaps + geometry.inode_table_blocks() + room).min(end)
}

/// Returns the geometry for these numbers of blocks and groups, without checking it.
pub(crate) fn with_blocks(from: &Geometry, blocks: u64, groups: u32) -> Geometry {
    let mut to = Geometry { blocks_count: blocks, groups, ..from.clone() };
    if let Some(least) = from.least_inodes {
        to.inodes_per_group = fewest_inodes_per_group(&to, least);
    }
    to.reserved_blocks = reserved_blocks(from, blocks);
    let descriptors = to.descriptor_blocks();
    if from.features.has(Compat::RESIZE_INODE) {
        // Reserved descriptor blocks become descriptor blocks when the filesystem grows.
        let both = from.descriptor_blocks() + from.reserved_gdt_blocks;
        to.reserved_gdt_blocks = both.saturating_sub(descriptors).min(from.pointers_per_block());
    }
    if from.is_meta_bg() && from.first_meta_bg > descriptors {
        to.features.incompat -= Incompat::META_BG;
        to.first_meta_bg = 0;
    }
    if from.features.has(Compat::SPARSE_SUPER2) {
        to.backup_groups = backup_groups(from, groups);
    }
    to
}

/// Returns the number of reserved blocks that keeps the percentage. Rounds like resize2fs.
pub(crate) fn reserved_blocks(from: &Geometry, blocks: u64) -> u64 {
    if blocks == from.blocks_count {
        return from.reserved_blocks;
    }
    // The conversion to f64 is exact, since block numbers have at most 48 bits.
    let percent = from.reserved_blocks as f64 * 100.0 / from.blocks_count as f64;
    (percent * blocks as f64 / 100.0) as u64
}

/// Returns the groups with backups for `sparse_super2`, as resize2fs chooses them: moves the backup of the
/// last group to the new last group, adds the backups for which the input has too few groups, and removes
/// backups in groups that no longer exist.
fn backup_groups(from: &Geometry, groups: u32) -> [u32; 2] {
    let [mut first, mut second] = from.backup_groups;
    let (last, before) = (groups - 1, from.groups - 1);
    if last > before {
        if before == 0 {
            first = 1;
        }
        if last > 1 && (before <= 1 || second != 0) {
            second = last;
        }
    } else if last < before {
        if first > last {
            first = 0;
        }
        if last > 1 && second == before {
            second = last;
        } else if second > last {
            second = 0;
        }
    }
    [first, second]
}

/// Checks that the group descriptors fit into a group.
fn checked(geometry: Geometry) -> Result<Geometry> {
    if geometry.check_descriptors().is_err() {
        return refused(
            format!("the descriptors of {} groups do not fit into a group", geometry.groups),
            "use a smaller size, or recreate the image with the meta_bg feature",
        );
    }
    Ok(geometry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::forty_gib;

    const GROUP: u64 = 32768;

    /// Each group has 512 inode table blocks and two bitmaps. Group 343 (7³) also has a superblock and 1029
    /// descriptor blocks.
    #[test]
    fn a_last_group_without_room_is_left_away() {
        let from = forty_gib();
        let blocks = |blocks| resized(&from, blocks).unwrap().blocks_count;
        for (before, own) in [(320, 512 + 2), (343, 512 + 2 + 1 + 1029)] {
            let start = before * GROUP;
            assert_eq!(blocks(start + own + 49), start);
            assert_eq!(blocks(start + own + 50), start + own + 50);
            assert_eq!(at_least(&from, start + 1).unwrap().blocks_count, start + own + 50);
        }
        // A single group needs no additional room.
        let own = 512 + 2 + 1 + 1025;
        assert_eq!(blocks(own), own);
        assert!(resized(&from, own - 1).is_err());
        assert_eq!(resized(&from, own).unwrap().reserved_gdt_blocks, 1024);
    }

    /// The expected values are results of resize2fs 1.47.0.
    #[test]
    fn backups_move_with_the_last_group() {
        for (groups, backups, expected) in [
            (1_u32, [0, 0], [[0, 0], [1, 0], [1, 2], [1, 3], [1, 4], [1, 5]]),
            (2, [0, 1], [[0, 0], [0, 1], [0, 2], [0, 3], [0, 4], [0, 5]]),
            (2, [0, 0], [[0, 0], [0, 0], [0, 2], [0, 3], [0, 4], [0, 5]]),
            (3, [0, 0], [[0, 0], [0, 0], [0, 0], [0, 0], [0, 0], [0, 0]]),
            (3, [0, 1], [[0, 0], [0, 1], [0, 1], [0, 3], [0, 4], [0, 5]]),
            (5, [0, 1], [[0, 0], [0, 1], [0, 1], [0, 1], [0, 1], [0, 5]]),
            (5, [1, 4], [[0, 0], [1, 0], [1, 2], [1, 3], [1, 4], [1, 5]]),
        ] {
            let from = Geometry { groups, backup_groups: backups, ..forty_gib() };
            for (to, expected) in (1..).zip(expected) {
                assert_eq!(backup_groups(&from, to), expected, "{groups} {backups:?} to {to}");
            }
        }
    }

    #[test]
    fn the_fewest_inodes_fill_their_blocks() {
        let mut geometry = Geometry { groups: 1, ..forty_gib() };
        assert_eq!([12, 16, 17].map(|inodes| fewest_inodes_per_group(&geometry, inodes)), [16, 16, 32]);
        (geometry.groups, geometry.inode_size) = (3, 4096);
        assert_eq!([12, 24, 25].map(|inodes| fewest_inodes_per_group(&geometry, inodes)), [8, 8, 16]);
    }

    #[test]
    fn reserved_blocks_keep_their_share() {
        let mut from = forty_gib();
        from.reserved_blocks = from.blocks_count / 20;
        assert_eq!(reserved_blocks(&from, from.blocks_count), from.blocks_count / 20);
        // The expected value is the number of blocks that mke2fs reserves for 1 GiB.
        assert_eq!(reserved_blocks(&from, 1 << 18), 13_107);
    }
}
