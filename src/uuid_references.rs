//! Finds lines of boot files that contain the UUID of this filesystem, or of another filesystem or partition
//! on the disk. `disk/notices.rs` decides which lines with the UUID of another filesystem or partition become
//! warnings.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::content::FileContent;
use crate::error::shown;
use crate::report::{Mention, Owner};
use crate::tree::{NodeId, Tree};
use crate::view::View;

/// Files that can contain UUIDs of filesystems or partitions. `*` matches every file of a directory.
const FILES: &[&str] = &[
    "boot/cmdline.txt",
    "boot/extlinux/extlinux.conf",
    "boot/firmware/cmdline.txt",
    "boot/grub/custom.cfg",
    "boot/grub/grub.cfg",
    "boot/grub/grubenv",
    "boot/grub/i386-pc/load.cfg",
    "boot/grub/menu.lst",
    "boot/grub/x86_64-efi/load.cfg",
    "boot/grub2/grub.cfg",
    "boot/grub2/grubenv",
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
    "grub/grubenv",
    "grub/menu.lst",
    "grub2/grub.cfg",
    "grub2/grubenv",
    "loader/entries/*",
    "syslinux/syslinux.cfg",
];

/// The maximum size of a file that is searched, in bytes.
const LIMIT: usize = 16 << 20;

/// The UUIDs of the filesystems and partitions of a disk, with their names in messages.
pub(crate) type Neighbours = BTreeMap<[u8; 16], (Owner, String)>;

/// Returns warnings about files that are too large to be searched and, if the UUID of this filesystem
/// changes, about lines that contain it. Also returns the lines that contain the UUID of another filesystem
/// or partition on the disk.
pub(crate) fn find(
    view: View<'_, '_>,
    neighbours: &Neighbours,
    new: [u8; 16],
) -> (Vec<String>, Vec<Mention>) {
    let View { source, tree } = view;
    let old = source.superblock.s_uuid;
    let own = Some(old).filter(|old| *old != new);
    let (mut warnings, mut mentions) = (Vec::new(), Vec::new());
    if own.is_none() && neighbours.is_empty() {
        return (warnings, mentions);
    }
    for pattern in FILES {
        for (path, node) in matching(tree, pattern) {
            let Some(file) = FileContent::of(view, node) else { continue };
            let Some(bytes) = file.bytes(LIMIT) else {
                warnings.push(format!("/{path} is too large to be searched for old UUIDs"));
                continue;
            };
            for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
                for uuid in uuids(line) {
                    let shown = Uuid::from_bytes(uuid).hyphenated();
                    let place = format!("/{path}, line {number}, names the old");
                    if own == Some(uuid) {
                        warnings.push(format!(
                            "{place} UUID {shown}, which the output no longer has \
                             (use --uuid keep, --uuid {shown}, or a label)"
                        ));
                    } else if let Some((owner, name)) = neighbours.get(&uuid).filter(|_| uuid != old) {
                        let (kind, remedy) = match owner {
                            Owner::Filesystem => ("UUID", "use --uuid keep, or a label"),
                            Owner::Partition => ("PARTUUID", "use --gpt keep, or a label"),
                        };
                        let words =
                            format!("{place} {kind} {shown} of {name}, which it no longer has ({remedy})");
                        mentions.push(Mention { uuid, owner: *owner, words });
                    }
                }
            }
        }
    }
    (warnings, mentions)
}

/// Returns the distinct UUIDs in a line.
fn uuids(line: &[u8]) -> BTreeSet<[u8; 16]> {
    let windows = line.windows(Hyphenated::LENGTH).filter(|window| window[8] == b'-' && window[13] == b'-');
    let found = windows.filter_map(|window| Uuid::try_parse_ascii(window).ok());
    found.map(Uuid::into_bytes).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_found_wherever_they_stand_in_a_line() {
        let one = "0f0e0d0c-0b0a-4908-8706-050403020100";
        let other = "AAAAAAAA-0b0a-4908-8706-05040302010f";
        let bytes = |text: &str| Uuid::parse_str(text).unwrap().into_bytes();
        let line = format!("x{one} --search={other}-{one}\"0f0e0d0c-0b0a-4908-8706-05040302010g");
        assert_eq!(uuids(line.as_bytes()), BTreeSet::from([bytes(one), bytes(other)]));
        assert_eq!(uuids(b"0f0e0d0c"), BTreeSet::new());
        assert_eq!(uuids(&one.as_bytes()[1..]), BTreeSet::new());
    }
}
