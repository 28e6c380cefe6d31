//! Detects filesystems and partition tables at the start of an image.

use super::mbr::FirstSector;
use super::partition_table::PartitionTable;
use super::{gpt, mbr};
use crate::error::Result;

/// The offset of the superblock's magic number in a filesystem, in bytes, and its value.
const EXT_MAGIC: (usize, [u8; 2]) = (1024 + 56, [0x53, 0xEF]);

/// Returns whether the bytes have the magic number of an ext filesystem.
pub(super) fn is_ext(bytes: &[u8]) -> bool {
    bytes.get(EXT_MAGIC.0..).and_then(|rest| rest.first_chunk()) == Some(&EXT_MAGIC.1)
}

/// Reads the partition table at the start of a disk.
pub(super) fn partition_table(bytes: &[u8], sector_size: Option<u64>) -> Result<Option<PartitionTable>> {
    match mbr::read(bytes, sector_size.unwrap_or(512))? {
        FirstSector::NoTable => Ok(None),
        FirstSector::Protective => gpt::read(bytes, sector_size).map(Some),
        FirstSector::Table(table) => Ok(Some(table)),
    }
}
