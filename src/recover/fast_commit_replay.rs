//! Applies fast-commit records to inodes, maps and directories.
//!
//! The kernel replays records with its usual code for names and maps, without a journal. This code has the
//! same result, with two exceptions. It corrects the link counts of directories: records don't contain these
//! counts, and the kernel leaves them wrong. It deletes removed directories, which the kernel leaves in use
//! without a name.

use std::collections::{BTreeMap, BTreeSet};

use super::directory_names::stored_names;
use crate::error::{Location, Result, shown};
use crate::map::DecodedInode;
use crate::ondisk::extent::{Extent, ExtentHeader, MAGIC, ROOT_MAX};
use crate::ondisk::fast_commit::{
    FastCommitAddRange, FastCommitDelRange, FastCommitDentryInfo, FastCommitInode, Record, TAG_ADD_RANGE,
    TAG_CREAT, TAG_DEL_RANGE, TAG_INODE, TAG_LINK, TAG_UNLINK,
};
use crate::ondisk::features::Incompat;
use crate::ondisk::inode::{self as disk, Inode, InodeFlags};
use crate::ondisk::{dir_entry, le16, view};
use crate::remedy::Remedy;
use crate::source::{FastCommits, RangeEdit, ReplayedInode, Source};
use crate::units::InodeNr;

/// Offsets of fields that records do not overwrite, in bytes.
const I_LINKS_COUNT: usize = 0x1A;
const I_GENERATION: usize = disk::I_BLOCK + disk::I_BLOCK_SIZE;

/// The state of a fast-commit replay.
pub(super) struct FastCommitReplay<'s, 'a> {
    source: &'s Source<'s>,
    outcome: FastCommits<'a>,
    /// The names that the image stores, for each directory that was needed so far.
    stored: BTreeMap<InodeNr, Vec<(&'s [u8], InodeNr)>>,
    /// Inodes that lost their last name.
    deleted: BTreeSet<InodeNr>,
}

/// A function that returns the location of an error.
type Locate<'f> = &'f dyn Fn() -> Location;

impl<'s, 'a> FastCommitReplay<'s, 'a> {
    /// Starts a replay on an image whose log is already replayed.
    pub(super) fn new(source: &'s Source<'s>) -> Self {
        Self { source, outcome: FastCommits::default(), stored: BTreeMap::new(), deleted: BTreeSet::new() }
    }

    /// Applies a record.
    pub(super) fn record(&mut self, record: &Record<'a>, at: impl Fn() -> Location) -> Result<()> {
        let at: Locate<'_> = &at;
        if self.source.features().has(Incompat::INLINE_DATA) {
            // With inline_data, if a directory is new, the kernel's replay leaves a wrong link count in its
            // parent.
            return Err(at().unsupported(
                "live fast commits on a filesystem with inline_data, which kernels replay wrongly",
                Remedy::fsck("run e2fsck -f on the image, and check its repairs"),
            ));
        }
        let cut_short = || at().wrong("has a record that is cut short");
        match record.tag {
            TAG_INODE => {
                let head = view::<FastCommitInode>(record.value).ok_or_else(cut_short)?;
                let fields = record.value.get(size_of::<FastCommitInode>()..).ok_or_else(cut_short)?;
                self.write_inode(InodeNr(head.fc_ino.get()), fields, at)
            }
            TAG_ADD_RANGE => {
                let range = view::<FastCommitAddRange>(record.value).ok_or_else(cut_short)?;
                self.add_range(InodeNr(range.fc_ino.get()), range.fc_ex, at)
            }
            TAG_DEL_RANGE => {
                let range = view::<FastCommitDelRange>(record.value).ok_or_else(cut_short)?;
                let (logical, count) = (range.fc_lblk.get(), range.fc_len.get());
                let edit = RangeEdit { logical, count, mapped: None };
                self.edit(InodeNr(range.fc_ino.get()), edit, at)
            }
            TAG_CREAT | TAG_LINK | TAG_UNLINK => {
                let head = view::<FastCommitDentryInfo>(record.value).ok_or_else(cut_short)?;
                let name = record.value.get(size_of::<FastCommitDentryInfo>()..).ok_or_else(cut_short)?;
                let entry = NameRecord {
                    parent: InodeNr(head.fc_parent_ino.get()),
                    inode: InodeNr(head.fc_ino.get()),
                    name,
                };
                if name.iter().any(|byte| matches!(byte, 0 | b'/')) || matches!(name, b"." | b"..") {
                    return Err(at().wrong(format!("has a record for the name '{}'", shown(name))));
                }
                match record.tag {
                    TAG_CREAT => self.create(entry, at),
                    TAG_LINK => self.link(entry, at),
                    _ => self.unlink(entry, at),
                }
            }
            _ => Ok(()),
        }
    }

    /// Recomputes the checksums of all changed inodes, and returns the outcome.
    pub(super) fn finish(mut self) -> Result<FastCommits<'a>> {
        for (number, inode) in &mut self.outcome.inodes {
            seal(self.source, *number, &mut inode.bytes);
        }
        Ok(self.outcome)
    }

    /// Returns the current bytes of an inode, whether it is in use or not.
    fn bytes(&self, number: InodeNr) -> Option<&[u8]> {
        match self.outcome.inodes.get(&number) {
            Some(inode) => Some(&inode.bytes),
            None => self.source.inode(number),
        }
    }

    /// Returns the fields of an inode if it has links, and is the root or not reserved; otherwise `None`. Range,
    /// LINK and UNLINK records of an inode without links are ignored.
    fn live(&self, number: InodeNr) -> Result<Option<Inode>> {
        if number < self.source.geometry.first_inode && number != InodeNr::ROOT {
            return Ok(None);
        }
        let Some(bytes) = self.bytes(number) else { return Ok(None) };
        let inode = DecodedInode::new(number, bytes);
        if inode.fields.i_links_count.get() == 0 {
            return Ok(None);
        }
        if !self.outcome.inodes.contains_key(&number) {
            inode.check_checksum(self.source)?;
        }
        Ok(Some(inode.fields))
    }

    /// Returns an inode for modification.
    fn change(&mut self, number: InodeNr, at: Locate<'_>) -> Result<&mut ReplayedInode> {
        let slot = self.source.inode_slot(number);
        let slot =
            slot.ok_or_else(|| at().value("the inode of a record", number.0, "an inode of the filesystem"))?;
        let inode = self.outcome.inodes.entry(number);
        Ok(inode.or_insert_with(|| ReplayedInode { bytes: slot.to_vec(), edits: Vec::new() }))
    }

    fn write_inode(&mut self, number: InodeNr, fields: &[u8], at: Locate<'_>) -> Result<()> {
        let special = self.source.special_inodes().contains(&number);
        if special || (number < self.source.geometry.first_inode && number != InodeNr::ROOT) {
            return Err(at().value("the inode of a record", number.0, "an inode that is not reserved"));
        }
        let bytes = &mut self.change(number, at)?.bytes;
        // Records contain as many bytes as `i_extra_isize` covers. Xattrs after these bytes are unchanged.
        bytes[..disk::I_BLOCK].copy_from_slice(&fields[..disk::I_BLOCK]);
        bytes[I_GENERATION..fields.len()].copy_from_slice(&fields[I_GENERATION..]);
        let (stored, meant) = (&mut bytes[disk::I_BLOCK..I_GENERATION], &fields[disk::I_BLOCK..I_GENERATION]);
        let flags = Inode::decode(fields).flags();
        if flags.contains(InodeFlags::EXTENTS) {
            if le16(stored, 0) != Some(MAGIC) {
                stored.copy_from_slice(&empty_map());
            }
        } else if flags.contains(InodeFlags::INLINE_DATA) {
            stored.copy_from_slice(meant);
        } else if stored != meant && Inode::decode(fields).i_links_count.get() > 0 {
            return Err(at().wrong(format!(
                "has a record of inode {number} with a different i_block, which kernels do not replay"
            )));
        }
        Ok(())
    }

    fn add_range(&mut self, number: InodeNr, extent: Extent, at: Locate<'_>) -> Result<()> {
        let (count, unwritten) = extent.len();
        let start = extent.start();
        if count == 0 || !self.source.has_blocks(start, count.into()) {
            return Err(at().value(
                "the start of a range",
                start.0,
                format!("{count} blocks of the filesystem"),
            ));
        }
        let edit = RangeEdit { logical: extent.ee_block.get(), count, mapped: Some((start, unwritten)) };
        self.edit(number, edit, at)
    }

    fn edit(&mut self, number: InodeNr, edit: RangeEdit, at: Locate<'_>) -> Result<()> {
        let Some(inode) = self.live(number)? else { return Ok(()) };
        if !inode.flags().contains(InodeFlags::EXTENTS) {
            return Err(at().wrong(format!("has a range for inode {number}, which has no extent tree")));
        }
        if u64::from(edit.logical) + u64::from(edit.count) > u32::MAX.into() {
            return Err(at().value(
                "the end of a range",
                edit.logical,
                format!("{} blocks below 2^32", edit.count),
            ));
        }
        self.change(number, at)?.edits.push(edit);
        Ok(())
    }

    /// Returns the inode number of a name in a directory.
    fn find(&mut self, parent: InodeNr, name: &'a [u8]) -> Result<Option<InodeNr>> {
        if let Some(directory) = self.outcome.directories.get(&parent) {
            if let Some(found) = directory.names.get(name) {
                return Ok(found.map(|(inode, _)| inode));
            }
            if directory.made_in.is_some() {
                return Ok(None);
            }
        }
        let names = self.stored_names(parent)?;
        Ok(names.binary_search_by(|(stored, _)| (*stored).cmp(name)).ok().map(|found| names[found].1))
    }

    fn stored_names(&mut self, parent: InodeNr) -> Result<&[(&'s [u8], InodeNr)]> {
        if !self.stored.contains_key(&parent) {
            let names = stored_names(self.source, parent)?;
            self.stored.insert(parent, names);
        }
        Ok(self.stored.get(&parent).map_or(&[], Vec::as_slice))
    }

    /// Returns whether the directory of an entry is in use.
    fn has_parent(&self, entry: NameRecord<'a>, at: Locate<'_>) -> Result<bool> {
        let Some(parent) = self.live(entry.parent)? else { return Ok(false) };
        let wrong = |what: &str| {
            let name = shown(entry.name);
            Err(at().wrong(format!("has a record for '{name}' in inode {}, which is {what}", entry.parent)))
        };
        if parent.format() != disk::S_IFDIR {
            return wrong("not a directory");
        }
        if parent.flags().intersects(InodeFlags::CASEFOLD | InodeFlags::ENCRYPT) {
            return wrong(
                "a casefolded or encrypted directory: mount it read-write with a kernel that knows fast commits",
            );
        }
        Ok(true)
    }

    fn name(&mut self, entry: NameRecord<'a>, inode: Option<&Inode>) {
        let typed = self.source.features().has(Incompat::FILETYPE);
        let file_type = |inode: &Inode| if typed { dir_entry::file_type(inode.i_mode.get()) } else { 0 };
        let names = &mut self.outcome.directories.entry(entry.parent).or_default().names;
        names.insert(entry.name, inode.map(|inode| (entry.inode, file_type(inode))));
    }

    /// Adds a name. Returns whether the name is new.
    fn add_name(&mut self, entry: NameRecord<'a>, inode: &Inode, at: Locate<'_>) -> Result<bool> {
        match self.find(entry.parent, entry.name)? {
            None => {
                self.name(entry, Some(inode));
                Ok(true)
            }
            Some(found) if found == entry.inode => Ok(false),
            Some(found) => Err(at().wrong(format!(
                "gives the name '{}' to inode {}, but inode {found} already has it: kernel and e2fsck replay \
                 this differently",
                shown(entry.name),
                entry.inode
            ))),
        }
    }

    fn create(&mut self, entry: NameRecord<'a>, at: Locate<'_>) -> Result<()> {
        let (inode, parent) = (self.live(entry.inode)?, self.has_parent(entry, at)?);
        let Some(inode) = inode.filter(|_| parent) else {
            return Err(at().wrong(format!(
                "creates inode {} in directory {}, but one of them is not in use",
                entry.inode, entry.parent
            )));
        };
        if inode.format() == disk::S_IFDIR {
            self.make_directory(entry, at)?;
        }
        self.add_name(entry, &inode, at)?;
        if inode.format() != disk::S_IFDIR {
            self.set_links(entry.inode, 1, at)?;
        }
        Ok(())
    }

    fn make_directory(&mut self, entry: NameRecord<'a>, at: Locate<'_>) -> Result<()> {
        let was = self.source.inode(entry.inode).map(Inode::decode);
        let fresh = self.deleted.remove(&entry.inode) || was.is_none_or(|was| was.i_links_count.get() == 0);
        if !fresh {
            return Err(at().wrong(format!("creates directory {}, which already exists", entry.inode)));
        }
        let made = self.outcome.directories.entry(entry.inode).or_default();
        made.names.clear();
        (made.made_in, made.relinked) = (Some(entry.parent), true);
        self.outcome.directories.entry(entry.parent).or_default().relinked = true;
        Ok(())
    }

    fn link(&mut self, entry: NameRecord<'a>, at: Locate<'_>) -> Result<()> {
        let Some(inode) = self.live(entry.inode)? else { return Ok(()) };
        if !self.has_parent(entry, at)? {
            return Ok(());
        }
        if inode.format() == disk::S_IFDIR {
            return Err(at().wrong(format!("gives directory {} a second name", entry.inode)));
        }
        if self.add_name(entry, &inode, at)? {
            self.set_links(entry.inode, inode.i_links_count.get().saturating_add(1), at)?;
        }
        Ok(())
    }

    fn unlink(&mut self, entry: NameRecord<'a>, at: Locate<'_>) -> Result<()> {
        let Some(inode) = self.live(entry.inode)? else { return Ok(()) };
        if !self.has_parent(entry, at)? {
            return Ok(());
        }
        let Some(found) = self.find(entry.parent, entry.name)? else { return Ok(()) };
        if found == entry.inode {
            self.name(entry, None);
        }
        if inode.format() == disk::S_IFDIR && found == entry.inode {
            return self.remove_directory(entry, at);
        }
        let links = inode.i_links_count.get() - 1;
        self.set_links(entry.inode, links, at)?;
        if links == 0 {
            self.delete(entry.inode, at)?;
        }
        Ok(())
    }

    /// Deletes a removed directory, which must be empty. Kernels leave the directory in use without a name.
    fn remove_directory(&mut self, entry: NameRecord<'a>, at: Locate<'_>) -> Result<()> {
        let made = self.outcome.directories.get(&entry.inode);
        let names = made.map(|directory| directory.names.clone()).unwrap_or_default();
        let stored = match made {
            Some(directory) if directory.made_in.is_some() => &[][..],
            _ => self.stored_names(entry.inode)?,
        };
        let gone = |name: &[u8]| matches!(names.get(name), Some(None));
        if names.values().any(Option::is_some) || stored.iter().any(|(name, _)| !gone(name)) {
            return Err(at().wrong(format!("removes the directory {}, which is not empty", entry.inode)));
        }
        self.outcome.directories.entry(entry.parent).or_default().relinked = true;
        self.outcome.directories.entry(entry.inode).or_default().relinked = true;
        self.delete(entry.inode, at)
    }

    fn set_links(&mut self, number: InodeNr, links: u16, at: Locate<'_>) -> Result<()> {
        let bytes = &mut self.change(number, at)?.bytes;
        bytes[I_LINKS_COUNT..I_LINKS_COUNT + 2].copy_from_slice(&links.to_le_bytes());
        Ok(())
    }

    /// Deletes an inode that has no names left, as the kernel does: keeps its fields, but removes its blocks.
    fn delete(&mut self, number: InodeNr, at: Locate<'_>) -> Result<()> {
        self.set_links(number, 0, at)?;
        self.deleted.insert(number);
        let inode = self.change(number, at)?;
        inode.edits.clear();
        if Inode::decode(&inode.bytes).flags().contains(InodeFlags::EXTENTS) {
            inode.bytes[disk::I_BLOCK..I_GENERATION].copy_from_slice(&empty_map());
        }
        Ok(())
    }
}

/// A fast-commit record about a name in a directory.
#[derive(Clone, Copy)]
struct NameRecord<'a> {
    parent: InodeNr,
    inode: InodeNr,
    name: &'a [u8],
}

/// Returns `i_block` for an extent tree without entries.
fn empty_map() -> [u8; disk::I_BLOCK_SIZE] {
    use zerocopy::IntoBytes as _;
    let mut map = [0; disk::I_BLOCK_SIZE];
    let header = ExtentHeader::new(0, ROOT_MAX, 0);
    map[..size_of::<ExtentHeader>()].copy_from_slice(header.as_bytes());
    map
}

/// Updates the checksum of an inode.
fn seal(source: &Source<'_>, number: InodeNr, bytes: &mut [u8]) {
    let inode = Inode::decode(bytes);
    let with_high = inode.i_extra_isize.get() >= disk::EXTRA_WITH_CHECKSUM;
    let sum = source.checksums.inode(number, inode.i_generation.get(), bytes, with_high);
    let Some([a, b, c, d]) = sum.map(u32::to_le_bytes) else { return };
    bytes[disk::CHECKSUM_LO..disk::CHECKSUM_LO + 2].copy_from_slice(&[a, b]);
    if with_high {
        bytes[disk::CHECKSUM_HI..disk::CHECKSUM_HI + 2].copy_from_slice(&[c, d]);
    }
}
