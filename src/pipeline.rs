//! Runs the stages of each operation on a filesystem image, in order.

use crate::audit;
use crate::bytes::first_set_byte;
use crate::check::differences;
use crate::error::{Error, Result};
use crate::hard_links::{self, LinkCounts};
use crate::leftovers;
use crate::observe::Observer;
use crate::occupancy::{Occupancy, of_form, of_image};
use crate::ondisk::features::Compat;
use crate::plan::{self, Identity, Plan};
use crate::policy::{self, HardLinkPolicy, Options, SizePolicy, UuidPolicy};
use crate::read::{self, BlockClaims, Reading};
use crate::recover::{self, Recovery};
use crate::remedy::Remedy;
use crate::report::{Difference, FilesystemReport};
use crate::report_counts::{self, Counted};
use crate::sink::Sink;
use crate::sinks::{CompareSink, HashSink};
use crate::source::{Input, Overlay, Source};
use crate::survey::{self, Segments, StoredView, Survey};
use crate::uuid_references::Neighbours;
use crate::verify::{same_quotas, same_tree};
use crate::view::View;
use crate::write::OutputWriter;

/// The arguments of an operation, apart from the image.
#[derive(Clone, Copy)]
pub(crate) struct Request<'t> {
    /// The user options.
    pub options: &'t Options,
    /// The UUIDs of the filesystems and partitions on the disk.
    pub neighbours: &'t Neighbours,
    /// The observer of progress.
    pub observer: &'t dyn Observer,
}

/// Replays the journal of an image in memory, opens the image, and calls `work`.
pub(crate) fn open<T>(
    input: &Input<'_>,
    work: impl FnOnce(&Source<'_>, &Recovery<'_>) -> Result<T>,
) -> Result<T> {
    let recovery = recover::recover(input)?;
    let source = Source::open(input.clone(), &recovery.overlay)?;
    work(&source, &recovery)
}

/// The result of reading an image, with the options applied to the tree.
pub(crate) struct Read {
    /// The options, adjusted for this image.
    pub options: Options,
    /// The result of reading.
    pub reading: Reading,
    /// The number of inodes whose mtime the options changed.
    pub times_changed: u64,
    /// The number of inodes that the policy for hard links added or removed.
    pub links: LinkCounts,
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
        reading.warnings.extend(report_counts::ambiguous_times(&reading.tree));
        let links = hard_links::apply(source, &mut reading, &options)?;
        Ok(Self { options, reading, times_changed, links })
    }
}

/// The results of all stages before the first byte is written.
pub(crate) struct Prepared<'p, 'a> {
    source: &'p Source<'a>,
    /// The result of reading.
    pub reading: Reading,
    survey: Survey,
    segments: Segments,
    /// The plan of the output.
    pub plan: Plan,
    uuid: UuidPolicy,
    /// The report, without the new UUID and without the warnings about UUIDs in files.
    report: FilesystemReport,
}

impl<'p, 'a> Prepared<'p, 'a> {
    /// Plans the output, from the result of reading an image.
    pub(crate) fn of(
        source: &'p Source<'a>,
        recovery: &Recovery<'_>,
        read: Read,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let Read { options, mut reading, times_changed, links } = read;
        let view = View { source, tree: &reading.tree };
        let survey = survey::survey(view, options.holes, observer);
        let stored = StoredView { source, stored: survey.stored(&reading.tree) };
        let (plan, (stale_blocks, warnings, segments)) = rayon::join(
            || plan::plan(source, &reading, &survey, &options),
            || {
                let free = leftovers::free_blocks(source, reading.claimed());
                let segments = Identity::segments(stored, options.uuid);
                (leftovers::count(&free), report_counts::bound_xattrs(&reading.tree), segments)
            },
        );
        let plan = plan?;
        audit::audit(&plan, stored.stored, &reading.specials)?;
        let counted = Counted { times_changed, links, stale_blocks, warnings };
        let report = report_counts::count(source, recovery, &reading, &survey, &plan, counted);
        // The claims can need much memory, and no later stage uses them.
        reading.claims = BlockClaims::default();
        Ok(Self { source, reading, survey, segments, plan, uuid: options.uuid, report })
    }

    /// Returns the tree with the runs that the output will store.
    pub(crate) fn stored(&self) -> StoredView<'_, 'a> {
        StoredView { source: self.source, stored: self.survey.stored(&self.reading.tree) }
    }

    /// Writes the canonical form to a sink.
    pub(crate) fn write(&self, sink: &dyn Sink, task: Request<'_>) -> Result<FilesystemReport> {
        let view = self.stored();
        let identity = Identity::new(view, &self.reading.specials, &self.segments, &self.plan, self.uuid);
        let uuid = OutputWriter { view, plan: &self.plan, sink, observer: task.observer }.write(identity)?;
        Ok(report_counts::with_uuid(self.report.clone(), view.view(), task.neighbours, uuid))
    }
}

/// Reads an image, plans the output, and calls `work`.
fn prepare<T>(
    input: &Input<'_>,
    task: Request<'_>,
    work: impl FnOnce(&Prepared<'_, '_>) -> Result<T>,
) -> Result<T> {
    open(input, |source, recovery| {
        let read = Read::of(source, recovery, task.options, task.observer)?;
        work(&Prepared::of(source, recovery, read, task.observer)?)
    })
}

/// Writes the canonical form of an image to a sink. Bytes that are not written to the sink are zero.
pub(crate) fn canonicalize(
    input: &Input<'_>,
    sink: &dyn Sink,
    task: Request<'_>,
) -> Result<FilesystemReport> {
    prepare(input, task, |prepared| prepared.write(sink, task))
}

/// Returns the SHA-256 of an image's canonical form, without writing it.
pub(crate) fn digest(input: &Input<'_>, task: Request<'_>) -> Result<(FilesystemReport, [u8; 32])> {
    let sink = HashSink::default();
    let report = canonicalize(input, &sink, task)?;
    let digest = sink.finish(report.image_bytes);
    Ok((report, digest))
}

/// Reads an image, and calls `work` with its tree after the options are applied.
pub(crate) fn with_tree<T>(
    input: &Input<'_>,
    options: &Options,
    observer: &dyn Observer,
    work: impl FnOnce(&Source<'_>, &Reading) -> Result<T>,
) -> Result<T> {
    open(input, |source, recovery| work(source, &Read::of(source, recovery, options, observer)?.reading))
}

/// Compares an image with its canonical form, without writing that form. The image is canonical if there are
/// no differences.
///
/// The differences are sorted by offset. There are at most `limit`: one for each written part that differs,
/// one for each gap between structures that should be zero but is not, and one for a different length.
pub(crate) fn check(
    input: &Input<'_>,
    limit: usize,
    task: Request<'_>,
) -> Result<(FilesystemReport, Vec<Difference>)> {
    prepare(input, task, |prepared| {
        let sink = CompareSink::new(input.clone(), limit);
        let report = prepared.write(&sink, task)?;
        let differences = differences(prepared.stored(), &prepared.plan, sink);
        Ok((report, differences))
    })
}

/// Returns the use of all blocks of an image and of its canonical form, in at most `cells` cells each. If
/// canonicalization would fail, the second value is that error.
pub(crate) fn occupancy(
    input: &Input<'_>,
    options: &Options,
    cells: u64,
    observer: &dyn Observer,
) -> Result<(Occupancy, Result<Occupancy>)> {
    open(input, |source, recovery| {
        let as_read = options.clone().hard_links(HardLinkPolicy::Keep);
        let mut reading = Read::of(source, recovery, &as_read, observer)?.reading;
        let before = of_image(source, &reading, cells);
        hard_links::apply(source, &mut reading, options)?;
        // The layout does not depend on the UUID, and deriving it would need a digest of all content.
        let options = options.clone().uuid(UuidPolicy::Keep);
        let view = View { source, tree: &reading.tree };
        let survey = survey::survey(view, options.holes, observer);
        let after =
            plan::plan(source, &reading, &survey, &options).map(|plan| of_form(&plan, &reading.tree, cells));
        Ok((before, after))
    })
}

/// Reads an image and its canonical form, and compares the quota settings and the two trees, including
/// content.
///
/// # Errors
///
/// `Corrupt` if the trees, the quota limits or the grace times differ, otherwise the errors of reading the
/// two images.
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
        hard_links::apply(wanted, &mut reading, options)?;
        let written = read::read(&found, observer)?;
        same_quotas(&reading.specials, &written.specials)?;
        let input = View { source: wanted, tree: &reading.tree };
        same_tree(input, View { source: &found, tree: &written.tree }, observer)
    })
}

/// Returns an error if the options set a size, and the image has bytes other than zero past the end of its
/// filesystem. A different size would lose these bytes.
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
                "the image has data after the end of its filesystem (byte {offset}), which a different size would lose"
            ),
            Remedy::KeepSizeOrCut,
        )),
    }
}

/// Returns the options, with the UUID of the input if the `stable_inodes` feature requires it.
///
/// Returns an error if a new UUID would separate the filesystem from its external journal, or could make
/// encrypted files unreadable.
fn with_bound_uuid(source: &Source<'_>, options: &Options) -> Result<Options> {
    let old = source.superblock.s_uuid;
    let outside = source.features().has(Compat::HAS_JOURNAL) && source.superblock.s_journal_inum.get() == 0;
    let mut options = options.clone();
    if source.features().has(Compat::STABLE_INODES) {
        match options.uuid {
            UuidPolicy::Given(new) if new != old => {
                return Err(Error::options(
                    "the filesystem has the stable_inodes feature: files may be encrypted with a key that \
                     depends on its UUID, so a different UUID would lose them",
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
