//! Reports progress through callbacks: the library never prints.

/// A stage of the work, for which progress is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Reading inodes and directories, counted in inodes.
    Read,
    /// Surveying file content, counted in blocks.
    Survey,
    /// Writing the output, counted in blocks.
    Write,
    /// Verifying the output, counted in inodes.
    Verify,
    /// Comparing the content of two images, counted in bytes.
    Compare,
}

/// An observer of progress. Its methods can be called from any thread.
pub trait Observer: Sync {
    /// Reports the start of a stage of `total` units.
    fn begin(&self, stage: Stage, total: u64) {
        let _ = (stage, total);
    }

    /// Reports that `units` more units of the stage are done.
    fn advance(&self, units: u64) {
        let _ = units;
    }
}

/// An observer that ignores all progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
