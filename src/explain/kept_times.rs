//! Finds mtimes that canonicalizing keeps, although they seem to come from the clock of the build.

use super::explainer::Explainer;
use super::finding::{Cause, Finding};
use crate::ondisk::inode::Timestamp;
use crate::policy::MtimePolicy;
use crate::tree::NodeId;

/// Mtimes up to this many seconds before the creation of the filesystem count as times of the build.
const BUILD_SECONDS: i64 = 86_400;

impl Explainer<'_, '_> {
    /// Returns the kept mtimes that seem to come from the clock: mtimes shortly before the creation of the
    /// filesystem or later, and mtimes with a fraction of a second, which archives and build recipes rarely
    /// set.
    pub(super) fn kept_times(&self) -> Option<Finding> {
        let are_kept = self.options.epoch.is_none() || self.options.mtime == MtimePolicy::Keep;
        if !are_kept {
            return None;
        }
        let superblock = &self.source.superblock;
        let made =
            i64::from(superblock.s_mkfs_time.get()) | i64::from(superblock.s_mkfs_time_hi) << u32::BITS;
        let from_clock = |time: Timestamp| {
            time.nanoseconds != 0 || (made != 0 && time.seconds >= made.saturating_sub(BUILD_SECONDS))
        };
        let times = self.nodes(|id: NodeId| from_clock(self.reading.tree.node(id).mtime));
        let what = "times that may come from the clock of the build";
        self.finding_of_nodes(Cause::Clock, "kept-times", what, &times)
    }
}
