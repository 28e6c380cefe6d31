//! Defines a partition table of any type.

use std::ops::Range;

use super::partition::Partition;
use crate::error::{Error, Location, Result, Structure};
use crate::remedy::Remedy;

/// A partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartitionTable {
    /// The sector size in bytes.
    pub sector_size: u64,
    /// The type of the table.
    pub kind: TableKind,
    /// The partitions in use, in the order of their numbers.
    pub partitions: Vec<Partition>,
    /// The byte ranges of the table itself, sorted.
    pub reserved: Vec<Range<u64>>,
    /// The byte ranges of the partitions in a hybrid MBR. These partitions need not be in the GPT.
    pub hybrid: Vec<Range<u64>>,
}

/// The type of a partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TableKind {
    /// A GUID partition table, with the GUID of the disk.
    Gpt(uuid::Uuid),
    /// An MBR partition table, with the disk signature.
    Mbr(u32),
}

/// Checks that a partition is completely inside the image.
///
/// # Errors
///
/// `Corrupt` if the partition ends past the end of the image.
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

/// Creates an error about a partition table.
pub(super) fn damaged_table(words: impl Into<String>) -> Error {
    Location::of(Structure::PartitionTable).wrong(words).with_remedy(Remedy::RecreateTable)
}
