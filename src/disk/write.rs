//! Writes, digests, checks and verifies the canonical form of a disk.

use std::io::IoSlice;

use super::identities::Settled;
use super::image::Disk;
use super::notices;
use super::partition_table::damaged_table;
use super::segments::DiskSegment;
use super::shifted::Shifted;

use crate::bytes::first_set_byte;
use crate::error::{Error, Result};
use crate::observe::Observer;
use crate::pipeline;
use crate::policy::{Options, SettingsPolicy, SizePolicy, UuidPolicy};
use crate::remedy::Remedy;
use crate::report::{Difference, Digest, FilesystemReport, Report};
use crate::sink::Sink;
use crate::sinks::{self, CompareSink, HashSink};
use crate::source::Input;

impl Disk<'_> {
    /// Writes the canonical form to a sink. The output has the size of the image, unless the options change
    /// the size.
    ///
    /// # Errors
    ///
    /// See [`Error`]. Discard the output written so far.
    pub fn canonicalize(
        &self,
        options: &Options,
        sink: &dyn Sink,
        observer: &dyn Observer,
    ) -> Result<Report> {
        self.check_options(options)?;
        let settled = self.settle(options, observer)?;
        let new_values = settled.new_values();
        let (mut reports, mut changed) = (Vec::new(), false);
        if options.zero_gaps {
            self.gaps().into_iter().for_each(|gap| sink.in_use(gap));
        }
        for segment in self.segments(&settled.patches, options) {
            let io = |error| Error::io("writing the output", error);
            match segment {
                DiskSegment::Copied(range) => sinks::copy(&self.input, range, sink).map_err(io)?,
                DiskSegment::Patched(patch) => {
                    sink.write_at(patch.offset, &[IoSlice::new(&patch.bytes)]).map_err(io)?;
                    sink.in_use(patch.offset..patch.offset + patch.bytes.len() as u64);
                }
                DiskSegment::Filesystem(index, part) => {
                    let input = self.filesystem(part);
                    let sink = Shifted::new(sink, part.bytes.start, &input);
                    let report = pipeline::canonicalize(
                        &input,
                        &sink,
                        self.task(index, &settled, new_values.as_ref(), observer),
                    )
                    .map_err(|error| Self::error(part, error))?;
                    changed |= sink.rewrote_superblock() || notices::is_another(&report);
                    reports.push(report);
                }
            }
        }
        self.report(reports, &settled, options, changed)
    }

    /// Returns the SHA-256 of the output of [`Self::canonicalize`], without writing it.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn digest(&self, options: &Options, observer: &dyn Observer) -> Result<Digest> {
        let sink = HashSink::default();
        let report = self.canonicalize(options, &sink, observer)?;
        let sha256 = sink.finish(report.image_bytes);
        let warnings = report.filesystems.iter().flat_map(FilesystemReport::all_warnings);
        let warnings = warnings.map(str::to_owned).collect();
        Ok(Digest { sha256, warnings })
    }

    /// Compares the image with its canonical form, without writing that form. The image is canonical if there
    /// are no differences.
    ///
    /// Returns at most `limit` differences, in the order of their offsets.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn check(
        &self,
        options: &Options,
        limit: usize,
        observer: &dyn Observer,
    ) -> Result<(Report, Vec<Difference>)> {
        self.check_options(options)?;
        let settled = self.settle(options, observer)?;
        let new_values = settled.new_values();
        let (mut reports, mut differences) = (Vec::new(), Vec::new());
        for segment in self.segments(&settled.patches, options) {
            match segment {
                DiskSegment::Copied(_) => {}
                DiskSegment::Patched(patch) => {
                    let there = self.input.range(patch.offset, patch.offset + patch.bytes.len() as u64);
                    let there = there.expect("patches are within the table, which was read");
                    let pairs = there.iter().zip(&patch.bytes);
                    let first = pairs.take_while(|(one, other)| one == other).count();
                    if first < patch.bytes.len() {
                        let offset = patch.offset + first as u64;
                        differences.push(Difference { offset, what: "partition table".to_owned() });
                    }
                }
                DiskSegment::Filesystem(index, part) => {
                    let input = self.filesystem(part);
                    let (report, found) = pipeline::check(
                        &input,
                        limit,
                        self.task(index, &settled, new_values.as_ref(), observer),
                    )
                    .map_err(|error| Self::error(part, error))?;
                    reports.push(report);
                    differences.extend(found.into_iter().map(|found| Difference {
                        offset: part.bytes.start + found.offset,
                        what: match &part.name {
                            Some(name) => format!("{name}: {}", found.what),
                            None => found.what,
                        },
                    }));
                }
            }
        }
        if options.zero_gaps {
            let what = "bytes between partitions that should be zero";
            let set = self.gaps().into_iter();
            let set = set.filter_map(|gap| first_set_byte(self.input.bytes(), self.input.data_within(gap)));
            differences.extend(set.take(limit).map(|offset| Difference { offset, what: what.to_owned() }));
        }
        let report = self.report(reports, &settled, options, !differences.is_empty())?;
        differences.sort_by_key(|difference| difference.offset);
        differences.truncate(limit);
        Ok((report, differences))
    }

    /// Reads the output of [`Self::canonicalize`]. Compares its trees with the trees of the image, and the
    /// bytes outside the filesystems with the expected bytes.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the output differs, otherwise see [`Error`].
    pub fn verify(&self, output: &Input<'_>, options: &Options, observer: &dyn Observer) -> Result<()> {
        let wrong = |offset: u64| damaged_table(format!("byte {offset} of the output is wrong"));
        let length = output.bytes().len() as u64;
        if !self.is_filesystem() && length < self.input.bytes().len() as u64 {
            return Err(wrong(length));
        }
        let settled = self.settle(options, observer)?;
        let new_values = settled.new_values();
        for (index, part) in self.parts.iter().enumerate() {
            // A filesystem that is the whole image can have a different size in the output.
            let written = if self.is_filesystem() { output.clone() } else { output.part(part.bytes.clone()) };
            let task = self.task(index, &settled, new_values.as_ref(), observer);
            pipeline::verify(&self.filesystem(part), &written, task)
                .map_err(|error| Self::error(part, error))?;
        }
        let sink = CompareSink::new(output.clone(), 1);
        for segment in self.segments(&settled.patches, options) {
            match segment {
                DiskSegment::Copied(range) => sinks::copy(&self.input, range, &sink),
                DiskSegment::Patched(patch) => sink.write_at(patch.offset, &[IoSlice::new(&patch.bytes)]),
                DiskSegment::Filesystem(..) => Ok(()),
            }
            .map_err(|error| Error::io("reading the output", error))?;
        }
        match sink.offsets().first() {
            Some(offset) => Err(wrong(*offset)),
            None => Ok(()),
        }
    }

    /// Creates the report about the image from the reports about its filesystems.
    fn report(
        &self,
        mut filesystems: Vec<FilesystemReport>,
        settled: &Settled,
        options: &Options,
        changed: bool,
    ) -> Result<Report> {
        self.notice(&mut filesystems, settled, options, changed)?;
        for (report, part) in filesystems.iter_mut().zip(&self.parts) {
            report.name.clone_from(&part.name);
        }
        let image_bytes = match &filesystems[..] {
            [report] if self.is_filesystem() => report.image_bytes,
            _ => self.input.bytes().len() as u64,
        };
        Ok(Report { image_bytes, filesystems })
    }

    /// Rejects a different size for a filesystem that is only a part of the image.
    pub(super) fn check_size(&self, options: &Options) -> Result<()> {
        if self.is_filesystem() || options.size == SizePolicy::Keep {
            return Ok(());
        }
        Err(Error::options("a filesystem within an image keeps its size", Remedy::KeepSize))
    }

    /// Rejects options that are invalid for several filesystems, or for this image.
    fn check_options(&self, options: &Options) -> Result<()> {
        let refused = |problem: &str, remedy| Err(Error::options(problem, remedy));
        if self.parts.len() > 1 && matches!(options.uuid, UuidPolicy::Given(_)) {
            return refused("several filesystems can't have one UUID", Remedy::ChooseOne);
        }
        if self.parts.len() > 1 && matches!(options.settings, SettingsPolicy::Like(_)) {
            return refused("several filesystems would have the settings of one", Remedy::ChooseOne);
        }
        if self.parts.len() > 1 && options.label.is_some() {
            return refused("several filesystems would have one label", Remedy::ChooseOne);
        }
        self.check_size(options)?;
        if self.table.is_none() && options.zero_gaps {
            return refused("there is no partition table, so there are no gaps", Remedy::KeepGaps);
        }
        Ok(())
    }
}
