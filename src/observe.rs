//! Progress, as a callback: the library never prints.

/// The steps that take time, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Reading inodes and directories; counted in inodes.
    Read,
    /// Looking through file content; counted in blocks.
    Survey,
    /// Writing the output; counted in blocks.
    Write,
    /// Reading the output again; counted in inodes.
    Verify,
    /// Comparing the content of two images; counted in bytes.
    Compare,
}

/// Hears of progress, from any thread.
pub trait Observer: Sync {
    /// A stage begins, of `total` units.
    fn begin(&self, stage: Stage, total: u64) {
        let _ = (stage, total);
    }

    /// Some units of the stage are done.
    fn advance(&self, units: u64) {
        let _ = units;
    }
}

/// Hears of nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
