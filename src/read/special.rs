//! The inodes outside the tree: journal, resize inode, orphan file, and the reserved ones.

use super::claims::Claim;
use super::file_map::{self, Budget, FileMap};
use super::inode_table::{Scan, check_checksum};
use crate::error::{Error, Location, Problem, Result, Structure};
use crate::ondisk::features::Compat;
use crate::ondisk::inode::{Inode, S_IFREG};
use crate::ondisk::jbd2::{self, JournalSuperblock};
use crate::ondisk::{le32, view};
use crate::source::Source;
use crate::units::{BlockNr, InodeNr};

/// The features of a journal that are known: revoke, 64bit, async commit, checksums 2 and 3, fast
/// commit.
const JOURNAL_INCOMPAT: u32 = 0x3F;

/// What the inodes outside the tree say of the geometry.
#[derive(Clone, Debug, Default)]
pub struct Specials {
    /// The length of the journal in blocks; `None` without a journal.
    pub journal_blocks: Option<u32>,
    /// The length of the orphan file in blocks; `None` without one.
    pub orphan_file_blocks: Option<u32>,
    /// The blocks that all of them take.
    pub claims: Vec<Claim>,
    /// Their numbers.
    pub numbers: Vec<InodeNr>,
    /// Blocks of the list of bad blocks, which is dropped.
    pub bad_blocks: u64,
}

impl Specials {
    /// Whether an inode is one of them.
    pub fn is_special(&self, number: InodeNr) -> bool {
        self.numbers.contains(&number)
    }
}

/// Reads the inodes outside the tree.
pub fn read(source: &Source<'_>, scan: &Scan<'_>) -> Result<Specials> {
    let mut specials = Specials::default();
    let budget = Budget::new(source);
    let compat = source.features().compat;
    bad_blocks(source, &budget, &mut specials)?;
    boot_loader(scan, &mut specials)?;
    if compat.contains(Compat::RESIZE_INODE) {
        resize(source, &mut specials);
    }
    if compat.contains(Compat::HAS_JOURNAL) {
        let number = InodeNr(source.superblock.s_journal_inum.get());
        if number.0 == 0 {
            return Err(Location::of(Structure::Journal).unsupported(
                "an external journal",
                "this version of ext4-canon takes only filesystems that hold their journal",
            ));
        }
        let (map, blocks) = dense(source, &budget, number, Structure::Journal)?;
        check_journal(source, number, &map, blocks)?;
        specials.journal_blocks = Some(blocks);
        specials.add(number, &map);
    }
    if compat.contains(Compat::ORPHAN_FILE) {
        let number = InodeNr(source.superblock.s_orphan_file_inum.get());
        if number < source.geometry.first_inode {
            let expected = format!("{} or more", source.geometry.first_inode);
            return Err(Location::of(Structure::Superblock).value("s_orphan_file_inum", number.0, expected));
        }
        let (map, blocks) = dense(source, &budget, number, Structure::OrphanFile)?;
        specials.orphan_file_blocks = Some(blocks);
        specials.add(number, &map);
    }
    Ok(specials)
}

impl Specials {
    fn add(&mut self, number: InodeNr, map: &FileMap) {
        self.numbers.push(number);
        self.claims.extend(map.claims(number));
    }
}

/// A media defect belongs to a device, not to an image: the list is dropped.
fn bad_blocks(source: &Source<'_>, budget: &Budget, specials: &mut Specials) -> Result<()> {
    specials.numbers.push(InodeNr::BAD_BLOCKS);
    let Some(bytes) = source.inode(InodeNr::BAD_BLOCKS) else { return Ok(()) };
    let inode = Inode::decode(bytes);
    if inode.i_block.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    check_checksum(source, InodeNr::BAD_BLOCKS, &inode, bytes)?;
    let map = file_map::read(source, budget, InodeNr::BAD_BLOCKS, &inode)?;
    specials.bad_blocks = map.runs.iter().map(|run| u64::from(run.count)).sum();
    specials.claims.extend(map.claims(InodeNr::BAD_BLOCKS));
    Ok(())
}

fn boot_loader(scan: &Scan<'_>, specials: &mut Specials) -> Result<()> {
    let number = InodeNr::BOOT_LOADER;
    specials.numbers.push(number);
    let Some(raw) = scan.live.iter().find(|raw| raw.number == number) else { return Ok(()) };
    let inode = Inode::decode(raw.bytes);
    if inode.size() == 0 && inode.i_blocks_lo.get() == 0 && inode.file_acl() == 0 {
        return Ok(());
    }
    Err(Location::of(Structure::Inode)
        .inode(number)
        .unsupported("the boot-loader inode holds a file", "this version of ext4-canon would drop it"))
}

/// Of the resize inode, all but one block is static metadata, and all of it is rebuilt.
fn resize(source: &Source<'_>, specials: &mut Specials) {
    specials.numbers.push(InodeNr::RESIZE);
    let double = source.inode(InodeNr::RESIZE).and_then(|bytes| le32(&Inode::decode(bytes).i_block, 13 * 4));
    if let Some(block) = double.map(|block| BlockNr(block.into()))
        && source.has_blocks(block, 1)
    {
        specials.claims.push(Claim::of_inode(InodeNr::RESIZE, block, 1));
    }
}

/// Reads a file without holes that lies outside the tree, and its length in blocks.
fn dense(
    source: &Source<'_>,
    budget: &Budget,
    number: InodeNr,
    structure: Structure,
) -> Result<(FileMap, u32)> {
    let at = || Location::of(structure).inode(number);
    let Some(bytes) = source.inode(number) else { return Err(at().wrong("is not in use")) };
    let inode = Inode::decode(bytes);
    check_checksum(source, number, &inode, bytes)?;
    if inode.format() != S_IFREG || inode.i_links_count.get() == 0 {
        return Err(at().wrong("is not a regular file with a link"));
    }
    let map = file_map::read(source, budget, number, &inode)?;
    let size = source.geometry.block_size as u64;
    match map.dense_blocks() {
        Some(blocks) if blocks > 0 && inode.size() == blocks * size => {
            let blocks = u32::try_from(blocks).map_err(|_| at().wrong("is too large"))?;
            Ok((map, blocks))
        }
        Some(blocks) => Err(at().value("i_size", inode.size(), blocks * size)),
        None => Err(at().wrong("has a hole")),
    }
}

/// Checks that a journal is sound and empty.
fn check_journal(source: &Source<'_>, number: InodeNr, map: &FileMap, blocks: u32) -> Result<()> {
    let block = map.runs.first().map_or(BlockNr(0), |run| run.physical);
    let at = || Location::of(Structure::Journal).inode(number).block(block);
    let Some(jsb) = source.block(block).and_then(view::<JournalSuperblock>) else {
        return Err(at().wrong("is cut short"));
    };
    let magic = jsb.h_magic.get();
    if magic != jbd2::MAGIC {
        return Err(at().corrupt(Problem::Magic { found: magic.into(), expected: jbd2::MAGIC.into() }));
    }
    let version = jsb.h_blocktype.get();
    if !matches!(version, jbd2::SUPERBLOCK_V1 | jbd2::SUPERBLOCK_V2) {
        return Err(at().value("h_blocktype", version, "3 or 4"));
    }
    if jsb.s_blocksize.get() as usize != source.geometry.block_size {
        return Err(at().value("s_blocksize", jsb.s_blocksize.get(), source.geometry.block_size));
    }
    let length = jsb.s_maxlen.get();
    if length > blocks || length < jbd2::MIN_BLOCKS {
        return Err(at().value("s_maxlen", length, format!("{} to {blocks}", jbd2::MIN_BLOCKS)));
    }
    if version == jbd2::SUPERBLOCK_V2 {
        let unknown = jsb.s_feature_incompat.get() & !JOURNAL_INCOMPAT;
        if unknown != 0 || jsb.s_feature_ro_compat.get() != 0 {
            return Err(at().unsupported(
                format!("journal features {unknown:#x}"),
                "mount and unmount it with a kernel that knows them",
            ));
        }
        if jsb.s_nr_users.get() > 1 {
            return Err(at().value("s_nr_users", jsb.s_nr_users.get(), "at most 1"));
        }
    }
    if jsb.s_errno.get() != 0 {
        let state = format!("the journal recorded an error ({})", jsb.s_errno);
        return Err(Error::Unclean { state, remedy: "run e2fsck -f on the image" });
    }
    if jsb.s_start.get() != 0 {
        let state = "the journal is not empty, though the superblock does not ask for recovery".to_owned();
        return Err(Error::Unclean { state, remedy: "run e2fsck -f on the image" });
    }
    Ok(())
}
