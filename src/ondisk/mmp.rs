//! Defines the MMP block (multiple mount protection), which records the host that uses the filesystem.

use zerocopy::little_endian::{U16, U32, U64};

use super::on_disk;

/// `mmp_magic`.
pub const MAGIC: u32 = 0x004D_4D50;
/// `mmp_seq`: the filesystem is not in use.
pub const SEQ_CLEAN: u32 = 0xFF4D_4D50;
/// `mmp_seq`: e2fsck or another e2fsprogs program is running.
pub const SEQ_FSCK: u32 = 0xE24D_4D50;
/// The minimum `mmp_check_interval`, in seconds.
pub const MIN_CHECK_INTERVAL: u16 = 5;
/// The offset of the checksum, which covers all bytes before it.
pub const CHECKSUM_OFFSET: usize = size_of::<MmpStruct>() - 4;

on_disk! {
    /// The first 1024 bytes of the MMP block.
    pub struct MmpStruct: 1024 {
        mmp_magic: U32,
        mmp_seq: U32,
        mmp_time: U64,
        mmp_nodename: [u8; 64],
        mmp_bdevname: [u8; 32],
        mmp_check_interval: U16,
        mmp_pad1: U16,
        mmp_pad2: [U32; 226],
        mmp_checksum: U32,
    }
}
