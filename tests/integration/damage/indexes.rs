//! Damage to the indexes of large directories.

use std::mem::offset_of;

use ext4_canon::internals::ondisk::dir_entry::DirEntry;
use ext4_canon::internals::ondisk::htree::{self, DxCountLimit, DxEntry, DxRootInfo};
use ext4_canon::internals::ondisk::inode::{Inode, InodeFlags};
use ext4_canon::internals::ondisk::superblock::{OFFSET, Superblock};
use ext4_canon::internals::ondisk::{le16, le32, view};

use super::anatomy::{Anatomy, Canvas, Kind, Part, ROOT_INFO};
use super::dice::Dice;
use super::mutate::{Damage, change, entries};

/// The number of kinds of damage to indexes.
pub const INDEXES: usize = 20;

/// Offsets of limit and count, relative to a node's entries.
const LIMIT: usize = offset_of!(DxCountLimit, limit);
const COUNT: usize = offset_of!(DxCountLimit, count);

/// A root or an interior node of an index.
#[derive(Clone, Copy, Debug)]
struct IndexNode {
    part: Part,
    owner: u32,
    is_root: bool,
    /// The byte offset in the image of limit, count and entries.
    head: usize,
    count: usize,
}

impl IndexNode {
    /// Returns the byte offset in the image of an entry's hash, which the block number follows. The first
    /// entry has no hash.
    fn entry(&self, index: usize) -> usize {
        self.head + index * htree::ENTRY_SIZE
    }

    fn block(&self, index: usize) -> usize {
        self.entry(index) + offset_of!(DxEntry, block)
    }
}

/// Finds the roots and interior nodes of all indexes that look valid.
fn nodes(anatomy: &Anatomy, canvas: &Canvas) -> Vec<IndexNode> {
    let node = |part: &Part| {
        let Kind::Directory(owner, _, is_root) = part.kind else { return None };
        let block = canvas.get(part.start, part.length);
        let looks_right = if is_root {
            block
                .get(ROOT_INFO..)
                .and_then(view::<DxRootInfo>)
                .is_some_and(|info| usize::from(info.info_length) == size_of_val(info))
        } else {
            let unused =
                |entry: &DirEntry| entry.inode.get() == 0 && usize::from(entry.rec_len.get()) == part.length;
            view::<DirEntry>(block).is_some_and(unused)
        };
        let head = if is_root { htree::ROOT_HEAD } else { htree::NODE_HEAD };
        let counts = block.get(head..).and_then(view::<DxCountLimit>)?;
        let (limit, count) = (counts.limit.get(), counts.count.get());
        // A directory block without an index may look like a root, with a limit that is too large.
        let most = (part.length - head) / htree::ENTRY_SIZE;
        let sensible = (1..=limit).contains(&count) && usize::from(limit) <= most;
        (looks_right && sensible).then_some(IndexNode {
            part: *part,
            owner,
            is_root,
            head: part.start + head,
            count: count.into(),
        })
    };
    anatomy.parts.iter().filter_map(node).collect()
}

/// Damages an index at a random place. Returns `None` if the image has no suitable index.
pub fn in_index(number: usize, anatomy: &Anatomy, canvas: &mut Canvas, dice: &mut Dice) -> Option<Damage> {
    let all = nodes(anatomy, canvas);
    let roots: Vec<IndexNode> = all.iter().filter(|node| node.is_root).copied().collect();
    let node = *dice.pick(if number >= 12 { &roots } else { &all })?;
    let words = match number {
        0..8 => in_entries(number, &node, &all, anatomy, canvas, dice)?,
        8..12 => in_counts(number - 8, &node, anatomy, canvas),
        12..17 => in_root(number - 12, &node, anatomy, canvas, dice),
        _ => around_an_index(number - 17, &node, anatomy, canvas, dice)?,
    };
    Some(Damage::of(format!("index of directory {}, {:?}: {words}", node.owner, node.part.kind)))
}

fn in_entries(
    number: usize,
    node: &IndexNode,
    all: &[IndexNode],
    anatomy: &Anatomy,
    canvas: &mut Canvas,
    dice: &mut Dice,
) -> Option<&'static str> {
    let (part, last) = (&node.part, node.count - 1);
    let (index, other) = (dice.roll(node.count), dice.roll(node.count));
    match number {
        0 | 1 if last >= 2 => {
            // Swap two adjacent entries, without the first, which has no hash.
            let at = node.entry(1 + dice.roll(last - 1));
            let size = if number == 0 { htree::ENTRY_SIZE } else { 4 };
            let [one, two] = [at, at + htree::ENTRY_SIZE].map(|at| canvas.get(at, size).to_vec());
            canvas.set(at, &two);
            change(anatomy, canvas, part, at + htree::ENTRY_SIZE, &one);
            Some("two entries, or only their hashes, changed places")
        }
        2 | 3 | 6 => {
            let (block, words) = another_block(number, node.block(other), all, canvas, dice)?;
            change(anatomy, canvas, part, node.block(index), &block.to_le_bytes());
            Some(words)
        }
        4 if last >= 1 => {
            let at = node.entry(1 + dice.roll(last));
            let next = at + htree::ENTRY_SIZE;
            let rest = canvas.get(next, node.entry(node.count) - next).to_vec();
            canvas.set(at, &rest);
            let count = u16::try_from(last).ok()?;
            change(anatomy, canvas, part, node.head + COUNT, &count.to_le_bytes());
            Some("an entry is missing, so that nothing leads to a block")
        }
        5 if last >= 1 => {
            let (one, two) = (node.block(last - 1), node.block(last));
            let [first, second] = [one, two].map(|at| canvas.get(at, 4).to_vec());
            canvas.set(one, &second);
            change(anatomy, canvas, part, two, &first);
            Some("two blocks changed places")
        }
        7 if last >= 1 => {
            let at = node.entry(1 + dice.roll(last));
            let hash = le32(&canvas.bytes, at)? ^ [1, 2, 1 << 31, 1 << 20][dice.roll(4)];
            change(anatomy, canvas, part, at, &hash.to_le_bytes());
            Some("an entry has another hash")
        }
        _ => None,
    }
}

/// Returns the block that an entry is redirected to; `other` is the offset of the block in a different entry.
fn another_block(
    number: usize,
    other: usize,
    all: &[IndexNode],
    canvas: &Canvas,
    dice: &mut Dice,
) -> Option<(u32, &'static str)> {
    let block_at = |at: usize| le32(&canvas.bytes, at);
    Some(match number {
        2 => ([0x00FF_FFFF, 0x0FFF_FFFF, u32::MAX, 1000][dice.roll(4)], "an entry leads beyond the end"),
        3 => (block_at(other)?, "two entries lead to one block"),
        _ => {
            let block = if dice.roll(2) == 0 { 0 } else { block_at(dice.pick(all)?.block(0))? };
            (block, "an entry leads to the root, or down another way")
        }
    })
}

fn in_counts(number: usize, node: &IndexNode, anatomy: &Anatomy, canvas: &mut Canvas) -> &'static str {
    let limit = le16(&canvas.bytes, node.head + LIMIT).unwrap_or(0);
    let count = le16(&canvas.bytes, node.head + COUNT).unwrap_or(0);
    let (offset, value, words) = match number {
        0 => (LIMIT, limit - 1, "the limit is one too low"),
        1 => (LIMIT, limit + 1, "the limit is one too high"),
        2 => (COUNT, count + 1, "an entry too many counts"),
        _ => (COUNT, limit + 1, "more entries count than fit"),
    };
    change(anatomy, canvas, &node.part, node.head + offset, &value.to_le_bytes());
    words
}

fn in_root(
    number: usize,
    node: &IndexNode,
    anatomy: &Anatomy,
    canvas: &mut Canvas,
    dice: &mut Dice,
) -> &'static str {
    let info = node.part.start + ROOT_INFO;
    let byte = |at: usize, canvas: &Canvas| canvas.get(info + at, 1).first().copied().unwrap_or(0);
    const VERSION: usize = offset_of!(DxRootInfo, hash_version);
    const LEVELS: usize = offset_of!(DxRootInfo, indirect_levels);
    let (at, value, words) = match number {
        0 => (VERSION, (byte(VERSION, canvas) + 1 + dice.roll(6) as u8) % 7, "another version of the hash"),
        1 => (LEVELS, byte(LEVELS, canvas) ^ 1, "a level more or less"),
        2 => (LEVELS, [2, 3, 0xFF][dice.roll(3)], "too many levels"),
        3 => (offset_of!(DxRootInfo, unused_flags), 1 << dice.roll(8), "a flag that is not in use"),
        _ => (offset_of!(DxRootInfo, reserved_zero), 1 << dice.roll(8), "a word that is not zero"),
    };
    change(anatomy, canvas, &node.part, info + at, &[value]);
    words
}

fn around_an_index(
    number: usize,
    node: &IndexNode,
    anatomy: &Anatomy,
    canvas: &mut Canvas,
    dice: &mut Dice,
) -> Option<&'static str> {
    match number {
        0 => {
            let superblock = *anatomy.of_class(Kind::Superblock.class()).first()?;
            let seed = dice.number().to_le_bytes();
            change(anatomy, canvas, &superblock, OFFSET + offset_of!(Superblock, s_hash_seed), &seed);
            Some("another seed of the hash, in the superblock")
        }
        1 => {
            let part = anatomy.inode(node.owner)?;
            let at = part.start + offset_of!(Inode, i_flags);
            let flags = le32(&canvas.bytes, at)? ^ InodeFlags::INDEX.bits();
            change(anatomy, canvas, &part, at, &flags.to_le_bytes());
            Some("the inode has no flag of an index")
        }
        _ => {
            let is_leaf = |part: &&Part| {
                matches!(part.kind, Kind::Directory(owner, _, false) if owner == node.owner)
                    && canvas.get(part.start, 4) != [0; 4]
            };
            let leaves: Vec<Part> = anatomy.parts.iter().filter(is_leaf).copied().collect();
            let leaf = *dice.pick(&leaves)?;
            let names = entries(canvas.get(leaf.start, leaf.length));
            let at = leaf.start + dice.pick(&names)?.0 + size_of::<DirEntry>();
            change(anatomy, canvas, &leaf, at, &[b'A' + dice.roll(26) as u8]);
            Some("a name does not belong into its leaf")
        }
    }
}
