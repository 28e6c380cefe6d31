//! One parallel pass over file content: which blocks hold anything but zeros. The digest of what is
//! stored is another one, beside the writing.

mod allocation;
mod clusters;
mod digest;
mod stored;

pub use allocation::{allocation, joined};
pub use digest::{Digester, DigestsFrom, Segments};

use std::ops::Range;

use rayon::prelude::*;

use crate::content::FileContent;
use crate::observe::{Observer, Stage};
use crate::ondisk::extent;
use crate::ondisk::features::Incompat;
use crate::policy::HolePolicy;
use crate::source::Source;
use crate::tree::{Bytes, Kind, NodeId, Run, Text, Tree};
use crate::units::{BlockNr, fits};
use stored::Stored;

/// What was found about the content of all regular files. What is to be stored of it are from then on the
/// runs of the tree: for most files, those of the input.
#[derive(Debug, Default)]
pub struct Survey {
    /// Swap files, in the order of the nodes.
    swap_files: Vec<NodeId>,
    /// Files that begin like the root of an extent tree, in the order of the nodes.
    lookalikes: Vec<NodeId>,
    /// Blocks of zeros, and unwritten ones, that became holes.
    pub punched: u64,
}

impl Survey {
    /// Whether e2fsck would take the content of a file, were it inline, for an extent tree.
    pub fn looks_like_extents(&self, id: NodeId) -> bool {
        self.lookalikes.binary_search(&id).is_ok()
    }

    /// Whether a file is a swap file with content.
    pub fn is_swap_file(&self, id: NodeId) -> bool {
        self.swap_files.binary_search(&id).is_ok()
    }
}

/// A part of a file: runs, cut to a window of logical blocks.
struct Unit<'t> {
    runs: &'t [Run],
    window: Range<u64>,
}

/// What is done with the blocks of a file.
#[derive(Clone, Copy)]
struct Rules {
    size: u64,
    /// The first logical block behind the size.
    end: u64,
    /// What happens to zeros that are not opaque.
    zeros: Zeros,
    /// See [`crate::tree::Node::opaque_from`].
    opaque_from: Option<u64>,
}

impl Rules {
    /// Whether blocks up to the end are stored or not by whole clusters: not where their allocation
    /// stays as it is, or must be told from zeros.
    fn has_whole_clusters(&self) -> bool {
        self.zeros == Zeros::Punch && self.opaque_from != Some(0)
    }

    /// What happens to a block of zeros, or to one that is `unwritten` and reads as zeros, though
    /// not behind the end, where nothing is read.
    fn zeros(&self, logical: u32, unwritten: bool) -> Zeros {
        let logical = u64::from(logical);
        let opaque = self.opaque_from.is_some_and(|opaque| logical >= opaque);
        if opaque && (!unwritten || logical >= self.end) { Zeros::Keep } else { self.zeros }
    }
}

/// What happens to blocks of zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Zeros {
    /// They become holes.
    Punch,
    /// They stay as they are.
    Keep,
    /// They stay allocated, and count as written: a swap file can't have holes.
    Write,
}

/// What one unit holds.
#[derive(Default)]
struct Part {
    runs: Vec<Run>,
    punched: u64,
}

/// What consecutive nodes hold.
#[derive(Default)]
struct Found {
    survey: Survey,
    /// Files whose runs are others than the input's, and how many they have.
    changed: Vec<(NodeId, u32)>,
    /// These runs.
    runs: Vec<Run>,
}

/// Bytes that one unit of work covers at most.
const UNIT_BYTES: u64 = 8 << 20;
/// Units of a large file that are looked at before what was found is put together.
const UNITS: usize = 1 << 4;
/// Nodes that one thread looks at together.
const NODES: usize = 512;
/// Nodes that are looked at before what was found is put together.
const ROUND: usize = 1 << 15;

/// Looks through all content, and changes the tree's runs to those that are to be stored.
pub fn survey(source: &Source<'_>, tree: &mut Tree, holes: HolePolicy, observer: &dyn Observer) -> Survey {
    let total: u64 = tree.runs.iter().map(|run| u64::from(run.count)).sum();
    observer.begin(Stage::Survey, total);
    let nodes: Vec<NodeId> = tree.ids().collect();
    let mut survey = Survey::default();
    // In rounds, so that what is in flight stays little.
    for round in nodes.chunks(ROUND) {
        let surveyor = Surveyor { source, tree, holes, observer };
        let found: Vec<_> = round.par_chunks(NODES).map(|nodes| surveyor.files(nodes)).collect();
        tree.runs.reserve_exact(found.iter().map(|found| found.runs.len()).sum());
        found.into_iter().for_each(|found| survey.append(found, tree));
    }
    survey
}

impl Survey {
    /// Adds what the next nodes hold.
    fn append(&mut self, found: Found, tree: &mut Tree) {
        let Found { survey: mut next, changed, mut runs } = found;
        let mut start = tree.runs.len();
        tree.runs.append(&mut runs);
        for (node, runs) in changed {
            if let Kind::Regular { first, count, .. } = &mut tree.nodes[node.index()].kind {
                (*first, *count) = (start, runs);
                start += runs as usize;
            }
        }
        self.swap_files.append(&mut next.swap_files);
        self.lookalikes.append(&mut next.lookalikes);
        self.punched += next.punched;
    }
}

/// The part of a run that lies in a window.
fn cut(run: &Run, window: &Range<u64>) -> Option<Run> {
    let start = window.start.max(run.logical.into());
    let end = window.end.min(u64::from(run.logical) + u64::from(run.count));
    let count = u32::try_from(end.checked_sub(start)?).ok().filter(|count| *count > 0)?;
    Some(run.part(u32::try_from(start).ok()?, count))
}

/// Whether a file is one unit, of so many blocks.
fn is_small(runs: &[Run], blocks: u64) -> bool {
    runs.last().is_none_or(|last| last.end() <= blocks)
}

impl Unit<'_> {
    fn blocks(&self) -> u64 {
        self.runs.iter().filter_map(|run| cut(run, &self.window)).map(|run| u64::from(run.count)).sum()
    }
}

struct Surveyor<'s, 'a> {
    source: &'s Source<'a>,
    tree: &'s Tree,
    holes: HolePolicy,
    observer: &'s dyn Observer,
}

impl Surveyor<'_, '_> {
    fn looks_like_extents(&self, node: NodeId) -> bool {
        let inline = self.source.features().has(Incompat::INLINE_DATA);
        let file = FileContent::of(self.source, self.tree, node).filter(|_| inline);
        file.and_then(|file| file.block(0)).is_some_and(extent::resembles_root)
    }

    /// What consecutive nodes hold.
    fn files(&self, nodes: &[NodeId]) -> Found {
        let (mut found, mut part) = (Found::default(), Part::default());
        for node in nodes {
            self.file(*node, &mut found, &mut part);
        }
        let runs = nodes.iter().map(|node| self.tree.runs_of(*node));
        let small = runs.filter(|runs| is_small(runs, self.unit_blocks())).flatten();
        self.observer.advance(small.map(|run| u64::from(run.count)).sum());
        found
    }

    fn unit_blocks(&self) -> u64 {
        UNIT_BYTES / self.source.geometry.block_bytes()
    }

    /// Adds what a node holds; the part is empty.
    fn file(&self, node: NodeId, found: &mut Found, part: &mut Part) {
        let Kind::Regular { size, inline, .. } = self.tree.node(node).kind else { return };
        let runs = self.tree.runs_of(node);
        if runs.is_empty() && inline.is_none() {
            return;
        }
        let rules = self.rules(node, size);
        let first = found.runs.len();
        let cluster = self.source.geometry.blocks_per_cluster;
        let mut stored = Stored::new(runs, &mut found.runs);
        if cluster > 1 && rules.has_whole_clusters() {
            let mut single = Vec::new();
            let mut blocks = Stored::new(&[], &mut single);
            let mut punched = self.blocks(node, rules, inline, (&mut blocks, part));
            blocks.finish();
            clusters::fill(&single, (rules.end, cluster), runs, (&mut stored, &mut punched));
            found.survey.punched += punched;
        } else {
            found.survey.punched += self.blocks(node, rules, inline, (&mut stored, part));
        }
        if stored.finish() {
            let count = fits(found.runs.len() - first, "a file has fewer than 2^32 blocks");
            found.changed.push((node, count));
        }
        if rules.zeros == Zeros::Write {
            found.survey.swap_files.push(node);
        }
        if self.looks_like_extents(node) {
            found.survey.lookalikes.push(node);
        }
    }

    /// Adds what single blocks of a file are to be stored; the part is empty. Returns how many blocks became
    /// holes.
    fn blocks(
        &self,
        node: NodeId,
        rules: Rules,
        inline: Option<Text>,
        (stored, part): (&mut Stored<'_>, &mut Part),
    ) -> u64 {
        let (runs, blocks) = (self.tree.runs_of(node), self.unit_blocks());
        if let Some(text) = inline {
            look_inside(self.tree.text(text), rules, part);
            return stored.add(part);
        }
        if is_small(runs, blocks) {
            self.look(&Unit { runs, window: 0..blocks }, rules, part);
            return stored.add(part);
        }
        let span = |run: &Run| u64::from(run.logical)..run.end();
        let look = |(window, places): &(Range<u64>, Range<usize>)| {
            let mut part = Part::default();
            let unit = Unit { runs: &runs[places.clone()], window: window.clone() };
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

    /// What is done with the blocks of a regular file of this size.
    fn rules(&self, node: NodeId, size: u64) -> Rules {
        let opaque_from = self.tree.node(node).opaque_from(self.source.geometry.block_size);
        let zeros = match self.holes {
            _ if opaque_from.is_none() && is_swap_file(self.source, self.tree, node) => Zeros::Write,
            HolePolicy::Punch => Zeros::Punch,
            HolePolicy::Keep => Zeros::Keep,
        };
        Rules { size, end: self.source.geometry.blocks_of_bytes(size), zeros, opaque_from }
    }

    /// Looks at a part of a file.
    fn look(&self, unit: &Unit<'_>, rules: Rules, part: &mut Part) {
        for run in unit.runs.iter().filter_map(|run| cut(run, &unit.window)) {
            let mut done = 0;
            while done < run.count {
                let logical = run.logical + done;
                let mut room = run.count - done;
                if (u64::from(logical) + 1..u64::from(logical) + u64::from(room)).contains(&rules.end) {
                    // What lies behind the end has rules of its own.
                    room = fits(rules.end - u64::from(logical), "the end is within the run");
                }
                let physical = BlockNr(run.physical().0 + u64::from(done));
                let together = self.source.together(physical, room.into());
                let together = together.expect("the reader checked that the run is in the image");
                let count = fits(together.len() / self.source.geometry.block_size, "it is at most `room`");
                self.look_at(run.part(logical, count), together, rules, part);
                done += count;
            }
        }
    }

    /// Looks at blocks that lie together, all up to the end or all behind it.
    fn look_at(&self, run: Run, bytes: &[u8], rules: Rules, part: &mut Part) {
        if run.unwritten() || self.source.is_hole(run.physical(), run.count.into()) {
            keep_zeros(run, rules.zeros(run.logical, run.unwritten()), part);
            return;
        }
        let block_size = self.source.geometry.block_size;
        let live = if rules.opaque_from.is_some() {
            bytes.len()
        } else {
            let left = rules.size - u64::from(run.logical) * block_size as u64;
            // Saturation only means that all of the bytes count.
            usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())
        };
        let mut stored = 0..0_u32;
        let flush = |stored: Range<u32>, part: &mut Part| {
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

/// Puts blocks of zeros into a part, or makes them a hole.
fn keep_zeros(run: Run, zeros: Zeros, part: &mut Part) {
    if zeros == Zeros::Punch {
        part.punched += u64::from(run.count);
        return;
    }
    let stays = run.unwritten() && zeros == Zeros::Keep;
    let run = if stays { run } else { Run::new(run.logical, run.count, Bytes::Zeros) };
    // Single blocks of zeros are joined here, since they come one by one.
    match part.runs.last_mut() {
        Some(last) if !stays && last.goes_on_in(&run) => last.count += run.count,
        _ => part.runs.push(run),
    }
}

/// Content that lay in an inode, as if it were a block of its own.
fn look_inside(bytes: &[u8], rules: Rules, part: &mut Part) {
    let source = if !is_zero(bytes) {
        Bytes::Tree
    } else if bytes.is_empty() || rules.zeros == Zeros::Punch {
        return;
    } else {
        Bytes::Zeros
    };
    part.runs.push(Run::new(0, 1, source));
}

/// Cuts the logical blocks of a file into windows of so many, those without runs left out: each with
/// the runs that reach into it. `span` tells the blocks of a run.
fn windows<T>(runs: &[T], size: u64, span: impl Fn(&T) -> Range<u64>) -> Vec<(Range<u64>, Range<usize>)> {
    let (mut windows, mut next, mut last_end) = (Vec::new(), 0, 0);
    while next < runs.len() {
        let start = (span(&runs[next]).start / size * size).max(last_end);
        last_end = start + size;
        let reach = runs[next..].partition_point(|run| span(run).start < last_end);
        // At least the first reaches into it; the last may also be the first of the next window.
        let behind = next + reach;
        let goes_on = span(&runs[behind - 1]).end > last_end;
        windows.push((start..last_end, next..behind));
        next = if goes_on { behind - 1 } else { behind };
    }
    windows
}

/// Whether all bytes are zero; data that is not is seen at its first few words, mostly.
pub fn is_zero(bytes: &[u8]) -> bool {
    let (lines, rest) = bytes.as_chunks::<64>();
    let bits =
        |line: &[u8; 64]| line.as_chunks().0.iter().fold(0, |bits, word| bits | u128::from_ne_bytes(*word));
    lines.iter().all(|line| bits(line) == 0) && rest.iter().all(|byte| *byte == 0)
}

/// Whether a file begins as mkswap leaves it: a signature at the end of its first page, which may
/// have 4, 16 or 64 KiB.
fn is_swap_file(source: &Source<'_>, tree: &Tree, id: NodeId) -> bool {
    const SIGNATURE: &[u8] = b"SWAPSPACE2";
    let Some(file) = FileContent::of(source, tree, id) else { return false };
    [4096_u64, 16384, 65536].iter().any(|page| {
        let start = page - SIGNATURE.len() as u64;
        file.within_block(start, SIGNATURE.len()) == Some(SIGNATURE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_seen_to_the_last_byte() {
        for length in [0, 1, 15, 16, 17, 4096, 4099] {
            let mut bytes = vec![0_u8; length];
            assert!(is_zero(&bytes));
            for index in 0..length.min(40) {
                bytes[length - 1 - index] = 1;
                assert!(!is_zero(&bytes), "{length} {index}");
                bytes[length - 1 - index] = 0;
            }
        }
    }
}
