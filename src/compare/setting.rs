//! What differs of the filesystems themselves, and with which option they could be made alike.

use std::collections::BTreeSet;

use zerocopy::IntoBytes;

use super::Side;
use crate::ondisk::Field;
use crate::ondisk::features::{Compat, Features, Incompat, RoCompat};
use crate::ondisk::quota::QuotaType;
use crate::ondisk::superblock::{self as sb, Superblock};
use crate::plan;
use crate::policy::UuidPolicy;
use crate::words;

/// A difference of two filesystems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// What differs.
    pub name: String,
    /// The values on both sides.
    pub values: [String; 2],
    /// How to align them; empty where nothing can.
    pub option: String,
}

/// How a field of the superblock reads.
#[derive(Clone, Copy)]
enum Format {
    Number,
    /// A number of bytes, as the power of two that has to be added to this one.
    Power(u32),
    /// Text that ends with a NUL byte, or the field.
    Text,
    Hex,
}

use Format::{Hex, Number, Power, Text};

/// Every field that is a setting of its own: the field, the name, how it reads, and the option. A field
/// whose name is that of the row before holds the high half of the same number.
const ROWS: &[(&str, &str, Format, &str)] = &[
    ("s_blocks_count_lo", "blocks", Number, "mke2fs's last argument, the number of blocks"),
    ("s_blocks_count_hi", "blocks", Number, "mke2fs's last argument, the number of blocks"),
    ("s_r_blocks_count_lo", "reserved blocks", Number, "mke2fs -m PERCENT, or tune2fs -r BLOCKS"),
    ("s_r_blocks_count_hi", "reserved blocks", Number, "mke2fs -m PERCENT, or tune2fs -r BLOCKS"),
    ("s_log_block_size", "block size", Power(10), "mke2fs -b BYTES"),
    ("s_log_cluster_size", "cluster size", Power(10), "mke2fs -C BYTES"),
    ("s_blocks_per_group", "blocks per group", Number, "mke2fs -g BLOCKS"),
    ("s_inodes_per_group", "inodes per group", Number, "mke2fs -N INODES, or -i BYTES-PER-INODE"),
    ("s_max_mnt_count", "mounts before a check", Number, "tune2fs -c COUNT"),
    ("s_errors", "behaviour on errors", Number, "mke2fs -e continue, remount-ro or panic (1, 2 or 3)"),
    ("s_checkinterval", "seconds between checks", Number, "tune2fs -i INTERVAL"),
    ("s_creator_os", "system of the creator", Number, "mke2fs -o SYSTEM"),
    ("s_rev_level", "revision", Number, "mke2fs -r REVISION"),
    ("s_def_resuid", "user of the reserved blocks", Number, "tune2fs -u USER"),
    ("s_def_resuid_hi", "user of the reserved blocks", Number, "tune2fs -u USER"),
    ("s_def_resgid", "group of the reserved blocks", Number, "tune2fs -g GROUP"),
    ("s_def_resgid_hi", "group of the reserved blocks", Number, "tune2fs -g GROUP"),
    ("s_first_ino", "first ordinary inode", Number, ""),
    ("s_inode_size", "inode size", Number, "mke2fs -I BYTES"),
    ("s_volume_name", "label", Text, "mke2fs -L LABEL, or --label for both"),
    ("s_prealloc_blocks", "preallocated blocks", Number, ""),
    ("s_prealloc_dir_blocks", "preallocated blocks of directories", Number, ""),
    ("s_reserved_gdt_blocks", "reserved descriptor blocks", Number, "mke2fs -E resize=BLOCKS"),
    ("s_journal_uuid", "UUID of the external journal", Hex, "mke2fs -J device=DEVICE"),
    ("s_journal_dev", "device of the external journal", Hex, "mke2fs -J device=DEVICE"),
    (
        "s_def_hash_version",
        "hash of directories",
        Number,
        "tune2fs -E hash_alg=ALGORITHM, or hash_alg in mke2fs.conf",
    ),
    ("s_desc_size", "descriptor size", Number, "mke2fs -E desc_size=BYTES"),
    (
        "s_default_mount_opts",
        "default mount options",
        Hex,
        "tune2fs -o OPTIONS, or default_mntopts in mke2fs.conf",
    ),
    ("s_first_meta_bg", "first meta group", Number, "mke2fs -O meta_bg from the start, without resize2fs"),
    ("s_min_extra_isize", "least extra size of inodes", Number, ""),
    ("s_want_extra_isize", "wanted extra size of inodes", Number, ""),
    ("s_raid_stride", "RAID stride", Number, "mke2fs -E stride=BLOCKS"),
    ("s_mmp_update_interval", "MMP interval", Number, "mke2fs -E mmp_update_interval=SECONDS"),
    ("s_raid_stripe_width", "RAID stripe width", Number, "mke2fs -E stripe_width=BLOCKS"),
    ("s_log_groups_per_flex", "groups in a flex group", Power(0), "mke2fs -G GROUPS"),
    ("s_mount_opts", "mount options", Text, "tune2fs -E mount_opts=OPTIONS"),
    ("s_backup_bgs", "groups with backups", Hex, "mke2fs -E num_backup_sb=NUMBER"),
    ("s_encrypt_algos", "algorithms of encryption", Hex, ""),
    ("s_encrypt_pw_salt", "salt of encryption, which mke2fs takes at random", Hex, ""),
    ("s_encoding", "encoding of names", Number, "mke2fs -E encoding=ENCODING"),
    ("s_encoding_flags", "flags of the encoding", Hex, "mke2fs -E encoding_flags=FLAGS"),
];

/// Fields that follow from others, which are told of.
const FOLLOWING: &[&str] = &[
    "s_inodes_count",
    "s_first_data_block",
    "s_clusters_per_group",
    "s_feature_compat",
    "s_feature_incompat",
    "s_feature_ro_compat",
    "s_checksum_type",
    "s_checksum_seed",
];

/// A field that exists only with a feature follows from it where only one side has it.
const OF_FEATURE: &[(&str, Features)] = &[
    ("s_desc_size", Features { incompat: Incompat::BIT64, ..NONE }),
    ("s_encoding", Features { incompat: Incompat::CASEFOLD, ..NONE }),
    ("s_encoding_flags", Features { incompat: Incompat::CASEFOLD, ..NONE }),
    ("s_encrypt_algos", Features { incompat: Incompat::ENCRYPT, ..NONE }),
    ("s_encrypt_pw_salt", Features { incompat: Incompat::ENCRYPT, ..NONE }),
    ("s_mmp_update_interval", Features { incompat: Incompat::MMP, ..NONE }),
    ("s_log_cluster_size", Features { ro_compat: RoCompat::BIGALLOC, ..NONE }),
];

const NONE: Features =
    Features { compat: Compat::empty(), incompat: Incompat::empty(), ro_compat: RoCompat::empty() };

/// All settings that differ: of the superblock in the order of its fields, then those outside of it.
pub fn differences(sides: &[Side<'_, '_>; 2]) -> Vec<Setting> {
    let mut found = Vec::new();
    let features = sides.each_ref().map(|side| side.features);
    let superblocks = sides.each_ref().map(|side| plan::settings(side.source, side.features, &side.options));
    add_features(features, &mut found);
    add_fields(&superblocks, features, &mut found);
    add_outside(sides, &mut found);
    found
}

fn add_features(features: [Features; 2], found: &mut Vec<Setting>) {
    for (side, missing) in
        [(0, features[0].difference(features[1])), (1, features[1].difference(features[0]))]
    {
        for name in missing.names() {
            let mut values = ["off".to_owned(), "off".to_owned()];
            "on".clone_into(&mut values[side]);
            let option = match &*name {
                // These mke2fs does not know.
                "dir_prealloc" => format!("debugfs -w -R 'feature {name}', or 'feature -{name}'"),
                "read-only" => format!("tune2fs -O {name}, or -O ^{name}"),
                _ => format!("mke2fs -O {name}, or -O ^{name}"),
            };
            found.push(Setting { name: format!("feature {name}"), values, option });
        }
    }
}

fn bytes_of<'s>(superblock: &'s Superblock, field: &Field) -> &'s [u8] {
    superblock.as_bytes().get(field.offset..field.offset + field.size).unwrap_or_default()
}

fn add_fields(superblocks: &[Superblock; 2], features: [Features; 2], found: &mut Vec<Setting>) {
    let differs = |field: &&Field| {
        let [one, other] = superblocks.each_ref().map(|superblock| bytes_of(superblock, field));
        one != other && !FOLLOWING.contains(&field.name)
    };
    let explained = |field: &Field| {
        let of_feature = OF_FEATURE.iter().find(|(name, _)| *name == field.name);
        of_feature.is_some_and(|(_, feature)| {
            let has = features.map(|features| feature.difference(features) == NONE);
            has[0] != has[1]
        })
    };
    let mut told = BTreeSet::new();
    for field in Superblock::FIELDS.iter().filter(differs).filter(|field| !explained(field)) {
        let row = ROWS.iter().find(|(name, ..)| *name == field.name);
        let (name, format, option) =
            row.map_or((field.name, Hex, ""), |(_, name, format, option)| (*name, *format, *option));
        if told.insert(name) {
            let values = superblocks.each_ref().map(|superblock| value(superblock, name, field, format));
            found.push(Setting { name: name.to_owned(), values, option: option.to_owned() });
        }
    }
}

/// The value of a field, or of all fields that go by one name.
fn value(superblock: &Superblock, name: &str, field: &Field, format: Format) -> String {
    let number = || {
        let halves = ROWS.iter().filter(|row| row.1 == name);
        let fields = halves.filter_map(|row| Superblock::FIELDS.iter().find(|field| field.name == row.0));
        let (mut number, mut shift) = (0_u64, 0);
        for field in fields {
            for byte in bytes_of(superblock, field) {
                number |= u64::from(*byte).checked_shl(shift).unwrap_or(0);
                shift += 8;
            }
        }
        number
    };
    let bytes = bytes_of(superblock, field);
    match format {
        Number => number().to_string(),
        Power(base) => {
            let shift = u32::try_from(number()).unwrap_or(u32::MAX).saturating_add(base);
            1_u64.checked_shl(shift).map_or_else(|| number().to_string(), |value| value.to_string())
        }
        Text => {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            format!("\"{}\"", words::escaped_text(&bytes[..end]))
        }
        Hex => words::hexadecimal(bytes),
    }
}

/// What the form takes from outside the superblock.
fn add_outside(sides: &[Side<'_, '_>; 2], found: &mut Vec<Setting>) {
    let mut add = |name: &str, values: [String; 2], option: &str| {
        if values[0] != values[1] {
            found.push(Setting { name: name.to_owned(), values, option: option.to_owned() });
        }
    };
    let of = |value: &dyn Fn(&Side<'_, '_>) -> String| sides.each_ref().map(value);
    add(
        "UUID",
        of(&|side| match side.options.uuid {
            UuidPolicy::Keep => uuid::Uuid::from_bytes(side.source.superblock.s_uuid).to_string(),
            UuidPolicy::Content | UuidPolicy::Given(_) => String::new(),
        }),
        "mke2fs -U UUID, or leave out --uuid keep",
    );
    let journal = |side: &Side<'_, '_>| side.reading.specials.journal;
    if sides.iter().all(|side| journal(side).is_some()) {
        let blocks = of(&|side| journal(side).map_or(0, |journal| journal.blocks).to_string());
        add("blocks of the journal", blocks, "mke2fs -J size=MEGABYTES");
        let blocks = of(&|side| journal(side).map_or(0, |journal| journal.fast_commit_blocks).to_string());
        add("blocks of the journal for fast commits", blocks, "mke2fs -J fast_commit_size=BLOCKS");
    } else {
        // Without a journal on either side, or with one outside, other settings tell of it.
        let has_one = of(&|side| {
            let inside = journal(side).is_some();
            if inside { "inside" } else { "not inside" }.to_owned()
        });
        let both = |side: &Side<'_, '_>| side.features.compat.contains(Compat::HAS_JOURNAL);
        if sides.iter().all(both) {
            add("place of the journal", has_one, "mke2fs -j, or -J device=DEVICE");
        }
    }
    let orphans = |side: &Side<'_, '_>| side.reading.specials.orphan_file.map(|file| file.blocks);
    if sides.iter().all(|side| orphans(side).is_some()) {
        let blocks = of(&|side| orphans(side).unwrap_or(0).to_string());
        add("blocks of the orphan file", blocks, "mke2fs -E orphan_file_size=BYTES");
    }
    add_stable(sides, &mut add);
    add_quotas(sides, &mut add);
    let lengths = of(&|side| side.source.input().bytes().len().to_string());
    add("bytes of the image", lengths, "truncate -s BYTES before mke2fs, or mke2fs's last argument");
    let [one, other] = sides.each_ref().map(|side| side.source.input().range(0, sb::OFFSET as u64));
    if one != other {
        add("boot sector", ["one".to_owned(), "another".to_owned()], "dd the same 1024 bytes into both");
    }
    if behind_end_differs(sides) {
        let what = ["some bytes".to_owned(), "others".to_owned()];
        add("bytes behind the filesystem", what, "cut both images behind the filesystem");
    }
}

/// With `stable_inodes`, files outside the tree keep their numbers, too.
fn add_stable(sides: &[Side<'_, '_>; 2], add: &mut impl FnMut(&str, [String; 2], &str)) {
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

fn add_quotas(sides: &[Side<'_, '_>; 2], add: &mut impl FnMut(&str, [String; 2], &str)) {
    if !sides.iter().all(|side| side.features.ro_compat.contains(RoCompat::QUOTA)) {
        return;
    }
    for kind in QuotaType::ALL {
        let rules = sides.each_ref().map(|side| {
            let files = &side.reading.specials.quotas;
            files.iter().find(|file| file.kind == kind).map(|file| &file.rules)
        });
        let name = format!("{} quota", kind.word());
        match rules {
            [Some(one), Some(other)] if one != other => {
                let what = [one, other].map(|rules| {
                    let (blocks, inodes) = (rules.block_grace, rules.inode_grace);
                    format!("{} ids with limits, grace times {blocks} s and {inodes} s", rules.limits.len())
                });
                // The numbers alone may be equal.
                let what =
                    if what[0] == what[1] { ["some limits".to_owned(), "others".to_owned()] } else { what };
                add(&name, what, "setquota");
            }
            [one, other] => {
                let what = [one, other].map(|rules| if rules.is_some() { "on" } else { "off" }.to_owned());
                add(&name, what, "mke2fs -E quotatype=TYPE");
            }
        }
    }
}

/// Whether the bytes behind the filesystem's last block differ, where images are equally long.
fn behind_end_differs(sides: &[Side<'_, '_>; 2]) -> bool {
    const STEP: u64 = 1 << 16;
    let [(start, end), other] = sides.each_ref().map(|side| {
        let geometry = &side.source.geometry;
        (geometry.blocks_count * geometry.block_size as u64, side.source.input().bytes().len() as u64)
    });
    let inputs = sides.each_ref().map(|side| side.source.input());
    if (start, end) != other {
        return false;
    }
    let mut stored: Vec<_> = inputs.iter().flat_map(|input| input.data_within(start..end)).collect();
    stored.sort_unstable_by_key(|range| range.start);
    let mut steps = stored.iter().flat_map(|range| {
        range.clone().step_by(usize::try_from(STEP).unwrap_or(1)).map(|at| at..(at + STEP).min(range.end))
    });
    steps.any(|part| inputs[0].range(part.start, part.end) != inputs[1].range(part.start, part.end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::form::{self, Rule};

    #[test]
    fn every_kept_field_has_a_name() {
        for (name, rule) in form::SUPERBLOCK {
            let known = ROWS.iter().any(|row| row.0 == *name) || FOLLOWING.contains(name);
            assert!(known || *rule != Rule::Keep, "{name}");
        }
    }

    #[test]
    fn halves_are_one_number() {
        let mut superblocks = [Superblock::zeroed(); 2];
        superblocks[0].s_blocks_count_hi = 1.into();
        superblocks[1].s_blocks_count_lo = 7.into();
        superblocks[1].s_log_block_size = 2.into();
        superblocks[0].s_volume_name[..4].copy_from_slice(b"root");
        let mut found = Vec::new();
        add_fields(&superblocks, [NONE; 2], &mut found);
        let told: Vec<_> = found
            .iter()
            .map(|setting| (setting.name.as_str(), setting.values.each_ref().map(String::as_str)))
            .collect();
        let expected = [
            ("blocks", ["4294967296", "7"]),
            ("block size", ["1024", "4096"]),
            ("label", ["\"root\"", "\"\""]),
        ];
        assert_eq!(told, expected);
    }
}
