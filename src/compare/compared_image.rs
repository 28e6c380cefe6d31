//! An image as it is compared.

use crate::content::FileContent;
use crate::error::Result;
use crate::observe::Observer;
use crate::ondisk::features::{Compat, Features};
use crate::pipeline::Read;
use crate::plan::{self, Numbering};
use crate::policy::Options;
use crate::read::Reading;
use crate::recover::Recovery;
use crate::source::Source;
use crate::tree::NodeId;
use crate::view::View;

/// An image as it is compared: its blocks, and the tree with the options applied.
#[derive(Debug)]
pub(super) struct ComparedImage<'s, 'a> {
    /// Its blocks.
    pub source: &'s Source<'a>,
    /// What recovery found.
    pub recovery: &'s Recovery<'a>,
    /// The tree, with the options applied.
    pub reading: Reading,
    /// The options as this image needs them.
    pub options: Options,
    /// The features of its canonical form.
    pub features: Features,
    /// The numbers of inodes, with `stable_inodes`, where they count.
    pub numbering: Option<Numbering>,
}

impl<'s, 'a> ComparedImage<'s, 'a> {
    /// Reads an image, with the options applied.
    pub(super) fn new(
        source: &'s Source<'a>,
        recovery: &'s Recovery<'a>,
        options: &Options,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let Read { options, reading, .. } = Read::of(source, recovery, options, observer)?;
        let features = plan::features(source, &reading.tree)?;
        let numbering = if features.has(Compat::STABLE_INODES) {
            // Values of xattrs get what is left, so that their number does not matter.
            let Reading { tree, specials, inodes, .. } = &reading;
            Some(Numbering::new(&source.geometry, tree, specials, inodes, 0))
        } else {
            None
        };
        Ok(Self { source, recovery, reading, options, features, numbering })
    }

    /// The tree and its image.
    pub(super) fn view(&self) -> View<'_, 'a> {
        View { source: self.source, tree: &self.reading.tree }
    }

    /// The content of a regular file.
    pub(super) fn file(&self, id: NodeId) -> Option<FileContent<'_, 'a>> {
        FileContent::of(self.view(), id)
    }
}
