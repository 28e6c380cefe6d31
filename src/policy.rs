//! User options, and how they change the tree: no other pass does.

use crate::error::{Error, Result};
use crate::ondisk::inode::Timestamp;
use crate::remedy::Remedy;
use crate::tree::{Kind, NodeId, Tree};

/// User options for the output.
///
/// The fields can be read; methods of the same names set them one after another:
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
    /// Which UUID the filesystem gets.
    pub uuid: UuidPolicy,
    /// Seconds since 1970: the time of what has no time of its own, and the latest of any.
    pub epoch: Option<i64>,
    /// What happens to the times of files.
    pub mtime: MtimePolicy,
    /// A new label, at most 16 bytes.
    pub label: Option<Vec<u8>>,
    /// What happens to blocks of zeros.
    pub holes: HolePolicy,
    /// How large the output is.
    pub size: SizePolicy,
    /// Whether a filesystem is taken whose superblock or journal says that errors were found.
    pub ignore_error_state: bool,
    /// Whether the GUIDs of a GPT are derived from the content of the partitions.
    pub derive_guids: bool,
    /// Whether bytes that belong to no partition become zero.
    pub zero_gaps: bool,
}

/// Which UUID the filesystem gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UuidPolicy {
    /// One derived from the canonical content (version 8).
    #[default]
    Content,
    /// The input's.
    Keep,
    /// This one.
    Given([u8; 16]),
}

/// What happens to the times of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MtimePolicy {
    /// Clamp where an epoch is given, else keep.
    #[default]
    Auto,
    /// No time is later than the epoch, and the root directory's is the epoch.
    Clamp,
    /// Times stay as they are.
    Keep,
    /// Every time is the epoch.
    Set,
}

/// What happens to blocks of zeros in regular files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HolePolicy {
    /// They become holes.
    #[default]
    Punch,
    /// They stay allocated where the input had them allocated.
    Keep,
}

/// How large the output is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SizePolicy {
    /// As large as the input.
    #[default]
    Keep,
    /// The smallest filesystem in which everything fits.
    Smallest,
    /// So many bytes, and the largest filesystem in them.
    Bytes(u64),
    /// So many bytes more than the filesystem of the input has.
    More(u64),
}

impl Options {
    /// The defaults: a UUID derived from content, times and size of the input, holes for zeros.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets which UUID the filesystem gets.
    #[must_use]
    pub fn uuid(mut self, uuid: UuidPolicy) -> Self {
        self.uuid = uuid;
        self
    }

    /// Sets the time, in seconds since 1970, that times are clamped to.
    #[must_use]
    pub fn epoch(mut self, seconds: i64) -> Self {
        self.epoch = Some(seconds);
        self
    }

    /// Sets what happens to the times of files.
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

    /// Sets what happens to blocks of zeros.
    #[must_use]
    pub fn holes(mut self, holes: HolePolicy) -> Self {
        self.holes = holes;
        self
    }

    /// Sets the size of the output.
    #[must_use]
    pub fn size(mut self, size: SizePolicy) -> Self {
        self.size = size;
        self
    }

    /// Sets whether a filesystem is accepted that is marked as having errors.
    #[must_use]
    pub fn ignore_error_state(mut self, ignore: bool) -> Self {
        self.ignore_error_state = ignore;
        self
    }

    /// Sets whether the GUIDs of a GPT are derived from content.
    #[must_use]
    pub fn derive_guids(mut self, derive: bool) -> Self {
        self.derive_guids = derive;
        self
    }

    /// Sets whether bytes that belong to no partition become zero.
    #[must_use]
    pub fn zero_gaps(mut self, zero: bool) -> Self {
        self.zero_gaps = zero;
        self
    }

    /// The epoch as a time; 1970 when there is none.
    pub(crate) fn epoch_time(&self) -> Timestamp {
        Timestamp::from_seconds(self.epoch.unwrap_or(0))
    }

    /// Checks that there are images that could have these options.
    ///
    /// # Errors
    ///
    /// `Options`, for an impossible label or epoch, or a policy that lacks an epoch.
    pub fn validate(&self) -> Result<()> {
        self.check(true)
    }

    /// Checks the options against each other and against the times that inodes of this size can hold.
    pub(crate) fn check(&self, wide_inodes: bool) -> Result<()> {
        if self.label.as_ref().is_some_and(|label| label.len() > 16 || label.contains(&0)) {
            return Err(Error::options(
                "the label has more than 16 bytes, or a NUL byte",
                "give a shorter one",
            ));
        }
        if self.epoch.is_none() && matches!(self.mtime, MtimePolicy::Clamp | MtimePolicy::Set) {
            return Err(Error::options("to clamp or set times takes an epoch", Remedy::GiveEpoch));
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

/// Applies the options to a tree; returns how many inodes got another time.
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
            // No way of filling an image copies the root directory: its time is when that was done.
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
