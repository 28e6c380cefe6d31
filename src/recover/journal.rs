//! Opens an internal or external journal, checks its superblock, and reads its blocks.

use std::ops::Range;

use zerocopy::IntoBytes;

use crate::error::{Error, Location, Problem, Result, Structure};
use crate::map::{DenseFile, dense_file};
use crate::ondisk::checksum::{Checksums, crc32c};
use crate::ondisk::features::{Compat, Incompat};
use crate::ondisk::jbd2::{self, JournalSuperblock, LogFormat};
use crate::ondisk::superblock::{self as sb, Superblock};
use crate::ondisk::view;
use crate::remedy::Remedy;
use crate::source::{Input, Source};
use crate::tree::{Run, block_at};
use crate::units::{BlockNr, InodeNr};

/// The location of a filesystem's journal.
#[derive(Debug)]
pub(crate) enum JournalPlace {
    /// The journal inode.
    Inside(DenseFile),
    /// A separate device with this UUID.
    Outside([u8; 16]),
}

impl JournalPlace {
    /// Returns the location of a filesystem's journal, if it has one.
    ///
    /// # Errors
    ///
    /// `Corrupt` for an inode that can't be a journal.
    pub(crate) fn of(source: &Source<'_>) -> Result<Option<Self>> {
        if !source.features().has(Compat::HAS_JOURNAL) {
            return Ok(None);
        }
        let (number, uuid) =
            (InodeNr(source.superblock.s_journal_inum.get()), source.superblock.s_journal_uuid);
        if number.0 != 0 {
            return dense_file(source, number, Structure::Journal).map(|file| Some(Self::Inside(file)));
        }
        if uuid == [0; 16] {
            return Err(Location::of(Structure::Superblock)
                .wrong("has_journal is set, but there is neither a journal inode nor a journal UUID"));
        }
        Ok(Some(Self::Outside(uuid)))
    }
}

/// The location of a journal's blocks.
#[derive(Debug)]
enum JournalBlocks<'a> {
    /// The blocks are in the journal inode of the image.
    File(Input<'a>, DenseFile),
    /// The blocks are on a device, where logical and physical block numbers are equal.
    Device(&'a [u8]),
}

impl<'a> JournalBlocks<'a> {
    fn physical(&self, place: u32) -> Option<BlockNr> {
        match self {
            Self::File(_, file) => block_at(&file.map.runs, place),
            Self::Device(_) => Some(BlockNr(place.into())),
        }
    }

    /// Returns the blocks of the image that belong to the journal, including its map, as sorted, disjoint
    /// ranges. In a damaged journal, the blocks of the file can overlap.
    fn own(&self) -> Vec<Range<u64>> {
        let Self::File(_, file) = self else { return Vec::new() };
        let runs = file.map.runs.iter().map(Run::blocks);
        let nodes = file.map.nodes.iter().map(|block| block.0..block.0 + 1);
        let mut own: Vec<_> = runs.chain(nodes).collect();
        own.sort_unstable_by_key(|range| range.start);
        own.dedup_by(|next, last| {
            let joined = next.start <= last.end;
            last.end = if joined { last.end.max(next.end) } else { last.end };
            joined
        });
        own
    }

    fn get(&self, place: u32, block_size: usize) -> Option<&'a [u8]> {
        let (block, size) = (self.physical(place)?, block_size as u64);
        let (start, end) = (block.0.checked_mul(size)?, (block.0 + 1).checked_mul(size)?);
        match self {
            Self::File(input, _) => input.range(start, end),
            Self::Device(bytes) => bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?),
        }
    }

    fn at(&self, place: u32) -> Location {
        let at = Location::of(Structure::Journal);
        let at = match self {
            Self::File(_, file) => at.inode(file.number),
            Self::Device(_) => at,
        };
        match self.physical(place) {
            Some(block) => at.block(block),
            None => at,
        }
    }
}

/// A journal with a valid superblock.
#[derive(Debug)]
pub(crate) struct Journal<'a> {
    blocks: JournalBlocks<'a>,
    /// The blocks of the image that belong to the journal.
    own: Vec<Range<u64>>,
    block_size: usize,
    /// The number of blocks of the image, which limits the blocks in tags. The log can contain a resize, so
    /// the current filesystem can have fewer.
    blocks_count: u64,
    /// The format of the log.
    pub format: LogFormat,
    /// The first block of the log.
    pub first: u32,
    /// The end of the log (exclusive).
    pub end: u32,
    /// The number of blocks for fast commits, after the log.
    pub fast_commit_blocks: u32,
    /// The sequence number of the first transaction that the log can contain.
    pub sequence: u32,
    /// The block of the first transaction; 0 if the log is empty.
    pub start: u32,
    /// The error code that the journal records; 0 if there is no error.
    pub error: u32,
}

impl<'a> Journal<'a> {
    /// Opens an internal journal. The filesystem is not recovered yet.
    ///
    /// # Errors
    ///
    /// `Corrupt` for a journal that contradicts itself or the filesystem, `Unsupported` for unknown features.
    pub(crate) fn inside(source: &Source<'_>, input: &Input<'a>, file: DenseFile) -> Result<Self> {
        let count = file.blocks;
        Self::open(source, JournalBlocks::File(input.clone(), file), 0, count)
    }

    /// Opens the device of an external journal.
    ///
    /// # Errors
    ///
    /// The errors of [`Self::inside`]; `Unsupported` for a device that is not the journal of this filesystem.
    pub(crate) fn outside(source: &Source<'_>, device: &'a [u8]) -> Result<Self> {
        let at = || Location::of(Structure::Journal);
        let raw = device.get(sb::OFFSET..).and_then(view::<Superblock>);
        let raw =
            raw.filter(|raw| raw.s_magic.get() == sb::MAGIC && raw.features().has(Incompat::JOURNAL_DEV));
        let Some(raw) = raw else {
            return Err(at().unsupported(
                "the given journal is not a journal device",
                "give the journal device of this filesystem",
            ));
        };
        if raw.s_uuid != source.superblock.s_journal_uuid {
            return Err(at().unsupported(
                "the UUID of the given journal device differs from the one in the superblock",
                "give the journal device of this filesystem",
            ));
        }
        let bytes: [u8; sb::SIZE] = zerocopy::transmute!(*raw);
        if let Some(expected) = Checksums::of(raw).superblock(&bytes) {
            let found = raw.s_checksum.get();
            if found != expected {
                return Err(at().corrupt(Problem::Checksum { found, expected }));
            }
        }
        // The journal superblock is in the block after the filesystem superblock of the device.
        let first = if source.geometry.block_size == sb::OFFSET { 2 } else { 1 };
        // This is an upper bound: no journal can be longer.
        let count = u32::try_from(device.len() / source.geometry.block_size).unwrap_or(u32::MAX);
        Self::open(source, JournalBlocks::Device(device), first, count)
    }

    fn open(source: &Source<'_>, blocks: JournalBlocks<'a>, place: u32, count: u32) -> Result<Self> {
        let block_size = source.geometry.block_size;
        let at = blocks.at(place);
        let Some(jsb) = blocks.get(place, block_size).and_then(view::<JournalSuperblock>) else {
            return Err(at.wrong("is cut short"));
        };
        let format = check_head(jsb, &at, block_size, count)?;
        let length = jsb.s_maxlen.get();
        let in_use = format.incompat & jbd2::INCOMPAT_FAST_COMMIT != 0;
        let fast_commit_blocks = match jsb.s_num_fc_blks.get() {
            _ if !in_use && !source.features().has(Compat::FAST_COMMIT) => 0,
            0 => jbd2::DEFAULT_FC_BLOCKS,
            blocks => blocks,
        };
        if u64::from(fast_commit_blocks) + u64::from(jbd2::MIN_BLOCKS) > length.into() {
            return Err(at.value("s_num_fc_blks", fast_commit_blocks, format!("less than {length}")));
        }
        let end = length - if in_use { fast_commit_blocks } else { 0 };
        let (first, start) = (jsb.s_first.get(), jsb.s_start.get());
        if first <= place || first >= end {
            return Err(beyond_repair(&at, "s_first", first, &format!("{} to {}", place + 1, end - 1)));
        }
        if start != 0 && !(first..end).contains(&start) {
            return Err(at.value("s_start", start, format!("0, or {first} to {}", end - 1)));
        }
        // An internal journal may have 0 or 1 users, but an external one must have 1.
        if matches!(blocks, JournalBlocks::Device(_)) && jsb.s_nr_users.get() != 1 {
            return Err(at.value("s_nr_users", jsb.s_nr_users.get(), 1));
        }
        let (sequence, error) = (jsb.s_sequence.get(), jsb.s_errno.get());
        let blocks_count = (source.input().bytes().len() / block_size) as u64;
        Ok(Self {
            own: blocks.own(),
            blocks,
            block_size,
            blocks_count,
            format,
            first,
            end,
            fast_commit_blocks,
            sequence,
            start,
            error,
        })
    }

    /// Checks the target block of a tag. It must be a block of the image, but not of the journal: a replay in
    /// place would overwrite the log while reading it.
    pub(crate) fn check_target(&self, block: u64) -> std::result::Result<(), String> {
        if block >= self.blocks_count {
            return Err(format!("below {}", self.blocks_count));
        }
        let index = self.own.partition_point(|range| range.end <= block);
        match self.own.get(index) {
            Some(range) if range.start <= block => Err("a block outside the journal".to_owned()),
            _ => Ok(()),
        }
    }

    /// Returns a block of the journal, by its index.
    pub(crate) fn block(&self, place: u32) -> &'a [u8] {
        self.blocks
            .get(place, self.block_size)
            .expect("fits: the journal was checked to have s_maxlen blocks")
    }

    /// Returns the location of an error in the journal.
    pub(crate) fn at(&self, place: u32) -> Location {
        self.blocks.at(place)
    }

    /// Returns the index of the next block in the log. After the last block, the log continues at its first
    /// block.
    pub(crate) fn next(&self, place: u32) -> u32 {
        if place + 1 >= self.end { self.first } else { place + 1 }
    }

    /// Returns the indices of the blocks for fast commits, in order. Skips the first block after the log.
    pub(crate) fn fast_commit_area(&self) -> impl Iterator<Item = u32> + use<> {
        let in_use = self.format.incompat & jbd2::INCOMPAT_FAST_COMMIT != 0;
        self.end + 1..if in_use { self.end + self.fast_commit_blocks } else { 0 }
    }
}

/// Checks the superblock of a journal of at most `count` blocks. Returns the format of the log.
fn check_head(jsb: &JournalSuperblock, at: &Location, block_size: usize, count: u32) -> Result<LogFormat> {
    let magic = jsb.h_magic.get();
    if magic != jbd2::MAGIC {
        return Err(at.clone().corrupt(Problem::Magic { found: magic.into(), expected: jbd2::MAGIC.into() }));
    }
    let version = jsb.h_blocktype.get();
    if !matches!(version, jbd2::SUPERBLOCK_V1 | jbd2::SUPERBLOCK_V2) {
        return Err(at.clone().value("h_blocktype", version, "3 or 4"));
    }
    if jsb.s_blocksize.get() as usize != block_size {
        return Err(at.clone().value("s_blocksize", jsb.s_blocksize.get(), block_size));
    }
    let length = jsb.s_maxlen.get();
    if length > count || length < jbd2::MIN_BLOCKS {
        return Err(beyond_repair(at, "s_maxlen", length, &format!("{} to {count}", jbd2::MIN_BLOCKS)));
    }
    let newer = version == jbd2::SUPERBLOCK_V2;
    let format = LogFormat {
        compat: if newer { jsb.s_feature_compat.get() } else { 0 },
        incompat: if newer { jsb.s_feature_incompat.get() } else { 0 },
        seed: crc32c(!0, &jsb.s_uuid),
    };
    if newer {
        check_features(jsb, &format, at)?;
    }
    Ok(format)
}

/// Returns an error for damage that e2fsck does not detect, or detects but does not repair.
fn beyond_repair(at: &Location, field: &str, found: u32, expected: &str) -> Error {
    Error::Unclean {
        state: format!("{at}: {field} is {found}, expected {expected}"),
        remedy: Remedy::fsck(
            "run e2fsck -f on the image; if that changes nothing, recreate the journal with tune2fs",
        ),
    }
}

/// The bits of `s_feature_incompat` that the replay handles.
const INCOMPAT_HANDLED: u32 = jbd2::INCOMPAT_REVOKE
    | jbd2::INCOMPAT_64BIT
    | jbd2::INCOMPAT_ASYNC_COMMIT
    | jbd2::INCOMPAT_CSUM_V2
    | jbd2::INCOMPAT_CSUM_V3
    | jbd2::INCOMPAT_FAST_COMMIT;

fn check_features(jsb: &JournalSuperblock, format: &LogFormat, at: &Location) -> Result<()> {
    let (unknown, read_only) = (format.incompat & !INCOMPAT_HANDLED, jsb.s_feature_ro_compat.get());
    if unknown != 0 || read_only != 0 {
        return Err(at.clone().unsupported(
            format!("journal features (incompat {unknown:#x}, ro_compat {read_only:#x})"),
            "mount and unmount it with a kernel that knows them",
        ));
    }
    if jsb.s_nr_users.get() > 1 {
        return Err(at.clone().value("s_nr_users", jsb.s_nr_users.get(), "at most 1"));
    }
    let kinds = [
        format.compat & jbd2::COMPAT_CHECKSUM != 0,
        format.incompat & jbd2::INCOMPAT_CSUM_V2 != 0,
        format.incompat & jbd2::INCOMPAT_CSUM_V3 != 0,
    ];
    if kinds.iter().filter(|kind| **kind).count() > 1 {
        return Err(at.clone().wrong("has more than one kind of checksum"));
    }
    if format.has_checksums() {
        if jsb.s_checksum_type != jbd2::CHECKSUM_CRC32C {
            return Err(at.clone().value("s_checksum_type", jsb.s_checksum_type, jbd2::CHECKSUM_CRC32C));
        }
        let summed = JournalSuperblock { s_checksum: 0.into(), ..*jsb };
        let (found, expected) = (jsb.s_checksum.get(), crc32c(!0, summed.as_bytes()));
        if found != expected {
            return Err(at.clone().corrupt(Problem::Checksum { found, expected }));
        }
    }
    Ok(())
}
