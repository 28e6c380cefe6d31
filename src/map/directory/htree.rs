//! Reads the index of a directory (HTree): the leaf blocks, and the range of hashes in each leaf.
//!
//! Names are read from the leaves, and the output gets a new index. But the kernel finds names only through
//! the index. If the index does not lead to a name, the kernel and this tool would read different trees.

use super::directory_inode::DirectoryInode;
use crate::error::{Location, Problem, Result, Structure, shown};
use crate::ondisk::casefold;
use crate::ondisk::dir_entry::{self, DirEntry};
use crate::ondisk::dirhash::{DirHash, HashVersion};
use crate::ondisk::features::Incompat;
use crate::ondisk::htree::{self, DxCountLimit, DxEntry, DxRootInfo, DxTail};
use crate::ondisk::inode::InodeFlags;
use crate::ondisk::{le32, superblock, view};
use crate::source::Source;
use crate::tree::block_at;
use crate::units::BlockNr;

/// The use of a block of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockRole {
    /// The root or an interior node. The root contains `.` and `..`, but no other names.
    Node,
    /// A leaf, with the range of the hashes of its names.
    Leaf(HashRange),
}

/// The range of hashes that names of a leaf may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HashRange {
    /// The hash of the leaf in the index. If it is odd, the leaf continues a run of names with equal hashes,
    /// which starts in the previous leaf. Their hash is the even number below.
    from: u32,
    /// The hash of the next leaf.
    before: u64,
}

impl HashRange {
    const ALL: Self = Self { from: 0, before: 1 << 32 };

    fn holds(self, hash: u32) -> bool {
        self.from & !1 <= hash && u64::from(hash) < self.before
    }
}

/// The source of the hashes of a directory's names.
#[derive(Clone, Copy, Debug)]
enum NameHash {
    /// Each directory entry stores the hash of its name.
    Stored,
    /// The hashes are computed with a function. There is a second function if the superblock does not say
    /// whether bytes of names are signed: e2fsck assumes that they are, and newer kernels assume that they
    /// are not.
    Computed(DirHash, Option<DirHash>),
}

/// The index of a directory, after all checks.
#[derive(Debug)]
pub(super) struct DirectoryIndex {
    /// The blocks of the directory and their uses, in order. Only blocks in the index are listed, so a
    /// directory with a false large size needs no extra memory.
    roles: Vec<(u32, BlockRole)>,
    hash: NameHash,
    folds: bool,
}

/// A block of the index that the walk has reached, with the range of hashes that it may contain.
#[derive(Clone, Copy, Debug)]
struct IndexedBlock {
    /// The index of the block in the directory.
    place: u32,
    range: HashRange,
}

struct IndexWalk<'s, 'a> {
    source: &'s Source<'a>,
    directory: DirectoryInode<'s, 'a>,
    /// The number of blocks of the directory.
    blocks: u32,
}

impl DirectoryIndex {
    /// Reads the index of a directory with `blocks` blocks.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the kernel or e2fsck would reject the index.
    pub(super) fn read(source: &Source<'_>, directory: DirectoryInode<'_, '_>, blocks: u32) -> Result<Self> {
        let walk = IndexWalk { source, directory, blocks };
        let (version, levels) = walk.root()?;
        let mut roles = vec![(0, BlockRole::Node)];
        let mut level = vec![IndexedBlock { place: 0, range: HashRange::ALL }];
        for depth in 0..=levels {
            let mut below = Vec::new();
            for node in &level {
                walk.node(*node, &mut below)?;
            }
            let role = |block: &IndexedBlock| {
                if depth == levels { BlockRole::Leaf(block.range) } else { BlockRole::Node }
            };
            roles.extend(below.iter().map(|block| (block.place, role(block))));
            // Without this check, a node that several entries lead to would be read several times at each
            // level.
            roles.sort_unstable_by_key(|(place, _)| *place);
            if let Some(pair) = roles.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(
                    at(directory).wrong(format!("has an index that leads to block {} twice", pair[0].0))
                );
            }
            level = below;
        }
        let lost = (0..).zip(&roles).find(|(place, (found, _))| place != found).map(|(place, _)| place);
        let count = u32::try_from(roles.len()).expect("fits: each is another block of the directory");
        if let Some(place) = lost.or_else(|| (count < blocks).then_some(count)) {
            return Err(at(directory).wrong(format!("has an index that does not lead to block {place}")));
        }
        let hash = match HashVersion::from_disk(version) {
            Some(version) => {
                let superblock = source.superblock;
                let hash = |signed| DirHash::new(version, superblock.s_hash_seed, signed);
                let flags = superblock.s_flags.get();
                let unsigned = flags & superblock::FLAGS_UNSIGNED_HASH != 0;
                let known = unsigned || flags & superblock::FLAGS_SIGNED_HASH != 0;
                NameHash::Computed(hash(!unsigned), (!known).then(|| hash(false)))
            }
            None => NameHash::Stored,
        };
        Ok(Self { roles, hash, folds: directory.flags.contains(InodeFlags::CASEFOLD) })
    }

    /// Returns the use of a block, by its index in the directory.
    pub(super) fn role(&self, place: u32) -> BlockRole {
        self.roles.get(place as usize).map_or(BlockRole::Node, |(_, role)| *role)
    }

    /// Checks that a lookup of a name by the kernel leads to the leaf that contains it.
    pub(super) fn check_name(
        &self,
        range: HashRange,
        name: &[u8],
        stored: u32,
        at: impl Fn() -> Location,
    ) -> Result<()> {
        let (hash, other) = match self.hash {
            NameHash::Stored => (stored, None),
            NameHash::Computed(hash, other) => {
                // The kernel hashes a name that can't be folded verbatim.
                let folded = if self.folds { casefold::fold(name) } else { None };
                let hashed = folded.as_deref().unwrap_or(name);
                (hash.hash(hashed).0, other.map(|other| other.hash(hashed).0))
            }
        };
        match [Some(hash), other].into_iter().flatten().find(|hash| !range.holds(*hash)) {
            Some(hash) => Err(at().wrong(format!(
                "has the name '{}' with the hash {hash:#010x}, which the index assigns to a different block",
                shown(name)
            ))),
            None => Ok(()),
        }
    }
}

fn at(directory: DirectoryInode<'_, '_>) -> Location {
    Location::of(Structure::Directory).inode(directory.number)
}

impl<'a> IndexWalk<'_, 'a> {
    /// Returns a block of the directory by its index, which must be in range. If a fast commit created the
    /// directory, it has no blocks, and [`Self::root`] returns an error because the root is missing.
    fn block(&self, place: u32) -> (BlockNr, &'a [u8]) {
        let block = block_at(self.directory.runs, place).unwrap_or(BlockNr(0));
        (block, self.source.block(block).unwrap_or_default())
    }

    fn at(&self, place: u32) -> Location {
        at(self.directory).block(self.block(place).0)
    }

    /// Reads the header of the root: the hash version, and the number of levels below the root.
    fn root(&self) -> Result<(u8, u8)> {
        let at = || self.at(0);
        let (_, bytes) = self.block(0);
        let dots = [0, dir_entry::entry_size(1)].map(|offset| {
            let entry = bytes.get(offset..).and_then(view::<DirEntry>);
            entry.map_or(0, |entry| dir_entry::decode_rec_len(entry.rec_len, bytes.len()))
        });
        if dots != [12, bytes.len().saturating_sub(12)] {
            return Err(at().wrong("is the root of an index, but '.' and '..' do not fill it"));
        }
        let info = bytes.get(htree::ROOT_HEAD - size_of::<DxRootInfo>()..).and_then(view::<DxRootInfo>);
        let Some(info) = info else { return Err(at().wrong("is too short for an index")) };
        let stored = self.directory.flags.contains(InodeFlags::HASHED_NAMES);
        let version = info.hash_version;
        if stored != (version == htree::SIPHASH) || !stored && HashVersion::from_disk(version).is_none() {
            let expected = if stored { "6, in a directory whose names have hashes" } else { "0 to 2" };
            return Err(at().value("hash_version", version, expected));
        }
        let levels = htree::max_levels(self.source.features().has(Incompat::LARGE_DIR));
        let size = u8::try_from(size_of::<DxRootInfo>()).expect("fits: it is 8");
        for (field, found, most, least) in [
            ("reserved_zero", info.reserved_zero.get(), 0, 0),
            ("info_length", info.info_length.into(), size, size),
            ("indirect_levels", info.indirect_levels.into(), levels, 0),
            ("unused_flags", info.unused_flags.into(), 0, 0),
        ] {
            if !(u32::from(least)..=most.into()).contains(&found) {
                let expected = if least == most { format!("{least}") } else { format!("{least} to {most}") };
                return Err(at().value(field, found, expected));
            }
        }
        Ok((version, info.indirect_levels))
    }

    /// Reads the entries of a node.
    fn node(&self, node: IndexedBlock, below: &mut Vec<IndexedBlock>) -> Result<()> {
        let at = || self.at(node.place);
        let (_, bytes) = self.block(node.place);
        let (head, count) = self.head(node.place)?;
        let entries = bytes.get(head..).unwrap_or_default();
        let mut before = node.range.from;
        let first = below.len();
        for index in 0..count {
            let entry = entries.get(index * htree::ENTRY_SIZE..).and_then(view::<DxEntry>);
            let Some(entry) = entry else { return Err(at().wrong("has entries beyond its end")) };
            // The first entry has no hash, because limit and count are stored there. The hash of the node
            // applies.
            let hash = if index == 0 { node.range.from } else { entry.hash.get() };
            if hash < before || u64::from(hash) > node.range.before {
                return Err(at().value(
                    "the hash of an index entry",
                    hash,
                    format!("{before} to {}, in ascending order", node.range.before),
                ));
            }
            before = hash;
            if let Some(last) = below[first..].last_mut() {
                last.range.before = hash.into();
            }
            let place = entry.block.get() & htree::BLOCK_MASK;
            if !(1..self.blocks).contains(&place) {
                let expected = format!("1 to {}", self.blocks.saturating_sub(1));
                return Err(at().value("the block of an index entry", place, expected));
            }
            below.push(IndexedBlock { place, range: HashRange { from: hash, before: node.range.before } });
        }
        Ok(())
    }

    /// Checks the header and the checksum of a node. Returns the offset and the number of the entries.
    fn head(&self, place: u32) -> Result<(usize, usize)> {
        let (block, bytes) = self.block(place);
        let at = || at(self.directory).block(block);
        let with_checksum = self.source.checksums.covers_metadata();
        let hashed = self.directory.flags.contains(InodeFlags::HASHED_NAMES);
        let (head, room) = if place == 0 {
            (htree::ROOT_HEAD, htree::limit(bytes.len(), htree::ROOT_HEAD, with_checksum))
        } else {
            let covers_block = view::<DirEntry>(bytes).is_some_and(|entry| {
                entry.inode.get() == 0 && dir_entry::decode_rec_len(entry.rec_len, bytes.len()) == bytes.len()
            });
            if !covers_block {
                return Err(at().wrong("is a node of an index, but has directory entries"));
            }
            (htree::NODE_HEAD, htree::node_limit(bytes.len(), with_checksum, hashed))
        };
        let Some(found) = bytes.get(head..).and_then(view::<DxCountLimit>) else {
            return Err(at().wrong("is too short for an index"));
        };
        let (limit, count) = (usize::from(found.limit.get()), usize::from(found.count.get()));
        if limit != room {
            return Err(at().value("the limit of the index", limit as u64, room));
        }
        if !(1..=limit).contains(&count) {
            return Err(at().value("the count of the index", count as u64, format!("1 to {limit}")));
        }
        let (end, tail) = (head + count * htree::ENTRY_SIZE, head + limit * htree::ENTRY_SIZE);
        let directory = self.directory;
        let expected =
            self.source.checksums.htree_node(directory.number, directory.generation, bytes, end, tail);
        let found = le32(bytes, tail + size_of::<DxTail>() - 4).unwrap_or(0);
        match expected {
            Some(expected) if expected != found => Err(at().corrupt(Problem::Checksum { found, expected })),
            _ => Ok((head, count)),
        }
    }
}
