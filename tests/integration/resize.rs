//! `--size`: a different size of the filesystem, compared with the result of resize2fs.

use std::fs::{self};
use std::path::{Path, PathBuf};

use crate::support::canon::tree_digest;
use crate::support::dice::Dice;
use crate::support::emulated::emulated;
use crate::support::fields::{block_size, has_feature, superblock};
use crate::support::image::{put_xattr, set_length, sizes};
use crate::support::tools::try_run;
use crate::support::{
    Lab, Need, canon, canonical, fill, gate, judge, partly, refused, run, same_bytes, tool, tree,
};

/// Options of filesystems that differ in groups and shared metadata.
const SHAPES: [&str; 20] = [
    "-t ext4",
    "-t ext4 -b 1024",
    "-t ext4 -b 1024 -g 1024 -G 4",
    "-t ext2 -b 1024",
    "-t ext2 -b 1024 -O ^sparse_super,^resize_inode",
    "-t ext2 -r 0 -b 1024",
    "-t ext3 -b 2048 -g 4096",
    "-t ext4 -b 1024 -O ^flex_bg -E stride=16",
    "-t ext4 -b 4096 -O ^resize_inode -m 0",
    "-t ext4 -b 1024 -g 2048 -O meta_bg,^resize_inode",
    "-t ext4 -b 1024 -O sparse_super2 -g 2048",
    "-t ext4 -b 1024 -O sparse_super2,^resize_inode -g 4096 -E num_backup_sb=1",
    "-t ext4 -b 1024 -O sparse_super2 -g 4096 -E num_backup_sb=0",
    "-t ext4 -O bigalloc -C 16384 -b 4096",
    "-t ext4 -O bigalloc -C 4096 -b 1024 -m 2",
    "-t ext4 -O ^64bit,^metadata_csum -b 2048 -E resize=64M",
    "-t ext4 -b 1024 -m 3.7 -i 4096 -E resize=300M",
    "-t ext4 -I 512 -O inline_data,ea_inode -m 50",
    "-t ext4 -O quota,project,orphan_file -J size=4 -N 700",
    "-t ext4 -O encrypt,stable_inodes -b 1024 -g 4096",
];

/// Makes an image of 48 MiB with the plain tree.
fn of_shape(lab: &Lab, shape: &str) -> PathBuf {
    lab.plain_image("in.img", "48M", &shape.split(' ').collect::<Vec<_>>())
}

/// Canonicalizes to a different size, verifies the output and returns it.
fn sized(image: &Path, size: &str) -> PathBuf {
    let output = image.with_extension(format!("{size}.img"));
    canon(["-q", "--verify", "--size", size]).args([image, &output]).run().done();
    output
}

fn length(image: &Path) -> u64 {
    image.metadata().expect("an image").len()
}

/// Resizes a copy with resize2fs. Returns `None` if it refuses.
fn resized(lab: &Lab, image: &Path, bytes: u64) -> Option<PathBuf> {
    let copy = lab.copy(image, "resized.img");
    let blocks = bytes / block_size(image);
    // It needs -f, because with bigalloc it leaves wrong counts of clusters and quotas.
    let ran = try_run(tool("resize2fs").arg("-f").arg(&copy).arg(blocks.to_string()));
    if ran.code != Some(0) {
        return None;
    }
    judge::repair(&copy, &[]);
    // It writes a byte past the new end.
    for length in [sizes(&copy).0, bytes] {
        set_length(&copy, length);
    }
    Some(copy)
}

#[test]
fn it_does_not_matter_whether_resize2fs_came_first() {
    let mut compared = 0;
    for shape in SHAPES {
        let lab = Lab::new();
        let image = of_shape(&lab, shape);
        for (size, bytes) in
            [("26M", 26 << 20), ("30000001", 30_000_001), ("130M", 130 << 20), ("+5M", 53 << 20)]
        {
            let output = sized(&image, size);
            assert_eq!(length(&output), bytes, "{shape} {size}");
            assert_eq!(tree_digest(&image, &[]), tree_digest(&output, &[]), "{shape} {size}");
            same_bytes(&output, &canonical(&output, &[]));
            if !size.starts_with('+') {
                same_bytes(&output, &sized(&output, size));
            }
            if let Some(copy) = resized(&lab, &image, bytes) {
                compared += 1;
                same_bytes(&output, &canonical(&copy, &[]));
            }
        }
    }
    // It refuses to shrink filesystems with stable_inodes.
    assert_eq!(compared, SHAPES.len() * 4 - 2);
}

/// The smallest size does not depend on the size of the input, and no smaller size is possible.
#[test]
fn the_smallest_size_is_the_same_from_any_other() {
    let mut by_blocks = 0;
    for shape in SHAPES {
        let lab = Lab::new();
        let image = of_shape(&lab, shape);
        let least = sized(&image, "min");
        let (bytes, cluster) = sizes(&least);
        assert_eq!(length(&least), bytes, "{shape}");
        assert_eq!(tree_digest(&image, &[]), tree_digest(&least, &[]), "{shape}");
        same_bytes(&least, &canonical(&least, &["--size", "min"]));
        same_bytes(&least, &sized(&image, &bytes.to_string()));
        // With sparse_super2 and one backup, that backup moves to the end of a filesystem that grows.
        for other in ["31M", "77M"].iter().filter(|_| !shape.contains("num_backup_sb=1")) {
            let other = sized(&sized(&image, other), "min");
            // The number of reserved blocks is rounded down at each step.
            let exact = superblock(&image).get("s_r_blocks_count_lo") == 0;
            assert_eq!(length(&least), length(&other), "{shape}");
            if exact {
                same_bytes(&least, &other);
            }
        }
        let less = refused(&image, &["--size", &(bytes - cluster).to_string()], 3, &["too few"]);
        // If blocks are missing, the suggested size is the smallest. Inodes are added by whole groups.
        let enough = format!("--size {bytes}, and try again");
        assert!(less.contains(" inodes, but") || less.contains(&enough), "{shape}: {less}");
        by_blocks += usize::from(less.contains(&enough));
        // resize2fs moves blocks from past the new end, and keeps some free blocks for that.
        let copy = lab.copy(&image, "copy.img");
        if try_run(tool("resize2fs").arg("-fM").arg(&copy)).code == Some(0) {
            let (other, _) = sizes(&copy);
            // resize2fs does not index directories, which may save a block.
            if bytes > other {
                refused(&copy, &[], 3, &["too few"]);
            }
        }
    }
    assert!(by_blocks > SHAPES.len() / 2, "{by_blocks}");
}

/// The image is nearly full, has a history, and covers all attributes of inodes.
#[test]
#[ignore = "needs root: mounts images"]
fn the_kernel_works_on_any_size() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for shape in ["-t ext4", "-t ext4 -b 1024 -g 2048 -O meta_bg,^resize_inode", "-t ext2"] {
        let lab = Lab::new();
        let source = lab.folder("source");
        tree::rich(&source);
        let image = lab.mke2fs("in.img", "48M", &shape.split(' ').collect::<Vec<_>>());
        fill::kernel(&image, |root| fill::copy(&source, root));
        let before = judge::kernel_tree(&image).expect("a mount");
        for size in ["min", "200M"] {
            let output = sized(&image, size);
            assert_eq!(judge::kernel_tree(&output).expect("a mount"), before, "{shape} {size}");
            let larger = sized(&output, "+8M");
            judge::kernel_works(&larger).expect("a mount for changes");
        }
    }
}

/// The kernel can grow an image of the smallest size, up to the limit of its reserved descriptors.
#[test]
#[ignore = "needs an emulated kernel"]
fn the_kernel_can_grow_the_smallest_size() {
    if !gate(&[Need::EmulatedKernel]) {
        return;
    }
    let lab = Lab::new();
    let image = lab.plain_image("in.img", "48M", &["-t", "ext4", "-b", "1024"]);
    let output = sized(&image, "min");
    set_length(&output, 300 << 20);
    emulated(&[&output], "mount -t ext4 /dev/vda /mnt\nfskeys grow /mnt 307200\numount /mnt\n");
    judge::fsck_silent(&output).expect("an image that grew");
    assert_eq!(sizes(&output).0, 300 << 20);
}

/// The number of groups exceeds one block of descriptors, and shrinks again.
#[test]
fn descriptors_take_the_place_that_was_reserved_for_them() {
    let lab = Lab::new();
    let image = lab.plain_image("in.img", "64M", &["-t", "ext4", "-b", "1024", "-g", "1024", "-N", "512"]);
    let reserved = |image: &Path| superblock(image).get("s_reserved_gdt_blocks");
    let large = sized(&image, "640M");
    // With descriptors of 64 bytes, 64 groups need 4 blocks of descriptors, and 640 need 40.
    assert_eq!(reserved(&image), 256, "the number of pointers in a block");
    assert_eq!(reserved(&large), 256 - 36);
    let back = sized(&large, "64M");
    same_bytes(&back, &canonical(&image, &[]));
    if partly(&[Need::Mounts]) {
        judge::kernel_works(&large).expect("a mount for changes");
    }
}

/// Pipes, other formats, `--in-place` and digests.
#[test]
fn every_way_out_has_the_size() {
    let lab = Lab::new();
    let image = of_shape(&lab, "-t ext4");
    let wanted = sized(&image, "33554431");
    let shell = |script: &str| lab.shell(&format!("set -e; {script}")).run().done().stdout;
    shell(r#"cat in.img | "$0" -q --size 33554431 - - > piped.img"#);
    same_bytes(&wanted, &lab.path("piped.img"));
    shell(r#"cp in.img place.img; "$0" -q --in-place --size 33554431 place.img"#);
    same_bytes(&wanted, &lab.path("place.img"));
    shell(
        r#""$0" -q --size 32M in.img raw.img; "$0" -q --size 32M --format sparse in.img out.simg; simg2img out.simg s.img"#,
    );
    same_bytes(&lab.path("raw.img"), &lab.path("s.img"));
    let bmap = shell(r#""$0" -q --size 33554431 --bmap out.bmap in.img b.img; cat out.bmap"#);
    assert!(bmap.contains("<ImageSize> 33554431 </ImageSize>"), "{bmap}");
    let digest = shell(r#""$0" digest --size 33554431 in.img | cut -c1-64; sha256sum < b.img | cut -c1-64"#);
    let lines: Vec<_> = digest.lines().collect();
    assert_eq!(lines[0], lines[1]);
    let checks = shell(
        r#"check() { "$0" --check "$@" || echo "exit $?"; }
        check b.img; check --size 33554431 b.img; check --size 64M b.img | grep exit
        truncate -s 32M b.img; check b.img; check --size 33554431 b.img"#,
    );
    let end = "  byte       33554431 0x000001ffffff  end of the image, which should have 33554431 bytes\n";
    let canonical = "b.img: canonical (form 1)\n";
    let not = "b.img: not canonical (form 1); it differs in\n";
    assert_eq!(checks, format!("{canonical}{canonical}exit 1\n{canonical}{not}{end}exit 1\n"));
    for threads in ["1", "2", "7"] {
        let output = lab.path("threads.img");
        canon(["-q", "--size", "33554431", "--threads", threads]).args([&image, &output]).run().done();
        same_bytes(&wanted, &output);
    }
}

/// Past its 256 blocks of reserved descriptors, the kernel grows a filesystem with meta_bg.
#[test]
#[ignore = "needs an emulated kernel"]
fn meta_groups_of_the_kernel_come_and_go() {
    if !gate(&[Need::EmulatedKernel]) {
        return;
    }
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "1024", "-g", "1024", "-N", "512", "-J", "size=4"];
    let image = lab.plain_image("in.img", "24M", &options);
    set_length(&image, 5 << 30);
    emulated(&[&image], "mount -t ext4 /dev/vda /mnt\nfskeys grow /mnt 5242880\numount /mnt\n");
    let first_meta_bg = superblock(&image).get("s_first_meta_bg");
    assert!(
        has_feature(&image, "meta_bg") && first_meta_bg > 0,
        "{}",
        run(tool("dumpe2fs").arg("-h").arg(&image))
    );
    // The kernel leaves the resize inode without blocks, and e2fsck does not report that.
    judge::fsck_silent(&image).expect("an image that grew");
    canonical(&image, &[]);
    for (size, bytes) in [("6G", 6 << 30), ("3G", 3 << 30), ("20M", 20 << 20)] {
        let output = sized(&image, size);
        same_bytes(&output, &canonical(&output, &[]));
        assert_eq!(has_feature(&output, "meta_bg"), size == "6G");
        assert_eq!(tree_digest(&image, &[]), tree_digest(&output, &[]), "{size}");
        let copy = resized(&lab, &image, bytes).expect("resizing");
        same_bytes(&output, &canonical(&copy, &[]));
    }
}

/// Regression test: attempts at sizes that were too small left their placement of xattr blocks in the plan,
/// so that the xattr block of /f overlapped metadata.
#[test]
fn the_smallest_size_has_xattr_blocks_where_pointers_lead() {
    let lab = Lab::new();
    let source = lab.folder("source");
    fs::write(source.join("a"), Dice::noise(1, 3320 * 1024)).expect("a file");
    fs::write(source.join("f"), "hi\n").expect("a file");
    let image = lab.mke2fs_d("in.img", "32M", &["-t", "ext4"], &source);
    put_xattr(&image, "f", "user.long", "v".repeat(200));
    let least = sized(&image, "min");
    judge::fsck_silent(&least).unwrap();
    same_bytes(&least, &sized(&image, &length(&least).to_string()));
}

/// Regression test: the search failed if the bitmaps of a large flex group left no space for the inode table
/// between them.
#[test]
fn the_smallest_size_is_found_where_metadata_lies_far_apart() {
    let lab = Lab::new();
    let source = lab.folder("source");
    fs::write(source.join("f"), "hi\n").expect("a file");
    let options = ["-t", "ext4", "-b", "1024", "-G", "256", "-J", "size=1"];
    let image = lab.mke2fs_d("in.img", "33452K", &options, &source);
    let least = sized(&image, "min");
    assert_eq!(length(&least), 1718 * 1024);
    judge::fsck_silent(&least).unwrap();
    refused(&image, &["--size", &(1717 * 1024).to_string()], 3, &["too few"]);
}
