//! Finds a path of an inode for an error message about a damaged image. Skips directories that can't be read.

use std::collections::HashSet;

use super::xattr::entries::in_body;
use crate::map::{self, Budget, DecodedInode};
use crate::ondisk::dir_entry::{self, DirEntry};
use crate::ondisk::inode::{I_BLOCK, I_BLOCK_SIZE, Inode, InodeFlags, S_IFDIR};
use crate::ondisk::view;
use crate::source::Source;
use crate::units::{BlockNr, InodeNr};

/// The maximum length of a path in bytes. Longer paths are truncated.
const LONGEST: usize = 4096;

/// Returns a path of an inode, if one can be found.
pub(super) fn find(source: &Source<'_>, wanted: InodeNr) -> Option<String> {
    if wanted == InodeNr::ROOT {
        return Some("/".to_owned());
    }
    let budget = Budget::new(source);
    let mut seen = HashSet::from([InodeNr::ROOT]);
    let mut found = vec![FoundDirectory { directory: InodeNr::ROOT, parent: 0, name: b"" }];
    let mut next = 0;
    while let Some(directory) = found.get(next).map(|found| found.directory) {
        for (name, inode) in names(source, &budget, directory) {
            if inode == wanted {
                return Some(path(&found, next, name));
            }
            if is_directory(source, inode) && seen.insert(inode) {
                found.push(FoundDirectory { directory: inode, parent: next, name });
            }
        }
        next += 1;
    }
    None
}

/// A directory, its name, and the directory in which it was found.
struct FoundDirectory<'a> {
    directory: InodeNr,
    parent: usize,
    name: &'a [u8],
}

/// Returns the path of a name in a directory. Truncates a very long path at its start.
fn path(found: &[FoundDirectory<'_>], mut place: usize, name: &[u8]) -> String {
    let mut names = vec![crate::error::shown(name)];
    let mut length = names[0].len();
    while place != 0 && length < LONGEST {
        let name = crate::error::shown(found[place].name);
        length += 1 + name.len();
        names.push(name);
        place = found[place].parent;
    }
    names.push(if place == 0 { String::new() } else { "…".to_owned() });
    names.reverse();
    names.join("/")
}

fn is_directory(source: &Source<'_>, inode: InodeNr) -> bool {
    source.inode(inode).is_some_and(|bytes| Inode::decode(bytes).format() == S_IFDIR)
}

fn names<'a>(source: &Source<'a>, budget: &Budget, directory: InodeNr) -> Vec<(&'a [u8], InodeNr)> {
    let mut names = Vec::new();
    let Some(bytes) = source.inode(directory) else { return names };
    let inode = DecodedInode::new(directory, bytes);
    if inode.fields.flags().contains(InodeFlags::INLINE_DATA) {
        let head = bytes.get(I_BLOCK + dir_entry::INLINE_PARENT_SIZE..I_BLOCK + I_BLOCK_SIZE);
        let inline_data = in_body(source, &inode, &mut Vec::new()).unwrap_or_default();
        [head, inline_data].into_iter().flatten().for_each(|list| names_in(list, &mut names));
        return names;
    }
    let Ok(map) = map::read(source, budget, &inode) else { return names };
    for run in map.runs {
        for block in run.blocks() {
            names_in(source.block(BlockNr(block)).unwrap_or_default(), &mut names);
        }
    }
    names
}

fn names_in<'a>(bytes: &'a [u8], names: &mut Vec<(&'a [u8], InodeNr)>) {
    let mut offset = 0;
    while let Some(entry) = bytes.get(offset..).and_then(view::<DirEntry>) {
        let start = offset + dir_entry::HEADER_SIZE;
        if let Some(name) = bytes.get(start..start + usize::from(entry.name_len))
            && entry.inode.get() != 0
            && !matches!(name, b"." | b".." | b"")
        {
            names.push((name, InodeNr(entry.inode.get())));
        }
        offset += dir_entry::decode_rec_len(entry.rec_len, bytes.len()).max(4);
    }
}
