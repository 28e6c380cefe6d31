//! Defines the superblock: 1024 bytes at offset 1024 of the image, with backups at the start of some block
//! groups.

use zerocopy::FromZeros;
use zerocopy::little_endian::{U16, U32, U64};

use super::features::{Compat, Features, Incompat, RoCompat};
use super::on_disk;

/// `s_encoding`: UTF-8 of Unicode 12.1.
pub const ENCODING_UTF8_12_1: u16 = 1;
/// `s_encoding_flags`: the kernel rejects names that are not valid in the encoding.
pub const ENCODING_STRICT: u16 = 1;
/// `s_encoding_flags`: lookups do not fall back to a linear search for names with a hash of older kernels.
pub const ENCODING_NO_FALLBACK: u16 = 2;
/// The offset of the primary superblock, in bytes from the start of the image.
pub const OFFSET: usize = 1024;
/// The length of a superblock, in bytes.
pub const SIZE: usize = 1024;
/// `s_magic`.
pub const MAGIC: u16 = 0xEF53;
/// `s_state`: cleanly unmounted.
pub const STATE_VALID: u16 = 1;
/// `s_state`: errors were detected.
pub const STATE_ERROR: u16 = 2;
/// `s_flags`: directory hashes treat name bytes as signed.
pub const FLAGS_SIGNED_HASH: u32 = 1;
/// `s_flags`: directory hashes treat name bytes as unsigned.
pub const FLAGS_UNSIGNED_HASH: u32 = 2;
/// `s_creator_os`: FreeBSD and Lites, whose inodes have the layout of Linux.
pub const OS_LIKE_LINUX: [u32; 2] = [3, 4];
/// `s_creator_os`: Linux.
pub const OS_LINUX: u32 = 0;
/// `s_creator_os`: the Hurd, which uses some inode fields differently.
pub const OS_HURD: u32 = 1;
/// `s_checksum_type`: crc32c.
pub const CHECKSUM_CRC32C: u8 = 1;
/// `s_jnl_backup_type`: `s_jnl_blocks` contains `i_block` and the size of the journal inode.
pub const JNL_BACKUP_BLOCKS: u8 = 1;
/// `s_rev_level`: no features, and inodes of 128 bytes.
pub const GOOD_OLD_REV: u32 = 0;
/// `s_rev_level`: features, and inodes of any size.
pub const DYNAMIC_REV: u32 = 1;
/// The first inode that is not reserved in revision 0, where `s_first_ino` is not used. In later revisions it
/// is the minimum of `s_first_ino`.
pub const GOOD_OLD_FIRST_INO: u32 = 11;

on_disk! {
    /// The superblock.
    pub struct Superblock: 1024 {
        s_inodes_count: U32,
        s_blocks_count_lo: U32,
        s_r_blocks_count_lo: U32,
        s_free_blocks_count_lo: U32,
        s_free_inodes_count: U32,
        s_first_data_block: U32,
        s_log_block_size: U32,
        s_log_cluster_size: U32,
        s_blocks_per_group: U32,
        s_clusters_per_group: U32,
        s_inodes_per_group: U32,
        s_mtime: U32,
        s_wtime: U32,
        s_mnt_count: U16,
        s_max_mnt_count: U16,
        s_magic: U16,
        s_state: U16,
        s_errors: U16,
        s_minor_rev_level: U16,
        s_lastcheck: U32,
        s_checkinterval: U32,
        s_creator_os: U32,
        s_rev_level: U32,
        s_def_resuid: U16,
        s_def_resgid: U16,
        s_first_ino: U32,
        s_inode_size: U16,
        s_block_group_nr: U16,
        s_feature_compat: U32,
        s_feature_incompat: U32,
        s_feature_ro_compat: U32,
        s_uuid: [u8; 16],
        s_volume_name: [u8; 16],
        s_last_mounted: [u8; 64],
        s_algorithm_usage_bitmap: U32,
        s_prealloc_blocks: u8,
        s_prealloc_dir_blocks: u8,
        s_reserved_gdt_blocks: U16,
        s_journal_uuid: [u8; 16],
        s_journal_inum: U32,
        s_journal_dev: U32,
        s_last_orphan: U32,
        s_hash_seed: [u8; 16],
        s_def_hash_version: u8,
        s_jnl_backup_type: u8,
        s_desc_size: U16,
        s_default_mount_opts: U32,
        s_first_meta_bg: U32,
        s_mkfs_time: U32,
        s_jnl_blocks: [U32; 17],
        s_blocks_count_hi: U32,
        s_r_blocks_count_hi: U32,
        s_free_blocks_count_hi: U32,
        s_min_extra_isize: U16,
        s_want_extra_isize: U16,
        s_flags: U32,
        s_raid_stride: U16,
        s_mmp_update_interval: U16,
        s_mmp_block: U64,
        s_raid_stripe_width: U32,
        s_log_groups_per_flex: u8,
        s_checksum_type: u8,
        s_encryption_level: u8,
        s_reserved_pad: u8,
        s_kbytes_written: U64,
        s_snapshot_inum: U32,
        s_snapshot_id: U32,
        s_snapshot_r_blocks_count: U64,
        s_snapshot_list: U32,
        s_error_count: U32,
        s_first_error_time: U32,
        s_first_error_ino: U32,
        s_first_error_block: U64,
        s_first_error_func: [u8; 32],
        s_first_error_line: U32,
        s_last_error_time: U32,
        s_last_error_ino: U32,
        s_last_error_line: U32,
        s_last_error_block: U64,
        s_last_error_func: [u8; 32],
        s_mount_opts: [u8; 64],
        s_usr_quota_inum: U32,
        s_grp_quota_inum: U32,
        s_overhead_clusters: U32,
        s_backup_bgs: [U32; 2],
        s_encrypt_algos: [u8; 4],
        s_encrypt_pw_salt: [u8; 16],
        s_lpf_ino: U32,
        s_prj_quota_inum: U32,
        s_checksum_seed: U32,
        s_wtime_hi: u8,
        s_mtime_hi: u8,
        s_mkfs_time_hi: u8,
        s_lastcheck_hi: u8,
        s_first_error_time_hi: u8,
        s_last_error_time_hi: u8,
        s_first_error_errcode: u8,
        s_last_error_errcode: u8,
        s_encoding: U16,
        s_encoding_flags: U16,
        s_orphan_file_inum: U32,
        s_def_resuid_hi: U16,
        s_def_resgid_hi: U16,
        s_reserved: [U32; 93],
        s_checksum: U32,
    }
}

impl Superblock {
    /// Creates a superblock of zeros.
    pub fn zeroed() -> Self {
        Self::new_zeroed()
    }

    /// Returns the feature words, including unknown bits. Revision 0 has no features.
    pub fn features(&self) -> Features {
        if self.s_rev_level.get() == GOOD_OLD_REV {
            return Features::default();
        }
        Features {
            compat: Compat::from_bits_retain(self.s_feature_compat.get()),
            incompat: Incompat::from_bits_retain(self.s_feature_incompat.get()),
            ro_compat: RoCompat::from_bits_retain(self.s_feature_ro_compat.get()),
        }
    }

    /// Returns the number of blocks. The high half only counts with the `64bit` feature.
    pub fn blocks_count(&self) -> u64 {
        self.wide(self.s_blocks_count_lo, self.s_blocks_count_hi)
    }

    /// Returns the number of reserved blocks.
    pub fn reserved_blocks_count(&self) -> u64 {
        self.wide(self.s_r_blocks_count_lo, self.s_r_blocks_count_hi)
    }

    /// Returns the number of free blocks.
    pub fn free_blocks_count(&self) -> u64 {
        self.wide(self.s_free_blocks_count_lo, self.s_free_blocks_count_hi)
    }

    fn wide(&self, low: U32, high: U32) -> u64 {
        let high = if self.features().has(Incompat::BIT64) { high.get() } else { 0 };
        u64::from(high) << 32 | u64::from(low.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offsets are from the kernel's documentation of the superblock (Documentation/filesystems/ext4).
    #[test]
    fn fields_lie_where_the_format_puts_them() {
        let known = [
            ("s_magic", 0x38, 2),
            ("s_rev_level", 0x4C, 4),
            ("s_first_ino", 0x54, 4),
            ("s_feature_ro_compat", 0x64, 4),
            ("s_uuid", 0x68, 16),
            ("s_last_mounted", 0x88, 64),
            ("s_reserved_gdt_blocks", 0xCE, 2),
            ("s_last_orphan", 0xE8, 4),
            ("s_hash_seed", 0xEC, 16),
            ("s_desc_size", 0xFE, 2),
            ("s_jnl_blocks", 0x10C, 68),
            ("s_blocks_count_hi", 0x150, 4),
            ("s_flags", 0x160, 4),
            ("s_mmp_block", 0x168, 8),
            ("s_log_groups_per_flex", 0x174, 1),
            ("s_kbytes_written", 0x178, 8),
            ("s_error_count", 0x194, 4),
            ("s_mount_opts", 0x200, 64),
            ("s_overhead_clusters", 0x248, 4),
            ("s_backup_bgs", 0x24C, 8),
            ("s_lpf_ino", 0x268, 4),
            ("s_checksum_seed", 0x270, 4),
            ("s_encoding", 0x27C, 2),
            ("s_orphan_file_inum", 0x280, 4),
            ("s_checksum", 0x3FC, 4),
        ];
        for (name, offset, size) in known {
            let field = Superblock::FIELDS.iter().find(|field| field.name == name);
            assert_eq!(field.map(|f| (f.offset, f.size)), Some((offset, size)), "{name}");
        }
        let mut end = 0;
        for field in Superblock::FIELDS {
            assert_eq!(field.offset, end, "{}", field.name);
            end = field.offset + field.size;
        }
        assert_eq!(end, SIZE);
    }
}
