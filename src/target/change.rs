//! Applies a profile and changes of single settings.

use super::mke2fs;
use super::profiles;
use super::recipe::{self, InodeCount, Recipe};
use crate::changes::{Changes, FeatureChanges, Inodes, Profile};
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::ondisk::features::{Compat, Features, Incompat, RoCompat};
use crate::ondisk::inode::BASE_SIZE;
use crate::ondisk::quota::QuotaType;
use crate::remedy::Remedy;
use crate::resized_geometry::head_blocks;
use crate::settings::{JournalShape, QuotaRules, Settings};
use crate::units::{InodeNr, fits};

/// The bytes for which a profile has one inode.
pub(super) const PROFILE_RATIO: u64 = mke2fs::INODE_RATIO;

/// The grace times of new quota files, in seconds.
const GRACE: u32 = 7 * 24 * 60 * 60;

/// Returns the settings of a profile, for an image of this many bytes, with changes of single settings. The
/// label is that of `own`.
pub(super) fn of_profile(
    profile: Profile,
    changes: &Changes,
    own: &Settings,
    bytes: u64,
) -> Result<Settings> {
    let mut superblock = profiles::template();
    superblock.s_volume_name = own.superblock.s_volume_name;
    superblock.s_creator_os = own.superblock.s_creator_os;
    let mut recipe = profiles::recipe(profile);
    recipe.geometry.features = changed_features(recipe.geometry.features, changes.features)?;
    change_sizes(&mut recipe, changes, None)?;
    if profile == Profile::Ext4Min && changes.inodes.is_none() {
        recipe.geometry.least_inodes = Some(0);
    }
    let base = Settings {
        superblock,
        journal: None,
        orphan_file: None,
        quotas: Vec::new(),
        least_inodes: false,
        image_bytes: bytes,
    };
    finished(&base, &recipe, recipe.geometry(bytes / recipe.geometry.block_bytes())?, changes)
}

/// Returns settings with changes.
///
/// # Errors
///
/// `Options` if features need each other, or a size is impossible.
pub(super) fn changed(base: &Settings, changes: &Changes) -> Result<Settings> {
    let old = Geometry::new(&base.superblock)?;
    let mut geometry = old.clone();
    geometry.features = changed_features(old.features, changes.features)?;
    let mut recipe = Recipe {
        geometry,
        inodes: InodeCount::Total(old.inodes_count().into()),
        reserved: None,
        reserved_gdt: None,
        backups: old.features.has(Compat::SPARSE_SUPER2).then_some((old.groups, old.backup_groups)),
    };
    change_sizes(&mut recipe, changes, Some(&old))?;
    let new = &recipe.geometry;
    let same = (old.block_size, old.blocks_per_group, old.is_64bit(), old.features.has(Compat::RESIZE_INODE))
        == (new.block_size, new.blocks_per_group, new.is_64bit(), new.features.has(Compat::RESIZE_INODE));
    recipe.reserved_gdt = same.then_some(old.reserved_gdt_blocks);
    let geometry = if has_other_layout(&old, &recipe, changes) {
        let blocks = old.filesystem_bytes() / recipe.geometry.block_bytes();
        recipe.geometry(blocks)?
    } else {
        let mut geometry = recipe.geometry.clone();
        if let Some(reserved) = changes.reserved {
            geometry.reserved_blocks = recipe::reserved_blocks(reserved, geometry.blocks_count);
        }
        geometry
    };
    finished(base, &recipe, geometry, changes)
}

/// Returns whether static metadata has a different size or place. Otherwise all sizes stay as they are, even if
/// mke2fs would choose different ones.
fn has_other_layout(old: &Geometry, recipe: &Recipe, changes: &Changes) -> bool {
    let new = &recipe.geometry;
    let compat = Compat::RESIZE_INODE | Compat::SPARSE_SUPER2;
    let incompat = Incompat::BIT64 | Incompat::META_BG;
    let features = |geometry: &Geometry| {
        let Features { compat: c, incompat: i, ro_compat: r } = geometry.features;
        (c & compat, i & incompat, r & (RoCompat::SPARSE_SUPER | RoCompat::BIGALLOC))
    };
    changes.inodes.is_some()
        || features(old) != features(new)
        || (old.block_size, old.blocks_per_cluster, old.inode_size)
            != (new.block_size, new.blocks_per_cluster, new.inode_size)
}

/// Changes the sizes of blocks, clusters and inodes, and the numbers of inodes and of reserved blocks.
fn change_sizes(recipe: &mut Recipe, changes: &Changes, old: Option<&Geometry>) -> Result<()> {
    let to = &mut recipe.geometry;
    let size = |value: u32| fits::<usize, _>(value, "it has 32 bits");
    if let Some(bytes) = changes.block_size {
        to.block_size = size(bytes);
    }
    if let Some(bytes) = changes.inode_size {
        to.inode_size = size(bytes);
    }
    if !(1024..=1 << 16).contains(&to.block_size) {
        return refused(
            format!("blocks of {} bytes: the format allows 1024 to 65536", to.block_size),
            Remedy::OtherValue("block-size"),
        );
    }
    if !(BASE_SIZE..=to.block_size).contains(&to.inode_size) {
        return refused(
            format!("inodes of {} bytes do not fit into blocks of {}", to.inode_size, to.block_size),
            Remedy::OtherValue("inode-size"),
        );
    }
    let before = old.map_or(1, |old| old.blocks_per_cluster);
    to.blocks_per_cluster = blocks_per_cluster(to, changes, old)?;
    let other_groups =
        old.is_none_or(|old| old.block_size != to.block_size) || before != to.blocks_per_cluster;
    if other_groups {
        to.blocks_per_group = mke2fs::blocks_per_group(to.block_size, to.blocks_per_cluster);
    }
    if !to.features.has(Incompat::FLEX_BG) {
        to.groups_per_flex = 1;
    } else if to.groups_per_flex == 1 && old.is_none_or(|old| !old.features.has(Incompat::FLEX_BG)) {
        to.groups_per_flex = 1 << mke2fs::LOG_GROUPS_PER_FLEX;
    }
    match changes.inodes {
        Some(Inodes::Count(count)) => recipe.inodes = InodeCount::Total(count.into()),
        Some(Inodes::Fewest) => to.least_inodes = Some(0),
        None => {}
    }
    if let Some(reserved) = changes.reserved {
        recipe.reserved = Some(reserved);
    }
    for (feature, what) in [
        (to.features.has(Incompat::INLINE_DATA), "inline_data"),
        (to.features.has(RoCompat::PROJECT), "project"),
    ] {
        if feature && to.inode_size == BASE_SIZE {
            return refused(
                format!("inodes of 128 bytes are too small for the {what} feature"),
                Remedy::OtherValue("inode-size"),
            );
        }
    }
    Ok(())
}

fn blocks_per_cluster(to: &Geometry, changes: &Changes, old: Option<&Geometry>) -> Result<u64> {
    let has_clusters = to.features.has(RoCompat::BIGALLOC);
    let Some(bytes) = changes.cluster_size else {
        let kept = old.filter(|old| old.features.has(RoCompat::BIGALLOC)).map(Geometry::cluster_bytes);
        let ratio = kept.map(|bytes| (bytes / to.block_bytes()).max(1));
        return Ok(if has_clusters { ratio.unwrap_or(mke2fs::BLOCKS_PER_CLUSTER) } else { 1 });
    };
    if !has_clusters {
        return refused(
            "a cluster size needs the bigalloc feature".to_owned(),
            Remedy::FeatureForValue { missing: "bigalloc", setting: "cluster-size" },
        );
    }
    let ratio = u64::from(bytes) / to.block_bytes();
    if !bytes.is_power_of_two() || ratio == 0 || ratio > 1 << 15 {
        return refused(
            format!("clusters of {bytes} bytes are impossible with blocks of {}", to.block_size),
            Remedy::OtherValue("cluster-size"),
        );
    }
    Ok(ratio)
}

/// Returns the features with the changes, and checks that they can be together.
fn changed_features(old: Features, changes: FeatureChanges) -> Result<Features> {
    let mut to = old.difference(changes.clear).union(changes.set);
    let sets = |feature: Compat| changes.set.has(feature);
    if to.has(RoCompat::METADATA_CSUM) {
        to.ro_compat -= RoCompat::GDT_CSUM;
    } else if !changes.set.has(Incompat::METADATA_CSUM_SEED) {
        to.incompat -= Incompat::METADATA_CSUM_SEED;
    }
    if !to.has(Compat::HAS_JOURNAL) {
        // These are about the journal. mke2fs also accepts fast_commit without one.
        to.compat.set(Compat::FAST_COMMIT, sets(Compat::FAST_COMMIT));
        to.compat.set(Compat::ORPHAN_FILE, sets(Compat::ORPHAN_FILE));
    }
    let is_about_backups = [changes.set, changes.clear].iter().any(|features| {
        features.has(Compat::RESIZE_INODE)
            || features.has(Compat::SPARSE_SUPER2)
            || features.has(RoCompat::SPARSE_SUPER)
    });
    let needs = [
        (to.has(Incompat::BIT64), to.has(Incompat::EXTENTS), "64bit", "extent"),
        (to.has(RoCompat::BIGALLOC), to.has(Incompat::EXTENTS), "bigalloc", "extent"),
        (
            to.has(Incompat::METADATA_CSUM_SEED),
            to.has(RoCompat::METADATA_CSUM),
            "metadata_csum_seed",
            "metadata_csum",
        ),
        (to.has(Compat::ORPHAN_FILE), to.has(Compat::HAS_JOURNAL), "orphan_file", "has_journal"),
        (
            to.has(Compat::RESIZE_INODE),
            // tune2fs makes filesystems with sparse_super2 alone, but mke2fs refuses to.
            to.has(RoCompat::SPARSE_SUPER) || (to.has(Compat::SPARSE_SUPER2) && !is_about_backups),
            "resize_inode",
            "sparse_super",
        ),
    ];
    if let Some((_, _, needed_by, missing)) = needs.iter().find(|(has, may, ..)| *has && !may) {
        return refused(
            format!("the {needed_by} feature needs the {missing} feature"),
            Remedy::SetFeature { missing, needed_by },
        );
    }
    if to.has(Compat::RESIZE_INODE) && to.has(Incompat::META_BG) {
        return refused(
            "the features resize_inode and meta_bg are not compatible".to_owned(),
            Remedy::ClearFeature(["resize_inode", "meta_bg"]),
        );
    }
    Ok(to)
}

/// Completes settings with the sizes of the inodes outside the tree.
fn finished(base: &Settings, recipe: &Recipe, geometry: Geometry, changes: &Changes) -> Result<Settings> {
    let mut geometry = geometry;
    let old = base.superblock.features();
    let same_blocks = base.superblock.s_log_block_size.get() == (geometry.block_bytes() / 1024).ilog2();
    geometry.least_inodes = recipe.geometry.least_inodes;
    if geometry.reserved_blocks > geometry.blocks_count / 2 {
        let (reserved, all) = (geometry.reserved_blocks, geometry.blocks_count);
        return refused(
            format!("{reserved} reserved blocks are more than half of {all} blocks"),
            Remedy::OtherValue("reserved"),
        );
    }
    check_inodes(&geometry, changes)?;
    let mut to = Settings { superblock: base.superblock, ..base.clone() };
    if geometry.features.has(Compat::HAS_JOURNAL) {
        to.journal = journal(base, &geometry, changes, same_blocks)?;
        if to.journal.is_some() {
            to.superblock.s_journal_inum.set(InodeNr::JOURNAL.0);
        } else if base.superblock.s_journal_inum.get() != 0 || !old.has(Compat::HAS_JOURNAL) {
            // The filesystem is too small for a journal.
            geometry.features.compat -= Compat::HAS_JOURNAL | Compat::FAST_COMMIT | Compat::ORPHAN_FILE;
        }
    } else if changes.journal_size.is_some() {
        return refused(
            "a size of the journal needs the has_journal feature".to_owned(),
            Remedy::FeatureForValue { missing: "has_journal", setting: "journal-size" },
        );
    } else {
        to.journal = None;
    }
    to.orphan_file = geometry.features.has(Compat::ORPHAN_FILE).then(|| {
        let blocks = mke2fs::orphan_file_blocks(geometry.blocks_count, geometry.blocks_per_cluster);
        base.orphan_file.filter(|_| same_blocks).unwrap_or(blocks)
    });
    set_quotas(&mut to, &geometry);
    to.superblock = recipe::superblock(&to.superblock, &geometry);
    to.least_inodes = geometry.least_inodes.is_some();
    Ok(to)
}

/// Returns the size of the journal; `None` if the filesystem is too small for one, or if the journal is
/// external.
fn journal(
    base: &Settings,
    geometry: &Geometry,
    changes: &Changes,
    same_blocks: bool,
) -> Result<Option<JournalShape>> {
    let has_external = base.superblock.features().has(Compat::HAS_JOURNAL) && base.journal.is_none();
    let had_fast = base.superblock.features().has(Compat::FAST_COMMIT);
    let has_fast = geometry.features.has(Compat::FAST_COMMIT);
    if let (Some(before), None, true) = (base.journal, changes.journal_size, same_blocks)
        && (had_fast == has_fast || !has_fast)
    {
        let fast = if has_fast { before.fast_commit_blocks } else { 0 };
        let dropped = before.fast_commit_blocks - fast;
        return Ok(Some(JournalShape { blocks: before.blocks - dropped, fast_commit_blocks: fast }));
    }
    if has_external && base.superblock.s_journal_inum.get() == 0 && changes.journal_size.is_none() {
        return Ok(None);
    }
    let blocks = match changes.journal_size {
        Some(bytes) => Some(requested_journal(bytes, geometry)?),
        None => {
            let before = base.journal.filter(|_| same_blocks).map(|journal| journal.blocks);
            before.or_else(|| mke2fs::journal_blocks(geometry.blocks_count))
        }
    };
    Ok(blocks.map(|blocks| {
        let fast = if has_fast { mke2fs::fast_commit_blocks(geometry.blocks_count) } else { 0 };
        JournalShape { blocks: blocks + fast, fast_commit_blocks: fast }
    }))
}

/// Returns the number of blocks of a journal of this many bytes. Refuses the same sizes as mke2fs.
fn requested_journal(bytes: u64, geometry: &Geometry) -> Result<u32> {
    let range = mke2fs::SMALLEST_JOURNAL..=mke2fs::LARGEST_JOURNAL;
    let other = Remedy::OtherValue("journal-size");
    let count = bytes / geometry.block_bytes();
    let Some(blocks) = u32::try_from(count).ok().filter(|blocks| range.contains(blocks)) else {
        let [least, most] =
            [*range.start(), *range.end()].map(|blocks| u64::from(blocks) * geometry.block_bytes());
        return refused(
            format!("the journal has {bytes} bytes, but needs at least {least}, and at most {most}"),
            other,
        );
    };
    // mke2fs counts blocks as free that bitmaps and inode tables get later.
    let heads = geometry.first_data_block + head_blocks(geometry);
    let free = geometry.blocks_count.saturating_sub(heads);
    if u64::from(blocks) > free / 2 {
        return refused(
            format!("the journal has {blocks} blocks, more than half of the {free} free blocks"),
            other,
        );
    }
    Ok(blocks)
}

/// Checks that the filesystem has as many inodes as were requested, and that their tables are smaller than the
/// filesystem.
fn check_inodes(geometry: &Geometry, changes: &Changes) -> Result<()> {
    let Some(Inodes::Count(count)) = changes.inodes else { return Ok(()) };
    let bytes = u64::from(count) * geometry.inode_size as u64;
    // Rounding down to a multiple of 8 is not a refusal.
    let most = u64::from(geometry.inodes_count()) + 8 * u64::from(geometry.groups);
    if u64::from(count) <= most && bytes < geometry.filesystem_bytes() {
        return Ok(());
    }
    refused(
        format!("{count} inodes do not fit into a filesystem of {} blocks", geometry.blocks_count),
        Remedy::OtherValue("inodes"),
    )
}

/// Adds and removes quota files. New quota files have no limits.
fn set_quotas(to: &mut Settings, geometry: &Geometry) {
    let features = geometry.features;
    if !features.has(RoCompat::QUOTA) {
        to.quotas.clear();
        return;
    }
    let is_new = !to.superblock.features().has(RoCompat::QUOTA);
    let gets_project = features.has(RoCompat::PROJECT) && !to.superblock.features().has(RoCompat::PROJECT);
    to.quotas.retain(|(kind, _)| *kind != QuotaType::Project || features.has(RoCompat::PROJECT));
    for kind in QuotaType::ALL {
        let wanted = match kind {
            QuotaType::User | QuotaType::Group => is_new,
            QuotaType::Project => gets_project || (is_new && features.has(RoCompat::PROJECT)),
        };
        if wanted && to.quotas.iter().all(|(there, _)| *there != kind) {
            let rules = QuotaRules { block_grace: GRACE, inode_grace: GRACE, limits: Vec::new() };
            to.quotas.push((kind, rules));
        }
    }
    to.quotas.sort_by_key(|(kind, _)| kind.index());
}

fn refused<T>(problem: String, remedy: Remedy) -> Result<T> {
    Err(Error::options(problem, remedy))
}
