//! Defines planned extents: runs of a file's blocks in the output.

use std::fmt;
use std::ops::Range;

use crate::ranges::{BlockPlace, BlockRun, place_of};
use crate::units::OutputBlock;

/// A range of a file's logical blocks that is contiguous in the output, for extent trees and block maps.
pub(crate) type Extent = BlockRun<ExtentPlace>;

/// The first block of an extent, and a bit for unwritten extents. Both share 64 bits, since there can be many
/// extents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ExtentPlace(u64);

impl ExtentPlace {
    /// The bit for unwritten extents. Block numbers never use it.
    const UNWRITTEN: u64 = 1 << 63;

    fn block(self) -> OutputBlock {
        OutputBlock(self.0 & !Self::UNWRITTEN)
    }

    fn is_unwritten(self) -> bool {
        self.0 & Self::UNWRITTEN != 0
    }
}

impl BlockPlace for ExtentPlace {
    fn later(self, blocks: u32) -> Option<Self> {
        Some(Self(self.0 + u64::from(blocks)))
    }
}

impl Extent {
    /// Creates an extent that starts at `physical`.
    pub fn new(logical: u32, count: u32, physical: OutputBlock, unwritten: bool) -> Self {
        let flag = if unwritten { ExtentPlace::UNWRITTEN } else { 0 };
        Self::at(logical, count, ExtentPlace(flag | physical.0))
    }

    /// Returns the first block.
    pub fn physical(&self) -> OutputBlock {
        self.place().block()
    }

    /// Returns the range of blocks in the output.
    pub fn blocks(&self) -> Range<u64> {
        let start = self.physical().0;
        start..start + u64::from(self.count)
    }

    /// Returns whether the extent is unwritten, which means allocated and read as zeros.
    pub fn unwritten(&self) -> bool {
        self.place().is_unwritten()
    }
}

/// Returns the block that stores a logical block of a file, or `None` for a hole. The extents must be in
/// logical order.
pub(super) fn block_at(extents: &[Extent], logical: u32) -> Option<OutputBlock> {
    place_of(extents, logical).map(ExtentPlace::block)
}

impl fmt::Debug for ExtentPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.is_unwritten() { ", unwritten" } else { "" };
        write!(f, "{}{suffix}", self.block())
    }
}
