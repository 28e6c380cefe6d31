//! Finding a path of an inode for a message, in an image that may be damaged: what can't be read
//! is passed over.

use std::collections::{HashSet, VecDeque};

use super::file_map::{self, Budget};
use crate::ondisk::dir_entry::{self, DirEntry};
use crate::ondisk::inode::{Inode, S_IFDIR};
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
    let Ok(map) = file_map::read(source, budget, directory, &Inode::decode(bytes)) else { return names };
    for run in map.runs {
        for block in run.physical.0..run.physical.0 + u64::from(run.count) {
            let bytes = source.block(BlockNr(block)).unwrap_or_default();
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
    }
    names
}
