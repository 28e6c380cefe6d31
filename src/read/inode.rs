//! Reading one inode: its fields, its xattrs in the body, and its block map.

use super::claims::Claim;
use super::file_map::{self, Budget, FileMap};
use super::file_size;
use super::inode_table::{self, RawInode};
use super::inodes::{Inodes, Part};
use super::xattr;
use crate::error::{Location, Result, Structure};
use crate::ondisk::features::{Compat, Incompat, RoCompat};
use crate::ondisk::inode::{self as disk, Inode, InodeFlags, Timestamp};
use crate::ondisk::{le16, le32};
use crate::source::Source;
use crate::tree::{Kind, Node, NodeId, Text};
use crate::units::{BlockNr, InodeNr};

/// What to do about a symlink that kernels, e2fsck and debugfs read differently.
const NEW_SYMLINK: &str =
    "remove it with debugfs's rm, make it again with its symlink command, and run e2fsck -f";

/// A live inode of the tree, decoded and checked by itself: all but its node. What it holds lies in [`Inodes`].
#[derive(Debug)]
pub struct ReadInode {
    /// Its number.
    pub number: InodeNr,
    /// `i_generation`, which checksums cover.
    pub generation: u32,
    /// `i_links_count`.
    pub links: u16,
    /// `i_mode`.
    pub mode: u16,
    /// Whether the directory is indexed.
    pub indexed: bool,
    /// Whether quotas count it, as e2fsck does: neither the boot loader nor symlinks with inline data.
    pub charged: bool,
    /// Whether fast commits, which do not tell of `i_blocks`, changed it.
    pub replayed: bool,
    /// The blocks of a regular file or directory, none past its end but for a Merkle tree.
    pub runs: Part,
    /// The xattrs in the body.
    pub xattrs: Part,
    /// What lies in the inode, or the target of a symlink.
    pub parts: Part,
    /// The block of xattrs; 0 where there is none.
    xattr_block: BlockNr,
    /// Blocks that are allocated for it: content, map and xattr block.
    pub blocks: u64,
    /// `i_blocks` in units of 512 bytes.
    pub sectors: u64,
}

/// What an inode holds, by its type.
#[derive(Clone, Copy, Debug)]
enum Content {
    /// Names.
    Directory,
    /// So many bytes.
    Regular(u64),
    /// The target of a symlink.
    Symlink,
    /// A device's major and minor number.
    Device(u32, u32),
    /// Nothing: a FIFO or a socket.
    Empty,
}

impl Content {
    /// What a node holds, as far as the inode tells it.
    fn kind(self) -> Kind {
        match self {
            Self::Directory => Kind::Directory { first: 0, count: 0, parent: NodeId::ROOT },
            Self::Regular(size) => Kind::Regular { size, first: 0, count: 0, inline: None },
            Self::Symlink => Kind::Symlink(Text::default()),
            Self::Device(major, minor) => Kind::Device { major, minor },
            Self::Empty => Kind::Empty,
        }
    }
}

/// Bytes that lie one behind the other, but in two places: `i_block` and the xattr `system.data`.
pub type Parts<'a> = [&'a [u8]; 2];

/// What of an inode its blocks and its body hold.
struct Stored<'a> {
    content: Content,
    /// The target of a symlink, or content in the inode.
    parts: Option<Parts<'a>>,
    map: FileMap,
}

impl<'a> Stored<'a> {
    fn in_blocks(content: Content, map: FileMap) -> Self {
        Self { content, parts: None, map }
    }

    fn empty(content: Content) -> Self {
        Self::in_blocks(content, FileMap::default())
    }

    fn in_inode(content: Content, parts: Parts<'a>) -> Self {
        Self { parts: Some(parts), ..Self::empty(content) }
    }
}

impl ReadInode {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & disk::S_IFMT == disk::S_IFDIR
    }

    /// Whether it is a regular file.
    pub fn is_regular(&self) -> bool {
        self.mode & disk::S_IFMT == disk::S_IFREG
    }

    /// The block of xattrs.
    pub fn xattr_block(&self) -> Option<BlockNr> {
        Some(self.xattr_block).filter(|block| block.0 != 0)
    }
}

/// Reads an inode, and adds it to the others; blocks of it that are not runs of a regular file are added to the claims.
pub fn read<'a>(
    source: &Source<'a>,
    budget: &Budget,
    raw: &RawInode<'a>,
    orphan: bool,
    (inodes, claims): (&mut Inodes<'a>, &mut Vec<Claim>),
) -> Result<()> {
    let inode = Inode::decode(raw.bytes);
    let number = raw.number;
    let at = || Location::of(Structure::Inode).inode(number);
    check_use(source, number, &inode, orphan)?;
    check_extra_isize(source, raw, &inode)?;
    check_flags(source, number, &inode)?;
    check_hurd(source, number, &inode)?;
    let mtime = Timestamp::decode(inode.i_mtime, inode.i_mtime_extra);
    if mtime.nanoseconds >= 1_000_000_000 {
        return Err(at()
            .value("the nanoseconds of i_mtime", mtime.nanoseconds, "below 1000000000")
            .with_remedy("set its time anew, with touch in a mount"));
    }
    let (inline_data, xattrs) =
        inodes.add_xattrs(|list| xattr::in_body(source, number, &inode, raw.bytes, list))?;
    inodes.stray_inline_data +=
        usize::from(inline_data.is_some() && !inode.flags().contains(InodeFlags::INLINE_DATA));
    let inline = inline_parts(source, raw, &inode, inline_data)?;
    let Stored { content, parts, mut map } = read_content(source, budget, raw, &inode, inline)?;
    let xattr_block = xattr_block(source, number, &inode)?;
    if matches!(content, Content::Regular(_)) {
        // What is left of its content is told by the runs.
        claims.extend(map.own_claims(number));
    } else {
        claims.extend(map.claims(number));
    }
    let cluster = source.geometry.blocks_per_cluster;
    let blocks = map.blocks(cluster) + u64::from(xattr_block.is_some()) * cluster;
    if let (Content::Regular(size), None) = (content, parts) {
        let dropped = |run| claims.push(Claim::of_content(number, &run));
        file_size::settle(source, (number, inode.flags(), orphan), size, &mut map, dropped)?;
    }
    let project_feature = source.features().ro_compat.contains(RoCompat::PROJECT);
    let node = Node {
        mode: inode.i_mode.get(),
        uid: inode.uid(),
        gid: inode.gid(),
        project: if project_feature { inode.i_projid.get() } else { 0 },
        flags: inode.flags() & (InodeFlags::USER | InodeFlags::STRUCTURAL),
        mtime,
        links: 0,
        xattrs: None,
        kind: content.kind(),
    };
    let inode = ReadInode {
        number,
        generation: inode.i_generation.get(),
        links: inode.i_links_count.get(),
        mode: node.mode,
        indexed: inode.flags().contains(InodeFlags::INDEX),
        replayed: source.fast_commits().inodes.contains_key(&number),
        runs: Part::default(),
        xattrs,
        parts: Part::default(),
        xattr_block: xattr_block.unwrap_or_default(),
        charged: number != InodeNr::BOOT_LOADER
            && !(inode.format() == disk::S_IFLNK && inode.flags().contains(InodeFlags::INLINE_DATA)),
        blocks,
        sectors: sectors(source, &inode),
    };
    inodes.push((inode, node), &map.runs, parts)
}

/// Checks that an inode of this number can be in use.
fn check_use(source: &Source<'_>, number: InodeNr, inode: &Inode, orphan: bool) -> Result<()> {
    let at = || Location::of(Structure::Inode).inode(number);
    // In an orphan, the field is the next orphan's number.
    if inode.i_dtime.get() != 0 && !orphan {
        return Err(at().value("i_dtime", inode.i_dtime.get(), "0, since the inode has links"));
    }
    if source.hidden_inodes().contains(&number) {
        return Err(at()
            .wrong(
                "has the number that the superblock has for a quota file or the orphan file, \
                 so that the kernel does not open it",
            )
            .with_remedy("set that to 0 with debugfs's set_super_value"));
    }
    Ok(())
}

/// `i_blocks` in units of 512 bytes.
fn sectors(source: &Source<'_>, inode: &Inode) -> u64 {
    let low = u64::from(inode.i_blocks_lo.get());
    if !source.features().ro_compat.contains(RoCompat::HUGE_FILE) {
        return low;
    }
    let whole = u64::from(inode.l_i_blocks_high.get()) << 32 | low;
    let unit = if inode.flags().contains(InodeFlags::HUGE_FILE) {
        source.geometry.block_size as u64 / 512
    } else {
        1
    };
    whole * unit
}

fn check_extra_isize(source: &Source<'_>, raw: &RawInode<'_>, inode: &Inode) -> Result<()> {
    if !source.geometry.has_wide_inodes() {
        return Ok(());
    }
    let number = raw.number;
    // The kernel takes 0 for the size of all fields that it knows, e2fsck for that of none.
    let behind = &raw.bytes[disk::BASE_SIZE..size_of::<Inode>()];
    if inode.i_extra_isize.get() == 0 && behind.iter().any(|byte| *byte != 0) {
        return Err(Location::of(Structure::Inode).inode(number).unsupported(
            "i_extra_isize is 0, but there are times behind it, which the kernel reads and e2fsck does not",
            "set it to 32 with debugfs's set_inode_field, or these times to 0",
        ));
    }
    inode_table::check_extra_isize(source, number, inode)
}

/// What only the Hurd has in its inodes, and Linux would take for something else.
fn check_hurd(source: &Source<'_>, number: InodeNr, inode: &Inode) -> Result<()> {
    let fields = [
        ("a translator (h_i_translator)", inode.l_i_version.get()),
        ("a fragment (h_i_frag, h_i_fsize)", inode.l_i_blocks_high.get().into()),
        ("modes of the Hurd (h_i_mode_high)", inode.l_i_file_acl_high.get().into()),
        ("an author (h_i_author)", inode.l_i_checksum_lo.get().into()),
        ("an author (h_i_author)", inode.l_i_reserved.get().into()),
    ];
    let found = fields.into_iter().find(|(_, value)| source.is_of_hurd() && *value != 0);
    found.map_or(Ok(()), |(what, _)| {
        Err(Location::of(Structure::Inode)
            .inode(number)
            .unsupported(what, "make the image anew with mke2fs -o linux"))
    })
}

/// The structural flags that the features allow.
fn structural_flags(source: &Source<'_>) -> InodeFlags {
    let features = source.features();
    let mut flags = InodeFlags::empty();
    flags.set(InodeFlags::ENCRYPT, features.incompat.contains(Incompat::ENCRYPT));
    flags.set(InodeFlags::CASEFOLD, features.incompat.contains(Incompat::CASEFOLD));
    flags.set(InodeFlags::VERITY, features.ro_compat.contains(RoCompat::VERITY));
    flags
}

fn check_flags(source: &Source<'_>, number: InodeNr, inode: &Inode) -> Result<()> {
    let at = || Location::of(Structure::Inode).inode(number);
    let flags = inode.flags();
    let alien = flags - InodeFlags::USER - InodeFlags::DERIVED - structural_flags(source);
    if !alien.is_empty() {
        let names: String = alien.iter_names().map(|(name, _)| format!(" {name}")).collect();
        return Err(at().unsupported(
            format!(
                "i_flags has bits {:#x}{names}, which no feature of this filesystem explains",
                alien.bits()
            ),
            "run e2fsck -f on the image; flags that it leaves go with debugfs's set_inode_field",
        ));
    }
    let format = inode.format();
    let is_file_or_directory = matches!(format, disk::S_IFREG | disk::S_IFDIR);
    if !is_file_or_directory && flags.intersects(InodeFlags::IMMUTABLE | InodeFlags::APPEND) {
        return Err(at().wrong("is immutable or append-only, but neither file nor directory"));
    }
    let is_encryptable = is_file_or_directory || format == disk::S_IFLNK;
    if !is_encryptable && flags.contains(InodeFlags::ENCRYPT) {
        return Err(at().wrong("is encrypted, but neither file, directory nor symlink"));
    }
    if flags.contains(InodeFlags::CASEFOLD) && format != disk::S_IFDIR {
        return Err(at().wrong("has the CASEFOLD flag, but is no directory"));
    }
    if flags.contains(InodeFlags::VERITY) && (format != disk::S_IFREG || !flags.contains(InodeFlags::EXTENTS))
    {
        return Err(at().wrong("has the VERITY flag, but is no regular file with an extent tree"));
    }
    if flags.contains(InodeFlags::INDEX) {
        if format != disk::S_IFDIR {
            return Err(at().wrong("is indexed, but no directory"));
        }
        if !source.features().compat.contains(Compat::DIR_INDEX) {
            return Err(at().wrong("is indexed without the dir_index feature"));
        }
    }
    if flags.contains(InodeFlags::HUGE_FILE) && !source.features().ro_compat.contains(RoCompat::HUGE_FILE) {
        return Err(at().wrong("has the HUGE_FILE flag without the huge_file feature"));
    }
    if inode.i_obso_faddr.get() != 0 {
        return Err(at().value("i_faddr", inode.i_obso_faddr.get(), 0));
    }
    Ok(())
}

/// The block of an inode's xattrs.
pub fn xattr_block(source: &Source<'_>, number: InodeNr, inode: &Inode) -> Result<Option<BlockNr>> {
    let at = || Location::of(Structure::Inode).inode(number);
    if !source.geometry.is_64bit() && inode.l_i_file_acl_high.get() != 0 {
        return Err(at().value(
            "l_i_file_acl_high",
            inode.l_i_file_acl_high.get(),
            "0 without the 64bit feature",
        ));
    }
    let block = BlockNr(inode.file_acl());
    if block.0 == 0 {
        return Ok(None);
    }
    if !source.features().compat.contains(Compat::EXT_ATTR) {
        return Err(at().value("i_file_acl", block.0, "0 without the ext_attr feature"));
    }
    if !source.has_blocks(block, 1) {
        return Err(at().value("i_file_acl", block.0, "a block of the filesystem"));
    }
    Ok(Some(block))
}

fn read_content<'a>(
    source: &Source<'a>,
    budget: &Budget,
    raw: &RawInode<'a>,
    inode: &Inode,
    inline: Option<Parts<'a>>,
) -> Result<Stored<'a>> {
    let number = raw.number;
    let at = || Location::of(Structure::Inode).inode(number);
    if let Some(parts) = inline {
        return inline_content(source, number, inode, parts);
    }
    match inode.format() {
        disk::S_IFREG => {
            let map = file_map::read(source, budget, number, inode)?;
            Ok(Stored::in_blocks(Content::Regular(inode.size()), map))
        }
        disk::S_IFDIR => {
            let map = file_map::read(source, budget, number, inode)?;
            if source.fast_commits().directories.get(&number).is_some_and(|known| known.made_in.is_some()) {
                // Its blocks were not given to it yet.
                return match map.runs[..] {
                    [] => Ok(Stored::in_blocks(Content::Directory, map)),
                    _ => Err(at().wrong("was made by a fast commit, but has blocks already")),
                };
            }
            check_directory_size(source, number, inode, &map)?;
            Ok(Stored::in_blocks(Content::Directory, map))
        }
        disk::S_IFLNK => read_symlink(source, budget, raw, inode),
        format @ (disk::S_IFCHR | disk::S_IFBLK | disk::S_IFIFO | disk::S_IFSOCK) => {
            if inode.flags().contains(InodeFlags::EXTENTS) {
                return Err(at().wrong("has an extent tree, but is neither file, directory nor symlink"));
            }
            if inode.size() != 0 {
                return Err(at().value(
                    "i_size",
                    inode.size(),
                    "0, since it is neither file, directory nor symlink",
                ));
            }
            if matches!(format, disk::S_IFIFO | disk::S_IFSOCK) {
                return Ok(Stored::empty(Content::Empty));
            }
            let word = |slot: usize| le32(&inode.i_block, slot * 4).expect("fits: i_block has 15 words");
            match disk::decode_device(word(0), word(1)) {
                Some((major, minor)) => Ok(Stored::empty(Content::Device(major, minor))),
                None => Err(at()
                    .value("the device number", word(0), "16 bits, or 0 and 32 bits in the next word")
                    .with_remedy("make the device file anew, in a mount")),
            }
        }
        _ => Err(at().value("the type in i_mode", inode.i_mode.get() >> 12, "one of 1, 2, 4, 6, 8, 10, 12")),
    }
}

/// The two places of inline data, if the inode has any.
fn inline_parts<'a>(
    source: &Source<'_>,
    raw: &RawInode<'a>,
    inode: &Inode,
    value: Option<&'a [u8]>,
) -> Result<Option<Parts<'a>>> {
    let at = || Location::of(Structure::Inode).inode(raw.number);
    let flags = inode.flags();
    if !flags.contains(InodeFlags::INLINE_DATA) {
        // With an extent tree, the kernel shows this xattr to nobody. Without one, it may be the flag that is lost.
        return match value {
            Some(_) if !flags.contains(InodeFlags::EXTENTS) => Err(at()
                .wrong("has the xattr system.data without the INLINE_DATA flag, and no extent tree")
                .with_remedy("remove this xattr with debugfs's ea_rm, if the content lies in blocks")),
            _ => Ok(None),
        };
    }
    if !source.features().incompat.contains(Incompat::INLINE_DATA) {
        return Err(at().wrong("has the INLINE_DATA flag without the inline_data feature"));
    }
    if flags.intersects(InodeFlags::EXTENTS | InodeFlags::INDEX) {
        return Err(at().wrong("has inline data, but also an extent tree or an index"));
    }
    if flags.intersects(InodeFlags::ENCRYPT | InodeFlags::VERITY) {
        return Err(at().wrong("has inline data, but is encrypted or has verity, for which it needs blocks"));
    }
    let Some(value) = value else {
        return Err(at().wrong("has inline data, but no xattr system.data"));
    };
    let head = &raw.bytes[disk::I_BLOCK..][..disk::I_BLOCK_SIZE];
    Ok(Some([head, value]))
}

/// What an inode with inline data holds.
fn inline_content<'a>(
    source: &Source<'_>,
    number: InodeNr,
    inode: &Inode,
    [head, value]: Parts<'a>,
) -> Result<Stored<'a>> {
    let at = || Location::of(Structure::Inode).inode(number);
    let room = (head.len() + value.len()) as u64;
    let size = inode.size();
    match inode.format() {
        disk::S_IFREG => {
            // After a file was cut, there may be more bytes than it has. mke2fs leaves a file of zeros
            // with fewer: for kernel and e2fsck, what is missing is zeros.
            // (A size that memory can't hold is cut to what there is just as well.)
            let live = usize::try_from(size).unwrap_or(usize::MAX);
            let (head_len, value_len) =
                (live.min(head.len()), live.saturating_sub(head.len()).min(value.len()));
            let parts = [&head[..head_len], &value[..value_len]];
            // It does not have the EXTENTS flag, for kernel and e2fsck a reason to believe no larger size.
            file_size::check_size(source, number, size, file_size::map_limit(source, false))?;
            Ok(Stored::in_inode(Content::Regular(size), parts))
        }
        disk::S_IFDIR | disk::S_IFLNK if size != room => {
            Err(at().value("i_size", size, format!("{room}, the bytes of the inline data")))
        }
        disk::S_IFDIR => Ok(Stored::in_inode(Content::Directory, [head, value])),
        disk::S_IFLNK if head.contains(&0) || value.contains(&0) => {
            // The kernel ends the target there, and debugfs does not.
            Err(at().wrong("is a symlink whose target has a NUL byte").with_remedy(NEW_SYMLINK))
        }
        disk::S_IFLNK => Ok(Stored::in_inode(Content::Symlink, [head, value])),
        _ => Err(at().wrong("has inline data, but is neither file, directory nor symlink")),
    }
}

fn check_directory_size(source: &Source<'_>, number: InodeNr, inode: &Inode, map: &FileMap) -> Result<()> {
    let at = || Location::of(Structure::Inode).inode(number);
    if inode.i_size_high.get() != 0 && !source.features().incompat.contains(Incompat::LARGE_DIR) {
        return Err(at().value(
            "i_size_high",
            inode.i_size_high.get(),
            "0 in a directory without the large_dir feature",
        ));
    }
    let Some(blocks) = map.dense_blocks() else {
        return Err(at().wrong("is a directory with a hole or with unwritten blocks"));
    };
    let bytes = blocks * source.geometry.block_size as u64;
    if blocks == 0 || inode.size() != bytes {
        return Err(at().value(
            "i_size",
            inode.size(),
            format!("{bytes}, the blocks of the directory, which has at least one"),
        ));
    }
    Ok(())
}

fn read_symlink<'a>(
    source: &Source<'a>,
    budget: &Budget,
    raw: &RawInode<'a>,
    inode: &Inode,
) -> Result<Stored<'a>> {
    let number = raw.number;
    let at = || Location::of(Structure::Inode).inode(number);
    let size = inode.size();
    let (target, map) = if size < disk::FAST_SYMLINK_LIMIT {
        if inode.flags().contains(InodeFlags::EXTENTS) {
            return Err(at().wrong("is a symlink of less than 60 bytes with an extent tree"));
        }
        let xattrs = u64::from(inode.file_acl() != 0) * source.geometry.blocks_per_cluster;
        // Where values of xattrs are charged to it, the kernel goes by the length alone.
        let by_length = source.features().incompat.contains(Incompat::EA_INODE);
        if !by_length && sectors(source, inode) != xattrs * (source.geometry.block_size as u64 / 512) {
            return Err(at().wrong(
                "is a symlink of less than 60 bytes in a block, which kernel and e2fsck read differently",
            ));
        }
        let in_place = &raw.bytes[disk::I_BLOCK..][..disk::I_BLOCK_SIZE];
        (in_place, FileMap::default())
    } else {
        let map = file_map::read(source, budget, number, inode)?;
        let [run] = map.runs[..] else { return Err(at().wrong("is a symlink without its one block")) };
        if map.dense_blocks() != Some(1) {
            return Err(at()
                .wrong("is a symlink whose block is not the first, or was never written")
                .with_remedy("make the symlink anew, in a mount"));
        }
        if size >= source.geometry.block_size as u64 {
            return Err(at().value("i_size", size, "a symlink of one block, with room for a NUL"));
        }
        (source.checked_block(run.physical()), map)
    };
    let length = usize::try_from(size).expect("fits: less than 60 bytes, or than a block");
    if inode.flags().contains(InodeFlags::ENCRYPT) {
        // The length of the ciphertext stands before it.
        let stored = le16(target, 0).map_or(0, |length| u64::from(length) + 2);
        if size <= 2 || stored != size {
            return Err(at().value(
                "i_size",
                size,
                format!("{stored}, the length of the encrypted target and 2, and more than 2"),
            ));
        }
        return Ok(Stored { map, ..Stored::in_inode(Content::Symlink, [&target[..length], &[]]) });
    }
    let end = target.iter().position(|byte| *byte == 0).unwrap_or(target.len());
    if length == 0 || end != length {
        // New kernels don't look it up, and e2fsck would clear it.
        return Err(at()
            .value("i_size", size, format!("{end}, the length of the symlink's target, which is not empty"))
            .with_remedy(NEW_SYMLINK));
    }
    Ok(Stored { map, ..Stored::in_inode(Content::Symlink, [&target[..length], &[]]) })
}
