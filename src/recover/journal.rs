//! The journal as a file: its superblock, checked, and the blocks of its log.

use zerocopy::IntoBytes;

use crate::error::{Location, Problem, Result, Structure};
use crate::ondisk::checksum::crc32c;
use crate::ondisk::features::Compat;
use crate::ondisk::jbd2::{self, JournalSuperblock, LogFormat};
use crate::ondisk::view;
use crate::read::{DenseFile, dense_file};
use crate::source::{Input, Source};
use crate::units::{BlockNr, InodeNr};

/// A journal inside the filesystem.
#[derive(Debug)]
pub struct Journal<'a> {
    input: Input<'a>,
    block_size: usize,
    /// Its inode and blocks.
    pub file: DenseFile,
    /// How its blocks are written.
    pub format: LogFormat,
    /// The first block of the log.
    pub first: u32,
    /// The block behind the last of the log.
    pub end: u32,
    /// Blocks for fast commits, behind the log.
    pub fast_commit_blocks: u32,
    /// The first transaction that the log may hold.
    pub sequence: u32,
    /// Where it begins; 0 where the log is empty.
    pub start: u32,
}

/// The first block of a journal, in the filesystem.
fn superblock<'s>(source: &Source<'s>, file: &DenseFile) -> Result<(&'s JournalSuperblock, Location)> {
    let block = file.map.runs.first().map_or(BlockNr(0), |run| run.physical);
    let at = Location::of(Structure::Journal).inode(file.number).block(block);
    match source.block(block).and_then(view::<JournalSuperblock>) {
        Some(superblock) => Ok((superblock, at)),
        None => Err(at.wrong("is cut short")),
    }
}

/// The journal's inode and blocks.
pub fn file(source: &Source<'_>) -> Result<DenseFile> {
    let number = InodeNr(source.superblock.s_journal_inum.get());
    if number.0 == 0 {
        return Err(Location::of(Structure::Journal).unsupported(
            "an external journal",
            "this version of ext4-canon takes only filesystems that hold their journal",
        ));
    }
    dense_file(source, number, Structure::Journal)
}

/// The error that the journal recorded, if any.
pub fn recorded_error(source: &Source<'_>) -> Result<Option<u32>> {
    if !source.features().compat.contains(Compat::HAS_JOURNAL) {
        return Ok(None);
    }
    let file = file(source)?;
    let (superblock, _) = superblock(source, &file)?;
    Ok(Some(superblock.s_errno.get()).filter(|error| *error != 0))
}

impl<'a> Journal<'a> {
    /// Finds and checks the journal of a filesystem that has not been recovered.
    ///
    /// # Errors
    ///
    /// `Corrupt` for one that contradicts itself or the filesystem, `Unsupported` for unknown features.
    pub fn open(source: &Source<'_>, input: &Input<'a>) -> Result<Self> {
        let file = file(source)?;
        let (jsb, at) = superblock(source, &file)?;
        let magic = jsb.h_magic.get();
        if magic != jbd2::MAGIC {
            return Err(at.corrupt(Problem::Magic { found: magic.into(), expected: jbd2::MAGIC.into() }));
        }
        let version = jsb.h_blocktype.get();
        if !matches!(version, jbd2::SUPERBLOCK_V1 | jbd2::SUPERBLOCK_V2) {
            return Err(at.value("h_blocktype", version, "3 or 4"));
        }
        let block_size = source.geometry.block_size;
        if jsb.s_blocksize.get() as usize != block_size {
            return Err(at.value("s_blocksize", jsb.s_blocksize.get(), block_size));
        }
        let length = jsb.s_maxlen.get();
        if length > file.blocks || length < jbd2::MIN_BLOCKS {
            return Err(at.value("s_maxlen", length, format!("{} to {}", jbd2::MIN_BLOCKS, file.blocks)));
        }
        let newer = version == jbd2::SUPERBLOCK_V2;
        let format = LogFormat {
            compat: if newer { jsb.s_feature_compat.get() } else { 0 },
            incompat: if newer { jsb.s_feature_incompat.get() } else { 0 },
            seed: crc32c(!0, &jsb.s_uuid),
        };
        if newer {
            check_features(jsb, &format, &at)?;
        }
        let fast_commit = format.incompat & jbd2::INCOMPAT_FAST_COMMIT != 0
            || source.features().compat.contains(Compat::FAST_COMMIT);
        let fast_commit_blocks = match jsb.s_num_fc_blks.get() {
            0 if fast_commit => jbd2::DEFAULT_FC_BLOCKS,
            blocks if fast_commit => blocks,
            _ => 0,
        };
        let log = if format.incompat & jbd2::INCOMPAT_FAST_COMMIT != 0 { fast_commit_blocks } else { 0 };
        if u64::from(fast_commit_blocks) + u64::from(jbd2::MIN_BLOCKS) > length.into() {
            return Err(at.value("s_num_fc_blks", fast_commit_blocks, format!("less than {length}")));
        }
        let (first, end, start) = (jsb.s_first.get(), length - log, jsb.s_start.get());
        if first == 0 || first >= end {
            return Err(at.value("s_first", first, format!("1 to {}", end - 1)));
        }
        if start != 0 && !(first..end).contains(&start) {
            return Err(at.value("s_start", start, format!("0, or {first} to {}", end - 1)));
        }
        Ok(Self {
            input: input.clone(),
            block_size,
            format,
            first,
            end,
            fast_commit_blocks,
            sequence: jsb.s_sequence.get(),
            start,
            file,
        })
    }

    /// A block of the journal, by its place in it.
    pub fn block(&self, place: u32) -> &'a [u8] {
        let Some(block) = self.physical(place) else { return &[] };
        let size = self.block_size as u64;
        // The reader checked that the block lies within the filesystem.
        self.input.range(block.0 * size, (block.0 + 1) * size).unwrap_or_default()
    }

    fn physical(&self, place: u32) -> Option<BlockNr> {
        let runs = &self.file.map.runs;
        let index = runs.partition_point(|run| run.logical + (run.count - 1) < place);
        let run = runs.get(index)?;
        Some(BlockNr(run.physical.0 + u64::from(place.checked_sub(run.logical)?)))
    }

    /// The place of an error in the journal.
    pub fn at(&self, place: u32) -> Location {
        let at = Location::of(Structure::Journal).inode(self.file.number);
        match self.physical(place) {
            Some(block) => at.block(block),
            None => at,
        }
    }

    /// The place behind another in the log, which goes round.
    pub fn next(&self, place: u32) -> u32 {
        if place + 1 >= self.end { self.first } else { place + 1 }
    }

    /// Whether the area of fast commits begins with one for this transaction.
    pub fn has_fast_commits(&self, sequence: u32) -> bool {
        const TAG_HEAD: u16 = 9;
        if self.format.incompat & jbd2::INCOMPAT_FAST_COMMIT == 0 {
            return false;
        }
        let block = self.block(self.end + 1);
        // Unlike the rest of the journal, fast commits are little-endian: tag, length, features, tid.
        crate::ondisk::le16(block, 0) == Some(TAG_HEAD) && crate::ondisk::le32(block, 8) == Some(sequence)
    }
}

fn check_features(jsb: &JournalSuperblock, format: &LogFormat, at: &Location) -> Result<()> {
    let unknown = format.incompat & !jbd2::INCOMPAT_KNOWN;
    if unknown != 0 || jsb.s_feature_ro_compat.get() != 0 {
        return Err(at.clone().unsupported(
            format!("journal features {unknown:#x}"),
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
        let summed = JournalSuperblock { s_checksum: 0.into(), ..*jsb };
        let (found, expected) = (jsb.s_checksum.get(), crc32c(!0, summed.as_bytes()));
        if found != expected {
            return Err(at.clone().corrupt(Problem::Checksum { found, expected }));
        }
    }
    Ok(())
}
