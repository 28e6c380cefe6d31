//! Defines the user options, and applies the options for mtimes to a tree.

use crate::changes::{Changes, Profile};
use crate::error::{Error, Result};
use crate::ondisk::inode::Timestamp;
use crate::remedy::Remedy;
use crate::settings::Settings;
use crate::tree::{Kind, NodeId, Tree};

/// User options for the output.
///
/// Each field can be read, and has a builder method of the same name that sets it:
///
/// ```
/// use ext4_canon::{MtimePolicy, Options, SizePolicy};
///
/// let options = Options::new().epoch(1_735_689_600).mtime(MtimePolicy::Set).size(SizePolicy::Smallest);
/// assert_eq!(options.epoch, Some(1_735_689_600));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The UUID of the output.
    pub uuid: UuidPolicy,
    /// The epoch in seconds since 1970. Mtimes are clamped or set to it. It is also the time of an empty
    /// `lost+found` and of the inodes outside the tree; without an epoch, their time is 0.
    pub epoch: Option<i64>,
    /// The mtimes of the output.
    pub mtime: MtimePolicy,
    /// A new label, of at most 16 bytes.
    pub label: Option<Vec<u8>>,
    /// The treatment of blocks of zeros in regular files.
    pub holes: HolePolicy,
    /// The treatment of hard links.
    pub hard_links: HardLinkPolicy,
    /// The size of the output.
    pub size: SizePolicy,
    /// The settings of the output, such as its block size and its features.
    pub settings: SettingsPolicy,
    /// Changes of single settings, after `settings` is applied.
    pub changes: Changes,
    /// Whether to accept a filesystem whose superblock or journal records errors.
    pub ignore_error_state: bool,
    /// The treatment of boot files that name a UUID, PARTUUID or disk signature that changes.
    pub stale_uuids: StaleUuids,
    /// Whether to derive the GUIDs of a GPT, or the disk signature of an MBR, from the content of the
    /// partitions.
    pub canonical_table: bool,
    /// Whether to zero the bytes that belong neither to a partition nor to the partition table.
    pub zero_gaps: bool,
}

/// The UUID of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UuidPolicy {
    /// A UUID derived from the canonical content (version 8).
    #[default]
    Content,
    /// The UUID of the input.
    Keep,
    /// The given UUID.
    Given([u8; 16]),
}

/// The treatment of boot files that name a UUID, PARTUUID or disk signature that the output no longer has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StaleUuids {
    /// Refuse the image. Places in comments are only warned about.
    #[default]
    Refuse,
    /// Replace the texts by the new values.
    Rewrite,
    /// Warn.
    Allow,
}

/// The mtimes of the output. With each policy, the mtime of an empty `/lost+found` is the epoch, or
/// 1970-01-01 without an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MtimePolicy {
    /// Like `Clamp` if there is an epoch, otherwise like `Keep`.
    #[default]
    Auto,
    /// Mtimes after the epoch become the epoch. The mtime of the root directory always becomes the epoch.
    Clamp,
    /// Mtimes are unchanged.
    Keep,
    /// Every mtime becomes the epoch.
    Set,
}

/// The treatment of blocks of zeros in regular files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HolePolicy {
    /// Blocks of zeros become holes.
    #[default]
    Punch,
    /// Blocks of zeros stay allocated if they are allocated in the input.
    Keep,
}

/// The treatment of hard links: of the names that share an inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HardLinkPolicy {
    /// The names of an inode keep sharing it.
    #[default]
    Keep,
    /// Each name of a file that is not a directory gets a separate inode.
    Split,
    /// Regular files with equal content and equal attributes become one inode.
    Merge,
}

/// The size of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SizePolicy {
    /// The size of the input.
    #[default]
    Keep,
    /// The smallest filesystem that fits.
    Smallest,
    /// Exactly this many bytes, with the largest filesystem that fits.
    Bytes(u64),
    /// This many bytes more than the filesystem of the input.
    More(u64),
}

/// The settings of the output: everything that does not come from the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingsPolicy {
    /// The settings of the input.
    #[default]
    Own,
    /// The settings of a different filesystem.
    Like(Box<Settings>),
    /// The settings of a profile.
    Profile(Profile),
}

impl Options {
    /// Returns the default options: a UUID derived from the content, the mtimes and the size of the input,
    /// and holes instead of blocks of zeros.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the policy for the UUID.
    #[must_use]
    pub fn uuid(mut self, uuid: UuidPolicy) -> Self {
        self.uuid = uuid;
        self
    }

    /// Sets the epoch, in seconds since 1970, to which mtimes are clamped or set.
    #[must_use]
    pub fn epoch(mut self, seconds: i64) -> Self {
        self.epoch = Some(seconds);
        self
    }

    /// Sets the policy for mtimes.
    #[must_use]
    pub fn mtime(mut self, mtime: MtimePolicy) -> Self {
        self.mtime = mtime;
        self
    }

    /// Sets a new label, of at most 16 bytes.
    #[must_use]
    pub fn label(mut self, label: impl Into<Vec<u8>>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Sets the policy for blocks of zeros.
    #[must_use]
    pub fn holes(mut self, holes: HolePolicy) -> Self {
        self.holes = holes;
        self
    }

    /// Sets the policy for hard links.
    #[must_use]
    pub fn hard_links(mut self, hard_links: HardLinkPolicy) -> Self {
        self.hard_links = hard_links;
        self
    }

    /// Sets the size of the output.
    #[must_use]
    pub fn size(mut self, size: SizePolicy) -> Self {
        self.size = size;
        self
    }

    /// Gives the output the settings of a different filesystem: block size, features, journal, and all others.
    /// The output also has the size of that image, unless the size is set.
    #[must_use]
    pub fn like(mut self, settings: Settings) -> Self {
        self.settings = SettingsPolicy::Like(Box::new(settings));
        self
    }

    /// Gives the output the settings of a profile, for the size of the input, unless the size is set.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.settings = SettingsPolicy::Profile(profile);
        self
    }

    /// Changes single settings of the output.
    #[must_use]
    pub fn changes(mut self, changes: Changes) -> Self {
        self.changes = changes;
        self
    }

    /// Sets whether to accept a filesystem that is marked as having errors.
    #[must_use]
    pub fn ignore_error_state(mut self, ignore: bool) -> Self {
        self.ignore_error_state = ignore;
        self
    }

    /// Sets the treatment of boot files that name a UUID that changes.
    #[must_use]
    pub fn stale_uuids(mut self, stale: StaleUuids) -> Self {
        self.stale_uuids = stale;
        self
    }

    /// Sets whether to derive the GUIDs of a GPT from the content.
    #[must_use]
    pub fn canonical_table(mut self, derive: bool) -> Self {
        self.canonical_table = derive;
        self
    }

    /// Sets whether to zero the bytes that belong neither to a partition nor to the partition table.
    #[must_use]
    pub fn zero_gaps(mut self, zero: bool) -> Self {
        self.zero_gaps = zero;
        self
    }

    /// Returns whether the output has the settings of the input.
    pub fn has_own_settings(&self) -> bool {
        self.settings == SettingsPolicy::Own && self.changes == Changes::default()
    }

    /// Returns whether the output is as long as the input, whatever the image is.
    pub fn keeps_length(&self) -> bool {
        self.size == SizePolicy::Keep && !matches!(self.settings, SettingsPolicy::Like(_))
    }

    /// Returns the epoch as a timestamp; 1970-01-01 if there is none.
    pub(crate) fn epoch_time(&self) -> Timestamp {
        Timestamp::from_seconds(self.epoch.unwrap_or(0))
    }

    /// Checks the options as far as possible without an image.
    ///
    /// # Errors
    ///
    /// `Options`, for an invalid label or epoch, or a policy that lacks an epoch.
    pub fn validate(&self) -> Result<()> {
        self.check(true)
    }

    /// Checks that the label is valid, that there is an epoch if the policy for mtimes needs one, and that
    /// inodes can store the epoch. `wide_inodes` is true if inodes have more than 128 bytes.
    pub(crate) fn check(&self, wide_inodes: bool) -> Result<()> {
        if self.label.as_ref().is_some_and(|label| label.len() > 16 || label.contains(&0)) {
            return Err(Error::options(
                "the label has more than 16 bytes, or a NUL byte",
                "give a shorter one",
            ));
        }
        if self.epoch.is_none() && matches!(self.mtime, MtimePolicy::Clamp | MtimePolicy::Set) {
            return Err(Error::options("clamping or setting times needs an epoch", Remedy::GiveEpoch));
        }
        if let Some(epoch) = self.epoch
            && (self.epoch_time().is_ambiguous() || self.epoch_time().encode(wide_inodes).is_none())
        {
            return Err(Error::options(
                format!("the epoch {epoch} is not a time that the inodes of this filesystem can hold"),
                "give one that they can hold",
            ));
        }
        Ok(())
    }
}

/// Applies the options to a tree, and returns the number of inodes whose mtime changed.
pub(crate) fn apply(tree: &mut Tree, options: &Options) -> u64 {
    let epoch = options.epoch_time();
    let policy = match options.mtime {
        MtimePolicy::Auto if options.epoch.is_some() => MtimePolicy::Clamp,
        MtimePolicy::Auto => MtimePolicy::Keep,
        policy => policy,
    };
    let mut changed = 0;
    let (root, lost_found) = (NodeId::ROOT.index(), NodeId::LOST_FOUND.index());
    for (index, node) in tree.nodes.iter_mut().enumerate() {
        let empty_lost_found = index == lost_found && matches!(node.kind, Kind::Directory { count: 0, .. });
        let mtime = match policy {
            _ if empty_lost_found => epoch,
            MtimePolicy::Set => epoch,
            // Tools that fill an image don't copy the mtime of the root directory, so it is the time of the
            // build.
            MtimePolicy::Clamp if index == root => epoch,
            MtimePolicy::Clamp => node.mtime.min(epoch),
            MtimePolicy::Keep | MtimePolicy::Auto => node.mtime,
        };
        if mtime != node.mtime && !empty_lost_found {
            changed += 1;
        }
        node.mtime = mtime;
    }
    changed
}
