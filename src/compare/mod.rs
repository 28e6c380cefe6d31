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
mod settings;
mod superblock_settings;
mod walk;

pub use crate::occupancy::{Cell, Occupancy, Use};
pub use comparison::{BlockMaps, CompareError, Comparison, Details, FilesystemComparison};
pub use difference::{Attribute, ContentDifference, PathDifference, SettingDifference};
pub use ignored::{Detail, Ignored};

use rayon::prelude::*;

use crate::error;
use crate::observe::{Observer, Stage};
use crate::policy::Options;
use crate::recover;
use crate::source::{Input, Source};
use compared_image::ComparedImage;
use content::Window;
use walk::ComparedPath;

/// Runs a function for both sides in parallel.
fn both<T: Send>(work: impl Fn(usize) -> error::Result<T> + Sync) -> Result<[T; 2], CompareError> {
    let side = |side| work(side).map_err(|error| CompareError { side, error });
    let (one, other) = rayon::join(|| side(0), || side(1));
    Ok([one?, other?])
}

/// Compares two filesystems.
///
/// The canonical forms need not fit into the images, since they are not created.
///
/// # Errors
///
/// A [`CompareError`] that says which image the error is about.
pub(crate) fn compare(
    inputs: [&Input<'_>; 2],
    options: &Options,
    details: Details,
    observer: &dyn Observer,
) -> Result<FilesystemComparison, CompareError> {
    let recoveries = both(|side| recover::recover(inputs[side]))?;
    let sources = both(|side| Source::open(inputs[side].clone(), &recoveries[side].overlay))?;
    let sides = both(|side| ComparedImage::new(&sources[side], &recoveries[side], options, observer))?;
    let steps = walk::walk([&sides[0].reading.tree, &sides[1].reading.tree]);
    let (differences, bytes) = tree_differences(&sides, &steps, details.texts, observer);
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
