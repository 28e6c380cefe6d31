//! Reads the lists of orphans: inodes whose deletion or truncation was pending. `file_size` does the pending
//! truncations.

use std::collections::BTreeSet;

use crate::error::{Location, Problem, Result, Structure};
use crate::map::{self, Budget, DecodedInode, DenseFile, dense_file};
use crate::ondisk::features::Compat;
use crate::ondisk::inode::{FAST_SYMLINK_LIMIT, Inode, InodeFlags, S_IFDIR, S_IFLNK, S_IFREG};
use crate::ondisk::orphan_file::{self, OrphanBlockTail};
use crate::ondisk::{le32, view};
use crate::read::claims::{BlockClaims, Claim};
use crate::source::Source;
use crate::tree::Run;
use crate::units::{BlockNr, InodeNr};

/// The inodes of the orphan list and of the orphan file.
#[derive(Debug, Default)]
pub struct Orphans {
    numbers: BTreeSet<InodeNr>,
    /// The xattr blocks of orphans without links. `h_refcount` still counts these orphans.
    pub xattr_blocks: Vec<(InodeNr, BlockNr)>,
    /// The blocks of orphans without links, which will be freed.
    pub claims: BlockClaims,
    /// The orphans without links.
    pub without_links: Vec<InodeNr>,
    /// The directories among them. Group descriptors still count these directories.
    pub directories: BTreeSet<InodeNr>,
    /// The number of blocks of each orphan without links, in whole clusters: content, map and xattr block.
    pub blocks: Vec<u64>,
    /// The number of orphans without links, which are deleted.
    pub dropped: u64,
    /// The number of orphans with links, which are truncated to their size.
    pub truncated: u64,
}

impl Orphans {
    /// Returns the inode numbers, in order.
    pub fn numbers(&self) -> impl Iterator<Item = InodeNr> + use<'_> {
        self.numbers.iter().copied()
    }

    /// Returns the set of inode numbers.
    pub fn set(&self) -> &BTreeSet<InodeNr> {
        &self.numbers
    }

    /// Returns whether an inode is an orphan.
    pub fn contains(&self, number: InodeNr) -> bool {
        self.numbers.contains(&number)
    }
}

/// Reads the orphan list and the orphan file.
pub(crate) fn read(source: &Source<'_>) -> Result<Orphans> {
    let mut orphans = Orphans::default();
    let budget = Budget::new(source);
    let mut next = InodeNr(source.superblock.s_last_orphan.get());
    // The list is linked through i_dtime. If an inode occurs twice, the list has a cycle.
    while next.0 != 0 {
        next = orphans.add(source, &budget, next, Location::of(Structure::Superblock))?;
    }
    // The kernel processes the orphan file even if the superblock says that it is empty.
    if source.features().has(Compat::ORPHAN_FILE) {
        let listed = orphans.numbers.clone();
        let number = InodeNr(source.superblock.s_orphan_file_inum.get());
        let file = dense_file(source, number, Structure::OrphanFile)?;
        for slot in slots(source, &file)? {
            // An inode that is also in the list counts only once. An inode that is already free does not
            // count, because e2fsck leaves such inodes in the orphan file.
            if !listed.contains(&slot) && (source.is_marked(slot) || !source.geometry.has_inode(slot)) {
                orphans.add(source, &budget, slot, Location::of(Structure::OrphanFile).inode(number))?;
            }
        }
    }
    Ok(orphans)
}

impl Orphans {
    /// Adds an orphan, and returns the next inode of the orphan list.
    fn add(
        &mut self,
        source: &Source<'_>,
        budget: &Budget,
        number: InodeNr,
        at: Location,
    ) -> Result<InodeNr> {
        let ordinary = number >= source.geometry.first_inode
            && !source.special_inodes().contains(&number)
            && source.is_marked(number);
        let raw = source.inode(number).filter(|_| ordinary);
        let Some(raw) = raw else {
            return Err(at.value(
                "an orphan",
                number.0,
                "an inode that is marked as in use and not reserved",
            ));
        };
        if !self.numbers.insert(number) {
            return Err(at.wrong(format!("lists orphan {number} twice, or the list of orphans is a cycle")));
        }
        let inode = DecodedInode::new(number, raw);
        inode.check_checksum(source)?;
        let mut blocks = 0;
        if can_be_cut(&inode.fields) {
            // The map must be valid, because its blocks will be freed.
            let map = map::read(source, budget, &inode)?;
            if inode.fields.i_links_count.get() == 0 {
                self.claims.extend(Claim::of_map(number, &map));
                blocks = map.blocks(source.geometry.blocks_per_cluster);
            }
        } else if !inode.fields.has_known_format() {
            return Err(at.value("an orphan", number.0, "an inode with a known file type"));
        } else if inode.fields.i_links_count.get() > 0 {
            return Err(at.value("an orphan with links", number.0, "a file, a directory or a long symlink"));
        }
        if inode.fields.i_links_count.get() == 0 {
            self.dropped += 1;
            self.without_links.push(number);
            if inode.fields.format() == S_IFDIR {
                self.directories.insert(number);
            }
            if let Some(block) = inode.xattr_block(source)? {
                self.xattr_blocks.push((number, block));
                blocks += source.geometry.blocks_per_cluster;
            }
            self.blocks.push(blocks);
        } else {
            self.truncated += 1;
        }
        Ok(InodeNr(inode.fields.i_dtime.get()))
    }
}

/// Returns whether an inode can have blocks that a truncation frees.
fn can_be_cut(inode: &Inode) -> bool {
    match inode.format() {
        S_IFREG | S_IFDIR => !inode.flags().contains(InodeFlags::INLINE_DATA),
        S_IFLNK => inode.size() >= FAST_SYMLINK_LIMIT && !inode.flags().contains(InodeFlags::INLINE_DATA),
        _ => false,
    }
}

/// Returns the inode numbers in an orphan file.
fn slots(source: &Source<'_>, file: &DenseFile) -> Result<Vec<InodeNr>> {
    let mut slots = Vec::new();
    for block in file.map.runs.iter().flat_map(Run::blocks).map(BlockNr) {
        let at = || Location::of(Structure::OrphanFile).inode(file.number).block(block);
        let bytes = source.checked_block(block);
        let end = bytes.len().saturating_sub(size_of::<OrphanBlockTail>());
        let Some(tail) = bytes.get(end..).and_then(view::<OrphanBlockTail>) else {
            return Err(at().wrong("is cut short"));
        };
        let magic = tail.ob_magic.get();
        if magic != orphan_file::MAGIC {
            return Err(
                at().corrupt(Problem::Magic { found: magic.into(), expected: orphan_file::MAGIC.into() })
            );
        }
        if let Some(expected) = source.checksums.orphan_block(file.number, file.generation, block, bytes) {
            let found = tail.ob_checksum.get();
            if found != expected {
                return Err(at().corrupt(Problem::Checksum { found, expected }));
            }
        }
        slots.extend(
            (0..end / 4).filter_map(|slot| le32(bytes, slot * 4)).filter(|slot| *slot != 0).map(InodeNr),
        );
    }
    Ok(slots)
}
