//! Defines separate types for numbers that must not be confused: blocks of the input, blocks of the output,
//! inodes and groups.
//!
//! Images are not trusted, so a value of these types can be out of range. `Geometry` and `Source` check the
//! range. Ranges of blocks are ranges of plain numbers.

use std::fmt;
use std::ops::Add;

/// A block of an input image, counted in blocks from the start of the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockNr(pub u64);

/// A block of the output image, counted in blocks from the start of the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputBlock(pub u64);

/// A block of either image, for structures that contain block numbers.
pub trait AnyBlock: Copy {
    /// Returns the block number as stored in on-disk structures.
    fn number(self) -> u64;
}

/// An inode number; the first inode is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeNr(pub u32);

/// The number of a block group; the first group is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupNr(pub u32);

impl InodeNr {
    /// The bad-blocks inode.
    pub const BAD_BLOCKS: Self = Self(1);
    /// The root directory.
    pub const ROOT: Self = Self(2);
    /// The user quota file.
    pub const USER_QUOTA: Self = Self(3);
    /// The group quota file.
    pub const GROUP_QUOTA: Self = Self(4);
    /// The boot-loader inode.
    pub const BOOT_LOADER: Self = Self(5);
    /// The resize inode.
    pub const RESIZE: Self = Self(7);
    /// The journal inode.
    pub const JOURNAL: Self = Self(8);
}

/// Implements the operations of both block types.
macro_rules! blocks {
    ($($block:ident)*) => {
        $(impl AnyBlock for $block {
            fn number(self) -> u64 {
                self.0
            }
        }

        impl Add<u64> for $block {
            type Output = Self;

            /// Returns the block that is `blocks` blocks later in the same image.
            fn add(self, blocks: u64) -> Self {
                Self(self.0 + blocks)
            }
        })*
    };
}

blocks!(BlockNr OutputBlock);

/// Implements `Display` as the plain number.
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

/// Converts a number to another integer type. `reason` says why the number fits.
///
/// # Panics
///
/// Panics if the number does not fit. That is a bug, and a panic is better than a truncated number.
#[track_caller]
pub(crate) fn fits<T, U: TryInto<T>>(value: U, reason: &str) -> T {
    value.try_into().unwrap_or_else(|_| panic!("a number does not fit, although {reason}"))
}

/// Returns the number of clusters that contain these runs of logical blocks, which must be in logical order.
pub(crate) fn count_clusters(runs: impl Iterator<Item = (u32, u32)>, blocks_per_cluster: u64) -> u64 {
    let (mut clusters, mut next) = (0, 0);
    for (logical, count) in runs {
        let end = (u64::from(logical) + u64::from(count)).div_ceil(blocks_per_cluster);
        clusters += end - next.max(u64::from(logical) / blocks_per_cluster);
        next = end;
    }
    clusters
}
