//! Digests the stored content of each file, with 128-bit XXH3 for each segment with stored bytes.

use std::ops::Range;
use std::sync::OnceLock;

use rayon::prelude::*;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::gathered;
use super::stored::{StoredTree, StoredView};
use super::windows::windows;
use crate::content::FileContent;
use crate::form::SEGMENT_BYTES;
use crate::tree::{Bytes, NodeId, Run};
use crate::units::fits;

/// A segment of a file with stored runs.
#[derive(Clone, Copy, Debug)]
struct Segment {
    node: NodeId,
    /// The index of the segment in its file.
    number: u32,
}

/// All segments in the order of the nodes, and their division into parts, which are digested one at a time.
#[derive(Debug, Default)]
pub struct Segments {
    list: Vec<Segment>,
    parts: Vec<Range<usize>>,
}

impl Segments {
    /// Returns the segments of all stored content. A part ends at the first segment that reaches the next
    /// multiple of `bytes`.
    pub fn new(block_size: usize, tree: StoredTree<'_>, bytes: u64) -> Self {
        let size = (SEGMENT_BYTES / block_size) as u64;
        let (mut list, mut parts, mut start, mut total) = (Vec::new(), Vec::new(), 0, 0);
        for node in tree.tree.ids() {
            let stored = tree.runs_of(node);
            let mut add = |window: Range<u64>, runs: &[Run]| {
                let input = runs.iter().filter(|run| run.stored_at().is_some()).map(span);
                let blocks =
                    input.map(|run| run.end.min(window.end).saturating_sub(run.start.max(window.start)));
                total += blocks.sum::<u64>() * block_size as u64;
                let number = fits(window.start / size, "logical blocks have 32 bits");
                list.push(Segment { node, number });
                if total / bytes > parts.len() as u64 {
                    parts.push(start..list.len());
                    start = list.len();
                }
            };
            match stored.last() {
                // Most files have only one segment.
                Some(last) if span(last).end <= size => add(0..size, stored),
                _ => windows(stored, size, span)
                    .into_iter()
                    .for_each(|(window, runs)| add(window, &stored[runs])),
            }
        }
        parts.push(start..list.len());
        Self { list, parts }
    }
}

/// The digests of a part's segments; `None` for a segment of zeros.
type PartDigests = Vec<Option<[u8; 16]>>;

/// A digester of content. It digests one part at a time, so that the bytes are still in the processor's cache
/// when they are copied.
#[derive(Debug)]
pub struct Digester<'s, 'a> {
    view: StoredView<'s, 'a>,
    segments: &'s Segments,
    parts: Vec<OnceLock<PartDigests>>,
}

impl<'s, 'a> Digester<'s, 'a> {
    /// Creates a digester of these segments.
    pub fn new(view: StoredView<'s, 'a>, segments: &'s Segments) -> Self {
        let parts = segments.parts.iter().map(|_| OnceLock::new()).collect();
        Self { view, segments, parts }
    }

    /// Returns the number of parts.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Digests a part, unless it is already digested.
    pub fn digest(&self, part: usize) {
        self.digests(part);
    }

    fn digests(&self, part: usize) -> &[Option<[u8; 16]>] {
        self.parts[part].get_or_init(|| {
            let digest = |segment: &Segment| digest(self.view, *segment);
            let segments = &self.segments.list[self.segments.parts[part].clone()];
            segments.iter().map(|segment| digest(segment).map(u128::to_le_bytes)).collect()
        })
    }

    /// Digests all remaining parts.
    pub fn finish(&self) {
        (0..self.parts.len()).into_par_iter().for_each(|part| self.digest(part));
    }

    /// Returns the first node with a segment that is not digested yet. The first `done` parts are known to be
    /// digested. Updates `done`.
    pub fn next_node(&self, done: &mut usize) -> NodeId {
        while self.parts.get(*done).is_some_and(|part| part.get().is_some()) {
            *done += 1;
        }
        let part = self.segments.parts.get(*done);
        let segment = part.and_then(|part| self.segments.list.get(part.start));
        segment.map_or(NodeId(u32::MAX), |segment| segment.node)
    }

    /// Returns the digests of `node` and all later nodes.
    pub fn from(&self, node: NodeId) -> DigestsFrom<'_> {
        let segment = self.segments.list.partition_point(|segment| segment.node < node);
        let part = self.segments.parts.partition_point(|part| part.end <= segment);
        DigestsFrom { digester: self, segment, part }
    }
}

/// An iteration over the digests of nodes in order.
pub struct DigestsFrom<'d> {
    digester: &'d Digester<'d, 'd>,
    segment: usize,
    part: usize,
}

impl DigestsFrom<'_> {
    /// Calls `take` with the digests of the next node's segments, in order. A node without content has no
    /// digests.
    pub fn each(&mut self, node: NodeId, mut take: impl FnMut([u8; 16])) {
        let Segments { list, parts } = self.digester.segments;
        while list.get(self.segment).is_some_and(|segment| segment.node == node) {
            while parts[self.part].end <= self.segment {
                self.part += 1;
            }
            let digests = self.digester.digests(self.part);
            digests[self.segment - parts[self.part].start].map(&mut take);
            self.segment += 1;
        }
    }
}

/// Returns the logical blocks of a run.
fn span(run: &Run) -> Range<u64> {
    run.logical.into()..run.end()
}

fn digest(view: StoredView<'_, '_>, segment: Segment) -> Option<u128> {
    let StoredView { source, stored } = view;
    let block_size = source.geometry.block_size;
    let file = FileContent::of(view.view(), segment.node)?;
    // With opaque blocks, the bytes past the end of the file are also content.
    let live = |logical: u64| match file.opaque_from {
        Some(_) => usize::MAX,
        // A saturated value is still larger than any block.
        None => usize::try_from(file.size - logical * block_size as u64).unwrap_or(usize::MAX),
    };
    let mut hasher = Hasher::default();
    if stored.per_block > 1 {
        let start = u64::from(segment.number) * SEGMENT_BYTES as u64;
        let range = start..start + SEGMENT_BYTES as u64;
        gathered::each_part(view, (segment.node, file.size), &range, |bytes| hasher.add(bytes));
        return hasher.finish();
    }
    let zeros = vec![0; block_size];
    let start = u64::from(segment.number) * (SEGMENT_BYTES / block_size) as u64;
    let window = start..start + (SEGMENT_BYTES / block_size) as u64;
    let runs = stored.runs_of(segment.node);
    let runs = &runs[runs.partition_point(|run| span(run).end <= window.start)..];
    for run in runs.iter().take_while(|run| span(run).start < window.end) {
        match run.bytes() {
            Bytes::Zeros | Bytes::Unwritten(_) => {}
            Bytes::Tree => {
                let bytes =
                    stored.tree.inline_of(segment.node).expect("the run says that the tree holds the bytes");
                // Inline data is shorter than a segment.
                let start = run.logical as usize * block_size;
                let end = (start + run.count as usize * block_size).min(live(0));
                let stored = start.min(bytes.len())..end.min(bytes.len());
                let missing = end - start - stored.len();
                hasher.add(&bytes[stored]);
                hasher.add(&zeros[..missing]);
            }
            Bytes::At(physical) => {
                let start = u64::from(run.logical);
                let mut next = start.max(window.start);
                let end = run.end().min(window.end);
                while next < end {
                    let block = physical + (next - start);
                    let bytes = source.together(block, end - next);
                    let bytes = bytes.expect("the reader checked that the run is in the image");
                    hasher.add(&bytes[..bytes.len().min(live(next))]);
                    next += (bytes.len() / block_size) as u64;
                }
            }
        }
    }
    hasher.finish()
}

/// A hasher that returns `None` if no bytes were added.
#[derive(Default)]
struct Hasher<'a> {
    /// The first bytes. Often there are no further bytes.
    first: Option<&'a [u8]>,
    hash: Option<Box<Xxh3>>,
}

impl<'a> Hasher<'a> {
    fn add(&mut self, bytes: &'a [u8]) {
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

    fn finish(self) -> Option<u128> {
        self.hash.map(|hash| hash.digest128()).or_else(|| self.first.map(xxh3_128))
    }
}
