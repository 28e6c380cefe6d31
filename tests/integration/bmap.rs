//! `--bmap`: blocks that a flashing tool skips are never read.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::dice::Dice;
use crate::support::disk::disk;
use crate::support::{Lab, Need, canon, canonical, gate, judge, run, same_bytes, tool};

/// Flashes an image with bmaptool onto a device full of random data.
fn flashed(lab: &Lab, image: &Path, bmap: &Path) -> PathBuf {
    let device = lab.path("device");
    fs::write(&device, Dice::noise(77, usize::try_from(image.metadata().unwrap().len()).unwrap())).unwrap();
    // bmaptool checks the digests of all ranges and of the bmap file.
    run(tool("bmaptool").args(["copy", "--bmap"]).arg(bmap).arg(image).arg(&device));
    device
}

/// Reads a block count from an element of a bmap file.
fn count_in(bmap: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(bmap).unwrap();
    let rest = text.split(&format!("<{name}> ")).nth(1).unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs root: mounts images"]
fn a_filesystem_survives_the_flashing() {
    if !gate(&[Need::Mounts, Need::Program("bmaptool")]) {
        return;
    }
    for options in [
        &["-t", "ext4"][..],
        &["-t", "ext2", "-b", "1024"],
        &["-t", "ext4", "-O", "bigalloc", "-C", "16384"],
        &["-t", "ext4", "-b", "1024", "-O", "^flex_bg"],
        &["-t", "ext4", "-O", "quota,project", "-I", "256"],
    ] {
        let lab = Lab::new();
        let image = lab.plain_image("in.img", "128M", options);
        let (output, bmap) = (lab.path("out.img"), lab.path("out.bmap"));
        canon(["--bmap"]).args([&bmap, &image, &output]).run().done();
        same_bytes(&output, &canonical(&image, &[]));
        let device = flashed(&lab, &output, &bmap);
        judge::fsck_silent(&device).unwrap();
        judge::same_by_kernel(&output, &device);
        same_bytes(&canonical(&device, &[]), &output);
        let blocks = count_in(&bmap, "MappedBlocksCount");
        assert!(blocks < count_in(&bmap, "BlocksCount") / 2, "{options:?}: {blocks}");
    }
}

#[test]
fn of_a_disk_all_but_free_blocks_is_flashed() {
    if !gate(&[Need::Program("bmaptool"), Need::Program("sfdisk")]) {
        return;
    }
    let lab = Lab::new();
    let image = lab.plain_image("in.img", "32M", &["-t", "ext4"]);
    let path = lab.path("disk.img");
    disk(&path, 80, "label: gpt\nstart=1MiB, size=32MiB\nstart=40MiB, size=32MiB\n", &[(1, &image)]);
    let (output, bmap) = (lab.path("out.img"), lab.path("out.bmap"));
    canon(["--zero-gaps", "--table", "canonical", "--bmap"]).args([&bmap, &path, &output]).run().done();
    let device = flashed(&lab, &output, &bmap);
    let again = lab.path("again.img");
    canon(["--table", "canonical"]).args([&device, &again]).run().done();
    same_bytes(&output, &again);
    let cut = |path: &Path| fs::read(path).unwrap()[33 << 20..].to_vec();
    assert!(cut(&output) == cut(&device), "bytes past the filesystem differ");
}

#[test]
fn names_that_collide_are_refused() {
    let lab = Lab::new();
    lab.mke2fs("in.img", "4M", &["-t", "ext4"]);
    for (bmap, code, words) in [
        ("in.img", 2, "in.img: is the input"),
        ("out.img", 2, "out.img: is the output"),
        ("./out.img", 2, "./out.img: is the output"),
        ("no/out.bmap", 5, "no: creating the output: No such file or directory"),
    ] {
        lab.canon(["--bmap", bmap, "in.img", "out.img"]).run().refusing(code, &[words]);
        assert_eq!(lab.names("."), ["in.img"], "{bmap}");
    }
    lab.canon(["--bmap", "x", "in.img", "-"]).run().misused(&["leave --bmap out, or write to a file"]);
}
