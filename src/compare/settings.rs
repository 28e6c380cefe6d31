//! Compares the settings of filesystems, and finds the options that make them equal.

use super::compared_image::ComparedImage;
use super::difference::SettingDifference;
use super::superblock_settings::add_fields;
use super::{consequences, cures};
use crate::geometry::Geometry;
use crate::ondisk::features::{Compat, Features, RoCompat};
use crate::ondisk::quota::QuotaType;
use crate::ondisk::superblock as sb;
use crate::plan;
use crate::policy::{SizePolicy, UuidPolicy};
use crate::target::Target;
use crate::units::fits;

/// Returns all settings that differ: features, then the fields of the superblock in their order, then
/// settings outside the superblock. A setting that differs only because another one differs comes after that
/// one.
pub(super) fn differences(sides: &[ComparedImage<'_, '_>; 2]) -> Vec<SettingDifference> {
    let mut found = Vec::new();
    let features = sides.each_ref().map(|side| side.features);
    let superblocks = sides.each_ref().map(|side| {
        let geometry = Geometry { features: side.features, ..side.target.geometry.clone() };
        plan::settings(&side.target, &geometry, &side.options)
    });
    add_features(features, &mut found);
    add_fields(&superblocks, features, &mut found);
    add_outside(sides, &mut found);
    cures::add(sides, &mut found);
    consequences::order(found)
}

/// Returns whether the settings of the images differ, but those of their canonical forms do not, because the
/// options choose them.
pub(super) fn are_settled(sides: &[ComparedImage<'_, '_>; 2]) -> bool {
    let own = |side: &ComparedImage<'_, '_>| {
        let target = Target::own(side.source, &side.reading.specials);
        (plan::settings(&target, &target.geometry, &side.options), target_sizes(&target))
    };
    let canonical = |side: &ComparedImage<'_, '_>| {
        (plan::settings(&side.target, &side.target.geometry, &side.options), target_sizes(&side.target))
    };
    sides.iter().all(|side| !side.target.is_own || side.options.size != SizePolicy::Keep)
        && own(&sides[0]) != own(&sides[1])
        && canonical(&sides[0]) == canonical(&sides[1])
}

/// Returns the sizes of a target that are not in its superblock.
fn target_sizes(target: &Target) -> impl PartialEq + use<> {
    let specials = &target.specials;
    (target.image_bytes, specials.journal, specials.orphan_file.map(|file| file.blocks))
}

/// Features that `mke2fs -O` does not accept.
const NOT_BY_MKE2FS: [&str; 2] = ["dir_prealloc", "read-only"];

fn add_features(features: [Features; 2], found: &mut Vec<SettingDifference>) {
    let only = cures::names(features);
    let mke2fs_cure =
        cures::of_features(&only.each_ref().map(|names| {
            names.iter().filter(|name| !NOT_BY_MKE2FS.contains(&name.as_str())).cloned().collect()
        }));
    for (side, names) in only.iter().enumerate() {
        for name in names {
            let mut values = ["off".to_owned(), "off".to_owned()];
            "on".clone_into(&mut values[side]);
            let image = ["A", "B"][side];
            let (option, cure) = match name.as_str() {
                "dir_prealloc" => (
                    format!("debugfs -w -R 'feature {name}', or 'feature -{name}'"),
                    format!("run debugfs -w -R 'feature -{name}' on {image}"),
                ),
                "read-only" => (
                    format!("tune2fs -O {name}, or -O ^{name}"),
                    format!("run tune2fs -O ^{name} on {image}"),
                ),
                _ => (format!("mke2fs -O {name}, or -O ^{name}"), mke2fs_cure.clone()),
            };
            found.push(SettingDifference {
                name: format!("feature {name}"),
                values,
                option,
                cure,
                follows: None,
            });
        }
    }
}

/// Adds all other settings that differ: UUID, journal, orphan file, kept inode numbers, quotas, image size,
/// and the bytes before and after the filesystem.
fn add_outside(sides: &[ComparedImage<'_, '_>; 2], found: &mut Vec<SettingDifference>) {
    let mut add = |name: &str, values: [String; 2], option: &str| {
        if values[0] != values[1] {
            let (name, option) = (name.to_owned(), option.to_owned());
            found.push(SettingDifference { name, values, option, ..SettingDifference::default() });
        }
    };
    let of = |value: &dyn Fn(&ComparedImage<'_, '_>) -> String| sides.each_ref().map(value);
    let uuids = of(&|side| match side.options.uuid {
        UuidPolicy::Keep => uuid::Uuid::from_bytes(side.source.superblock.s_uuid).to_string(),
        UuidPolicy::Given(uuid) => uuid::Uuid::from_bytes(uuid).to_string(),
        UuidPolicy::Content => "made from the content".to_owned(),
    });
    add("UUID", uuids, uuid_option(sides));
    let journal = |side: &ComparedImage<'_, '_>| side.target.specials.journal;
    if sides.iter().all(|side| journal(side).is_some()) {
        let blocks = of(&|side| journal(side).map_or(0, |journal| journal.blocks).to_string());
        add("blocks of the journal", blocks, "mke2fs -J size=MEGABYTES");
        let blocks = of(&|side| journal(side).map_or(0, |journal| journal.fast_commit_blocks).to_string());
        add("blocks of the journal for fast commits", blocks, "mke2fs -J fast_commit_size=BLOCKS");
    } else {
        // If only one side has a journal, or if both are external, the settings of the superblock show the
        // difference.
        let has_one = of(&|side| {
            let inside = journal(side).is_some();
            if inside { "inside" } else { "not inside" }.to_owned()
        });
        let both = |side: &ComparedImage<'_, '_>| side.features.has(Compat::HAS_JOURNAL);
        if sides.iter().all(both) {
            add("place of the journal", has_one, "mke2fs -j, or -J device=DEVICE");
        }
    }
    let orphans = |side: &ComparedImage<'_, '_>| side.target.specials.orphan_file.map(|file| file.blocks);
    if sides.iter().all(|side| orphans(side).is_some()) {
        let blocks = of(&|side| orphans(side).unwrap_or(0).to_string());
        add("blocks of the orphan file", blocks, "mke2fs -E orphan_file_size=BYTES");
    }
    add_stable(sides, &mut add);
    add_quotas(sides, &mut add);
    let lengths = of(&|side| side.target.image_bytes.to_string());
    add("bytes of the image", lengths, "truncate -s BYTES before mke2fs, or mke2fs's last argument");
    let [one, other] = sides.each_ref().map(|side| side.source.input().range(0, sb::OFFSET as u64));
    if one != other {
        add(
            "boot sector",
            ["(bytes of A)".to_owned(), "(bytes of B)".to_owned()],
            "dd the same 1024 bytes into both",
        );
    }
    if rest_differs(sides) {
        let what = ["(bytes of A)".to_owned(), "(bytes of B)".to_owned()];
        add("bytes after the filesystem", what, "cut both images at the end of the filesystem");
    }
}

/// Returns the option that makes UUIDs equal. Filesystems with `stable_inodes` or with an external journal
/// must keep their UUID, whatever the options are.
fn uuid_option(sides: &[ComparedImage<'_, '_>; 2]) -> &'static str {
    if sides.iter().any(|side| side.options.uuid != UuidPolicy::Keep) {
        return "leave out mke2fs -O stable_inodes, or mke2fs -U UUID and --uuid keep";
    }
    let needs_it = |side: &ComparedImage<'_, '_>| {
        side.features.has(Compat::STABLE_INODES)
            || (side.features.has(Compat::HAS_JOURNAL) && side.target.specials.journal.is_none())
    };
    if sides.iter().any(needs_it) { "mke2fs -U UUID" } else { "mke2fs -U UUID, or leave out --uuid keep" }
}

/// Adds the inode numbers of files outside the tree, which `stable_inodes` preserves.
fn add_stable(sides: &[ComparedImage<'_, '_>; 2], add: &mut impl FnMut(&str, [String; 2], &str)) {
    let [Some(one), Some(other)] = sides.each_ref().map(|side| side.numbering.as_ref()) else { return };
    let orphan_file = [one.orphan_file(), other.orphan_file()];
    let project = [one, other].map(|numbering| numbering.quota_file(QuotaType::Project));
    for (name, numbers) in
        [("inode of the orphan file", orphan_file), ("inode of the quota file of projects", project)]
    {
        if let [Some(one), Some(other)] = numbers {
            add(name, [one.to_string(), other.to_string()], "leave out mke2fs -O stable_inodes");
        }
    }
}

fn add_quotas(sides: &[ComparedImage<'_, '_>; 2], add: &mut impl FnMut(&str, [String; 2], &str)) {
    if !sides.iter().all(|side| side.features.has(RoCompat::QUOTA)) {
        return;
    }
    for kind in QuotaType::ALL {
        let rules = sides.each_ref().map(|side| {
            let files = &side.target.specials.quotas;
            files.iter().find(|file| file.kind == kind).map(|file| &file.rules)
        });
        let name = format!("{} quota", kind.word());
        match rules {
            [Some(one), Some(other)] if one != other => {
                let what = [one, other].map(|rules| {
                    let (blocks, inodes) = (rules.block_grace, rules.inode_grace);
                    format!("{} ids with limits, grace times {blocks} s and {inodes} s", rules.limits.len())
                });
                // The texts can be equal, although the limits differ.
                let what = if what[0] == what[1] {
                    ["(limits of A)".to_owned(), "(limits of B)".to_owned()]
                } else {
                    what
                };
                add(&name, what, "setquota");
            }
            [one, other] => {
                let what = [one, other].map(|rules| if rules.is_some() { "on" } else { "off" }.to_owned());
                add(&name, what, "mke2fs -E quotatype=TYPE");
            }
        }
    }
}

/// Returns whether the bytes past the end of the filesystem differ. Returns `false` if the filesystems or the
/// images have different lengths.
fn rest_differs(sides: &[ComparedImage<'_, '_>; 2]) -> bool {
    const STEP: u64 = 1 << 16;
    let [(start, end), other] = sides.each_ref().map(|side| {
        let rest = &side.target.rest;
        (rest.start, rest.end)
    });
    let inputs = sides.each_ref().map(|side| side.source.input());
    if (start, end) != other || start == end {
        return false;
    }
    let mut stored: Vec<_> = inputs.iter().flat_map(|input| input.data_within(start..end)).collect();
    stored.sort_unstable_by_key(|range| range.start);
    let mut steps = stored.iter().flat_map(|range| {
        range.clone().step_by(fits(STEP, "it is a small constant")).map(|at| at..(at + STEP).min(range.end))
    });
    steps.any(|part| inputs[0].range(part.start, part.end) != inputs[1].range(part.start, part.end))
}
