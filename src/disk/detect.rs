//! What an image begins with: a filesystem, a partition table, or both.

use super::mbr::FirstSector;
use super::partition_table::PartitionTable;
use super::{gpt, mbr};
use crate::error::Result;

/// Where the superblock's magic number lies in a filesystem, in bytes, and what it is.
const EXT_MAGIC: (usize, [u8; 2]) = (1024 + 56, [0x53, 0xEF]);

/// Whether bytes may begin an ext filesystem.
pub(super) fn is_ext(bytes: &[u8]) -> bool {
    bytes.get(EXT_MAGIC.0..).and_then(|rest| rest.first_chunk()) == Some(&EXT_MAGIC.1)
}

/// The partition table at the beginning of a disk.
pub(super) fn partition_table(bytes: &[u8], sector_size: Option<u64>) -> Result<Option<PartitionTable>> {
    match mbr::read(bytes, sector_size.unwrap_or(512))? {
        FirstSector::NoTable => Ok(None),
        FirstSector::Protective => gpt::read(bytes, sector_size).map(Some),
        FirstSector::Table(table) => Ok(Some(table)),
    }
}
