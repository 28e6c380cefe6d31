//! Defines the settings that a user can request: a profile, and changes of single settings.

use std::fmt;
use std::str::FromStr;

use crate::ondisk::features::{Compat, Features, Incompat, RoCompat};

/// A set of settings that is part of the canonical form, and independent of any mke2fs. docs/profiles.md
/// specifies each profile as a function of the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// The features that current distributions enable and Linux 4.19 mounts.
    Ext4,
    /// Only features that Linux 4.4 and e2fsprogs 1.43 know, and that old boot loaders read.
    Ext4Compat,
    /// ext2, for boot loaders.
    Ext2,
    /// The smallest ext4 for images that are never written: no journal, no reserved blocks, and no spare
    /// inodes.
    Ext4Min,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Self; 4] = [Self::Ext4, Self::Ext4Compat, Self::Ext2, Self::Ext4Min];

    /// Returns the name of the profile, such as "ext4-min".
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Ext4Compat => "ext4-compat",
            Self::Ext2 => "ext2",
            Self::Ext4Min => "ext4-min",
        }
    }
}

/// Changes of single settings. By default, nothing changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// Features to set or to clear.
    pub features: FeatureChanges,
    /// The block size in bytes.
    pub block_size: Option<u32>,
    /// The cluster size in bytes, with bigalloc.
    pub cluster_size: Option<u32>,
    /// The inode size in bytes.
    pub inode_size: Option<u32>,
    /// The number of inodes.
    pub inodes: Option<Inodes>,
    /// The size of the journal in bytes.
    pub journal_size: Option<u64>,
    /// The reserved blocks.
    pub reserved: Option<Reserved>,
}

/// The number of inodes of a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inodes {
    /// At least this many, if they fill whole blocks of the inode tables.
    Count(u32),
    /// As few as the tree needs.
    Fewest,
}

/// The number of reserved blocks (`s_r_blocks_count`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reserved {
    /// A share of the blocks, in thousandths of a percent.
    Share(u32),
    /// This number of blocks.
    Blocks(u64),
}

/// Features to set and to clear, as in `mke2fs -O`.
///
/// ```
/// use ext4_canon::FeatureChanges;
///
/// let changes: FeatureChanges = "^orphan_file,quota".parse()?;
/// assert_eq!(changes.to_string(), "quota,^orphan_file");
/// assert!("^no_such_feature".parse::<FeatureChanges>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeatureChanges {
    pub(crate) set: Features,
    pub(crate) clear: Features,
}

/// The features that can be set and cleared. All other features describe a state, or something that only the
/// input can mean.
const CHANGEABLE: Features = Features {
    compat: Compat::HAS_JOURNAL
        .union(Compat::RESIZE_INODE)
        .union(Compat::DIR_INDEX)
        .union(Compat::SPARSE_SUPER2)
        .union(Compat::FAST_COMMIT)
        .union(Compat::ORPHAN_FILE),
    incompat: Incompat::META_BG
        .union(Incompat::EXTENTS)
        .union(Incompat::BIT64)
        .union(Incompat::MMP)
        .union(Incompat::FLEX_BG)
        .union(Incompat::EA_INODE)
        .union(Incompat::METADATA_CSUM_SEED)
        .union(Incompat::LARGE_DIR)
        .union(Incompat::INLINE_DATA),
    ro_compat: RoCompat::SPARSE_SUPER
        .union(RoCompat::LARGE_FILE)
        .union(RoCompat::HUGE_FILE)
        .union(RoCompat::GDT_CSUM)
        .union(RoCompat::DIR_NLINK)
        .union(RoCompat::EXTRA_ISIZE)
        .union(RoCompat::QUOTA)
        .union(RoCompat::BIGALLOC)
        .union(RoCompat::METADATA_CSUM)
        .union(RoCompat::PROJECT),
};

/// Other names that mke2fs accepts for features.
const OTHER_NAMES: [(&str, &str); 4] = [
    ("extents", "extent"),
    ("uninit_groups", "uninit_bg"),
    ("gdt_csum", "uninit_bg"),
    ("ext_attrs", "ext_attr"),
];

impl FromStr for FeatureChanges {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut changes = Self::default();
        // The notation of mke2fs: separators are commas and spaces, and case does not matter.
        let text = text.to_ascii_lowercase();
        for word in text.split([',', ' ', '\t']).filter(|word| !word.is_empty()) {
            let (name, clears) = match word.strip_prefix(['^', '-']) {
                Some(name) => (name, true),
                None => (word.strip_prefix('+').unwrap_or(word), false),
            };
            let name = OTHER_NAMES.iter().find(|(other, _)| *other == name).map_or(name, |(_, name)| name);
            let Some(feature) = CHANGEABLE.named(name) else {
                return Err(format!(
                    "'{name}' is not one of the features that can be changed: {}",
                    CHANGEABLE.names().join(", ")
                ));
            };
            let (into, out_of) = if clears {
                (&mut changes.clear, &mut changes.set)
            } else {
                (&mut changes.set, &mut changes.clear)
            };
            *into = into.union(feature);
            *out_of = out_of.difference(feature);
        }
        Ok(changes)
    }
}

impl fmt::Display for FeatureChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cleared = self.clear.names().into_iter().map(|name| format!("^{name}"));
        let words: Vec<_> = self.set.names().into_iter().chain(cleared).collect();
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_words_replace_earlier_ones() {
        let parsed = |text: &str| text.parse::<FeatureChanges>().map(|changes| changes.to_string());
        assert_eq!(parsed("quota,^quota"), Ok("^quota".to_owned()));
        assert_eq!(parsed("^extents, 64bit,"), Ok("64bit,^extent".to_owned()));
        assert_eq!(parsed("Quota +project"), Ok("quota,project".to_owned()));
        assert_eq!(parsed(""), Ok(String::new()));
        assert!(parsed("encrypt").unwrap_err().contains("'encrypt' is not one of"));
        assert!(parsed("needs_recovery").is_err());
    }
}
