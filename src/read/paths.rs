//! Finding a path of an inode for a message, in an image that may be damaged: what can't be read
//! is passed over.

use std::collections::{HashSet, VecDeque};

use super::file_map::{self, Budget};
use super::xattr;
use crate::ondisk::dir_entry::{self, DirEntry};
use crate::ondisk::inode::{I_BLOCK, I_BLOCK_SIZE, Inode, InodeFlags, S_IFDIR};
use crate::ondisk::view;
use crate::source::Source;
use crate::units::{BlockNr, InodeNr};

/// A path of an inode, if one can be found.
pub fn find(source: &Source<'_>, wanted: InodeNr) -> Option<String> {
    if wanted == InodeNr::ROOT {
        return Some("/".to_owned());
    }
    let budget = Budget::new(source);
    let mut seen = HashSet::from([InodeNr::ROOT]);
    let mut waiting = VecDeque::from([(InodeNr::ROOT, String::new())]);
    while let Some((directory, path)) = waiting.pop_front() {
        for (name, inode) in names(source, &budget, directory) {
            let path = || format!("{path}/{}", crate::error::shown(name));
            if inode == wanted {
                return Some(path());
            }
            if is_directory(source, inode) && seen.insert(inode) {
                waiting.push_back((inode, path()));
            }
        }
    }
    None
}

fn is_directory(source: &Source<'_>, inode: InodeNr) -> bool {
    source.inode(inode).is_some_and(|bytes| Inode::decode(bytes).format() == S_IFDIR)
}

fn names<'a>(source: &Source<'a>, budget: &Budget, directory: InodeNr) -> Vec<(&'a [u8], InodeNr)> {
    let mut names = Vec::new();
    let Some(bytes) = source.inode(directory) else { return names };
    let inode = Inode::decode(bytes);
    if inode.flags().contains(InodeFlags::INLINE_DATA) {
        let head = bytes.get(I_BLOCK + dir_entry::INLINE_PARENT_SIZE..I_BLOCK + I_BLOCK_SIZE);
        let body = xattr::in_body(source, directory, &inode, bytes).unwrap_or_default();
        [head, body.inline_data].into_iter().flatten().for_each(|list| names_in(list, &mut names));
        return names;
    }
    let Ok(map) = file_map::read(source, budget, directory, &inode) else { return names };
    for run in map.runs {
        for block in run.physical.0..run.physical.0 + u64::from(run.count) {
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
