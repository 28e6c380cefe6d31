//! The stages one after another: from an image to its canonical form, and to what else is asked about it.

use crate::audit;
use crate::bytes::first_set_byte;
use crate::changes::{self, Counted};
use crate::check::differences;
use crate::error::{Error, Result};
use crate::leftovers;
use crate::observe::Observer;
use crate::occupancy::{Occupancy, of_form, of_image};
use crate::ondisk::features::Compat;
use crate::plan::{self, Identity, Plan};
use crate::policy::{self, Options, SizePolicy, UuidPolicy};
use crate::read::{self, BlockClaims, Reading};
use crate::recover::{self, Recovery};
use crate::remedy::Remedy;
use crate::report::{Difference, FilesystemReport};
use crate::sink::Sink;
use crate::sinks::{CompareSink, HashSink};
use crate::source::{Input, Overlay, Source};
use crate::survey::{self, Segments, StoredView, Survey};
use crate::uuid_references::Neighbours;
use crate::verify::{same_quotas, same_tree};
use crate::view::View;
use crate::write::OutputWriter;

/// What is asked of an image.
#[derive(Clone, Copy)]
pub(crate) struct Task<'t> {
    /// What the user picked.
    pub options: &'t Options,
    /// The UUIDs of what else is on the disk.
    pub neighbours: &'t Neighbours,
    /// Hears of progress.
    pub observer: &'t dyn Observer,
}

/// Replays the journal of an image, opens it, and hands it to `work`.
pub(crate) fn open<T>(
    input: &Input<'_>,
    work: impl FnOnce(&Source<'_>, &Recovery<'_>) -> Result<T>,
) -> Result<T> {
    let recovery = recover::recover(input)?;
    let source = Source::open(input.clone(), &recovery.overlay)?;
    work(&source, &recovery)
}

/// An image that was read, with the options applied to its tree.
pub(crate) struct Read {
    /// The options as this image needs them.
    pub options: Options,
    /// What was read.
    pub reading: Reading,
    /// How many times the options changed.
    pub times_changed: u64,
}

impl Read {
    /// Reads an image.
    pub(crate) fn of(
        source: &Source<'_>,
        recovery: &Recovery<'_>,
        options: &Options,
        observer: &dyn Observer,
    ) -> Result<Self> {
        options.check(source.geometry.has_wide_inodes())?;
        check_rest(source, options.size)?;
        let options = with_bound_uuid(source, options)?;
        let state = recover::check_state(source, recovery, options.ignore_error_state)?;
        let mut reading = read::read(source, observer)?;
        reading.warnings.extend(state);
        let times_changed = policy::apply(&mut reading.tree, &options);
        reading.warnings.extend(changes::ambiguous_times(&reading.tree));
        Ok(Self { options, reading, times_changed })
    }
}

/// All that is known before the first byte is written.
pub(crate) struct Prepared<'p, 'a> {
    source: &'p Source<'a>,
    /// What was read.
    pub reading: Reading,
    survey: Survey,
    segments: Segments,
    /// Every number of the output.
    pub plan: Plan,
    uuid: UuidPolicy,
    /// Without the new UUID.
    report: FilesystemReport,
}

impl<'p, 'a> Prepared<'p, 'a> {
    /// Plans the output of an image that was read.
    pub(crate) fn of(
        source: &'p Source<'a>,
        recovery: &Recovery<'_>,
        read: Read,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let Read { options, mut reading, times_changed } = read;
        let view = View { source, tree: &reading.tree };
        let survey = survey::survey(view, options.holes, observer);
        let stored = StoredView { source, stored: survey.stored(&reading.tree) };
        let (plan, (stale_blocks, warnings, segments)) = rayon::join(
            || plan::plan(source, &reading, &survey, &options),
            || {
                let free = leftovers::free_blocks(source, reading.claimed());
                let segments = Identity::segments(stored, options.uuid);
                (leftovers::count(&free), changes::bound_xattrs(&reading.tree), segments)
            },
        );
        let plan = plan?;
        audit::audit(&plan, stored.stored, &reading.specials)?;
        let counted = Counted { times_changed, stale_blocks, warnings };
        let report = changes::count(source, recovery, &reading, &survey, &plan, counted);
        // Nobody asks for them again, and there may be many.
        reading.claims = BlockClaims::default();
        Ok(Self { source, reading, survey, segments, plan, uuid: options.uuid, report })
    }

    /// The tree as it is to be stored.
    pub(crate) fn stored(&self) -> StoredView<'_, 'a> {
        StoredView { source: self.source, stored: self.survey.stored(&self.reading.tree) }
    }

    /// Writes the canonical form to a sink.
    pub(crate) fn write(&self, sink: &dyn Sink, task: Task<'_>) -> Result<FilesystemReport> {
        let view = self.stored();
        let identity = Identity::new(view, &self.reading.specials, &self.segments, &self.plan, self.uuid);
        let uuid = OutputWriter { view, plan: &self.plan, sink, observer: task.observer }.write(identity)?;
        Ok(changes::with_uuid(self.report.clone(), view.view(), task.neighbours, uuid))
    }
}

/// Reads and plans, and hands all that to `work`.
fn prepare<T>(
    input: &Input<'_>,
    task: Task<'_>,
    work: impl FnOnce(&Prepared<'_, '_>) -> Result<T>,
) -> Result<T> {
    open(input, |source, recovery| {
        let read = Read::of(source, recovery, task.options, task.observer)?;
        work(&Prepared::of(source, recovery, read, task.observer)?)
    })
}

/// Writes the canonical form of an image: as long as the input, or as the options ask for. Bytes that the sink
/// is not given are zero.
pub(crate) fn canonicalize(input: &Input<'_>, sink: &dyn Sink, task: Task<'_>) -> Result<FilesystemReport> {
    prepare(input, task, |prepared| prepared.write(sink, task))
}

/// The SHA-256 of an image's canonical form, without writing it.
pub(crate) fn digest(input: &Input<'_>, task: Task<'_>) -> Result<(FilesystemReport, [u8; 32])> {
    let sink = HashSink::default();
    let report = canonicalize(input, &sink, task)?;
    let digest = sink.finish(report.image_bytes);
    Ok((report, digest))
}

/// Reads an image, and hands its tree to `work`, with the options applied.
pub(crate) fn with_tree<T>(
    input: &Input<'_>,
    options: &Options,
    observer: &dyn Observer,
    work: impl FnOnce(&Source<'_>, &Reading) -> Result<T>,
) -> Result<T> {
    open(input, |source, recovery| work(source, &Read::of(source, recovery, options, observer)?.reading))
}

/// Compares an image with its canonical form, without writing it. No differences: it is canonical.
///
/// Differences are in the order of their offsets, one for each structure that differs, and at most `limit` of them.
pub(crate) fn check(
    input: &Input<'_>,
    limit: usize,
    task: Task<'_>,
) -> Result<(FilesystemReport, Vec<Difference>)> {
    prepare(input, task, |prepared| {
        let sink = CompareSink::new(input.clone(), limit);
        let report = prepared.write(&sink, task)?;
        let differences = differences(prepared.stored(), &prepared.plan, sink);
        Ok((report, differences))
    })
}

/// What lies where in an image, and in its canonical form, in at most so many cells. The form may be one that
/// can't be: then its error is told.
pub(crate) fn occupancy(
    input: &Input<'_>,
    options: &Options,
    cells: u64,
    observer: &dyn Observer,
) -> Result<(Occupancy, Result<Occupancy>)> {
    open(input, |source, recovery| {
        let Read { mut options, reading, .. } = Read::of(source, recovery, options, observer)?;
        // No block depends on the UUID, which would ask for a digest of all content.
        options.uuid = UuidPolicy::Keep;
        let before = of_image(source, &reading, cells);
        let view = View { source, tree: &reading.tree };
        let survey = survey::survey(view, options.holes, observer);
        let after =
            plan::plan(source, &reading, &survey, &options).map(|plan| of_form(&plan, &reading.tree, cells));
        Ok((before, after))
    })
}

/// Reads an image and its canonical form, and compares the two trees, content included.
///
/// # Errors
///
/// `Corrupt` where the output can't be read or holds another tree.
pub(crate) fn verify(
    input: &Input<'_>,
    output: &Input<'_>,
    options: &Options,
    observer: &dyn Observer,
) -> Result<()> {
    open(input, |wanted, _| {
        let clean = Overlay::default();
        let found = Source::open(output.clone(), &clean)?;
        let mut reading = read::read(wanted, observer)?;
        policy::apply(&mut reading.tree, options);
        let written = read::read(&found, observer)?;
        same_quotas(&reading.specials, &written.specials)?;
        let input = View { source: wanted, tree: &reading.tree };
        same_tree(input, View { source: &found, tree: &written.tree }, observer)
    })
}

/// Refuses another size for an image that goes on behind its filesystem, and would lose what is there.
fn check_rest(source: &Source<'_>, size: SizePolicy) -> Result<()> {
    let start = source.geometry.filesystem_bytes();
    let rest = start..source.input().bytes().len() as u64;
    let lost = if size == SizePolicy::Keep {
        None
    } else {
        first_set_byte(source.input().bytes(), source.input().data_within(rest))
    };
    match lost {
        None => Ok(()),
        Some(offset) => Err(Error::options(
            format!(
                "the image goes on behind its filesystem, and byte {offset} is not zero, which another size would lose"
            ),
            Remedy::KeepSizeOrCut,
        )),
    }
}

/// The options, with the UUID kept where `stable_inodes` demands it.
///
/// Refuses another UUID for a filesystem whose external journal knows it by the one it has, or
/// whose files can't be decrypted without it.
fn with_bound_uuid(source: &Source<'_>, options: &Options) -> Result<Options> {
    let old = source.superblock.s_uuid;
    let outside = source.features().has(Compat::HAS_JOURNAL) && source.superblock.s_journal_inum.get() == 0;
    let mut options = options.clone();
    if source.features().has(Compat::STABLE_INODES) {
        match options.uuid {
            UuidPolicy::Given(new) if new != old => {
                return Err(Error::options(
                    "the filesystem has the stable_inodes feature, with which files may be encrypted by means of \
                     its UUID, so that another one would lose them",
                    Remedy::KeepUuid,
                ));
            }
            _ => options.uuid = UuidPolicy::Keep,
        }
    }
    let kept = matches!(options.uuid, UuidPolicy::Keep) || options.uuid == UuidPolicy::Given(old);
    if outside && !kept {
        return Err(Error::options(
            "the external journal lists this filesystem by its UUID, and would no longer belong to it",
            Remedy::KeepUuid,
        ));
    }
    Ok(options)
}
