//! Defines the on-disk format of the orphan file: blocks of inode numbers, each with a tail.

use zerocopy::little_endian::U32;

use super::on_disk;

/// `ob_magic`.
pub const MAGIC: u32 = 0x0B10_CA04;

on_disk! {
    /// The last 8 bytes of every block of the orphan file.
    pub struct OrphanBlockTail: 8 {
        ob_magic: U32,
        ob_checksum: U32,
    }
}
