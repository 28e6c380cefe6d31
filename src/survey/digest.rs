//! The digest of what is stored of each file: XXH3 with 128 bits, of each segment that holds anything.

use std::ops::Range;

use rayon::prelude::*;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::{Bytes, StoredRun, Survey, UNIT_BYTES, windows};
use crate::content::FileContent;
use crate::form::SEGMENT_BYTES;
use crate::source::Source;
use crate::tree::{NodeId, Tree};
use crate::units::BlockNr;

/// The digests of all regular files.
#[derive(Debug, Default)]
pub struct Digests {
    digests: Vec<u128>,
    /// For each node and one past the last: the first of its digests.
    firsts: Vec<usize>,
}

impl Digests {
    /// The digests of a file's segments, in order; a segment without content has none.
    pub fn of(&self, id: NodeId) -> &[u128] {
        &self.digests[self.firsts[id.index()]..self.firsts[id.index() + 1]]
    }
}

/// A part of a file's stored runs, cut to a window of logical blocks, which begins and ends with segments.
struct Unit {
    node: NodeId,
    runs: Range<usize>,
    window: Range<u64>,
}

/// Digests all content that is stored.
pub fn digests(source: &Source<'_>, tree: &Tree, survey: &Survey) -> Digests {
    let mut found = Digests { digests: Vec::new(), firsts: Vec::with_capacity(tree.nodes.len() + 1) };
    let size = UNIT_BYTES / source.geometry.block_size as u64;
    let ids: Vec<NodeId> = tree.ids().collect();
    // In rounds, so that what is in flight stays little.
    for round in ids.chunks(1 << 14) {
        let mut units = Vec::new();
        for &node in round {
            let span = |run: &StoredRun| run.logical.into()..u64::from(run.logical) + u64::from(run.count);
            let windows = windows(survey.runs_of(node), size, span);
            units.extend(windows.into_iter().map(|(window, runs)| Unit { node, runs, window }));
        }
        let digest = |unit: &Unit| digest(source, tree, survey, unit);
        let parts: Vec<Vec<u128>> = units.par_iter().with_min_len(16).map(digest).collect();
        let mut parts = units.iter().map(|unit| unit.node).zip(parts).peekable();
        for &node in round {
            found.firsts.push(found.digests.len());
            while let Some((_, part)) = parts.next_if(|(owner, _)| *owner == node) {
                found.digests.extend(part);
            }
        }
    }
    found.firsts.push(found.digests.len());
    found.digests.shrink_to_fit();
    found
}

fn digest(source: &Source<'_>, tree: &Tree, survey: &Survey, unit: &Unit) -> Vec<u128> {
    let block_size = source.geometry.block_size;
    let segment_blocks = (SEGMENT_BYTES / block_size) as u64;
    let mut segments = Segments::default();
    let Some(file) = FileContent::of(source, tree, unit.node) else { return Vec::new() };
    // Bytes of a file behind its end count where its blocks do.
    let live = |logical: u64| match file.opaque_from {
        Some(_) => usize::MAX,
        None => usize::try_from(file.size - logical * block_size as u64).unwrap_or(usize::MAX),
    };
    let zeros = vec![0; block_size];
    for run in &survey.runs_of(unit.node)[unit.runs.clone()] {
        match run.source {
            Bytes::Zeros => {}
            Bytes::Tree => {
                let bytes = tree.inline_of(unit.node).unwrap_or_default();
                let end = live(0).min(block_size);
                segments.add(0, bytes);
                segments.add(0, &zeros[bytes.len().min(end)..end]);
            }
            Bytes::Input(physical) => {
                let start = u64::from(run.logical);
                let mut next = start.max(unit.window.start);
                let end = (start + u64::from(run.count)).min(unit.window.end);
                while next < end {
                    let segment = next / segment_blocks;
                    let stop = end.min((segment + 1) * segment_blocks);
                    let block = BlockNr(physical.0 + (next - start));
                    // The reader checked the run, so that there is one block at least.
                    let bytes = source.together(block, stop - next).unwrap_or_default();
                    segments.add(segment, &bytes[..bytes.len().min(live(next))]);
                    next += (bytes.len() / block_size).max(1) as u64;
                }
            }
        }
    }
    segments.finish()
}

/// The digests of segments, one after the other.
#[derive(Default)]
struct Segments<'a> {
    number: u64,
    /// The first bytes of the segment, which are often the only ones.
    first: Option<&'a [u8]>,
    hash: Option<Box<Xxh3>>,
    digests: Vec<u128>,
}

impl<'a> Segments<'a> {
    fn add(&mut self, number: u64, bytes: &'a [u8]) {
        if number != self.number {
            self.end();
            self.number = number;
        }
        if bytes.is_empty() {
            return;
        }
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        } else if let Some(first) = self.first.take() {
            let mut hash = Box::new(Xxh3::new());
            hash.update(first);
            hash.update(bytes);
            self.hash = Some(hash);
        } else {
            self.first = Some(bytes);
        }
    }

    fn end(&mut self) {
        self.digests.extend(self.hash.take().map(|hash| hash.digest128()));
        self.digests.extend(self.first.take().map(xxh3_128));
    }

    fn finish(mut self) -> Vec<u128> {
        self.end();
        self.digests
    }
}
