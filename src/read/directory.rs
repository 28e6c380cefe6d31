//! Reads the entries of a directory, applies the changes of fast commits, and checks casefolded names.

use super::inode::InodeReader;
use super::inodes::Inodes;
use crate::error::{Location, Result, Structure, shown};
use crate::map::directory::{DirectoryInode, RawEntry, read_in_order, read_sorted};
use crate::map::{Budget, RawInode};
use crate::ondisk::inode::InodeFlags;
use crate::ondisk::{casefold, superblock};
use crate::source::Source;
use crate::units::InodeNr;

/// A directory of the tree, and its entries.
#[derive(Debug)]
pub(super) struct ReadDirectory<'a> {
    /// The inode number of the directory.
    pub number: InodeNr,
    /// The inode number in `..`.
    pub parent: InodeNr,
    /// The entries except `.` and `..`, in byte order of their names. The names are distinct.
    pub entries: Vec<RawEntry<'a>>,
}

/// The names of a directory, as stored in the image.
#[derive(Debug)]
pub(crate) struct StoredDirectory<'a> {
    /// The names except `.` and `..`, in the order in which they are stored.
    pub names: Vec<&'a [u8]>,
    /// The number of entries that are deleted, or that are followed by bytes of deleted names.
    pub stale: u64,
}

/// Reads a directory as stored in the image, without the changes of fast commits.
///
/// # Errors
///
/// `Corrupt` or `Unsupported`, as in [`super::read`].
pub(crate) fn stored<'a>(source: &Source<'a>, number: InodeNr) -> Result<StoredDirectory<'a>> {
    let at = || Location::of(Structure::Directory).inode(number);
    let bytes = source.inode(number).ok_or_else(|| at().wrong("is not in use"))?;
    let budget = Budget::new(source);
    let mut reader = InodeReader::new(source, &budget, Inodes::default());
    reader.read(&RawInode { number, bytes }, false)?;
    if !reader.inodes.list[0].is_directory() {
        return Err(at().wrong("is not a directory"));
    }
    let entries = read_in_order(source, reader.inodes.directory(0))?;
    let names = entries.list.iter().map(|entry| entry.name).collect();
    Ok(StoredDirectory { names, stale: entries.stale })
}

/// Reads a directory, and checks its casefolded names.
pub(super) fn read<'a>(source: &Source<'a>, directory: DirectoryInode<'_, 'a>) -> Result<ReadDirectory<'a>> {
    let read = read_replayed(source, directory)?;
    if directory.flags & InodeFlags::HASHED_NAMES == InodeFlags::CASEFOLD {
        check_folded(source, directory.number, &read.entries)?;
    }
    Ok(read)
}

/// Reads a directory, with the changes of fast commits.
fn read_replayed<'a>(source: &Source<'a>, directory: DirectoryInode<'_, 'a>) -> Result<ReadDirectory<'a>> {
    let number = directory.number;
    let Some(replayed) = source.fast_commits().directories.get(&number) else {
        let entries = read_sorted(source, directory)?;
        return Ok(ReadDirectory { number, parent: entries.parent, entries: entries.list });
    };
    let (parent, mut entries) = match replayed.made_in {
        Some(parent) => (parent, Vec::new()),
        None => {
            let stored = read_sorted(source, directory)?;
            (stored.parent, stored.list)
        }
    };
    entries.retain(|entry| !replayed.names.contains_key(entry.name));
    let given = replayed.names.iter().filter_map(|(name, target)| Some((*name, (*target)?)));
    // Entries with stored hashes never get here: fast commits for their directories are refused.
    entries.extend(given.map(|(name, (inode, file_type))| RawEntry {
        name,
        inode,
        file_type,
        hashes: [0; 2],
    }));
    entries.sort_unstable_by_key(|entry| entry.name);
    Ok(ReadDirectory { number, parent, entries })
}

/// Checks that the names of a casefolded directory differ after folding. In strict mode, also checks that all
/// names can be folded.
fn check_folded(source: &Source<'_>, number: InodeNr, entries: &[RawEntry<'_>]) -> Result<()> {
    let at = || Location::of(Structure::Directory).inode(number);
    let strict = source.superblock.s_encoding_flags.get() & superblock::ENCODING_STRICT != 0;
    let mut folded = Vec::with_capacity(entries.len());
    for entry in entries {
        match casefold::fold(entry.name) {
            Some(name) => folded.push((name, entry.name)),
            None if strict => {
                return Err(at().wrong(format!(
                    "has the name '{}', which is not UTF-8 of Unicode 12.1, in strict mode",
                    shown(entry.name)
                )));
            }
            None => folded.push((entry.name.to_vec(), entry.name)),
        }
    }
    folded.sort_unstable();
    match folded.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(at().wrong(format!(
            "ignores case, but has the two names '{}' and '{}'",
            shown(pair[0].1),
            shown(pair[1].1)
        ))),
        None => Ok(()),
    }
}
