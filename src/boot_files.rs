//! Finds the files of a tree that a boot reads, and that can name filesystems, partitions and disks.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;

use crate::error::shown;
use crate::ondisk::inode::InodeFlags;
use crate::tree::{Kind, NodeId, Tree};

/// Files whose identities can be rewritten. `*` matches every name in a directory.
const FILES: &[&str] = &[
    "boot/armbianEnv.txt",
    "boot/cmdline.txt",
    "boot/efi/EFI/BOOT/grub.cfg",
    "boot/efi/loader/entries/*",
    "boot/efi/loader/loader.conf",
    "boot/extlinux/extlinux.conf",
    "boot/extlinux/linux.cfg",
    "boot/firmware/cmdline.txt",
    "boot/grub/*/load.cfg",
    "boot/grub/custom.cfg",
    "boot/grub/device.map",
    "boot/grub/grub.cfg",
    "boot/grub/grubenv",
    "boot/grub/menu.lst",
    "boot/grub2/*/load.cfg",
    "boot/grub2/custom.cfg",
    "boot/grub2/device.map",
    "boot/grub2/earlyboot.cfg",
    "boot/grub2/grub.cfg",
    "boot/grub2/grubenv",
    "boot/grub2/menu.lst",
    "boot/loader/entries/*",
    "boot/loader/loader.conf",
    "boot/mbrid",
    "boot/syslinux/syslinux.cfg",
    "boot/uEnv.txt",
    "cmdline.txt",
    "etc/cmdline.d/*",
    "etc/crypttab",
    "etc/default/grub",
    "etc/default/grub.d/*",
    "etc/default/u-boot",
    "etc/dracut.conf",
    "etc/dracut.conf.d/*",
    "etc/fstab",
    "etc/grub.d/*",
    "etc/initramfs-tools/conf.d/*",
    "etc/initramfs-tools/initramfs.conf",
    "etc/kernel/cmdline",
    "etc/sysconfig/bootloader",
    "etc/systemd/system/*",
    "etc/systemd/system/*/*",
    "extlinux/extlinux.conf",
    "grub/*/load.cfg",
    "grub/custom.cfg",
    "grub/device.map",
    "grub/grub.cfg",
    "grub/grubenv",
    "grub/menu.lst",
    "grub2/*/load.cfg",
    "grub2/custom.cfg",
    "grub2/device.map",
    "grub2/earlyboot.cfg",
    "grub2/grub.cfg",
    "grub2/grubenv",
    "grub2/menu.lst",
    "loader/entries/*",
    "loader/loader.conf",
    "mbrid",
    "syslinux/syslinux.cfg",
    "uEnv.txt",
    "usr/lib/dracut/dracut.conf.d/*",
    "usr/lib/kernel/cmdline",
    "usr/lib/systemd/system/*",
];

/// Unified kernel images, which contain a command line, and are usually signed.
const SIGNED: &[&str] = &["EFI/Linux/*", "boot/EFI/Linux/*", "boot/efi/EFI/Linux/*", "efi/EFI/Linux/*"];

/// The index of the xattr names that begin with `security.`.
const SECURITY: u8 = 6;

/// The endings of files with a signature of a file.
const SIGNATURES: [&str; 4] = [".sig", ".asc", ".p7s", ".sign"];

/// The directory with systemd units of the system administrator, whose names can contain a UUID.
const UNITS: &str = "etc/systemd/system";

/// The files that contain only the signature of an MBR, for KIWI.
pub(crate) const MBRIDS: [&str; 2] = ["boot/mbrid", "mbrid"];

/// A file that can name identities.
#[derive(Debug)]
pub(crate) struct BootFile {
    /// The path without the first slash, for messages.
    pub path: String,
    /// The file.
    pub node: NodeId,
    /// The reason why the file can't be changed, if there is one.
    pub fixed: Option<&'static str>,
}

/// A text outside the content of files: the name of a unit, or the target of a symlink.
#[derive(Debug)]
pub(crate) struct BootName<'t> {
    /// The path without the first slash, for messages.
    pub path: String,
    /// The text.
    pub text: &'t [u8],
    /// The reason why the text can't be changed.
    pub fixed: &'static str,
}

/// Returns the files of a tree that can name identities. Each inode is in the list only once, with the first
/// path that matches a pattern.
pub(crate) fn files(tree: &Tree) -> Vec<BootFile> {
    let mut found: Vec<BootFile> = Vec::new();
    let mut known: HashMap<NodeId, (usize, u32)> = HashMap::new();
    let patterns = FILES.iter().map(|pattern| (pattern, None));
    let signed = SIGNED.iter().map(|pattern| (pattern, Some("it is a unified kernel image")));
    for (pattern, fixed) in patterns.chain(signed) {
        for (path, node) in matching(tree, pattern) {
            if !matches!(tree.node(node).kind, Kind::Regular { .. }) {
                continue;
            }
            let fixed = fixed.or_else(|| fixed_by(tree, &path, node));
            match known.entry(node) {
                MapEntry::Occupied(mut entry) => {
                    let (index, names) = entry.get_mut();
                    *names += 1;
                    found[*index].fixed = found[*index].fixed.or(fixed);
                }
                MapEntry::Vacant(entry) => {
                    entry.insert((found.len(), 1));
                    found.push(BootFile { path, node, fixed });
                }
            }
        }
    }
    for file in &mut found {
        // All names of an inode change together.
        let has_others = tree.node(file.node).links > known[&file.node].1.max(1);
        file.fixed = file.fixed.or(has_others.then_some("the file has hard links that are no boot files"));
    }
    found
}

/// Returns the names of systemd units, and the targets of symlinks to units.
pub(crate) fn names(tree: &Tree) -> Vec<BootName<'_>> {
    let mut found = Vec::new();
    let Some((units, _)) = tree.resolve(UNITS.as_bytes()) else { return found };
    let mut directories = vec![(UNITS.to_owned(), units)];
    while let Some((directory, node)) = directories.pop() {
        for entry in tree.entries_of(node) {
            let name = tree.text(entry.name);
            let path = format!("{directory}/{}", shown(name));
            match tree.node(entry.node).kind {
                // Units are in this directory, and in one level of directories for dependencies.
                Kind::Directory { .. } if directory == UNITS => directories.push((path.clone(), entry.node)),
                Kind::Symlink(target) => found.push(BootName {
                    path: path.clone(),
                    text: tree.text(target),
                    fixed: "it is the target of a symlink",
                }),
                _ => {}
            }
            found.push(BootName { path, text: name, fixed: "it is the name of a file" });
        }
    }
    found
}

/// Returns the reason why a file can't be changed.
fn fixed_by(tree: &Tree, path: &str, node: NodeId) -> Option<&'static str> {
    let flags = tree.node(node).flags;
    if flags.contains(InodeFlags::ENCRYPT) {
        return Some("the file is encrypted");
    }
    if flags.contains(InodeFlags::VERITY) {
        return Some("fs-verity protects the file");
    }
    let is_signed = |set| {
        let mut xattrs = tree.xattr_set(set).iter();
        xattrs.any(|xattr| xattr.index == SECURITY && [&b"ima"[..], b"evm"].contains(&tree.text(xattr.name)))
    };
    if tree.node(node).xattrs.is_some_and(is_signed) {
        return Some("an xattr has a signature or digest of the file");
    }
    let has_signature =
        SIGNATURES.iter().any(|ending| tree.resolve(format!("{path}{ending}").as_bytes()).is_some());
    has_signature.then_some("the file has a signature")
}

/// Returns the paths that match a pattern, in byte order, and their inodes. Symlinks are followed.
fn matching(tree: &Tree, pattern: &str) -> Vec<(String, NodeId)> {
    let mut paths = vec![Vec::new()];
    for part in pattern.split('/') {
        let joined = |path: &[u8], name: &[u8]| {
            if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
        };
        let deeper = paths.iter().flat_map(|path| match part {
            "*" => {
                let directory = tree.resolve(path).map(|(node, _)| tree.entries_of(node)).unwrap_or_default();
                directory.iter().map(|entry| joined(path, tree.text(entry.name))).collect()
            }
            part => vec![joined(path, part.as_bytes())],
        });
        paths = deeper.collect();
    }
    let found = paths.into_iter().filter_map(|path| {
        let names: Vec<_> = path.split(|byte| *byte == b'/').map(shown).collect();
        Some((names.join("/"), tree.resolve(&path)?.0))
    });
    found.collect()
}
