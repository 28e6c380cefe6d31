//! Formats a tree as text with one line for each path, and computes the digest of that text. The digest does
//! not depend on the layout of the filesystem. `docs/tree-digest.md` is the specification.

use std::collections::HashMap;
use std::fmt::Write as _;

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::attribute_text;
use crate::bytes::is_zero;
use crate::content::FileContent;
use crate::error::{Location, Result, Structure};
use crate::observe::{Observer, Stage};
use crate::ondisk::acl;
use crate::ondisk::inode::{S_IFCHR, S_IFIFO, S_IFMT, Timestamp};
use crate::ondisk::xattr::{self, INDEX_ACL_ACCESS, INDEX_ACL_DEFAULT};
use crate::policy::HolePolicy;
use crate::survey;
use crate::text;
use crate::tree::{Entry, Kind, Node, NodeId, Tree, Xattr};
use crate::units::fits;
use crate::view::View;

/// The first line of the text.
pub(crate) const HEAD: &str = "#mtree\n";

/// The maximum length of a path, which is `PATH_MAX` in Linux.
const PATH_MAX: usize = 4096;

/// Bytes in a segment: a multiple of every block size.
const SEGMENT: usize = 1 << 16;

/// The digests of a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileDigest {
    /// The digest of the bytes up to the file size.
    pub bytes: [u8; 32],
    /// The digest of the opaque blocks of an encrypted file or a verity file.
    pub opaque: Option<[u8; 32]>,
}

/// A path of a tree, with its node and the digests of its content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'t> {
    /// The path, which starts with a dot; empty for the boot loader, which has no name.
    pub path: &'t [u8],
    /// The node.
    pub id: NodeId,
    /// The first visited path of the same node; `None` if this is the first path.
    pub hardlink: Option<&'t [u8]>,
    /// The digests of a regular file, if they were requested.
    pub digest: Option<FileDigest>,
}

/// The path and the node at which a visit of a tree starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'p> {
    /// The path, which starts with a dot.
    pub path: &'p [u8],
    /// The node.
    pub id: NodeId,
}

impl Start<'static> {
    /// The start of a visit of the whole tree.
    pub(crate) const ROOT: Self = Self { path: b".", id: NodeId::ROOT };
}

/// Calls `visit` with the path `start` and all paths below it. Each directory comes before its entries, and
/// names are in byte order. A visit of the root ends with the boot loader.
///
/// # Errors
///
/// `Unsupported` for a path with more than 4096 bytes, and the errors of `visit`.
pub(crate) fn visit<'t>(
    tree: &'t Tree,
    start: Start<'_>,
    digests: Option<&[Option<FileDigest>]>,
    mut visit: impl FnMut(Item<'_>) -> Result<()>,
) -> Result<()> {
    let digest = |id: NodeId| digests.and_then(|digests| digests[id.index()]);
    let mut firsts: HashMap<NodeId, Vec<u8>> = HashMap::new();
    let mut path = start.path.to_vec();
    let mut stack: Vec<(usize, &'t [Entry])> = vec![(path.len(), tree.entries_of(start.id))];
    visit(Item { path: &path, id: start.id, hardlink: None, digest: digest(start.id) })?;
    while let Some((length, entries)) = stack.last_mut() {
        path.truncate(*length);
        let Some((entry, rest)) = entries.split_first() else {
            stack.pop();
            continue;
        };
        *entries = rest;
        path.push(b'/');
        path.extend_from_slice(tree.text(entry.name));
        if path.len() > PATH_MAX {
            return Err(Location::of(Structure::Image).unsupported(
                format!("a path with more than {PATH_MAX} bytes"),
                "use compare, which accepts such a tree, too",
            ));
        }
        let (id, node) = (entry.node, tree.node(entry.node));
        let first = firsts.get(&id).map(Vec::as_slice);
        visit(Item { path: &path, id, hardlink: first, digest: digest(id) })?;
        if node.kind.is_directory() {
            stack.push((path.len(), tree.entries_of(id)));
        } else if node.links > 1 {
            firsts.entry(id).or_insert_with(|| path.clone());
        }
    }
    match tree.boot_loader.filter(|_| start.id == NodeId::ROOT) {
        Some(id) => visit(Item { path: b"", id, hardlink: None, digest: digest(id) }),
        None => Ok(()),
    }
}

/// Returns the digests of the regular files that a visit from `start` finds, by node.
///
/// # Errors
///
/// The errors of [`visit`].
pub(crate) fn file_digests(
    view: View<'_, '_>,
    start: Start<'_>,
    observer: &dyn Observer,
) -> Result<Vec<Option<FileDigest>>> {
    let tree = view.tree;
    let mut wanted = vec![false; tree.nodes.len()];
    visit(tree, start, None, |item| {
        wanted[item.id.index()] = true;
        Ok(())
    })?;
    let blocks_of = |id: NodeId| tree.runs_of(id).iter().map(|run| u64::from(run.count)).sum::<u64>();
    observer.begin(Stage::Survey, tree.ids().filter(|id| wanted[id.index()]).map(blocks_of).sum());
    let ids: Vec<_> = tree.ids().collect();
    let digest = |id: &NodeId| {
        let file = FileContent::of(view, *id).filter(|_| wanted[id.index()])?;
        let opaque = file.opaque_from.map(|from| opaque_digest(view, *id, from));
        observer.advance(blocks_of(*id));
        Some(FileDigest { bytes: digest_of(&file), opaque })
    };
    Ok(ids.par_iter().with_min_len(8).map(digest).collect())
}

/// Returns the digest of a file up to its size: the SHA-256 over the number and the SHA-256 of each segment
/// that is not zero. Large holes take no time, because their segments are zero.
pub(crate) fn digest_of(file: &FileContent<'_, '_>) -> [u8; 32] {
    let (mut hash, mut next) = (Sha256::new(), 0);
    let mut buffer = vec![0_u8; SEGMENT];
    let size = SEGMENT as u64;
    for range in file.stored_ranges() {
        let last = range.end.min(file.size).div_ceil(size);
        for number in (range.start / size).max(next)..last {
            let (start, end) = (number * size, (number * size).saturating_add(size).min(file.size));
            let segment = &mut buffer[..fits(end - start, "it is at most a segment")];
            segment.fill(0);
            for (offset, bytes) in file.pieces(start..end) {
                let at: usize = fits(offset - start, "pieces begin within the segment");
                let room = &mut segment[at..];
                let length = room.len().min(bytes.len());
                room[..length].copy_from_slice(&bytes[..length]);
            }
            if !is_zero(segment) {
                hash.update(number.to_le_bytes());
                hash.update(Sha256::digest(segment));
            }
        }
        next = next.max(last);
    }
    hash.finalize().into()
}

/// Returns the SHA-256 of the blocks of a file, starting with the logical block `from`. It covers the offset,
/// the length and the state of each run, and the bytes of each written run.
fn opaque_digest(view: View<'_, '_>, id: NodeId, from: u64) -> [u8; 32] {
    let View { source, tree } = view;
    let size = source.geometry.block_bytes();
    let mut hash = Sha256::new();
    let runs = survey::allocation(view, &source.geometry, HolePolicy::Punch, id);
    for (logical, count, state) in runs.expect("the allocation of a file with opaque blocks matters") {
        let (start, end) = (u64::from(logical).max(from), u64::from(logical) + u64::from(count));
        if start >= end {
            continue;
        }
        hash.update((start * size).to_le_bytes());
        hash.update(((end - start) * size).to_le_bytes());
        hash.update([state]);
        let runs = tree.runs_of(id);
        let runs = &runs[runs.partition_point(|run| run.end() <= start)..];
        for run in runs.iter().take_while(|run| state == 0 && u64::from(run.logical) < end) {
            let first = u64::from(run.logical);
            for block in start.max(first)..end.min(run.end()) {
                let bytes = source.block(run.physical() + (block - first));
                hash.update(bytes.expect("the reader checked that the run is in the image"));
            }
        }
    }
    hash.finalize().into()
}

/// Returns the line of a path in the format of mtree(5).
pub(crate) fn line(tree: &Tree, item: &Item<'_>) -> String {
    let node = tree.node(item.id);
    let path = if item.path.is_empty() { "#boot-loader".to_owned() } else { escaped(item.path) };
    let mut line = format!("{path} type={}", type_of(node));
    if let Some(first) = item.hardlink {
        return line + " hardlink=" + &escaped(first) + "\n";
    }
    let mut add = |name: &str, value: String| {
        line.push(' ');
        line.push_str(name);
        line.push('=');
        line.push_str(&value);
    };
    add("mode", attribute_text::mode(node));
    add("uid", node.uid.to_string());
    add("gid", node.gid.to_string());
    let Timestamp { seconds, nanoseconds } = node.mtime;
    add("time", format!("{seconds}.{nanoseconds:09}"));
    match node.kind {
        Kind::Regular { size, .. } => add("size", size.to_string()),
        Kind::Symlink(target) => add("link", escaped(tree.text(target))),
        Kind::Device { major, minor } => add("device", format!("linux,{major},{minor}")),
        Kind::Directory { .. } | Kind::Empty => {}
    }
    if let Some(FileDigest { bytes, opaque }) = item.digest {
        add("content", text::hexadecimal(&bytes));
        if let Some(opaque) = opaque {
            add("opaque", text::hexadecimal(&opaque));
        }
    }
    if node.project != 0 {
        add("project", node.project.to_string());
    }
    if !node.flags.is_empty() {
        add("flags", attribute_text::flags(node.flags));
    }
    for (name, value) in xattrs(tree, node) {
        add(&format!("xattr.{}", escaped(&name)), text::hexadecimal(&value));
    }
    line + "\n"
}

/// Returns the full names and the values of a node's xattrs, as getxattr(2) returns them, sorted by name.
fn xattrs(tree: &Tree, node: &Node) -> Vec<(Vec<u8>, Vec<u8>)> {
    let set = node.xattrs.map(|set| tree.xattr_set(set)).unwrap_or_default();
    let called = |xattr: &Xattr| {
        let (name, value) = (tree.text(xattr.name), tree.text(xattr.value));
        let is_acl = matches!(xattr.index, INDEX_ACL_ACCESS | INDEX_ACL_DEFAULT);
        let value = acl::system_call_form(value).filter(|_| is_acl).unwrap_or_else(|| value.to_vec());
        ([xattr::prefix(xattr.index).as_bytes(), name].concat(), value)
    };
    let mut xattrs: Vec<_> = set.iter().map(called).collect();
    xattrs.sort();
    xattrs
}

/// Returns the SHA-256 of the first line and the lines of all paths, including the digests of files.
///
/// # Errors
///
/// The errors of [`visit`].
pub(crate) fn tree_digest(view: View<'_, '_>, observer: &dyn Observer) -> Result<[u8; 32]> {
    let digests = file_digests(view, Start::ROOT, observer)?;
    let mut hash = Sha256::new_with_prefix(HEAD);
    visit(view.tree, Start::ROOT, Some(&digests), |item| {
        hash.update(line(view.tree, &item));
        Ok(())
    })?;
    Ok(hash.finalize().into())
}

/// Returns the keyword of mtree(5) for the file type.
pub(crate) fn type_of(node: &Node) -> &'static str {
    let format = node.mode & S_IFMT;
    match node.kind {
        Kind::Directory { .. } => "dir",
        Kind::Regular { .. } => "file",
        Kind::Symlink(_) => "link",
        Kind::Device { .. } if format == S_IFCHR => "char",
        Kind::Device { .. } => "block",
        Kind::Empty if format == S_IFIFO => "fifo",
        Kind::Empty => "socket",
    }
}

/// Escapes bytes as mtree(5) does: a backslash and three octal digits for backslashes, number signs, equals
/// signs, and bytes that are not printable ASCII.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if matches!(byte, b'!'..=b'~') && !matches!(byte, b'\\' | b'#' | b'=') {
            text.push(char::from(*byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(text, "\\{byte:03o}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_hold_anything() {
        assert_eq!(escaped(b"./a b\\c#=\xff\n~"), "./a\\040b\\134c\\043\\075\\377\\012~");
    }
}
