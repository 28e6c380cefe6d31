//! Reads the MMP block (multiple mount protection).

use super::image::Source;
use crate::error::{Location, Problem, Result, Structure, shown};
use crate::ondisk::features::Incompat;
use crate::ondisk::mmp::{self, MmpStruct};
use crate::ondisk::view;
use crate::units::BlockNr;

/// The content of the MMP block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mmp {
    /// The number of the block.
    pub block: BlockNr,
    /// `mmp_seq`.
    pub seq: u32,
    /// The name of the host that last wrote the block, escaped for messages.
    pub node: String,
}

impl Source<'_> {
    /// Returns the MMP block, or `None` without the `mmp` feature.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the block is invalid.
    pub fn mmp(&self) -> Result<Option<Mmp>> {
        if !self.features().has(Incompat::MMP) {
            return Ok(None);
        }
        let block = BlockNr(self.superblock.s_mmp_block.get());
        if !self.has_blocks(block, 1) {
            let expected = "a block of the filesystem";
            return Err(Location::of(Structure::Superblock).value("s_mmp_block", block.0, expected));
        }
        let at = || Location::of(Structure::Mmp).block(block);
        let bytes = self.checked_block(block);
        let Some(mmp) = view::<MmpStruct>(bytes) else { return Err(at().wrong("is cut short")) };
        let magic = mmp.mmp_magic.get();
        if magic != mmp::MAGIC {
            return Err(at().corrupt(Problem::Magic { found: magic.into(), expected: mmp::MAGIC.into() }));
        }
        if let Some(expected) = self.checksums.mmp(bytes) {
            let found = mmp.mmp_checksum.get();
            if found != expected {
                return Err(at().corrupt(Problem::Checksum { found, expected }));
            }
        }
        let name = mmp.mmp_nodename.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(Some(Mmp { block, seq: mmp.mmp_seq.get(), node: shown(name) }))
    }
}
