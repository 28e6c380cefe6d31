//! What is worth telling of a disk: what else on it refers to what was rewritten.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::guids::{self, Patch};
use super::{Disk, Part, Table, TableKind};
use crate::report::{Owner, Report};
use crate::source::Input;
use crate::uuid_references::Neighbours;

/// Where the UUID lies in an ext filesystem, in bytes.
const UUID: u64 = 1024 + 0x68;
/// What the header of a hash area of dm-verity begins with.
const VERITY: &[u8] = b"verity\0\0";

/// The UUIDs that files of a disk may name, and that may become others.
pub fn neighbours(input: &Input<'_>, table: &Table, parts: &[Part]) -> Neighbours {
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
        // For warnings: filesystems of a disk have names.
        let name = part.name.clone().unwrap_or_default();
        found.extend(uuid.map(|uuid| (*uuid, (Owner::Filesystem, name))));
    }
    found
}

/// Whether a filesystem is another one than before, as far as a report tells.
pub fn is_another(report: &Report) -> bool {
    let counts = [report.inodes_renumbered, report.times_changed, report.blocks_moved, report.stale_blocks];
    report.old_uuid != report.new_uuid || counts.iter().any(|count| *count > 0)
}

impl Disk<'_> {
    /// Adds warnings to the reports of all filesystems.
    pub(super) fn notice(&self, reports: &mut [Report], patches: &[Patch], changed: bool) {
        let filesystems = reports.iter().filter(|report| report.old_uuid != report.new_uuid);
        let filesystems: BTreeSet<_> = filesystems.map(|report| report.old_uuid).collect();
        let partitions: BTreeSet<_> =
            self.table.iter().flat_map(|table| guids::replaced(self.input.bytes(), table, patches)).collect();
        for report in reports.iter_mut() {
            let mut mentions = std::mem::take(&mut report.mentions);
            mentions.retain(|mention| match mention.owner {
                Owner::Filesystem => filesystems.contains(&mention.uuid),
                Owner::Partition => partitions.contains(&mention.uuid),
            });
            report.warnings.extend(mentions.into_iter().map(|mention| mention.words));
        }
        if let Some(first) = reports.first_mut().filter(|_| changed) {
            first.warnings.extend(self.hashes());
        }
    }

    /// Warnings of partitions with the hashes that dm-verity has of others.
    fn hashes(&self) -> impl Iterator<Item = String> + use<'_> {
        let partitions = self.table.iter().flat_map(|table| &table.partitions);
        let hashes = partitions.filter(|partition| {
            let start = partition.bytes.start;
            self.input.range(start, start + VERITY.len() as u64) == Some(VERITY)
        });
        hashes.map(|partition| {
            format!(
                "{} has hashes for dm-verity, which do not fit to what is rewritten (use veritysetup format \
                 once the filesystem is canonical)",
                partition.shown()
            )
        })
    }
}
