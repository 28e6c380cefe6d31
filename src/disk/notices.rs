//! Creates warnings about files that contain a changed UUID, and about dm-verity hashes that no longer match.

use super::detect::is_ext;
use super::identities::Settled;
use super::image::Disk;
use crate::error::{Error, Result};
use crate::identities::IdentityKind;
use crate::pipeline;
use crate::policy::{Options, StaleUuids};
use crate::report::FilesystemReport;

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
    ///
    /// # Errors
    ///
    /// `Unsupported` if a boot file names an identity that the output no longer has, unless the options allow
    /// it.
    pub(super) fn notice(
        &self,
        reports: &mut [FilesystemReport],
        settled: &Settled,
        options: &Options,
        changed: bool,
    ) -> Result<()> {
        let of_table = self.table_values(&settled.patches);
        let changes: Vec<bool> = settled
            .identities
            .iter()
            .map(|identity| match identity.kind {
                IdentityKind::Filesystem => reports
                    .get(identity.number as usize - 1)
                    .is_some_and(|report| report.new_uuid != identity.value),
                kind => of_table.iter().any(|(known, number, value)| {
                    (*known, *number) == (kind, identity.number) && *value != identity.value
                }),
            })
            .collect();
        for (report, part) in reports.iter_mut().zip(&self.parts) {
            for mut mention in std::mem::take(&mut report.mentions) {
                if options.stale_uuids == StaleUuids::Rewrite {
                    mention.fixed.get_or_insert("the file can't be rewritten");
                }
                let identity = &settled.identities[mention.identity];
                if !changes[mention.identity] {
                    continue;
                }
                match mention.refusal(identity).filter(|_| options.stale_uuids != StaleUuids::Allow) {
                    Some(error) => return Err(Self::error(part, error)),
                    None => report.boot_warnings.push(mention.warning(identity)),
                }
            }
        }
        self.check_others(settled, &changes, options)?;
        if let Some(first) = reports.first_mut().filter(|_| changed) {
            first.boot_warnings.extend(self.hashes());
        }
        Ok(())
    }

    /// Refuses a disk if a boot file in a filesystem that was not chosen names an identity that changes. Such a
    /// filesystem stays unchanged.
    fn check_others(&self, settled: &Settled, changes: &[bool], options: &Options) -> Result<()> {
        if options.stale_uuids == StaleUuids::Allow || !changes.contains(&true) {
            return Ok(());
        }
        for partition in self.table.iter().flat_map(|table| &table.partitions) {
            let input = self.input.part(partition.bytes.clone());
            let is_chosen = self.parts.iter().any(|part| part.bytes == partition.bytes);
            if is_chosen || !is_ext(input.bytes()) {
                continue;
            }
            // A filesystem that can't be read is not changed, and no error here.
            for mut mention in pipeline::mentions_in(&input, &settled.identities).unwrap_or_default() {
                mention.fixed = mention.fixed.or(Some("it is in a filesystem that was not chosen"));
                let identity = &settled.identities[mention.identity];
                if let Some(error) = mention.refusal(identity).filter(|_| changes[mention.identity]) {
                    let (name, offset) = (partition.shown(), partition.bytes.start);
                    return Err(Error::Partition { name, offset, error: Box::new(error) });
                }
            }
        }
        Ok(())
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
