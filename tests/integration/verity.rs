//! Files with fs-verity, created and measured by a kernel that supports it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::dice::Dice;
use crate::support::emulated::emulated;
use crate::support::image::{blocks_of, debugfs, put_verity_file};
use crate::support::{Lab, Need, canonical, gate, judge, refused, run, same_bytes, tool, tree};

const OPTIONS: [&str; 6] = ["-t", "ext4", "-b", "4096", "-O", "verity,encrypt"];

/// Names and sizes of files: near the sizes at which the Merkle tree gets a further level, and with holes.
const FILES: [(&str, usize); 7] = [
    ("empty", 0),
    ("one", 1),
    ("block", 4096),
    ("more", 4097),
    ("full", 65_536),
    ("level", 128 * 4096 + 1),
    ("large", 3_000_000),
];

fn tree_of_sizes(lab: &Lab) -> PathBuf {
    let source = lab.folder("source");
    for (number, (name, size)) in FILES.into_iter().enumerate() {
        let mut content = Dice::noise(number as u64, size);
        if name == "large" {
            content[100_000..900_000].fill(0);
        }
        fs::write(source.join(name), content).expect("writing");
    }
    tree::set_all_mtimes(&source);
    source
}

/// A script that reads and thus verifies every file, and prints the digests.
const MEASURE: &str = "mount -t ext4 -o ro /dev/vda /mnt
cd /mnt
for file in *; do [ -d $file ] || { echo $file $(fskeys measure $file) $(sha256sum <$file); }; done
cd /
umount /mnt
";

/// Returns the digests that the fsverity program computes from the source files.
fn expected(source: &Path) -> String {
    let mut text = String::new();
    let mut names = FILES.map(|(name, _)| name);
    names.sort_unstable();
    for name in names {
        let digest = run(tool("fsverity").args(["digest", "--compact"]).arg(source.join(name)));
        let sum = run(tool("sha256sum").stdin(fs::File::open(source.join(name)).expect("a file")));
        text += &format!("{name} {} {}\n", digest.trim(), sum.trim().replace("  ", " "));
    }
    text
}

/// Mounts the third disk and adds its encryption key.
const UNLOCK: &str = "mount -t ext4 /dev/vdc /secret\nkey=$(fskeys unlock2 /secret 7)\n";

#[test]
#[ignore = "needs root and an emulated kernel"]
fn digests_survive() {
    // Files that the emulated machine creates belong to root.
    if !gate(&[Need::EmulatedKernel, Need::Root]) {
        return;
    }
    let lab = Lab::new();
    let source = tree_of_sizes(&lab);
    let names = FILES.map(|(name, _)| name);
    let image = lab.mke2fs_d("in.img", "48M", &OPTIONS, &source);
    // A different history: reverse order, temporary files in between, and a file without holes.
    let other = lab.mke2fs("other.img", "48M", &OPTIONS);
    let secret = lab.mke2fs("secret.img", "48M", &OPTIONS);
    let mut script =
        "mkdir /other /secret\nmount -t ext4 /dev/vda /mnt\nmount -t ext4 /dev/vdb /other\n".to_owned();
    for name in names.iter().rev() {
        script += &format!(
            "dd if=/dev/urandom of=/other/clutter.{name} bs=5000 count=9\n\
             dd if=/mnt/{name} of=/other/{name} bs=9999\nfskeys verity /other/{name}\n"
        );
    }
    for name in names {
        script += &format!("fskeys verity /mnt/{name}\n");
    }
    // Some kernels update the time when they build the tree.
    script += "rm /other/clutter.*\ncd /mnt\nfor file in *; do touch -r $file /other/$file; \
               chmod $(stat -c %a $file) /other/$file; chown $(stat -c %u:%g $file) /other/$file; done\n\
               cd /\ntouch -r /mnt /other\nchmod $(stat -c %a /mnt) /other\n";
    script +=
        &format!("umount /mnt /other\n{UNLOCK}mkdir /secret/folder\nfskeys encrypt2 /secret/folder $key 2\n");
    script += "yes | head -c 700001 >/secret/folder/file\nfskeys verity /secret/folder/file\n";
    emulated(&[&image, &other, &secret], &script);

    let output = canonical(&image, &["--verify"]);
    same_bytes(&output, &canonical(&other, &["--verify"]));
    let unlocked = canonical(&secret, &["--verify"]);
    let show = "fskeys measure /secret/folder/file\nsha256sum </secret/folder/file\numount /secret\n";
    let measured = emulated(
        &[&output, &secret, &unlocked],
        &format!("{MEASURE}mkdir /secret\n{}{show}{UNLOCK}{show}", UNLOCK.replace("vdc", "vdb")),
    );
    let expected = expected(&source);
    let (files, secrets) = measured.split_at(expected.len());
    assert_eq!(files, expected);
    let secrets: Vec<_> = secrets.lines().collect();
    assert_eq!(secrets[..2], secrets[2..], "with encryption");
}

/// Makes a verity file of 64 KiB with debugfs, with the given total number of blocks.
fn forged(lab: &Lab, blocks: usize, descriptor: u32) -> PathBuf {
    let image = lab.mke2fs(&format!("{blocks}-{descriptor}.img"), "16M", &OPTIONS);
    put_verity_file(&image, "file", Dice::noise(1, blocks * 4096), 65_536, descriptor);
    image
}

#[test]
fn what_lies_behind_the_end_is_kept_exactly() {
    let lab = Lab::new();
    let image = forged(&lab, 20, 256);
    let output = canonical(&image, &["--verify"]);
    judge::same_by_debugfs(&image, &output);
    let (before, after) = (lab.path("before"), lab.path("after"));
    for (image, copy) in [(&image, &before), (&output, &after)] {
        debugfs(image, &format!("set_inode_field file size 81920\ndump file {}\n", copy.display()));
    }
    assert_eq!(fs::read(&before).unwrap(), fs::read(&after).unwrap());
    assert_eq!(fs::read(&before).unwrap()[..81_916], Dice::noise(1, 81_920)[..81_916]);
}

#[test]
fn a_tree_that_no_kernel_would_find_is_refused() {
    let lab = Lab::new();
    for (blocks, descriptor, flags, word) in [
        (20, 256, "0x80000", "i_size is 65536, expected more than"),
        (20, 255, "0x180000", "the length of the verity descriptor is 255"),
        (20, 16384, "0x180000", "the length of the verity descriptor is 16384"),
        (16, 256, "0x180000", "no verity descriptor"),
    ] {
        let image = forged(&lab, blocks, descriptor);
        debugfs(&image, &format!("set_inode_field file flags {flags}\n"));
        refused(&image, &[], 4, &[word]);
    }
    // Follow the advice of the error message.
    let image = forged(&lab, 16, 256);
    refused(&image, &[], 4, &["remove it with debugfs's rm"]);
    debugfs(&image, "rm file\n");
    run(tool("e2fsck").arg("-fp").arg(&image));
    canonical(&image, &[]);
    let image = forged(&lab, 20, 256);
    debugfs(&image, "set_inode_field file size 61000\nfeature -verity\n");
    refused(&image, &[], 3, &["i_flags has bits 0x100000 VERITY"]);
}

/// Blocks between the end of the file and the tree: the kernel never reads them.
#[test]
fn what_lies_before_the_tree_is_dropped() {
    let lab = Lab::new();
    let image = forged(&lab, 20, 256);
    debugfs(&image, "set_inode_field file size 65535\n");
    canonical(&image, &[]);
    // The tree begins at block 16, independent of the size.
    debugfs(&image, "set_inode_field file size 12288\n");
    let written = canonical(&image, &["--verify"]);
    debugfs(&image, "punch file 3 15\n");
    same_bytes(&written, &canonical(&image, &[]));
    debugfs(&image, "fallocate file 5 9\n");
    same_bytes(&written, &canonical(&image, &[]));
    let blocks = blocks_of(&written, "/file");
    assert_eq!(blocks.len(), 3 + 4, "{blocks:?}");
}
