//! Checks encryption policies: each encrypted inode must have a context, and the policy of its directory.

use crate::error::{Location, Result, Structure, shown};
use crate::ondisk::crypt::{Context, XATTR_INDEX, XATTR_NAME};
use crate::ondisk::features::Compat;
use crate::ondisk::inode::InodeFlags;
use crate::source::Source;
use crate::tree::{Kind, Node, NodeId, Tree, Xattr};
use crate::units::InodeNr;

/// Checks the encryption contexts of all nodes. As in e2fsck, compares each node with its directory. `inodes`
/// are the inode numbers of the nodes.
pub(super) fn check(source: &Source<'_>, tree: &Tree, inodes: &[InodeNr]) -> Result<()> {
    let is_context = |xattr: &Xattr| xattr.index == XATTR_INDEX;
    let is_encrypted = |node: &Node| node.flags.contains(InodeFlags::ENCRYPT);
    // Most images have no encrypted inodes.
    if !tree.xattrs.iter().any(is_context) && !tree.nodes.iter().any(is_encrypted) {
        return Ok(());
    }
    let mut any = false;
    for id in tree.ids() {
        let at = || Location::of(Structure::Inode).inode(inodes[id.index()]);
        match (is_encrypted(tree.node(id)), context(tree, id)) {
            (false, None) => continue,
            (false, Some(_)) => return Err(at().wrong("has an encryption context without the ENCRYPT flag")),
            (true, None) => return Err(at().wrong("is encrypted, but has no encryption context")),
            (true, Some(value)) => check_context(source, value, at)?,
        }
        if matches!(id, NodeId::ROOT | NodeId::LOST_FOUND) {
            return Err(at().wrong("is the root directory or lost+found, but is encrypted"));
        }
        any = true;
    }
    if !any {
        return Ok(());
    }
    for id in tree.ids() {
        let Some(policy) = policy(tree, id) else { continue };
        for entry in tree.entries_of(id) {
            // Inodes of other file types can't be encrypted.
            let must = matches!(
                tree.node(entry.node).kind,
                Kind::Directory { .. } | Kind::Regular { .. } | Kind::Symlink(_)
            );
            let found = self::policy(tree, entry.node);
            if found != Some(policy) && (must || found.is_some()) {
                let name = shown(tree.text(entry.name));
                return Err(Location::of(Structure::Directory).inode(inodes[id.index()]).wrong(format!(
                    "is encrypted, but its entry '{name}' (inode {}) is not encrypted by the same policy",
                    inodes[entry.node.index()]
                )));
            }
        }
    }
    Ok(())
}

/// The remedy for unknown versions and flags. e2fsck accepts them, and newer kernels can support them.
const REMOVE: &str =
    "use a newer version of ext4-canon, if there is one, or remove all files that are encrypted in this way";

fn check_context(source: &Source<'_>, value: &[u8], at: impl Fn() -> Location) -> Result<()> {
    let Some(context) = Context::parse(value) else {
        return Err(match value.first() {
            Some(1 | 2) | None => at().wrong("has an encryption context of a wrong length"),
            Some(version) => at().unsupported(format!("an encryption context of version {version}"), REMOVE),
        });
    };
    if !context.is_known() {
        return Err(
            at().unsupported(format!("an encryption policy with the flags {:#04x}", context.flags()), REMOVE)
        );
    }
    if context.is_bound() && !source.features().has(Compat::STABLE_INODES) {
        return Err(at().unsupported(
            "an encryption policy that is bound to inode numbers and UUID (IV_INO_LBLK), \
             which would change without the stable_inodes feature",
            "set it with tune2fs -O stable_inodes",
        ));
    }
    Ok(())
}

fn context(tree: &Tree, id: NodeId) -> Option<&[u8]> {
    let set = tree.xattr_set(tree.node(id).xattrs?);
    let found = set.iter().find(|xattr| xattr.index == XATTR_INDEX && tree.text(xattr.name) == XATTR_NAME)?;
    Some(tree.text(found.value))
}

/// Returns the policy of an encrypted node.
fn policy(tree: &Tree, id: NodeId) -> Option<&[u8]> {
    context(tree, id).and_then(Context::parse).map(|context| context.policy)
}
