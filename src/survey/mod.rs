//! One parallel pass over file content: which blocks hold anything but zeros. The digest of what is
//! stored is another one, beside the writing.

mod allocation;
mod digest;

pub use allocation::{allocation, joined};
pub use digest::{Digester, Digests, Segments};

use std::ops::Range;

use rayon::prelude::*;

use crate::content::FileContent;
use crate::observe::{Observer, Stage};
use crate::ondisk::extent;
use crate::ondisk::features::Incompat;
use crate::policy::HolePolicy;
use crate::source::Source;
use crate::tree::{Kind, NodeId, Run, Tree};
use crate::units::BlockNr;

/// Consecutive logical blocks of a file that the output allocates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRun {
    /// The first logical block.
    pub logical: u32,
    /// The number of blocks.
    pub count: u32,
    /// Where their bytes are.
    pub source: Bytes,
    /// Allocated but never written.
    pub unwritten: bool,
}

/// Where the bytes of stored blocks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// In the input, from this block on.
    Input(BlockNr),
    /// In the tree, since they lay in an inode. It is one block.
    Tree,
    /// There are none but zeros.
    Zeros,
}

/// What is to be stored of the content of all regular files.
#[derive(Debug, Default)]
pub struct Survey {
    runs: Vec<StoredRun>,
    /// For each node and one past the last: the first of its runs.
    firsts: Vec<usize>,
    /// Swap files, in the order of the nodes.
    swap_files: Vec<NodeId>,
    /// Files that begin like the root of an extent tree, in the order of the nodes.
    lookalikes: Vec<NodeId>,
    /// Blocks of zeros, and unwritten ones, that became holes.
    pub punched: u64,
}

impl Survey {
    /// The runs of a file, in logical order.
    pub fn runs_of(&self, id: NodeId) -> &[StoredRun] {
        &self.runs[self.firsts[id.index()]..self.firsts[id.index() + 1]]
    }

    /// The number of runs of all files.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Fills the stored clusters, of so many blocks, of the file whose runs begin at `first` with
    /// zeros: a block without content in a cluster with content costs no space, but as a hole it
    /// would cost an extent. `blocks` is the length of the file; nothing is filled behind it.
    fn fill_clusters(&mut self, first: usize, blocks: u64, cluster: u64, input: &[Run]) {
        let runs = self.runs.split_off(first);
        // The end of what has been added, and of the cluster that it lies in.
        let (mut next, mut end) = (0, 0);
        for run in runs.iter().copied().map(Some).chain([None]) {
            let (start, after) = match run {
                Some(run) => (u64::from(run.logical), u64::from(run.logical) + u64::from(run.count)),
                None => (u64::MAX, u64::MAX),
            };
            self.zeros(first, next..end.min(start), input);
            let Some(run) = run else { break };
            self.zeros(first, end.max(start / cluster * cluster)..start.min(blocks), input);
            self.push(first, run);
            (next, end) = (after, after.next_multiple_of(cluster).min(blocks));
        }
    }

    /// Adds blocks of zeros, and no longer counts those that the input had allocated as punched.
    fn zeros(&mut self, first: usize, blocks: Range<u64>, input: &[Run]) {
        let Some(count) = blocks.end.checked_sub(blocks.start).filter(|count| *count > 0) else { return };
        // Logical blocks have 32 bits.
        let (Ok(logical), Ok(count)) = (u32::try_from(blocks.start), u32::try_from(count)) else { return };
        self.push(first, StoredRun { logical, count, source: Bytes::Zeros, unwritten: false });
        let from = input.partition_point(|run| u64::from(run.logical) + u64::from(run.count) <= blocks.start);
        let allocated = input[from..].iter().map_while(|run| cut(run, &blocks));
        self.punched -= allocated.map(|run| u64::from(run.count)).sum::<u64>();
    }

    /// Whether e2fsck would take the content of a file, were it inline, for an extent tree.
    pub fn looks_like_extents(&self, id: NodeId) -> bool {
        self.lookalikes.binary_search(&id).is_ok()
    }

    /// Whether a file is a swap file with content.
    pub fn is_swap_file(&self, id: NodeId) -> bool {
        self.swap_files.binary_search(&id).is_ok()
    }

    /// Adds blocks, and joins them with the last run of the file where they continue it.
    fn push(&mut self, first: usize, run: StoredRun) {
        if let Some(last) = self.runs[first..].last_mut() {
            let goes_on = match (last.source, run.source) {
                (Bytes::Input(last_block), Bytes::Input(block)) => {
                    last_block.0 + u64::from(last.count) == block.0
                }
                (Bytes::Zeros, Bytes::Zeros) => true,
                _ => false,
            };
            if last.logical + last.count == run.logical && goes_on && last.unwritten == run.unwritten {
                last.count += run.count;
                return;
            }
        }
        self.runs.push(run);
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
    runs: Vec<StoredRun>,
    punched: u64,
}

/// Bytes that one unit of work covers at most.
const UNIT_BYTES: u64 = 8 << 20;
/// Units of a large file that are looked at before what was found is put together.
const UNITS: usize = 1 << 6;
/// Nodes that one thread looks at together.
const NODES: usize = 512;
/// Nodes that are looked at before what was found is put together.
const ROUND: usize = 1 << 15;

/// Looks through all content.
pub fn survey(source: &Source<'_>, tree: &Tree, holes: HolePolicy, observer: &dyn Observer) -> Survey {
    let total: u64 = tree.runs.iter().map(|run| u64::from(run.count)).sum();
    observer.begin(Stage::Survey, total);
    let surveyor = Surveyor { source, tree, holes, observer };
    let nodes: Vec<NodeId> = tree.ids().collect();
    let mut survey = Survey { firsts: Vec::with_capacity(nodes.len() + 1), ..Survey::default() };
    // In rounds, so that what is in flight stays little.
    for round in nodes.chunks(ROUND) {
        let found: Vec<_> = round.par_chunks(NODES).map(|nodes| surveyor.files(nodes)).collect();
        found.into_iter().for_each(|found| survey.append(found));
    }
    survey.firsts.push(survey.runs.len());
    survey.runs.shrink_to_fit();
    survey
}

impl Survey {
    /// Adds what the next nodes hold.
    fn append(&mut self, mut next: Self) {
        let start = self.runs.len();
        if start == 0 {
            self.runs = std::mem::take(&mut next.runs);
        }
        self.firsts.extend(next.firsts.iter().map(|first| start + first));
        self.runs.append(&mut next.runs);
        self.swap_files.append(&mut next.swap_files);
        self.lookalikes.append(&mut next.lookalikes);
        self.punched += next.punched;
    }

    /// Adds what the next part of the file holds whose runs begin at `first`.
    fn add(&mut self, first: usize, part: &mut Part) {
        part.runs.drain(..).for_each(|run| self.push(first, run));
        self.punched += std::mem::take(&mut part.punched);
    }
}

/// The part of a run that lies in a window.
fn cut(run: &Run, window: &Range<u64>) -> Option<Run> {
    let start = window.start.max(run.logical.into());
    let end = window.end.min(u64::from(run.logical) + u64::from(run.count));
    let count = u32::try_from(end.checked_sub(start)?).ok().filter(|count| *count > 0)?;
    let skipped = start - u64::from(run.logical);
    Some(Run {
        logical: u32::try_from(start).ok()?,
        count,
        physical: BlockNr(run.physical.0 + skipped),
        unwritten: run.unwritten,
    })
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
        let inline = self.source.features().incompat.contains(Incompat::INLINE_DATA);
        let file = FileContent::of(self.source, self.tree, node).filter(|_| inline);
        file.and_then(|file| file.block(0)).is_some_and(extent::resembles_root)
    }

    /// What consecutive nodes hold.
    fn files(&self, nodes: &[NodeId]) -> Survey {
        let (mut survey, mut part) = (Survey::default(), Part::default());
        survey.firsts.reserve_exact(nodes.len());
        for node in nodes {
            survey.firsts.push(survey.runs.len());
            self.file(*node, &mut survey, &mut part);
        }
        let runs = nodes.iter().map(|node| self.tree.runs_of(*node));
        let small = runs.filter(|runs| is_small(runs, self.unit_blocks())).flatten();
        self.observer.advance(small.map(|run| u64::from(run.count)).sum());
        survey
    }

    fn unit_blocks(&self) -> u64 {
        UNIT_BYTES / self.source.geometry.block_size as u64
    }

    /// Adds what a node holds; the part is empty.
    fn file(&self, node: NodeId, survey: &mut Survey, part: &mut Part) {
        let Kind::Regular { size, inline, .. } = self.tree.node(node).kind else { return };
        let (first, runs) = (survey.runs.len(), self.tree.runs_of(node));
        if runs.is_empty() && inline.is_none() {
            return;
        }
        let rules = self.rules(node, size);
        if let Some(text) = inline {
            look_inside(self.tree.text(text), rules, part);
            survey.add(first, part);
        } else {
            let blocks = self.unit_blocks();
            if is_small(runs, blocks) {
                self.look(&Unit { runs, window: 0..blocks }, rules, part);
                survey.add(first, part);
            } else {
                let span = |run: &Run| u64::from(run.logical)..run.end();
                let look = |(window, places): &(Range<u64>, Range<usize>)| {
                    let mut part = Part::default();
                    let unit = Unit { runs: &runs[places.clone()], window: window.clone() };
                    self.look(&unit, rules, &mut part);
                    self.observer.advance(unit.blocks());
                    part
                };
                for round in windows(runs, blocks, span).chunks(UNITS) {
                    let mut parts: Vec<_> = round.par_iter().map(look).collect();
                    parts.iter_mut().for_each(|part| survey.add(first, part));
                }
            }
        }
        let cluster = self.source.geometry.blocks_per_cluster;
        if cluster > 1 && rules.has_whole_clusters() {
            survey.fill_clusters(first, rules.end, cluster, runs);
        }
        if rules.zeros == Zeros::Write {
            survey.swap_files.push(node);
        }
        if self.looks_like_extents(node) {
            survey.lookalikes.push(node);
        }
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
                    room = u32::try_from(rules.end - u64::from(logical)).unwrap_or(room);
                }
                let physical = BlockNr(run.physical.0 + u64::from(done));
                let together = self.source.together(physical, room.into()).unwrap_or_default();
                // At least one, since the reader checked the run.
                let count =
                    u32::try_from(together.len() / self.source.geometry.block_size).unwrap_or(1).max(1);
                self.look_at(Run { logical, count, physical, ..run }, together, rules, part);
                done += count;
            }
        }
    }

    /// Looks at blocks that lie together, all up to the end or all behind it.
    fn look_at(&self, run: Run, bytes: &[u8], rules: Rules, part: &mut Part) {
        if run.unwritten || self.source.is_hole(run.physical, run.count.into()) {
            keep_zeros(run, rules.zeros(run.logical, run.unwritten), part);
            return;
        }
        let block_size = self.source.geometry.block_size;
        let live = if rules.opaque_from.is_some() {
            bytes.len()
        } else {
            let left = rules.size - u64::from(run.logical) * block_size as u64;
            usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())
        };
        let mut stored = 0..0_u32;
        let flush = |stored: Range<u32>, part: &mut Part| {
            if stored.is_empty() {
                return;
            }
            push(
                part,
                StoredRun {
                    logical: run.logical + stored.start,
                    count: stored.end - stored.start,
                    source: Bytes::Input(BlockNr(run.physical.0 + u64::from(stored.start))),
                    unwritten: false,
                },
            );
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
            let physical = BlockNr(run.physical.0 + u64::from(index));
            keep_zeros(
                Run { logical: run.logical + index, count: 1, physical, unwritten: false },
                rules.zeros(run.logical + index, false),
                part,
            );
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
    let unwritten = run.unwritten && zeros == Zeros::Keep;
    push(part, StoredRun { logical: run.logical, count: run.count, source: Bytes::Zeros, unwritten });
}

/// Adds blocks to a part; single blocks of zeros are joined here, since they come one by one.
fn push(part: &mut Part, run: StoredRun) {
    if let Some(last) = part.runs.last_mut()
        && last.source == Bytes::Zeros
        && run.source == Bytes::Zeros
        && last.unwritten == run.unwritten
        && last.logical + last.count == run.logical
    {
        last.count += run.count;
        return;
    }
    part.runs.push(run);
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
    part.runs.push(StoredRun { logical: 0, count: 1, source, unwritten: false });
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

    /// A file of 30 blocks in clusters of 8, of which the input has 0 to 18 and 28.
    #[test]
    fn zeros_in_clusters_with_content_are_stored() {
        let run = |logical, count, source: Option<u64>| StoredRun {
            logical,
            count,
            source: source.map_or(Bytes::Zeros, |block| Bytes::Input(BlockNr(block))),
            unwritten: false,
        };
        let input =
            |logical, count, physical| Run { logical, count, physical: BlockNr(physical), unwritten: false };
        let runs = vec![run(2, 1, Some(102)), run(4, 2, Some(104)), run(28, 1, Some(300))];
        let mut survey = Survey { runs, punched: 15, ..Survey::default() };
        survey.fill_clusters(0, 30, 8, &[input(0, 18, 100), input(28, 1, 300)]);
        let expected = [
            run(0, 2, None),
            run(2, 1, Some(102)),
            run(3, 1, None),
            run(4, 2, Some(104)),
            run(6, 2, None),
            run(24, 4, None),
            run(28, 1, Some(300)),
            run(29, 1, None),
        ];
        assert_eq!(survey.runs, expected);
        // Of the input's 15 zeros, those of blocks 0, 1, 3, 6 and 7 are stored after all.
        assert_eq!(survey.punched, 10);
        // Of a file of 3 blocks, what lies behind the end (a Merkle tree) stays as it is.
        let runs = vec![run(1, 1, Some(9)), run(6, 1, Some(10)), run(17, 2, None)];
        let mut survey = Survey { runs, ..Survey::default() };
        survey.fill_clusters(0, 3, 8, &[]);
        let expected =
            [run(0, 1, None), run(1, 1, Some(9)), run(2, 1, None), run(6, 1, Some(10)), run(17, 2, None)];
        assert_eq!(survey.runs, expected);
        let runs = vec![run(6, 1, Some(9)), run(9, 1, Some(10))];
        let mut survey = Survey { runs, ..Survey::default() };
        survey.fill_clusters(0, 12, 8, &[]);
        let expected =
            [run(0, 6, None), run(6, 1, Some(9)), run(7, 2, None), run(9, 1, Some(10)), run(10, 2, None)];
        assert_eq!(survey.runs, expected);
    }

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
