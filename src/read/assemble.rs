//! Assembles the tree from inodes and entries: sorts nodes into canonical order, sets link counts and
//! parents, checks for lost inodes, and compares each entry with its inode (in use, file type).

use std::collections::HashMap;

use super::directory::ReadDirectory;
use super::inode_index::InodeIndex;
use super::inodes::Inodes;
use super::xattr::sets::XattrSets;
use crate::error::{Location, Result, Structure, shown};
use crate::map::directory::RawEntry;
use crate::ondisk::dir_entry;
use crate::ondisk::features::{Incompat, RoCompat};
use crate::ondisk::inode::{InodeFlags, LINK_MAX, S_IFDIR, S_IFMT, Timestamp};
use crate::remedy::Remedy;
use crate::source::Source;
use crate::tree::{Entry, Kind, LOST_FOUND_NAME, Node, NodeId, Tree};
use crate::units::InodeNr;

/// The assembled tree, the inode numbers of its nodes, and warnings.
pub(super) struct Assembled {
    pub tree: Tree,
    pub inodes: Vec<InodeNr>,
    pub warnings: Vec<String>,
}

/// The number of names of an inode, and its node, parent and entries in the tree.
#[derive(Clone, Copy)]
struct FoundInode {
    /// A copy of `i_mode`, because it is needed for each name.
    mode: u16,
    /// The node; `NOWHERE` until the first name is found.
    id: NodeId,
    names: u32,
    subdirectories: u32,
    /// The parent directory; `NOWHERE` until the first name is found.
    parent: NodeId,
    first_entry: u32,
    entries: u32,
}

impl FoundInode {
    /// Sets the links and entries of a node.
    fn complete(&self, node: &mut Node) {
        node.links = self.names;
        if node.kind.is_directory() {
            node.links = self.subdirectories + 2;
            node.kind = Kind::Directory { first: self.first_entry, count: self.entries, parent: self.parent };
        }
    }

    fn of_mode(mode: u16) -> Self {
        Self { mode, id: NOWHERE, names: 0, subdirectories: 0, parent: NOWHERE, first_entry: 0, entries: 0 }
    }
}

/// The index that stands for a missing inode.
const MISSING: u32 = u32::MAX;

/// The id that stands for an unknown node. No node has this id, since there are always fewer nodes.
const NOWHERE: NodeId = NodeId(u32::MAX);

struct Assembler<'s, 'a> {
    source: &'s Source<'a>,
    inodes: &'s Inodes<'a>,
    numbers: InodeIndex,
    directories: HashMap<InodeNr, ReadDirectory<'a>>,
    found: Vec<FoundInode>,
    /// The index of each node's inode; `MISSING` for a `lost+found` that the input does not have.
    order: Vec<u32>,
    tree: Tree,
    untyped: usize,
}

/// Builds the tree.
pub(super) fn assemble<'s, 'a>(
    source: &'s Source<'a>,
    inodes: &'s Inodes<'a>,
    mut tree: Tree,
    directories: Vec<ReadDirectory<'a>>,
    mut xattr_sets: XattrSets<'_>,
) -> Result<Assembled> {
    tree.entries.reserve_exact(directories.iter().map(|directory| directory.entries.len()).sum());
    let mut assembler = Assembler {
        source,
        inodes,
        numbers: InodeIndex::new(inodes.list.iter().map(|inode| inode.number).collect()),
        directories: directories.into_iter().map(|directory| (directory.number, directory)).collect(),
        found: inodes.list.iter().map(|inode| FoundInode::of_mode(inode.mode)).collect(),
        order: Vec::with_capacity(inodes.list.len() + 1),
        tree,
        untyped: 0,
    };
    let (numbered, compared) = rayon::join(|| assembler.number(), || xattr_sets.find());
    numbered.and(compared)?;
    assembler.check_links()?;
    assembler.complete(&xattr_sets);
    let wrong_counts = inodes.wrong_blocks(source.geometry.block_size);
    let mut warnings = Vec::new();
    let mut warn = |count: usize, words: &str| {
        if count > 0 {
            warnings.push(format!("{count} {words}"));
        }
    };
    warn(wrong_counts, "inodes had a wrong i_blocks; rebuilt");
    warn(assembler.untyped, "directory entries had no file type; rebuilt");
    // A newly created `lost+found` has no inode in the input.
    let number = |index: &u32| assembler.numbers.number(*index as usize).unwrap_or_default();
    let inodes = assembler.order.iter().map(number).collect();
    Ok(Assembled { tree: assembler.tree, inodes, warnings })
}

impl<'s, 'a> Assembler<'s, 'a> {
    fn index(&self, number: InodeNr) -> Option<usize> {
        self.numbers.of(number)
    }

    fn new_id(&mut self, index: Option<usize>) -> NodeId {
        // Inode numbers have 32 bits, 0 is unused, and there is at most one more node than inodes.
        let narrow = |count: usize| u32::try_from(count).expect("fits: no more than there are inodes");
        let id = NodeId(narrow(self.order.len()));
        self.order.push(index.map_or(MISSING, narrow));
        if let Some(index) = index {
            self.found[index].id = id;
        }
        id
    }

    /// Assigns ids to all reachable inodes, and collects the entries.
    fn number(&mut self) -> Result<()> {
        let at = |number| Location::of(Structure::Inode).inode(number);
        let root = self
            .index(InodeNr::ROOT)
            .ok_or_else(|| at(InodeNr::ROOT).wrong("is not in use, but it is the root directory"))?;
        if !self.inodes.list[root].is_directory() {
            return Err(at(InodeNr::ROOT).wrong("is the root directory, but not a directory"));
        }
        self.new_id(Some(root));
        self.found[root].parent = NodeId::ROOT;
        let lost_found = self.lost_found()?;
        self.new_id(lost_found);
        let mut waiting = vec![root];
        while let Some(index) = waiting.pop() {
            let first = waiting.len();
            self.visit(index, &mut waiting)?;
            // The last directory in `waiting` is visited next, so the first subdirectory must be at the end.
            waiting[first..].reverse();
        }
        if let Some(index) = self.index(InodeNr::BOOT_LOADER) {
            // The boot loader inode has no name, but it is reachable by its number, so it counts as linked.
            self.found[index].names = 1;
            self.tree.boot_loader = Some(self.new_id(Some(index)));
        }
        let lost = self
            .inodes
            .list
            .iter()
            .zip(&self.found)
            .find(|(inode, found)| found.names == 0 && inode.number != InodeNr::ROOT);
        match lost {
            Some((inode, _)) => {
                Err(at(inode.number).wrong("is in use, but no directory names it").with_remedy(Remedy::fsck(
                    "run e2fsck -f on the image; clear the remaining inodes with debugfs's clri",
                )))
            }
            None => Ok(()),
        }
    }

    /// Returns the index of the inode of `/lost+found`, if there is one.
    fn lost_found(&self) -> Result<Option<usize>> {
        let Some(directory) = self.directories.get(&InodeNr::ROOT) else { return Ok(None) };
        let Ok(position) = directory.entries.binary_search_by_key(&LOST_FOUND_NAME, |entry| entry.name)
        else {
            return Ok(None);
        };
        let number = directory.entries[position].inode;
        match self.index(number) {
            Some(index) if self.inodes.list[index].is_directory() => Ok(Some(index)),
            _ => {
                Err(Location::of(Structure::Inode).inode(number).wrong("is /lost+found, but not a directory"))
            }
        }
    }

    fn visit(&mut self, index: usize, waiting: &mut Vec<usize>) -> Result<()> {
        let number = self.inodes.list[index].number;
        let at = || Location::of(Structure::Directory).inode(number);
        let id = self.found[index].id;
        let first = self.tree.entries.len();
        let directory = self.directories.remove(&number).ok_or_else(|| at().wrong("is visited twice"))?;
        let parent = self.order[self.found[index].parent.index()];
        let parent_number =
            self.numbers.number(parent as usize).expect("a directory that was found has an inode");
        if directory.parent != parent_number {
            return Err(at().value("the inode of '..'", directory.parent.0, parent_number));
        }
        // A missing `lost+found` is inserted in the order of names.
        let add_lost_found = id == NodeId::ROOT && self.order[NodeId::LOST_FOUND.index()] == MISSING;
        let place = directory.entries.partition_point(|entry| entry.name < LOST_FOUND_NAME);
        for (position, raw) in directory.entries.iter().enumerate() {
            if add_lost_found && position == place {
                self.push_entry(LOST_FOUND_NAME, NodeId::LOST_FOUND, [0; 2]);
            }
            self.add_entry(index, id, raw, waiting)?;
        }
        if add_lost_found && place == directory.entries.len() {
            self.push_entry(LOST_FOUND_NAME, NodeId::LOST_FOUND, [0; 2]);
        }
        let entries = self.tree.entries.len() - first;
        let (Ok(first), Ok(entries)) = (u32::try_from(first), u32::try_from(entries)) else {
            return Err(at().wrong("has too many entries"));
        };
        (self.found[index].first_entry, self.found[index].entries) = (first, entries);
        Ok(())
    }

    /// Adds an entry of the directory `index`, whose node is `id`.
    fn add_entry(
        &mut self,
        index: usize,
        id: NodeId,
        raw: &RawEntry<'a>,
        waiting: &mut Vec<usize>,
    ) -> Result<()> {
        let wrong = |words: &str| {
            let name = shown(raw.name);
            Location::of(Structure::Directory)
                .inode(self.inodes.list[index].number)
                .wrong(format!("has an entry '{name}' for inode {}, {words}", raw.inode))
        };
        // tune2fs -j creates this name on a mounted filesystem. e2fsck also moves that journal out of the
        // tree.
        if id == NodeId::ROOT && raw.name == b".journal" && self.source.has_journal_in(raw.inode) {
            return Ok(());
        }
        let Some(target) = self.index(raw.inode).filter(|_| raw.inode != InodeNr::BOOT_LOADER) else {
            return Err(wrong("which is not in use"));
        };
        let mode = self.found[target].mode;
        let is_directory = mode & S_IFMT == S_IFDIR;
        if is_directory {
            if raw.inode == InodeNr::ROOT || self.found[target].parent != NOWHERE {
                return Err(wrong("a directory that already has a name"));
            }
            waiting.push(target);
        }
        if self.source.features().has(Incompat::FILETYPE) {
            if raw.file_type == 0 {
                self.untyped += 1;
            } else if raw.file_type != dir_entry::file_type(mode) {
                return Err(wrong("whose type differs from the entry's"));
            }
        }
        if is_directory {
            self.found[target].parent = id;
            self.found[index].subdirectories += 1;
        }
        self.found[target].names = self.found[target].names.saturating_add(1);
        let node = match self.found[target].id {
            NOWHERE => self.new_id(Some(target)),
            node => node,
        };
        self.push_entry(raw.name, node, raw.hashes);
        Ok(())
    }

    fn push_entry(&mut self, name: &[u8], node: NodeId, hashes: [u32; 2]) {
        let name = self.tree.add_text(name);
        self.tree.entries.push(Entry { name, node, hashes });
    }

    fn check_links(&self) -> Result<()> {
        let dir_nlink = self.source.features().has(RoCompat::DIR_NLINK);
        let replayed = &self.source.fast_commits().directories;
        for (inode, found) in self.inodes.list.iter().zip(&self.found) {
            if inode.is_directory() && replayed.get(&inode.number).is_some_and(|known| known.relinked) {
                continue;
            }
            let expected =
                if inode.is_directory() { u64::from(found.subdirectories) + 2 } else { found.names.into() };
            let right = u64::from(inode.links) == expected && expected <= LINK_MAX;
            let overflown = inode.is_directory()
                && dir_nlink
                && inode.links == 1
                && (inode.indexed || expected > LINK_MAX);
            if !right && !overflown {
                return Err(Location::of(Structure::Inode).inode(inode.number).value(
                    "i_links_count",
                    inode.links,
                    expected,
                ));
            }
        }
        Ok(())
    }

    /// Sets the links, entries and xattr sets of the nodes, and adds these sets to the tree.
    fn complete(&mut self, xattr_sets: &XattrSets<'_>) {
        let mut nodes = std::mem::take(&mut self.tree.nodes);
        let (order, found) = (&self.order, std::mem::take(&mut self.found));
        let tree = &mut self.tree;
        let ((), sets) =
            rayon::join(|| order_nodes(&mut nodes, order, &found), || xattr_sets.add_sets(tree, order));
        for (node, set) in nodes.iter_mut().zip(sets) {
            node.xattrs = set;
        }
        self.tree.nodes = nodes;
        self.add_texts(&found);
        self.tree.shrink();
    }

    /// Stores inline data and the targets of symlinks in the tree.
    fn add_texts(&mut self, found: &[FoundInode]) {
        for (inode, found) in self.inodes.list.iter().zip(found) {
            // The entries of directories are already in the tree.
            let Some(parts) = self.inodes.parts_of(inode).filter(|_| !inode.is_directory()) else { continue };
            let text = self.tree.add_parts(parts);
            match &mut self.tree.nodes[found.id.index()].kind {
                Kind::Regular { inline, .. } => *inline = Some(text),
                kind => *kind = Kind::Symlink(text),
            }
        }
    }
}

/// Sorts nodes from the order of their inodes into the order of the tree, and completes them.
fn order_nodes(nodes: &mut Vec<Node>, order: &[u32], found: &[FoundInode]) {
    let missing = u32::try_from(nodes.len()).expect("fits: inodes have numbers of 32 bits");
    if order[NodeId::LOST_FOUND.index()] == MISSING {
        nodes.push(missing_lost_found());
    }
    let mut ordered = vec![false; nodes.len()];
    // Follows each cycle of the permutation: moves each node to its position, until the cycle is back at the
    // first node.
    for start in 0..nodes.len() {
        if ordered[start] {
            continue;
        }
        let (first, mut place) = (nodes[start], start);
        loop {
            ordered[place] = true;
            let from = if order[place] == MISSING { missing } else { order[place] } as usize;
            nodes[place] = if from == start { first } else { nodes[from] };
            if let Some(found) = found.get(from) {
                found.complete(&mut nodes[place]);
            }
            if from == start {
                break;
            }
            place = from;
        }
    }
    if order[NodeId::LOST_FOUND.index()] == MISSING {
        nodes[0].links += 1;
    }
}

/// Returns the node for a missing `lost+found`, with the attributes that mke2fs sets.
fn missing_lost_found() -> Node {
    Node {
        mode: S_IFDIR | 0o700,
        uid: 0,
        gid: 0,
        project: 0,
        flags: InodeFlags::empty(),
        mtime: Timestamp::default(),
        links: 2,
        xattrs: None,
        kind: Kind::Directory { first: 0, count: 0, parent: NodeId::ROOT },
    }
}
