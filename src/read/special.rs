//! The inodes outside the tree: journal, resize inode, quota files, orphan file, and the reserved ones.

use std::collections::BTreeSet;

use super::claims::{Claim, Claimed};
use super::quota::{self, QuotaFile};
use crate::error::{Location, Result, Structure};
use crate::map::{self, Budget, DecodedInode, DenseFile, InodeTables, dense_file};
use crate::ondisk::features::Compat;
use crate::ondisk::inode::{Inode, InodeFlags, S_IFREG};
use crate::ondisk::le32;
use crate::ondisk::quota::QuotaType;
use crate::ondisk::superblock::GOOD_OLD_FIRST_INO;
use crate::recover::{Journal, JournalPlace};
use crate::source::Source;
use crate::units::{BlockNr, InodeNr};

/// What the inodes outside the tree say of the geometry.
#[derive(Clone, Debug, Default)]
pub struct Specials {
    /// The journal; `None` without one.
    pub journal: Option<JournalShape>,
    /// The quota files of the types that are on, in the order of the types.
    pub quotas: Vec<QuotaFile>,
    /// The orphan file; `None` without one.
    pub orphan_file: Option<SpecialFile>,
    /// The blocks that all of them take.
    pub claims: Vec<Claim>,
    /// Their numbers.
    pub numbers: Vec<InodeNr>,
    /// Blocks of the list of bad blocks, which is dropped.
    pub bad_blocks: u64,
}

/// A file outside the tree whose number is not fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialFile {
    /// Its inode in the input, which matters only with `stable_inodes`.
    pub number: InodeNr,
    /// Its length in blocks.
    pub blocks: u32,
}

/// The length of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalShape {
    /// All its blocks.
    pub blocks: u32,
    /// Of these, blocks for fast commits.
    pub fast_commit_blocks: u32,
}

impl Specials {
    /// What was dropped.
    pub fn warnings(&self) -> Option<String> {
        (self.bad_blocks > 0)
            .then(|| format!("a list of {} bad blocks was dropped: it belongs to a device", self.bad_blocks))
    }

    /// Whether an inode is one of them.
    pub fn is_special(&self, number: InodeNr) -> bool {
        self.numbers.contains(&number)
    }
}

/// Reads the inodes outside the tree.
///
/// The claims of static metadata must have been checked.
pub fn read(source: &Source<'_>, tables: &InodeTables<'_>, metadata: Claimed<'_>) -> Result<Specials> {
    let mut specials = Specials::default();
    let budget = Budget::new(source);
    let compat = source.features().compat;
    bad_blocks(source, &budget, metadata, &mut specials)?;
    specials.numbers.extend(empty_boot_loader(tables)?);
    if compat.contains(Compat::RESIZE_INODE) {
        resize(source, &mut specials);
    } else {
        specials.numbers.extend(empty_resize_inode(tables));
    }
    if let Some(mmp) = source.mmp()? {
        specials.claims.push(Claim::of_metadata(mmp.block.0, 1));
    }
    match JournalPlace::of(source)? {
        Some(JournalPlace::Inside(file)) => {
            specials.add(&file);
            let blocks = file.blocks;
            let journal = Journal::inside(source, source.input(), file)?;
            specials.journal = Some(JournalShape { blocks, fast_commit_blocks: journal.fast_commit_blocks });
        }
        // Its blocks are on another device.
        Some(JournalPlace::Outside(_)) | None => {}
    }
    for (kind, number) in QuotaType::ALL.into_iter().zip(quota::inodes(source)?) {
        let Some(number) = number else { continue };
        let (file, claims) = quota::read(source, kind, number)?;
        specials.numbers.push(number);
        specials.quotas.push(file);
        specials.claims.extend(claims);
    }
    if compat.contains(Compat::ORPHAN_FILE) {
        let number = InodeNr(source.superblock.s_orphan_file_inum.get());
        if number < source.geometry.first_inode {
            let expected = format!("{} or more", source.geometry.first_inode);
            return Err(Location::of(Structure::Superblock).value("s_orphan_file_inum", number.0, expected));
        }
        let file = dense_file(source, number, Structure::OrphanFile)?;
        specials.orphan_file = Some(SpecialFile { number, blocks: file.blocks });
        specials.add(&file);
    }
    check_reserved(source, tables, &specials)?;
    Ok(specials)
}

/// Refuses reserved inodes that are in use for no known purpose. The error names all of them.
fn check_reserved(source: &Source<'_>, tables: &InodeTables<'_>, specials: &Specials) -> Result<()> {
    let first = source.geometry.first_inode;
    let reserved = tables.live.iter().map(|raw| raw.number).take_while(|number| *number < first);
    let of_tree = [InodeNr::ROOT, InodeNr::BOOT_LOADER];
    let alien: Vec<_> =
        reserved.filter(|number| !of_tree.contains(number) && !specials.is_special(*number)).collect();
    let Some(number) = alien.first() else { return Ok(()) };
    if let Some(beyond) = alien.iter().find(|number| number.0 >= GOOD_OLD_FIRST_INO) {
        // Nobody makes a filesystem with more of them: it is the field that is damaged.
        return Err(Location::of(Structure::Superblock)
            .value("s_first_ino", first.0, format!("at most {beyond}, which is in use"))
            .with_remedy("set it to 11 with debugfs's set_super_value"));
    }
    let at = Location::of(Structure::Inode).inode(*number);
    let others: Vec<_> = alien[1..].iter().map(|number| format!("<{number}>")).collect();
    if others.is_empty() {
        let remedy = "clear it with debugfs's clri and run e2fsck -f";
        return Err(at.wrong("is reserved, but in use").with_remedy(remedy));
    }
    Err(at
        .wrong(format!("is reserved, but in use, and so are {}", others.join(", ")))
        .with_remedy("clear each of them with debugfs's clri and run e2fsck -f"))
}

impl Specials {
    fn add(&mut self, file: &DenseFile) {
        self.numbers.push(file.number);
        self.claims.extend(Claim::of_map(file.number, &file.map));
    }
}

/// Reads the list of bad blocks, which is dropped: a media defect belongs to a device, not to an image.
///
/// The list may name blocks of static metadata, which e2fsck keeps there and the kernel uses all the same.
fn bad_blocks(
    source: &Source<'_>,
    budget: &Budget,
    metadata: Claimed<'_>,
    specials: &mut Specials,
) -> Result<()> {
    specials.numbers.push(InodeNr::BAD_BLOCKS);
    let Some(bytes) = source.inode(InodeNr::BAD_BLOCKS) else { return Ok(()) };
    let inode = DecodedInode::new(InodeNr::BAD_BLOCKS, bytes);
    if inode.fields.i_block.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    inode.check_checksum(source)?;
    // It is a block map even with bigalloc, where several blocks of one cluster may be bad.
    let has_extents = inode.fields.flags().contains(InodeFlags::EXTENTS);
    let read = if has_extents { map::read } else { map::read_block_map };
    let map = read(source, budget, &inode)?;
    specials.bad_blocks = map.runs.iter().map(|run| u64::from(run.count)).sum();
    let cluster = source.geometry.blocks_per_cluster;
    let first_of_cluster = |block: u64| block - block % cluster;
    let clusters: BTreeSet<u64> = Claim::of_map(InodeNr::BAD_BLOCKS, &map)
        .flat_map(|claim| claim.range())
        .map(first_of_cluster)
        .filter(|first| metadata.within(*first, first + cluster).next().is_none())
        .collect();
    let claim = |block: u64| Claim::of_inode(InodeNr::BAD_BLOCKS, BlockNr(block), 1);
    specials.claims.extend(clusters.into_iter().map(claim));
    Ok(())
}

/// The boot-loader inode, if there is no file in it. One with a file belongs to the tree.
fn empty_boot_loader(tables: &InodeTables<'_>) -> Result<Option<InodeNr>> {
    let number = InodeNr::BOOT_LOADER;
    let Some(raw) = tables.live.iter().find(|raw| raw.number == number) else { return Ok(Some(number)) };
    let inode = Inode::decode(raw.bytes);
    if inode.size() == 0 && inode.i_blocks_lo.get() == 0 && inode.file_acl() == 0 {
        return Ok(Some(number));
    }
    if inode.format() != S_IFREG {
        return Err(Location::of(Structure::Inode)
            .inode(number)
            .wrong("is the boot loader's, but not a regular file"));
    }
    Ok(None)
}

/// What the kernel leaves of the resize inode where it takes the feature away, to let the filesystem grow by meta groups:
/// a file without blocks.
fn empty_resize_inode(tables: &InodeTables<'_>) -> Option<InodeNr> {
    let raw = tables.live.iter().find(|raw| raw.number == InodeNr::RESIZE)?;
    let inode = Inode::decode(raw.bytes);
    let is_empty = inode.format() == S_IFREG
        && inode.flags().is_empty()
        && inode.i_block.iter().all(|byte| *byte == 0)
        && inode.i_blocks_lo.get() == 0
        && inode.file_acl() == 0;
    is_empty.then_some(InodeNr::RESIZE)
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
