//! Random options of mke2fs.

use std::collections::BTreeMap;

use super::tree::{Limits, Tree};
use crate::support::dice::Dice;

/// Features that are on or off at random, and the probability in percent that a feature differs from the
/// default of the filesystem type.
const TOGGLES: [(&str, usize); 30] = [
    ("has_journal", 15),
    ("ext_attr", 4),
    ("resize_inode", 25),
    ("dir_index", 10),
    ("sparse_super2", 15),
    ("fast_commit", 12),
    ("stable_inodes", 6),
    ("orphan_file", 15),
    ("filetype", 8),
    ("meta_bg", 12),
    ("extent", 15),
    ("64bit", 25),
    ("flex_bg", 20),
    ("ea_inode", 25),
    ("metadata_csum_seed", 12),
    ("large_dir", 12),
    ("inline_data", 20),
    ("encrypt", 6),
    ("casefold", 6),
    ("sparse_super", 12),
    ("large_file", 8),
    ("huge_file", 12),
    ("uninit_bg", 15),
    ("dir_nlink", 10),
    ("extra_isize", 10),
    ("quota", 12),
    ("bigalloc", 18),
    ("metadata_csum", 20),
    ("project", 15),
    ("verity", 6),
];

/// The features in [`TOGGLES`] that mke2fs.conf of 1.47 enables for each type.
const DEFAULTS: [&str; 6] =
    ["ext_attr", "resize_inode", "dir_index", "filetype", "sparse_super", "large_file"];
const OF_EXT4: [&str; 7] =
    ["extent", "64bit", "flex_bg", "huge_file", "dir_nlink", "extra_isize", "metadata_csum"];

/// The options of a filesystem, which mke2fs may refuse.
#[derive(Clone, Debug)]
pub struct Geometry {
    kind: &'static str,
    /// Whether it has revision 0, without any features.
    revision_0: bool,
    /// The state of each feature in [`TOGGLES`].
    features: BTreeMap<&'static str, bool>,
    /// The features that differ from the default of the type.
    toggled: Vec<&'static str>,
    pub block_size: u64,
    inode_size: Option<u64>,
    words: Vec<String>,
    extended: Vec<String>,
    /// The size of the filesystem in bytes, a multiple of 1024.
    pub bytes: u64,
    /// The number of bytes in the file past the end of the filesystem.
    pub tail: u64,
    /// `s_def_hash_version`, if it is not the default.
    pub hash: Option<&'static str>,
}

impl Geometry {
    /// Draws the type, the features, and the sizes of blocks and inodes.
    pub fn draw(dice: &mut Dice) -> Self {
        let kind = dice.one(&["ext4", "ext4", "ext4", "ext4", "ext3", "ext2"]);
        let revision_0 = kind == "ext2" && dice.chance(10);
        let sizes = [1024, 1024, 1024, 1024, 1024, 2048, 2048, 4096, 4096, 4096, 8192, 65536];
        let block_size = if dice.chance(90) { dice.one(&sizes[..10]) } else { dice.one(&sizes) };
        let is_default = |feature: &str| {
            DEFAULTS.contains(&feature)
                || kind == "ext4" && OF_EXT4.contains(&feature)
                || kind != "ext2" && feature == "has_journal"
        };
        let drawn = |(feature, often): &(&'static str, usize)| {
            let other = dice.chance(*often);
            (*feature, !revision_0 && other != is_default(feature))
        };
        let mut features: BTreeMap<_, _> = TOGGLES.iter().map(drawn).collect();
        // MMP must be rare: with it, each step waits ten seconds.
        features.insert("mmp", !revision_0 && dice.roll(300) == 0);
        let inode_size = dice.chance(35).then(|| dice.one(&[128, 128, 256, 512, 1024, 2048]).min(block_size));
        let inode_size = if revision_0 { Some(128) } else { inode_size };
        settle(&mut features, inode_size == Some(128));
        let toggled =
            features.iter().filter(|(feature, on)| **on != is_default(feature)).map(|(f, _)| *f).collect();
        Self {
            kind,
            revision_0,
            features,
            toggled,
            block_size,
            inode_size,
            words: Vec::new(),
            extended: Vec::new(),
            bytes: 0,
            tail: 0,
            hash: dice.chance(10).then(|| dice.one(&["tea", "legacy"])),
        }
    }

    /// Returns whether a feature is on.
    pub fn has(&self, feature: &str) -> bool {
        self.features[feature]
    }

    /// Returns whether all metadata is at the start.
    pub fn is_packed(&self) -> bool {
        self.extended.iter().any(|word| word.starts_with("packed"))
    }

    /// Returns the limits for a tree in this filesystem.
    pub fn limits(&self, root: bool) -> Limits {
        Limits {
            block_size: self.block_size,
            inline_data: self.has("inline_data"),
            xattrs: self.has("ext_attr"),
            ea_inode: self.has("ea_inode"),
            large_file: !self.revision_0,
            project: self.has("project"),
            root,
        }
    }

    /// Draws sizes and counts that are suitable for a tree.
    pub fn fit(&mut self, dice: &mut Dice, tree: &Tree) {
        let block = self.block_size;
        let needed = tree.bytes() / block + tree.inodes() * self.inode_size.unwrap_or(256) / block + 40;
        let most: u64 = if dice.chance(10) { 1 << 30 } else { 100 << 20 };
        let blocks = if dice.chance(25) {
            needed * dice.between(100, 250) / 100
        } else {
            needed + dice.scaled(200, most / block)
        };
        self.bytes = blocks * block;
        if dice.chance(15) {
            self.tail = dice.scaled(1, 200_000);
        }
        self.groups(dice, blocks);
        self.inodes(dice, tree.inodes(), blocks);
        self.journal(dice, blocks);
        self.others(dice, blocks);
    }

    fn say(&mut self, words: &[&str]) {
        self.words.extend(words.iter().map(|word| (*word).to_owned()));
    }

    fn groups(&mut self, dice: &mut Dice, blocks: u64) {
        let bigalloc = self.has("bigalloc");
        if bigalloc && dice.chance(80) {
            let cluster = self.block_size << dice.one(&[1, 1, 2, 2, 3, 4, 5, 6]);
            self.say(&["-C", &cluster.to_string()]);
        }
        // Limit the number of groups, which make every step slower.
        let least = (blocks / 250).max(256).next_multiple_of(8);
        let most = (8 * self.block_size).min(65528);
        if dice.chance(if bigalloc { 10 } else { 45 }) && least <= most {
            let blocks = dice.scaled(least, most).next_multiple_of(8).min(most);
            self.say(&["-g", &blocks.to_string()]);
        }
        if dice.chance(50) && self.has("flex_bg") {
            self.say(&["-G", &(1_u64 << dice.roll(11)).to_string()]);
        }
        if self.has("flex_bg") && dice.chance(6) {
            self.extended.push("packed_meta_blocks=1".to_owned());
        }
    }

    fn inodes(&mut self, dice: &mut Dice, needed: u64, blocks: u64) {
        if let Some(size) = self.inode_size {
            self.say(&["-I", &size.to_string()]);
        }
        match dice.roll(10) {
            0..=2 => self.say(&["-N", &dice.scaled(needed + 12, needed + 4000).to_string()]),
            3 | 4 => {
                let most = (blocks * self.block_size / (needed + 12)).clamp(1024, 4 << 20);
                self.say(&["-i", &dice.scaled(self.block_size, most.max(self.block_size)).to_string()]);
            }
            _ => {}
        }
    }

    fn journal(&mut self, dice: &mut Dice, blocks: u64) {
        if !self.has("has_journal") || !dice.chance(55) {
            return;
        }
        // A journal has at least 1024 blocks.
        let least = self.block_size / 1024;
        let mut size = dice.scaled(least, 4 * least);
        let mut words = Vec::new();
        if self.has("fast_commit") && dice.chance(50) {
            size = dice.between(2 * least, 4 * least);
            words.push(format!("fast_commit_size={}", dice.scaled(64 * least, 512 * least)));
        }
        words.push(format!("size={size}"));
        if dice.chance(8) {
            words.push(format!("location={}", dice.between(0, blocks)));
        }
        self.say(&["-J", &words.join(",")]);
    }

    fn others(&mut self, dice: &mut Dice, blocks: u64) {
        if dice.chance(50) {
            // With bigalloc, mke2fs computes the reserved blocks before it rounds the block count down, and
            // e2fsck treats more than half of all blocks as damage.
            let most = if self.has("bigalloc") { "20" } else { "50" };
            self.say(&["-m", dice.one(&["0", "0", "1", "3.7", "10", most])]);
        }
        let mut extended = Vec::new();
        if dice.chance(15) {
            extended.push(format!("stride={}", dice.scaled(1, 128)));
            extended.push(format!("stripe_width={}", dice.scaled(1, 1024)));
        }
        if self.has("resize_inode") && dice.chance(20) {
            extended.push(format!("resize={}", dice.scaled(blocks + 1, 1000 * blocks)));
        }
        if self.has("sparse_super2") && dice.chance(60) {
            extended.push(format!("num_backup_sb={}", dice.roll(3)));
        }
        if self.has("64bit") && dice.chance(8) {
            extended.push(format!("desc_size={}", dice.one(&[64, 128, 256, 512, 1024])));
        }
        if self.has("quota") && dice.chance(60) {
            let mut kinds = vec!["usrquota", "grpquota"];
            if self.has("project") {
                kinds.push("prjquota");
            }
            dice.shuffle(&mut kinds);
            kinds.truncate(1 + dice.roll(kinds.len()));
            extended.push(format!("quotatype={}", kinds.join(":")));
        }
        if self.has("orphan_file") && dice.chance(40) {
            extended.push(format!("orphan_file_size={}", self.block_size * dice.between(2, 40)));
        }
        if self.has("casefold") {
            extended
                .push(dice.one(&["encoding=utf8", "encoding=utf8-12.1,encoding_flags=strict"]).to_owned());
        }
        if self.has("mmp") {
            extended.push("mmp_update_interval=1".to_owned());
        }
        self.extended.extend(extended);
        if dice.chance(10) {
            self.say(&["-e", dice.one(&["continue", "remount-ro", "panic"])]);
        }
        if dice.chance(10) {
            self.say(&["-L", dice.one(&["root", "sixteen bytes ok", "ü"])]);
        }
        if dice.chance(4) && !self.has("64bit") && !self.has("metadata_csum") {
            self.say(&["-o", dice.one(&["freebsd", "lites"])]);
        }
    }

    /// Returns the options of mke2fs, with `more` extended options and words.
    pub fn options(&self, (more, words): &(Vec<String>, Vec<String>)) -> Vec<String> {
        let mut options: Vec<String> =
            ["-t", self.kind, "-b", &self.block_size.to_string()].map(str::to_owned).into();
        if self.revision_0 {
            options.extend(["-r", "0"].map(str::to_owned));
        } else if !self.toggled.is_empty() {
            let named = |feature: &&str| {
                if self.has(feature) { (*feature).to_owned() } else { format!("^{feature}") }
            };
            let names: Vec<_> = self.toggled.iter().map(named).collect();
            options.extend(["-O".to_owned(), names.join(",")]);
        }
        options.extend(self.words.iter().chain(words).cloned());
        let extended: Vec<&str> = self.extended.iter().chain(more).map(String::as_str).collect();
        if !extended.is_empty() {
            options.extend(["-E".to_owned(), extended.join(",")]);
        }
        options
    }

    /// Draws further options that don't affect the canonical form: those for `-E`, and others.
    pub fn traceless(&self, dice: &mut Dice) -> (Vec<String>, Vec<String>) {
        let (mut extended, mut words) = (Vec::new(), Vec::new());
        if dice.chance(20) && self.has("flex_bg") && !self.is_packed() {
            extended.push("packed_meta_blocks=1".to_owned());
        }
        if dice.chance(20) && !self.revision_0 {
            extended.push("hash_seed=deadbeef-1234-4678-8abc-def012345678".to_owned());
        }
        if dice.chance(20) {
            extended.push(dice.one(&["lazy_itable_init=0", "lazy_itable_init=1", "nodiscard"]).to_owned());
        }
        if dice.chance(20) {
            words.extend(["-M", "/mnt"].map(str::to_owned));
        }
        (extended, words)
    }

    /// Returns the names of everything that this covers, to be counted.
    pub fn covers(&self) -> Vec<String> {
        let features = self.toggled.iter().map(|feature| {
            let sign = if self.has(feature) { "" } else { "^" };
            format!("{sign}{feature}")
        });
        let words = self.words.iter().filter(|word| word.starts_with('-')).cloned();
        let extended = self.extended.iter().flat_map(|word| word.split(','));
        let journal = self.words.iter().filter(|word| word.contains("size=") || word.contains("location="));
        let extended = extended.chain(journal.flat_map(|word| word.split(',')));
        let extended = extended.map(|word| word.split('=').next().unwrap_or(word).to_owned());
        let kind = if self.revision_0 { "revision 0" } else { self.kind };
        let sizes = [format!("-b {}", self.block_size), kind.to_owned()];
        let hash = self.hash.map(|hash| format!("hash {hash}"));
        let tail = (self.tail > 0).then(|| "bytes after the filesystem".to_owned());
        features.chain(words).chain(extended).chain(sizes).chain(hash).chain(tail).collect()
    }
}

/// Resolves conflicts between features that mke2fs would refuse.
fn settle(features: &mut BTreeMap<&'static str, bool>, small_inodes: bool) {
    // The first feature needs the second.
    for (feature, needed) in [
        ("bigalloc", "extent"),
        ("64bit", "extent"),
        ("fast_commit", "has_journal"),
        ("orphan_file", "has_journal"),
        ("metadata_csum_seed", "metadata_csum"),
        ("resize_inode", "sparse_super"),
        ("ea_inode", "ext_attr"),
        ("inline_data", "ext_attr"),
    ] {
        if features[feature] && !features[needed] {
            features.insert(feature, false);
        }
    }
    if features["meta_bg"] {
        features.insert("resize_inode", false);
    }
    if features["quota"] || features["project"] || features["inline_data"] {
        for feature in ["project", "inline_data"] {
            if small_inodes {
                features.insert(feature, false);
            }
        }
    }
}

/// Returns the names of all features that are counted. Defaults of a type are counted when they are off.
pub fn features() -> impl Iterator<Item = String> {
    let on = TOGGLES.iter().map(|(feature, _)| *feature).filter(|feature| !DEFAULTS.contains(feature));
    let off = DEFAULTS.iter().chain(&OF_EXT4).chain(&["has_journal"]).map(|feature| format!("^{feature}"));
    on.map(str::to_owned).chain(off)
}
