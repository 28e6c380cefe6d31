//! A partition, as a partition table describes it.

use std::ops::Range;

/// What a partition table says of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    /// Its number, as Linux counts: logical partitions of an MBR begin at 5.
    pub number: u32,
    /// Its name in a GPT; empty where it has none.
    pub name: String,
    /// Its PARTUUID, in the way that Linux writes it.
    pub uuid: String,
    /// Its type: a GUID, or a byte in hexadecimal digits.
    pub kind: String,
    /// The attributes of a GPT, or the status byte of an MBR.
    pub attributes: u64,
    /// The bytes of the disk that it has.
    pub bytes: Range<u64>,
}

impl Partition {
    /// How messages call it.
    pub(super) fn shown(&self) -> String {
        if self.name.is_empty() {
            return format!("partition {}", self.number);
        }
        format!("partition {} ({})", self.number, crate::error::shown(self.name.as_bytes()))
    }
}
