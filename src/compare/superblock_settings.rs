//! Lists the settings in the superblock: their fields, names, formats, and the options that make them equal.
//!
//! `form/fields.rs` lists the fields that are kept, and `plan::settings` sets the other fields. A setting
//! without a row is reported by its raw name.

use std::collections::BTreeSet;

use zerocopy::IntoBytes;

use super::difference::SettingDifference;
use crate::ondisk::Field;
use crate::ondisk::features::{Compat, Features, Incompat, RoCompat};
use crate::ondisk::superblock::Superblock;
use crate::text;

/// The format of a field of the superblock.
#[derive(Clone, Copy)]
enum FieldFormat {
    Number,
    /// A signed number.
    Signed,
    /// A binary logarithm; the report shows the power of two. The parameter is added to the logarithm first.
    Power(u32),
    /// Text, which ends with a NUL byte unless it fills the field.
    Text,
    Hex,
    /// Bits, with the words that the option uses for them: mask, value and word.
    Words(&'static [(u64, u64, &'static str)]),
    /// A list of group numbers, without zeros.
    Groups,
}

use FieldFormat::{Groups, Hex, Number, Power, Signed, Text, Words};

/// The default mount options of tune2fs -o: mask, value and word.
const MOUNT_OPTIONS: &[(u64, u64, &str)] = &[
    (0x1, 0x1, "debug"),
    (0x2, 0x2, "bsdgroups"),
    (0x4, 0x4, "user_xattr"),
    (0x8, 0x8, "acl"),
    (0x10, 0x10, "uid16"),
    (0x60, 0x20, "journal_data"),
    (0x60, 0x40, "journal_data_ordered"),
    (0x60, 0x60, "journal_data_writeback"),
    (0x100, 0x100, "nobarrier"),
    (0x200, 0x200, "block_validity"),
    (0x400, 0x400, "discard"),
    (0x800, 0x800, "nodelalloc"),
];

/// The behaviours of tune2fs -e.
const ERRORS: &[(u64, u64, &str)] = &[(0xFF, 1, "continue"), (0xFF, 2, "remount-ro"), (0xFF, 3, "panic")];

/// The algorithms of tune2fs -E hash_alg. A flag in `s_flags`, not this field, selects the unsigned variants.
const HASHES: &[(u64, u64, &str)] = &[(0xFF, 0, "legacy"), (0xFF, 1, "half_md4"), (0xFF, 2, "tea")];

/// The flags of mke2fs -E encoding_flags.
const ENCODING_FLAGS: &[(u64, u64, &str)] = &[(1, 1, "strict"), (1, 0, "nostrict")];

/// All fields that are separate settings: field, name, format and option. If two rows have the same name, the
/// second field is the high part of the number.
const ROWS: &[(&str, &str, FieldFormat, &str)] = &[
    ("s_blocks_count_lo", "blocks", Number, "mke2fs's last argument, the number of blocks"),
    ("s_blocks_count_hi", "blocks", Number, "mke2fs's last argument, the number of blocks"),
    ("s_r_blocks_count_lo", "reserved blocks", Number, "mke2fs -m PERCENT, or tune2fs -r BLOCKS"),
    ("s_r_blocks_count_hi", "reserved blocks", Number, "mke2fs -m PERCENT, or tune2fs -r BLOCKS"),
    ("s_log_block_size", "block size", Power(10), "mke2fs -b BYTES"),
    ("s_log_cluster_size", "cluster size", Power(10), "mke2fs -C BYTES"),
    ("s_blocks_per_group", "blocks per group", Number, "mke2fs -g BLOCKS"),
    ("s_inodes_per_group", "inodes per group", Number, "mke2fs -N INODES, or -i BYTES-PER-INODE"),
    ("s_max_mnt_count", "mounts before a check", Signed, "tune2fs -c COUNT"),
    ("s_errors", "behaviour on errors", Words(ERRORS), "mke2fs -e continue, remount-ro or panic (1, 2 or 3)"),
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
        Words(HASHES),
        "tune2fs -E hash_alg=ALGORITHM, or hash_alg in mke2fs.conf",
    ),
    ("s_desc_size", "descriptor size", Number, "mke2fs -E desc_size=BYTES"),
    (
        "s_default_mount_opts",
        "default mount options",
        Words(MOUNT_OPTIONS),
        "tune2fs -o OPTIONS, with a ^ before each option to clear, or default_mntopts in mke2fs.conf",
    ),
    ("s_first_meta_bg", "first meta group", Number, "mke2fs -O meta_bg from the start, without resize2fs"),
    ("s_min_extra_isize", "least extra size of inodes", Number, ""),
    ("s_want_extra_isize", "wanted extra size of inodes", Number, ""),
    ("s_raid_stride", "RAID stride", Number, "mke2fs -E stride=BLOCKS"),
    ("s_mmp_update_interval", "MMP interval", Number, "mke2fs -E mmp_update_interval=SECONDS"),
    ("s_raid_stripe_width", "RAID stripe width", Number, "mke2fs -E stripe_width=BLOCKS"),
    ("s_log_groups_per_flex", "groups in a flex group", Power(0), "mke2fs -G GROUPS"),
    ("s_mount_opts", "mount options", Text, "tune2fs -E mount_opts=OPTIONS"),
    ("s_backup_bgs", "groups with backups", Groups, "mke2fs -E num_backup_sb=NUMBER"),
    ("s_encrypt_algos", "algorithms of encryption", Hex, ""),
    ("s_encrypt_pw_salt", "salt of encryption, which mke2fs chooses at random", Hex, ""),
    ("s_encoding", "encoding of names", Number, "mke2fs -E encoding=ENCODING"),
    ("s_encoding_flags", "flags of the encoding", Words(ENCODING_FLAGS), "mke2fs -E encoding_flags=FLAGS"),
];

/// Fields that are functions of other fields. A difference in such a field is not reported, because the other
/// fields differ, too.
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

/// Fields that exist only with a feature. If only one side has the feature, the feature is reported, but not
/// the field.
const OF_FEATURE: &[(&str, Features)] = &[
    ("s_desc_size", Features { incompat: Incompat::BIT64, ..NONE }),
    ("s_encoding", Features { incompat: Incompat::CASEFOLD, ..NONE }),
    ("s_encoding_flags", Features { incompat: Incompat::CASEFOLD, ..NONE }),
    ("s_encrypt_algos", Features { incompat: Incompat::ENCRYPT, ..NONE }),
    ("s_encrypt_pw_salt", Features { incompat: Incompat::ENCRYPT, ..NONE }),
    ("s_mmp_update_interval", Features { incompat: Incompat::MMP, ..NONE }),
];

const NONE: Features =
    Features { compat: Compat::empty(), incompat: Incompat::empty(), ro_compat: RoCompat::empty() };

fn bytes_of<'s>(superblock: &'s Superblock, field: &Field) -> &'s [u8] {
    // A field is inside its structure.
    &superblock.as_bytes()[field.offset..][..field.size]
}

/// Adds the settings that differ, in the order of the fields.
pub(super) fn add_fields(
    superblocks: &[Superblock; 2],
    features: [Features; 2],
    found: &mut Vec<SettingDifference>,
) {
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
            let option = match field.name {
                "s_blocks_per_group" => group_option(superblocks, features, option),
                _ => option.to_owned(),
            };
            let name = name.to_owned();
            found.push(SettingDifference { name, values, option, ..SettingDifference::default() });
        }
    }
}

/// Adds a remark to the option if a filesystem has bigalloc, because mke2fs -g then counts clusters.
fn group_option(superblocks: &[Superblock; 2], features: [Features; 2], option: &str) -> String {
    let of_side = |side: usize| {
        let Superblock { s_log_cluster_size, s_log_block_size, .. } = &superblocks[side];
        let ratio = s_log_cluster_size.get().checked_sub(s_log_block_size.get())?;
        let has_clusters = features[side].has(RoCompat::BIGALLOC);
        1_u64.checked_shl(ratio).filter(|_| has_clusters)
    };
    let mut ratios: Vec<_> = [0, 1].into_iter().filter_map(of_side).collect();
    ratios.dedup();
    match ratios.iter().map(u64::to_string).collect::<Vec<_>>().join(" and ") {
        none if none.is_empty() => option.to_owned(),
        blocks => format!("{option}; with bigalloc -g CLUSTERS, of {blocks} blocks"),
    }
}

/// Formats the value of a field. A number includes its high part, if a second field contains it.
fn value(superblock: &Superblock, name: &str, field: &Field, format: FieldFormat) -> String {
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
        Signed => {
            let unused = u64::BITS - 8 * u32::try_from(bytes.len()).unwrap_or(8).clamp(1, 8);
            (number().cast_signed() << unused >> unused).to_string()
        }
        Words(of_bits) => {
            let mut rest = number();
            let set = of_bits.iter().filter(|(mask, value, _)| number() & mask == *value);
            let mut words: Vec<_> = set.map(|(.., word)| (*word).to_owned()).collect();
            of_bits.iter().for_each(|(mask, ..)| rest &= !mask);
            if rest != 0 {
                words.push(format!("{rest:#x}"));
            }
            if words.is_empty() { "none".to_owned() } else { words.join(",") }
        }
        Groups => {
            let groups = bytes.chunks_exact(4).filter_map(|chunk| chunk.try_into().ok());
            let groups: Vec<_> =
                groups.map(u32::from_le_bytes).filter(|group| *group != 0).map(|g| g.to_string()).collect();
            format!(
                "{} ({})",
                groups.len(),
                if groups.is_empty() { "none".to_owned() } else { groups.join(",") }
            )
        }
        Power(base) => {
            let shift = u32::try_from(number()).unwrap_or(u32::MAX).saturating_add(base);
            1_u64.checked_shl(shift).map_or_else(|| number().to_string(), |value| value.to_string())
        }
        Text => {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            format!("\"{}\"", text::escaped_text(&bytes[..end]))
        }
        Hex => text::hexadecimal(bytes),
    }
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
    fn values_are_what_the_options_take() {
        let mut superblocks = [Superblock::zeroed(); 2];
        superblocks[0].s_max_mnt_count = 0xFFFF.into();
        superblocks[0].s_default_mount_opts = 0x1_0068.into();
        superblocks[0].s_backup_bgs = [1.into(), 31.into()];
        superblocks[0].s_encoding_flags = 1.into();
        superblocks[0].s_blocks_per_group = 131_072.into();
        superblocks[0].s_log_cluster_size = 4.into();
        let bigalloc = Features { ro_compat: RoCompat::BIGALLOC, ..NONE };
        let mut found = Vec::new();
        add_fields(&superblocks, [bigalloc, NONE], &mut found);
        let values = |name: &str| {
            let setting = found.iter().find(|setting| setting.name == name).expect(name);
            setting.values.each_ref().map(String::as_str)
        };
        assert_eq!(values("mounts before a check"), ["-1", "0"]);
        assert_eq!(values("default mount options"), ["acl,journal_data_writeback,0x10000", "none"]);
        assert_eq!(values("groups with backups"), ["2 (1,31)", "0 (none)"]);
        assert_eq!(values("flags of the encoding"), ["strict", "nostrict"]);
        assert_eq!(values("cluster size"), ["16384", "1024"]);
        let group = found.iter().find(|setting| setting.name == "blocks per group").expect("a setting");
        assert!(group.option.ends_with("-g CLUSTERS, of 16 blocks"), "{}", group.option);
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
