//! Where the metadata of an image lies.
//!
//! It walks any bytes without believing them, since fuzzers give it damaged images as well.

use std::collections::BTreeMap;

use ext4_canon::ondisk::checksum::{Checksums, crc32c};
use ext4_canon::ondisk::inode::{self, Inode, InodeFlags, S_IFDIR, S_IFLNK, S_IFREG};
use ext4_canon::ondisk::jbd2::{self, JournalSuperblock, LogFormat};
use ext4_canon::ondisk::superblock::{self as sb, Superblock};
use ext4_canon::ondisk::{Field, dir_entry, extent, group_descriptor, htree, le16, le32, mmp, view, xattr};

/// The most parts that are looked for; more would be of no use.
const MOST_PARTS: usize = 4000;
/// The most blocks of a directory, or of a file with metadata.
const MOST_BLOCKS: usize = 256;

/// What a part of an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Superblock,
    Descriptor(u32),
    Inode(u32),
    /// A block of an extent tree, of an inode with a generation.
    Extents(u32, u32),
    Indirect,
    /// A block of a directory, of an inode with a generation; whether it is the first.
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
    /// A number for each kind, whatever it belongs to.
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

    /// Whether its numbers begin with their highest byte.
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
    /// The copy in the journal that it belongs to: an index in `Anatomy::copies`.
    pub(super) copy: Option<usize>,
}

/// A copy of a block in the journal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    pub(super) start: usize,
    /// Where its tag's checksum lies, in a log of version 3.
    pub(super) checksum: usize,
    /// The descriptor block.
    pub(super) descriptor: usize,
    pub(super) sequence: u32,
}

/// A live inode.
#[derive(Clone, Copy, Debug)]
pub struct Live {
    pub number: u32,
    pub start: usize,
    pub format: u16,
}

/// The metadata of an image.
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

/// Bytes that may be damaged, and mended again.
#[derive(Clone, Debug)]
pub struct Canvas {
    pub bytes: Vec<u8>,
    before: Vec<(usize, Vec<u8>)>,
}

impl Canvas {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, before: Vec::new() }
    }

    /// Overwrites bytes, if all of them are there.
    pub fn set(&mut self, at: usize, new: &[u8]) {
        if let Some(old) = at.checked_add(new.len()).and_then(|end| self.bytes.get_mut(at..end)) {
            self.before.push((at, old.to_vec()));
            old.copy_from_slice(new);
        }
    }

    /// Takes everything back.
    pub fn undo(&mut self) {
        while let Some((at, old)) = self.before.pop() {
            self.bytes[at..at + old.len()].copy_from_slice(&old);
        }
    }

    pub fn get(&self, at: usize, length: usize) -> &[u8] {
        at.checked_add(length).and_then(|end| self.bytes.get(at..end)).unwrap_or_default()
    }
}

/// What is walked while an anatomy grows.
struct Walk<'i> {
    image: &'i [u8],
    anatomy: Anatomy,
    /// Block numbers of the journal's blocks, in order.
    journal: Vec<u64>,
}

/// The anatomy of an image; `None` if it has no superblock that makes sense.
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
    if sb.s_feature_incompat.get() & 0x100 != 0 {
        walk.block(Kind::Mmp, sb.s_mmp_block.get());
    }
    walk.journal();
    Some(walk.anatomy)
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
            if sb.s_feature_incompat.get() & 0x80 != 0 { usize::from(sb.s_desc_size.get()) } else { 32 };
        let per_group = sb.s_inodes_per_group.get();
        let groups = sb.s_inodes_count.get().checked_div(per_group).unwrap_or(0).min(64);
        // Behind the superblock, wherever the first cluster begins.
        let first = if self.anatomy.block_size == 1024 { 2 } else { 1 };
        for group in 0..groups {
            let mut start = first * self.anatomy.block_size + group as usize * size;
            if sb.s_feature_incompat.get() & 0x10 != 0 {
                // With meta_bg, the descriptors of each meta group are in its first group.
                let per_block = self.anatomy.block_size.checked_div(size).unwrap_or(1).max(1);
                let (meta, index) = (group as usize / per_block, group as usize % per_block);
                let block = first - 1 + meta * per_block * sb.s_blocks_per_group.get() as usize + 1;
                start = block.saturating_mul(self.anatomy.block_size).saturating_add(index * size);
            }
            let Some(raw) = start.checked_add(size).and_then(|end| self.image.get(start..end)) else {
                return;
            };
            if size < 32 {
                return;
            }
            let descriptor = group_descriptor::GroupDescriptor::decode(raw);
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
            let special = sb.s_feature_ro_compat.get() & 0x100 != 0
                && [&sb.s_usr_quota_inum, &sb.s_grp_quota_inum, &sb.s_prj_quota_inum]
                    .iter()
                    .any(|quota| quota.get() == number);
            let content = match number {
                _ if format == S_IFDIR => Some(Kind::Directory(number, generation, false)),
                _ if special => Some(Kind::Quota),
                _ if sb.s_feature_compat.get() & 0x1000 != 0 && sb.s_orphan_file_inum.get() == number => {
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
            if number == 8 {
                self.journal = blocks;
            }
        }
    }

    /// The content blocks of an extent tree, at most so many as a journal may have here.
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
            let entries = usize::from(head.eh_entries.get()).min(self.anatomy.block_size / 12 - 1);
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
        let mut blocks: Vec<u64> = (0..12).map(|index| pointer(root + index * 4)).collect();
        let mut nodes: Vec<(u64, u32)> =
            (0..3).map(|level| (pointer(root + 48 + level * 4), level as u32)).collect();
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
        let start_of =
            |walk: &Self, place: u32| places.get(place as usize).and_then(|block| walk.start_of(*block));
        let Some(start) = start_of(self, 0) else { return };
        let Some(jsb) = self.image.get(start..).and_then(view::<JournalSuperblock>) else { return };
        if jsb.h_magic.get() != jbd2::MAGIC {
            return;
        }
        self.part(Kind::JournalSuperblock, start, 1024);
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
            let Some(start) = start_of(self, place) else { break };
            if self.image[start..start + block_size].iter().any(|byte| *byte != 0) {
                self.part(Kind::FastCommits, start, block_size);
            }
        }
        let homes = self.homes();
        let (mut place, mut left) = (jsb.s_start.get(), 200);
        let mut next = |place: &mut u32| {
            *place = if *place + 1 >= end { jsb.s_first.get() } else { *place + 1 };
            left -= 1;
            left > 0
        };
        while place != 0 {
            let Some(start) = start_of(self, place) else { return };
            let block = &self.image[start..start + block_size];
            let Some(header) = view::<jbd2::JournalHeader>(block) else { return };
            if header.h_magic.get() != jbd2::MAGIC {
                return;
            }
            self.part(Kind::JournalBlock, start, block_size);
            if header.h_blocktype.get() == jbd2::DESCRIPTOR_BLOCK {
                let Some(tags) = format.tags(block).filter(|_| block_size > 16) else { return };
                let mut tag_start = start + 12;
                for tag in tags {
                    if !next(&mut place) {
                        return;
                    }
                    let Some(copy) = start_of(self, place) else { return };
                    self.copy(
                        &homes,
                        tag.block,
                        Copy {
                            start: copy,
                            checksum: tag_start + 12,
                            descriptor: start,
                            sequence: header.h_sequence.get(),
                        },
                    );
                    tag_start += 16 + if tag.flags & jbd2::TAG_SAME_UUID == 0 { 16 } else { 0 };
                }
            }
            if !next(&mut place) {
                return;
            }
        }
    }

    /// The parts of each block.
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
    /// The parts of a class.
    pub fn of_class(&self, class: u8) -> Vec<Part> {
        self.parts.iter().filter(|part| part.kind.class() == class).copied().collect()
    }

    /// The classes that the image has parts of.
    pub fn classes(&self) -> Vec<u8> {
        let mut classes: Vec<u8> = self.parts.iter().map(|part| part.kind.class()).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    /// The part that holds the inode, where it is at home.
    pub fn inode(&self, number: u32) -> Option<Part> {
        self.parts.iter().find(|part| part.kind == Kind::Inode(number) && part.copy.is_none()).copied()
    }

    /// The fields of a part: offsets in the image, and sizes.
    pub fn fields(&self, image: &[u8], part: &Part) -> Vec<(usize, usize)> {
        let named = |fields: &[Field]| {
            fields
                .iter()
                .filter(|field| field.offset + field.size <= part.length)
                .map(|field| (part.start + field.offset, field.size))
                .collect::<Vec<_>>()
        };
        let bytes = image.get(part.start..part.start + part.length).unwrap_or_default();
        match part.kind {
            Kind::Superblock => named(Superblock::FIELDS),
            Kind::Descriptor(_) => named(group_descriptor::GroupDescriptor::FIELDS),
            Kind::Inode(_) => {
                let mut fields = named(Inode::FIELDS);
                let root = part.start + inode::I_BLOCK;
                let extents = le16(image, root) == Some(extent::MAGIC);
                let words = if extents { extent_fields(root, 4) } else { words(root, 60) };
                for field in words {
                    fields.extend([field, field]);
                }
                let extra = usize::from(le16(bytes, inode::BASE_SIZE).unwrap_or(0));
                let xattrs = inode::BASE_SIZE + extra;
                if bytes.len() > inode::BASE_SIZE && le32(bytes, xattrs) == Some(xattr::MAGIC) {
                    fields.extend(xattr_fields(bytes, xattrs + 4, part.start));
                }
                fields
            }
            Kind::Extents(..) => {
                let entries = le16(bytes, 2).unwrap_or(0);
                extent_fields(part.start, usize::from(entries).min(part.length / 12 - 1))
            }
            Kind::Directory(_, _, first) => directory_fields(bytes, part.start, first),
            Kind::Xattrs => {
                let mut fields = named(xattr::XattrHeader::FIELDS);
                fields.extend(xattr_fields(bytes, 32, part.start));
                fields
            }
            Kind::Mmp => named(mmp::MmpStruct::FIELDS),
            Kind::JournalSuperblock => named(JournalSuperblock::FIELDS),
            Kind::Indirect
            | Kind::Orphans(..)
            | Kind::JournalBlock
            | Kind::Quota
            | Kind::FastCommits
            | Kind::Bitmap => {
                let used = bytes.iter().rposition(|byte| *byte != 0).map_or(16, |last| last + 8);
                words(part.start, used.min(part.length))
            }
        }
    }
}

fn words(start: usize, length: usize) -> Vec<(usize, usize)> {
    (start..start + length).step_by(4).map(|at| (at, 4)).collect()
}

fn extent_fields(node: usize, entries: usize) -> Vec<(usize, usize)> {
    let mut fields = vec![(node, 2), (node + 2, 2), (node + 4, 2), (node + 6, 2), (node + 8, 4)];
    for entry in (1..=entries).map(|index| node + index * extent::ENTRY_SIZE) {
        fields.extend([(entry, 4), (entry + 4, 2), (entry + 6, 2), (entry + 8, 4), (entry + 4, 4)]);
    }
    fields
}

fn xattr_fields(area: &[u8], first: usize, start: usize) -> Vec<(usize, usize)> {
    let mut fields = Vec::new();
    let mut offset = first;
    while !xattr::is_end(area, offset) && offset + 16 <= area.len() && fields.len() < 200 {
        let entry = start + offset;
        fields.extend([
            (entry, 1),
            (entry + 1, 1),
            (entry + 2, 2),
            (entry + 4, 4),
            (entry + 8, 4),
            (entry + 12, 4),
        ]);
        fields.push((entry + 16, 1));
        offset += xattr::entry_size(usize::from(area[offset]));
    }
    fields.push((start + offset, 4));
    fields
}

fn directory_fields(block: &[u8], start: usize, first: bool) -> Vec<(usize, usize)> {
    let mut fields = Vec::new();
    let mut offset = 0;
    while let Some(entry) = block.get(offset..).and_then(view::<dir_entry::DirEntry>) {
        let at = start + offset;
        fields.extend([(at, 4), (at + 4, 2), (at + 6, 1), (at + 7, 1), (at + 8, 1)]);
        let length = dir_entry::decode_rec_len(entry.rec_len, block.len());
        if length < 8 {
            break;
        }
        offset += length;
    }
    if first && block.get(0x1D) == Some(&8) || !first && le16(block, 4) == u16::try_from(block.len()).ok() {
        let head = if first { htree::ROOT_HEAD } else { htree::NODE_HEAD };
        if first {
            fields.extend((24..32).map(|at| (start + at, 1)));
        }
        fields.extend([(start + head, 2), (start + head + 2, 2)]);
        let count = usize::from(le16(block, head + 2).unwrap_or(0)).min(16);
        fields.extend((0..count).flat_map(|index| {
            let entry = start + head + index * 8;
            [(entry, 4), (entry + 4, 4)]
        }));
    }
    fields
}
