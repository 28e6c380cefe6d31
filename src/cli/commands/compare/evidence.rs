//! Collects the options, versions and digests of both images, so that the report can serve as evidence.

use std::path::Path;

use ext4_canon::text::hexadecimal;
use ext4_canon::{
    FORM_VERSION, FeatureChanges, HardLinkPolicy, HolePolicy, Inodes, MtimePolicy, Options, Reserved,
    Selection, SettingsPolicy, SizePolicy, StaleUuids, UuidPolicy,
};
use uuid::Uuid;

use crate::cli::image::Image;
use crate::cli::progress::Progress;

/// The options, versions and digests with which a comparison was made.
#[derive(Debug)]
pub struct Evidence {
    /// The options that affect the comparison and differ from the defaults.
    pub options: Vec<String>,
    /// The epoch in seconds since 1970, from the option or from the environment.
    pub epoch: Option<i64>,
    /// The SHA-256 of each file; `None` if the digests were not requested.
    pub digests: Option<[String; 2]>,
}

impl Evidence {
    /// Returns a sentence with the name of the program, the versions and the options.
    pub fn words(&self) -> String {
        let options = if self.options.is_empty() { "no options".to_owned() } else { self.options.join(" ") };
        let epoch = if self.epoch.is_none() { ", no SOURCE_DATE_EPOCH" } else { "" };
        let version = env!("CARGO_PKG_VERSION");
        format!("ext4-canon {version}, form {FORM_VERSION}, {options}{epoch}")
    }
}

/// Returns the SHA-256 of both files. If a file is compared with itself, reads it only once.
pub fn digests(images: [&Image; 2], are_same: bool, progress: &Progress) -> [String; 2] {
    let of = |image: &Image| hexadecimal(&image.sha256(|bytes| progress.hashed(bytes)));
    if are_same {
        let digest = of(images[0]);
        return [digest.clone(), digest];
    }
    let (one, other) = rayon::join(|| of(images[0]), || of(images[1]));
    [one, other]
}

/// Returns the options that differ from the defaults, as words of the command line.
pub fn option_words(options: &Options, selection: &Selection, like: Option<&Path>) -> Vec<String> {
    let mut words: Vec<_> = like.map(|path| format!("--like {}", shell_word(path))).into_iter().collect();
    words.extend(setting_words(options));
    match options.uuid {
        UuidPolicy::Keep => words.push("--uuid keep".to_owned()),
        UuidPolicy::Given(uuid) => words.push(format!("--uuid {}", Uuid::from_bytes(uuid))),
        _ => {}
    }
    match options.size {
        SizePolicy::Smallest => words.push("--size min".to_owned()),
        SizePolicy::Bytes(bytes) => words.push(format!("--size {bytes}")),
        SizePolicy::More(bytes) => words.push(format!("--size +{bytes}")),
        _ => {}
    }
    words.extend(options.epoch.map(|epoch| format!("--source-date-epoch {epoch}")));
    match options.mtime {
        MtimePolicy::Clamp => words.push("--mtime clamp".to_owned()),
        MtimePolicy::Keep => words.push("--mtime keep".to_owned()),
        MtimePolicy::Set => words.push("--mtime set".to_owned()),
        _ => {}
    }
    words.extend(options.label.as_ref().map(|label| format!("--label '{}'", label.escape_ascii())));
    let flags = [
        (options.stale_uuids == StaleUuids::Rewrite, "--rewrite-uuids"),
        (options.hard_links == HardLinkPolicy::Split, "--hard-links split"),
        (options.hard_links == HardLinkPolicy::Merge, "--hard-links merge"),
        (options.holes == HolePolicy::Keep, "--holes keep"),
        (options.ignore_error_state, "--ignore-error-state"),
        (options.canonical_table, "--table canonical"),
        (options.zero_gaps, "--zero-gaps"),
    ];
    words.extend(flags.into_iter().filter(|flag| flag.0).map(|flag| flag.1.to_owned()));
    let partitions = selection.partitions.iter();
    words.extend(partitions.map(|name| format!("--partition {}", shell_word(Path::new(name)))));
    if let Some((offset, size)) = selection.place {
        words.push(format!("--offset {offset}"));
        words.extend(size.map(|size| format!("--size {size}")));
    }
    words.extend(selection.sector_size.map(|size| format!("--sector-size {size}")));
    words
}

/// Returns the name of a file as a word for a shell, which is not an option.
pub fn shell_word(path: &Path) -> String {
    let name = path.display().to_string();
    let name = if name.starts_with('-') { format!("./{name}") } else { name };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./,:=+@%".contains(&byte);
    if name.bytes().all(is_plain) { name } else { format!("'{}'", name.replace('\'', "'\\''")) }
}

/// Returns the options for settings, as words of the command line.
fn setting_words(options: &Options) -> Vec<String> {
    let mut words = Vec::new();
    if let SettingsPolicy::Profile(profile) = options.settings {
        words.push(format!("--profile {}", profile.name()));
    }
    let changes = &options.changes;
    if changes.features != FeatureChanges::default() {
        words.push(format!("--features {}", changes.features));
    }
    let sizes = [
        ("block", changes.block_size.map(u64::from)),
        ("cluster", changes.cluster_size.map(u64::from)),
        ("inode", changes.inode_size.map(u64::from)),
        ("journal", changes.journal_size),
    ];
    words.extend(sizes.into_iter().filter_map(|(what, size)| Some(format!("--{what}-size {}", size?))));
    match changes.inodes {
        Some(Inodes::Count(count)) => words.push(format!("--inodes {count}")),
        Some(_) => words.push("--inodes min".to_owned()),
        None => {}
    }
    match changes.reserved {
        Some(Reserved::Share(share)) => {
            words.push(format!("--reserved {}.{:03}%", share / 1000, share % 1000));
        }
        Some(Reserved::Blocks(count)) => words.push(format!("--reserved {count}")),
        _ => {}
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_named_as_they_are_typed() {
        assert_eq!(shell_word(Path::new("a/b.img")), "a/b.img");
        assert_eq!(shell_word(Path::new("-it's x")), "'./-it'\\''s x'");
        assert_eq!(option_words(&Options::new(), &Selection::all(), None), [""; 0]);
        let options = Options::new().uuid(UuidPolicy::Keep).epoch(7).mtime(MtimePolicy::Set).label("a b");
        let options = options.hard_links(HardLinkPolicy::Split).holes(HolePolicy::Keep);
        let words = option_words(&options, &Selection::all(), None).join(" ");
        let times = "--source-date-epoch 7 --mtime set";
        assert_eq!(words, format!("--uuid keep {times} --label 'a b' --hard-links split --holes keep"));
    }
}
