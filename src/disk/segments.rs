//! Divides the canonical form of a disk into segments: filesystems, changed bytes of the partition table, and
//! copied bytes.

use std::ops::Range;

use super::chosen::ChosenFilesystem;
use super::guids::{self, Patch};
use super::image::Disk;
use super::partition_table::TableKind;
use super::signature;
use crate::error::{Error, Result};
use crate::policy::Options;
use crate::ranges::outside;
use crate::sinks;

/// A segment of the output.
#[derive(Debug)]
pub(super) enum DiskSegment<'d> {
    Copied(Range<u64>),
    Patched(&'d Patch),
    /// The index of a filesystem, and the filesystem.
    Filesystem(usize, &'d ChosenFilesystem),
}

impl Disk<'_> {
    /// Returns the bytes to replace in the partition table; none unless its identities are derived. `digest`
    /// returns the digest of the canonical form of a filesystem.
    pub(super) fn patches(
        &self,
        options: &Options,
        digest: impl Fn(usize) -> Result<[u8; 32]>,
    ) -> Result<Vec<Patch>> {
        let Some(table) = self.table.as_ref().filter(|_| options.canonical_table) else {
            return Ok(Vec::new());
        };
        let content = |index: usize| {
            let Some(part) = self.parts.iter().position(|part| part.partition == Some(index)) else {
                let bytes = &table.partitions[index].bytes;
                return sinks::digest_of(&self.input.part(bytes.clone()))
                    .map_err(|error| Error::io("reading a partition", error));
            };
            digest(part).map_err(|error| Self::error(&self.parts[part], error))
        };
        let contents = (0..table.partitions.len()).map(content).collect::<Result<Vec<_>>>()?;
        let bytes = self.input.bytes();
        let mut patches = signature::canonical(bytes, table, &contents)?;
        patches.extend(guids::canonical(bytes, table, &contents)?);
        Ok(patches)
    }

    /// Returns the segments of the output, in the order of their offsets. Gaps that are zeroed are left out.
    pub(super) fn segments<'d>(&'d self, patches: &'d [Patch], options: &Options) -> Vec<DiskSegment<'d>> {
        let mut segments: Vec<(Range<u64>, DiskSegment<'d>)> = Vec::new();
        for patch in patches {
            segments
                .push((patch.offset..patch.offset + patch.bytes.len() as u64, DiskSegment::Patched(patch)));
        }
        for (index, part) in self.parts.iter().enumerate() {
            segments.push((part.bytes.clone(), DiskSegment::Filesystem(index, part)));
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

    /// If the identities of the table are derived, returns the headers and entries of the GPT without GUIDs and
    /// checksums, or zeros for the signature of the MBR. They are equal on two disks that have equal canonical
    /// forms.
    pub(super) fn masked(&self, options: &Options) -> Vec<Patch> {
        let table = self.table.as_ref().filter(|_| options.canonical_table);
        let bytes = self.input.bytes();
        table.map_or_else(Vec::new, |table| {
            let guids = match table.kind {
                TableKind::Gpt(_) => guids::masked(bytes, table),
                TableKind::Mbr(_) => Vec::new(),
            };
            signature::masked(bytes, table).into_iter().chain(guids).collect()
        })
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
