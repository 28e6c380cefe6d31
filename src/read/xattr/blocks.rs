//! Reads xattr blocks, which inodes may share.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::entries::{EaInodeRef, StoredXattr, XattrArea, in_body, parse};
use crate::error::{Location, Problem, Result, Structure};
use crate::map::DecodedInode;
use crate::ondisk::features::Incompat;
use crate::ondisk::view;
use crate::ondisk::xattr::{self as disk, XattrHeader};
use crate::read::claims::Claim;
use crate::read::inodes::Inodes;
use crate::read::special::orphans::Orphans;
use crate::source::Source;
use crate::units::{BlockNr, InodeNr};

/// The xattr blocks by block number. Each has its entries and the number of an inode that uses it.
#[derive(Debug)]
pub(crate) struct XattrBlocks<'a> {
    blocks: BTreeMap<BlockNr, (InodeNr, Vec<StoredXattr<'a>>)>,
    /// The blocks that only orphans without links use.
    of_orphans: BTreeSet<BlockNr>,
}

impl<'a> XattrBlocks<'a> {
    /// Returns the entries of a block.
    pub(crate) fn entries(&self, block: BlockNr) -> &[StoredXattr<'a>] {
        self.blocks.get(&block).map_or(&[], |(_, entries)| entries)
    }

    /// Returns all xattr blocks of live inodes. Each has its entries and the number of an inode that uses it.
    pub(crate) fn all(&self) -> impl Iterator<Item = (InodeNr, &[StoredXattr<'a>])> {
        let live = self.blocks.iter().filter(|(block, _)| !self.of_orphans.contains(block));
        live.map(|(_, (inode, entries))| (*inode, &entries[..]))
    }

    /// Returns the claims on xattr blocks: on those of live inodes, or, if `orphans` is set, on those that
    /// only orphans use. Each block is claimed once.
    pub(crate) fn claims(&self, orphans: bool) -> impl Iterator<Item = Claim> + use<'_> {
        let blocks = self.blocks.iter().filter(move |(block, _)| self.of_orphans.contains(block) == orphans);
        blocks.map(|(block, (inode, _))| Claim::of_inode(*inode, *block, 1))
    }
}

/// Reads each xattr block once, and checks its reference count.
///
/// Orphans without links count as users.
pub(crate) fn read_blocks<'a>(
    source: &Source<'a>,
    inodes: &Inodes<'_>,
    orphans: &Orphans,
) -> Result<XattrBlocks<'a>> {
    let mut users: BTreeMap<BlockNr, (InodeNr, u32)> = BTreeMap::new();
    for inode in &inodes.list {
        if let Some(block) = inode.xattr_block() {
            users.entry(block).or_insert((inode.number, 0)).1 += 1;
        }
    }
    let mut of_orphans = BTreeSet::new();
    for (number, block) in &orphans.xattr_blocks {
        users
            .entry(*block)
            .or_insert_with(|| {
                of_orphans.insert(*block);
                (*number, 0)
            })
            .1 += 1;
    }
    let blocks = users
        .into_par_iter()
        .map(|(block, (inode, count))| {
            let entries = read_block(source, block, inode, count)?;
            Ok((block, (inode, entries)))
        })
        .collect::<Result<BTreeMap<_, _>>>()?;
    Ok(XattrBlocks { blocks, of_orphans })
}

/// Returns the references from orphans without links to EA inodes: from entries in the bodies of the orphans,
/// and from entries in blocks that no live inode uses.
pub(crate) fn ea_inodes_of_orphans(
    source: &Source<'_>,
    blocks: &XattrBlocks<'_>,
    orphans: &Orphans,
) -> Result<Vec<(InodeNr, EaInodeRef)>> {
    let mut values = Vec::new();
    if !source.features().has(Incompat::EA_INODE) {
        return Ok(values);
    }
    for number in &orphans.without_links {
        let bytes = source.inode(*number).expect("the list of orphans was read from this inode");
        let mut xattrs = Vec::new();
        in_body(source, &DecodedInode::new(*number, bytes), &mut xattrs)?;
        values.extend(xattrs.iter().filter_map(|xattr| Some((*number, xattr.inode()?))));
    }
    for (number, entries) in blocks.of_orphans.iter().filter_map(|block| blocks.blocks.get(block)) {
        values.extend(entries.iter().filter_map(|xattr| Some((*number, xattr.inode()?))));
    }
    Ok(values)
}

fn read_block<'a>(
    source: &Source<'a>,
    block: BlockNr,
    inode: InodeNr,
    users: u32,
) -> Result<Vec<StoredXattr<'a>>> {
    let at = || Location::of(Structure::Xattr).inode(inode).block(block);
    let bytes = source.checked_block(block);
    let Some(header) = view::<XattrHeader>(bytes) else { return Err(at().wrong("is cut short")) };
    let magic = header.h_magic.get();
    if magic != disk::MAGIC {
        return Err(at().corrupt(Problem::Magic { found: magic.into(), expected: disk::MAGIC.into() }));
    }
    if let Some(expected) = source.checksums.xattr_block(block, bytes) {
        let found = header.h_checksum.get();
        if found != expected {
            return Err(at().corrupt(Problem::Checksum { found, expected }));
        }
    }
    if header.h_blocks.get() != 1 {
        return Err(at().value("h_blocks", header.h_blocks.get(), 1));
    }
    if header.h_refcount.get() != users {
        return Err(at().value(
            "h_refcount",
            header.h_refcount.get(),
            format!("{users}, the number of inodes that use it"),
        ));
    }
    let mut entries = Vec::new();
    parse(source, bytes, size_of::<XattrHeader>(), XattrArea::Block, at, &mut entries)?;
    check_order(&entries, at)?;
    Ok(entries)
}

/// Checks that entries are sorted. The kernel's lookup in a block ends at the first entry past the name;
/// e2fsck accepts any order.
fn check_order(entries: &[StoredXattr<'_>], at: impl Fn() -> Location) -> Result<()> {
    let Some(pair) = entries.windows(2).find(|pair| pair[1].key() < pair[0].key()) else { return Ok(()) };
    let [before, hidden] = [pair[0], pair[1]].map(|xattr| disk::full_name(xattr.index, xattr.name));
    Err(at()
        .wrong(format!("have {hidden} after {before}, where the kernel does not find it"))
        .with_remedy("remove each of them and set it again with debugfs (ea_get -f, ea_rm, ea_set -f)"))
}
