//! Finds differences between two images that their canonical forms don't have.

use rayon::prelude::*;
use uuid::Uuid;
use zerocopy::IntoBytes;

use super::compared_image::ComparedImage;
use super::ignored::{Detail, Ignored};
use super::walk::ComparedPath;
use crate::explain::Cause;
use crate::leftovers;
use crate::ondisk::group_descriptor::GroupDescriptor;
use crate::ondisk::inode::Inode;
use crate::ondisk::superblock::Superblock;
use crate::places::ContentPlaces;
use crate::policy::UuidPolicy;
use crate::read::{self, StoredDirectory};
use crate::survey::joined_runs;
use crate::text;
use crate::tree::NodeId;
use crate::units::InodeNr;

/// Superblock fields that record the filesystem's history, in groups with a cause, a kind and a description.
const HISTORY: [(Cause, &str, &str, &[&str]); 4] = [
    (
        Cause::Clock,
        "superblock-times",
        "times in the superblock",
        &[
            "s_mtime",
            "s_mtime_hi",
            "s_wtime",
            "s_wtime_hi",
            "s_lastcheck",
            "s_lastcheck_hi",
            "s_mkfs_time",
            "s_mkfs_time_hi",
        ],
    ),
    (
        Cause::Mount,
        "mounts",
        "mount count and mount point in the superblock",
        &["s_mnt_count", "s_last_mounted"],
    ),
    (Cause::Writer, "written", "count of written kilobytes in the superblock", &["s_kbytes_written"]),
    (Cause::Mount, "state", "state fields in the superblock", &["s_state", "s_error_count", "s_last_orphan"]),
];

/// Returns all differences that are ignored.
pub(super) fn find(sides: &[ComparedImage<'_, '_>; 2], steps: &[ComparedPath<'_>]) -> Vec<Ignored> {
    let mut found = Vec::new();
    of_superblocks(sides, &mut found);
    let directories = sides.each_ref().map(stored_directories);
    of_inodes(sides, steps, &directories, &mut found);
    of_reserved(sides, &mut found);
    of_groups(sides, &mut found);
    of_leftovers(sides, &directories, &mut found);
    found
}

/// The stored directory of each node in an image; `None` if the node is not a directory, or is missing in the
/// image.
type Directories<'a> = Vec<Option<StoredDirectory<'a>>>;

fn stored_directories<'a>(side: &ComparedImage<'_, 'a>) -> Directories<'a> {
    let tree = &side.reading.tree;
    let ids: Vec<_> = tree.ids().collect();
    let stored = ids.into_par_iter().with_min_len(64).map(|id| {
        let number = side.reading.inodes[id.index()];
        if tree.node(id).kind.is_directory() { read::stored(side.source, number).ok() } else { None }
    });
    stored.collect()
}

fn of_superblocks(sides: &[ComparedImage<'_, '_>; 2], found: &mut Vec<Ignored>) {
    let mut values = |cause, kind, what, values: [String; 2]| {
        if values[0] != values[1] {
            found.push(Ignored { cause, kind, what, detail: Detail::Values(values) });
        }
    };
    let superblocks = sides.each_ref().map(|side| &side.source.superblock);
    if sides[0].options.uuid != UuidPolicy::Keep {
        let uuids = superblocks.map(|superblock| Uuid::from_bytes(superblock.s_uuid).to_string());
        values(Cause::Random, "uuid", "UUID", uuids);
    }
    let seeds = superblocks.map(|superblock| Uuid::from_bytes(superblock.s_hash_seed).to_string());
    values(Cause::Random, "hash-seed", "directory hash seed", seeds);
    let seeds =
        superblocks.map(|superblock| text::hexadecimal(&superblock.s_checksum_seed.get().to_be_bytes()));
    values(Cause::Random, "checksum-seed", "checksum seed", seeds);
    for (cause, kind, what, names) in HISTORY {
        let fields = Superblock::FIELDS.iter().filter(|field| names.contains(&field.name));
        let differing = fields.filter(|field| {
            let [one, other] = superblocks
                .map(|superblock| superblock.as_bytes().get(field.offset..field.offset + field.size));
            one != other
        });
        let count = differing.count() as u64;
        if count > 0 {
            found.push(Ignored { cause, kind, what, detail: Detail::Differing(count) });
        }
    }
}

/// The ignored differences between the inodes of a path on both sides.
#[derive(Clone, Copy, Debug, Default)]
struct Unlike {
    times: bool,
    number: bool,
    generation: bool,
    order: bool,
    place: bool,
    allocation: bool,
}

fn of_inodes(
    sides: &[ComparedImage<'_, '_>; 2],
    steps: &[ComparedPath<'_>],
    directories: &[Directories<'_>; 2],
    found: &mut Vec<Ignored>,
) {
    let places = sides.each_ref().map(|side| ContentPlaces::of(&side.reading));
    let pairs: Vec<_> = steps.iter().filter(|step| step.first).filter_map(ComparedPath::pair).collect();
    let unlike: Vec<_> = pairs
        .par_iter()
        .with_min_len(64)
        .map(|pair| compare_pair(sides, directories, &places, *pair))
        .collect();
    let mut count = |cause, kind, what, test: fn(&Unlike) -> bool| {
        let count = unlike.iter().filter(|unlike| test(unlike)).count() as u64;
        if count > 0 {
            found.push(Ignored { cause, kind, what, detail: Detail::Differing(count) });
        }
    };
    count(Cause::Clock, "inode-times", "inodes with different atime, ctime or crtime", |unlike| unlike.times);
    count(Cause::Order, "inode-numbers", "files with different inode numbers", |unlike| unlike.number);
    count(Cause::Mount, "generations", "inodes with a different generation or version", |unlike| {
        unlike.generation
    });
    count(Cause::Order, "directory-order", "directories with a different order of entries", |unlike| {
        unlike.order
    });
    count(Cause::Order, "placement", "files and directories in different blocks", |unlike| unlike.place);
    count(Cause::Writer, "allocation", "files with different blocks allocated for zeros", |unlike| {
        unlike.allocation
    });
}

fn compare_pair(
    sides: &[ComparedImage<'_, '_>; 2],
    directories: &[Directories<'_>; 2],
    places: &[ContentPlaces; 2],
    pair: [NodeId; 2],
) -> Unlike {
    let numbers = [0, 1].map(|side| sides[side].reading.inodes[pair[side].index()]);
    let raw = [0, 1].map(|side| sides[side].source.inode(numbers[side]).map(Inode::decode));
    let [Some(one), Some(other)] = raw else { return Unlike::default() };
    let trees = [0, 1].map(|side| &sides[side].reading.tree);
    // If mtimes differ after the options are applied, they are reported as a difference of the path.
    let kept = trees[0].node(pair[0]).mtime == trees[1].node(pair[1]).mtime;
    let order = match [0, 1].map(|side| directories[side][pair[side].index()].as_ref()) {
        [Some(one), Some(other)] => one.names.len() == other.names.len() && one.names != other.names,
        _ => false,
    };
    let sizes = sides.each_ref().map(|side| side.source.geometry.block_size);
    let [left, right] = [0, 1].map(|side| joined_runs(trees[side].runs_of(pair[side])));
    Unlike {
        times: kept && times_of(&one) != times_of(&other),
        number: numbers[0] != numbers[1],
        generation: history_of(&one) != history_of(&other),
        order,
        place: sizes[0] == sizes[1] && places[0].of_inode(numbers[0]) != places[1].of_inode(numbers[1]),
        allocation: sizes[0] == sizes[1] && !left.eq(right),
    }
}

/// Returns all times of an inode.
fn times_of(inode: &Inode) -> impl PartialEq + use<> {
    let times = [inode.i_atime, inode.i_ctime, inode.i_crtime, inode.i_mtime];
    (times, [inode.i_atime_extra, inode.i_ctime_extra, inode.i_crtime_extra, inode.i_mtime_extra])
}

/// Returns the fields that change when an inode is created or modified.
fn history_of(inode: &Inode) -> impl PartialEq + use<> {
    (inode.i_generation, inode.l_i_version, inode.i_version_hi)
}

/// Compares the reserved inodes, which have no path, and whether there is a lost+found directory.
fn of_reserved(sides: &[ComparedImage<'_, '_>; 2], found: &mut Vec<Ignored>) {
    let in_tree = |number: InodeNr| {
        sides.iter().any(|side| {
            let inodes = &side.reading.inodes;
            let boot_loader = side.reading.tree.boot_loader.map(|id| inodes[id.index()]);
            [Some(inodes[NodeId::ROOT.index()]), boot_loader].contains(&Some(number))
        })
    };
    let [first, other] = sides.each_ref().map(|side| side.source.geometry.first_inode.0);
    let differs = |number: &InodeNr| {
        let raw = sides.each_ref().map(|side| side.source.inode(*number).map(Inode::decode));
        let [Some(one), Some(other)] = raw else { return false };
        times_of(&one) != times_of(&other) || history_of(&one) != history_of(&other)
    };
    let reserved = (1..first.min(other)).map(InodeNr).filter(|number| !in_tree(*number));
    let count = reserved.filter(differs).count() as u64;
    if count > 0 {
        let what = "reserved inodes with different times, generations or versions";
        found.push(Ignored {
            cause: Cause::Clock,
            kind: "reserved-inodes",
            what,
            detail: Detail::Differing(count),
        });
    }
    let missing = sides.each_ref().map(|side| side.reading.inodes[NodeId::LOST_FOUND.index()].0 == 0);
    if missing[0] != missing[1] {
        let detail = Detail::Counts(missing.map(u64::from));
        found.push(Ignored { cause: Cause::Writer, kind: "lost-found", what: "missing lost+found", detail });
    }
}

/// Compares the block numbers of bitmaps and inode tables.
fn of_groups(sides: &[ComparedImage<'_, '_>; 2], found: &mut Vec<Ignored>) {
    let [one, other] = sides.each_ref().map(|side| &side.source.descriptors);
    let places = |descriptor: &GroupDescriptor| {
        (descriptor.block_bitmap(), descriptor.inode_bitmap(), descriptor.inode_table())
    };
    let moved = one.iter().zip(other).filter(|(one, other)| places(one) != places(other)).count() as u64;
    if one.len() == other.len() && moved > 0 {
        let what = "groups with bitmaps or inode tables in different blocks";
        found.push(Ignored {
            cause: Cause::Writer,
            kind: "group-metadata",
            what,
            detail: Detail::Differing(moved),
        });
    }
}

fn of_leftovers(
    sides: &[ComparedImage<'_, '_>; 2],
    directories: &[Directories<'_>; 2],
    found: &mut Vec<Ignored>,
) {
    let mut add = |cause, kind, what, counts: [u64; 2]| {
        if counts != [0, 0] {
            found.push(Ignored { cause, kind, what, detail: Detail::Counts(counts) });
        }
    };
    let mut counts = |cause, kind, what, count: &dyn Fn(&ComparedImage<'_, '_>) -> u64| {
        add(cause, kind, what, sides.each_ref().map(count));
    };
    counts(Cause::Mount, "journal", "journal blocks with old content", &|side| {
        leftovers::count(&leftovers::journal_blocks(side.source))
    });
    counts(Cause::Mount, "transactions", "journal transactions that are not applied yet", &|side| {
        side.recovery.transactions + side.recovery.fast_commit_records
    });
    counts(Cause::Deleted, "orphans", "orphaned inodes", &|side| {
        side.reading.orphans.dropped + side.reading.orphans.truncated
    });
    counts(Cause::Deleted, "free-blocks", "free blocks with stale bytes", &|side| {
        leftovers::count(&leftovers::free_blocks(side.source, side.reading.claimed()))
    });
    counts(Cause::Deleted, "file-slack", "files with stale bytes after their end", &|side| {
        leftovers::files_with_slack(side.source, &side.reading.tree).len() as u64
    });
    counts(Cause::Deleted, "symlink-slack", "symlinks with stale bytes after their target", &|side| {
        leftovers::symlinks_with_slack(side.source, &side.reading, &ContentPlaces::of(&side.reading)).len()
            as u64
    });
    counts(Cause::Deleted, "unused-inodes", "unused inodes with stale bytes", &|side| {
        leftovers::unused_inodes(side.source).len() as u64
    });
    let stale = |directories: &Directories<'_>| directories.iter().flatten().map(|one| one.stale).sum();
    add(
        Cause::Deleted,
        "directory-slack",
        "directory entries with stale bytes",
        directories.each_ref().map(stale),
    );
}
