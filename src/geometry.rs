//! Defines the geometry of a filesystem: the validated sizes and counts of the superblock.
//!
//! Input and output use the same type. The numbers in a `Geometry` are consistent, so arithmetic on them
//! can't overflow: block counts are below 2^48 and group counts below 2^32.

use std::ops::Range;

use zerocopy::little_endian::U32;

use crate::error::{Location, Result, Structure};
use crate::ondisk::dirhash::HashVersion;
use crate::ondisk::features::{Compat, Features, Incompat, RoCompat};
use crate::ondisk::group_descriptor;
use crate::ondisk::indirect::DIRECT;
use crate::ondisk::inode::BASE_SIZE;
use crate::ondisk::superblock::{self as sb, Superblock};
use crate::units::{BlockNr, GroupNr, InodeNr, fits};

/// The sizes and counts of a filesystem, after validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// The features, including flags that only record history.
    pub features: Features,
    /// Bytes in a block: a power of two from 1024 to 65536.
    pub block_size: usize,
    /// Blocks in the filesystem, counted from the start of the image.
    pub blocks_count: u64,
    /// Reserved blocks (`s_r_blocks_count`), which only the super-user may allocate.
    pub reserved_blocks: u64,
    /// The first block of group 0: 1 if blocks and clusters have 1024 bytes, otherwise 0.
    pub first_data_block: u64,
    /// Blocks in a cluster, the unit of allocation: a power of two; 1 without `bigalloc`.
    pub blocks_per_cluster: u64,
    /// Blocks in a group: a multiple of the cluster size. The last group can have fewer.
    pub blocks_per_group: u64,
    /// Inodes in each group.
    pub inodes_per_group: u32,
    /// Bytes in an inode: a power of two from 128 to the block size.
    pub inode_size: usize,
    /// The first inode that is not reserved.
    pub first_inode: InodeNr,
    /// The number of groups.
    pub groups: u32,
    /// Bytes in a group descriptor.
    pub descriptor_size: usize,
    /// Reserved GDT blocks after each copy of the group descriptors.
    pub reserved_gdt_blocks: u64,
    /// The first meta block group that contains its own descriptors, with `meta_bg`.
    pub first_meta_bg: u64,
    /// The two groups with backup superblocks, with `sparse_super2`; 0 for none.
    pub backup_groups: [u32; 2],
    /// Groups in a flex group; 1 without `flex_bg`.
    pub groups_per_flex: u64,
    /// The hash function of indexed directories.
    pub hash_version: HashVersion,
    /// The number of blocks by which mke2fs staggers the bitmaps of consecutive groups, without `flex_bg`
    /// (`s_raid_stride`).
    pub raid_stride: u64,
    /// With a value, the groups have only as many inodes as are needed for this many in total, so the number
    /// of inodes in a group depends on the number of groups.
    pub least_inodes: Option<u32>,
}

/// The blocks of a group that contain copies of the superblock and the group descriptors.
///
/// They depend only on the geometry. They are plain numbers, because input and output use the same formulas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHead {
    /// The block with a copy of the superblock.
    pub superblock: Option<u64>,
    /// The first block of group descriptors, and the number of these blocks.
    pub descriptors: Option<(u64, u64)>,
    /// The first reserved GDT block, and the number of these blocks.
    pub reserved: Option<(u64, u64)>,
}

impl Geometry {
    /// Reads the geometry from a superblock, and checks that its sizes and counts are valid and consistent.
    /// Does not check whether the features are supported.
    ///
    /// # Errors
    ///
    /// `Corrupt`, with the field, its value and the expected value.
    pub fn new(sb: &Superblock) -> Result<Self> {
        let at = || Location::of(Structure::Superblock);
        let features = sb.features();
        let log_block_size = sb.s_log_block_size.get();
        if log_block_size > 6 {
            return Err(at().value("s_log_block_size", log_block_size, "0 to 6"));
        }
        let block_size = 1024_usize << log_block_size;
        let (inode_size, first_inode) = inode_size_and_first(sb, block_size)?;
        check_extra_sizes(sb, inode_size)?;
        let descriptor_size = descriptor_size(sb, features)?;
        let Some(hash_version) = HashVersion::from_disk(sb.s_def_hash_version) else {
            return Err(at()
                .value("s_def_hash_version", sb.s_def_hash_version, "0 to 2")
                .with_remedy("set it with tune2fs -E hash_alg=half_md4"));
        };
        let flex = features.has(Incompat::FLEX_BG);
        // e2fsprogs rejects such an image, whether or not the feature is set.
        if sb.s_log_groups_per_flex > 31 {
            return Err(at().value("s_log_groups_per_flex", sb.s_log_groups_per_flex, "at most 31"));
        }
        let sparse2 = features.has(Compat::SPARSE_SUPER2);
        let mut geometry = Self {
            features,
            block_size,
            blocks_count: sb.blocks_count(),
            reserved_blocks: sb.reserved_blocks_count(),
            first_data_block: u64::from(sb.s_first_data_block.get()),
            blocks_per_cluster: blocks_per_cluster(sb, features)?,
            blocks_per_group: u64::from(sb.s_blocks_per_group.get()),
            inodes_per_group: sb.s_inodes_per_group.get(),
            inode_size,
            first_inode,
            groups: 0,
            descriptor_size,
            reserved_gdt_blocks: reserved_gdt_blocks(sb, features),
            first_meta_bg: u64::from(sb.s_first_meta_bg.get()),
            backup_groups: if sparse2 { sb.s_backup_bgs.map(U32::get) } else { [0; 2] },
            groups_per_flex: if flex { 1 << sb.s_log_groups_per_flex } else { 1 },
            hash_version,
            raid_stride: u64::from(sb.s_raid_stride.get()),
            least_inodes: None,
        };
        geometry.check_blocks(sb)?;
        geometry.check_groups(sb)?;
        geometry.check_descriptors()?;
        Ok(geometry)
    }

    /// Checks the number of blocks and the first block of group 0.
    fn check_blocks(&self, sb: &Superblock) -> Result<()> {
        let at = || Location::of(Structure::Superblock);
        let ratio = self.blocks_per_cluster;
        let first = u64::from(self.block_size == 1024 && ratio == 1);
        if self.first_data_block != first {
            return Err(at().value("s_first_data_block", self.first_data_block, first));
        }
        if !self.is_64bit() && sb.s_blocks_count_hi.get() != 0 {
            return Err(at().value(
                "s_blocks_count_hi",
                sb.s_blocks_count_hi.get(),
                "0 without the 64bit feature",
            ));
        }
        if self.blocks_count <= first || self.blocks_count >= 1 << 48 {
            return Err(at().value("s_blocks_count", self.blocks_count, "at least 2, below 2^48"));
        }
        // The last cluster of the filesystem is always complete: mke2fs and resize2fs ensure this.
        if !self.blocks_count.is_multiple_of(ratio) {
            return Err(at().value(
                "s_blocks_count",
                self.blocks_count,
                format!("a multiple of {ratio}, the blocks of a cluster"),
            ));
        }
        Ok(())
    }

    /// Checks the sizes of groups, and computes the number of groups.
    fn check_groups(&mut self, sb: &Superblock) -> Result<()> {
        let at = || Location::of(Structure::Superblock);
        let bits = self.bits_per_block();
        let (step, max) = (8 * self.blocks_per_cluster, bits * self.blocks_per_cluster);
        if !(step..=max).contains(&self.blocks_per_group) || !self.blocks_per_group.is_multiple_of(step) {
            return Err(at().value(
                "s_blocks_per_group",
                self.blocks_per_group,
                format!("a multiple of {step}, at most {max}"),
            ));
        }
        if u64::from(sb.s_clusters_per_group.get()) != self.clusters_per_group() {
            return Err(at().value(
                "s_clusters_per_group",
                sb.s_clusters_per_group.get(),
                self.clusters_per_group(),
            ));
        }
        let ipg = self.inodes_per_group;
        if ipg == 0 || u64::from(ipg) > bits || !ipg.is_multiple_of(8) {
            return Err(at().value("s_inodes_per_group", ipg, format!("a multiple of 8, at most {bits}")));
        }
        let groups = (self.blocks_count - self.first_data_block).div_ceil(self.blocks_per_group);
        let inodes = groups * u64::from(ipg);
        if u64::from(sb.s_inodes_count.get()) != inodes {
            return Err(at().value(
                "s_inodes_count",
                sb.s_inodes_count.get(),
                format!("{inodes} ({groups} groups of {ipg})"),
            ));
        }
        // There are fewer groups than inodes, and inode numbers have 32 bits.
        self.groups = u32::try_from(groups)
            .map_err(|_| at().value("s_blocks_count", self.blocks_count, "fewer groups"))?;
        let first_inode = self.first_inode.0;
        if first_inode < sb::GOOD_OLD_FIRST_INO || u64::from(first_inode) >= inodes {
            return Err(at().value("s_first_ino", first_inode, format!("at least 11, below {inodes}")));
        }
        if self.reserved_blocks > self.blocks_count / 2 {
            return Err(at().value("s_r_blocks_count", self.reserved_blocks, "at most half of the blocks"));
        }
        Ok(())
    }

    /// Checks the number of reserved GDT blocks, the first meta block group, the groups with backup
    /// superblocks, and that each group has room for its copies of the superblock and the group descriptors.
    /// Uses the current number of blocks and the current features.
    ///
    /// # Errors
    ///
    /// `Corrupt`, with the field of the superblock.
    pub fn check_descriptors(&self) -> Result<()> {
        let at = || Location::of(Structure::Superblock);
        let resize = self.features.has(Compat::RESIZE_INODE);
        if self.reserved_gdt_blocks > self.pointers_per_block() {
            return Err(at().value(
                "s_reserved_gdt_blocks",
                self.reserved_gdt_blocks,
                format!("at most {}", self.pointers_per_block()),
            ));
        }
        if self.is_meta_bg() {
            if resize {
                return Err(at().wrong("meta_bg and resize_inode are both set"));
            }
            if self.first_meta_bg > self.descriptor_blocks() {
                return Err(at().value(
                    "s_first_meta_bg",
                    self.first_meta_bg,
                    format!("at most {}", self.descriptor_blocks()),
                ));
            }
        }
        if let Some(group) = self.backup_groups.iter().find(|group| **group >= self.groups && **group != 0) {
            return Err(at().value("s_backup_bgs", *group, format!("below {}", self.groups)));
        }
        // Each group with a copy needs room for the superblock, the group descriptors and the reserved GDT
        // blocks.
        for group in (0..self.groups).map(GroupNr).filter(|group| self.has_superblock(*group)) {
            let room = self.group_blocks(group);
            let needed: u64 = self.head_ranges(group).map(|range| range.end - range.start).sum();
            if needed > room.end - room.start {
                return Err(at().group(group).value(
                    "blocks of superblock and descriptors",
                    needed,
                    format!("at most {}", room.end - room.start),
                ));
            }
        }
        Ok(())
    }

    /// Returns whether block numbers have 64 bits in the group descriptors and the superblock.
    pub fn is_64bit(&self) -> bool {
        self.features.has(Incompat::BIT64)
    }

    /// Returns whether meta block groups contain their own descriptors (`meta_bg`).
    pub fn is_meta_bg(&self) -> bool {
        self.features.has(Incompat::META_BG)
    }

    /// Returns the block size as a `u64`, for offsets in an image.
    pub fn block_bytes(&self) -> u64 {
        self.block_size as u64
    }

    /// Returns the cluster size in bytes.
    pub fn cluster_bytes(&self) -> u64 {
        self.blocks_per_cluster * self.block_bytes()
    }

    /// Returns the size of the filesystem in bytes.
    pub fn filesystem_bytes(&self) -> u64 {
        self.blocks_count * self.block_bytes()
    }

    /// Returns the number of inodes.
    pub fn inodes_count(&self) -> u32 {
        self.groups * self.inodes_per_group
    }

    /// Returns the number of bits in a bitmap block.
    pub fn bits_per_block(&self) -> u64 {
        self.block_bytes() * 8
    }

    /// Returns the number of clusters in a group, each of which has a bit in the block bitmap. The last group
    /// can have fewer.
    pub fn clusters_per_group(&self) -> u64 {
        self.blocks_per_group / self.blocks_per_cluster
    }

    /// Returns the block of the primary superblock.
    fn superblock_block(&self) -> u64 {
        u64::from(self.block_size == sb::OFFSET)
    }

    /// Returns the size of the resize inode in bytes, up to the end of the last block that its double
    /// indirect block could map.
    pub fn resize_inode_size(&self) -> u64 {
        let pointers = self.pointers_per_block();
        (pointers * pointers + pointers + DIRECT) * self.block_bytes()
    }

    /// Returns the number of block numbers in an indirect block.
    pub fn pointers_per_block(&self) -> u64 {
        self.block_bytes() / 4
    }

    /// Returns the number of blocks of each inode table.
    pub fn inode_table_blocks(&self) -> u64 {
        (u64::from(self.inodes_per_group) * self.inode_size as u64).div_ceil(self.block_bytes())
    }

    /// Returns the number of group descriptors in a block.
    pub fn descriptors_per_block(&self) -> u64 {
        (self.block_size / self.descriptor_size) as u64
    }

    /// Returns the number of blocks in one copy of all group descriptors.
    pub fn descriptor_blocks(&self) -> u64 {
        u64::from(self.groups).div_ceil(self.descriptors_per_block())
    }

    /// Returns the number of blocks for a number of bytes, rounded up.
    pub fn blocks_of_bytes(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.block_bytes())
    }

    /// Returns whether inodes have room for fields past the first 128 bytes.
    pub fn has_wide_inodes(&self) -> bool {
        self.inode_size > BASE_SIZE
    }

    /// Returns the blocks of a group.
    pub fn group_blocks(&self, group: GroupNr) -> Range<u64> {
        let start = self.first_data_block + u64::from(group.0) * self.blocks_per_group;
        start..(start + self.blocks_per_group).min(self.blocks_count)
    }

    /// Returns the group of an inode and its index in the inode table. The inode number must be in range.
    pub fn place_of_inode(&self, inode: InodeNr) -> (GroupNr, u32) {
        let index = inode.0 - 1;
        (GroupNr(index / self.inodes_per_group), index % self.inodes_per_group)
    }

    /// Returns whether an inode number is in range.
    pub fn has_inode(&self, inode: InodeNr) -> bool {
        (1..=self.inodes_count()).contains(&inode.0)
    }

    /// Returns whether a group contains a copy of the superblock.
    pub fn has_superblock(&self, group: GroupNr) -> bool {
        let is_power = |base: u32| {
            let mut power = base;
            while power < group.0 {
                power = power.saturating_mul(base);
            }
            power == group.0
        };
        if group.0 == 0 {
            true
        } else if self.features.has(Compat::SPARSE_SUPER2) {
            self.backup_groups.contains(&group.0)
        } else if group.0 == 1 || !self.features.has(RoCompat::SPARSE_SUPER) {
            true
        } else {
            is_power(3) || is_power(5) || is_power(7)
        }
    }

    /// Returns the blocks of a group that contain copies of the superblock and the group descriptors.
    pub fn group_head(&self, group: GroupNr) -> GroupHead {
        let start = self.head_start(group);
        let copy = self.has_superblock(group);
        let mut head = GroupHead { superblock: copy.then_some(start), descriptors: None, reserved: None };
        let per_block = self.descriptors_per_block();
        let meta_group = u64::from(group.0) / per_block;
        if !self.is_meta_bg() || meta_group < self.first_meta_bg {
            if copy {
                let blocks = if self.is_meta_bg() { self.first_meta_bg } else { self.descriptor_blocks() };
                head.descriptors = Some((start + 1, blocks)).filter(|(_, blocks)| *blocks > 0);
                head.reserved =
                    Some((start + 1 + blocks, self.reserved_gdt_blocks)).filter(|(_, blocks)| *blocks > 0);
            }
        } else if [0, 1, per_block - 1].contains(&(u64::from(group.0) % per_block)) {
            head.descriptors = Some((start + u64::from(copy), 1));
        }
        head
    }

    /// Returns the index of the first descriptor block that a group contains, among all descriptor blocks.
    pub fn first_descriptor_block_of(&self, group: GroupNr) -> u64 {
        let meta_group = u64::from(group.0) / self.descriptors_per_block();
        if self.is_meta_bg() && meta_group >= self.first_meta_bg { meta_group } else { 0 }
    }

    /// Returns the block with the primary copy of the descriptor block at this index, in an input image.
    pub fn descriptor_block(&self, index: u64) -> BlockNr {
        if !self.is_meta_bg() || index < self.first_meta_bg {
            return BlockNr(self.superblock_block() + 1 + index);
        }
        let group = GroupNr(fits(index * self.descriptors_per_block(), "there are fewer than 2^32 groups"));
        BlockNr(self.head_start(group) + u64::from(self.has_superblock(group)))
    }

    /// Returns the first block of a group's copies of the superblock and the group descriptors. In group 0,
    /// this is the primary superblock, which comes after block 0 if blocks have 1024 bytes, even if block 0
    /// belongs to the group.
    fn head_start(&self, group: GroupNr) -> u64 {
        if group.0 == 0 { self.superblock_block() } else { self.group_blocks(group).start }
    }

    /// Returns the ranges of blocks in a group that contain the superblock, the group descriptors and the
    /// reserved GDT blocks. For group 0, block 0 is included if it contains only the boot sector.
    pub fn head_ranges(&self, group: GroupNr) -> impl Iterator<Item = Range<u64>> + use<> {
        let head = self.group_head(group);
        let start = self.group_blocks(group).start;
        let boot = Some(start..self.head_start(group)).filter(|range| !range.is_empty());
        let one = head.superblock.map(|block| block..block + 1);
        let many = [head.descriptors, head.reserved];
        boot.into_iter()
            .chain(one)
            .chain(many.into_iter().flatten().map(|(block, count)| block..block + count))
    }
}

/// Returns the inode size and the first inode that is not reserved. Both are fixed in revision 0, which has
/// no fields for them.
fn inode_size_and_first(sb: &Superblock, block_size: usize) -> Result<(usize, InodeNr)> {
    if sb.s_rev_level.get() == sb::GOOD_OLD_REV {
        return Ok((BASE_SIZE, InodeNr(sb::GOOD_OLD_FIRST_INO)));
    }
    let size = usize::from(sb.s_inode_size.get());
    if !size.is_power_of_two() || !(BASE_SIZE..=block_size).contains(&size) {
        return Err(Location::of(Structure::Superblock).value(
            "s_inode_size",
            sb.s_inode_size.get(),
            format!("a power of two from 128 to {block_size}"),
        ));
    }
    Ok((size, InodeNr(sb.s_first_ino.get())))
}

/// Checks the superblock fields that contain the size of the inode fields past the first 128 bytes.
fn check_extra_sizes(sb: &Superblock, inode_size: usize) -> Result<()> {
    let room = inode_size - BASE_SIZE;
    for (what, size) in
        [("s_min_extra_isize", sb.s_min_extra_isize), ("s_want_extra_isize", sb.s_want_extra_isize)]
    {
        let size = usize::from(size.get());
        if room > 0 && size != 0 && (!(4..=room).contains(&size) || !size.is_multiple_of(4)) {
            return Err(Location::of(Structure::Superblock).value(
                what,
                size as u64,
                format!("0, or a multiple of 4 from 4 to {room}"),
            ));
        }
    }
    Ok(())
}

/// Returns the size of group descriptors. Without the `64bit` feature, the field is ignored.
fn descriptor_size(sb: &Superblock, features: Features) -> Result<usize> {
    if !features.has(Incompat::BIT64) {
        return Ok(group_descriptor::OLD_SIZE);
    }
    let size = usize::from(sb.s_desc_size.get());
    if !size.is_power_of_two() || !(group_descriptor::WIDE_SIZE..=1024).contains(&size) {
        let expected = "a power of two from 64 to 1024";
        return Err(Location::of(Structure::Superblock).value("s_desc_size", sb.s_desc_size.get(), expected));
    }
    Ok(size)
}

/// Returns the number of reserved GDT blocks. Without `resize_inode`, no inode owns such blocks, and the
/// number is 0 whatever the field contains: mke2fs leaves a value in the field when it replaces
/// `resize_inode` with `meta_bg`, and e2fsck clears the field.
fn reserved_gdt_blocks(sb: &Superblock, features: Features) -> u64 {
    if features.has(Compat::RESIZE_INODE) { sb.s_reserved_gdt_blocks.get().into() } else { 0 }
}

/// Returns the number of blocks in a cluster.
fn blocks_per_cluster(sb: &Superblock, features: Features) -> Result<u64> {
    // 512 MiB: e2fsprogs rejects larger clusters.
    const LOG_MAX: u32 = 19;
    let (block, cluster) = (sb.s_log_block_size.get(), sb.s_log_cluster_size.get());
    let max = if features.has(RoCompat::BIGALLOC) { LOG_MAX } else { block };
    if !(block..=max).contains(&cluster) {
        let expected = if max == block { block.to_string() } else { format!("{block} to {max}") };
        return Err(Location::of(Structure::Superblock).value("s_log_cluster_size", cluster, expected));
    }
    Ok(1 << (cluster - block))
}

#[cfg(test)]
/// Returns roughly the geometry that `mke2fs -t ext4 -b 4096` chooses for an image of 40 GiB.
pub(crate) fn forty_gib() -> Geometry {
    Geometry {
        features: Features {
            compat: Compat::RESIZE_INODE | Compat::HAS_JOURNAL | Compat::DIR_INDEX,
            incompat: Incompat::BIT64 | Incompat::FLEX_BG | Incompat::EXTENTS | Incompat::FILETYPE,
            ro_compat: RoCompat::SPARSE_SUPER | RoCompat::METADATA_CSUM,
        },
        block_size: 4096,
        blocks_count: 40 << 18,
        reserved_blocks: 2 << 18,
        first_data_block: 0,
        blocks_per_cluster: 1,
        blocks_per_group: 32768,
        inodes_per_group: 8192,
        inode_size: 256,
        first_inode: InodeNr(11),
        groups: 320,
        descriptor_size: 64,
        reserved_gdt_blocks: 1024,
        first_meta_bg: 0,
        backup_groups: [0; 2],
        groups_per_flex: 16,
        hash_version: HashVersion::HalfMd4,
        raid_stride: 0,
        least_inodes: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_lie_in_powers_of_three_five_and_seven() {
        let geometry = forty_gib();
        let groups: Vec<u32> = (0..320).filter(|group| geometry.has_superblock(GroupNr(*group))).collect();
        assert_eq!(groups, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243]);
    }

    /// The numbers are from dumpe2fs, for an image made by mke2fs 1.47.0 with -b 1024 -C 2048.
    #[test]
    fn clusters_of_1k_blocks_leave_block_0_to_group_0() {
        let mut geometry = forty_gib();
        (geometry.block_size, geometry.blocks_per_cluster) = (1024, 2);
        (geometry.blocks_count, geometry.groups, geometry.blocks_per_group) = (307_200, 19, 16384);
        geometry.reserved_gdt_blocks = 29;
        assert_eq!(geometry.clusters_per_group(), 8192);
        assert!(geometry.head_ranges(GroupNr(0)).eq([0..1, 1..2, 2..4, 4..33]));
        assert!(geometry.head_ranges(GroupNr(1)).eq([16384..16385, 16385..16387, 16387..16416]));
        assert_eq!(geometry.descriptor_block(1), BlockNr(3));
    }

    #[test]
    fn meta_groups_keep_their_descriptors_in_three_groups() {
        let mut geometry = forty_gib();
        geometry.features.compat -= Compat::RESIZE_INODE;
        geometry.reserved_gdt_blocks = 0;
        geometry.features.incompat |= Incompat::META_BG;
        let holders: Vec<u32> =
            (0..130).filter(|group| geometry.group_head(GroupNr(*group)).descriptors.is_some()).collect();
        assert_eq!(holders, [0, 1, 63, 64, 65, 127, 128, 129]);
        assert_eq!(geometry.descriptor_block(1), BlockNr(64 * 32768));
        assert_eq!(geometry.descriptor_block(0), BlockNr(1));
    }
}
