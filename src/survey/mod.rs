//! One parallel pass over file content: which blocks hold anything but zeros, and a digest.

mod allocation;

pub use allocation::{allocation, joined};

use std::ops::Range;

use rayon::prelude::*;
use xxhash_rust::xxh3::Xxh3;

use crate::content::FileContent;
use crate::form::SEGMENT_BYTES;
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
    digests: Vec<u128>,
    /// For each node and one past the last: the first of its digests.
    digest_firsts: Vec<usize>,
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

    /// The digests of a file's segments, in order; a segment without content has none.
    pub fn digests_of(&self, id: NodeId) -> &[u128] {
        &self.digests[self.digest_firsts[id.index()]..self.digest_firsts[id.index() + 1]]
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
    runs: Range<usize>,
    window: Range<u64>,
    rules: Rules,
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
#[derive(Default)]
struct Part {
    runs: Vec<StoredRun>,
    digests: Vec<u128>,
    punched: u64,
}

/// Segments that one unit of work covers.
const SEGMENTS_PER_UNIT: u64 = 8;

/// Looks through all content. Without `digest`, the digests are left out.
pub fn survey(
    source: &Source<'_>,
    tree: &Tree,
    holes: HolePolicy,
    digest: bool,
    observer: &dyn Observer,
) -> Survey {
    let total: u64 = tree.runs.iter().map(|run| u64::from(run.count)).sum();
    observer.begin(Stage::Survey, total);
    let surveyor = Surveyor { source, tree, holes, digest };
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
            if unit.rules.zeros == Zeros::Write && survey.swap_files.last() != Some(&unit.node) {
                survey.swap_files.push(unit.node);
            }
            if unit.window.start == 0 && surveyor.looks_like_extents(unit.node) {
                survey.lookalikes.push(unit.node);
            }
            survey.add(first, unit, part, cluster, tree.runs_of(unit.node));
        }
    }
    survey.open(NodeId(u32::try_from(tree.nodes.len()).unwrap_or(u32::MAX)), &mut next_node);
    survey.runs.shrink_to_fit();
    survey.digests.shrink_to_fit();
    survey
}

impl Survey {
    fn for_nodes(count: usize) -> Self {
        let firsts = || Vec::with_capacity(count + 1);
        Self { firsts: firsts(), digest_firsts: firsts(), ..Self::default() }
    }

    /// Adds what a unit holds to the file whose runs begin at `first`.
    fn add(&mut self, first: usize, unit: &Unit, part: Part, cluster: u64, input: &[Run]) {
        part.runs.into_iter().for_each(|run| self.push(first, run));
        self.digests.extend(part.digests);
        self.punched += part.punched;
        if cluster > 1 && unit.last && unit.rules.has_whole_clusters() {
            self.fill_clusters(first, unit.rules.end, cluster, input);
        }
    }

    /// Ends the node before `node`, and all nodes without units up to it.
    fn open(&mut self, node: NodeId, next: &mut usize) {
        while *next <= node.index() {
            self.firsts.push(self.runs.len());
            self.digest_firsts.push(self.digests.len());
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
    digest: bool,
}

impl Surveyor<'_, '_> {
    fn segment_blocks(&self) -> u64 {
        (SEGMENT_BYTES / self.source.geometry.block_size) as u64
    }

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

    /// What is done with the blocks of a node, if it is a regular file.
    fn rules(&self, node: NodeId) -> Option<Rules> {
        let Kind::Regular { size, .. } = self.tree.node(node).kind else { return None };
        let opaque_from = self.tree.node(node).opaque_from(self.source.geometry.block_size);
        let zeros = match self.holes {
            _ if opaque_from.is_none() && is_swap_file(self.source, self.tree, node) => Zeros::Write,
            HolePolicy::Punch => Zeros::Punch,
            HolePolicy::Keep => Zeros::Keep,
        };
        Some(Rules { size, end: self.source.geometry.blocks_of_bytes(size), zeros, opaque_from })
    }

    fn add_units(&self, node: NodeId, units: &mut Vec<Unit>) {
        let size = self.segment_blocks() * SEGMENTS_PER_UNIT;
        let Some(rules) = self.rules(node) else { return };
        let Kind::Regular { first, count, inline, .. } = self.tree.node(node).kind else { return };
        let end = first + count as usize;
        if inline.is_some() {
            units.push(Unit { node, runs: first..end, window: 0..1, rules, last: true });
            return;
        }
        let (mut next, mut last_end) = (first, 0);
        while next < end {
            // The window of the next run, and all runs that reach into it; a run that goes on
            // behind it is also the first of the next window.
            let start = (u64::from(self.tree.runs[next].logical) / size * size).max(last_end);
            let window = start..start + size;
            last_end = window.end;
            let reach = self.tree.runs[next..end].partition_point(|run| u64::from(run.logical) < window.end);
            let last = next + reach;
            let goes_on = self.tree.runs[last - 1].end() > window.end;
            let runs = next..last;
            next = if goes_on { last - 1 } else { last };
            units.push(Unit { node, runs, window, rules, last: next == end });
        }
    }

    fn look(&self, unit: &Unit) -> Part {
        let mut part = Part::default();
        let segment_blocks = self.segment_blocks();
        let mut segment = Segment { number: 0, hash: None };
        if let Some(bytes) = self.tree.inline_of(unit.node) {
            self.look_inside(bytes, unit.rules, &mut segment, &mut part);
        }
        for run in self.tree.runs[unit.runs.clone()].iter().filter_map(|run| cut(run, &unit.window)) {
            let mut done = 0;
            while done < run.count {
                let logical = run.logical + done;
                let number = u64::from(logical) / segment_blocks;
                // A segment's blocks are at most 2^10.
                let mut stop = (number + 1) * segment_blocks;
                if (u64::from(logical) + 1..stop).contains(&unit.rules.end) {
                    // What lies behind the end has rules of its own.
                    stop = unit.rules.end;
                }
                let room = u32::try_from(stop - u64::from(logical)).unwrap_or(1);
                let physical = BlockNr(run.physical.0 + u64::from(done));
                let together =
                    self.source.together(physical, room.min(run.count - done).into()).unwrap_or_default();
                // At least one, since the reader checked the run, and no more than a segment has.
                let count =
                    u32::try_from(together.len() / self.source.geometry.block_size).unwrap_or(1).max(1);
                segment.enter(number, &mut part.digests);
                let part_of_run = Run { logical, count, physical, ..run };
                self.look_at(part_of_run, together, unit.rules, &mut segment, &mut part);
                done += count;
            }
        }
        segment.enter(u64::MAX, &mut part.digests);
        part
    }

    /// Looks at content that lay in an inode, as if it were a block of its own.
    fn look_inside(&self, bytes: &[u8], rules: Rules, segment: &mut Segment, part: &mut Part) {
        let source = if !is_zero(bytes) {
            if self.digest {
                let block = vec![0; self.source.geometry.block_size];
                let live = usize::try_from(rules.size).unwrap_or(usize::MAX).min(block.len());
                segment.update(bytes);
                segment.update(&block[bytes.len().min(live)..live]);
            }
            Bytes::Tree
        } else if bytes.is_empty() || rules.zeros == Zeros::Punch {
            return;
        } else {
            Bytes::Zeros
        };
        part.runs.push(StoredRun { logical: 0, count: 1, source, unwritten: false });
    }

    /// Looks at blocks of one segment.
    fn look_at(&self, run: Run, bytes: &[u8], rules: Rules, segment: &mut Segment, part: &mut Part) {
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
        let flush = |stored: Range<u32>, segment: &mut Segment, part: &mut Part| {
            if stored.is_empty() {
                return;
            }
            if self.digest {
                let end = (stored.end as usize * block_size).min(live);
                segment.update(&bytes[stored.start as usize * block_size..end]);
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
                    flush(stored, segment, part);
                    stored = index..index;
                }
                stored.end = index + 1;
                continue;
            }
            flush(std::mem::take(&mut stored), segment, part);
            let physical = BlockNr(run.physical.0 + u64::from(index));
            keep_zeros(
                Run { logical: run.logical + index, count: 1, physical, unwritten: false },
                rules.zeros(run.logical + index, false),
                part,
            );
        }
        flush(stored, segment, part);
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

/// The digest of the content in one segment of a file.
struct Segment {
    number: u64,
    hash: Option<Xxh3>,
}

impl Segment {
    fn enter(&mut self, number: u64, digests: &mut Vec<u128>) {
        if number != self.number {
            self.number = number;
            digests.extend(self.hash.take().map(|hash| hash.digest128()));
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.hash.get_or_insert_with(Xxh3::new).update(bytes);
    }
}

/// Whether all bytes are zero; data that is not is seen at its first word, mostly.
pub fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
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
