//! From a disk to its canonical form: filesystems where they stand, and all other bytes.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::guids::{self, Patch};
use super::{Disk, Part, notices};
use crate::bytes::first_set_byte;
use crate::check::CompareSink;
use crate::digest::{self, HashSink};
use crate::error::{Error, Result};
use crate::observe::Observer;
use crate::policy::{Options, SizePolicy, UuidPolicy};
use crate::report::{Difference, Report};
use crate::source::Input;
use crate::write::sink::Sink;
use crate::write::{self, Order};

/// Where the superblock ends, in bytes.
const SUPERBLOCK_END: u64 = 2048;

/// What happens to what is no filesystem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// Whether GUIDs of a GPT are derived from the content.
    pub canonical_guids: bool,
    /// Whether bytes that belong to no partition become zero.
    pub zero_gaps: bool,
}

/// Something that lies in the output, in the order of the offsets.
#[derive(Debug)]
enum Segment<'d> {
    Copied(Range<u64>),
    Patched(&'d Patch),
    Filesystem(&'d Part),
}

impl Disk<'_> {
    /// Writes the canonical form, as long as the image unless options ask for another size; returns a report for
    /// each filesystem.
    ///
    /// # Errors
    ///
    /// See [`Error`]. What was written to the sink until then is worthless.
    pub fn canonicalize(
        &self,
        options: &Options,
        around: Around,
        sink: &dyn Sink,
        observer: &dyn Observer,
    ) -> Result<Vec<Report>> {
        self.write(options, around, Order::Any, sink, observer)
    }

    /// The same, for a sink that needs the order of the offsets.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn stream(
        &self,
        options: &Options,
        around: Around,
        sink: &dyn Sink,
        observer: &dyn Observer,
    ) -> Result<Vec<Report>> {
        self.write(options, around, Order::Ascending, sink, observer)
    }

    /// Returns the SHA-256 of the canonical form, without writing it, and the report of each filesystem.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn digest(
        &self,
        options: &Options,
        around: Around,
        observer: &dyn Observer,
    ) -> Result<(Vec<Report>, [u8; 32])> {
        let sink = HashSink::default();
        let reports = self.write(options, around, Order::Ascending, &sink, observer)?;
        let digest = sink.finish(self.output_bytes(&reports));
        Ok((reports, digest))
    }

    /// Compares with the canonical form, as [`crate::check`] does.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn check(
        &self,
        options: &Options,
        around: Around,
        limit: usize,
        observer: &dyn Observer,
    ) -> Result<(Vec<Report>, Vec<Difference>)> {
        self.check_options(options, around)?;
        let patches = self.patches(options, around, observer)?;
        let (mut reports, mut differences) = (Vec::new(), Vec::new());
        for segment in self.segments(&patches, around) {
            match segment {
                Segment::Copied(_) => {}
                Segment::Patched(patch) => {
                    let there = self.input.range(patch.offset, patch.offset + patch.bytes.len() as u64);
                    let there = there.expect("patches replace what was read of the table");
                    let pairs = there.iter().zip(&patch.bytes);
                    let first = pairs.take_while(|(one, other)| one == other).count();
                    if first < patch.bytes.len() {
                        let offset = patch.offset + first as u64;
                        differences.push(Difference { offset, what: "partition table".to_owned() });
                    }
                }
                Segment::Filesystem(part) => {
                    let input = self.filesystem(part);
                    let (report, found) = crate::check(&input, options, limit, observer)
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
        if around.zero_gaps {
            let what = "bytes between partitions that should be zero";
            let set = self.gaps().into_iter();
            let set = set.filter_map(|gap| first_set_byte(self.input.bytes(), self.input.data_within(gap)));
            differences.extend(set.take(limit).map(|offset| Difference { offset, what: what.to_owned() }));
        }
        self.notice(&mut reports, &patches, !differences.is_empty());
        differences.sort_by_key(|difference| difference.offset);
        differences.truncate(limit);
        Ok((reports, differences))
    }

    /// Reads the canonical form again, and compares what it holds with the image.
    ///
    /// # Errors
    ///
    /// As [`crate::verify`].
    pub fn verify(
        &self,
        output: &Input<'_>,
        options: &Options,
        around: Around,
        observer: &dyn Observer,
    ) -> Result<()> {
        for part in &self.parts {
            // A filesystem alone may have got another size.
            let written = if self.is_filesystem() { output.clone() } else { output.part(part.bytes.clone()) };
            crate::verify(&self.filesystem(part), &written, options, observer)
                .map_err(|error| Self::error(part, error))?;
        }
        let patches = self.patches(options, around, observer)?;
        let sink = CompareSink::new(output.clone(), 1);
        for segment in self.segments(&patches, around) {
            match segment {
                Segment::Copied(range) => write::copy(&self.input, range, &sink),
                Segment::Patched(patch) => sink.write_at(patch.offset, &[IoSlice::new(&patch.bytes)]),
                Segment::Filesystem(_) => Ok(()),
            }
            .map_err(|error| Error::io("reading the output", error))?;
        }
        match sink.first() {
            Some(offset) => Err(super::damaged_table(format!("byte {offset} of the output is another"))),
            None => Ok(()),
        }
    }

    fn write(
        &self,
        options: &Options,
        around: Around,
        order: Order,
        sink: &dyn Sink,
        observer: &dyn Observer,
    ) -> Result<Vec<Report>> {
        self.check_options(options, around)?;
        let patches = self.patches(options, around, observer)?;
        let (mut reports, mut changed) = (Vec::new(), false);
        if around.zero_gaps {
            self.gaps().into_iter().for_each(|gap| sink.in_use(gap));
        }
        for segment in self.segments(&patches, around) {
            let io = |error| Error::io("writing the output", error);
            match segment {
                Segment::Copied(range) => write::copy(&self.input, range, sink).map_err(io)?,
                Segment::Patched(patch) => {
                    sink.write_at(patch.offset, &[IoSlice::new(&patch.bytes)]).map_err(io)?;
                    sink.in_use(patch.offset..patch.offset + patch.bytes.len() as u64);
                }
                Segment::Filesystem(part) => {
                    let input = self.filesystem(part);
                    let sink = Shifted { sink, by: part.bytes.start, input: &input, rewritten: false.into() };
                    let report = crate::canonicalize_in(order, &input, options, &sink, observer)
                        .map_err(|error| Self::error(part, error))?;
                    changed |= sink.rewritten.into_inner() || notices::is_another(&report);
                    reports.push(report);
                }
            }
        }
        self.notice(&mut reports, &patches, changed);
        Ok(reports)
    }

    /// Refuses what can't be had of all filesystems at once, or not of this image.
    fn check_options(&self, options: &Options, around: Around) -> Result<()> {
        let refused = |words: &str| Err(Error::Options(words.to_owned()));
        if self.parts.len() > 1 && matches!(options.uuid, UuidPolicy::Given(_)) {
            return refused("several filesystems can't have one UUID: use --partition to choose one");
        }
        if self.parts.len() > 1 && options.label.is_some() {
            return refused("several filesystems would have one label: use --partition to choose one");
        }
        if !self.is_filesystem() && options.size != SizePolicy::Keep {
            return refused("a filesystem within an image keeps its size: leave --size out");
        }
        if self.table.is_none() && around.zero_gaps {
            return refused("there are no partitions that gaps could lie between: leave --zero-gaps out");
        }
        let has_guids =
            self.table.as_ref().is_some_and(|table| matches!(table.kind, super::TableKind::Gpt(_)));
        if around.canonical_guids && !has_guids {
            return refused("there is no GPT whose GUIDs could be derived: leave --gpt out");
        }
        Ok(())
    }

    /// What of the partition table becomes another.
    fn patches(&self, options: &Options, around: Around, observer: &dyn Observer) -> Result<Vec<Patch>> {
        let Some(table) = self.table.as_ref().filter(|_| around.canonical_guids) else {
            return Ok(Vec::new());
        };
        let content = |index: usize| {
            let Some(part) = self.parts.iter().find(|part| part.partition == Some(index)) else {
                let bytes = &table.partitions[index].bytes;
                return digest::of(&self.input.part(bytes.clone()))
                    .map_err(|error| Error::io("reading a partition", error));
            };
            let digest = crate::digest(&self.filesystem(part), options, observer);
            digest.map(|(_, digest)| digest).map_err(|error| Self::error(part, error))
        };
        let contents = (0..table.partitions.len()).map(content).collect::<Result<Vec<_>>>()?;
        guids::canonical(self.input.bytes(), table, &contents)
    }

    /// What lies in the output. Gaps that become zero are left out.
    fn segments<'d>(&'d self, patches: &'d [Patch], around: Around) -> Vec<Segment<'d>> {
        let mut segments: Vec<(Range<u64>, Segment<'d>)> = Vec::new();
        for patch in patches {
            segments.push((patch.offset..patch.offset + patch.bytes.len() as u64, Segment::Patched(patch)));
        }
        for part in &self.parts {
            segments.push((part.bytes.clone(), Segment::Filesystem(part)));
        }
        let mut taken: Vec<_> = segments.iter().map(|(range, _)| range.clone()).collect();
        if around.zero_gaps {
            taken.extend(self.gaps());
        }
        let copied = outside(taken, self.input.bytes().len() as u64);
        segments.extend(copied.into_iter().map(|range| (range.clone(), Segment::Copied(range))));
        segments.sort_by_key(|(range, _)| range.start);
        segments.into_iter().map(|(_, segment)| segment).collect()
    }

    /// What is copied, if `patches` stand in the place of the table.
    pub(super) fn copied(&self, patches: &[Patch], around: Around) -> Vec<Range<u64>> {
        let segments = self.segments(patches, around).into_iter();
        let copied = segments.filter_map(|segment| match segment {
            Segment::Copied(range) => Some(range),
            _ => None,
        });
        copied.collect()
    }

    /// What two disks have to have in common of what GUIDs are derived from.
    pub(super) fn masked(&self, around: Around) -> Vec<Patch> {
        let table = self.table.as_ref().filter(|_| around.canonical_guids);
        table.map_or_else(Vec::new, |table| guids::masked(self.input.bytes(), table))
    }

    /// The bytes that belong neither to a partition nor to the table.
    fn gaps(&self) -> Vec<Range<u64>> {
        let Some(table) = &self.table else { return Vec::new() };
        let partitions = table.partitions.iter().map(|partition| partition.bytes.clone());
        let taken = partitions.chain(table.reserved.iter().cloned()).chain(table.hybrid.iter().cloned());
        outside(taken.collect(), self.input.bytes().len() as u64)
    }
}

/// The bytes of an image outside ranges, in order.
fn outside(mut ranges: Vec<Range<u64>>, length: u64) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let (mut found, mut at) = (Vec::new(), 0);
    for range in ranges.into_iter().chain(std::iter::once(length..length)) {
        // A hybrid MBR may tell of more than there is.
        let start = range.start.min(length);
        if at < start {
            found.push(at..start);
        }
        at = at.max(range.end);
    }
    found
}

/// A part of a sink, which a filesystem goes to.
struct Shifted<'s> {
    sink: &'s dyn Sink,
    by: u64,
    input: &'s Input<'s>,
    /// Whether the superblock becomes another, as it does by a mount that changed nothing else.
    rewritten: AtomicBool,
}

impl Shifted<'_> {
    /// Whether what is written of the first 2048 bytes is not what the input has there.
    fn differs(&self, mut offset: u64, parts: &[IoSlice<'_>]) -> bool {
        for part in parts {
            let Some(length) = SUPERBLOCK_END.checked_sub(offset).filter(|length| *length > 0) else { break };
            // At most SUPERBLOCK_END.
            let head = &part[..part.len().min(length as usize)];
            if self.input.range(offset, offset + head.len() as u64) != Some(head) {
                return true;
            }
            offset += part.len() as u64;
        }
        false
    }
}

impl Sink for Shifted<'_> {
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        if self.differs(offset, parts) {
            self.rewritten.store(true, Ordering::Relaxed);
        }
        self.sink.write_at(self.by + offset, parts)
    }

    fn in_use(&self, bytes: Range<u64>) {
        self.sink.in_use(self.by + bytes.start..self.by + bytes.end);
    }

    fn take_over(&self, offset: u64, from: u64, length: u64) -> u64 {
        self.sink.take_over(self.by + offset, self.by + from, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_ranges() {
        let ranges = vec![5..7, 0..2, 6..9, 7..8];
        assert_eq!(outside(ranges, 12), [2..5, 9..12]);
        assert_eq!(outside(vec![0..2, 2..12], 12), []);
        assert_eq!(outside(vec![0..2, 20..30], 12).as_slice(), std::slice::from_ref(&(2..12)));
        assert_eq!(outside(vec![2..3, 0..0], 3).as_slice(), std::slice::from_ref(&(0..2)));
    }
}
