//! Defines the profiles: complete settings as functions of the size. docs/profiles.md specifies them.

use zerocopy::little_endian::{U16, U32};

use super::mke2fs;
use super::recipe::{InodeCount, Recipe};
use crate::changes::{Profile, Reserved};
use crate::geometry::Geometry;
use crate::ondisk::dirhash::HashVersion;
use crate::ondisk::features::{Compat, Features, Incompat, RoCompat};
use crate::ondisk::group_descriptor;
use crate::ondisk::superblock::{self as sb, Superblock};
use crate::units::InodeNr;

/// The block size of all profiles in bytes.
const BLOCK_SIZE: usize = 4096;
/// The inode size of all profiles in bytes.
const INODE_SIZE: usize = 256;
/// The share of reserved blocks, in thousandths of a percent, in profiles that have any.
const RESERVED: u32 = 5000;
/// `s_default_mount_opts`: user_xattr and acl.
const MOUNT_OPTIONS: u32 = 0xC;
/// `s_errors`: continue.
const CONTINUE: u16 = 1;

/// Returns the parameters of a profile. The number of blocks is not set yet.
pub(super) fn recipe(profile: Profile) -> Recipe {
    let features = features(profile);
    let geometry = Geometry {
        features,
        block_size: BLOCK_SIZE,
        blocks_count: 0,
        reserved_blocks: 0,
        first_data_block: 0,
        blocks_per_cluster: 1,
        blocks_per_group: mke2fs::blocks_per_group(BLOCK_SIZE, 1),
        inodes_per_group: 0,
        inode_size: INODE_SIZE,
        first_inode: InodeNr(sb::GOOD_OLD_FIRST_INO),
        groups: 0,
        descriptor_size: group_descriptor::OLD_SIZE,
        reserved_gdt_blocks: 0,
        first_meta_bg: 0,
        backup_groups: [0; 2],
        groups_per_flex: if features.has(Incompat::FLEX_BG) { 1 << mke2fs::LOG_GROUPS_PER_FLEX } else { 1 },
        hash_version: HashVersion::HalfMd4,
        raid_stride: 0,
        least_inodes: None,
    };
    let is_min = profile == Profile::Ext4Min;
    Recipe {
        geometry,
        inodes: InodeCount::Ratio(mke2fs::INODE_RATIO),
        reserved: Some(Reserved::Share(if is_min { 0 } else { RESERVED })),
        reserved_gdt: None,
        backups: None,
    }
}

/// Returns a superblock with the fields that are the same in all profiles.
pub(super) fn template() -> Superblock {
    let mut template = Superblock::zeroed();
    template.s_magic = U16::new(sb::MAGIC);
    template.s_rev_level = U32::new(sb::DYNAMIC_REV);
    template.s_first_ino = U32::new(sb::GOOD_OLD_FIRST_INO);
    template.s_errors = U16::new(CONTINUE);
    // No check after a number of mounts.
    template.s_max_mnt_count = U16::new(u16::MAX);
    template.s_default_mount_opts = U32::new(MOUNT_OPTIONS);
    template.s_def_hash_version = HashVersion::HalfMd4.to_disk();
    template.s_journal_inum = U32::new(InodeNr::JOURNAL.0);
    template
}

/// Returns the features of a profile.
fn features(profile: Profile) -> Features {
    let compat = Compat::EXT_ATTR | Compat::DIR_INDEX;
    let ext2 = Features {
        compat: compat | Compat::RESIZE_INODE,
        incompat: Incompat::FILETYPE,
        ro_compat: RoCompat::SPARSE_SUPER | RoCompat::LARGE_FILE,
    };
    let sizes = RoCompat::HUGE_FILE | RoCompat::DIR_NLINK | RoCompat::EXTRA_ISIZE;
    let files = Features {
        incompat: ext2.incompat | Incompat::EXTENTS | Incompat::FLEX_BG,
        ro_compat: ext2.ro_compat | sizes,
        ..ext2
    };
    match profile {
        Profile::Ext2 => ext2,
        Profile::Ext4Compat => Features {
            compat: files.compat | Compat::HAS_JOURNAL,
            ro_compat: files.ro_compat | RoCompat::GDT_CSUM,
            ..files
        },
        Profile::Ext4 => Features {
            compat: files.compat | Compat::HAS_JOURNAL,
            incompat: files.incompat | Incompat::BIT64,
            ro_compat: files.ro_compat | RoCompat::METADATA_CSUM,
        },
        Profile::Ext4Min => {
            Features { compat, ro_compat: files.ro_compat | RoCompat::METADATA_CSUM, ..files }
        }
    }
}
