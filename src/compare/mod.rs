//! Compares two images: finds whether their canonical forms are equal, and how they differ.
//!
//! The canonical forms are not created. A canonical form is a function of the tree, the settings and the
//! options, so it is enough to compare the trees, the settings and the options.

mod attributes;
mod compared_image;
mod comparison;
mod consequences;
mod content;
mod cures;
mod difference;
mod find_ignored;
mod ignored;
mod own_identities;
mod settings;
mod superblock_settings;
mod walk;

pub use crate::occupancy::{Cell, Occupancy, Use};
pub use comparison::{BlockMaps, CompareError, Comparison, Details, FilesystemComparison};
pub use difference::{Attribute, ContentDifference, PathDifference, SettingDifference};
pub use ignored::{Detail, Ignored};

use rayon::prelude::*;

use crate::error;
use crate::identities::Identity;
use crate::observe::{Observer, Stage};
use crate::pipeline::Read;
use crate::policy::{Options, StaleUuids};
use crate::recover;
use crate::rewrite::{self, NewValues, Rewrite};
use crate::source::{Input, Source};
use compared_image::ComparedImage;
use content::Window;
use walk::ComparedPath;

/// The identities of both disks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ComparedIdentities<'i> {
    /// Those that the options can change.
    pub changing: [&'i [Identity]; 2],
    /// All of them.
    pub every: [&'i [Identity]; 2],
}

/// Runs a function for both sides in parallel.
fn both<T: Send>(work: impl Fn(usize) -> error::Result<T> + Sync) -> Result<[T; 2], CompareError> {
    let side = |side| work(side).map_err(|error| CompareError { side, error });
    let (one, other) = rayon::join(|| side(0), || side(1));
    Ok([one?, other?])
}

/// Compares two filesystems.
///
/// The canonical forms need not fit into the images, since they are not
/// created.
///
/// # Errors
///
/// A [`CompareError`] that says which image the error is about.
pub(crate) fn compare(
    inputs: [&Input<'_>; 2],
    identities: ComparedIdentities<'_>,
    options: &Options,
    details: Details,
    observer: &dyn Observer,
) -> Result<FilesystemComparison, CompareError> {
    let recoveries = both(|side| recover::recover(inputs[side]))?;
    let sources = both(|side| Source::open(inputs[side].clone(), &recoveries[side].overlay))?;
    let mut reads = both(|side| Read::of(&sources[side], &recoveries[side], options, observer))?;
    let rewrites = masked(&sources, &mut reads, identities.changing, options)?;
    let changed = [0, 1]
        .map(|side| rewrites[side].as_ref().map(|rewrite| sources[side].with_overlay(&rewrite.overlay)));
    let of = |side: usize| changed[side].as_ref().unwrap_or(&sources[side]);
    let [one, other] = reads;
    let new = |side: usize, read| {
        let image = ComparedImage::new(of(side), &recoveries[side], read, observer);
        image.map_err(|error| CompareError { side, error })
    };
    let sides = [new(0, one)?, new(1, other)?];
    let steps = walk::walk([&sides[0].reading.tree, &sides[1].reading.tree]);
    let (mut differences, bytes) = tree_differences(&sides, &steps, details.texts, observer);
    own_identities::mark(&sides, identities.every, &mut differences);
    Ok(FilesystemComparison {
        differences,
        settings: settings::differences(&sides),
        settled: settings::are_settled(&sides),
        paths: steps.iter().filter(|step| step.pair().is_some()).count() as u64,
        bytes,
        warnings: [0, 1].map(|side| sides[side].reading.warnings.clone()),
        ignored: details.ignored.then(|| find_ignored::find(&sides, &steps)),
        ..FilesystemComparison::default()
    })
}

/// With rewritten boot files, replaces the identities of both images by placeholders, because their new values
/// follow from the content.
fn masked<'a>(
    sources: &[Source<'a>; 2],
    reads: &mut [Read; 2],
    identities: [&[Identity]; 2],
    options: &Options,
) -> Result<[Option<Rewrite<'a>>; 2], CompareError> {
    let mut rewrites = [None, None];
    if options.stale_uuids != StaleUuids::Rewrite {
        return Ok(rewrites);
    }
    for (side, read) in reads.iter_mut().enumerate() {
        let placeholders = NewValues::placeholders(identities[side]);
        let rewrite = rewrite::rewrite(&sources[side], &mut read.reading.tree, &placeholders);
        rewrites[side] = rewrite.map_err(|error| CompareError { side, error })?;
    }
    Ok(rewrites)
}

/// Returns the differences between the trees, in the order of the paths, and the number of bytes that were
/// compared.
fn tree_differences(
    sides: &[ComparedImage<'_, '_>; 2],
    steps: &[ComparedPath<'_>],
    texts: Option<usize>,
    observer: &dyn Observer,
) -> (Vec<PathDifference>, u64) {
    let files: Vec<_> = steps.iter().filter(|step| step.first).collect();
    let windows: Vec<Window> = (0..files.len())
        .into_par_iter()
        .with_min_len(256)
        .flat_map_iter(|index| content::windows(sides, index, files[index]))
        .collect();
    observer.begin(Stage::Compare, windows.iter().map(Window::bytes).sum());
    let found: Vec<_> = windows
        .par_iter()
        .with_min_len(8)
        .filter_map(|window| {
            let found = content::compare(sides, files[window.file], window);
            observer.advance(window.bytes());
            found.map(|found| (window.file, found))
        })
        .collect();
    let mut contents: Vec<Option<ContentDifference>> = vec![None; files.len()];
    for (file, found) in found {
        let slot = contents[file].get_or_insert(ContentDifference { first: found.first, bytes: 0 });
        slot.first = slot.first.min(found.first);
        slot.bytes += found.bytes;
    }
    let content_of = |step: &ComparedPath<'_>| {
        let file = files.binary_search_by_key(&step.index, |file| file.index).ok()?;
        contents[file]
    };
    let differences = steps
        .par_iter()
        .with_min_len(64)
        .flat_map_iter(|step| attributes::differences(sides, steps, step, content_of(step), texts))
        .collect();
    (differences, windows.iter().map(Window::bytes).sum())
}
