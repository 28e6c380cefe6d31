//! Creates warnings about files that contain a changed UUID, and about dm-verity hashes that no longer match.

use std::collections::BTreeSet;

use super::guids::{self, Patch};
use super::image::Disk;
use crate::report::{FilesystemReport, Owner};

/// The signature at the start of a dm-verity hash area.
const VERITY: &[u8] = b"verity\0\0";

/// Returns whether a filesystem has changed, according to its report.
pub(super) fn is_another(report: &FilesystemReport) -> bool {
    let counts = [report.inodes_renumbered, report.times_changed, report.blocks_moved, report.stale_blocks];
    let links = [report.inodes_split, report.inodes_merged].into_iter().flatten();
    report.old_uuid != report.new_uuid || counts.into_iter().chain(links).any(|count| count > 0)
}

impl Disk<'_> {
    /// Adds warnings to the reports of the filesystems.
    pub(super) fn notice(&self, reports: &mut [FilesystemReport], patches: &[Patch], changed: bool) {
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
            report.boot_warnings.extend(mentions.into_iter().map(|mention| mention.words));
        }
        if let Some(first) = reports.first_mut().filter(|_| changed) {
            first.boot_warnings.extend(self.hashes());
        }
    }

    /// Returns warnings about partitions that start with a dm-verity hash area.
    fn hashes(&self) -> impl Iterator<Item = String> + use<'_> {
        let partitions = self.table.iter().flat_map(|table| &table.partitions);
        let hashes = partitions.filter(|partition| {
            let start = partition.bytes.start;
            self.input.range(start, start + VERITY.len() as u64) == Some(VERITY)
        });
        hashes.map(|partition| {
            format!(
                "{} has dm-verity hashes that don't match the rewritten filesystem (use veritysetup format \
                 once it is canonical)",
                partition.shown()
            )
        })
    }
}
