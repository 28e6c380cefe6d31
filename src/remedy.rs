//! Defines the kinds of remedies for errors. Advice for one specific error is in the code that creates the
//! error.
//!
//! In the library, the texts of remedies name no options of the `ext4-canon` command. If the command line has
//! an option for a remedy, it replaces the text of that remedy with its own text.

use std::fmt;

/// A remedy for an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// Run e2fsck on the filesystem.
    Fsck {
        /// The instruction, which includes running e2fsck.
        words: &'static str,
        /// The offset of the filesystem on the disk, in bytes; `None` if it is the whole image.
        offset: Option<u64>,
    },
    /// Run e2fsck, or set [`Options::ignore_error_state`](crate::Options::ignore_error_state).
    AcceptErrorState {
        /// Like [`Self::Fsck`].
        offset: Option<u64>,
    },
    /// Make the image larger.
    Enlarge {
        /// A sufficient size in bytes; `None` if it is unknown.
        bytes: Option<u64>,
        /// Whether inodes are missing, which only additional block groups can provide.
        for_inodes: bool,
        /// Whether the filesystem is in a partition, which has to be enlarged first.
        in_partition: bool,
    },
    /// Resize the image: `bytes` is a size that is enough. A larger size can fail again, because the metadata
    /// of additional groups can fragment the free space.
    Resize {
        /// The size in bytes.
        bytes: u64,
        /// Like [`Self::Enlarge`].
        in_partition: bool,
    },
    /// Recreate the image with more inodes.
    MoreInodes,
    /// Make the image or its block groups larger.
    EnlargeGroups,
    /// Choose a larger size, or the smallest size that fits.
    LargerSize,
    /// Keep the size of the filesystem.
    KeepSize,
    /// Keep the size of the filesystem, or cut off the bytes past its end.
    KeepSizeOrCut,
    /// Keep the settings of the input.
    KeepSettings,
    /// Choose settings for a smaller filesystem.
    SmallerSettings,
    /// Set a feature, or clear the one that needs it.
    SetFeature {
        /// The missing feature.
        missing: &'static str,
        /// The feature that needs it.
        needed_by: &'static str,
    },
    /// Clear one of two features.
    ClearFeature([&'static str; 2]),
    /// Choose a different value for a setting, which is named as the option of the command line.
    OtherValue(&'static str),
    /// Set a feature that a requested value needs, or request no value.
    FeatureForValue {
        /// The missing feature.
        missing: &'static str,
        /// The setting, by the name of its command-line option without dashes at the start.
        setting: &'static str,
    },
    /// Keep the UUID.
    KeepUuid,
    /// Keep the hard links.
    KeepHardLinks,
    /// Keep the GUIDs or the signature of the partition table.
    KeepTable,
    /// Keep the identities, rewrite the files that name them, or allow them to be stale.
    StaleUuids {
        /// Whether the identity is in the partition table.
        of_table: bool,
    },
    /// Like [`Self::StaleUuids`], for a text that can't be rewritten.
    StaleText {
        /// Whether the identity is in the partition table.
        of_table: bool,
    },
    /// Keep the bytes between partitions.
    KeepGaps,
    /// Set an epoch.
    GiveEpoch,
    /// Specify the device of the external journal.
    GiveJournal,
    /// Specify no external journal.
    OmitJournal,
    /// Choose one filesystem.
    ChooseOne,
    /// Choose one of these partitions.
    ChooseAmong(Vec<String>),
    /// Choose a partition by its number.
    ChooseByNumber,
    /// Choose no partition, or choose a filesystem by its offset.
    ChooseNone,
    /// Choose the filesystem at offset 0, or a partition.
    ChooseOffsetOrPartition,
    /// Specify a different image, or the offset of the filesystem in this one.
    GiveOffset,
    /// Specify an offset and a size within the image.
    CorrectOffset,
    /// Specify a different disk, the offset of a filesystem, or the sector size.
    GiveOffsetOrSectorSize,
    /// Specify the sector size.
    GiveSectorSize,
    /// Recreate the partition table, or specify the offset of a filesystem.
    RecreateTable,
    /// Copy the disk again if the copy was truncated; otherwise like [`Self::RecreateTable`].
    CopyDiskAgain,
    /// Any other instruction.
    Other(&'static str),
}

impl Remedy {
    /// The remedy of running e2fsck, without further advice.
    pub(crate) const FSCK: Self = Self::fsck("run e2fsck -f on the image");

    /// Creates the remedy of running e2fsck, with a specific instruction.
    pub(crate) const fn fsck(words: &'static str) -> Self {
        Self::Fsck { words, offset: None }
    }

    /// Returns the same remedy for a filesystem at an offset on a disk.
    pub(crate) fn in_partition(self, start: u64) -> Self {
        match self {
            Self::Fsck { words, .. } => Self::Fsck { words, offset: Some(start) },
            Self::AcceptErrorState { .. } => Self::AcceptErrorState { offset: Some(start) },
            Self::Enlarge { bytes, for_inodes, .. } => {
                Self::Enlarge { bytes, for_inodes, in_partition: true }
            }
            Self::Resize { bytes, .. } => Self::Resize { bytes, in_partition: true },
            other => other,
        }
    }

    /// Returns the remedy as text. If `option` returns a text, that text replaces the library's text. A
    /// command line uses this to name its options.
    pub fn in_words(&self, option: impl Fn(&Self) -> Option<String>) -> String {
        let words = option(self).unwrap_or_else(|| self.own_words());
        match self {
            Self::Fsck { offset: Some(offset), .. } | Self::AcceptErrorState { offset: Some(offset) } => {
                format!("{words}; name the filesystem IMAGE?offset={offset} for e2fsck")
            }
            _ => words,
        }
    }

    fn own_words(&self) -> String {
        let words = match self {
            Self::Fsck { words, .. } | Self::Other(words) => words,
            Self::AcceptErrorState { .. } => "run e2fsck -f on the image, or accept its error state",
            Self::Enlarge { bytes, for_inodes, in_partition } => {
                let size = match bytes {
                    Some(bytes) if *for_inodes => {
                        format!(" to {bytes} bytes or more (inodes are added per block group),")
                    }
                    Some(bytes) => format!(" to {bytes} bytes,"),
                    None => String::new(),
                };
                return format!("make the {}{size} and try again", larger(*in_partition));
            }
            Self::Resize { bytes, in_partition } => {
                return format!(
                    "make the {} or exactly {bytes} bytes large, and try again",
                    larger(*in_partition)
                );
            }
            Self::MoreInodes => "recreate the image with more inodes (mke2fs -N), and try again",
            Self::EnlargeGroups => "make the image larger, or make it with larger groups",
            Self::LargerSize => "ask for a larger size, or for the smallest",
            Self::KeepSize => "keep the size",
            Self::KeepSizeOrCut => "keep the size, or cut these bytes off",
            Self::KeepSettings => "keep the settings of the input",
            Self::SmallerSettings => "use the settings of a smaller filesystem",
            Self::SetFeature { .. }
            | Self::ClearFeature(_)
            | Self::OtherValue(_)
            | Self::FeatureForValue { .. }
            | Self::StaleUuids { .. }
            | Self::StaleText { .. } => return self.about_settings(),
            Self::KeepUuid => "keep the UUID",
            Self::KeepHardLinks => "keep the hard links",
            Self::KeepTable => "keep the partition table",
            Self::KeepGaps => "keep the bytes between partitions",
            Self::GiveEpoch => "give an epoch",
            Self::GiveJournal => "give that device",
            Self::OmitJournal => "give no journal device",
            Self::ChooseOne => "choose one of them",
            Self::ChooseAmong(names) => return format!("choose one of {}", names.join(", ")),
            Self::ChooseByNumber => "choose one by its number",
            Self::ChooseNone => "choose no partition, or give the offset of the filesystem",
            Self::ChooseOffsetOrPartition => "give the offset 0 for the filesystem, or choose a partition",
            Self::GiveOffset => {
                "give the image of a filesystem or of a disk with partitions, or the offset of the filesystem"
            }
            Self::CorrectOffset => "give an offset and a size within the image",
            Self::GiveOffsetOrSectorSize => {
                "give a disk with an ext filesystem, or the offset of one, or the sector size if it is not 512"
            }
            Self::GiveSectorSize => "give the sector size",
            Self::RecreateTable => {
                "recreate the partition table, or give the offset of a filesystem, if it is known"
            }
            Self::CopyDiskAgain => COPY_AGAIN,
        };
        words.to_owned()
    }

    /// Returns the text of a remedy that changes the requested settings or the treatment of stale UUIDs.
    fn about_settings(&self) -> String {
        let words = |setting: &str| setting.replace('-', " ");
        match self {
            Self::SetFeature { missing, needed_by } => {
                format!("set the {missing} feature, or clear {needed_by}")
            }
            Self::ClearFeature([one, other]) => format!("clear {one} or {other}"),
            Self::OtherValue(setting) => format!("choose a different value: {}", words(setting)),
            Self::FeatureForValue { missing, setting } => {
                format!("set the {missing} feature, or choose no value: {}", words(setting))
            }
            Self::StaleUuids { of_table } => stale(*of_table, ", rewrite the files"),
            Self::StaleText { of_table } => stale(*of_table, ""),
            _ => "choose different settings".to_owned(),
        }
    }
}

const COPY_AGAIN: &str = "copy all of the image again if it was cut short; otherwise recreate the partition table, \
                          or give the offset of a filesystem, if it is known";

fn stale(of_table: bool, rewrite: &str) -> String {
    let what = if of_table { "table" } else { "UUID" };
    format!("keep the {what}{rewrite}, or allow stale UUIDs")
}

fn larger(in_partition: bool) -> &'static str {
    if in_partition { "partition larger, and the filesystem with resize2fs," } else { "image larger," }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_words(|_| None))
    }
}

impl From<&'static str> for Remedy {
    fn from(words: &'static str) -> Self {
        Self::Other(words)
    }
}
