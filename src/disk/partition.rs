//! Defines a partition in a partition table.

use std::ops::Range;

/// A partition, as described by the partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    /// The number in Linux. Logical partitions of an MBR begin at 5.
    pub number: u32,
    /// The name in a GPT; empty if there is none.
    pub name: String,
    /// The PARTUUID, in the format of Linux.
    pub uuid: String,
    /// The type: a GUID, or a byte in hexadecimal.
    pub kind: String,
    /// The attributes in a GPT, or the status byte in an MBR.
    pub attributes: u64,
    /// The byte range on the disk.
    pub bytes: Range<u64>,
}

impl Partition {
    /// Returns the name for messages.
    pub(super) fn shown(&self) -> String {
        if self.name.is_empty() {
            return format!("partition {}", self.number);
        }
        format!("partition {} ({})", self.number, crate::error::shown(self.name.as_bytes()))
    }
}
