//! Disk images, as mkosi, debos, wic and make-disk-image produce them: their filesystems are canonicalized in
//! place.

use std::path::{Path, PathBuf};

use super::{EPOCH, builder, project, shipped_twins};
use crate::support::contents::sha256;
use crate::support::disk::{SECTOR, partitioned};
use crate::support::image::patch;
use crate::support::tools::try_run;
use crate::support::{Lab, Need, canonical, gate, run};

/// The byte offset of the partition.
const START: u64 = 1 << 20;

/// Makes a disk with a GPT and one partition. Only the filesystem in the partition varies.
fn with_filesystem(path: &Path, filesystem: &Path) {
    let content = std::fs::read(filesystem).expect("reading");
    let table = format!(
        "label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\n\
         start={}, size={}, type=L, uuid=66666666-7777-8888-9999-aaaaaaaaaaaa\n",
        START / SECTOR,
        content.len() as u64 / SECTOR
    );
    partitioned(path, START + content.len() as u64 + (1 << 20), &table, &[]);
    patch(path, START, &content);
}

/// Asserts that `step` replaces a disk of the given name in its directory by the disk with the canonical
/// filesystem.
fn replaces_disk(name: &str, step: &dyn Fn(&Path)) {
    let lab = Lab::new();
    let images = shipped_twins(&lab);
    let expected = lab.path("expected.img");
    with_filesystem(&expected, &canonical(&images[0], &["--source-date-epoch", EPOCH]));
    let disks: [PathBuf; 2] = [0, 1].map(|i| {
        let folder = lab.folder(["first", "second"][i]);
        with_filesystem(&folder.join(name), &images[i]);
        folder.join(name)
    });
    assert_ne!(sha256(&disks[0]), sha256(&disks[1]));
    for disk in &disks {
        step(disk.parent().expect("a folder"));
        assert_eq!(sha256(disk), sha256(&expected), "{}", disk.display());
    }
}

#[test]
fn a_disk_of_mkosi() {
    if !gate(&[Need::Program("sfdisk")]) {
        return;
    }
    replaces_disk("image.raw", &|folder| {
        run(builder(project("packaging/mkosi/mkosi.postoutput"))
            .env("OUTPUTDIR", folder)
            .env("SOURCE_DATE_EPOCH", EPOCH));
    });
}

#[test]
fn a_disk_of_any_other_system() {
    if !gate(&[Need::Program("sfdisk")]) {
        return;
    }
    // All other snippets run this command.
    replaces_disk("disk.img", &|folder| {
        let disk = folder.join("disk.img");
        let ran = try_run(builder("ext4-canon").args(["--source-date-epoch", EPOCH, "--in-place"]).arg(disk));
        assert!(ran.code == Some(0), "{ran:#?}");
    });
}
