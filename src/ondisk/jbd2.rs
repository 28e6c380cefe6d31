//! The journal's superblock. Everything of jbd2 is big-endian.

use zerocopy::big_endian::U32;

use super::on_disk;

/// The magic of every block of the log that is not a copy of some other block.
pub const MAGIC: u32 = 0xC03B_3998;
/// `h_blocktype`: a superblock of the first version, with its first 36 bytes alone.
pub const SUPERBLOCK_V1: u32 = 3;
/// `h_blocktype`: a superblock of the second version.
pub const SUPERBLOCK_V2: u32 = 4;
/// The fewest blocks of a journal.
pub const MIN_BLOCKS: u32 = 1024;
/// Fast-commit blocks where a journal with the feature names no number.
pub const DEFAULT_FC_BLOCKS: u32 = 256;

on_disk! {
    /// The journal's superblock, in the first 1024 bytes of its first block.
    pub struct JournalSuperblock: 1024 {
        h_magic: U32,
        h_blocktype: U32,
        h_sequence: U32,
        s_blocksize: U32,
        s_maxlen: U32,
        s_first: U32,
        s_sequence: U32,
        s_start: U32,
        s_errno: U32,
        s_feature_compat: U32,
        s_feature_incompat: U32,
        s_feature_ro_compat: U32,
        s_uuid: [u8; 16],
        s_nr_users: U32,
        s_dynsuper: U32,
        s_max_transaction: U32,
        s_max_trans_data: U32,
        s_checksum_type: u8,
        s_padding2: [u8; 3],
        s_num_fc_blks: U32,
        s_head: U32,
        s_padding: [U32; 40],
        s_checksum: U32,
        s_users: [u8; 768],
    }
}
