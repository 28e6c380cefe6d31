//! Reads one of the images in a comparison.

use crate::content::FileContent;
use crate::error::Result;
use crate::observe::Observer;
use crate::ondisk::features::{Compat, Features};
use crate::pipeline::{self, Completed, Read};
use crate::plan::{self, Numbering};
use crate::policy::Options;
use crate::read::Reading;
use crate::recover::Recovery;
use crate::source::Source;
use crate::target::Target;
use crate::tree::NodeId;
use crate::view::View;

/// One of the images in a comparison, with its tree as changed by the options.
#[derive(Debug)]
pub(super) struct ComparedImage<'s, 'a> {
    /// The blocks of the image.
    pub source: &'s Source<'a>,
    /// The result of recovery.
    pub recovery: &'s Recovery<'a>,
    /// The tree, as changed by the options.
    pub reading: Reading,
    /// The settings of the canonical form, with its final size.
    pub target: Target,
    /// The options, adjusted for this image.
    pub options: Options,
    /// The features of the canonical form.
    pub features: Features,
    /// The canonical inode numbers; `None` without `stable_inodes`, because they are not compared then.
    pub numbering: Option<Numbering>,
}

impl<'s, 'a> ComparedImage<'s, 'a> {
    /// Completes an image that was read.
    pub(super) fn new(
        source: &'s Source<'a>,
        recovery: &'s Recovery<'a>,
        read: Read,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let Completed { options, reading, target, .. } = read.completed(source)?;
        let target = pipeline::sized(source, &reading, target, &options, observer)?;
        let features = plan::features(&target, &reading.tree)?;
        let numbering = if features.has(Compat::STABLE_INODES) {
            // EA inodes get the remaining numbers, so their count does not affect the numbers of other
            // inodes.
            Some(Numbering::new(&target.geometry, &reading.tree, &target.specials, &reading.inodes, 0))
        } else {
            None
        };
        Ok(Self { source, recovery, reading, target, options, features, numbering })
    }

    /// Returns the tree together with its image.
    pub(super) fn view(&self) -> View<'_, 'a> {
        View { source: self.source, tree: &self.reading.tree }
    }

    /// Returns the content of a regular file.
    pub(super) fn file(&self, id: NodeId) -> Option<FileContent<'_, 'a>> {
        FileContent::of(self.view(), id)
    }
}
