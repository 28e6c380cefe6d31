//! What the user picks: the only pass that changes a tree.

use crate::error::{Error, Result};
use crate::ondisk::inode::Timestamp;
use crate::tree::{Kind, NodeId, Tree};

/// What the command line or SOURCE_DATE_EPOCH says of the output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
}

/// Which UUID the filesystem gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
pub enum HolePolicy {
    /// They become holes.
    #[default]
    Punch,
    /// They stay allocated where the input had them allocated.
    Keep,
}

/// How large the output is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// The epoch as a time; 1970 when there is none.
    pub fn epoch_time(&self) -> Timestamp {
        Timestamp::from_seconds(self.epoch.unwrap_or(0))
    }

    /// Checks the options against each other and against what inodes of this size can hold.
    ///
    /// # Errors
    ///
    /// `Options`, in words for the command line.
    pub fn check(&self, wide_inodes: bool) -> Result<()> {
        if self.label.as_ref().is_some_and(|label| label.len() > 16 || label.contains(&0)) {
            return Err(Error::Options("the label has more than 16 bytes, or a NUL byte".to_owned()));
        }
        if self.epoch.is_none() && matches!(self.mtime, MtimePolicy::Clamp | MtimePolicy::Set) {
            return Err(Error::Options(
                "--mtime clamp and --mtime set need --source-date-epoch or SOURCE_DATE_EPOCH".to_owned(),
            ));
        }
        if let Some(epoch) = self.epoch
            && (self.epoch_time().is_ambiguous() || self.epoch_time().encode(wide_inodes).is_none())
        {
            return Err(Error::Options(format!(
                "the epoch {epoch} is not a time that the inodes of this filesystem can hold"
            )));
        }
        Ok(())
    }
}

/// Applies the options to a tree; returns how many inodes got another time.
pub fn apply(tree: &mut Tree, options: &Options) -> u64 {
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
