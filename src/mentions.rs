//! Files of the tree that name the filesystem's old UUID, and would not find it any more.

use crate::content::FileContent;
use crate::error::shown;
use crate::source::Source;
use crate::tree::{NodeId, Tree};

/// Files that name filesystems. `*` stands for every file of a directory.
const FILES: &[&str] = &[
    "boot/cmdline.txt",
    "boot/extlinux/extlinux.conf",
    "boot/firmware/cmdline.txt",
    "boot/grub/custom.cfg",
    "boot/grub/grub.cfg",
    "boot/grub/menu.lst",
    "boot/grub2/grub.cfg",
    "boot/loader/entries/*",
    "boot/loader/loader.conf",
    "boot/syslinux/syslinux.cfg",
    "cmdline.txt",
    "etc/cmdline.d/*",
    "etc/crypttab",
    "etc/default/grub",
    "etc/default/grub.d/*",
    "etc/fstab",
    "etc/grub.d/*",
    "etc/initramfs-tools/conf.d/*",
    "etc/kernel/cmdline",
    "extlinux/extlinux.conf",
    "grub/grub.cfg",
    "grub/menu.lst",
    "grub2/grub.cfg",
    "loader/entries/*",
    "syslinux/syslinux.cfg",
];

/// The largest file that is looked through, in bytes.
const LIMIT: usize = 16 << 20;

/// Warnings, one for each line that names the UUID.
pub fn find(source: &Source<'_>, tree: &Tree, old: [u8; 16]) -> Vec<String> {
    let wanted = uuid::Uuid::from_bytes(old).hyphenated().to_string();
    let mut warnings = Vec::new();
    for pattern in FILES {
        for (path, node) in matching(tree, pattern) {
            let Some(file) = FileContent::of(source, tree, node) else { continue };
            let Some(bytes) = file.bytes(LIMIT) else {
                warnings.push(format!("/{path} is too large to be looked through for the old UUID {wanted}"));
                continue;
            };
            for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
                let lower = line.to_ascii_lowercase();
                if lower.windows(wanted.len()).any(|window| window == wanted.as_bytes()) {
                    warnings.push(format!(
                        "/{path}, line {number}, names the old UUID {wanted}, which the output no longer has \
                         (use --uuid keep, --uuid {wanted}, or a label)"
                    ));
                }
            }
        }
    }
    warnings
}

fn matching(tree: &Tree, pattern: &str) -> Vec<(String, NodeId)> {
    let Some(directory) = pattern.strip_suffix("/*") else {
        return tree.resolve(pattern.as_bytes()).map(|node| (pattern.to_owned(), node)).into_iter().collect();
    };
    let Some(node) = tree.resolve(directory.as_bytes()) else { return Vec::new() };
    let entries = tree.entries_of(node).iter().map(|entry| tree.text(entry.name));
    let files = entries.filter_map(|name| {
        let path = [directory.as_bytes(), b"/", name].concat();
        Some((format!("{directory}/{}", shown(name)), tree.resolve(&path)?))
    });
    files.collect()
}
