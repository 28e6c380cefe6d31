//! A partition table, whatever its kind.

use std::ops::Range;

use super::partition::Partition;
use crate::error::{Error, Location, Result, Structure};
use crate::remedy::Remedy;

/// A partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartitionTable {
    /// Bytes of a sector.
    pub sector_size: u64,
    /// What it is.
    pub kind: TableKind,
    /// The partitions in use, in the order of their numbers.
    pub partitions: Vec<Partition>,
    /// The bytes of the table itself, sorted.
    pub reserved: Vec<Range<u64>>,
    /// The bytes of partitions that a hybrid MBR has beside a GPT, which need not have them.
    pub hybrid: Vec<Range<u64>>,
}

/// The kinds of partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TableKind {
    /// That of UEFI, by its GUID.
    Gpt(uuid::Uuid),
    /// That of the PC, by its signature.
    Mbr(u32),
}

/// Refuses a partition that the image does not have all of.
///
/// # Errors
///
/// `Corrupt`.
pub(super) fn check_inside(partition: &Partition, length: u64) -> Result<()> {
    if partition.bytes.end > length {
        return Err(damaged_table(format!(
            "{} ends at byte {}, but the image has {length}",
            partition.shown(),
            partition.bytes.end
        ))
        .with_remedy(Remedy::CopyDiskAgain));
    }
    Ok(())
}

/// An error about a partition table.
pub(super) fn damaged_table(words: impl Into<String>) -> Error {
    Location::of(Structure::PartitionTable).wrong(words).with_remedy(Remedy::RecreateTable)
}
