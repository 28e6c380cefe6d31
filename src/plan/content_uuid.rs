//! Derives the UUID from the content. Images with different content get different UUIDs, and an image can be
//! checked against its UUID.
//!
//! docs/canonical-form.md specifies the bytes to digest.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use zerocopy::IntoBytes;

use crate::form;
use crate::ondisk::inode::InodeFlags;
use crate::ondisk::superblock::Superblock;
use crate::read::Specials;
use crate::settings::QuotaRules;
use crate::survey::{Digester, DigestsFrom, StoredTree, joined};
use crate::tree::{Kind, NodeId, Text, Tree, XattrSetId};
use crate::units::fits;

/// The number of nodes or xattr sets whose fields one thread collects at a time.
const PART: usize = 1 << 11;
/// The number of parts of [`PART`] nodes or xattr sets that are buffered before hashing.
const PARTS: usize = 16;

/// The maximum number of runs of a file that are collected. If a file has more runs, they are formatted while
/// they are hashed.
const LONG: usize = 1 << 13;

/// The bytes to hash, collected from fields.
#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    /// The files with more than [`LONG`] runs, each with the offset in `bytes` where its runs must be
    /// inserted.
    long: Vec<(usize, NodeId)>,
}

impl Stream {
    fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn runs(&mut self, runs: impl Iterator<Item = (u32, u32, u8)>) {
        for (logical, count, state) in runs {
            self.u32(logical);
            self.u32(count);
            self.u8(state);
        }
    }

    /// Adds the collected bytes to the hash, and formats and adds the runs of the files in `long`.
    fn add_to(&self, hash: &mut Sha256, stored: StoredTree<'_>) {
        let mut done = 0;
        for (place, file) in &self.long {
            hash.update(&self.bytes[done..*place]);
            done = *place;
            let mut runs = joined(stored.blocks_of(*file)).peekable();
            while runs.peek().is_some() {
                let mut next = Self::default();
                next.runs(runs.by_ref().take(LONG));
                hash.update(next.bytes);
            }
        }
        hash.update(&self.bytes[done..]);
    }

    fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    fn count(&mut self, value: usize) {
        self.bytes(&(value as u64).to_le_bytes());
    }
}

/// The state of the hash from which the UUID is derived.
#[derive(Debug)]
pub(super) struct Hashing {
    hash: Sha256,
    /// The next node to hash.
    next: usize,
    /// The number of parts of the content whose digests are complete.
    digested: usize,
}

impl Hashing {
    /// Starts the hash: adds the superblock with a UUID of zeros, the sizes of the journal and the orphan
    /// file, and the number of nodes.
    pub(super) fn new(superblock: &Superblock, stored: StoredTree<'_>, specials: &Specials) -> Self {
        let (mut hash, mut stream) = (Sha256::new(), Stream::default());
        stream.bytes(form::CONTENT_DOMAIN);
        stream.bytes(Superblock { s_uuid: [0; 16], ..*superblock }.as_bytes());
        stream.u32(specials.journal.map_or(0, |journal| journal.blocks));
        stream.u32(specials.journal.map_or(0, |journal| journal.fast_commit_blocks));
        stream.u32(specials.orphan_file.map_or(0, |file| file.blocks));
        stream.count(stored.tree.nodes.len());
        stream.add_to(&mut hash, stored);
        Self { hash, next: 0, digested: 0 }
    }

    /// Adds the next nodes to the hash, if the digests of their content are complete.
    pub(super) fn advance(&mut self, stored: StoredTree<'_>, digester: &Digester<'_, '_>) {
        let end = self.next + PART;
        if end <= stored.tree.nodes.len() && end <= digester.next_node(&mut self.digested).index() {
            let mut stream = Stream::default();
            nodes(&mut stream, stored, digester, self.next..end);
            stream.add_to(&mut self.hash, stored);
            self.next = end;
        }
    }

    /// Adds all remaining nodes and fields, and returns the UUID (version 8, variant 1).
    pub(super) fn finish(
        mut self,
        block_size: usize,
        stored: StoredTree<'_>,
        specials: &Specials,
        digester: &Digester<'_, '_>,
    ) -> [u8; 16] {
        let tree = stored.tree;
        let hash = &mut self.hash;
        digester.finish();
        add(hash, stored, self.next..tree.nodes.len(), |stream, part| {
            nodes(stream, stored, digester, part);
        });
        // Several sets can contain the same large value; digest it once.
        let large =
            tree.xattrs.iter().map(|xattr| xattr.value).filter(|value| tree.text(*value).len() > block_size);
        let large: HashSet<Text> = large.collect();
        let large: HashMap<Text, _> =
            large.into_par_iter().map(|value| (value, Sha256::digest(tree.text(value)))).collect();
        hash.update((tree.xattr_sets.len() as u64).to_le_bytes());
        add(hash, stored, 0..tree.xattr_sets.len(), |stream, sets| {
            for set in sets.map(XattrSetId::new) {
                xattrs(stream, tree, set, &large);
            }
        });
        let mut stream = Stream::default();
        for file in &specials.quotas {
            quota(&mut stream, &file.rules);
        }
        stream.add_to(hash, stored);
        form::uuid(&self.hash.finalize().into()).into_bytes()
    }
}

/// Hashes a range of nodes or xattr sets. While bytes are hashed, the next bytes are collected in parallel.
fn add(
    hash: &mut Sha256,
    stored: StoredTree<'_>,
    range: Range<usize>,
    write: impl Fn(&mut Stream, Range<usize>) + Sync,
) {
    let written = |first: usize| {
        let mut stream = Stream::default();
        write(&mut stream, first..range.end.min(first + PART));
        stream
    };
    let parts: Vec<usize> = range.clone().step_by(PART).collect();
    let mut ready: Vec<Stream> = Vec::new();
    for round in parts.chunks(PARTS) {
        let next = || round.par_iter().map(|first| written(*first)).collect();
        ((), ready) = rayon::join(|| ready.iter().for_each(|part| part.add_to(hash, stored)), next);
    }
    ready.iter().for_each(|part| part.add_to(hash, stored));
}

fn nodes(stream: &mut Stream, stored: StoredTree<'_>, digester: &Digester<'_, '_>, range: Range<usize>) {
    let id = |index: usize| NodeId(fits(index, "there are fewer than 2^32 nodes"));
    let mut digests = digester.from(id(range.start));
    range.for_each(|index| node(stream, stored, &mut digests, id(index)));
}

fn xattrs<T: AsRef<[u8]>>(stream: &mut Stream, tree: &Tree, set: XattrSetId, large: &HashMap<Text, T>) {
    let set = tree.xattr_set(set);
    stream.count(set.len());
    for xattr in set {
        stream.u8(xattr.index);
        let (name, value) = (tree.text(xattr.name), tree.text(xattr.value));
        stream.count(name.len());
        stream.bytes(name);
        stream.count(value.len());
        stream.bytes(large.get(&xattr.value).map_or(value, |digest| digest.as_ref()));
    }
}

fn node(stream: &mut Stream, stored: StoredTree<'_>, digests: &mut DigestsFrom<'_>, id: NodeId) {
    let tree = stored.tree;
    let node = tree.node(id);
    stream.u32(node.mode.into());
    stream.u32(node.uid);
    stream.u32(node.gid);
    stream.u32(node.project);
    stream.u32(node.flags.bits());
    stream.bytes(&node.mtime.seconds.to_le_bytes());
    stream.u32(node.mtime.nanoseconds);
    // The sets are numbered from 1; 0 means no set.
    stream.u32(node.xattrs.map_or(0, |set| fits(set.index() + 1, "there are fewer than 2^32 sets")));
    match node.kind {
        Kind::Directory { .. } => {
            let entries = tree.entries_of(id);
            stream.count(entries.len());
            for entry in entries {
                let name = tree.text(entry.name);
                stream.count(name.len());
                stream.bytes(name);
                stream.u32(entry.node.0);
                if node.flags.contains(InodeFlags::HASHED_NAMES) {
                    entry.hashes.into_iter().for_each(|hash| stream.u32(hash));
                }
            }
        }
        Kind::Regular { size, .. } => {
            stream.bytes(&size.to_le_bytes());
            let runs = stored.runs_of(id);
            stream.count(joined(stored.blocks_of(id)).count());
            if runs.len() > LONG {
                stream.long.push((stream.bytes.len(), id));
            } else {
                stream.runs(joined(stored.blocks_of(id)));
            }
            // The count precedes the digests in the stream, but is known only after them.
            let (place, mut count) = (stream.bytes.len(), 0_u64);
            stream.count(0);
            digests.each(id, |digest| {
                stream.bytes(&digest);
                count += 1;
            });
            stream.bytes[place..place + 8].copy_from_slice(&count.to_le_bytes());
        }
        Kind::Symlink(target) => {
            let target = tree.text(target);
            stream.count(target.len());
            stream.bytes(target);
        }
        Kind::Device { major, minor } => {
            stream.u32(major);
            stream.u32(minor);
        }
        Kind::Empty => {}
    }
}

fn quota(stream: &mut Stream, rules: &QuotaRules) {
    stream.u32(rules.block_grace);
    stream.u32(rules.inode_grace);
    stream.count(rules.limits.len());
    for (id, limits) in &rules.limits {
        stream.u32(*id);
        for limit in [limits.inodes_hard, limits.inodes_soft, limits.blocks_hard, limits.blocks_soft] {
            stream.bytes(&limit.to_le_bytes());
        }
    }
}
