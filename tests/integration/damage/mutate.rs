//! Mutations of images: planned ones, similar to real damage or attacks, and random ones.

use std::mem::offset_of;
use std::ops::Range;

use ext4_canon::internals::ondisk::dir_entry::{self, DirEntry};
use ext4_canon::internals::ondisk::extent::{self, Extent, ExtentHeader, ExtentIndex};
use ext4_canon::internals::ondisk::group_descriptor::GroupDescriptor;
use ext4_canon::internals::ondisk::inode::{I_BLOCK, I_BLOCK_SIZE, Inode, S_IFDIR, S_IFREG};
use ext4_canon::internals::ondisk::superblock::Superblock;
use ext4_canon::internals::ondisk::{le16, le32, view};

use super::anatomy::{Anatomy, Canvas, Kind, Live, Part};
use super::dice::Dice;
use super::indexes::{INDEXES, in_index};

/// A description of the damage to an image.
#[derive(Clone, Debug, Default)]
pub struct Damage {
    /// The description as text.
    pub words: String,
    /// The length in bytes that the file is truncated to.
    pub length: Option<usize>,
}

impl Damage {
    pub(super) fn of(words: impl Into<String>) -> Self {
        Self { words: words.into(), length: None }
    }
}

/// Overwrites bytes of a part, and updates its checksums.
pub(super) fn change(anatomy: &Anatomy, canvas: &mut Canvas, part: &Part, at: usize, new: &[u8]) {
    canvas.set(at, new);
    anatomy.refresh(canvas, part);
}

/// Returns a block number that is likely to be wrong.
fn some_block(anatomy: &Anatomy, canvas: &Canvas, dice: &mut Dice) -> u64 {
    let blocks = (canvas.bytes.len() / anatomy.block_size) as u64;
    let part = dice.pick(&anatomy.parts).map_or(0, |part| (part.start / anatomy.block_size) as u64);
    match dice.roll(8) {
        0 => 0,
        1 => blocks,
        2 => blocks - 1,
        3 => dice.number() % blocks,
        4 => u64::from(u32::MAX),
        _ => part,
    }
}

/// Returns a random or unusual value for a field.
fn some_value(anatomy: &Anatomy, canvas: &Canvas, dice: &mut Dice, old: u64) -> u64 {
    match dice.roll(14) {
        0 => 0,
        1 => u64::MAX,
        2 => old.wrapping_add(1),
        3 => old.wrapping_sub(1),
        4 | 5 => old ^ 1 << dice.roll(32),
        6 => dice.number() % 64,
        7 => 0x7FFF_FFFF,
        8 => 0x8000_0000,
        9 => dice.pick(&anatomy.inodes).map_or(2, |inode| inode.number.into()),
        10 | 11 => some_block(anatomy, canvas, dice),
        12 => old << 1,
        _ => dice.number(),
    }
}

/// Applies a random mutation at a random place.
pub fn random(anatomy: &Anatomy, canvas: &mut Canvas, dice: &mut Dice) -> Damage {
    match dice.roll(20) {
        0 => flip_bit(anatomy, canvas, dice),
        1 => swap(anatomy, canvas, dice),
        2 => {
            let length = dice.roll(canvas.bytes.len());
            Damage { words: format!("cut to {length} bytes"), length: Some(length) }
        }
        3 => fill(anatomy, canvas, dice),
        4 | 5 => {
            let (first, second) = (field(anatomy, canvas, dice), field(anatomy, canvas, dice));
            Damage::of(format!("{}; {}", first.words, second.words))
        }
        _ => field(anatomy, canvas, dice),
    }
}

fn some_part(anatomy: &Anatomy, dice: &mut Dice) -> Option<Part> {
    let class = *dice.pick(&anatomy.classes())?;
    dice.pick(&anatomy.of_class(class)).copied()
}

/// Flips a bit of metadata, without updating the checksum.
fn flip_bit(anatomy: &Anatomy, canvas: &mut Canvas, dice: &mut Dice) -> Damage {
    let Some(part) = some_part(anatomy, dice) else { return Damage::default() };
    let at = part.start + dice.roll(part.length);
    let byte = canvas.get(at, 1).first().copied().unwrap_or(0) ^ 1 << dice.roll(8);
    canvas.set(at, &[byte]);
    Damage::of(format!("{:?}: a bit of byte {at:#x}, checksum as it was", part.kind))
}

fn field(anatomy: &Anatomy, canvas: &mut Canvas, dice: &mut Dice) -> Damage {
    let Some(part) = some_part(anatomy, dice) else { return Damage::default() };
    let fields = anatomy.fields(&canvas.bytes, &part);
    let Some(&(at, size)) = dice.pick(&fields) else { return Damage::default() };
    let size = size.min(8);
    let mut old = [0; 8];
    let found = canvas.get(at, size);
    old[..found.len()].copy_from_slice(found);
    let value = some_value(anatomy, canvas, dice, u64::from_le_bytes(old));
    let mut bytes = value.to_le_bytes()[..size].to_vec();
    if part.kind.is_big_endian() {
        bytes.reverse();
    }
    change(anatomy, canvas, &part, at, &bytes);
    Damage::of(format!("{:?}: byte {:#x} of it, {size} bytes, to {bytes:x?}", part.kind, at - part.start))
}

/// Swaps two blocks of metadata.
fn swap(anatomy: &Anatomy, canvas: &mut Canvas, dice: &mut Dice) -> Damage {
    let (Some(first), Some(second)) = (some_part(anatomy, dice), some_part(anatomy, dice)) else {
        return Damage::default();
    };
    let starts = [first, second].map(|part| part.start / anatomy.block_size * anatomy.block_size);
    let [a, b] = starts.map(|start| canvas.get(start, anatomy.block_size).to_vec());
    canvas.set(starts[0], &b);
    canvas.set(starts[1], &a);
    if dice.roll(2) == 0 {
        anatomy.refresh(canvas, &first);
        anatomy.refresh(canvas, &second);
    }
    Damage::of(format!("blocks of {:?} and {:?} changed places", first.kind, second.kind))
}

/// Fills a range of a part with zeros or ones.
fn fill(anatomy: &Anatomy, canvas: &mut Canvas, dice: &mut Dice) -> Damage {
    let Some(part) = some_part(anatomy, dice) else { return Damage::default() };
    let start = dice.roll(part.length) / 4 * 4;
    let length = (4 << dice.roll(9)).min(part.length - start);
    let byte = if dice.roll(2) == 0 { 0 } else { 0xFF };
    change(anatomy, canvas, &part, part.start + start, &vec![byte; length]);
    Damage::of(format!("{:?}: {length} bytes from {start:#x} on become {byte:#x}", part.kind))
}

/// The numbers of planned mutations of directories, indexes, block maps and inodes.
pub const IN_DIRECTORIES: Range<usize> = 0..12;
pub const IN_INDEXES: Range<usize> = 12..12 + INDEXES;
pub const IN_MAPS: Range<usize> = IN_INDEXES.end..IN_INDEXES.end + 10;
pub const IN_INODES: Range<usize> = IN_MAPS.end..IN_MAPS.end + 8;
/// The number of planned mutations.
pub const PLANNED: usize = IN_INODES.end + 6;

/// Applies a planned mutation at a random place. Returns `None` if the image has no suitable place.
pub fn planned(number: usize, anatomy: &Anatomy, canvas: &mut Canvas, dice: &mut Dice) -> Option<Damage> {
    if IN_DIRECTORIES.contains(&number) {
        in_directory(number, anatomy, canvas, dice)
    } else if IN_INDEXES.contains(&number) {
        in_index(number - IN_INDEXES.start, anatomy, canvas, dice)
    } else if IN_MAPS.contains(&number) {
        in_map(number - IN_MAPS.start, anatomy, canvas, dice)
    } else if IN_INODES.contains(&number) {
        in_inode(number - IN_INODES.start, anatomy, canvas, dice)
    } else {
        elsewhere(number - IN_INODES.end, anatomy, canvas, dice)
    }
}

/// Returns the entries of a directory block, as offsets in the block and lengths.
pub(super) fn entries(block: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(entry) = block.get(at..).and_then(view::<DirEntry>) {
        let length = usize::from(entry.rec_len.get());
        if length < size_of::<DirEntry>() {
            break;
        }
        if entry.inode.get() != 0 {
            found.push((at, length));
        }
        at += length;
    }
    found
}

/// Offsets of the fields in a directory entry. The name follows them.
const INODE: usize = offset_of!(DirEntry, inode);
const REC_LEN: usize = offset_of!(DirEntry, rec_len);
const NAME_LEN: usize = offset_of!(DirEntry, name_len);
const FILE_TYPE: usize = offset_of!(DirEntry, file_type);
const NAME: usize = size_of::<DirEntry>();

fn in_directory(number: usize, anatomy: &Anatomy, canvas: &mut Canvas, dice: &mut Dice) -> Option<Damage> {
    let wanted = |part: &&Part| matches!(part.kind, Kind::Directory(_, _, first) if first || number >= 3);
    let parts: Vec<Part> = anatomy.parts.iter().filter(wanted).copied().collect();
    let part = *dice.pick(&parts)?;
    let Kind::Directory(owner, ..) = part.kind else { return None };
    let block = canvas.get(part.start, part.length).to_vec();
    let all = entries(&block);
    let names: Vec<_> = all.iter().filter(|(at, _)| block.get(at + NAME) != Some(&b'.')).copied().collect();
    let (entry, length) = if number < 3 { *all.get(1)? } else { *dice.pick(&names)? };
    let at = part.start + entry;
    let directories: Vec<Live> =
        anatomy.inodes.iter().filter(|inode| inode.format == S_IFDIR).copied().collect();
    let directory = dice.pick(&directories)?.number.to_le_bytes();
    let (words, offset, bytes): (_, usize, Vec<u8>) = match number {
        0 => ("'.' is another directory", INODE, directory.to_vec()),
        1 => ("'..' is another directory", INODE, directory.to_vec()),
        2 => ("'..' has another name", NAME, vec![b'x']),
        3 => ("an entry leads to a directory: a cycle, or a second name", INODE, directory.to_vec()),
        4 => ("an entry leads to its own directory", INODE, owner.to_le_bytes().to_vec()),
        5 => ("a name has a '/'", NAME, vec![b'/']),
        6 => ("a name has a NUL byte", NAME, vec![0]),
        7 => ("a name is '.'", NAME_LEN, vec![1, block[entry + FILE_TYPE], b'.']),
        8 => {
            let too_long = (part.length as u32 - 4).to_le_bytes();
            ("an entry crosses the end of its block", REC_LEN, too_long[..2].to_vec())
        }
        9 => ("an entry has no length", REC_LEN, vec![0, 0]),
        10 => ("an entry is shorter than its name", REC_LEN, vec![8, 0]),
        _ => ("a name is longer than its entry", NAME_LEN, vec![u8::try_from(length).unwrap_or(0xFF)]),
    };
    let at = if number == 0 { part.start } else { at };
    change(anatomy, canvas, &part, at + offset, &bytes);
    if number == 3 && dice.roll(2) == 0 {
        canvas.set(at + FILE_TYPE, &[dir_entry::file_type(S_IFDIR)]);
        anatomy.refresh(canvas, &part);
    }
    Some(Damage::of(format!("directory {owner}, entry at {entry:#x}: {words}")))
}

/// Returns the locations of block numbers in the roots and nodes of block maps, with the parts that contain
/// them.
fn pointers(anatomy: &Anatomy, canvas: &Canvas) -> Vec<(Part, usize, bool)> {
    let mut found = Vec::new();
    let mut nodes: Vec<(Part, usize)> = anatomy
        .inodes
        .iter()
        .filter(|inode| matches!(inode.format, S_IFREG | S_IFDIR))
        .filter_map(|inode| Some((anatomy.inode(inode.number)?, inode.start + I_BLOCK)))
        .collect();
    nodes.extend(
        anatomy
            .parts
            .iter()
            .filter(|part| matches!(part.kind, Kind::Extents(..) | Kind::Indirect))
            .map(|part| (*part, part.start)),
    );
    for (part, node) in nodes {
        let header = canvas.bytes.get(node..).and_then(view::<ExtentHeader>);
        if let Some(header) = header.filter(|header| header.eh_magic.get() == extent::MAGIC) {
            let entries = usize::from(header.eh_entries.get()).min(100);
            let leaf = header.eh_depth.get() == 0;
            let pointer =
                if leaf { offset_of!(Extent, ee_start_lo) } else { offset_of!(ExtentIndex, ei_leaf_lo) };
            let places = (1..=entries).map(|index| node + index * extent::ENTRY_SIZE + pointer);
            found.extend(places.map(|at| (part, at, leaf)));
        } else {
            let count = if part.kind == Kind::Indirect { 64 } else { 15 };
            let places = (0..count).map(|index| node + index * 4);
            found.extend(
                places
                    .filter(|at| le32(&canvas.bytes, *at).is_some_and(|block| block != 0))
                    .map(|at| (part, at, part.kind == Kind::Indirect || at < node + 48)),
            );
        }
    }
    found
}

fn in_map(number: usize, anatomy: &Anatomy, canvas: &mut Canvas, dice: &mut Dice) -> Option<Damage> {
    let all = pointers(anatomy, canvas);
    let inner: Vec<_> = all.iter().filter(|(_, _, leaf)| !leaf).copied().collect();
    let (part, at, _) = *dice.pick(if number < 2 { &inner } else { &all })?;
    let block_of = |part: &Part| (part.start / anatomy.block_size) as u32;
    let other = dice.pick(&all)?.1;
    let blocks = (canvas.bytes.len() / anatomy.block_size) as u32;
    let (words, value) = match number {
        0 => ("its own node", block_of(&part)),
        1 => ("a block of another kind", block_of(dice.pick(&anatomy.parts)?)),
        2 => ("a block of another file", le32(&canvas.bytes, other)?),
        3 => ("the superblock", anatomy.block_size.eq(&1024).into()),
        4 => ("the descriptors", 1 + u32::from(anatomy.block_size == 1024)),
        5 => ("a bitmap", block_of(dice.pick(&anatomy.of_class(Kind::Bitmap.class()))?)),
        6 => ("an inode table", block_of(dice.pick(&anatomy.of_class(2))?)),
        7 => ("the block past the end", blocks),
        8 => ("a block far away", u32::MAX),
        _ => ("its neighbour", le32(&canvas.bytes, at)?.wrapping_add(1)),
    };
    change(anatomy, canvas, &part, at, &value.to_le_bytes());
    Some(Damage::of(format!("{:?}: the pointer at {:#x} leads to {words}", part.kind, at - part.start)))
}

fn in_inode(number: usize, anatomy: &Anatomy, canvas: &mut Canvas, dice: &mut Dice) -> Option<Damage> {
    let inode = *dice.pick(&anatomy.inodes)?;
    let part = anatomy.inode(inode.number)?;
    const LINKS: usize = offset_of!(Inode, i_links_count);
    const SIZE: usize = offset_of!(Inode, i_size_lo);
    const SIZE_HIGH: usize = offset_of!(Inode, i_size_high);
    let mut set = |offset: usize, bytes: &[u8]| change(anatomy, canvas, &part, inode.start + offset, bytes);
    let words = match number {
        0 => {
            set(LINKS, &[0, 0]);
            "no links"
        }
        1 => {
            set(LINKS, &[0xFF, 0xFF]);
            "65535 links"
        }
        2 => {
            let links = le16(&canvas.bytes, inode.start + LINKS)?.wrapping_add(1).to_le_bytes();
            change(anatomy, canvas, &part, inode.start + LINKS, &links);
            "a link too many"
        }
        3 => {
            set(SIZE_HIGH, &[0xFF; 4]);
            "a size beyond all limits"
        }
        4 => {
            set(SIZE_HIGH, &[0, 1, 0, 0]);
            "a size of a TiB and more"
        }
        5 => {
            set(SIZE, &[0xFF; 4]);
            "a size of 4 GiB less one byte"
        }
        6 => {
            let mode = dice.number().to_le_bytes();
            change(anatomy, canvas, &part, inode.start, &mode[..2]);
            "another mode"
        }
        _ => {
            let other = *dice.pick(&anatomy.inodes)?;
            let root = canvas.get(other.start + I_BLOCK, I_BLOCK_SIZE).to_vec();
            change(anatomy, canvas, &part, inode.start + I_BLOCK, &root);
            "the map of another"
        }
    };
    Some(Damage::of(format!("inode {} has {words}", inode.number)))
}

fn elsewhere(number: usize, anatomy: &Anatomy, canvas: &mut Canvas, dice: &mut Dice) -> Option<Damage> {
    // Always pick one, so that the random sequence is the same for all numbers.
    let descriptor = *dice.pick(&anatomy.of_class(Kind::Descriptor(0).class()))?;
    match number {
        0 => loop_of_orphans(anatomy, canvas, dice),
        1 | 2 => in_descriptor(number, &descriptor, anatomy, canvas, dice),
        4 => {
            let inodes: Vec<_> = anatomy.inodes.iter().filter(|inode| inode.number > 1).copied().collect();
            let inode = *dice.pick(&inodes)?;
            let block = u32::try_from(some_block(anatomy, canvas, dice)).unwrap_or(u32::MAX);
            let at = inode.start + offset_of!(Inode, i_file_acl_lo);
            change(anatomy, canvas, &anatomy.inode(inode.number)?, at, &block.to_le_bytes());
            Some(Damage::of(format!("inode {} has its xattrs in block {block}", inode.number)))
        }
        _ => in_superblock(number, anatomy, canvas, dice),
    }
}

fn loop_of_orphans(anatomy: &Anatomy, canvas: &mut Canvas, dice: &mut Dice) -> Option<Damage> {
    let superblock = anatomy.of_class(Kind::Superblock.class()).first().copied()?;
    let files: Vec<Live> = anatomy.inodes.iter().filter(|inode| inode.number > 11).copied().collect();
    let (first, second) = (*dice.pick(&files)?, *dice.pick(&files)?);
    // The deletion time of an orphan contains the number of the next one.
    canvas.set(first.start + offset_of!(Inode, i_dtime), &second.number.to_le_bytes());
    canvas.set(second.start + offset_of!(Inode, i_dtime), &first.number.to_le_bytes());
    for inode in [first, second] {
        if dice.roll(2) == 0 {
            canvas.set(inode.start + offset_of!(Inode, i_links_count), &[0, 0]);
        }
        anatomy.refresh(canvas, &anatomy.inode(inode.number)?);
    }
    let at = superblock.start + offset_of!(Superblock, s_last_orphan);
    change(anatomy, canvas, &superblock, at, &first.number.to_le_bytes());
    Some(Damage::of(format!("the list of orphans is a loop of {} and {}", first.number, second.number)))
}

fn in_descriptor(
    number: usize,
    descriptor: &Part,
    anatomy: &Anatomy,
    canvas: &mut Canvas,
    dice: &mut Dice,
) -> Option<Damage> {
    const PLACES: [usize; 3] = [
        offset_of!(GroupDescriptor, bg_block_bitmap_lo),
        offset_of!(GroupDescriptor, bg_inode_bitmap_lo),
        offset_of!(GroupDescriptor, bg_inode_table_lo),
    ];
    let field = PLACES[dice.roll(3)];
    if number == 1 {
        let other = *dice.pick(&anatomy.of_class(descriptor.kind.class()))?;
        let from = canvas.get(other.start + PLACES[dice.roll(3)], 4).to_vec();
        change(anatomy, canvas, descriptor, descriptor.start + field, &from);
        return Some(Damage::of(format!("{:?}: field {field} lies where another does", descriptor.kind)));
    }
    let block = u32::try_from(some_block(anatomy, canvas, dice)).unwrap_or(u32::MAX);
    change(anatomy, canvas, descriptor, descriptor.start + field, &block.to_le_bytes());
    Some(Damage::of(format!("{:?}: field {field} is block {block}", descriptor.kind)))
}

fn in_superblock(number: usize, anatomy: &Anatomy, canvas: &mut Canvas, dice: &mut Dice) -> Option<Damage> {
    const SIZES: [usize; 9] = [
        offset_of!(Superblock, s_inodes_count),
        offset_of!(Superblock, s_blocks_count_lo),
        offset_of!(Superblock, s_first_data_block),
        offset_of!(Superblock, s_log_block_size),
        offset_of!(Superblock, s_blocks_per_group),
        offset_of!(Superblock, s_inodes_per_group),
        offset_of!(Superblock, s_inode_size),
        offset_of!(Superblock, s_reserved_gdt_blocks),
        offset_of!(Superblock, s_desc_size),
    ];
    const FEATURES: [usize; 3] = [
        offset_of!(Superblock, s_feature_compat),
        offset_of!(Superblock, s_feature_incompat),
        offset_of!(Superblock, s_feature_ro_compat),
    ];
    let superblock = anatomy.of_class(Kind::Superblock.class()).first().copied()?;
    if number == 3 {
        let field = *dice.pick(&SIZES)?;
        let factor = 2 + dice.roll(7) as u32;
        let old = le32(&canvas.bytes, superblock.start + field)?;
        let new = if dice.roll(2) == 0 { old.wrapping_mul(factor) } else { old / factor };
        change(anatomy, canvas, &superblock, superblock.start + field, &new.to_le_bytes());
        return Some(Damage::of(format!("the superblock's word at {field:#x} is {new}")));
    }
    let word = FEATURES[dice.roll(3)];
    let bits = le32(&canvas.bytes, superblock.start + word)? ^ 1 << dice.roll(19);
    change(anatomy, canvas, &superblock, superblock.start + word, &bits.to_le_bytes());
    Some(Damage::of(format!("the superblock's features at {word:#x} are {bits:#x}")))
}
