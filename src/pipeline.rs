//! Runs the stages of each operation on a filesystem image, in order.

use crate::audit;
use crate::check::differences;
use crate::error::{Error, Result};
use crate::form;
use crate::hard_links::{self, LinkCounts};
use crate::identities;
use crate::leftovers;
use crate::mentions::{self, Found};
use crate::observe::{Observer, Silent};
use crate::occupancy::{Occupancy, of_form, of_image};
use crate::ondisk::features::Compat;
use crate::plan::{self, Identity, Plan};
use crate::policy::{self, HardLinkPolicy, Options, SettingsPolicy, SizePolicy, StaleUuids, UuidPolicy};
use crate::read::{self, BlockClaims, Reading};
use crate::recover::{self, Recovery};
use crate::remedy::Remedy;
use crate::report::{Difference, FilesystemReport, Mention};
use crate::report_counts::{self, Counted};
use crate::rewrite::{self, NewValues, Rewrite};
use crate::settings::Settings;
use crate::sink::Sink;
use crate::sinks::{CompareSink, HashSink};
use crate::source::{Input, Overlay, Source};
use crate::survey::{self, Segments, StoredView, Survey};
use crate::target::{self, ChosenSettings, Target};
use crate::tree::Tree;
use crate::verify::{same_quotas, same_tree};
use crate::view::View;
use crate::write::OutputWriter;

/// The arguments of an operation, apart from the image.
#[derive(Clone, Copy)]
pub(crate) struct Request<'t> {
    /// The user options.
    pub options: &'t Options,
    /// The identities of the disk, which files can name.
    pub identities: &'t [identities::Identity],
    /// The index of the filesystem's own UUID in `identities`, if it is there.
    pub own: Option<usize>,
    /// New values for the identities that boot files name; `None` if the files don't change.
    pub new_values: Option<&'t NewValues<'t>>,
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

/// The result of reading an image, with the options for times applied to the tree.
pub(crate) struct Read {
    /// The options, adjusted for this image.
    pub options: Options,
    /// The result of reading.
    pub reading: Reading,
    chosen: ChosenSettings,
    times_changed: u64,
}

/// The result of reading an image, with all options applied to the tree.
pub(crate) struct Completed {
    /// The options, adjusted for this image.
    pub options: Options,
    /// The result of reading.
    pub reading: Reading,
    /// The settings of the output.
    pub target: Target,
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
        let mut options = options.clone();
        if options.has_own_settings() {
            options.check(source.geometry.has_wide_inodes())?;
        } else if let SizePolicy::More(more) = options.size
            && matches!(options.settings, SettingsPolicy::Profile(_))
        {
            options.size = SizePolicy::Bytes(source.geometry.filesystem_bytes().saturating_add(more));
        }
        let state = recover::check_state(source, recovery, options.ignore_error_state)?;
        let mut reading = read::read(source, observer)?;
        reading.warnings.extend(state);
        let chosen = ChosenSettings::new(source, &options, &reading)?;
        options.check(chosen.geometry.has_wide_inodes())?;
        let options = with_bound_uuid(source, &chosen, &options)?;
        let times_changed = policy::apply(&mut reading.tree, &options);
        reading.warnings.extend(report_counts::ambiguous_times(&reading.tree));
        Ok(Self { options, reading, chosen, times_changed })
    }

    /// Applies the policy for hard links, which can depend on the content of rewritten boot files.
    pub(crate) fn completed(self, source: &Source<'_>) -> Result<Completed> {
        let Self { options, mut reading, chosen, times_changed } = self;
        let links = hard_links::apply(source, &mut reading, &options)?;
        let target = Target::new(source, chosen, &reading.specials, options.size)?;
        target.check_tree(source, &reading)?;
        Ok(Completed { options, reading, target, times_changed, links })
    }
}

/// The results of all stages before the first byte is written.
pub(crate) struct Prepared<'p, 'a> {
    source: &'p Source<'a>,
    /// The result of reading.
    pub reading: Reading,
    target: Target,
    /// The image and the tree in blocks of the output, if those are smaller.
    smaller: Option<(Source<'a>, Tree)>,
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
        let Completed { options, mut reading, target, times_changed, links } = read.completed(source)?;
        let free = leftovers::free_blocks(source, reading.claimed());
        let smaller = target::in_smaller_blocks(source, &reading.tree, target.geometry.block_size);
        let view = content_view(View { source, tree: &reading.tree }, smaller.as_ref());
        let survey = survey::survey(view, &target.geometry, options.holes, observer);
        let stored = StoredView { source: view.source, stored: survey.stored(view.tree) };
        let target = target.for_content(stored.stored)?;
        let (plan, (stale_blocks, warnings, segments)) = rayon::join(
            || plan::plan(view.tree, &reading.inodes, &target, &survey, &options),
            || {
                let segments = Identity::segments(stored, options.uuid);
                (leftovers::count(&free), report_counts::bound_xattrs(&reading.tree), segments)
            },
        );
        let plan = plan?;
        audit::audit(&plan, stored.stored, &target.specials)?;
        let counted = Counted { times_changed, links, stale_blocks, warnings };
        let report = report_counts::count(source, recovery, &reading, &survey, &plan, counted);
        // The claims can need much memory, and no later stage uses them.
        reading.claims = BlockClaims::default();
        let uuid = options.uuid;
        Ok(Self { source, reading, target, smaller, survey, segments, plan, uuid, report })
    }

    /// Returns the tree with the runs that the output will store.
    pub(crate) fn stored(&self) -> StoredView<'_, 'a> {
        let own = View { source: self.source, tree: &self.reading.tree };
        let View { source, tree } = content_view(own, self.smaller.as_ref());
        StoredView { source, stored: self.survey.stored(tree) }
    }

    /// Writes the canonical form to a sink.
    pub(crate) fn write(&self, sink: &dyn Sink, task: Request<'_>) -> Result<FilesystemReport> {
        let view = self.stored();
        let found = mentions::find(view.view(), task.identities);
        self.refuse_early(&found, task)?;
        let identity = Identity::new(view, &self.target.specials, &self.segments, &self.plan, self.uuid);
        let uuid = OutputWriter { view, plan: &self.plan, sink, observer: task.observer }.write(identity)?;
        Ok(report_counts::with_uuid(self.report.clone(), found, uuid))
    }

    /// Refuses a filesystem before it is written, if a boot file names its UUID, and that UUID changes for
    /// certain. The caller refuses all other stale UUIDs, when all new values are known.
    fn refuse_early(&self, found: &Found, task: Request<'_>) -> Result<()> {
        let old = self.source.superblock.s_uuid;
        let changes = match self.uuid {
            UuidPolicy::Keep => false,
            UuidPolicy::Given(new) => new != old,
            UuidPolicy::Content => !form::is_derived(&old),
        };
        if !changes || task.options.stale_uuids == StaleUuids::Allow || task.new_values.is_some() {
            return Ok(());
        }
        let own = found.mentions().filter(|mention| Some(mention.identity) == task.own);
        own.filter_map(|mention| mention.refusal(&task.identities[mention.identity]))
            .next()
            .map_or(Ok(()), Err)
    }
}

/// Reads an image, plans the output, and calls `work`.
fn prepare<T>(
    input: &Input<'_>,
    task: Request<'_>,
    work: impl FnOnce(&Prepared<'_, '_>) -> Result<T>,
) -> Result<T> {
    open(input, |source, recovery| {
        let mut read = Read::of(source, recovery, task.options, task.observer)?;
        let rewrite = rewritten(source, &mut read.reading, task)?;
        let changed = rewrite.as_ref().map(|rewrite| source.with_overlay(&rewrite.overlay));
        let source = changed.as_ref().unwrap_or(source);
        let prepared = Prepared::of(source, recovery, read, task.observer);
        let mut prepared =
            prepared.map_err(|error| with_room_for_all(error, source, recovery, task.options))?;
        prepared.report.rewritten =
            rewrite.as_ref().map_or_else(Vec::new, |rewrite| rewrite.replaced.clone());
        work(&prepared)
    })
}

/// If a profile has too few blocks or inodes, replaces the size in the error by one that is enough for both.
/// With a profile, each size has a different number of inodes and a different journal.
fn with_room_for_all(error: Error, source: &Source<'_>, recovery: &Recovery<'_>, options: &Options) -> Error {
    const TRIES: usize = 8;
    let has_profile = matches!(options.settings, SettingsPolicy::Profile(_));
    let Some(mut bytes) = error.enough_bytes().filter(|_| has_profile && !source.input().is_part()) else {
        return error;
    };
    for _ in 0..TRIES {
        let options = options.clone().size(SizePolicy::Bytes(bytes));
        let read = Read::of(source, recovery, &options, &Silent);
        match read.and_then(|read| Prepared::of(source, recovery, read, &Silent).map(drop)) {
            Ok(()) => return error.with_enough_bytes(Some(bytes)),
            Err(next) => match next.enough_bytes().filter(|more| *more > bytes) {
                Some(more) => bytes = more,
                None => break,
            },
        }
    }
    error.with_enough_bytes(None)
}

/// Replaces the identities that boot files name, if the task has new values for them.
pub(crate) fn rewritten<'a>(
    source: &Source<'a>,
    reading: &mut Reading,
    task: Request<'_>,
) -> Result<Option<Rewrite<'a>>> {
    match task.new_values {
        Some(new) => rewrite::rewrite(source, &mut reading.tree, new),
        None => Ok(None),
    }
}

/// Returns the places in the boot files of an image that name identities of the disk.
pub(crate) fn mentions_in(input: &Input<'_>, identities: &[identities::Identity]) -> Result<Vec<Mention>> {
    open(input, |source, _| {
        let reading = read::read(source, &Silent)?;
        let found = mentions::find(View { source, tree: &reading.tree }, identities);
        Ok(found.mentions().cloned().collect())
    })
}

/// Returns the UUID of a filesystem, after its journal is replayed.
pub(crate) fn uuid(input: &Input<'_>) -> Result<[u8; 16]> {
    open(input, |source, _| Ok(source.superblock.s_uuid))
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
    open(input, |source, recovery| {
        work(source, &Read::of(source, recovery, options, observer)?.completed(source)?.reading)
    })
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
        let read = Read::of(source, recovery, &as_read, observer)?;
        let Completed { mut reading, target, .. } = read.completed(source)?;
        let before = of_image(source, &reading, cells);
        hard_links::apply(source, &mut reading, options)?;
        // The layout does not depend on the UUID, and deriving it would need a digest of all content.
        let options = options.clone().uuid(UuidPolicy::Keep);
        let smaller = target::in_smaller_blocks(source, &reading.tree, target.geometry.block_size);
        let view = content_view(View { source, tree: &reading.tree }, smaller.as_ref());
        let survey = survey::survey(view, &target.geometry, options.holes, observer);
        let after = plan::plan(view.tree, &reading.inodes, &target, &survey, &options);
        Ok((before, after.map(|plan| of_form(&plan, &reading.tree, cells))))
    })
}

/// Returns the target with the sizes that it has after `--size`.
///
/// # Errors
///
/// The errors of [`plan::plan`] for the smallest size; otherwise `Options` if no filesystem can have the
/// requested size.
pub(crate) fn sized(
    source: &Source<'_>,
    reading: &Reading,
    target: Target,
    options: &Options,
    observer: &dyn Observer,
) -> Result<Target> {
    if options.size != SizePolicy::Smallest {
        return plan::resized_target(target, options.size);
    }
    // The smallest size depends on the layout, but the layout does not depend on the UUID.
    let options = options.clone().uuid(UuidPolicy::Keep);
    let smaller = target::in_smaller_blocks(source, &reading.tree, target.geometry.block_size);
    let view = content_view(View { source, tree: &reading.tree }, smaller.as_ref());
    let survey = survey::survey(view, &target.geometry, options.holes, observer);
    let target = target.for_content(survey.stored(view.tree))?;
    let plan = plan::plan(view.tree, &reading.inodes, &target, &survey, &options)?;
    Ok(target.with_size(plan.geometry, plan.image_bytes))
}

/// Reads an image and its canonical form, and compares the quota settings and the two trees, including
/// content.
///
/// # Errors
///
/// `Corrupt` if the trees, the quota limits or the grace times differ, otherwise the errors of reading the
/// two images.
pub(crate) fn verify(input: &Input<'_>, output: &Input<'_>, task: Request<'_>) -> Result<()> {
    let Request { options, observer, .. } = task;
    open(input, |wanted, _| {
        let clean = Overlay::default();
        let found = Source::open(output.clone(), &clean)?;
        let mut reading = read::read(wanted, observer)?;
        policy::apply(&mut reading.tree, options);
        let rewrite = rewritten(wanted, &mut reading, task)?;
        let changed = rewrite.as_ref().map(|rewrite| wanted.with_overlay(&rewrite.overlay));
        let wanted = changed.as_ref().unwrap_or(wanted);
        hard_links::apply(wanted, &mut reading, options)?;
        let chosen = ChosenSettings::new(wanted, options, &reading)?;
        let target = Target::new(wanted, chosen, &reading.specials, options.size)?;
        let written = read::read(&found, observer)?;
        same_quotas(&target.specials, &written.specials)?;
        let input = View { source: wanted, tree: &reading.tree };
        same_tree(input, View { source: &found, tree: &written.tree }, observer)
    })
}

/// Returns the image and the tree in the smaller blocks of the output, if there are any, otherwise `own`.
fn content_view<'v, 'a>(own: View<'v, 'a>, smaller: Option<&'v (Source<'a>, Tree)>) -> View<'v, 'a> {
    smaller.map_or(own, |(source, tree)| View { source, tree })
}

/// Reads the settings of an image.
pub(crate) fn settings(input: &Input<'_>, observer: &dyn Observer) -> Result<Settings> {
    open(input, |source, _| Ok(target::settings_of(source, &read::read(source, observer)?.specials)))
}

/// Returns the options, with the UUID of the input if the `stable_inodes` feature requires it.
///
/// Returns an error if a new UUID would separate the filesystem from its external journal, or could make
/// encrypted files unreadable.
fn with_bound_uuid(source: &Source<'_>, chosen: &ChosenSettings, options: &Options) -> Result<Options> {
    let old = source.superblock.s_uuid;
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
    if chosen.has_external_journal(source) && !kept {
        return Err(Error::options(
            "the external journal lists this filesystem by its UUID, and would no longer belong to it",
            Remedy::KeepUuid,
        ));
    }
    Ok(options)
}
