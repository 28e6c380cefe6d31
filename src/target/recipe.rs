//! Computes the geometry of a filesystem from its parameters, as mke2fs does.

use zerocopy::little_endian::{U16, U32};

use super::mke2fs;
use crate::changes::Reserved;
use crate::error::{Error, Result};
use crate::form::LAST_GROUP_ROOM;
use crate::geometry::Geometry;
use crate::ondisk::features::{Compat, Features, Incompat};
use crate::ondisk::group_descriptor;
use crate::ondisk::inode::BASE_SIZE;
use crate::ondisk::mmp;
use crate::ondisk::superblock::{self as sb, Superblock};
use crate::resized_geometry;
use crate::units::{GroupNr, fits};

/// The parameters of a filesystem that do not follow from its size.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    /// A geometry with these parameters: features, sizes of blocks, clusters, groups and inodes.
    pub geometry: Geometry,
    /// The number of inodes.
    pub inodes: InodeCount,
    /// The reserved blocks; `None` to keep their share in `geometry`.
    pub reserved: Option<Reserved>,
    /// The number of reserved GDT blocks to keep, if the size of the descriptors does not change.
    pub reserved_gdt: Option<u64>,
    /// With sparse_super2 in the base, the number of its groups, and the groups with backups.
    pub backups: Option<(u32, [u32; 2])>,
}

/// The number of inodes of a filesystem.
#[derive(Clone, Copy, Debug)]
pub(super) enum InodeCount {
    /// About this many.
    Total(u64),
    /// One for this many bytes.
    Ratio(u64),
}

impl Recipe {
    /// Returns the geometry of a filesystem with at most this many blocks.
    ///
    /// # Errors
    ///
    /// `Options` if the metadata of a single group does not fit.
    pub(super) fn geometry(&self, mut blocks: u64) -> Result<Geometry> {
        loop {
            let inodes = match self.inodes {
                InodeCount::Total(inodes) => inodes,
                // Counted again without the last group, so that the output has its own settings.
                InodeCount::Ratio(bytes) => blocks.saturating_mul(self.geometry.block_bytes()) / bytes,
            };
            // One more than the reserved inodes, for lost+found.
            let inodes = inodes.max(u64::from(self.geometry.first_inode.0) + 1);
            let found = self.with_blocks(blocks, inodes)?;
            let last = GroupNr(found.groups - 1);
            let room = found.group_blocks(last);
            let copies: u64 = found.head_ranges(last).map(|range| range.end - range.start).sum();
            // The final size of the tables is not known here if the tree decides the number of inodes.
            let table = if found.least_inodes.is_some() { 1 } else { found.inode_table_blocks() };
            let own = copies + 2 + table;
            let length = room.end - room.start;
            if length == found.blocks_per_group || length >= own + LAST_GROUP_ROOM {
                return Ok(found);
            }
            if found.groups == 1 {
                if length >= own {
                    return Ok(found);
                }
                return Err(Error::options(
                    format!("the size leaves {length} blocks, of which metadata alone needs {own}"),
                    "make the image larger beforehand, or choose smaller blocks or inodes",
                ));
            }
            // Leave out the last group.
            blocks = room.start;
        }
    }

    /// Returns the geometry for this number of blocks, rounded down to whole clusters.
    fn with_blocks(&self, blocks: u64, inodes: u64) -> Result<Geometry> {
        let mut to = self.geometry.clone();
        to.blocks_count = blocks / to.blocks_per_cluster * to.blocks_per_cluster;
        to.first_data_block = u64::from(to.block_size == 1024 && to.blocks_per_cluster == 1);
        let groups = to.blocks_count.saturating_sub(to.first_data_block).div_ceil(to.blocks_per_group).max(1);
        let too_large =
            || Error::options(format!("no filesystem can have {blocks} blocks"), "use a smaller size");
        to.groups = u32::try_from(groups).map_err(|_| too_large())?;
        if to.blocks_count > u32::MAX.into() && !to.is_64bit() {
            return Err(Error::options(
                format!("a filesystem of {blocks} blocks needs the 64bit feature"),
                "use a smaller size, or set the feature",
            ));
        }
        let is_wide = to.is_64bit();
        to.descriptor_size = if is_wide { group_descriptor::WIDE_SIZE } else { group_descriptor::OLD_SIZE };
        to.inodes_per_group = mke2fs::inodes_per_group(&to, inodes);
        if u64::from(to.groups) * u64::from(to.inodes_per_group) > u32::MAX.into() {
            return Err(too_large());
        }
        to.first_meta_bg = 0;
        to.reserved_gdt_blocks = self.reserved_gdt.unwrap_or_else(|| mke2fs::reserved_gdt_blocks(&to));
        // Descriptors that need more than three quarters of a group are put into meta groups.
        if to.reserved_gdt_blocks + to.descriptor_blocks() > to.blocks_per_group / 4 * 3 {
            to.features.incompat |= Incompat::META_BG;
            to.features.compat -= Compat::RESIZE_INODE;
            to.reserved_gdt_blocks = 0;
        }
        to.backup_groups = match self.backups {
            _ if !to.features.has(Compat::SPARSE_SUPER2) => [0; 2],
            Some((groups, backups)) if groups == to.groups => backups,
            _ => mke2fs::backup_groups(to.groups),
        };
        to.reserved_blocks = match self.reserved {
            Some(reserved) => reserved_blocks(reserved, to.blocks_count),
            None => resized_geometry::reserved_blocks(&self.geometry, to.blocks_count),
        };
        Ok(to)
    }
}

/// Returns the number of reserved blocks of a filesystem. Rounds like mke2fs.
pub(super) fn reserved_blocks(reserved: Reserved, blocks: u64) -> u64 {
    match reserved {
        // Exact, since block numbers have at most 48 bits.
        Reserved::Share(share) => {
            fits(u128::from(blocks) * u128::from(share) / 100_000, "a share is at most half of the blocks")
        }
        Reserved::Blocks(count) => count,
    }
}

/// Returns the superblock with the fields that follow from the geometry. All other fields are those of
/// `from`.
pub(super) fn superblock(from: &Superblock, geometry: &Geometry) -> Superblock {
    let mut to = *from;
    let log = |bytes: u64| U32::new((bytes / 1024).ilog2());
    let low = |value: u64| U32::new(fits(value & 0xFFFF_FFFF, "it has 32 bits"));
    let features = geometry.features;
    if features != Features::default() || geometry.inode_size != BASE_SIZE {
        // Revision 0 has no features, and only inodes of 128 bytes.
        to.s_rev_level = U32::new(sb::DYNAMIC_REV);
        to.s_first_ino = U32::new(geometry.first_inode.0);
    }
    to.s_feature_compat = U32::new(features.compat.bits());
    to.s_feature_incompat = U32::new(features.incompat.bits());
    to.s_feature_ro_compat = U32::new(features.ro_compat.bits());
    to.s_log_block_size = log(geometry.block_bytes());
    to.s_log_cluster_size = log(geometry.cluster_bytes());
    to.s_blocks_per_group = low(geometry.blocks_per_group);
    to.s_clusters_per_group = low(geometry.clusters_per_group());
    to.s_inodes_per_group = U32::new(geometry.inodes_per_group);
    to.s_inodes_count = U32::new(geometry.inodes_count());
    to.s_first_data_block = low(geometry.first_data_block);
    to.s_blocks_count_lo = low(geometry.blocks_count);
    to.s_blocks_count_hi = low(geometry.blocks_count >> 32);
    to.s_r_blocks_count_lo = low(geometry.reserved_blocks);
    to.s_r_blocks_count_hi = low(geometry.reserved_blocks >> 32);
    to.s_inode_size =
        U16::new(fits(geometry.inode_size, "an inode has at most 64 KiB, which mke2fs refuses"));
    let wide = U16::new(fits(geometry.descriptor_size, "a descriptor has at most 1024 bytes"));
    to.s_desc_size = if geometry.is_64bit() { wide } else { U16::new(0) };
    to.s_reserved_gdt_blocks =
        U16::new(fits(geometry.reserved_gdt_blocks, "at most the 2^14 pointers of a block are reserved"));
    to.s_first_meta_bg = low(geometry.first_meta_bg);
    to.s_backup_bgs = geometry.backup_groups.map(U32::new);
    let has_flex = features.has(Incompat::FLEX_BG);
    let flex: u8 = fits(geometry.groups_per_flex.ilog2(), "it is a power of two");
    to.s_log_groups_per_flex = if has_flex { flex } else { 0 };
    if from.s_inode_size != to.s_inode_size {
        set_extra_sizes(&mut to, geometry.inode_size);
    }
    if features.has(Incompat::MMP) && from.s_mmp_update_interval == U16::new(0) {
        to.s_mmp_update_interval = U16::new(mmp::MIN_CHECK_INTERVAL);
    }
    to
}

/// Sets the sizes of the inode fields past the first 128 bytes.
fn set_extra_sizes(to: &mut Superblock, inode_size: usize) {
    for size in [&mut to.s_min_extra_isize, &mut to.s_want_extra_isize] {
        if inode_size == BASE_SIZE {
            *size = U16::new(0);
        } else if *size == U16::new(0) {
            *size = U16::new(crate::form::EXTRA_ISIZE);
        }
    }
}
