//! Collects the numbers and warnings of a report.

use crate::attribute_text;
use crate::hard_links::LinkCounts;
use crate::mentions::Found;
use crate::ondisk::features::Compat;
use crate::plan::Plan;
use crate::read::Reading;
use crate::recover::Recovery;
use crate::report::FilesystemReport;
use crate::source::Source;
use crate::survey::Survey;
use crate::text;
use crate::tree::Tree;

/// Numbers and warnings from other stages.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    /// The number of inodes whose mtime the options changed.
    pub times_changed: u64,
    /// The number of inodes that the policy for hard links added or removed.
    pub links: LinkCounts,
    /// The number of free blocks that are not zero.
    pub stale_blocks: u64,
    /// Warnings about xattrs; see [`bound_xattrs`].
    pub warnings: Vec<String>,
}

/// Builds the report from the input and the plan. The UUID of the output is not set yet.
pub(crate) fn count(
    source: &Source<'_>,
    recovery: &Recovery<'_>,
    reading: &Reading,
    survey: &Survey,
    plan: &Plan,
    counted: Counted,
) -> FilesystemReport {
    let tree = &reading.tree;
    let size = plan.geometry.block_bytes();
    let mut report = FilesystemReport {
        image_bytes: plan.image_bytes,
        block_size: size,
        old_uuid: source.superblock.s_uuid,
        inodes: tree.nodes.len() as u64,
        times_changed: counted.times_changed,
        inodes_split: counted.links.split,
        inodes_merged: counted.links.merged,
        directories: tree.nodes.iter().filter(|node| node.kind.is_directory()).count() as u64,
        directories_indexed: plan
            .directories
            .iter()
            .filter(|(_, directory)| directory.index.is_some())
            .count() as u64,
        blocks_punched: survey.punched,
        stale_blocks: counted.stale_blocks,
        transactions: recovery.transactions,
        blocks_replayed: recovery.replayed,
        blocks_revoked: recovery.revoked,
        fast_commit_records: recovery.fast_commit_records,
        orphans_dropped: reading.orphans.dropped,
        orphans_truncated: reading.orphans.truncated,
        bytes_written: plan.copies.bytes_written,
        data_blocks: plan.copies.data_blocks,
        blocks_moved: plan.copies.blocks_moved,
        ..FilesystemReport::default()
    };
    report.stale_bytes = report.stale_blocks * size;
    report.inodes_renumbered = tree
        .ids()
        .zip(&reading.inodes)
        .filter(|(id, before)| before.0 != 0 && plan.numbering.number_of(*id) != **before)
        .count() as u64;
    report.warnings.clone_from(&reading.warnings);
    if source.features().has(Compat::STABLE_INODES) {
        report.warnings.push("stable_inodes: inode numbers and UUID are kept".to_owned());
    }
    report.warnings.extend(check_interval(plan.superblock.s_checkinterval.get()));
    report.warnings.extend(counted.warnings);
    report
}

/// Adds the UUID of the output to a report, and the places that name identities of the disk.
pub(crate) fn with_uuid(mut report: FilesystemReport, found: Found, uuid: [u8; 16]) -> FilesystemReport {
    report.new_uuid = uuid;
    report.mentions = found.mentions().cloned().collect();
    let too_large = found.too_large.iter();
    let words = too_large.map(|path| format!("/{path} is too large to be searched for old UUIDs"));
    report.boot_warnings.extend(words);
    report
}

/// Warns if the filesystem has a check interval. `s_lastcheck` is zero in every output, so the interval has
/// always elapsed.
fn check_interval(seconds: u32) -> Option<String> {
    (seconds != 0).then(|| {
        format!(
            "the filesystem asks for a check every {seconds} seconds (s_checkinterval), and the output was never \
             checked: a mount says \"checktime reached\", and a boot may run a full e2fsck; set it to 0 with \
             tune2fs -i 0 on the input"
        )
    })
}

/// Warns about mtimes that e2fsck would change. The options must be applied before the call.
pub(crate) fn ambiguous_times(tree: &Tree) -> Option<String> {
    let found: Vec<_> = tree.ids().filter(|id| tree.node(*id).mtime.is_ambiguous()).collect();
    let first = *found.first()?;
    let parents = tree.parents();
    let ancestors = std::iter::successors(Some(first), |id| Some(parents[id.index()]?.0));
    let path =
        text::path(ancestors.map(|id| parents[id.index()].map_or(&[][..], |(_, name)| tree.text(name))));
    let inodes = if found.len() == 1 {
        "1 inode has a time".to_owned()
    } else {
        format!("{} inodes have times", found.len())
    };
    Some(format!(
        "{inodes} of the years 2310 to 2378, as the kernel reads them ({path} {}), which e2fsck reads as \
         times before 1970 and offers to change; set them with touch in a mount, or use --mtime set or clamp",
        attribute_text::time(tree.node(first).mtime)
    ))
}

/// Warns about xattrs whose values depend on inode numbers or UUIDs that change.
pub(crate) fn bound_xattrs(tree: &Tree) -> Vec<String> {
    const BOUND: [(u8, &[u8], &str); 3] = [
        (6, b"evm", "security.evm, which may cover inode number and UUID: sign again"),
        (4, b"overlay.origin", "trusted.overlay.origin, a file handle that is no longer valid"),
        (1, b"overlay.origin", "user.overlay.origin, a file handle that is no longer valid"),
    ];
    let mut warnings = Vec::new();
    for (index, name, words) in BOUND {
        let has = |set: crate::tree::XattrSetId| {
            tree.xattr_set(set).iter().any(|xattr| xattr.index == index && tree.text(xattr.name) == name)
        };
        let bound: Vec<bool> =
            (0..tree.xattr_sets.len()).map(|set| has(crate::tree::XattrSetId::new(set))).collect();
        let count =
            tree.nodes.iter().filter(|node| node.xattrs.is_some_and(|set| bound[set.index()])).count();
        if count > 0 {
            warnings.push(format!("{count} inodes have {words}"));
        }
    }
    warnings
}
