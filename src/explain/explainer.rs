//! Finds everything that canonicalization changes in an image.

use std::ops::Range;

use rayon::prelude::*;
use uuid::Uuid;
use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use super::finding::{Cause, Finding};
use crate::form;
use crate::leftovers;
use crate::ondisk::inode::Inode;
use crate::ondisk::superblock::Superblock;
use crate::places::{ContentExtent, ContentPlaces, joined};
use crate::plan::Plan;
use crate::policy::{Options, UuidPolicy};
use crate::read::{self, Reading};
use crate::recover::Recovery;
use crate::report::{Difference, FilesystemReport};
use crate::source::Source;
use crate::text::{self, hexadecimal};
use crate::tree::{Kind, NodeId, Text};

/// Superblock fields that record the filesystem's history, in groups: cause, kind, description and fields.
const HISTORY: [(Cause, &str, &str, &[&str]); 5] = [
    (
        Cause::Clock,
        "superblock-times",
        "times in the superblock",
        &["s_mkfs_time", "s_mkfs_time_hi", "s_wtime", "s_wtime_hi", "s_lastcheck", "s_lastcheck_hi"],
    ),
    (
        Cause::Mount,
        "mounts",
        "traces of mounts in the superblock",
        &["s_mtime", "s_mtime_hi", "s_mnt_count", "s_last_mounted"],
    ),
    (Cause::Writer, "written", "count of written kilobytes in the superblock", &["s_kbytes_written"]),
    (
        Cause::Mount,
        "errors",
        "records of errors in the superblock",
        &[
            "s_error_count",
            "s_first_error_time",
            "s_first_error_ino",
            "s_first_error_block",
            "s_first_error_func",
            "s_first_error_line",
            "s_last_error_time",
            "s_last_error_ino",
            "s_last_error_line",
            "s_last_error_block",
            "s_last_error_func",
            "s_first_error_time_hi",
            "s_last_error_time_hi",
            "s_first_error_errcode",
            "s_last_error_errcode",
        ],
    ),
    (Cause::Random, "seeds", "seeds of hashes and checksums", &["s_hash_seed", "s_checksum_seed"]),
];

/// Superblock fields that describe settings, but are derived.
const SIZES: [&str; 6] = [
    "s_inodes_count",
    "s_inode_size",
    "s_desc_size",
    "s_feature_compat",
    "s_feature_incompat",
    "s_feature_ro_compat",
];

/// Findings that depend only on the input. They are collected first, because the list of claimed blocks is
/// freed before the other findings are collected.
pub(super) struct OfInput {
    places: ContentPlaces,
    /// Unclaimed blocks with non-zero content.
    free: Vec<Range<u64>>,
    files_with_slack: Vec<NodeId>,
    symlinks_with_slack: Vec<NodeId>,
}

impl OfInput {
    /// Collects the findings for an image.
    pub(super) fn of(source: &Source<'_>, reading: &Reading) -> Self {
        let places = ContentPlaces::of(reading);
        let mut files_with_slack = leftovers::files_with_slack(source, &reading.tree);
        // If hard links are split, only the first name has an inode in the input.
        files_with_slack.retain(|id| reading.inodes[id.index()].0 != 0);
        Self {
            free: leftovers::free_blocks(source, reading.claimed()),
            files_with_slack,
            symlinks_with_slack: leftovers::symlinks_with_slack(source, reading, &places),
            places,
        }
    }
}

/// A search for the changes that canonicalizing makes, with the findings so far.
pub(super) struct Explainer<'e, 'a> {
    /// The image.
    pub source: &'e Source<'a>,
    /// The result of reading the image.
    pub reading: &'e Reading,
    /// The plan of the canonical form.
    pub plan: &'e Plan,
    /// The findings that depend only on the input.
    pub before: OfInput,
    /// The options of the plan.
    pub options: &'e Options,
    /// The parent directory and the name of each node.
    pub parents: Vec<Option<(NodeId, Text)>>,
    /// The maximum number of examples for each finding.
    pub limit: usize,
    /// The findings so far.
    pub findings: Vec<Finding>,
}

impl Explainer<'_, '_> {
    fn add(
        &mut self,
        cause: Cause,
        kind: &'static str,
        what: &'static str,
        count: u64,
        examples: impl IntoIterator<Item = String>,
    ) {
        self.findings.extend(self.finding(cause, kind, what, count, examples));
    }

    /// Returns a finding, unless its count is 0.
    fn finding(
        &self,
        cause: Cause,
        kind: &'static str,
        what: &'static str,
        count: u64,
        examples: impl IntoIterator<Item = String>,
    ) -> Option<Finding> {
        let mut examples = examples.into_iter();
        let shown = examples.by_ref().take(self.limit).collect();
        let more = examples.next().is_some();
        (count > 0).then_some(Finding { cause, kind, what, count, examples: shown, more })
    }

    /// Returns the number of examples to collect: one more than the limit, to find out whether there are
    /// more.
    fn enough(&self) -> usize {
        self.limit.saturating_add(1)
    }

    /// Returns a path of a node.
    fn path(&self, id: NodeId) -> String {
        let tree = &self.reading.tree;
        if tree.boot_loader == Some(id) {
            return "(boot loader)".to_owned();
        }
        let ancestors = std::iter::successors(Some(id), |id| Some(self.parents[id.index()]?.0));
        text::path(ancestors.map(|id| self.parents[id.index()].map_or(&[][..], |(_, name)| tree.text(name))))
    }

    /// Adds a finding with the paths of nodes as examples.
    fn add_nodes(&mut self, cause: Cause, kind: &'static str, what: &'static str, nodes: &[NodeId]) {
        self.findings.extend(self.finding_of_nodes(cause, kind, what, nodes));
    }

    /// Returns a finding with the paths of nodes as examples.
    pub(super) fn finding_of_nodes(
        &self,
        cause: Cause,
        kind: &'static str,
        what: &'static str,
        nodes: &[NodeId],
    ) -> Option<Finding> {
        let examples: Vec<_> = nodes.iter().take(self.enough()).map(|id| self.path(*id)).collect();
        self.finding(cause, kind, what, nodes.len() as u64, examples)
    }

    /// Returns the nodes that pass a test. Tests run in parallel.
    pub(super) fn nodes(&self, test: impl Fn(NodeId) -> bool + Sync) -> Vec<NodeId> {
        let ids: Vec<_> = self.reading.tree.ids().collect();
        ids.into_par_iter().with_min_len(64).filter(|id| test(*id)).collect()
    }

    /// Compares the superblocks of the input and the output. `uuid` is the UUID of the output.
    pub(super) fn superblock(&mut self, uuid: [u8; 16]) {
        let (before, after) = (&self.source.superblock, &self.plan.superblock);
        if before.s_uuid != uuid {
            let uuids = [before.s_uuid, uuid].map(|uuid| Uuid::from_bytes(uuid).to_string());
            self.add(self.cause_of_uuid(), "uuid", "UUID", 1, [format!("{} -> {}", uuids[0], uuids[1])]);
        }
        // A creation time of 0 is canonical without an epoch, so only the options change it.
        let asked = before.s_mkfs_time.get() == 0 && before.s_mkfs_time_hi == 0;
        if asked && (before.s_mkfs_time, before.s_mkfs_time_hi) != (after.s_mkfs_time, after.s_mkfs_time_hi) {
            let example = format!("{} seconds since 1970", self.options.epoch.unwrap_or(0));
            self.add(Cause::Options, "creation-time", "creation time set by the epoch", 1, [example]);
        }
        for (cause, kind, what, names) in HISTORY {
            let fields = Superblock::FIELDS.iter().filter(|field| {
                names.contains(&field.name) && !(asked && field.name.starts_with("s_mkfs_time"))
            });
            let changed = fields.filter_map(|field| {
                let [old, new] = [before, after].map(|superblock| {
                    superblock.as_bytes().get(field.offset..field.offset + field.size).unwrap_or_default()
                });
                (old != new).then(|| format!("{} is {}", field.name, value_of(field.name, old)))
            });
            let changed: Vec<_> = changed.collect();
            self.add(cause, kind, what, changed.len() as u64, changed);
        }
        if before.s_volume_name != after.s_volume_name {
            let labels = [before, after].map(|superblock| {
                let name = superblock.s_volume_name.split(|byte| *byte == 0).next();
                text::escaped_text(name.unwrap_or_default())
            });
            let example = format!("\"{}\" -> \"{}\"", labels[0], labels[1]);
            self.add(Cause::Options, "label", "label", 1, [example]);
        }
        self.settings();
        if before.s_state != after.s_state {
            self.add(Cause::Mount, "state", "state of a filesystem that is in use or has errors", 1, []);
        }
    }

    /// Adds the settings that the options change.
    fn settings(&mut self) {
        let (before, after) = (&self.source.superblock, &self.plan.superblock);
        if self.options.has_own_settings() {
            return;
        }
        let fields = Superblock::FIELDS.iter().filter(|field| {
            field.name != "s_volume_name" && (form::is_kept(field.name) || SIZES.contains(&field.name))
        });
        let changed = fields.filter_map(|field| {
            let [old, new] = [before, after].map(|superblock| {
                superblock.as_bytes().get(field.offset..field.offset + field.size).unwrap_or_default()
            });
            let shown = |bytes| value_of(field.name, bytes);
            (old != new).then(|| format!("{}: {} -> {}", field.name, shown(old), shown(new)))
        });
        let changed: Vec<_> = changed.collect();
        self.add(Cause::Options, "settings", "settings in the superblock", changed.len() as u64, changed);
    }

    /// Returns the cause of a changed UUID. A UUID of version 8 was derived from content, and does not come
    /// from mke2fs.
    fn cause_of_uuid(&self) -> Cause {
        let derived = self.source.superblock.s_uuid[6] >> 4 == 8;
        let ignore_error_state = self.options.ignore_error_state;
        match self.options.uuid {
            UuidPolicy::Given(_) => Cause::Options,
            _ if !derived => Cause::Random,
            _ if *self.options == (Options { ignore_error_state, ..Options::default() }) => {
                Cause::Consequence
            }
            _ => Cause::Options,
        }
    }

    /// Returns the fields of a node's inode in the input; `None` if the input has no such inode.
    fn raw(&self, id: NodeId) -> Option<Inode> {
        self.source.inode(self.reading.inodes[id.index()]).map(Inode::decode)
    }

    /// Adds the inode fields and the inode numbers that change, and a missing `/lost+found`.
    pub(super) fn inodes(&mut self) {
        let tree = &self.reading.tree;
        let wide = self.source.geometry.has_wide_inodes();
        let asked = self.options.epoch.is_some();
        let times = self.nodes(|id| {
            let expected = tree.node(id).mtime.encode(wide);
            self.raw(id).is_some_and(|inode| {
                // If all times of the inode are equal, only the options change them.
                let own = Some((inode.i_mtime, inode.i_mtime_extra));
                has_other_times(&inode, expected, wide) && (!asked || has_other_times(&inode, own, wide))
            })
        });
        let what = "inodes whose atime, ctime or crtime differs from the mtime";
        self.add_nodes(Cause::Clock, "inode-times", what, &times);
        let generations = self.nodes(|id| {
            self.raw(id).is_some_and(|inode| {
                inode.i_generation.get() != 0 || inode.l_i_version.get() != 0 || inode.i_version_hi.get() != 0
            })
        });
        let what = "inodes with a generation or version";
        self.add_nodes(Cause::Mount, "generations", what, &generations);
        let extra = self.nodes(|id| {
            wide && self.raw(id).is_some_and(|inode| inode.i_extra_isize.get() != form::EXTRA_ISIZE)
        });
        self.add_nodes(Cause::Writer, "extra-size", "inodes with a different i_extra_isize", &extra);
        let moved = self.nodes(|id| {
            let before = self.reading.inodes[id.index()];
            before.0 != 0 && self.plan.numbering.number_of(id) != before
        });
        self.add_nodes(Cause::Order, "inode-numbers", "files with different inode numbers", &moved);
        if self.reading.inodes[NodeId::LOST_FOUND.index()].0 == 0 {
            let what = "missing lost+found";
            self.add(Cause::Writer, "lost-found", what, 1, ["/lost+found".to_owned()]);
        }
    }

    /// Adds the mtimes that the options change.
    pub(super) fn clamped(&mut self, count: u64) {
        if count == 0 {
            return;
        }
        let wide = self.source.geometry.has_wide_inodes();
        let changed = self.nodes(|id| {
            let time = self.reading.tree.node(id).mtime.encode(wide);
            id != NodeId::LOST_FOUND
                && self.raw(id).is_some_and(|inode| time != Some((inode.i_mtime, inode.i_mtime_extra)))
        });
        let examples: Vec<_> = changed.iter().take(self.enough()).map(|id| self.path(*id)).collect();
        self.add(Cause::Options, "clamped-times", "file times changed by the options", count, examples);
    }

    /// Adds the inodes that the policy for hard links adds or removes.
    pub(super) fn hard_links(&mut self, report: &FilesystemReport) {
        let is_new = |id: NodeId| id != NodeId::LOST_FOUND && self.reading.inodes[id.index()].0 == 0;
        let split: Vec<_> =
            self.nodes(is_new).into_iter().take(self.enough()).map(|id| self.path(id)).collect();
        let what = "names that get a separate inode";
        self.add(Cause::Options, "split-links", what, report.inodes_split.unwrap_or(0), split);
        let what = "inodes that are merged with an equal one";
        self.add(Cause::Options, "merged-files", what, report.inodes_merged.unwrap_or(0), []);
    }

    /// Compares the blocks of files and directories, and adds blocks that become holes and directories that
    /// become smaller.
    pub(super) fn content(&mut self, punched: u64) {
        let places = std::mem::take(&mut self.before.places);
        let of_node = |id: NodeId| {
            let before = places.of_inode(self.reading.inodes[id.index()]);
            let extents = self.plan.layout.extents(self.plan.layout.nodes[id.index()]).iter();
            let after =
                extents.map(|extent| ContentExtent::of(extent.logical, extent.count, extent.physical()));
            (before, joined(after))
        };
        let moved = self.nodes(|id| {
            let (before, after) = of_node(id);
            before != after
        });
        let scattered = self.nodes(|id| {
            let (before, after) = of_node(id);
            before.len() > after.len().max(1)
        });
        self.add_nodes(Cause::Order, "placement", "files and directories in different blocks", &moved);
        let what = "fragmented files and directories";
        self.add_nodes(Cause::Order, "fragmentation", what, &scattered);
        let count =
            |extents: &[ContentExtent]| extents.iter().map(|extent| u64::from(extent.count)).sum::<u64>();
        let tree = &self.reading.tree;
        let sparse = self.nodes(|id| {
            let (before, after) = of_node(id);
            matches!(tree.node(id).kind, Kind::Regular { .. }) && count(&before) > count(&after)
        });
        let examples: Vec<_> = sparse.iter().take(self.enough()).map(|id| self.path(*id)).collect();
        let what = "blocks of zeros in files that become holes";
        self.add(Cause::Writer, "zeros", what, punched, examples);
        let large = self.nodes(|id| {
            let (before, after) = of_node(id);
            tree.node(id).kind.is_directory() && count(&before) > count(&after)
        });
        let what = "directories that are larger than necessary";
        self.add_nodes(Cause::Deleted, "large-directories", what, &large);
    }

    /// Adds stale data of deleted files and of mounts.
    pub(super) fn leftovers(&mut self, recovery: &Recovery<'_>) {
        let (source, reading) = (self.source, self.reading);
        let free = std::mem::take(&mut self.before.free);
        let count = leftovers::count(&free);
        self.add(
            Cause::Deleted,
            "free-blocks",
            "free blocks with stale bytes",
            count,
            free.iter().map(range),
        );
        let unused = leftovers::unused_inodes(source);
        let examples = unused.iter().map(|number| format!("inode {number}"));
        let what = "unused inodes with stale bytes";
        self.add(Cause::Deleted, "unused-inodes", what, unused.len() as u64, examples);
        let slack = std::mem::take(&mut self.before.files_with_slack);
        self.add_nodes(Cause::Deleted, "file-slack", "files with stale bytes after their end", &slack);
        let slack = std::mem::take(&mut self.before.symlinks_with_slack);
        let what = "symlinks with stale bytes after their target";
        self.add_nodes(Cause::Deleted, "symlink-slack", what, &slack);
        let orphans = reading.orphans.dropped + reading.orphans.truncated;
        let examples = reading.orphans.numbers().map(|number| format!("inode {number}"));
        self.add(Cause::Deleted, "orphans", "orphaned inodes", orphans, examples);
        let journal = leftovers::journal_blocks(source);
        let (count, what) = (leftovers::count(&journal), "journal blocks with old content");
        self.add(Cause::Mount, "journal", what, count, journal.iter().map(range));
        let transactions = recovery.transactions + recovery.fast_commit_records;
        let what = "journal transactions that are not applied yet";
        self.add(Cause::Mount, "transactions", what, transactions, []);
    }

    /// Adds directories with stale bytes, and directories whose entries are in a different order.
    pub(super) fn directories(&mut self) {
        let (source, reading, tree) = (self.source, self.reading, &self.reading.tree);
        let stored = |id: NodeId| {
            let is_one = tree.node(id).kind.is_directory();
            read::stored(source, reading.inodes[id.index()]).ok().filter(|_| is_one)
        };
        let stale = self.nodes(|id| stored(id).is_some_and(|directory| directory.stale > 0));
        let what = "directories with stale bytes after names";
        self.add_nodes(Cause::Deleted, "directory-slack", what, &stale);
        let unordered = self.nodes(|id| {
            let plan = self.plan.directories.of(id);
            let entries = tree.entries_of(id);
            let name = |place: usize| entries.get(place).map_or(&[][..], |entry| tree.text(entry.name));
            let order = plan.index.as_ref().map(|index| &index.order);
            stored(id).filter(|_| plan.inline.is_none()).is_some_and(|directory| {
                let expected = (0..entries.len()).map(|place| match order {
                    Some(order) => name(order[place] as usize),
                    None => name(place),
                });
                !directory.names.iter().copied().eq(expected)
            })
        });
        let what = "directories with a different order of entries";
        self.add_nodes(Cause::Order, "directory-order", what, &unordered);
    }

    /// Compares the block numbers of bitmaps and inode tables.
    pub(super) fn layout(&mut self) {
        let groups = self.source.descriptors.iter().zip(&self.plan.groups).zip(0_u32..);
        let moved = groups.filter(|((descriptor, places), _)| {
            // Block numbers of the input and the output have different types, but both are relative to the
            // start of the filesystem.
            descriptor.block_bitmap().0 != places.block_bitmap.0
                || descriptor.inode_bitmap().0 != places.inode_bitmap.0
                || descriptor.inode_table().0 != places.inode_table.0
        });
        let moved: Vec<_> = moved.map(|(_, group)| format!("group {group}")).collect();
        let what = "groups with bitmaps or inode tables in different blocks";
        self.add(Cause::Writer, "group-metadata", what, moved.len() as u64, moved);
    }

    /// Adds all structures that differ from the canonical image, for any cause.
    pub(super) fn structures(&mut self, differences: &[Difference]) {
        let mut kinds: Vec<(&str, u64, u64)> = Vec::new();
        for difference in differences {
            match kinds.last_mut() {
                Some((what, count, _)) if *what == difference.what => *count += 1,
                _ => kinds.push((&difference.what, 1, difference.offset)),
            }
        }
        let examples: Vec<_> = kinds
            .iter()
            .take(self.enough())
            .map(|(what, count, offset)| match count {
                1 => format!("{what}, from byte {offset} on"),
                _ => format!("{what}, {count} places from byte {offset} on"),
            })
            .collect();
        let what = "structures and zero ranges with different bytes";
        self.add(Cause::Consequence, "structures", what, differences.len() as u64, examples);
    }
}

/// Returns whether the atime, the ctime or the crtime of the inode differs from the expected time.
fn has_other_times(inode: &Inode, expected: Option<(U32, U32)>, wide: bool) -> bool {
    let mut times = vec![(inode.i_atime, inode.i_atime_extra), (inode.i_ctime, inode.i_ctime_extra)];
    if wide {
        times.push((inode.i_crtime, inode.i_crtime_extra));
    }
    expected.is_some_and(|expected| times.iter().any(|found| *found != expected))
}

fn range(blocks: &Range<u64>) -> String {
    if blocks.end - blocks.start == 1 {
        format!("block {}", blocks.start)
    } else {
        format!("blocks {} to {}", blocks.start, blocks.end - 1)
    }
}

/// Fields of the superblock that contain text.
const TEXTS: [&str; 3] = ["s_last_mounted", "s_first_error_func", "s_last_error_func"];

/// Formats the value of a field: quoted text, a number, or bytes in hexadecimal.
fn value_of(field: &str, bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    if TEXTS.contains(&field) && text.iter().all(u8::is_ascii_graphic) {
        format!("\"{}\"", text::escaped_text(text))
    } else if bytes.len() <= 8 {
        let number = bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        number.to_string()
    } else {
        hexadecimal(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_is_shown_as_text() {
        assert_eq!(value_of("s_hash_seed", b"s\0\xff456789"), "7300ff343536373839");
        assert_eq!(value_of("s_hash_seed", b"0123456789abcdef"), "30313233343536373839616263646566");
        assert_eq!(value_of("s_last_mounted", b"/mnt\0junk\xff"), "\"/mnt\"");
        assert_eq!(value_of("s_last_mounted", b"/m\xff\0\0\0\0\0\0"), "2f6dff000000000000");
        assert_eq!(value_of("s_mkfs_time", &[1, 2, 0, 0]), "513");
    }
}
