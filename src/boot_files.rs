//! Finds the files of a tree that a boot reads, and that can name filesystems, partitions and disks.

use crate::error::shown;
use crate::ondisk::inode::InodeFlags;
use crate::tree::{Kind, NodeId, Tree};

/// Files whose identities can be rewritten. `*` matches every name in a directory.
const FILES: &[&str] = &[
    "boot/cmdline.txt",
    "boot/extlinux/extlinux.conf",
    "boot/firmware/cmdline.txt",
    "boot/grub/custom.cfg",
    "boot/grub/device.map",
    "boot/grub/grub.cfg",
    "boot/grub/grubenv",
    "boot/grub/i386-pc/load.cfg",
    "boot/grub/menu.lst",
    "boot/grub/x86_64-efi/load.cfg",
    "boot/grub2/custom.cfg",
    "boot/grub2/device.map",
    "boot/grub2/grub.cfg",
    "boot/grub2/grubenv",
    "boot/loader/entries/*",
    "boot/loader/loader.conf",
    "boot/mbrid",
    "boot/syslinux/syslinux.cfg",
    "cmdline.txt",
    "etc/cmdline.d/*",
    "etc/crypttab",
    "etc/default/grub",
    "etc/default/grub.d/*",
    "etc/dracut.conf",
    "etc/dracut.conf.d/*",
    "etc/fstab",
    "etc/grub.d/*",
    "etc/initramfs-tools/conf.d/*",
    "etc/initramfs-tools/initramfs.conf",
    "etc/kernel/cmdline",
    "etc/systemd/system/*",
    "extlinux/extlinux.conf",
    "grub/device.map",
    "grub/grub.cfg",
    "grub/grubenv",
    "grub/menu.lst",
    "grub2/grub.cfg",
    "grub2/grubenv",
    "loader/entries/*",
    "loader/loader.conf",
    "syslinux/syslinux.cfg",
    "usr/lib/kernel/cmdline",
];

/// Unified kernel images, which contain a command line, and are usually signed.
const SIGNED: &[&str] = &["EFI/Linux/*", "boot/EFI/Linux/*", "boot/efi/EFI/Linux/*", "efi/EFI/Linux/*"];

/// The endings of files with a signature of a file.
const SIGNATURES: [&str; 4] = [".sig", ".asc", ".p7s", ".sign"];

/// The directory with systemd units of the system administrator, whose names can contain a UUID.
const UNITS: &str = "etc/systemd/system";

/// The file that contains only the signature of an MBR, for KIWI.
pub(crate) const MBRID: &str = "boot/mbrid";

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

/// Returns the files of a tree that can name identities. Each inode is in the list only once.
pub(crate) fn files(tree: &Tree) -> Vec<BootFile> {
    let mut found: Vec<BootFile> = Vec::new();
    let patterns = FILES.iter().map(|pattern| (pattern, None));
    let signed = SIGNED.iter().map(|pattern| (pattern, Some("it is a unified kernel image")));
    for (pattern, fixed) in patterns.chain(signed) {
        for (path, node) in matching(tree, pattern) {
            let is_known = found.iter().any(|known| known.node == node);
            if !is_known && matches!(tree.node(node).kind, Kind::Regular { .. }) {
                let fixed = fixed.or_else(|| fixed_by(tree, &path, node));
                found.push(BootFile { path, node, fixed });
            }
        }
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
    let is_signed =
        SIGNATURES.iter().any(|ending| tree.resolve(format!("{path}{ending}").as_bytes()).is_some());
    is_signed.then_some("the file has a signature")
}

fn matching(tree: &Tree, pattern: &str) -> Vec<(String, NodeId)> {
    let Some(directory) = pattern.strip_suffix("/*") else {
        return tree
            .resolve(pattern.as_bytes())
            .map(|(node, _)| (pattern.to_owned(), node))
            .into_iter()
            .collect();
    };
    let Some((node, _)) = tree.resolve(directory.as_bytes()) else { return Vec::new() };
    let entries = tree.entries_of(node).iter().map(|entry| tree.text(entry.name));
    let files = entries.filter_map(|name| {
        let path = [directory.as_bytes(), b"/", name].concat();
        Some((format!("{directory}/{}", shown(name)), tree.resolve(&path)?.0))
    });
    files.collect()
}
