//! Numbers that must not be mixed up: blocks of an input, blocks of an output, inodes and groups.
//!
//! What is read comes from untrusted images. A value of one of these types says what it counts, not
//! that it is in range; `Geometry` and `Source` check that. Ranges of blocks are plain numbers.

use std::fmt;
use std::ops::Add;

/// A block of an image that is read, counted from the start of the image in units of the block size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockNr(pub u64);

/// A block of the image that is planned and written, counted in the same way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputBlock(pub u64);

/// A block of either image: what can be encoded into a structure.
pub trait AnyBlock: Copy {
    /// The number that structures hold.
    fn number(self) -> u64;
}

/// An inode number; the first inode is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeNr(pub u32);

/// A block group; the first is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupNr(pub u32);

impl InodeNr {
    /// The bad-blocks inode.
    pub const BAD_BLOCKS: Self = Self(1);
    /// The root directory.
    pub const ROOT: Self = Self(2);
    /// The quota file of users.
    pub const USER_QUOTA: Self = Self(3);
    /// The quota file of groups.
    pub const GROUP_QUOTA: Self = Self(4);
    /// The boot-loader inode.
    pub const BOOT_LOADER: Self = Self(5);
    /// The resize inode.
    pub const RESIZE: Self = Self(7);
    /// The journal.
    pub const JOURNAL: Self = Self(8);
}

/// What both kinds of blocks have in common.
macro_rules! blocks {
    ($($block:ident)*) => {
        $(impl AnyBlock for $block {
            fn number(self) -> u64 {
                self.0
            }
        }

        impl Add<u64> for $block {
            type Output = Self;

            /// The block that comes this many blocks later in the same image.
            fn add(self, blocks: u64) -> Self {
                Self(self.0 + blocks)
            }
        })*
    };
}

blocks!(BlockNr OutputBlock);

/// Shows a number as it is.
macro_rules! shown_as_numbers {
    ($($number:ident)*) => {
        $(impl fmt::Display for $number {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        })*
    };
}

shown_as_numbers!(BlockNr OutputBlock InodeNr GroupNr);

/// A number as another type, which it fits for the reason that is given.
///
/// # Panics
///
/// Where it does not fit after all: a defect of this program, which must not become a different number.
#[track_caller]
pub(crate) fn fits<T, U: TryInto<T>>(value: U, reason: &str) -> T {
    value.try_into().unwrap_or_else(|_| panic!("a number does not fit, although {reason}"))
}

/// The clusters that runs of logical blocks, in their order, lie in.
pub(crate) fn count_clusters(runs: impl Iterator<Item = (u32, u32)>, blocks_per_cluster: u64) -> u64 {
    let (mut clusters, mut next) = (0, 0);
    for (logical, count) in runs {
        let end = (u64::from(logical) + u64::from(count)).div_ceil(blocks_per_cluster);
        clusters += end - next.max(u64::from(logical) / blocks_per_cluster);
        next = end;
    }
    clusters
}
