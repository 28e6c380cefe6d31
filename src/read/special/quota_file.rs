//! Reads quota files. Limits and grace times are part of the tree; usage is redundant.

use std::collections::{BTreeMap, HashMap};

use zerocopy::FromZeros;

use crate::error::{Error, Location, Problem, Result, Structure};
use crate::map::{self, Budget, FileMap};
use crate::ondisk::features::RoCompat;
use crate::ondisk::quota::{
    self, BLOCK_SIZE, DEPTH, ENTRIES_PER_BLOCK, QtDiskDqdbheader, QuotaType, V2DiskDqheader, V2DiskDqinfo,
    V2r1DiskDqblk,
};
use crate::ondisk::{le32, view};
use crate::read::claims::Claim;
use crate::settings::{QuotaLimits, QuotaRules};
use crate::source::Source;
use crate::tree::{QuotaUsage, Run, block_at};
use crate::units::{InodeNr, fits};

/// The maximum size of a quota file that e2fsprogs reads, in bytes.
const MAX_SIZE: u64 = 1 << 31;

/// The content of the quota file for one quota type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaFile {
    /// The quota type.
    pub kind: QuotaType,
    /// The inode number.
    pub number: InodeNr,
    /// The limits and grace times.
    pub rules: QuotaRules,
    /// The usage of each id, according to the file.
    pub usage: HashMap<u32, QuotaUsage>,
}

/// Returns the inodes of the quota files, by type; `None` if a type is not enabled.
///
/// # Errors
///
/// `Corrupt` for an inode number that the kernel rejects.
pub(crate) fn inodes(source: &Source<'_>) -> Result<[Option<InodeNr>; 3]> {
    if !source.features().has(RoCompat::QUOTA) {
        return Ok([None; 3]);
    }
    let at = || Location::of(Structure::Superblock);
    let sb = &source.superblock;
    for (what, found, expected) in [
        ("s_usr_quota_inum", sb.s_usr_quota_inum.get(), InodeNr::USER_QUOTA),
        ("s_grp_quota_inum", sb.s_grp_quota_inum.get(), InodeNr::GROUP_QUOTA),
    ] {
        if found != 0 && found != expected.0 {
            return Err(at().value(what, found, format!("0 or {expected}")));
        }
    }
    let project = sb.s_prj_quota_inum.get();
    if project != 0 {
        if project < source.geometry.first_inode.0 {
            let expected = format!("0, or {} or more", source.geometry.first_inode);
            return Err(at().value("s_prj_quota_inum", project, expected));
        }
        if !source.features().has(RoCompat::PROJECT) || !source.geometry.has_wide_inodes() {
            return Err(at().value("s_prj_quota_inum", project, "0 without the project feature"));
        }
    }
    let numbers = [sb.s_usr_quota_inum.get(), sb.s_grp_quota_inum.get(), project];
    Ok(numbers.map(|number| (number != 0).then_some(InodeNr(number))))
}

/// A quota file with its redundant data.
pub(crate) struct ReadQuotaFile {
    /// The content.
    pub file: QuotaFile,
    /// The claims on the blocks of the file.
    pub claims: Vec<Claim>,
    /// Whether `i_blocks` is wrong.
    pub wrong_blocks: bool,
}

/// Reads a quota file.
pub(crate) fn read(source: &Source<'_>, kind: QuotaType, number: InodeNr) -> Result<ReadQuotaFile> {
    let at = || Location::of(Structure::QuotaFile).inode(number);
    let inode = map::regular_inode(source, number, Structure::QuotaFile)?;
    if inode.fields.size() > MAX_SIZE {
        return Err(at().value("i_size", inode.fields.size(), format!("at most {MAX_SIZE}")));
    }
    let map = map::read(source, &Budget::new(source), &inode)?;
    let claims = Claim::of_map(number, &map).collect();
    let wrong_blocks = inode.has_wrong_blocks(source, &map);
    let reader = QuotaTreeReader::new(source, number, map)?;
    let info = reader.info(kind, inode.fields.size())?;
    let entries = reader.entries(info.dqi_blocks.get())?;
    let rules = QuotaRules {
        block_grace: info.dqi_bgrace.get(),
        inode_grace: info.dqi_igrace.get(),
        limits: Vec::new(),
    };
    let mut file = QuotaFile { kind, number, rules, usage: HashMap::new() };
    for entry in entries {
        let limits = QuotaLimits {
            inodes_hard: entry.dqb_ihardlimit.get(),
            inodes_soft: entry.dqb_isoftlimit.get(),
            blocks_hard: entry.dqb_bhardlimit.get(),
            blocks_soft: entry.dqb_bsoftlimit.get(),
        };
        if limits != QuotaLimits::default() {
            file.rules.limits.push((entry.dqb_id.get(), limits));
        }
        let usage = QuotaUsage { inodes: entry.dqb_curinodes.get(), bytes: entry.dqb_curspace.get() };
        if usage != QuotaUsage::default() {
            file.usage.insert(entry.dqb_id.get(), usage);
        }
    }
    file.rules.limits.sort_unstable_by_key(|(id, _)| *id);
    Ok(ReadQuotaFile { file, claims, wrong_blocks })
}

/// The role of a block in a quota file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BlockUse {
    /// No pointer to the block is known yet.
    Nothing,
    /// The header, or a block of the tree.
    Tree,
    /// A data block, with the number of ids that point to it.
    Data(u16),
}

struct QuotaTreeReader<'s, 'a> {
    source: &'s Source<'a>,
    number: InodeNr,
    map: FileMap,
}

impl<'s, 'a> QuotaTreeReader<'s, 'a> {
    fn new(source: &'s Source<'a>, number: InodeNr, map: FileMap) -> Result<Self> {
        if map.runs.iter().any(Run::unwritten) {
            return Err(Location::of(Structure::QuotaFile).inode(number).wrong("has unwritten blocks"));
        }
        Ok(Self { source, number, map })
    }

    /// Returns an error about a block of the file.
    fn wrong(&self, block: u32, words: impl std::fmt::Display) -> Error {
        Location::of(Structure::QuotaFile)
            .inode(self.number)
            .wrong(format!("block {block} (of 1 KiB) {words}"))
    }

    /// Returns a block of 1 KiB; `None` for a hole, which reads as zeros.
    fn block(&self, block: u32) -> Option<&'a [u8]> {
        let offset = u64::from(block) * BLOCK_SIZE as u64;
        let size = self.source.geometry.block_bytes();
        let logical = fits(offset / size, "a block of 1 KiB is no longer than one of the filesystem");
        let bytes = self.source.block(block_at(&self.map.runs, logical)?)?;
        bytes.get(usize::try_from(offset % size).ok()?..)?.get(..BLOCK_SIZE)
    }

    /// Reads a structure at an offset of block 0.
    fn start<T>(&self, offset: usize) -> T
    where
        T: zerocopy::FromBytes + zerocopy::KnownLayout + zerocopy::Immutable + zerocopy::Unaligned + Copy,
    {
        let bytes = self.block(0).and_then(|block| block.get(offset..));
        bytes.and_then(view::<T>).copied().unwrap_or_else(T::new_zeroed)
    }

    /// Checks the header of a quota file with this size. Returns the info structure after the header.
    fn info(&self, kind: QuotaType, size: u64) -> Result<V2DiskDqinfo> {
        let at = || Location::of(Structure::QuotaFile).inode(self.number);
        let header: V2DiskDqheader = self.start(0);
        if header.dqh_magic.get() != kind.magic() {
            let (found, expected) = (header.dqh_magic.get().into(), kind.magic().into());
            return Err(at().corrupt(Problem::Magic { found, expected }));
        }
        if header.dqh_version.get() != quota::VERSION {
            // With the quota feature, the kernel accepts only this version.
            return Err(at().value("dqh_version", header.dqh_version.get(), quota::VERSION));
        }
        let info: V2DiskDqinfo = self.start(quota::INFO);
        let blocks = info.dqi_blocks.get();
        if blocks <= quota::ROOT || u64::from(blocks) * BLOCK_SIZE as u64 > size {
            let expected = format!("2 to {}, the number of blocks of the file", size / BLOCK_SIZE as u64);
            return Err(at().value("dqi_blocks", blocks, expected));
        }
        for (what, block) in [("dqi_free_blk", info.dqi_free_blk), ("dqi_free_entry", info.dqi_free_entry)] {
            if block.get() >= blocks {
                return Err(at().value(what, block.get(), format!("below {blocks}")));
            }
        }
        Ok(info)
    }

    /// Returns all entries of the quota tree. Checks that each id occurs once, and that the path of each id
    /// leads to its entry.
    fn entries(&self, blocks: u32) -> Result<Vec<V2r1DiskDqblk>> {
        // Use a map instead of a vector, because the file can be long but almost empty.
        let mut found = BTreeMap::from([(0, BlockUse::Tree), (quota::ROOT, BlockUse::Tree)]);
        let mut entries = Vec::new();
        // The tree blocks that are not read yet. Each has its level and the id of its first slot.
        let mut waiting = vec![(quota::ROOT, 0, 0_u32)];
        while let Some((block, level, first)) = waiting.pop() {
            let Some(bytes) = self.block(block) else { continue };
            let step = 8 * (DEPTH - 1 - level);
            for (slot, word) in (0..).zip(bytes.chunks_exact(4)) {
                let id: u32 = first | slot << step;
                let next = le32(word, 0).unwrap_or(0);
                if next == 0 {
                    continue;
                }
                if next >= blocks {
                    return Err(self.wrong(block, format!("leads to block {next}, but there are {blocks}")));
                }
                let state = found.entry(next).or_insert(BlockUse::Nothing);
                if level + 1 < DEPTH {
                    if *state != BlockUse::Nothing {
                        return Err(self.wrong(next, "is in the tree twice"));
                    }
                    *state = BlockUse::Tree;
                    waiting.push((next, level + 1, id));
                    continue;
                }
                *state = match *state {
                    BlockUse::Nothing => BlockUse::Data(1),
                    BlockUse::Data(ids) => BlockUse::Data(ids.saturating_add(1)),
                    BlockUse::Tree => return Err(self.wrong(next, "is both a block of the tree and of data")),
                };
                let entry = self.entries_of(next).find(|entry| entry.dqb_id.get() == id);
                entries.push(entry.ok_or_else(|| self.wrong(next, format!("has no entry for id {id}")))?);
            }
        }
        for (block, state) in found {
            let BlockUse::Data(ids) = state else { continue };
            let count =
                self.block(block).and_then(view::<QtDiskDqdbheader>).map_or(0, |h| h.dqdh_entries.get());
            if self.entries_of(block).count() != usize::from(ids) || count != ids {
                return Err(self.wrong(
                    block,
                    format!("does not have exactly {ids} entries, one for each id that leads to it"),
                ));
            }
        }
        Ok(entries)
    }

    /// Returns the entries of a data block. An unused slot is all zeros.
    fn entries_of(&self, block: u32) -> impl Iterator<Item = V2r1DiskDqblk> + use<'a> {
        let slots = self.block(block).and_then(|bytes| bytes.get(size_of::<QtDiskDqdbheader>()..));
        let slots =
            slots.unwrap_or_default().chunks_exact(size_of::<V2r1DiskDqblk>()).take(ENTRIES_PER_BLOCK);
        slots.filter_map(view::<V2r1DiskDqblk>).copied().filter(|entry| *entry != V2r1DiskDqblk::new_zeroed())
    }
}
