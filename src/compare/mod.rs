//! Two images side by side: whether their canonical forms are equal, and if not, why not.
//!
//! Neither form is made. They are equal exactly where trees and settings are: the output is a
//! function of these and of the options.

mod attributes;
mod content;
mod ignored;
mod setting;
mod walk;

pub use ignored::{Detail, Ignored};
pub use setting::Setting;

use rayon::prelude::*;

use crate::content::FileContent;
use crate::error::{self, Error};
use crate::observe::{Observer, Stage};
use crate::ondisk::features::{Compat, Features};
use crate::pipeline::Read;
use crate::plan::{self, Numbering};
use crate::policy::Options;
use crate::read::Reading;
use crate::recover::{self, Recovery};
use crate::source::{Input, Source};
use crate::tree::NodeId;
use content::Extent;
use walk::Step;

/// What differs between two images.
#[derive(Debug, Default)]
pub struct Comparison {
    /// What differs between the trees, by path.
    pub differences: Vec<Difference>,
    /// What differs between the filesystems, so that even equal trees have no equal images.
    pub settings: Vec<Setting>,
    /// What differs between the images, but not between their canonical forms.
    pub ignored: Vec<Ignored>,
    /// Whether it was looked for.
    pub looked_at_ignored: bool,
    /// Paths that both trees have.
    pub paths: u64,
    /// Bytes of content that were compared.
    pub bytes: u64,
    /// What is worth telling of each image, in words.
    pub warnings: [Vec<String>; 2],
}

impl Comparison {
    /// Whether the canonical forms are equal.
    pub fn is_match(&self) -> bool {
        self.differences.is_empty() && self.settings.is_empty()
    }
}

/// What to look at besides what differs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra {
    /// What differs but does not matter.
    pub ignored: bool,
    /// The bytes of files that differ in content and have no more bytes than this.
    pub texts: Option<usize>,
}

/// A difference of two trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The path, escaped like names; of one with more than 4096 bytes, the end.
    pub path: String,
    /// What differs.
    pub attribute: Attribute,
    /// The full name of the xattr.
    pub name: Option<String>,
    /// The values on both sides, in words; `None` where there is none.
    pub values: [Option<String>; 2],
    /// How the bytes differ, where they do.
    pub content: Option<ContentDifference>,
    /// All bytes of both files, where size or content differs and they were asked for.
    pub texts: Option<Box<[Vec<u8>; 2]>>,
}

/// What can differ of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attribute {
    /// Whether there is such a path. The values are types.
    Presence,
    /// The type.
    Type,
    /// The permission bits.
    Mode,
    /// The owner.
    Uid,
    /// The group.
    Gid,
    /// The project id.
    Project,
    /// The size in bytes.
    Size,
    /// The bytes, as far as both sides have them.
    Content,
    /// Which blocks are holes, where that counts.
    Allocation,
    /// The target of a symlink.
    Target,
    /// The numbers of a device.
    Device,
    /// An xattr.
    Xattr,
    /// The time.
    Mtime,
    /// The flags.
    Flags,
    /// Which other path is the same inode. The values are the first such paths.
    HardLink,
    /// The number of the inode, where that counts.
    Inode,
    /// The hash of an encrypted name.
    NameHash,
}

impl Attribute {
    /// The name that reports give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Type => "type",
            Self::Mode => "mode",
            Self::Uid => "uid",
            Self::Gid => "gid",
            Self::Project => "project",
            Self::Size => "size",
            Self::Content => "content",
            Self::Allocation => "allocation",
            Self::Target => "target",
            Self::Device => "device",
            Self::Xattr => "xattr",
            Self::Mtime => "mtime",
            Self::Flags => "flags",
            Self::HardLink => "hardlink",
            Self::Inode => "inode",
            Self::NameHash => "name hash",
        }
    }
}

/// How the bytes of two files differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentDifference {
    /// The offset of the first byte that differs.
    pub first: u64,
    /// The number of bytes that differ.
    pub bytes: u64,
}

/// An error of one of two images.
#[derive(Debug)]
pub struct SideError {
    /// Whose: 0 or 1.
    pub side: usize,
    /// The error.
    pub error: Error,
}

/// An image as it is compared: its blocks, and the tree with the options applied.
#[derive(Debug)]
struct Side<'s, 'a> {
    source: &'s Source<'a>,
    recovery: &'s Recovery<'a>,
    reading: Reading,
    /// The options as this image needs them.
    options: Options,
    /// The features of its canonical form.
    features: Features,
    /// The numbers of inodes, with `stable_inodes`, where they count.
    numbering: Option<Numbering>,
}

impl<'s, 'a> Side<'s, 'a> {
    fn new(
        source: &'s Source<'a>,
        recovery: &'s Recovery<'a>,
        options: &Options,
        observer: &dyn Observer,
    ) -> error::Result<Self> {
        let Read { options, reading, .. } = Read::of(source, recovery, options, observer)?;
        let features = plan::features(source, &reading.tree)?;
        let numbering = if features.compat.contains(Compat::STABLE_INODES) {
            // Values of xattrs get what is left, so that their number does not matter.
            let before = (&reading.inodes[..], 0);
            Some(Numbering::new(&source.geometry, &reading.tree, &reading.specials, before))
        } else {
            None
        };
        Ok(Self { source, recovery, reading, options, features, numbering })
    }

    fn file(&self, id: NodeId) -> Option<FileContent<'_, 'a>> {
        FileContent::of(self.source, &self.reading.tree, id)
    }
}

/// Does the same for both sides, at the same time.
fn both<T: Send>(work: impl Fn(usize) -> error::Result<T> + Sync) -> Result<[T; 2], SideError> {
    let side = |side| work(side).map_err(|error| SideError { side, error });
    let (one, other) = rayon::join(|| side(0), || side(1));
    Ok([one?, other?])
}

/// Compares two images.
///
/// Neither canonical form is made, so none has to fit into its image.
///
/// # Errors
///
/// See [`Error`], with the side that it is about.
pub fn compare(
    inputs: [&Input<'_>; 2],
    options: &Options,
    extra: Extra,
    observer: &dyn Observer,
) -> Result<Comparison, SideError> {
    let recoveries = both(|side| recover::recover(inputs[side]))?;
    let sources = both(|side| Source::open(inputs[side].clone(), &recoveries[side].overlay))?;
    let sides = both(|side| Side::new(&sources[side], &recoveries[side], options, observer))?;
    let steps = walk::walk([&sides[0].reading.tree, &sides[1].reading.tree]);
    let (differences, bytes) = tree_differences(&sides, &steps, extra.texts, observer);
    let mut comparison = Comparison {
        differences,
        settings: setting::differences(&sides),
        paths: steps.iter().filter(|step| step.pair().is_some()).count() as u64,
        bytes,
        warnings: [0, 1].map(|side| sides[side].reading.warnings.clone()),
        ..Comparison::default()
    };
    if extra.ignored {
        comparison.ignored = ignored::find(&sides, &steps);
        comparison.looked_at_ignored = true;
    }
    Ok(comparison)
}

/// What differs of the trees, in the order of the steps, and how many bytes were compared.
fn tree_differences(
    sides: &[Side<'_, '_>; 2],
    steps: &[Step<'_>],
    texts: Option<usize>,
    observer: &dyn Observer,
) -> (Vec<Difference>, u64) {
    let files: Vec<_> = steps.iter().filter(|step| step.first).collect();
    let extents: Vec<Extent> = (0..files.len())
        .into_par_iter()
        .with_min_len(256)
        .flat_map_iter(|index| content::extents(sides, index, files[index]))
        .collect();
    observer.begin(Stage::Compare, extents.iter().map(Extent::bytes).sum());
    let found: Vec<_> = extents
        .par_iter()
        .with_min_len(8)
        .filter_map(|extent| {
            let found = content::compare(sides, files[extent.file], extent);
            observer.advance(extent.bytes());
            found.map(|found| (extent.file, found))
        })
        .collect();
    let mut contents: Vec<Option<ContentDifference>> = vec![None; files.len()];
    for (file, found) in found {
        let slot = contents[file].get_or_insert(ContentDifference { first: found.first, bytes: 0 });
        slot.first = slot.first.min(found.first);
        slot.bytes += found.bytes;
    }
    let content_of = |step: &Step<'_>| {
        let file = files.binary_search_by_key(&step.index, |file| file.index).ok()?;
        contents[file]
    };
    let differences = steps
        .par_iter()
        .with_min_len(64)
        .flat_map_iter(|step| attributes::differences(sides, steps, step, content_of(step), texts))
        .collect();
    (differences, extents.iter().map(Extent::bytes).sum())
}
