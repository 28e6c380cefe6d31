//! Builds the superblock of the output.

use zerocopy::little_endian::{U16, U32, U64};

use super::attempt::Placed;
use super::numbering::Numbering;
use crate::error::{Location, Result, Structure};
use crate::form;
use crate::geometry::Geometry;
use crate::ondisk::features::{Compat, Features, Incompat, RoCompat};
use crate::ondisk::inode::LINK_MAX;
use crate::ondisk::quota::QuotaType;
use crate::ondisk::superblock::{self as sb, Superblock};
use crate::policy::Options;
use crate::target::Target;
use crate::tree::{Kind, Tree};
use crate::units::{InodeNr, fits};

/// The size in bytes from which regular files need the `large_file` feature. The resize inode counts as a
/// regular file.
const LARGE_FILE: u64 = 1 << 31;

/// Returns the features of the output: the input's features and those that the tree needs, without those that
/// record a state and, for GNU Hurd, without `filetype`.
///
/// # Errors
///
/// `Unsupported` if the input has revision 0, and the tree needs a feature.
pub(crate) fn features(target: &Target, tree: &Tree) -> Result<Features> {
    let mut needed = Features::default();
    let has_resize_inode = target.geometry.features.has(Compat::RESIZE_INODE);
    if has_resize_inode && target.geometry.resize_inode_size() >= LARGE_FILE {
        needed.ro_compat |= RoCompat::LARGE_FILE;
    }
    for node in &tree.nodes {
        if node.xattrs.is_some() {
            needed.compat |= Compat::EXT_ATTR;
        }
        match node.kind {
            Kind::Regular { size, .. } if size >= LARGE_FILE => needed.ro_compat |= RoCompat::LARGE_FILE,
            Kind::Directory { .. } if u64::from(node.links) > LINK_MAX => {
                needed.ro_compat |= RoCompat::DIR_NLINK;
            }
            _ => {}
        }
    }
    let missing = needed.difference(target.geometry.features);
    if target.superblock.s_rev_level.get() == sb::GOOD_OLD_REV && missing != Features::default() {
        return Err(Location::of(Structure::Superblock).unsupported(
            format!("revision 0 with a tree that needs {}", missing.names().join(", ")),
            "make the image with revision 1",
        ));
    }
    let mut dropped = Features {
        incompat: Incompat::NEEDS_RECOVERY,
        ro_compat: RoCompat::ORPHAN_PRESENT | RoCompat::SHARED_BLOCKS,
        ..Features::default()
    };
    // GNU Hurd does not support this feature, and e2fsck clears it.
    dropped.incompat.set(Incompat::FILETYPE, target.is_of_hurd());
    Ok(target.geometry.features.union(needed).difference(dropped))
}

/// Returns a superblock with the fields that depend neither on the tree nor on the layout. Applies the
/// options. UUID and checksum are zero.
pub(crate) fn settings(target: &Target, geometry: &Geometry, options: &Options) -> Superblock {
    let (input, features) = (&target.superblock, geometry.features);
    let mut output = form::kept_fields(input);
    output.s_magic = U16::new(sb::MAGIC);
    // GNU Hurd supports translators only on filesystems that it created.
    output.s_creator_os = if target.is_of_hurd() { sb::OS_HURD } else { sb::OS_LINUX }.into();
    output.s_state = U16::new(sb::STATE_VALID);
    set_sizes(&mut output, geometry);
    let (count, interval) = (input.s_max_mnt_count.get(), input.s_checkinterval.get());
    output.s_max_mnt_count = U16::new(form::max_mount_count(count, interval));
    output.s_first_ino = U32::new(geometry.first_inode.0);
    output.s_inode_size = U16::new(fits(geometry.inode_size, "it was read from this field of 16 bits"));
    output.s_feature_compat = U32::new(features.compat.bits());
    output.s_feature_incompat = U32::new(features.incompat.bits());
    output.s_feature_ro_compat = U32::new(features.ro_compat.bits());
    output.s_hash_seed = form::HASH_SEED;
    output.s_flags = U32::new(sb::FLAGS_SIGNED_HASH);
    if geometry.is_64bit() {
        output.s_desc_size = U16::new(fits(geometry.descriptor_size, "a descriptor has at most 1024 bytes"));
    }
    if features.has(RoCompat::METADATA_CSUM) {
        output.s_checksum_type = sb::CHECKSUM_CRC32C;
    }
    if features.has(Incompat::CASEFOLD) {
        output.s_encoding = input.s_encoding;
        output.s_encoding_flags = input.s_encoding_flags;
    }
    if features.has(Incompat::ENCRYPT) {
        output.s_encrypt_algos = input.s_encrypt_algos;
        output.s_encrypt_pw_salt = input.s_encrypt_pw_salt;
    }
    if features.has(Incompat::METADATA_CSUM_SEED) {
        output.s_checksum_seed = U32::new(form::CHECKSUM_SEED);
    }
    if features.has(Incompat::MMP) {
        output.s_mmp_update_interval = input.s_mmp_update_interval;
    }
    if features.has(Compat::HAS_JOURNAL) && input.s_journal_inum.get() == 0 {
        output.s_journal_uuid = input.s_journal_uuid;
        output.s_journal_dev = input.s_journal_dev;
    }
    let created = options.epoch.and_then(|epoch| u64::try_from(epoch).ok()).unwrap_or(0);
    output.s_mkfs_time = low(created);
    output.s_mkfs_time_hi = (created >> 32).to_le_bytes()[0];
    if let Some(label) = &options.label {
        output.s_volume_name = [0; 16];
        output.s_volume_name[..label.len()].copy_from_slice(label);
    }
    output
}

/// Sets the fields that depend on the size of the filesystem.
fn set_sizes(output: &mut Superblock, geometry: &Geometry) {
    output.s_inodes_count = U32::new(geometry.inodes_count());
    output.s_inodes_per_group = U32::new(geometry.inodes_per_group);
    output.s_blocks_count_lo = low(geometry.blocks_count);
    output.s_r_blocks_count_lo = low(geometry.reserved_blocks);
    // Without the 64bit feature, these fields are ignored.
    if geometry.is_64bit() {
        output.s_blocks_count_hi = low(geometry.blocks_count >> 32);
        output.s_r_blocks_count_hi = low(geometry.reserved_blocks >> 32);
    }
    let reserved = fits(geometry.reserved_gdt_blocks, "at most the 2^14 pointers of a block are reserved");
    output.s_reserved_gdt_blocks = U16::new(reserved);
    output.s_first_meta_bg = low(geometry.first_meta_bg);
    if geometry.features.has(Compat::SPARSE_SUPER2) {
        output.s_backup_bgs = geometry.backup_groups.map(U32::new);
    }
}

fn low(value: u64) -> U32 {
    U32::new(fits(value & 0xFFFF_FFFF, "it has 32 bits"))
}

/// Builds the superblock, without the UUID, the backup of the journal inode and the checksum.
pub(super) fn build(
    target: &Target,
    geometry: &Geometry,
    options: &Options,
    numbering: &Numbering,
    placed: &Placed,
) -> Superblock {
    let layout = &placed.layout;
    let mut output = settings(target, geometry, options);
    let free = layout.free.count();
    output.s_free_inodes_count = U32::new(geometry.inodes_count() - numbering.count());
    output.s_free_blocks_count_lo = low(free);
    output.s_free_blocks_count_hi = low(free >> 32);
    output.s_overhead_clusters = low(overhead(geometry, placed));
    if layout.journal.is_some() {
        output.s_journal_inum = U32::new(InodeNr::JOURNAL.0);
        output.s_jnl_backup_type = sb::JNL_BACKUP_BLOCKS;
    }
    if let Some(block) = layout.mmp_block {
        output.s_mmp_block = U64::new(block.0);
    }
    let quota_file = |kind| U32::new(numbering.quota_file(kind).unwrap_or_default().0);
    output.s_usr_quota_inum = quota_file(QuotaType::User);
    output.s_grp_quota_inum = quota_file(QuotaType::Group);
    output.s_prj_quota_inum = quota_file(QuotaType::Project);
    if let Some(number) = numbering.orphan_file() {
        output.s_orphan_file_inum = U32::new(number.0);
    }
    output
}

/// Returns the number of clusters that statfs does not count: static metadata, journal, and blocks before
/// group 0.
fn overhead(geometry: &Geometry, placed: &Placed) -> u64 {
    let layout = &placed.layout;
    let journal = layout.journal.map_or(0, |file| layout.content_clusters(file));
    placed.static_clusters + journal + geometry.first_data_block
}
