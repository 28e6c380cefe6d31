//! Lists the paths of a tree with their attributes.

use crate::attribute_text;
use crate::error::Result;
use crate::observe::Observer;
use crate::ondisk::xattr::full_name;
use crate::text::escaped_text;
use crate::tree::{Kind, Node, Tree};
use crate::tree_digest::{self, Item, Start};
use crate::view::View;

/// The first line of a listing in the format of mtree(5).
pub const MTREE_HEAD: &str = tree_digest::HEAD;

/// A path of a tree, with the attributes of its inode.
#[derive(Clone, Copy, Debug)]
pub struct ListedPath<'t> {
    tree: &'t Tree,
    item: Item<'t>,
}

/// An xattr of a listed path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedXattr<'t> {
    /// The full name, escaped.
    pub name: String,
    /// The value.
    pub value: &'t [u8],
    /// The value in readable form: an ACL in its short text form, printable text in quotes, any other value
    /// in hexadecimal digits. Long values that are not ACLs are truncated.
    pub text: String,
}

/// Calls `visit` with the path `start` and each path below it.
pub(crate) fn list(
    view: View<'_, '_>,
    start: Start<'_>,
    digests: bool,
    observer: &dyn Observer,
    mut visit: impl FnMut(&ListedPath<'_>),
) -> Result<()> {
    let digests = digests.then(|| tree_digest::file_digests(view, start, observer)).transpose()?;
    tree_digest::visit(view.tree, start, digests.as_deref(), |item| {
        visit(&ListedPath { tree: view.tree, item });
        Ok(())
    })
}

/// Returns a path, escaped, without its leading dot. Returns "(boot loader)" for an empty path.
fn shown(path: &[u8]) -> String {
    match path.get(1..) {
        None => "(boot loader)".to_owned(),
        Some(b"") => "/".to_owned(),
        Some(rest) => escaped_text(rest),
    }
}

impl<'t> ListedPath<'t> {
    fn node(&self) -> &'t Node {
        self.tree.node(self.item.id)
    }

    /// Returns the absolute path, escaped; "(boot loader)" for the file in the boot-loader inode, which has
    /// no name.
    pub fn path(&self) -> String {
        shown(self.item.path)
    }

    /// Returns the first listed path of the same inode; `None` if this is the first path.
    pub fn hard_link(&self) -> Option<String> {
        self.item.hardlink.map(shown)
    }

    /// Returns the name of the file type.
    pub fn type_name(&self) -> &'static str {
        attribute_text::type_of(self.node())
    }

    /// Returns the permission bits.
    pub fn mode(&self) -> u16 {
        attribute_text::permissions(self.node())
    }

    /// Returns the user id.
    pub fn uid(&self) -> u32 {
        self.node().uid
    }

    /// Returns the group id.
    pub fn gid(&self) -> u32 {
        self.node().gid
    }

    /// Returns the project id.
    pub fn project(&self) -> u32 {
        self.node().project
    }

    /// Returns the names of the inode's flags, joined by commas; "none" if there are none.
    pub fn flags(&self) -> String {
        attribute_text::flags(self.node().flags)
    }

    /// Returns the mtime, in seconds since 1970 with nine decimal places.
    pub fn mtime(&self) -> String {
        attribute_text::time(self.node().mtime)
    }

    /// Returns the size of a regular file in bytes.
    pub fn size(&self) -> Option<u64> {
        match self.node().kind {
            Kind::Regular { size, .. } => Some(size),
            _ => None,
        }
    }

    /// Returns the digest of a regular file, if digests were requested; docs/tree-digest.md specifies it.
    pub fn content_digest(&self) -> Option<[u8; 32]> {
        self.item.digest.map(|digest| digest.bytes)
    }

    /// Returns the target of a symlink, escaped.
    pub fn target(&self) -> Option<String> {
        match self.node().kind {
            Kind::Symlink(target) => Some(escaped_text(self.tree.text(target))),
            _ => None,
        }
    }

    /// Returns the major and the minor number of a device.
    pub fn device(&self) -> Option<(u32, u32)> {
        match self.node().kind {
            Kind::Device { major, minor } => Some((major, minor)),
            _ => None,
        }
    }

    /// Returns the xattrs, in canonical order.
    pub fn xattrs(&self) -> Vec<ListedXattr<'t>> {
        let set = self.node().xattrs.map(|set| self.tree.xattr_set(set)).unwrap_or_default();
        let listed = set.iter().map(|xattr| {
            let value = self.tree.text(xattr.value);
            let name = full_name(xattr.index, self.tree.text(xattr.name));
            ListedXattr { name, value, text: attribute_text::xattr_value(xattr.index, value) }
        });
        listed.collect()
    }

    /// Returns the line of the path in the format of mtree(5). The digest of the tree covers these lines.
    pub fn mtree_line(&self) -> String {
        tree_digest::line(self.tree, &self.item)
    }
}
