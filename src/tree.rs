//! Defines the file tree: everything in an input that affects the output, except the settings of the
//! filesystem.
//!
//! A `Tree` is an arena of nodes in *canonical order*, so two equal filesystems have equal trees. File
//! content stays in the input: a node only lists the runs of blocks that contain it. The tree itself stores
//! the content of inodes with inline data, which is small.

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
    /// `/lost+found`, which is part of every tree.
    pub const LOST_FOUND: Self = Self(1);

    /// Returns the index in `Tree::nodes`.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The name of the directory in which e2fsck puts orphaned inodes.
pub(crate) const LOST_FOUND_NAME: &[u8] = b"lost+found";

/// The maximum number of symlinks that are followed in a path, which is the kernel's limit.
const MAX_LINKS: usize = 40;

/// A slice of `Tree::bytes`: its start and length, packed into 8 bytes, because a tree has many texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Text {
    /// The high half plus one, so that `Option<Text>` needs no extra space.
    high: NonZeroU32,
    low: u32,
}

impl Text {
    /// Bits for the length. The longest text is an xattr value of 16 MiB.
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

/// The index of a set of xattrs in `Tree::xattr_sets`, plus one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct XattrSetId(NonZeroU32);

impl XattrSetId {
    /// Creates the id from an index. No tree has more sets than 32 bits can count.
    pub fn new(index: usize) -> Self {
        let number = fits(index + 1, "each set belongs to one of fewer than 2^32 nodes");
        Self(NonZeroU32::new(number).expect("one was added"))
    }

    /// Returns the index.
    pub fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// A file tree.
///
/// Canonical order starts with the root and `/lost+found`. Each directory, starting with the root, adds those
/// inodes of its entries that are not in the order yet, in byte order of the names. Then the subdirectories
/// are visited in the same way, depth first, in byte order of their names.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// All inodes.
    pub nodes: Vec<Node>,
    /// All directory entries. The entries of a directory are contiguous, and sorted by the bytes of their
    /// names. Directories are in the order in which canonical order visits them. So after the root and
    /// `/lost+found`, nodes are in the order of their first entries.
    pub entries: Vec<Entry>,
    /// The blocks of all regular files. The runs of a file are contiguous and in logical order.
    pub runs: Vec<Run>,
    /// Distinct sets of xattrs, in the order of their first use.
    pub xattr_sets: Vec<Range<u32>>,
    /// The xattrs of all sets. The xattrs of a set are contiguous, and sorted by name index, name length and
    /// name.
    pub xattrs: Vec<Xattr>,
    /// The file in the boot-loader inode, if there is one. It is the last node, and has no name.
    pub boot_loader: Option<NodeId>,
    /// Names, symlink targets, xattr values, and inline data.
    bytes: Vec<u8>,
}

/// An inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// The file type and permission bits.
    pub mode: u16,
    /// The user id of the owner.
    pub uid: u32,
    /// The group id of the owner.
    pub gid: u32,
    /// The project id; 0 without the `project` feature.
    pub project: u32,
    /// The flags that users can set, and the structural flags.
    pub flags: InodeFlags,
    /// The time of the last change of the content.
    pub mtime: Timestamp,
    /// The link count: the number of names; for a directory, 2 plus the number of its subdirectories.
    pub links: u32,
    /// The set of xattrs, if there are any.
    pub xattrs: Option<XattrSetId>,
    /// The file type, with its content.
    pub kind: Kind,
}

impl Node {
    /// Returns the first opaque block: it and all later logical blocks must stay allocated if they are
    /// allocated in the input, even if they are zero.
    ///
    /// In an encrypted file, this is block 0, because zeros are ciphertext. In a verity file, this is the
    /// first block past the end of the file. Returns `None` for any other file, because only the bytes up to
    /// the file size are content.
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

/// The file type of an inode, with its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory: a range of `Tree::entries`.
    Directory {
        /// The index of the first entry.
        first: u32,
        /// The number of entries, without `.` and `..`.
        count: u32,
        /// The parent directory; the root is its own parent.
        parent: NodeId,
    },
    /// A regular file: a range of `Tree::runs`.
    Regular {
        /// The size in bytes.
        size: u64,
        /// The index of the first run.
        first: usize,
        /// The number of runs.
        count: u32,
        /// The content, if the input stores it as inline data, without the zeros at its end. There are no
        /// runs in that case.
        inline: Option<Text>,
    },
    /// A symlink, with its target.
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

/// A directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, of 1 to 255 bytes.
    pub name: Text,
    /// The inode.
    pub node: NodeId,
    /// The hash and the minor hash of the name, which encrypted and casefolded directories store because they
    /// can't be computed without the key; 0 in any other directory.
    pub hashes: [u32; 2],
}

/// The quota usage of an inode, or of all inodes with the same user, group or project id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaUsage {
    /// The number of inodes.
    pub inodes: u64,
    /// The allocated blocks, in bytes.
    pub bytes: u64,
}

impl QuotaUsage {
    /// Adds `other`.
    pub fn add(&mut self, other: Self) {
        self.inodes += other.inodes;
        self.bytes += other.bytes;
    }
}

/// Consecutive logical blocks of a file of the input. Blocks that no run covers are holes.
pub(crate) type Run = BlockRun<RunPlace>;

/// The location of a run's bytes, packed into 64 bits because a tree has many runs: two bits for the kind,
/// and 62 bits for the block number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RunPlace(u64);

/// The location of a run's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// In blocks of the image, starting with this one.
    At(BlockNr),
    /// In unwritten blocks, starting with this one: they are allocated but read as zeros.
    Unwritten(BlockNr),
    /// In the tree, because the input stores them as inline data. Byte 0 of the inline data is byte 0 of the
    /// file.
    Tree,
    /// Nowhere: all bytes are zero.
    Zeros,
}

impl RunPlace {
    /// Bits for a block number. Filesystems have fewer than 2^48 blocks.
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
            // The block number is in the low bits, so the addition does not change the kind.
            Bytes::At(_) | Bytes::Unwritten(_) => Some(Self(self.0 + u64::from(blocks))),
            Bytes::Tree | Bytes::Zeros => Some(self),
        }
    }
}

impl Run {
    /// Creates a run of logical blocks whose bytes are at the given location.
    pub const fn new(logical: u32, count: u32, bytes: Bytes) -> Self {
        Self::at(logical, count, RunPlace::new(bytes))
    }

    /// Creates a run of blocks that an extent or a block map lists.
    pub const fn in_blocks(logical: u32, count: u32, physical: BlockNr, unwritten: bool) -> Self {
        let bytes = if unwritten { Bytes::Unwritten(physical) } else { Bytes::At(physical) };
        Self::new(logical, count, bytes)
    }

    /// Returns the same run in blocks of a `ratio`-th of the size. At the end of the largest files, the run can
    /// have fewer blocks, but never less than up to the last block with a number of 32 bits.
    pub fn in_smaller_blocks(&self, ratio: u32) -> Self {
        let logical = self.logical.saturating_mul(ratio);
        let count = self.count.saturating_mul(ratio).min(u32::MAX - logical);
        let part = |block: BlockNr| BlockNr(block.0 * u64::from(ratio));
        let bytes = match self.bytes() {
            Bytes::At(block) => Bytes::At(part(block)),
            Bytes::Unwritten(block) => Bytes::Unwritten(part(block)),
            bytes => bytes,
        };
        Self::new(logical, count, bytes)
    }

    /// Returns the location of the bytes.
    pub fn bytes(&self) -> Bytes {
        self.place().bytes()
    }

    /// Returns the first block, for a run that has blocks.
    pub fn physical(&self) -> BlockNr {
        self.place().block()
    }

    /// Returns the range of blocks, for a run that has blocks.
    pub fn blocks(&self) -> Range<u64> {
        let start = self.physical().0;
        start..start + u64::from(self.count)
    }

    /// Returns whether the blocks are allocated but unwritten, and therefore read as zeros.
    pub fn unwritten(&self) -> bool {
        matches!(self.bytes(), Bytes::Unwritten(_))
    }

    /// Returns the first block with the bytes of the run; `None` if they are zeros or in the tree.
    pub fn stored_at(&self) -> Option<BlockNr> {
        match self.bytes() {
            Bytes::At(block) => Some(block),
            _ => None,
        }
    }
}

/// Returns the block that contains a logical block of a file; `None` for a hole. The runs must be in logical
/// order, and all of them must have blocks.
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
    /// The name index, which stands for the prefix of the name.
    pub index: u8,
    /// The name without that prefix.
    pub name: Text,
    /// The value, as stored on disk.
    pub value: Text,
}

impl Tree {
    /// Creates a tree without nodes, with the runs of all regular files that will be added.
    pub fn of_runs(runs: Vec<Run>) -> Self {
        Self { runs, ..Self::default() }
    }

    /// Stores bytes in the tree, and returns their range.
    pub fn add_text(&mut self, bytes: &[u8]) -> Text {
        self.add_parts([bytes, &[]])
    }

    /// Stores the concatenation of two slices in the tree, and returns its range.
    pub fn add_parts(&mut self, parts: [&[u8]; 2]) -> Text {
        let start = self.bytes.len();
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        Text::new(start, self.bytes.len() - start)
    }

    /// Frees the spare capacity of all vectors except `nodes` and `entries`.
    pub fn shrink(&mut self) {
        self.runs.shrink_to_fit();
        self.xattr_sets.shrink_to_fit();
        self.xattrs.shrink_to_fit();
        self.bytes.shrink_to_fit();
    }

    /// Returns the bytes of a text of this tree.
    pub fn text(&self, text: Text) -> &[u8] {
        &self.bytes[text.range()]
    }

    /// Overwrites bytes of a text, which keeps its length.
    pub(crate) fn overwrite(&mut self, text: Text, offset: usize, bytes: &[u8]) {
        self.bytes[text.range()][offset..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Returns a node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// Returns the ids of all nodes, in canonical order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = NodeId> + use<> {
        let count = fits(self.nodes.len(), "inode numbers have 32 bits");
        (0..count).map(NodeId)
    }

    /// Returns the entries of a directory, in byte order; none for other file types.
    pub fn entries_of(&self, id: NodeId) -> &[Entry] {
        match self.node(id).kind {
            Kind::Directory { first, count, .. } => &self.entries[first as usize..][..count as usize],
            _ => &[],
        }
    }

    /// Returns the runs of a regular file; none for other file types.
    pub fn runs_of(&self, id: NodeId) -> &[Run] {
        match self.node(id).kind {
            Kind::Regular { first, count, .. } => &self.runs[first..][..count as usize],
            _ => &[],
        }
    }

    /// Returns the inline data of a regular file, if it has any.
    pub fn inline_of(&self, id: NodeId) -> Option<&[u8]> {
        match self.node(id).kind {
            Kind::Regular { inline, .. } => inline.map(|text| self.text(text)),
            _ => None,
        }
    }

    /// Returns the xattrs of a set.
    pub fn xattr_set(&self, set: XattrSetId) -> &[Xattr] {
        let range = &self.xattr_sets[set.index()];
        &self.xattrs[range.start as usize..range.end as usize]
    }

    /// Returns the node of a name in a directory.
    pub fn lookup(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        let entries = self.entries_of(directory);
        let found = entries.binary_search_by(|entry| self.text(entry.name).cmp(name)).ok()?;
        entries.get(found).map(|entry| entry.node)
    }

    /// Returns the node at a path, and its path without symlinks, which starts with a dot. Symlinks are
    /// followed as if the tree were the root filesystem. Returns `None` if there is no such path, or if it
    /// has more than 40 symlinks.
    pub fn resolve(&self, path: &[u8]) -> Option<(NodeId, Vec<u8>)> {
        let names =
            |path: &[u8]| path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect::<Vec<_>>();
        let (mut waiting, mut node, mut links) = (names(path), NodeId::ROOT, 0);
        let mut resolved = b".".to_vec();
        while let Some(name) = waiting.pop() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    if let Kind::Directory { parent, .. } = self.node(node).kind {
                        node = parent;
                        let parent_length = resolved.iter().rposition(|byte| *byte == b'/').unwrap_or(1);
                        resolved.truncate(parent_length);
                    }
                    continue;
                }
                _ => {}
            }
            let next = self.lookup(node, &name)?;
            let Kind::Symlink(target) = self.node(next).kind else {
                node = next;
                resolved.push(b'/');
                resolved.extend_from_slice(&name);
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            let target = self.text(target);
            if target.starts_with(b"/") {
                node = NodeId::ROOT;
                resolved.truncate(1);
            }
            waiting.extend(names(target));
        }
        Some((node, resolved))
    }

    /// Returns the directory and the name of each node. For a node with several names, returns the first name
    /// in canonical order. Returns `None` for the root and the boot loader.
    pub fn parents(&self) -> Vec<Option<(NodeId, Text)>> {
        let mut parents = vec![None; self.nodes.len()];
        for id in self.ids() {
            for entry in self.entries_of(id) {
                parents[entry.node.index()].get_or_insert((id, entry.name));
            }
        }
        parents
    }

    /// Returns a path of each node for messages, in canonical order.
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
    /// Returns whether the node is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Directory { .. })
    }
}
