//! Divides the canonical form of a disk into segments: filesystems, changed bytes of the partition table, and
//! copied bytes.

use std::ops::Range;

use super::chosen::ChosenFilesystem;
use super::guids::{self, Patch};
use super::image::Disk;
use crate::error::{Error, Result};
use crate::observe::Observer;
use crate::pipeline;
use crate::policy::Options;
use crate::ranges::outside;
use crate::sinks;

/// A segment of the output.
#[derive(Debug)]
pub(super) enum DiskSegment<'d> {
    Copied(Range<u64>),
    Patched(&'d Patch),
    Filesystem(&'d ChosenFilesystem),
}

impl Disk<'_> {
    /// Returns the bytes to replace in the partition table; none unless GUIDs are derived.
    pub(super) fn patches(&self, options: &Options, observer: &dyn Observer) -> Result<Vec<Patch>> {
        let Some(table) = self.table.as_ref().filter(|_| options.derive_guids) else {
            return Ok(Vec::new());
        };
        let content = |index: usize| {
            let Some(part) = self.parts.iter().find(|part| part.partition == Some(index)) else {
                let bytes = &table.partitions[index].bytes;
                return sinks::digest_of(&self.input.part(bytes.clone()))
                    .map_err(|error| Error::io("reading a partition", error));
            };
            let digest = pipeline::digest(&self.filesystem(part), self.task(options, observer));
            digest.map(|(_, digest)| digest).map_err(|error| Self::error(part, error))
        };
        let contents = (0..table.partitions.len()).map(content).collect::<Result<Vec<_>>>()?;
        guids::canonical(self.input.bytes(), table, &contents)
    }

    /// Returns the segments of the output, in the order of their offsets. Gaps that are zeroed are left out.
    pub(super) fn segments<'d>(&'d self, patches: &'d [Patch], options: &Options) -> Vec<DiskSegment<'d>> {
        let mut segments: Vec<(Range<u64>, DiskSegment<'d>)> = Vec::new();
        for patch in patches {
            segments
                .push((patch.offset..patch.offset + patch.bytes.len() as u64, DiskSegment::Patched(patch)));
        }
        for part in &self.parts {
            segments.push((part.bytes.clone(), DiskSegment::Filesystem(part)));
        }
        let mut taken: Vec<_> = segments.iter().map(|(range, _)| range.clone()).collect();
        if options.zero_gaps {
            taken.extend(self.gaps());
        }
        let copied = outside(taken, self.input.bytes().len() as u64);
        segments.extend(copied.into_iter().map(|range| (range.clone(), DiskSegment::Copied(range))));
        segments.sort_by_key(|(range, _)| range.start);
        segments.into_iter().map(|(_, segment)| segment).collect()
    }

    /// Returns the byte ranges that are copied if `patches` replace parts of the table.
    pub(super) fn copied(&self, patches: &[Patch], options: &Options) -> Vec<Range<u64>> {
        let segments = self.segments(patches, options).into_iter();
        let copied = segments.filter_map(|segment| match segment {
            DiskSegment::Copied(range) => Some(range),
            _ => None,
        });
        copied.collect()
    }

    /// If GUIDs are derived, returns the headers and entries of the GPT without GUIDs and checksums. They are
    /// equal on two disks that have equal canonical forms.
    pub(super) fn masked(&self, options: &Options) -> Vec<Patch> {
        let table = self.table.as_ref().filter(|_| options.derive_guids);
        table.map_or_else(Vec::new, |table| guids::masked(self.input.bytes(), table))
    }

    /// Returns the byte ranges that belong neither to a partition (of the GPT or MBR, or of a hybrid MBR) nor
    /// to the table.
    pub(super) fn gaps(&self) -> Vec<Range<u64>> {
        let Some(table) = &self.table else { return Vec::new() };
        let partitions = table.partitions.iter().map(|partition| partition.bytes.clone());
        let taken = partitions.chain(table.reserved.iter().cloned()).chain(table.hybrid.iter().cloned());
        outside(taken.collect(), self.input.bytes().len() as u64)
    }
}
