//! One parallel pass over file content: which blocks hold anything but zeros. The digest of what is
//! stored is another one, beside the writing.

mod allocation;
mod digest;

pub use allocation::{allocation, joined};
pub use digest::{Digester, Digests};

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

/// A part of a file's runs, cut to a window of logical blocks.
struct Unit {
    node: NodeId,
    /// The size of the file, in bytes.
    size: u64,
    runs: Range<usize>,
    window: Range<u64>,
    /// Whether it is the last of its file.
    last: bool,
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
struct Part {
    rules: Rules,
    runs: Vec<StoredRun>,
    punched: u64,
    /// Whether it begins like the root of an extent tree.
    lookalike: bool,
}

/// Bytes that one unit of work covers at most.
const UNIT_BYTES: u64 = 8 << 20;

/// Looks through all content.
pub fn survey(source: &Source<'_>, tree: &Tree, holes: HolePolicy, observer: &dyn Observer) -> Survey {
    let total: u64 = tree.runs.iter().map(|run| u64::from(run.count)).sum();
    observer.begin(Stage::Survey, total);
    let surveyor = Surveyor { source, tree, holes };
    let units = surveyor.units();
    let mut survey = Survey::for_nodes(tree.nodes.len());
    let cluster = source.geometry.blocks_per_cluster;
    let mut next_node = 0;
    // In rounds, so that the parts in flight stay few.
    for round in units.chunks(1 << 16) {
        let parts: Vec<Part> = round
            .par_iter()
            .with_min_len(16)
            .map(|unit| {
                let part = surveyor.look(unit);
                observer.advance(unit.blocks(tree));
                part
            })
            .collect();
        for (unit, part) in round.iter().zip(parts) {
            survey.open(unit.node, &mut next_node);
            let first = survey.firsts[unit.node.index()];
            if part.rules.zeros == Zeros::Write && survey.swap_files.last() != Some(&unit.node) {
                survey.swap_files.push(unit.node);
            }
            if part.lookalike {
                survey.lookalikes.push(unit.node);
            }
            survey.add(first, unit, part, cluster, tree.runs_of(unit.node));
        }
    }
    survey.open(NodeId(u32::try_from(tree.nodes.len()).unwrap_or(u32::MAX)), &mut next_node);
    survey.runs.shrink_to_fit();
    survey
}

impl Survey {
    fn for_nodes(count: usize) -> Self {
        Self { firsts: Vec::with_capacity(count + 1), ..Self::default() }
    }

    /// Adds what a unit holds to the file whose runs begin at `first`.
    fn add(&mut self, first: usize, unit: &Unit, part: Part, cluster: u64, input: &[Run]) {
        part.runs.into_iter().for_each(|run| self.push(first, run));
        self.punched += part.punched;
        if cluster > 1 && unit.last && part.rules.has_whole_clusters() {
            self.fill_clusters(first, part.rules.end, cluster, input);
        }
    }

    /// Ends the node before `node`, and all nodes without units up to it.
    fn open(&mut self, node: NodeId, next: &mut usize) {
        while *next <= node.index() {
            self.firsts.push(self.runs.len());
            *next += 1;
        }
    }
}

impl Unit {
    fn blocks(&self, tree: &Tree) -> u64 {
        tree.runs[self.runs.clone()]
            .iter()
            .filter_map(|run| cut(run, &self.window))
            .map(|run| u64::from(run.count))
            .sum()
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

struct Surveyor<'s, 'a> {
    source: &'s Source<'a>,
    tree: &'s Tree,
    holes: HolePolicy,
}

impl Surveyor<'_, '_> {
    fn looks_like_extents(&self, node: NodeId) -> bool {
        let inline = self.source.features().incompat.contains(Incompat::INLINE_DATA);
        let file = FileContent::of(self.source, self.tree, node).filter(|_| inline);
        file.and_then(|file| file.block(0)).is_some_and(extent::resembles_root)
    }

    /// All files, large ones in parts that begin and end with segments.
    fn units(&self) -> Vec<Unit> {
        let mut units = Vec::new();
        self.tree.ids().for_each(|node| self.add_units(node, &mut units));
        units
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

    fn add_units(&self, node: NodeId, units: &mut Vec<Unit>) {
        let Kind::Regular { size, first, count, inline } = self.tree.node(node).kind else { return };
        let end = first + count as usize;
        if inline.is_some() {
            units.push(Unit { node, size, runs: first..end, window: 0..1, last: true });
            return;
        }
        let blocks = UNIT_BYTES / self.source.geometry.block_size as u64;
        let span = |run: &Run| u64::from(run.logical)..run.end();
        for (window, runs) in windows(&self.tree.runs[first..end], blocks, span) {
            let runs = first + runs.start..first + runs.end;
            units.push(Unit { node, size, runs, window, last: false });
        }
        if let Some(last) = units.last_mut().filter(|unit| unit.node == node) {
            last.last = true;
        }
    }

    fn look(&self, unit: &Unit) -> Part {
        let rules = self.rules(unit.node, unit.size);
        let lookalike = unit.window.start == 0 && self.looks_like_extents(unit.node);
        let mut part = Part { rules, runs: Vec::new(), punched: 0, lookalike };
        if let Some(bytes) = self.tree.inline_of(unit.node) {
            look_inside(bytes, rules, &mut part);
        }
        for run in self.tree.runs[unit.runs.clone()].iter().filter_map(|run| cut(run, &unit.window)) {
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
                self.look_at(Run { logical, count, physical, ..run }, together, rules, &mut part);
                done += count;
            }
        }
        part
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
