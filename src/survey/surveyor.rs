//! Finds blocks of zeros in the content of files, and decides which of them become holes. Swap files keep
//! their blocks of zeros.

use std::ops::Range;

use rayon::prelude::*;

use super::clusters::ClusteredFile;
use super::output_blocks::OutputUnits;
use super::run_list::{RunList, SurveyedPart};
use super::stored::Survey;
use super::windows::{cut, windows};
use crate::bytes::is_zero;
use crate::content::FileContent;
use crate::observe::Observer;
use crate::ondisk::extent;
use crate::policy::HolePolicy;
use crate::ranges::push_joined;
use crate::tree::{Bytes, Kind, NodeId, Run};
use crate::units::fits;
use crate::view::View;

/// The maximum size of a work item, in bytes.
const UNIT_BYTES: u64 = 8 << 20;
/// The number of work items of a large file that are surveyed before the results are collected.
const UNITS: usize = 1 << 4;
/// A part of a file: its runs in a window of logical blocks.
struct FilePart<'t> {
    runs: &'t [Run],
    window: Range<u64>,
}

/// The rules that decide which zero and unwritten blocks of a file become holes.
#[derive(Clone, Copy)]
pub(super) struct ContentRules {
    size: u64,
    /// The first logical block past the size.
    end: u64,
    /// The treatment of zeros in blocks that are not opaque.
    pub zeros: Zeros,
    /// See [`crate::tree::Node::opaque_from`].
    pub opaque_from: Option<u64>,
}

impl ContentRules {
    /// Returns whether the blocks up to the end are allocated in whole clusters. They are not if the
    /// allocation is kept, or if it is part of the content.
    fn has_whole_clusters(&self) -> bool {
        self.zeros == Zeros::Punch && self.opaque_from != Some(0)
    }

    /// Returns the treatment of a block of zeros, or of an unwritten block.
    ///
    /// Blocks from `opaque_from` on are kept, except unwritten blocks before the end of the file: they read
    /// as zeros, like holes.
    fn zeros(&self, logical: u32, unwritten: bool) -> Zeros {
        let logical = u64::from(logical);
        let opaque = self.opaque_from.is_some_and(|opaque| logical >= opaque);
        if opaque && (!unwritten || logical >= self.end) { Zeros::Keep } else { self.zeros }
    }
}

/// The treatment of blocks of zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Zeros {
    /// The blocks become holes.
    Punch,
    /// The blocks are unchanged.
    Keep,
    /// The blocks stay allocated and become written, because a swap file can't have holes.
    Write,
}

/// Returns whether a file is a single work item of at most `blocks` blocks.
fn is_small(runs: &[Run], blocks: u64) -> bool {
    runs.last().is_none_or(|last| last.end() <= blocks)
}

impl FilePart<'_> {
    fn blocks(&self) -> u64 {
        self.runs.iter().filter_map(|run| cut(run, &self.window)).map(|run| u64::from(run.count)).sum()
    }
}

/// The scan of file content that decides which blocks the output stores and which become holes.
pub(super) struct Surveyor<'s, 'a> {
    /// The tree and its image.
    pub view: View<'s, 'a>,
    /// The sizes of the output.
    pub output: OutputUnits,
    /// The policy for blocks of zeros.
    pub holes: HolePolicy,
    /// The observer of progress.
    pub observer: &'s dyn Observer,
}

impl Surveyor<'_, '_> {
    fn looks_like_extents(&self, node: NodeId) -> bool {
        let file = FileContent::of(self.view, node).filter(|_| self.output.inline_data);
        file.and_then(|file| file.block(0)).is_some_and(extent::resembles_root)
    }

    /// Surveys consecutive nodes.
    pub(super) fn files(&self, nodes: &[NodeId]) -> Survey {
        let (mut found, mut part) = (Survey::default(), SurveyedPart::default());
        for node in nodes {
            self.file(*node, &mut found, &mut part);
        }
        let runs = nodes.iter().map(|node| self.view.tree.runs_of(*node));
        let small = runs.filter(|runs| is_small(runs, self.unit_blocks())).flatten();
        self.observer.advance(small.map(|run| u64::from(run.count)).sum());
        found
    }

    fn unit_blocks(&self) -> u64 {
        UNIT_BYTES / self.view.source.geometry.block_bytes()
    }

    /// Surveys a node, and adds the result to `found`. `part` is an empty buffer.
    pub(super) fn file(&self, node: NodeId, found: &mut Survey, part: &mut SurveyedPart) {
        let Kind::Regular { size, inline, .. } = self.view.tree.node(node).kind else { return };
        let runs = self.view.tree.runs_of(node);
        if runs.is_empty() && inline.is_none() {
            return;
        }
        let rules = self.rules(node, size);
        let mut list = RunList::new(runs, &mut found.stored.runs);
        let cluster = self.output.per_cluster.filter(|_| rules.has_whole_clusters());
        if let Some(cluster) = cluster {
            let mut single = Vec::new();
            let mut blocks = RunList::new(&[], &mut single);
            let punched = self.blocks(node, rules, &mut blocks, part);
            blocks.finish();
            let blocks = rules.end.next_multiple_of(self.output.per_block.into());
            let file = ClusteredFile { blocks, cluster, input: runs };
            found.punched += punched - file.fill(&single, &mut list);
        } else {
            found.punched += self.blocks(node, rules, &mut list, part);
        }
        if list.finish() {
            found.stored.end_file(node);
        }
        if rules.zeros == Zeros::Write {
            found.swap_files.push(node);
        }
        if self.looks_like_extents(node) {
            found.lookalikes.push(node);
        }
    }

    /// Surveys the blocks of a file one by one, and adds the stored blocks. Returns the number of blocks that
    /// became holes. `part` is an empty buffer.
    fn blocks(
        &self,
        node: NodeId,
        rules: ContentRules,
        stored: &mut RunList<'_>,
        part: &mut SurveyedPart,
    ) -> u64 {
        let (runs, blocks) = (self.view.tree.runs_of(node), self.unit_blocks());
        if let Some(bytes) = self.view.tree.inline_of(node) {
            look_inside(bytes, self.view.source.geometry.block_size, rules, part);
            return stored.add(part);
        }
        if is_small(runs, blocks) {
            self.look(&FilePart { runs, window: 0..blocks }, rules, part);
            return stored.add(part);
        }
        let span = |run: &Run| u64::from(run.logical)..run.end();
        let look = |(window, places): &(Range<u64>, Range<usize>)| {
            let mut part = SurveyedPart::default();
            let unit = FilePart { runs: &runs[places.clone()], window: window.clone() };
            self.look(&unit, rules, &mut part);
            self.observer.advance(unit.blocks());
            part
        };
        let mut punched = 0;
        for round in windows(runs, blocks, span).chunks(UNITS) {
            let mut parts: Vec<_> = round.par_iter().map(look).collect();
            punched += parts.iter_mut().map(|part| stored.add(part)).sum::<u64>();
        }
        punched
    }

    /// Returns the treatment of the blocks of a regular file with this size.
    pub(super) fn rules(&self, node: NodeId, size: u64) -> ContentRules {
        let opaque_from = self.view.tree.node(node).opaque_from(self.view.source.geometry.block_size);
        let zeros = match self.holes {
            _ if opaque_from.is_none() && is_swap_file(self.view, node) => Zeros::Write,
            HolePolicy::Punch => Zeros::Punch,
            HolePolicy::Keep => Zeros::Keep,
        };
        ContentRules { size, end: self.view.source.geometry.blocks_of_bytes(size), zeros, opaque_from }
    }

    /// Surveys a part of a file, and adds the result to `part`.
    fn look(&self, unit: &FilePart<'_>, rules: ContentRules, part: &mut SurveyedPart) {
        for run in unit.runs.iter().filter_map(|run| cut(run, &unit.window)) {
            let mut done = 0;
            while done < run.count {
                let logical = run.logical + done;
                let mut room = run.count - done;
                if (u64::from(logical) + 1..u64::from(logical) + u64::from(room)).contains(&rules.end) {
                    // Blocks past the end have different rules.
                    room = fits(rules.end - u64::from(logical), "the end is within the run");
                }
                let physical = run.physical() + u64::from(done);
                let together = self.view.source.together(physical, room.into());
                let together = together.expect("the reader checked that the run is in the image");
                let count =
                    fits(together.len() / self.view.source.geometry.block_size, "it is at most `room`");
                self.look_at(run.part(logical, count), together, rules, part);
                done += count;
            }
        }
    }

    /// Surveys contiguous blocks. Either all of them are before the end of the file, or all are past it.
    fn look_at(&self, run: Run, bytes: &[u8], rules: ContentRules, part: &mut SurveyedPart) {
        if run.unwritten() || self.view.source.is_hole(run.physical(), run.count.into()) {
            keep_zeros(run, rules.zeros(run.logical, run.unwritten()), part);
            return;
        }
        let block_size = self.view.source.geometry.block_size;
        let live = if rules.opaque_from.is_some() {
            bytes.len()
        } else {
            let left = rules.size - u64::from(run.logical) * block_size as u64;
            // If the value does not fit, all bytes are part of the file.
            usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())
        };
        let mut stored = 0..0_u32;
        let flush = |stored: Range<u32>, part: &mut SurveyedPart| {
            if !stored.is_empty() {
                part.runs.push(run.part(run.logical + stored.start, stored.end - stored.start));
            }
        };
        for (index, block) in (0..run.count).zip(bytes[..live].chunks(block_size)) {
            if !is_zero(block) {
                if stored.end != index {
                    flush(stored, part);
                    stored = index..index;
                }
                stored.end = index + 1;
                continue;
            }
            flush(std::mem::take(&mut stored), part);
            let zeros = rules.zeros(run.logical + index, false);
            keep_zeros(run.part(run.logical + index, 1), zeros, part);
        }
        flush(stored, part);
    }
}

/// Adds blocks of zeros to a part, or turns them into a hole.
fn keep_zeros(run: Run, zeros: Zeros, part: &mut SurveyedPart) {
    if zeros == Zeros::Punch {
        part.punched += u64::from(run.count);
        return;
    }
    let stays = run.unwritten() && zeros == Zeros::Keep;
    if stays {
        part.runs.push(run);
    } else {
        // Blocks of zeros arrive one at a time, so they are joined here.
        push_joined(&mut part.runs, Run::new(run.logical, run.count, Bytes::Zeros));
    }
}

/// Surveys inline data as if it were in blocks.
fn look_inside(bytes: &[u8], block_size: usize, rules: ContentRules, part: &mut SurveyedPart) {
    let blocks = (0..).zip(bytes.chunks(block_size));
    for (logical, block) in blocks {
        let place = match is_zero(block) {
            false => Bytes::Tree,
            true if rules.zeros == Zeros::Punch => continue,
            true => Bytes::Zeros,
        };
        push_joined(&mut part.runs, Run::new(logical, 1, place));
    }
}

/// Returns whether a file has mkswap's signature at the end of its first page. The page size can be 4, 16 or
/// 64 KiB.
fn is_swap_file(view: View<'_, '_>, id: NodeId) -> bool {
    const SIGNATURE: &[u8] = b"SWAPSPACE2";
    let Some(file) = FileContent::of(view, id) else { return false };
    [4096_u64, 16384, 65536].iter().any(|page| {
        let start = page - SIGNATURE.len() as u64;
        file.within_block(start, SIGNATURE.len()) == Some(SIGNATURE)
    })
}
