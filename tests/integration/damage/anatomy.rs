//! Locations of the metadata in an image.
//!
//! The parser does not trust any of the bytes, since fuzzers also call it with damaged images.

// Use an explicit path, because fuzz/ also includes this module by path.
#[path = "fields.rs"]
mod fields;

use std::collections::BTreeMap;

use ext4_canon::internals::InodeNr;
use ext4_canon::internals::ondisk::checksum::{Checksums, crc32c};
use ext4_canon::internals::ondisk::features::{Compat, Incompat, RoCompat};
use ext4_canon::internals::ondisk::group_descriptor::{GroupDescriptor, OLD_SIZE};
use ext4_canon::internals::ondisk::htree::{self, DxRootInfo};
use ext4_canon::internals::ondisk::inode::{self, Inode, InodeFlags, S_IFDIR, S_IFLNK, S_IFREG};
use ext4_canon::internals::ondisk::jbd2::{self, JournalSuperblock, LogFormat};
use ext4_canon::internals::ondisk::superblock::{self as sb, Superblock};
use ext4_canon::internals::ondisk::{extent, le32, view};

/// The maximum number of parts to find.
const MOST_PARTS: usize = 4000;
/// The number of direct blocks in a block map.
const DIRECT: usize = 12;
/// The size in bytes of a tag in a log of version 3 without a UUID, and the offset of its checksum.
const TAG_SIZE: usize = 16;
const TAG_CHECKSUM: usize = 12;
/// The offset of the index information in its root.
pub(super) const ROOT_INFO: usize = htree::ROOT_HEAD - size_of::<DxRootInfo>();
/// The maximum number of blocks of a directory or a metadata file to visit.
const MOST_BLOCKS: usize = 256;

/// The kind of a part of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Superblock,
    Descriptor(u32),
    Inode(u32),
    /// An extent tree node, with the inode and its generation.
    Extents(u32, u32),
    Indirect,
    /// A directory block, with the inode, its generation, and whether the block is the first.
    Directory(u32, u32, bool),
    Xattrs,
    Orphans(u32, u32),
    Mmp,
    JournalSuperblock,
    /// A descriptor, revoke or commit block.
    JournalBlock,
    FastCommits,
    Quota,
    Bitmap,
}

impl Kind {
    /// Returns a number for the kind, without its owner.
    pub fn class(self) -> u8 {
        match self {
            Self::Superblock => 0,
            Self::Descriptor(_) => 1,
            Self::Inode(_) => 2,
            Self::Extents(..) => 3,
            Self::Indirect => 4,
            Self::Directory(..) => 5,
            Self::Xattrs => 6,
            Self::Orphans(..) => 7,
            Self::Mmp => 8,
            Self::JournalSuperblock => 9,
            Self::JournalBlock => 10,
            Self::FastCommits => 11,
            Self::Quota => 12,
            Self::Bitmap => 13,
        }
    }

    /// Returns whether numbers are big-endian.
    pub fn is_big_endian(self) -> bool {
        matches!(self, Self::JournalBlock | Self::JournalSuperblock)
    }
}

/// A part of an image.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub kind: Kind,
    pub start: usize,
    pub length: usize,
    /// The index in `Anatomy::copies` of the copy in the journal that contains this part.
    pub(super) copy: Option<usize>,
}

/// A copy of a block in the journal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    pub(super) start: usize,
    /// The offset of the checksum in its tag, for a log of version 3.
    pub(super) checksum: usize,
    /// The offset of its descriptor block.
    pub(super) descriptor: usize,
    pub(super) sequence: u32,
}

/// An inode in use.
#[derive(Clone, Copy, Debug)]
pub struct Live {
    pub number: u32,
    pub start: usize,
    pub format: u16,
}

/// The locations of an image's metadata.
#[derive(Clone, Debug)]
pub struct Anatomy {
    pub block_size: usize,
    pub parts: Vec<Part>,
    pub inodes: Vec<Live>,
    pub(super) checksums: Checksums,
    pub(super) inode_size: usize,
    pub(super) copies: Vec<Copy>,
    pub(super) log: Option<LogFormat>,
}

/// An image that can be changed, and restored.
#[derive(Clone, Debug)]
pub struct Canvas {
    pub bytes: Vec<u8>,
    before: Vec<(usize, Vec<u8>)>,
}

impl Canvas {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, before: Vec::new() }
    }

    /// Overwrites bytes, unless the range exceeds the image.
    pub fn set(&mut self, at: usize, new: &[u8]) {
        if let Some(old) = at.checked_add(new.len()).and_then(|end| self.bytes.get_mut(at..end)) {
            self.before.push((at, old.to_vec()));
            old.copy_from_slice(new);
        }
    }

    /// Undoes all changes.
    pub fn undo(&mut self) {
        while let Some((at, old)) = self.before.pop() {
            self.bytes[at..at + old.len()].copy_from_slice(&old);
        }
    }

    pub fn get(&self, at: usize, length: usize) -> &[u8] {
        at.checked_add(length).and_then(|end| self.bytes.get(at..end)).unwrap_or_default()
    }
}

/// The state of the parser.
struct Walk<'i> {
    image: &'i [u8],
    anatomy: Anatomy,
    /// The blocks of the journal, in logical order.
    journal: Vec<u64>,
}

/// Returns the anatomy of an image, or `None` if its superblock is invalid.
pub fn dissect(image: &[u8]) -> Option<Anatomy> {
    let sb = image.get(sb::OFFSET..).and_then(view::<Superblock>)?;
    let log = sb.s_log_block_size.get();
    if sb.s_magic.get() != sb::MAGIC || log > 6 {
        return None;
    }
    let block_size = 1024 << log;
    let inode_size = if sb.s_rev_level.get() == 0 { 128 } else { usize::from(sb.s_inode_size.get()) };
    if !inode_size.is_power_of_two() || !(128..=block_size).contains(&inode_size) {
        return None;
    }
    let anatomy = Anatomy {
        block_size,
        parts: Vec::new(),
        inodes: Vec::new(),
        checksums: Checksums::of(sb),
        inode_size,
        copies: Vec::new(),
        log: None,
    };
    let mut walk = Walk { image, anatomy, journal: Vec::new() };
    walk.part(Kind::Superblock, sb::OFFSET, sb::SIZE);
    walk.groups(sb);
    if incompat(sb).contains(Incompat::MMP) {
        walk.block(Kind::Mmp, sb.s_mmp_block.get());
    }
    walk.journal();
    Some(walk.anatomy)
}

/// The state of reading a log.
struct Log {
    format: LogFormat,
    /// The blocks of the journal, in logical order.
    places: Vec<u64>,
    /// The index of the first block of the log, to which it wraps around.
    first: u32,
    end: u32,
    /// The number of blocks that may still be read.
    left: u32,
}

impl Log {
    /// Returns the index of the next block, or `None` after the maximum number of blocks.
    fn next(&mut self, place: u32) -> Option<u32> {
        self.left -= 1;
        (self.left > 0).then_some(if place + 1 >= self.end { self.first } else { place + 1 })
    }
}

fn incompat(sb: &Superblock) -> Incompat {
    Incompat::from_bits_retain(sb.s_feature_incompat.get())
}

fn has_orphan_file(sb: &Superblock) -> bool {
    sb.s_feature_compat.get() & Compat::ORPHAN_FILE.bits() != 0
}

impl Walk<'_> {
    fn part(&mut self, kind: Kind, start: usize, length: usize) {
        let fits = start.checked_add(length).is_some_and(|end| end <= self.image.len());
        if fits && self.anatomy.parts.len() < MOST_PARTS {
            self.anatomy.parts.push(Part { kind, start, length, copy: None });
        }
    }

    fn start_of(&self, block: u64) -> Option<usize> {
        let start = usize::try_from(block).ok()?.checked_mul(self.anatomy.block_size)?;
        let end = start.checked_add(self.anatomy.block_size)?;
        (block != 0 && end <= self.image.len()).then_some(start)
    }

    fn block(&mut self, kind: Kind, block: u64) -> Option<usize> {
        let start = self.start_of(block)?;
        self.part(kind, start, self.anatomy.block_size);
        Some(start)
    }

    fn groups(&mut self, sb: &Superblock) {
        let size =
            if incompat(sb).contains(Incompat::BIT64) { usize::from(sb.s_desc_size.get()) } else { OLD_SIZE };
        let per_group = sb.s_inodes_per_group.get();
        let groups = sb.s_inodes_count.get().checked_div(per_group).unwrap_or(0).min(64);
        // The descriptors begin in the block after the superblock, even with bigalloc.
        let first = if self.anatomy.block_size == 1024 { 2 } else { 1 };
        for group in 0..groups {
            let mut start = first * self.anatomy.block_size + group as usize * size;
            if incompat(sb).contains(Incompat::META_BG) {
                // With meta_bg, the first group of each meta group contains its descriptors.
                let per_block = self.anatomy.block_size.checked_div(size).unwrap_or(1).max(1);
                let (meta, index) = (group as usize / per_block, group as usize % per_block);
                let block = first - 1 + meta * per_block * sb.s_blocks_per_group.get() as usize + 1;
                start = block.saturating_mul(self.anatomy.block_size).saturating_add(index * size);
            }
            let Some(raw) = start.checked_add(size).and_then(|end| self.image.get(start..end)) else {
                return;
            };
            if size < OLD_SIZE {
                return;
            }
            let descriptor = GroupDescriptor::decode(raw);
            self.part(Kind::Descriptor(group), start, size);
            self.block(Kind::Bitmap, descriptor.block_bitmap().0);
            self.block(Kind::Bitmap, descriptor.inode_bitmap().0);
            if let Some(table) = self.start_of(descriptor.inode_table().0) {
                self.inodes(sb, group * per_group, per_group, table);
            }
        }
    }

    fn inodes(&mut self, sb: &Superblock, before: u32, count: u32, table: usize) {
        let size = self.anatomy.inode_size;
        for index in 0..count.min(4096) {
            let start = table + index as usize * size;
            let Some(raw) = self.image.get(start..start + size) else { return };
            let (number, inode) = (before + index + 1, Inode::decode(raw));
            let format = inode.format();
            if format == 0 && (number > 10 || inode.i_links_count.get() == 0) {
                continue;
            }
            self.part(Kind::Inode(number), start, size);
            let extents = inode.flags().contains(InodeFlags::EXTENTS);
            self.anatomy.inodes.push(Live { number, start, format });
            let generation = inode.i_generation.get();
            self.block(Kind::Xattrs, inode.file_acl());
            let inline = inode.flags().contains(InodeFlags::INLINE_DATA);
            let fast = format == S_IFLNK && inode.size() < inode::FAST_SYMLINK_LIMIT;
            if inline || fast || !matches!(format, S_IFDIR | S_IFREG | S_IFLNK | 0) {
                continue;
            }
            let special = sb.s_feature_ro_compat.get() & RoCompat::QUOTA.bits() != 0
                && [&sb.s_usr_quota_inum, &sb.s_grp_quota_inum, &sb.s_prj_quota_inum]
                    .iter()
                    .any(|quota| quota.get() == number);
            let content = match number {
                _ if format == S_IFDIR => Some(Kind::Directory(number, generation, false)),
                _ if special => Some(Kind::Quota),
                _ if has_orphan_file(sb) && sb.s_orphan_file_inum.get() == number => {
                    Some(Kind::Orphans(number, generation))
                }
                _ => None,
            };
            let root = start + inode::I_BLOCK;
            let blocks = if extents { self.extents(number, generation, root) } else { self.block_map(root) };
            for (place, block) in blocks.iter().enumerate().take(MOST_BLOCKS) {
                match content {
                    Some(Kind::Directory(..)) => {
                        self.block(Kind::Directory(number, generation, place == 0), *block)
                    }
                    Some(kind) => self.block(kind, *block),
                    None => None,
                };
            }
            if number == InodeNr::JOURNAL.0 {
                self.journal = blocks;
            }
        }
    }

    /// Returns the data blocks of an extent tree, limited to a number that is sufficient for journals.
    fn extents(&mut self, number: u32, generation: u32, root: usize) -> Vec<u64> {
        let mut blocks = Vec::new();
        let mut nodes = vec![root];
        let mut seen = 0;
        while let Some(node) = nodes.pop() {
            let head = self.image.get(node..).and_then(view::<extent::ExtentHeader>);
            let Some(head) = head.filter(|head| head.eh_magic.get() == extent::MAGIC) else { continue };
            seen += 1;
            if seen > 500 {
                break;
            }
            let entries =
                usize::from(head.eh_entries.get()).min(self.anatomy.block_size / extent::ENTRY_SIZE - 1);
            for entry in (1..=entries).map(|index| node + index * extent::ENTRY_SIZE) {
                if head.eh_depth.get() == 0 {
                    let Some(found) = self.image.get(entry..).and_then(view::<extent::Extent>) else { break };
                    let count = u64::from(found.len().0).min(40_000_u64.saturating_sub(blocks.len() as u64));
                    blocks.extend((0..count).map(|step| found.start().0.saturating_add(step)));
                } else {
                    let Some(found) = self.image.get(entry..).and_then(view::<extent::ExtentIndex>) else {
                        break;
                    };
                    nodes.extend(self.block(Kind::Extents(number, generation), found.leaf().0));
                }
            }
        }
        blocks
    }

    fn block_map(&mut self, root: usize) -> Vec<u64> {
        let pointer = |at: usize| u64::from(le32(self.image, at).unwrap_or(0));
        let mut blocks: Vec<u64> = (0..DIRECT).map(|index| pointer(root + index * 4)).collect();
        let mut nodes: Vec<(u64, u32)> =
            (0..3).map(|level| (pointer(root + (DIRECT + level) * 4), level as u32)).collect();
        nodes.reverse();
        let mut seen = 0;
        while let Some((node, level)) = nodes.pop() {
            let Some(start) = self.block(Kind::Indirect, node) else { continue };
            seen += 1;
            if seen > 500 {
                break;
            }
            let below = (0..self.anatomy.block_size / 4)
                .map(|index| u64::from(le32(self.image, start + index * 4).unwrap_or(0)));
            if level == 0 {
                blocks.extend(below);
            } else {
                nodes.extend(below.filter(|block| *block != 0).map(|block| (block, level - 1)));
            }
        }
        blocks.retain(|block| *block != 0);
        blocks
    }

    fn journal(&mut self) {
        let places = std::mem::take(&mut self.journal);
        let block_size = self.anatomy.block_size;
        let Some(start) = self.start_of_place(&places, 0) else { return };
        let Some(jsb) = self.image.get(start..).and_then(view::<JournalSuperblock>) else { return };
        if jsb.h_magic.get() != jbd2::MAGIC {
            return;
        }
        self.part(Kind::JournalSuperblock, start, size_of::<JournalSuperblock>());
        let format = LogFormat {
            compat: jsb.s_feature_compat.get(),
            incompat: jsb.s_feature_incompat.get(),
            seed: crc32c(!0, &jsb.s_uuid),
        };
        self.anatomy.log = Some(format);
        let fast = if format.incompat & jbd2::INCOMPAT_FAST_COMMIT == 0 {
            0
        } else {
            match jsb.s_num_fc_blks.get() {
                0 => jbd2::DEFAULT_FC_BLOCKS,
                count => count,
            }
        };
        let end = jsb.s_maxlen.get().saturating_sub(fast);
        for place in (end..jsb.s_maxlen.get()).take(8) {
            let Some(start) = self.start_of_place(&places, place) else { break };
            if self.image[start..start + block_size].iter().any(|byte| *byte != 0) {
                self.part(Kind::FastCommits, start, block_size);
            }
        }
        let log = Log { format, places, first: jsb.s_first.get(), end, left: 200 };
        self.log(log, jsb.s_start.get());
    }

    /// Adds the blocks of the log, beginning at the index `place`.
    fn log(&mut self, mut log: Log, mut place: u32) {
        let (block_size, homes) = (self.anatomy.block_size, self.homes());
        while place != 0 {
            let Some(start) = self.start_of_place(&log.places, place) else { return };
            let block = &self.image[start..start + block_size];
            let Some(header) = view::<jbd2::JournalHeader>(block) else { return };
            if header.h_magic.get() != jbd2::MAGIC {
                return;
            }
            self.part(Kind::JournalBlock, start, block_size);
            if header.h_blocktype.get() == jbd2::DESCRIPTOR_BLOCK {
                let Some(tags) = log.format.tags(block).filter(|_| block_size > 16) else { return };
                let mut tag_start = start + size_of::<jbd2::JournalHeader>();
                for tag in tags {
                    let Some(next) = log.next(place) else { return };
                    place = next;
                    let Some(copy) = self.start_of_place(&log.places, place) else { return };
                    let sequence = header.h_sequence.get();
                    let checksum = tag_start + TAG_CHECKSUM;
                    self.copy(&homes, tag.block, Copy { start: copy, checksum, descriptor: start, sequence });
                    tag_start += TAG_SIZE + if tag.flags & jbd2::TAG_SAME_UUID == 0 { 16 } else { 0 };
                }
            }
            let Some(next) = log.next(place) else { return };
            place = next;
        }
    }

    /// Returns the byte offset in the image of the journal's block at the index `place`.
    fn start_of_place(&self, places: &[u64], place: u32) -> Option<usize> {
        places.get(place as usize).and_then(|block| self.start_of(*block))
    }

    /// Returns the parts in each block.
    fn homes(&self) -> BTreeMap<usize, Vec<Part>> {
        let mut homes = BTreeMap::<usize, Vec<Part>>::new();
        for part in &self.anatomy.parts {
            homes.entry(part.start / self.anatomy.block_size).or_default().push(*part);
        }
        homes
    }

    fn copy(&mut self, homes: &BTreeMap<usize, Vec<Part>>, home: u64, copy: Copy) {
        let index = self.anatomy.copies.len();
        self.anatomy.copies.push(copy);
        let Ok(home) = usize::try_from(home) else { return };
        for part in homes.get(&home).into_iter().flatten() {
            if self.anatomy.parts.len() < MOST_PARTS {
                let start = copy.start + part.start % self.anatomy.block_size;
                self.anatomy.parts.push(Part { start, copy: Some(index), ..*part });
            }
        }
    }
}

impl Anatomy {
    /// Returns the parts of a class.
    pub fn of_class(&self, class: u8) -> Vec<Part> {
        self.parts.iter().filter(|part| part.kind.class() == class).copied().collect()
    }

    /// Returns the classes of all parts.
    pub fn classes(&self) -> Vec<u8> {
        let mut classes: Vec<u8> = self.parts.iter().map(|part| part.kind.class()).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    /// Returns the part for an inode, outside the journal.
    pub fn inode(&self, number: u32) -> Option<Part> {
        self.parts.iter().find(|part| part.kind == Kind::Inode(number) && part.copy.is_none()).copied()
    }
}
