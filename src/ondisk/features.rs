//! Defines the three feature words of the superblock.

#![allow(missing_docs, reason = "the names are the kernel's, and docs/features.md has a row for each")]

use bitflags::{Flags, bitflags};

bitflags! {
    /// `s_feature_compat`: with an unknown bit, an implementation may read and write.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Compat: u32 {
        const DIR_PREALLOC = 0x1;
        const IMAGIC_INODES = 0x2;
        const HAS_JOURNAL = 0x4;
        const EXT_ATTR = 0x8;
        const RESIZE_INODE = 0x10;
        const DIR_INDEX = 0x20;
        const LAZY_BG = 0x40;
        const EXCLUDE_INODE = 0x80;
        const EXCLUDE_BITMAP = 0x100;
        const SPARSE_SUPER2 = 0x200;
        const FAST_COMMIT = 0x400;
        const STABLE_INODES = 0x800;
        const ORPHAN_FILE = 0x1000;
    }

    /// `s_feature_incompat`: with an unknown bit, an implementation must not mount.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Incompat: u32 {
        const COMPRESSION = 0x1;
        const FILETYPE = 0x2;
        const NEEDS_RECOVERY = 0x4;
        const JOURNAL_DEV = 0x8;
        const META_BG = 0x10;
        const EXTENTS = 0x40;
        const BIT64 = 0x80;
        const MMP = 0x100;
        const FLEX_BG = 0x200;
        const EA_INODE = 0x400;
        const DIRDATA = 0x1000;
        const METADATA_CSUM_SEED = 0x2000;
        const LARGE_DIR = 0x4000;
        const INLINE_DATA = 0x8000;
        const ENCRYPT = 0x10000;
        const CASEFOLD = 0x20000;
    }

    /// `s_feature_ro_compat`: with an unknown bit, an implementation must not write.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct RoCompat: u32 {
        const SPARSE_SUPER = 0x1;
        const LARGE_FILE = 0x2;
        const BTREE_DIR = 0x4;
        const HUGE_FILE = 0x8;
        const GDT_CSUM = 0x10;
        const DIR_NLINK = 0x20;
        const EXTRA_ISIZE = 0x40;
        const HAS_SNAPSHOT = 0x80;
        const QUOTA = 0x100;
        const BIGALLOC = 0x200;
        const METADATA_CSUM = 0x400;
        const REPLICA = 0x800;
        const READONLY = 0x1000;
        const PROJECT = 0x2000;
        const SHARED_BLOCKS = 0x4000;
        const VERITY = 0x8000;
        const ORPHAN_PRESENT = 0x10000;
    }
}

/// All three feature words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// `s_feature_compat`.
    pub compat: Compat,
    /// `s_feature_incompat`.
    pub incompat: Incompat,
    /// `s_feature_ro_compat`.
    pub ro_compat: RoCompat,
}

/// One of the three feature words.
pub trait FeatureWord: Flags {
    /// Returns this word of `features`.
    fn of(features: Features) -> Self;
}

impl FeatureWord for Compat {
    fn of(features: Features) -> Self {
        features.compat
    }
}

impl FeatureWord for Incompat {
    fn of(features: Features) -> Self {
        features.incompat
    }
}

impl FeatureWord for RoCompat {
    fn of(features: Features) -> Self {
        features.ro_compat
    }
}

impl Features {
    /// Returns whether all of the given features are set.
    pub fn has<W: FeatureWord>(self, wanted: W) -> bool {
        W::of(self).contains(wanted)
    }

    /// Returns whether at least one of the given features is set.
    pub fn has_any<W: FeatureWord>(self, wanted: W) -> bool {
        W::of(self).intersects(wanted)
    }

    /// Returns the features that are set in either operand.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            compat: self.compat | other.compat,
            incompat: self.incompat | other.incompat,
            ro_compat: self.ro_compat | other.ro_compat,
        }
    }

    /// Returns the features of `self` that are not set in `other`.
    #[must_use]
    pub fn difference(self, other: Self) -> Self {
        Self {
            compat: self.compat - other.compat,
            incompat: self.incompat - other.incompat,
            ro_compat: self.ro_compat - other.ro_compat,
        }
    }

    /// Returns the feature of this set with an e2fsprogs name.
    pub fn named(self, name: &str) -> Option<Self> {
        let one = |bits: u32, names: &[(u32, &str)]| {
            let known = names.iter().find(|(bit, known)| *known == name && bits & bit != 0);
            known.map_or(0, |(bit, _)| *bit)
        };
        let found = Self {
            compat: Compat::from_bits_retain(one(self.compat.bits(), &COMPAT_NAMES)),
            incompat: Incompat::from_bits_retain(one(self.incompat.bits(), &INCOMPAT_NAMES)),
            ro_compat: RoCompat::from_bits_retain(one(self.ro_compat.bits(), &RO_COMPAT_NAMES)),
        };
        Some(found).filter(|found| *found != Self::default())
    }

    /// Returns the e2fsprogs names of the features that are set, in the order of their bits. A bit without a
    /// name is represented by its word and value.
    pub fn names(self) -> Vec<String> {
        let words = [
            ("compat", self.compat.bits(), &COMPAT_NAMES[..]),
            ("incompat", self.incompat.bits(), &INCOMPAT_NAMES[..]),
            ("ro_compat", self.ro_compat.bits(), &RO_COMPAT_NAMES[..]),
        ];
        let mut names = Vec::new();
        for (word, bits, known) in words {
            for bit in (0..32).map(|shift| 1_u32 << shift).filter(|bit| bits & bit != 0) {
                match known.iter().find(|(value, _)| *value == bit) {
                    Some((_, name)) => names.push((*name).to_owned()),
                    None => names.push(format!("{word} bit {bit:#x}")),
                }
            }
        }
        names
    }
}

const COMPAT_NAMES: [(u32, &str); 13] = [
    (0x1, "dir_prealloc"),
    (0x2, "imagic_inodes"),
    (0x4, "has_journal"),
    (0x8, "ext_attr"),
    (0x10, "resize_inode"),
    (0x20, "dir_index"),
    (0x40, "lazy_bg"),
    (0x80, "exclude_inode"),
    (0x100, "exclude_bitmap"),
    (0x200, "sparse_super2"),
    (0x400, "fast_commit"),
    (0x800, "stable_inodes"),
    (0x1000, "orphan_file"),
];

const INCOMPAT_NAMES: [(u32, &str); 16] = [
    (0x1, "compression"),
    (0x2, "filetype"),
    (0x4, "needs_recovery"),
    (0x8, "journal_dev"),
    (0x10, "meta_bg"),
    (0x40, "extent"),
    (0x80, "64bit"),
    (0x100, "mmp"),
    (0x200, "flex_bg"),
    (0x400, "ea_inode"),
    (0x1000, "dirdata"),
    (0x2000, "metadata_csum_seed"),
    (0x4000, "large_dir"),
    (0x8000, "inline_data"),
    (0x10000, "encrypt"),
    (0x20000, "casefold"),
];

const RO_COMPAT_NAMES: [(u32, &str); 17] = [
    (0x1, "sparse_super"),
    (0x2, "large_file"),
    (0x4, "btree_dir"),
    (0x8, "huge_file"),
    (0x10, "uninit_bg"),
    (0x20, "dir_nlink"),
    (0x40, "extra_isize"),
    (0x80, "snapshot"),
    (0x100, "quota"),
    (0x200, "bigalloc"),
    (0x400, "metadata_csum"),
    (0x800, "replica"),
    (0x1000, "read-only"),
    (0x2000, "project"),
    (0x4000, "shared_blocks"),
    (0x8000, "verity"),
    (0x10000, "orphan_present"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_has_its_name() {
        for (bits, names) in [
            (Compat::all().bits(), &COMPAT_NAMES[..]),
            (Incompat::all().bits(), &INCOMPAT_NAMES[..]),
            (RoCompat::all().bits(), &RO_COMPAT_NAMES[..]),
        ] {
            assert_eq!(names.iter().fold(0, |all, (bit, _)| all | bit), bits);
        }
    }

    #[test]
    fn unknown_bits_are_named_by_word_and_value() {
        let features = Features { incompat: Incompat::from_bits_retain(0x8000_0002), ..Features::default() };
        assert_eq!(features.names(), ["filetype", "incompat bit 0x80000000"]);
    }

    /// Each bit has a row in the documentation, with all cells filled and the names of its tests.
    #[test]
    fn the_documentation_has_a_row_for_every_bit() {
        use crate::ondisk::{inode::InodeFlags, jbd2};
        let mut bits: Vec<(String, String)> = Vec::new();
        let words =
            [("compat", &COMPAT_NAMES[..]), ("incompat", &INCOMPAT_NAMES), ("ro_compat", &RO_COMPAT_NAMES)];
        for (word, names) in words {
            bits.extend(names.iter().map(|(bit, name)| ((*name).to_owned(), format!("{word} {bit:#x}"))));
        }
        bits.push(("COMPAT_CHECKSUM".to_owned(), format!("compat {:#x}", jbd2::COMPAT_CHECKSUM)));
        for (name, bit) in jbd2::INCOMPAT_NAMES {
            bits.push((format!("INCOMPAT_{name}"), format!("incompat {bit:#x}")));
        }
        for (name, flag) in InodeFlags::all().iter_names() {
            bits.push((name.to_owned(), format!("flag {:#x}", flag.bits())));
        }
        let rows: Vec<Vec<&str>> = include_str!("../../docs/features.md")
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        for (name, bit) in &bits {
            let row = rows.iter().find(|row| row[0] == format!("`{name}`") && row[1] == bit);
            let row = row.unwrap_or_else(|| panic!("docs/features.md lacks {name}, {bit}"));
            assert!(row.len() == 6 && row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        }
        assert_eq!(rows.len(), bits.len());
    }
}
