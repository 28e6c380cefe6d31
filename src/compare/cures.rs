//! Finds the instruction that makes two settings equal: what to run or rebuild, and which image to change.
//!
//! The first image (A) is the reference: if a setting can be changed in either image, the instruction changes
//! it in the second image (B). Features are turned off rather than on, since old versions of mke2fs don't
//! know new features.

use super::compared_image::ComparedImage;
use super::difference::SettingDifference;
use crate::ondisk::features::Features;
use crate::policy::SizePolicy;
use crate::text;

/// The instruction for settings that no option of mke2fs or tune2fs sets.
const SAME_TOOLS: &str = "build both images with the same version of mke2fs and the same options";

/// Settings that a filesystem keeps, in part, from the size with which mke2fs made it.
const SIZED: [&str; 7] = [
    "bytes of the image",
    "blocks",
    "reserved blocks",
    "inodes per group",
    "reserved descriptor blocks",
    "first meta group",
    "groups with backups",
];

/// The instruction for these settings with `--size`.
const OTHER_SIZE: &str = "add --profile ext4 or --like A: with --size alone, the output keeps values of the \
                          size that the image had before";

/// The instructions that make settings equal, by the name of the setting. `{}` is the value in A.
const CURES: &[(&str, &str)] = &[
    ("blocks", "rebuild B with mke2fs and {} blocks (the last argument)"),
    ("reserved blocks", "run tune2fs -r {} on B"),
    ("block size", "rebuild B with mke2fs -b {}"),
    ("cluster size", "rebuild B with mke2fs -C {}"),
    ("behaviour on errors", "run tune2fs -e {} on B"),
    ("hash of directories", "run tune2fs -E hash_alg={} on B"),
    ("mounts before a check", "run tune2fs -c {} on B"),
    ("seconds between checks", "run tune2fs -i {}s on B"),
    ("system of the creator", "rebuild B with mke2fs -o {}"),
    ("revision", "rebuild B with mke2fs -r {}"),
    ("user of the reserved blocks", "run tune2fs -u {} on B"),
    ("group of the reserved blocks", "run tune2fs -g {} on B"),
    ("inode size", "rebuild B with mke2fs -I {}"),
    ("UUID of the external journal", "rebuild B with mke2fs -J device=DEVICE and the journal of A"),
    ("device of the external journal", "rebuild B with mke2fs -J device=DEVICE and the journal of A"),
    ("descriptor size", "rebuild B with mke2fs -E desc_size={}"),
    ("first meta group", "rebuild the image that resize2fs has grown, with mke2fs -O meta_bg from the start"),
    ("RAID stride", "run tune2fs -E stride={} on B"),
    ("RAID stripe width", "run tune2fs -E stripe_width={} on B"),
    ("MMP interval", "run tune2fs -E mmp_update_interval={} on B"),
    ("groups in a flex group", "rebuild B with mke2fs -G {}"),
    ("flags of the encoding", "rebuild B with mke2fs -E encoding_flags={}"),
    (
        "salt of encryption, which mke2fs chooses at random",
        "copy the filesystem of A with dd before it is filled: mke2fs has no option for the salt",
    ),
    ("blocks of the journal for fast commits", "rebuild B with mke2fs -J fast_commit_size={}"),
    (
        "place of the journal",
        "rebuild B with mke2fs, and its journal {} the filesystem (-j, or -J device=DEVICE)",
    ),
    ("inode of the orphan file", "rebuild both with mke2fs -O ^stable_inodes"),
    ("inode of the quota file of projects", "rebuild both with mke2fs -O ^stable_inodes"),
    (
        "bytes of the image",
        "make the file of B {} bytes long before mke2fs (truncate -s {}), or give both the same size: --profile ext4 --size {}",
    ),
    ("boot sector", "copy the first 1024 bytes: dd if=A of=B bs=1024 count=1 conv=notrunc"),
    ("bytes after the filesystem", "cut both images at the end of their filesystems (truncate)"),
];

/// Adds the missing instructions to settings that differ.
pub(super) fn add(sides: &[ComparedImage<'_, '_>; 2], settings: &mut [SettingDifference]) {
    for setting in settings.iter_mut().filter(|setting| setting.cure.is_empty()) {
        setting.cure = of_setting(&sides[0], setting);
    }
}

/// Returns the instruction that makes a setting equal. `wanted` is the reference, image A.
fn of_setting(wanted: &ComparedImage<'_, '_>, setting: &SettingDifference) -> String {
    let name = setting.name.as_str();
    let superblock = &wanted.source.superblock;
    let geometry = &wanted.source.geometry;
    let value = setting.values[0].as_str();
    let in_bytes = || value.parse::<u64>().ok()?.checked_mul(geometry.block_bytes());
    let special = match name {
        _ if wanted.target.is_own && wanted.options.size != SizePolicy::Keep && SIZED.contains(&name) => {
            Some(OTHER_SIZE.to_owned())
        }
        "UUID" => uuid_cure(value, &setting.option),
        "blocks per group" => blocks_per_group(wanted, value),
        "inodes per group" => Some(format!("rebuild B with mke2fs -N {}", superblock.s_inodes_count)),
        "label" => shell_word(&superblock.s_volume_name)
            .map(|label| format!("run tune2fs -L {label} on B, or give both the same --label"))
            .or_else(|| Some("give both the same --label".to_owned())),
        "mount options" => shell_word(&superblock.s_mount_opts)
            .map(|options| format!("run tune2fs -E mount_opts={options} on B")),
        "default mount options" => Some(mount_options(&setting.values)),
        "reserved descriptor blocks" => {
            resize(wanted).map(|blocks| format!("rebuild B with mke2fs -E resize={blocks}"))
        }
        "groups with backups" => {
            value.split(' ').next().map(|number| format!("rebuild B with mke2fs -E num_backup_sb={number}"))
        }
        "blocks of the journal" => {
            let mebibytes = in_bytes().filter(|bytes| bytes % (1 << 20) == 0).map(|bytes| bytes >> 20);
            mebibytes.map(|size| format!("rebuild B with mke2fs -J size={size}"))
        }
        "blocks of the orphan file" => {
            in_bytes().map(|bytes| format!("rebuild B with mke2fs -E orphan_file_size={}k", bytes >> 10))
        }
        _ => CURES.iter().find(|row| row.0 == name).map(|row| row.1.replace("{}", value)),
    };
    match special {
        Some(cure) => cure,
        None if setting.option.is_empty() => SAME_TOOLS.to_owned(),
        None => format!("change B to the value of A: {}", setting.option),
    }
}

/// Returns the text of a field, quoted for a shell; `None` if the text has characters other than printable
/// ASCII. The text is from an image, which is not trusted.
fn shell_word(field: &[u8]) -> Option<String> {
    let text = field.split(|byte| *byte == 0).next()?;
    text::shell_word(str::from_utf8(text).ok()?)
}

fn uuid_cure(value: &str, option: &str) -> Option<String> {
    let is_uuid = value.parse::<uuid::Uuid>().is_ok();
    is_uuid.then(|| match option.split_once(", or ") {
        Some((_, or)) => format!("rebuild B with mke2fs -U {value}, or {or}"),
        None => format!("rebuild B with mke2fs -U {value}"),
    })
}

/// Returns the instruction for a different group size. With bigalloc, `mke2fs -g` counts clusters.
fn blocks_per_group(wanted: &ComparedImage<'_, '_>, value: &str) -> Option<String> {
    let blocks: u64 = value.parse().ok()?;
    let units = blocks / wanted.source.geometry.blocks_per_cluster.max(1);
    Some(format!("rebuild B with mke2fs -g {units}"))
}

/// Returns the instruction that changes the default mount options of B to those of A.
fn mount_options(values: &[String; 2]) -> String {
    let [wanted, present] =
        values.each_ref().map(|words| words.split(',').filter(|word| *word != "none").collect::<Vec<_>>());
    // A journal mode replaces the previous one, so modes need not be turned off if A has one.
    let is_mode = |word: &str| word.starts_with("journal_data");
    let replaced = wanted.iter().any(|word| is_mode(word));
    let off = present.iter().filter(|word| !(wanted.contains(word) || replaced && is_mode(word)));
    let on = wanted.iter().filter(|word| !present.contains(word));
    let words: Vec<_> = off.map(|word| format!("^{word}")).chain(on.map(|word| (*word).to_owned())).collect();
    format!("run tune2fs -o {} on B", words.join(","))
}

/// Returns the number of blocks for `mke2fs -E resize` with which mke2fs reserves as many GDT blocks as
/// `wanted` has.
fn resize(wanted: &ComparedImage<'_, '_>) -> Option<u64> {
    let geometry = &wanted.source.geometry;
    let per_block = geometry.block_bytes().checked_div(geometry.descriptor_size as u64)?;
    let blocks_of_all = u64::from(geometry.groups).div_ceil(per_block.max(1)) + geometry.reserved_gdt_blocks;
    let blocks = blocks_of_all.checked_mul(per_block)?.checked_mul(geometry.blocks_per_group)?;
    Some(blocks).filter(|blocks| *blocks < 1 << 32)
}

/// Features, with the first version of e2fsprogs in which mke2fs turns them on by default, according to the
/// release notes.
const DEFAULTS: [(&[&str], &str); 2] =
    [(&["orphan_file", "metadata_csum_seed"], "1.47"), (&["metadata_csum", "64bit"], "1.43")];

/// Returns the instruction for features that differ. `only` contains the names of the features that only A
/// has, and the names of the features that only B has.
pub(super) fn of_features(only: &[Vec<String>; 2]) -> String {
    let off = |names: &[String]| names.iter().map(|name| format!("^{name}")).collect::<Vec<_>>();
    let note = |names: &[String]| {
        let since = |name: &String| DEFAULTS.iter().find(|row| row.0.contains(&name.as_str()));
        let versions: Vec<_> = names.iter().map(since).collect::<Option<_>>().unwrap_or_default();
        let version = versions.first().filter(|first| versions.iter().all(|one| one.1 == first.1));
        version.map_or(String::new(), |(_, version)| {
            let them = if names.len() == 1 { "it" } else { "them" };
            format!(": e2fsprogs turns {them} on by default since {version}")
        })
    };
    // mke2fs refuses the options of a feature that is off.
    let without = |names: &[String]| {
        let options = [("bigalloc", "-C"), ("casefold", "-E encoding")];
        let gone = options.iter().filter(|(feature, _)| names.iter().any(|name| name == feature));
        gone.map(|(_, option)| format!(" and without {option}")).collect::<String>()
    };
    let turn_off = |image: &str, names: &[String]| {
        format!("rebuild {image} with mke2fs -O {}{}{}", off(names).join(","), without(names), note(names))
    };
    match only {
        [one, other] if one.is_empty() => turn_off("B", other),
        [one, other] if other.is_empty() => turn_off("A", one),
        [one, other] => {
            format!("rebuild B with mke2fs -O {}", [one.clone(), off(other)].concat().join(","))
        }
    }
}

/// Returns the names of the features that only one side has, on each side.
pub(super) fn names([one, other]: [Features; 2]) -> [Vec<String>; 2] {
    [one.difference(other), other.difference(one)].map(Features::names)
}
