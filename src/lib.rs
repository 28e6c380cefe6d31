//! Turns any ext2/3/4 image into the canonical image of the same file tree.
//!
//! Data flows one way: an [`Input`] is opened as a [`source::Source`], read into a [`tree::Tree`],
//! changed by [`policy`], surveyed, planned, and written to a [`Sink`].
//!
//! The library holds no global state, prints nothing, and reads neither clock nor environment.
//! Work is spread over the rayon pool it is called in; the output does not depend on its size.

#![forbid(unsafe_code)]

mod account;
mod audit;
mod bytes;
mod check;
pub mod compare;
pub mod content;
mod digest;
pub mod disk;
pub mod error;
pub mod explain;
pub mod form;
pub mod geometry;
mod leftovers;
pub mod manifest;
mod map;
mod mentions;
pub mod observe;
pub mod occupancy;
pub mod ondisk;
mod places;
pub mod plan;
pub mod policy;
pub mod read;
pub mod recover;
pub mod report;
pub mod source;
pub mod survey;
pub mod tree;
pub mod units;
mod verify;
pub mod words;
pub mod write;

pub use error::{Error, Result};
pub use observe::{Observer, Stage};
pub use policy::Options;
pub use report::{Difference, Report};
pub use source::Input;
pub use write::sink::Sink;

use write::Order;

/// What benchmarks measure beside the public interface.
#[doc(hidden)]
pub mod internals {
    pub use crate::bytes::is_zero;
}

/// The version of the canonical form.
pub const FORM_VERSION: u32 = 1;

/// Reads an image and writes its canonical form.
///
/// The output is as long as the input, or as the options ask for; bytes that the sink is not given are zero.
///
/// # Errors
///
/// See [`Error`]. What was written to the sink until then is worthless.
pub fn canonicalize(
    input: &Input<'_>,
    options: &Options,
    sink: &dyn Sink,
    observer: &dyn Observer,
) -> Result<Report> {
    canonicalize_in(Order::Any, input, options, sink, observer)
}

/// The same, in a certain order.
fn canonicalize_in(
    order: Order,
    input: &Input<'_>,
    options: &Options,
    sink: &dyn Sink,
    observer: &dyn Observer,
) -> Result<Report> {
    let recovery = recover::recover(input)?;
    let source = source::Source::open(input.clone(), &recovery.overlay)?;
    Prepared::new(&source, &recovery, options, observer)?.write(order, sink, observer)
}

/// The SHA-256 of an image's canonical form, without writing it.
///
/// # Errors
///
/// See [`Error`].
pub fn digest(input: &Input<'_>, options: &Options, observer: &dyn Observer) -> Result<(Report, [u8; 32])> {
    let sink = digest::HashSink::default();
    let report = canonicalize_in(Order::Ascending, input, options, &sink, observer)?;
    let digest = sink.finish(report.image_bytes);
    Ok((report, digest))
}

/// Reads an image, and hands its tree to `work`, with the options applied.
///
/// # Errors
///
/// See [`Error`]; and whatever `work` returns.
pub fn with_tree<T>(
    input: &Input<'_>,
    options: &Options,
    observer: &dyn Observer,
    work: impl FnOnce(&source::Source<'_>, &read::Reading) -> Result<T>,
) -> Result<T> {
    let recovery = recover::recover(input)?;
    let source = source::Source::open(input.clone(), &recovery.overlay)?;
    let (_, reading, _) = read_tree(&source, &recovery, options, observer)?;
    work(&source, &reading)
}

/// Returns the digest of an image's tree alone, with the options applied (see [`manifest`]), and the warnings
/// of reading it.
///
/// # Errors
///
/// See [`Error`].
pub fn tree_digest(
    input: &Input<'_>,
    options: &Options,
    observer: &dyn Observer,
) -> Result<(Vec<String>, [u8; 32])> {
    with_tree(input, options, observer, |source, reading| {
        let digest = manifest::tree_digest(source, &reading.tree, observer)?;
        Ok((reading.warnings.clone(), digest))
    })
}

/// Compares an image with its canonical form, without writing it. No differences: it is canonical.
///
/// Differences are in the order of their offsets, one for each structure that differs, and at
/// most `limit` of them.
///
/// # Errors
///
/// See [`Error`].
pub fn check(
    input: &Input<'_>,
    options: &Options,
    limit: usize,
    observer: &dyn Observer,
) -> Result<(Report, Vec<Difference>)> {
    let recovery = recover::recover(input)?;
    let source = source::Source::open(input.clone(), &recovery.overlay)?;
    let prepared = Prepared::new(&source, &recovery, options, observer)?;
    let sink = check::CompareSink::new(input.clone(), limit);
    let report = prepared.write(Order::Any, &sink, observer)?;
    let differences = check::differences(&source, &prepared.reading.tree, &prepared.plan, sink);
    Ok((report, differences))
}

/// What lies where in an image, and in its canonical form, in at most so many cells. The form may be one that
/// can't be: then its error is told.
///
/// # Errors
///
/// See [`Error`].
pub fn occupancy(
    input: &Input<'_>,
    options: &Options,
    cells: u64,
    observer: &dyn Observer,
) -> Result<(occupancy::Occupancy, Result<occupancy::Occupancy>)> {
    let recovery = recover::recover(input)?;
    let source = source::Source::open(input.clone(), &recovery.overlay)?;
    let (mut options, mut reading, _) = read_tree(&source, &recovery, options, observer)?;
    // No block depends on the UUID, which would ask for a digest of all content.
    options.uuid = policy::UuidPolicy::Keep;
    let before = occupancy::of_image(&source, &reading, cells);
    let survey = survey::survey(&source, &mut reading.tree, options.holes, observer);
    let after = plan::plan(&source, &reading, &survey, &options)
        .map(|plan| occupancy::of_form(&plan, &reading.tree, cells));
    Ok((before, after))
}

/// Reads an image and its canonical form, and compares the two trees, content included.
///
/// # Errors
///
/// `Corrupt` where the output can't be read or holds another tree; see [`Error`].
pub fn verify(
    input: &Input<'_>,
    output: &Input<'_>,
    options: &Options,
    observer: &dyn Observer,
) -> Result<()> {
    let (recovery, clean) = (recover::recover(input)?, source::Overlay::default());
    let wanted = source::Source::open(input.clone(), &recovery.overlay)?;
    let found = source::Source::open(output.clone(), &clean)?;
    let mut reading = read::read(&wanted, observer)?;
    policy::apply(&mut reading.tree, options);
    let written = read::read(&found, observer)?;
    verify::same_quotas(&reading.specials, &written.specials)?;
    let input = verify::Side { source: &wanted, tree: &reading.tree };
    verify::same_tree(input, verify::Side { source: &found, tree: &written.tree }, observer)
}

/// All that is known before the first byte is written.
struct Prepared<'p, 'a> {
    source: &'p source::Source<'a>,
    reading: read::Reading,
    segments: survey::Segments,
    plan: plan::Plan,
    uuid: policy::UuidPolicy,
    /// Without the new UUID.
    report: Report,
}

impl<'p, 'a> Prepared<'p, 'a> {
    fn new(
        source: &'p source::Source<'a>,
        recovery: &recover::Recovery<'_>,
        options: &Options,
        observer: &dyn Observer,
    ) -> Result<Self> {
        Self::of(source, recovery, read_tree(source, recovery, options, observer)?, observer)
    }

    /// With the tree that was read, and the options that go with it.
    fn of(
        source: &'p source::Source<'a>,
        recovery: &recover::Recovery<'_>,
        (options, mut reading, times_changed): (Options, read::Reading, u64),
        observer: &dyn Observer,
    ) -> Result<Self> {
        let survey = survey::survey(source, &mut reading.tree, options.holes, observer);
        let claims = std::mem::take(&mut reading.claims);
        let (plan, (stale_blocks, warnings, segments)) = rayon::join(
            || plan::plan(source, &reading, &survey, &options),
            || {
                let free = leftovers::free_blocks(source, claims.claimed(&reading.tree.runs));
                // Nobody asks for them again, and there may be many.
                drop(claims);
                let segments = plan::Identity::segments(source, &reading.tree, options.uuid);
                (leftovers::count(&free), account::bound_xattrs(&reading.tree), segments)
            },
        );
        let plan = plan?;
        audit::audit(&plan, &reading.tree, &reading.specials)?;
        let counted = account::Counted { times_changed, stale_blocks, warnings };
        let report = account::account(source, recovery, &reading, &survey, &plan, counted);
        Ok(Self { source, reading, segments, plan, uuid: options.uuid, report })
    }

    /// Writes the canonical form to a sink.
    fn write(&self, order: Order, sink: &dyn Sink, observer: &dyn Observer) -> Result<Report> {
        let Self { source, reading, segments, plan, .. } = self;
        let identity = plan::Identity::new(source, reading, segments, plan, self.uuid);
        let uuid = write::write(source, &reading.tree, plan, order, (sink, observer), identity)?;
        Ok(account::with_uuid(self.report.clone(), source, &reading.tree, uuid))
    }
}

/// The options as this image needs them, the tree with these applied, and how many times they changed.
fn read_tree(
    source: &source::Source<'_>,
    recovery: &recover::Recovery<'_>,
    options: &Options,
    observer: &dyn Observer,
) -> Result<(Options, read::Reading, u64)> {
    options.check(source.geometry.has_wide_inodes())?;
    check_rest(source, options.size)?;
    let options = identity(source, options)?;
    let state = recover::check_state(source, recovery, options.ignore_error_state)?;
    let mut reading = read::read(source, observer)?;
    reading.warnings.extend(state);
    let times_changed = policy::apply(&mut reading.tree, &options);
    reading.warnings.extend(account::ambiguous_times(&reading.tree));
    Ok((options, reading, times_changed))
}

/// Refuses another size for an image that goes on behind its filesystem, and would lose what is there.
fn check_rest(source: &source::Source<'_>, size: policy::SizePolicy) -> Result<()> {
    let start = source.geometry.blocks_count * source.geometry.block_size as u64;
    let rest = start..source.input().bytes().len() as u64;
    let input = source.input();
    let lost = match size {
        policy::SizePolicy::Keep => None,
        _ => bytes::first_set_byte(input.bytes(), input.data_within(rest)),
    };
    match lost {
        None => Ok(()),
        Some(offset) => Err(Error::Options(format!(
            "the image goes on behind its filesystem, and byte {offset} is not zero, which another size would lose: \
             leave --size out, or cut these bytes off"
        ))),
    }
}

/// The options, with the UUID kept where `stable_inodes` demands it.
///
/// Refuses another UUID for a filesystem whose external journal knows it by the one it has, or
/// whose files can't be decrypted without it.
fn identity(source: &source::Source<'_>, options: &Options) -> Result<Options> {
    use ondisk::features::Compat;
    let old = source.superblock.s_uuid;
    let outside =
        source.features().compat.contains(Compat::HAS_JOURNAL) && source.superblock.s_journal_inum.get() == 0;
    let mut options = options.clone();
    if source.features().compat.contains(Compat::STABLE_INODES) {
        match options.uuid {
            policy::UuidPolicy::Given(new) if new != old => {
                return Err(Error::Options(
                    "the filesystem has the stable_inodes feature, with which files may be encrypted by means of \
                     its UUID, so that another one would lose them: leave --uuid out, or use --uuid keep"
                        .to_owned(),
                ));
            }
            _ => options.uuid = policy::UuidPolicy::Keep,
        }
    }
    let kept =
        matches!(options.uuid, policy::UuidPolicy::Keep) || options.uuid == policy::UuidPolicy::Given(old);
    if outside && !kept {
        return Err(Error::Options(
            "the external journal lists this filesystem by its UUID, and would no longer belong to it: use --uuid keep"
                .to_owned(),
        ));
    }
    Ok(options)
}
