//! Lists the rule for every field of the superblock and the inode.
//!
//! `docs/canonical-fields.md` has the same tables, with the reasons. `tests/integration/structures.rs`
//! compares the tables of both files with each other and with the structures. The writer copies the fields
//! with the rule `Keep`.

use crate::ondisk::superblock::Superblock;

/// The rule for a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The value of the input is part of the geometry or chosen by the owner. It is kept, unless the options
    /// change it.
    Keep,
    /// The value is part of the tree.
    Tree,
    /// The value is derived from the tree, the geometry and the layout.
    Derive,
    /// The value is fixed by the form or an option.
    Set,
    /// The field only records history, or is unused; its value becomes zero.
    Zero,
    /// The value must be zero; an input with any other value is refused.
    Refuse,
}

use Rule::{Derive, Keep, Refuse, Set, Tree, Zero};

impl Rule {
    /// Returns the word for the rule in the tables of the specification.
    pub fn word(self) -> &'static str {
        match self {
            Keep => "keep",
            Tree => "tree",
            Derive => "derive",
            Set => "set",
            Zero => "zero",
            Refuse => "refuse",
        }
    }
}

/// The rules for all fields of the superblock.
pub const SUPERBLOCK: &[(&str, Rule)] = &[
    ("s_inodes_count", Derive),
    ("s_blocks_count_lo", Keep),
    ("s_r_blocks_count_lo", Keep),
    ("s_free_blocks_count_lo", Derive),
    ("s_free_inodes_count", Derive),
    ("s_first_data_block", Keep),
    ("s_log_block_size", Keep),
    ("s_log_cluster_size", Keep),
    ("s_blocks_per_group", Keep),
    ("s_clusters_per_group", Keep),
    ("s_inodes_per_group", Keep),
    ("s_mtime", Zero),
    ("s_wtime", Zero),
    ("s_mnt_count", Zero),
    ("s_max_mnt_count", Derive),
    ("s_magic", Set),
    ("s_state", Set),
    ("s_errors", Keep),
    ("s_minor_rev_level", Zero),
    ("s_lastcheck", Zero),
    ("s_checkinterval", Keep),
    ("s_creator_os", Derive),
    ("s_rev_level", Keep),
    ("s_def_resuid", Keep),
    ("s_def_resgid", Keep),
    ("s_first_ino", Derive),
    ("s_inode_size", Derive),
    ("s_block_group_nr", Derive),
    ("s_feature_compat", Derive),
    ("s_feature_incompat", Derive),
    ("s_feature_ro_compat", Derive),
    ("s_uuid", Set),
    ("s_volume_name", Keep),
    ("s_last_mounted", Zero),
    ("s_algorithm_usage_bitmap", Zero),
    ("s_prealloc_blocks", Keep),
    ("s_prealloc_dir_blocks", Keep),
    ("s_reserved_gdt_blocks", Keep),
    ("s_journal_uuid", Derive),
    ("s_journal_inum", Derive),
    ("s_journal_dev", Derive),
    ("s_last_orphan", Zero),
    ("s_hash_seed", Set),
    ("s_def_hash_version", Keep),
    ("s_jnl_backup_type", Derive),
    ("s_desc_size", Derive),
    ("s_default_mount_opts", Keep),
    ("s_first_meta_bg", Keep),
    ("s_mkfs_time", Set),
    ("s_jnl_blocks", Derive),
    ("s_blocks_count_hi", Keep),
    ("s_r_blocks_count_hi", Keep),
    ("s_free_blocks_count_hi", Derive),
    ("s_min_extra_isize", Keep),
    ("s_want_extra_isize", Keep),
    ("s_flags", Set),
    ("s_raid_stride", Keep),
    ("s_mmp_update_interval", Derive),
    ("s_mmp_block", Derive),
    ("s_raid_stripe_width", Keep),
    ("s_log_groups_per_flex", Keep),
    ("s_checksum_type", Derive),
    ("s_encryption_level", Zero),
    ("s_reserved_pad", Zero),
    ("s_kbytes_written", Zero),
    ("s_snapshot_inum", Zero),
    ("s_snapshot_id", Zero),
    ("s_snapshot_r_blocks_count", Zero),
    ("s_snapshot_list", Zero),
    ("s_error_count", Zero),
    ("s_first_error_time", Zero),
    ("s_first_error_ino", Zero),
    ("s_first_error_block", Zero),
    ("s_first_error_func", Zero),
    ("s_first_error_line", Zero),
    ("s_last_error_time", Zero),
    ("s_last_error_ino", Zero),
    ("s_last_error_line", Zero),
    ("s_last_error_block", Zero),
    ("s_last_error_func", Zero),
    ("s_mount_opts", Keep),
    ("s_usr_quota_inum", Derive),
    ("s_grp_quota_inum", Derive),
    ("s_overhead_clusters", Derive),
    ("s_backup_bgs", Keep),
    ("s_encrypt_algos", Derive),
    ("s_encrypt_pw_salt", Derive),
    ("s_lpf_ino", Zero),
    ("s_prj_quota_inum", Derive),
    ("s_checksum_seed", Derive),
    ("s_wtime_hi", Zero),
    ("s_mtime_hi", Zero),
    ("s_mkfs_time_hi", Set),
    ("s_lastcheck_hi", Zero),
    ("s_first_error_time_hi", Zero),
    ("s_last_error_time_hi", Zero),
    ("s_first_error_errcode", Zero),
    ("s_last_error_errcode", Zero),
    ("s_encoding", Derive),
    ("s_encoding_flags", Derive),
    ("s_orphan_file_inum", Derive),
    ("s_def_resuid_hi", Keep),
    ("s_def_resgid_hi", Keep),
    ("s_reserved", Zero),
    ("s_checksum", Derive),
];

/// The rules for all fields of an inode.
pub const INODE: &[(&str, Rule)] = &[
    ("i_mode", Tree),
    ("i_uid", Tree),
    ("i_size_lo", Tree),
    ("i_atime", Derive),
    ("i_ctime", Derive),
    ("i_mtime", Tree),
    ("i_dtime", Zero),
    ("i_gid", Tree),
    ("i_links_count", Derive),
    ("i_blocks_lo", Derive),
    ("i_flags", Derive),
    ("l_i_version", Derive),
    ("i_block", Derive),
    ("i_generation", Zero),
    ("i_file_acl_lo", Derive),
    ("i_size_high", Tree),
    ("i_obso_faddr", Refuse),
    ("l_i_blocks_high", Derive),
    ("l_i_file_acl_high", Derive),
    ("l_i_uid_high", Tree),
    ("l_i_gid_high", Tree),
    ("l_i_checksum_lo", Derive),
    ("l_i_reserved", Zero),
    ("i_extra_isize", Set),
    ("i_checksum_hi", Derive),
    ("i_ctime_extra", Derive),
    ("i_mtime_extra", Tree),
    ("i_atime_extra", Derive),
    ("i_crtime", Derive),
    ("i_crtime_extra", Derive),
    ("i_version_hi", Zero),
    ("i_projid", Tree),
];

/// Returns whether the output keeps a field of the superblock.
pub(crate) fn is_kept(name: &str) -> bool {
    SUPERBLOCK.iter().any(|(field, rule)| *field == name && *rule == Keep)
}

/// Returns a superblock with the kept fields of the input. All other fields are zero.
pub(crate) fn kept_fields(input: &Superblock) -> Superblock {
    use zerocopy::IntoBytes as _;
    let mut output = [0_u8; size_of::<Superblock>()];
    for (field, (_, rule)) in Superblock::FIELDS.iter().zip(SUPERBLOCK) {
        if *rule == Keep {
            let bytes = field.offset..field.offset + field.size;
            output[bytes.clone()].copy_from_slice(&input.as_bytes()[bytes]);
        }
    }
    zerocopy::transmute!(output)
}
