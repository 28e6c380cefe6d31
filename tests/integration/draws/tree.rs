//! Random trees: drawn as data first, so that a filesystem can be drawn to fit, then created on the host.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::names::name;
use crate::support::dice::Dice;
use crate::support::tree::{acl, capability, make_node, set_mtime, set_xattr};

/// The xattrs of a file: names with namespaces, and values.
type Xattrs = Vec<(String, Vec<u8>)>;

/// A large xattr: the path of its file, its name and its value.
type Large<'t> = (PathBuf, &'t str, &'t [u8]);

/// The limits of the filesystem for a tree.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The block size in bytes.
    pub block_size: u64,
    /// Whether the filesystem has inline data. With it, mke2fs drops trailing zeros of files.
    pub inline_data: bool,
    /// Whether xattrs are supported. Without the feature, mke2fs drops them.
    pub xattrs: bool,
    /// Whether values of xattrs may be larger than a block.
    pub ea_inode: bool,
    /// Whether files may have 2 GiB or more.
    pub large_file: bool,
    /// Whether project IDs are supported.
    pub project: bool,
    /// Whether the user is root. Only root can create devices, set owners, and set most xattrs.
    pub root: bool,
}

/// A range of a file that is written. The rest are holes.
#[derive(Clone, Debug)]
pub struct Stretch {
    at: u64,
    length: u64,
    /// Whether the range contains zeros.
    zeros: bool,
}

/// The content of a path.
#[derive(Clone, Debug)]
pub enum Node {
    File {
        seed: u64,
        size: u64,
        stretches: Vec<Stretch>,
    },
    Folder,
    Symlink(usize),
    Special(FileType, u32, u32),
    /// A hard link to the item with this number.
    Link(usize),
}

/// A name in the tree.
#[derive(Clone, Debug)]
pub struct Item {
    /// The number of the parent directory; `None` for the root.
    parent: Option<usize>,
    name: Vec<u8>,
    node: Node,
    mode: u32,
    owner: (u32, u32),
    mtime: i64,
    xattrs: Xattrs,
    /// Xattrs that may be too large for the host's filesystem.
    large: Xattrs,
    project: u32,
}

/// A random tree. Directories precede their content.
#[derive(Clone, Debug)]
pub struct Tree {
    pub items: Vec<Item>,
    limits: Limits,
    /// Whether names are unusual.
    odd_names: bool,
}

impl Tree {
    /// Draws a tree.
    pub fn draw(dice: &mut Dice, limits: Limits) -> Self {
        let mut tree = Self { items: Vec::new(), limits, odd_names: dice.chance(60) };
        let count = dice.scaled(1, 48);
        // Several files have these xattrs, so that they can share a block or an EA inode.
        let shared: Vec<Xattrs> = (0..3).map(|_| xattrs(dice, limits)).collect();
        for _ in 0..count {
            let folders: Vec<usize> = tree.numbers(|node| matches!(node, Node::Folder));
            let inodes = tree.numbers(|node| matches!(node, Node::File { .. } | Node::Special(..)));
            let parent = if dice.chance(40) { None } else { dice.pick(&folders).copied() };
            let node = match dice.roll(20) {
                0..=9 => file(dice, limits),
                10..=12 => Node::Folder,
                13 | 14 => Node::Symlink(usize::try_from(symlink_length(dice)).expect("a length")),
                15 | 16 => special(dice, limits),
                _ => dice.pick(&inodes).map_or(Node::Folder, |number| Node::Link(*number)),
            };
            tree.add(dice, parent, node, &shared);
        }
        if dice.chance(25) {
            tree.add_many(dice);
        }
        if dice.chance(8) {
            tree.add_deep(dice);
        }
        tree
    }

    fn numbers(&self, wanted: impl Fn(&Node) -> bool) -> Vec<usize> {
        let numbered = self.items.iter().enumerate();
        numbered.filter(|(_, item)| wanted(&item.node)).map(|(number, _)| number).collect()
    }

    fn add(&mut self, dice: &mut Dice, parent: Option<usize>, node: Node, shared: &[Xattrs]) -> usize {
        let number = self.items.len();
        let limits = self.limits;
        let owner = if limits.root && dice.chance(30) {
            (dice.between(0, 70_000) as u32, dice.between(0, 3000) as u32)
        } else {
            (0, 0)
        };
        let is_symlink = matches!(node, Node::Symlink(_));
        let has_user_xattrs = matches!(node, Node::File { .. } | Node::Folder);
        let mut found = match dice.roll(10) {
            0 | 1 => dice.pick(shared).cloned().unwrap_or_default(),
            2 => xattrs(dice, limits),
            _ => Xattrs::new(),
        };
        found.retain(|(name, _)| {
            let for_users = name.starts_with("user.");
            limits.xattrs && (has_user_xattrs || !for_users) && (limits.root || for_users)
        });
        if is_symlink || matches!(node, Node::Link(_)) {
            found.retain(|(name, _)| name.starts_with("trusted.") && is_symlink);
        }
        let is_folder = matches!(node, Node::Folder);
        if limits.root && limits.xattrs && has_user_xattrs && dice.chance(6) {
            let kind = if is_folder { "default" } else { "access" };
            found.push((format!("system.posix_acl_{kind}"), acl(dice.one(&[4, 5, 7]))));
        }
        if limits.root && limits.xattrs && matches!(node, Node::File { .. }) && dice.chance(4) {
            found.push(("security.capability".to_owned(), capability()));
        }
        let mut large = Xattrs::new();
        if limits.ea_inode && has_user_xattrs && dice.chance(20) {
            let length = usize::try_from(dice.scaled(60, 20_000)).expect("a length");
            let (seed, number) = (dice.between(0, 3), dice.roll(2));
            large.push((format!("user.large{number}"), Dice::noise(seed, length)));
        }
        let project = if limits.project && dice.chance(20) { dice.between(1, 9) as u32 } else { 0 };
        self.items.push(Item {
            parent,
            name: if self.odd_names { name(dice, number) } else { format!("f{number}").into_bytes() },
            node,
            mode: if dice.chance(50) { 0o755 } else { dice.between(0, 0o7777) as u32 },
            owner,
            // Times before 1970 are rare.
            mtime: i64::try_from(dice.between(0, 0x7FFF_FFFF)).expect("31 bits")
                * dice.one(&[1, 1, 1, 1, -1]),
            xattrs: found,
            large,
            project,
        });
        number
    }

    /// Adds a directory with enough names for an index of one or two levels.
    fn add_many(&mut self, dice: &mut Dice) {
        let folder = self.add(dice, None, Node::Folder, &[]);
        let content = file(dice, self.limits);
        let file = self.add(dice, Some(folder), content, &[]);
        let length = usize::try_from(dice.scaled(8, 240)).expect("a length");
        // Compute the number of names for this size of the directory in bytes.
        let bytes = dice.scaled(2 * self.limits.block_size, 200 * self.limits.block_size.min(1024));
        let count = (bytes / (8 + length as u64)).min(1200);
        for number in 0..count {
            let item = self.items[file].clone();
            let name = format!("{:x<1$}", format!("{number:x}_"), length).into_bytes();
            self.items.push(Item {
                parent: Some(folder),
                name,
                node: Node::Link(file),
                xattrs: Vec::new(),
                large: Vec::new(),
                ..item
            });
        }
    }

    /// Adds nested directories.
    fn add_deep(&mut self, dice: &mut Dice) {
        let mut parent = None;
        for _ in 0..dice.scaled(3, 30) {
            parent = Some(self.add(dice, parent, Node::Folder, &[]));
        }
    }

    /// Returns the approximate space for blocks in bytes.
    pub fn bytes(&self) -> u64 {
        let size = self.limits.block_size;
        let of_item = |item: &Item| {
            let own = match &item.node {
                Node::File { stretches, .. } => {
                    stretches.iter().map(|stretch| stretch.length + 2 * size).sum()
                }
                Node::Folder | Node::Symlink(60..) => size,
                _ => 0,
            };
            let large: u64 = item.large.iter().map(|(_, value)| value.len() as u64 + size).sum();
            let block = u64::from(!item.xattrs.is_empty()) * size;
            own + large + block + item.name.len() as u64 + 12
        };
        self.items.iter().map(of_item).sum()
    }

    /// Returns the number of inodes.
    pub fn inodes(&self) -> u64 {
        let own = self.numbers(|node| !matches!(node, Node::Link(_))).len();
        (own + self.items.iter().map(|item| item.large.len()).sum::<usize>()) as u64
    }

    /// Returns whether debugfs commands could create all of it: names are ordinary, and no directory has
    /// several blocks.
    pub fn is_plain(&self) -> bool {
        // debugfs can't create sockets or large device numbers, and creates special files only in the root.
        let unknown = |item: &Item| match item.node {
            Node::Special(kind, _, minor) => {
                kind == FileType::Socket || minor > 65535 || item.parent.is_some()
            }
            _ => false,
        };
        let names: u64 = self.items.iter().map(|item| item.name.len() as u64 + 12).sum();
        !self.odd_names && names + 100 < self.limits.block_size && !self.items.iter().any(unknown)
    }

    /// Returns whether any symlink has xattrs.
    pub fn has_symlinks_with_xattrs(&self) -> bool {
        self.items.iter().any(|item| matches!(item.node, Node::Symlink(_)) && !item.xattrs.is_empty())
    }

    /// Returns the names of everything that this covers, to be counted.
    pub fn covers(&self) -> Vec<&'static str> {
        let any = |wanted: fn(&Item) -> bool| self.items.iter().any(wanted);
        let far = |item: &Item| matches!(item.node, Node::File { size, .. } if size > 64 << 20);
        let has = [
            ("xattrs", any(|item| item.xattrs.iter().any(|(name, _)| !name.starts_with("system")))),
            ("ACLs", any(|item| item.xattrs.iter().any(|(name, _)| name.starts_with("system")))),
            ("large xattrs", any(|item| !item.large.is_empty())),
            ("project ids", any(|item| item.project > 0)),
            ("hard links", any(|item| matches!(item.node, Node::Link(_)))),
            ("devices", any(|item| matches!(item.node, Node::Special(_, 1.., _)))),
            ("long symlinks", any(|item| matches!(item.node, Node::Symlink(60..)))),
            ("far blocks", any(far)),
            (
                "many extents",
                any(|item| matches!(&item.node, Node::File { stretches, .. } if stretches.len() > 60)),
            ),
            (
                "written zeros",
                any(
                    |item| matches!(&item.node, Node::File { stretches, .. } if stretches.iter().any(|stretch| stretch.zeros)),
                ),
            ),
            ("many names", self.items.len() > 60),
            ("odd names", self.odd_names),
        ];
        has.into_iter().filter(|(_, has)| *has).map(|(words, _)| words).collect()
    }

    fn path(&self, root: &Path, item: &Item) -> PathBuf {
        let folder =
            item.parent.map_or_else(|| root.to_owned(), |parent| self.path(root, &self.items[parent]));
        folder.join(OsStr::from_bytes(&item.name))
    }

    /// Creates the tree below a directory. With dice, files are created in a random order.
    pub fn build(&self, root: &Path, dice: Option<&mut Dice>) {
        let is_folder = |number: &usize| matches!(self.items[*number].node, Node::Folder);
        let (folders, mut leaves): (Vec<_>, Vec<_>) = (0..self.items.len()).partition(is_folder);
        if let Some(dice) = dice {
            dice.shuffle(&mut leaves);
        }
        for folder in &folders {
            fs::create_dir(self.path(root, &self.items[*folder])).expect("a folder");
        }
        let mut made = vec![None; self.items.len()];
        for leaf in leaves {
            let item = &self.items[leaf];
            let path = self.path(root, item);
            let origin = if let Node::Link(origin) = item.node { origin } else { leaf };
            match &made[origin] {
                Some(first) => fs::hard_link(first, &path).expect("a link"),
                None => self.items[origin].make(&path),
            }
            made[origin].get_or_insert(path);
        }
        for (item, path) in self.items.iter().zip(&made) {
            match (&item.node, path) {
                (Node::Link(_), _) => {}
                (_, Some(path)) => item.finish(path, self.limits.root),
                // Directories get their metadata below, from the innermost on.
                (_, None) => {}
            }
        }
        for folder in folders.iter().rev() {
            let item = &self.items[*folder];
            item.finish(&self.path(root, item), self.limits.root);
        }
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).expect("chmod");
        set_mtime(root, crate::support::tree::SOME_TIME, 0);
    }

    /// Returns the xattrs that the host can't store, as paths, names and values. They are added to every
    /// image of the tree afterwards.
    pub fn large_xattrs(&self) -> Vec<Large<'_>> {
        let named = |item: &Item| self.path(Path::new("/"), item);
        let large = self.items.iter().flat_map(|item| {
            item.large.iter().map(move |(name, value)| (named(item), name.as_str(), value.as_slice()))
        });
        large.collect()
    }

    /// Returns the paths with project IDs, which the host can't store either.
    pub fn projects(&self) -> Vec<(PathBuf, u32)> {
        let projects =
            self.items.iter().filter(|item| item.project > 0 && !matches!(item.node, Node::Link(_)));
        projects.map(|item| (self.path(Path::new("/"), item), item.project)).collect()
    }
}

impl Item {
    fn make(&self, path: &Path) {
        match &self.node {
            Node::File { seed, size, stretches } => {
                let file = File::create(path).expect("a file");
                file.set_len(*size).expect("a length");
                for stretch in stretches {
                    let length = usize::try_from(stretch.length).expect("a length");
                    let mut bytes =
                        if stretch.zeros { vec![0; length] } else { Dice::noise(seed ^ stretch.at, length) };
                    if let Some(last) = bytes.last_mut().filter(|_| !stretch.zeros) {
                        *last |= 1;
                    }
                    file.write_all_at(&bytes, stretch.at).expect("writing");
                }
            }
            Node::Symlink(length) => symlink("t".repeat(*length), path).expect("a symlink"),
            Node::Special(kind, major, minor) => make_node(path, *kind, *major, *minor),
            Node::Folder | Node::Link(_) => unreachable!("made elsewhere"),
        }
    }

    fn finish(&self, path: &Path, root: bool) {
        if root {
            lchown(path, Some(self.owner.0), Some(self.owner.1)).expect("chown");
        }
        if !matches!(self.node, Node::Symlink(_)) {
            // Without root, files must be readable to be copied.
            let mode = if root { self.mode } else { self.mode | 0o700 };
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
        }
        for (name, value) in &self.xattrs {
            set_xattr(path, name, value);
        }
        set_mtime(path, self.mtime, 0);
    }
}

fn symlink_length(dice: &mut Dice) -> u64 {
    if dice.chance(40) { dice.between(57, 62) } else { dice.scaled(1, 1000) }
}

fn special(dice: &mut Dice, limits: Limits) -> Node {
    let kind =
        dice.one(&[FileType::Fifo, FileType::Socket, FileType::CharacterDevice, FileType::BlockDevice]);
    if !limits.root {
        return Node::Special(FileType::Fifo, 0, 0);
    }
    // Device numbers below 256 have a different encoding.
    let (major, minor) = if matches!(kind, FileType::Fifo | FileType::Socket) {
        (0, 0)
    } else {
        (dice.scaled(1, 4000) as u32, dice.scaled(1, 900_000) as u32)
    };
    Node::Special(kind, major, minor)
}

/// Draws a file of a random kind.
fn file(dice: &mut Dice, limits: Limits) -> Node {
    let block = limits.block_size;
    let seed = dice.number();
    let whole =
        |size| Node::File { seed, size, stretches: vec![Stretch { at: 0, length: size, zeros: false }] };
    match dice.roll(16) {
        0 => Node::File { seed, size: 0, stretches: Vec::new() },
        1..=4 => whole(dice.scaled(1, 300)),
        5 | 6 => whole((block * dice.between(1, 20)).saturating_add_signed(dice.one(&[-1, 0, 1]))),
        7..=9 => whole(dice.scaled(block, 200_000)),
        10 if dice.chance(30) => whole(dice.scaled(200_000, 4_000_000)),
        10..=12 if !limits.inline_data => zeros(dice, seed, block),
        13 => many_extents(dice, seed, block),
        14 => far(dice, seed, limits),
        _ => whole(dice.scaled(1, 2 * block)),
    }
}

/// Returns a file with zeros and holes between data, aligned to blocks or not.
fn zeros(dice: &mut Dice, seed: u64, block: u64) -> Node {
    let size = dice.scaled(1, 60 * block);
    let step = if dice.chance(50) { block } else { 1 };
    let stretches = (0..dice.between(0, 4)).map(|_| {
        let at = dice.between(0, size - 1) / step * step;
        Stretch { at, length: dice.between(1, (size - at).min(20 * block)), zeros: dice.chance(50) }
    });
    Node::File { seed, size, stretches: stretches.collect() }
}

/// Returns a file with data in every second block: enough extents for a tree of one or two levels.
fn many_extents(dice: &mut Dice, seed: u64, block: u64) -> Node {
    let count = dice.scaled(3, if block == 1024 { 600 } else { 100 });
    let stretch = |number| Stretch { at: 2 * number * block, length: block, zeros: false };
    Node::File { seed, size: (2 * count - 1) * block, stretches: (0..count).map(stretch).collect() }
}

/// Returns a file with blocks at large offsets, so that block maps need all levels.
fn far(dice: &mut Dice, seed: u64, limits: Limits) -> Node {
    let block = limits.block_size;
    // mke2fs reads each block of a hole, so limit the size.
    let end = if limits.large_file { 1 << 32 } else { 1 << 31 };
    let pointers = block / 4;
    let levels = [12, 12 + pointers, 12 + pointers + pointers * pointers];
    let mut stretches = vec![Stretch { at: 0, length: block, zeros: false }];
    for level in levels.into_iter().take(1 + dice.roll(3)) {
        let logical = (level + dice.between(0, 3)).saturating_sub(dice.between(0, 2));
        if (logical + 1) * block < end && stretches.iter().all(|stretch| stretch.at != logical * block) {
            stretches.push(Stretch { at: logical * block, length: dice.between(1, block), zeros: false });
        }
    }
    stretches.sort_by_key(|stretch| stretch.at);
    let size = stretches.last().map_or(0, |stretch| stretch.at + stretch.length);
    Node::File { seed, size, stretches }
}

/// Returns xattrs that fit into an inode or a block, and that a host with blocks of 4 KiB can store.
fn xattrs(dice: &mut Dice, limits: Limits) -> Xattrs {
    let mut room = limits.block_size.min(3000) - 200;
    let mut found = Xattrs::new();
    for number in 0..dice.between(1, 5) {
        let length = dice.scaled(1, 2 * room).min(room).saturating_sub(dice.between(0, 1));
        let namespace = dice.one(&["user", "user", "trusted", "security"]);
        let name = format!("{namespace}.{}{number}", "n".repeat(dice.roll(30)));
        room = room.saturating_sub(length + 60);
        found.push((name, Dice::noise(dice.number(), usize::try_from(length).expect("a length"))));
        if room < 100 {
            break;
        }
    }
    found
}
