//! The file tree: everything that reaches the output, and nothing else.
//!
//! A `Tree` is an arena of nodes in *canonical order*, so that two equal filesystems have equal
//! trees. File content stays in the input: a node holds the runs of blocks where it lies. Only
//! what lay in an inode, and so is small, is held here.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;

use crate::ondisk::inode::{InodeFlags, Timestamp};
use crate::ranges::{BlockPlace, BlockRun, place_of};
use crate::units::{BlockNr, fits};

/// The index of a node in its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The root directory.
    pub const ROOT: Self = Self(0);
    /// `/lost+found`, which is always there.
    pub const LOST_FOUND: Self = Self(1);

    /// The index in `Tree::nodes`.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The name of the directory that e2fsck needs.
pub(crate) const LOST_FOUND_NAME: &[u8] = b"lost+found";

/// Symlinks that are followed to a file, at most.
const MAX_LINKS: usize = 40;

/// A part of `Tree::bytes`: its start and its length, packed, since there are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Text {
    /// One more than the high half, so that `Option<Text>` takes no more room.
    high: NonZeroU32,
    low: u32,
}

impl Text {
    /// Bits of the length: the longest text is a value of an xattr, of 16 MiB.
    const LEN_BITS: u32 = 25;

    fn new(start: usize, len: usize) -> Self {
        assert!(len < 1 << Self::LEN_BITS, "the longest text is a value of 16 MiB");
        let packed = (start as u64) << Self::LEN_BITS | len as u64;
        let high =
            fits((packed >> 32) + 1, "no machine has the 512 GiB of memory that the start has no bits for");
        Self { high: NonZeroU32::new(high).expect("one was added"), low: packed as u32 }
    }

    fn range(self) -> Range<usize> {
        let packed = u64::from(self.high.get() - 1) << 32 | u64::from(self.low);
        let start = fits::<usize, _>(packed >> Self::LEN_BITS, "texts are in memory");
        start..start + (packed & ((1 << Self::LEN_BITS) - 1)) as usize
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

/// The index of a set of xattrs in `Tree::xattr_sets`, and one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct XattrSetId(NonZeroU32);

impl XattrSetId {
    /// The set of an index: no tree has as many as 32 bits count.
    pub fn new(index: usize) -> Self {
        let number = fits(index + 1, "each set belongs to one of fewer than 2^32 nodes");
        Self(NonZeroU32::new(number).expect("one was added"))
    }

    /// The index.
    pub fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// A file tree.
///
/// Canonical order: the root, `/lost+found`, then the names of each directory in byte order, a
/// directory's new inodes together, and then each of its subdirectories in that order.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// All inodes.
    pub nodes: Vec<Node>,
    /// All directory entries, those of a directory together and in byte order.
    pub entries: Vec<Entry>,
    /// The blocks of all regular files, those of a file together and in logical order.
    pub runs: Vec<Run>,
    /// Distinct sets of xattrs, in the order of their first use.
    pub xattr_sets: Vec<Range<u32>>,
    /// The xattrs of all sets, those of a set sorted by index, name length and name.
    pub xattrs: Vec<Xattr>,
    /// The file in the boot-loader inode, if there is one. It is the last node, and no name leads to it.
    pub boot_loader: Option<NodeId>,
    /// Names, symlink targets, xattr values, and content that lay in inodes.
    bytes: Vec<u8>,
}

/// An inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Type and permission bits.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The project id; 0 without the `project` feature.
    pub project: u32,
    /// The flags that a user sets, and the structural ones.
    pub flags: InodeFlags,
    /// When the content changed.
    pub mtime: Timestamp,
    /// The number of names; for a directory, 2 and one for each subdirectory.
    pub links: u32,
    /// The xattrs, if there are any.
    pub xattrs: Option<XattrSetId>,
    /// What it holds.
    pub kind: Kind,
}

impl Node {
    /// The logical blocks whose allocation is content, and which no rule on zeros may touch: all
    /// written blocks of an encrypted file, where zeros are ciphertext, and what a verity file has
    /// behind its end. `None` for a file of which only the bytes up to its size count, and not
    /// the rest of the last block.
    pub fn opaque_from(&self, block_size: usize) -> Option<u64> {
        let Kind::Regular { size, .. } = self.kind else { return None };
        if self.flags.contains(InodeFlags::ENCRYPT) {
            Some(0)
        } else if self.flags.contains(InodeFlags::VERITY) {
            Some(size.div_ceil(block_size as u64))
        } else {
            None
        }
    }
}

/// What an inode holds, by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Names: a range of `Tree::entries`.
    Directory {
        /// The first entry.
        first: u32,
        /// The number of entries, `.` and `..` not counted.
        count: u32,
        /// The directory that holds it; the root holds itself.
        parent: NodeId,
    },
    /// Bytes: a range of `Tree::runs`.
    Regular {
        /// The size in bytes.
        size: u64,
        /// The first run.
        first: usize,
        /// The number of runs.
        count: u32,
        /// The bytes themselves, where the input has them in the inode, zeros at the end left out.
        /// There are no runs then.
        inline: Option<Text>,
    },
    /// The target of a symbolic link.
    Symlink(Text),
    /// A character or block device.
    Device {
        /// The major number.
        major: u32,
        /// The minor number.
        minor: u32,
    },
    /// A FIFO or a socket.
    Empty,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, 1 to 255 bytes.
    pub name: Text,
    /// The inode.
    pub node: NodeId,
    /// Hash and minor hash of the name, which an encrypted and casefolded directory stores, since
    /// they take the key; 0 in any other.
    pub hashes: [u32; 2],
}

/// What quotas count for an inode, or for everything that an id owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaUsage {
    /// Inodes.
    pub inodes: u64,
    /// Bytes of blocks.
    pub bytes: u64,
}

impl QuotaUsage {
    /// Adds the usage of something.
    pub fn add(&mut self, other: Self) {
        self.inodes += other.inodes;
        self.bytes += other.bytes;
    }
}

/// Consecutive logical blocks of a file of the input. What no run covers is a hole.
pub(crate) type Run = BlockRun<RunPlace>;

/// Where the bytes of a run are: two bits for the kind, the others for the block. There are many runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RunPlace(u64);

/// Where the bytes of a run are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// In blocks, from this one on.
    At(BlockNr),
    /// In these blocks there is nothing: they are allocated, but were never written, and read as zeros.
    Unwritten(BlockNr),
    /// In the tree, since they lay in an inode. It is one block.
    Tree,
    /// There are none but zeros.
    Zeros,
}

impl RunPlace {
    /// Bits of a block number: no file has so many bytes.
    const BLOCK_BITS: u32 = 62;

    const fn new(bytes: Bytes) -> Self {
        let (kind, block) = match bytes {
            Bytes::At(block) => (0, block.0),
            Bytes::Unwritten(block) => (1, block.0),
            Bytes::Tree => (2, 0),
            Bytes::Zeros => (3, 0),
        };
        Self(kind << Self::BLOCK_BITS | block)
    }

    const fn block(self) -> BlockNr {
        BlockNr(self.0 & ((1 << Self::BLOCK_BITS) - 1))
    }

    const fn bytes(self) -> Bytes {
        match self.0 >> Self::BLOCK_BITS {
            0 => Bytes::At(self.block()),
            1 => Bytes::Unwritten(self.block()),
            2 => Bytes::Tree,
            _ => Bytes::Zeros,
        }
    }
}

impl BlockPlace for RunPlace {
    fn later(self, blocks: u32) -> Option<Self> {
        match self.bytes() {
            // The kind is in other bits than the number.
            Bytes::At(_) | Bytes::Unwritten(_) => Some(Self(self.0 + u64::from(blocks))),
            Bytes::Tree => (blocks == 0).then_some(self),
            Bytes::Zeros => Some(self),
        }
    }
}

impl Run {
    /// Blocks with these bytes.
    pub const fn new(logical: u32, count: u32, bytes: Bytes) -> Self {
        Self::at(logical, count, RunPlace::new(bytes))
    }

    /// Blocks as a map names them.
    pub const fn in_blocks(logical: u32, count: u32, physical: BlockNr, unwritten: bool) -> Self {
        let bytes = if unwritten { Bytes::Unwritten(physical) } else { Bytes::At(physical) };
        Self::new(logical, count, bytes)
    }

    /// Where the bytes are.
    pub fn bytes(&self) -> Bytes {
        self.place().bytes()
    }

    /// The first of its blocks, where it has any.
    pub fn physical(&self) -> BlockNr {
        self.place().block()
    }

    /// Its blocks, where it has any.
    pub fn blocks(&self) -> Range<u64> {
        let start = self.physical().0;
        start..start + u64::from(self.count)
    }

    /// Allocated, but never written: reads as zero.
    pub fn unwritten(&self) -> bool {
        matches!(self.bytes(), Bytes::Unwritten(_))
    }

    /// The first of the blocks that hold its bytes; `None` where these lie elsewhere, or are zeros.
    pub fn stored_at(&self) -> Option<BlockNr> {
        match self.bytes() {
            Bytes::At(block) => Some(block),
            _ => None,
        }
    }
}

/// Returns the block that a logical block of a file lies in; `None` for a hole. The runs are in logical order,
/// and all of them have blocks.
pub(crate) fn block_at(runs: &[Run], logical: u32) -> Option<BlockNr> {
    place_of(runs, logical).map(RunPlace::block)
}

impl fmt::Debug for RunPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().fmt(f)
    }
}

/// An extended attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xattr {
    /// The namespace.
    pub index: u8,
    /// The name without the namespace's prefix.
    pub name: Text,
    /// The value as it is on disk.
    pub value: Text,
}

impl Tree {
    /// A tree without nodes, with the blocks of all regular files to come.
    pub fn of_runs(runs: Vec<Run>) -> Self {
        Self { runs, ..Self::default() }
    }

    /// Stores bytes.
    pub fn add_text(&mut self, bytes: &[u8]) -> Text {
        self.add_parts([bytes, &[]])
    }

    /// Stores bytes that lie in two places.
    pub fn add_parts(&mut self, parts: [&[u8]; 2]) -> Text {
        let start = self.bytes.len();
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        Text::new(start, self.bytes.len() - start)
    }

    /// Gives back memory that was kept for growth.
    pub fn shrink(&mut self) {
        self.runs.shrink_to_fit();
        self.xattr_sets.shrink_to_fit();
        self.xattrs.shrink_to_fit();
        self.bytes.shrink_to_fit();
    }

    /// The bytes of a text of this tree.
    pub fn text(&self, text: Text) -> &[u8] {
        &self.bytes[text.range()]
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// All nodes with their ids, in canonical order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = NodeId> + use<> {
        let count = fits(self.nodes.len(), "inode numbers have 32 bits");
        (0..count).map(NodeId)
    }

    /// The entries of a directory, in byte order; none of anything else.
    pub fn entries_of(&self, id: NodeId) -> &[Entry] {
        match self.node(id).kind {
            Kind::Directory { first, count, .. } => &self.entries[first as usize..][..count as usize],
            _ => &[],
        }
    }

    /// The runs of a regular file; none of anything else.
    pub fn runs_of(&self, id: NodeId) -> &[Run] {
        match self.node(id).kind {
            Kind::Regular { first, count, .. } => &self.runs[first..][..count as usize],
            _ => &[],
        }
    }

    /// The content of a regular file that lay in its inode.
    pub fn inline_of(&self, id: NodeId) -> Option<&[u8]> {
        match self.node(id).kind {
            Kind::Regular { inline, .. } => inline.map(|text| self.text(text)),
            _ => None,
        }
    }

    /// The xattrs of a set.
    pub fn xattr_set(&self, set: XattrSetId) -> &[Xattr] {
        let range = &self.xattr_sets[set.index()];
        &self.xattrs[range.start as usize..range.end as usize]
    }

    /// The node of a name in a directory.
    pub fn lookup(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        let entries = self.entries_of(directory);
        let found = entries.binary_search_by(|entry| self.text(entry.name).cmp(name)).ok()?;
        entries.get(found).map(|entry| entry.node)
    }

    /// The node at a path, symlinks followed as if the tree were the root filesystem.
    pub fn resolve(&self, path: &[u8]) -> Option<NodeId> {
        let names =
            |path: &[u8]| path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect::<Vec<_>>();
        let (mut waiting, mut node, mut links) = (names(path), NodeId::ROOT, 0);
        while let Some(name) = waiting.pop() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    if let Kind::Directory { parent, .. } = self.node(node).kind {
                        node = parent;
                    }
                    continue;
                }
                _ => {}
            }
            let next = self.lookup(node, &name)?;
            let Kind::Symlink(target) = self.node(next).kind else {
                node = next;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            let target = self.text(target);
            if target.starts_with(b"/") {
                node = NodeId::ROOT;
            }
            waiting.extend(names(target));
        }
        Some(node)
    }

    /// The directory and the name of each node, the first of several in canonical order; `None` for the
    /// root and the boot loader.
    pub fn parents(&self) -> Vec<Option<(NodeId, Text)>> {
        let mut parents = vec![None; self.nodes.len()];
        for id in self.ids() {
            for entry in self.entries_of(id) {
                parents[entry.node.index()].get_or_insert((id, entry.name));
            }
        }
        parents
    }

    /// A path of each node, in canonical order, for messages.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = vec![String::new(); self.nodes.len()];
        for id in self.ids() {
            for entry in self.entries_of(id) {
                if paths[entry.node.index()].is_empty() {
                    paths[entry.node.index()] =
                        format!("{}/{}", paths[id.index()], crate::error::shown(self.text(entry.name)));
                }
            }
        }
        paths[0] = "/".to_owned();
        if let Some(id) = self.boot_loader {
            "(boot loader)".clone_into(&mut paths[id.index()]);
        }
        paths
    }
}

impl Kind {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Directory { .. })
    }
}
