//! A planned extent: where blocks of a file are stored in the output.

use std::fmt;
use std::ops::Range;

use crate::ranges::{BlockPlace, BlockRun, place_of};
use crate::units::OutputBlock;

/// Consecutive logical blocks of a file in consecutive blocks of the output, whichever kind of map names them.
pub(crate) type Extent = BlockRun<ExtentPlace>;

/// Where an extent is stored: a bit that says whether it is unwritten, and the block. There may be many extents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ExtentPlace(u64);

impl ExtentPlace {
    /// The bit of an unwritten extent: no structure has room for block numbers of so many bits.
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
    /// Blocks from `physical` on.
    pub fn new(logical: u32, count: u32, physical: OutputBlock, unwritten: bool) -> Self {
        let flag = if unwritten { ExtentPlace::UNWRITTEN } else { 0 };
        Self::at(logical, count, ExtentPlace(flag | physical.0))
    }

    /// The first of its blocks.
    pub fn physical(&self) -> OutputBlock {
        self.place().block()
    }

    /// Its blocks.
    pub fn blocks(&self) -> Range<u64> {
        let start = self.physical().0;
        start..start + u64::from(self.count)
    }

    /// Allocated, but never written: reads as zero.
    pub fn unwritten(&self) -> bool {
        self.place().is_unwritten()
    }
}

/// Returns the block that stores a logical block of a file; `None` for a hole. The extents are in logical order.
pub(super) fn block_at(extents: &[Extent], logical: u32) -> Option<OutputBlock> {
    place_of(extents, logical).map(ExtentPlace::block)
}

impl fmt::Debug for ExtentPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_unwritten() { ", unwritten" } else { "" };
        write!(f, "{}{state}", self.block())
    }
}
