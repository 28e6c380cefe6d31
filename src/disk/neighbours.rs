//! Finds the UUIDs of a disk's filesystems and partitions, which files on the disk can contain.

use uuid::Uuid;

use super::chosen::ChosenFilesystem;
use super::partition_table::{PartitionTable, TableKind};
use crate::report::Owner;
use crate::source::Input;
use crate::uuid_references::Neighbours;

/// The offset of the UUID in an ext filesystem, in bytes.
const UUID: u64 = 1024 + 0x68;

/// Returns the UUIDs that can change and that files on the disk can contain.
pub(super) fn neighbours(
    input: &Input<'_>,
    table: &PartitionTable,
    parts: &[ChosenFilesystem],
) -> Neighbours {
    let mut found = Neighbours::new();
    if matches!(table.kind, TableKind::Gpt(_)) {
        let partitions = table.partitions.iter();
        let uuids = partitions
            .filter_map(|one| Some((one.uuid.parse::<Uuid>().ok()?, (Owner::Partition, one.shown()))));
        found.extend(uuids.map(|(uuid, owner)| (uuid.into_bytes(), owner)));
    }
    for part in parts {
        let start = part.bytes.start + UUID;
        let uuid = input.range(start, start + 16).and_then(<[u8]>::first_chunk);
        // The name is only used in warnings, and filesystems on a disk always have names.
        let name = part.name.clone().unwrap_or_default();
        found.extend(uuid.map(|uuid| (*uuid, (Owner::Filesystem, name))));
    }
    found
}
