//! The same tree in the same geometry gives the same image, independent of the writer.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, lgetxattr, lremovexattr};

use crate::support::dice::Dice;
use crate::support::fields::superblock;
use crate::support::image::debugfs;
use crate::support::listing::{Listing, listing, paths, same_tree};
use crate::support::{Lab, Need, canonical, fill, gate, judge, run, same_bytes, tool, tree};

const SIZE: &str = "24M";

const ACL: &str = "system.posix_acl_access";

/// Asserts that all images have one canonical form, and that it contains `tree`.
fn one_form(images: &[PathBuf], tree: &Path) {
    let outputs: Vec<_> = images.iter().map(|image| canonical(image, &[])).collect();
    let expected = listing(tree, Listing::default());
    for output in &outputs {
        same_bytes(&outputs[0], output);
    }
    same_tree(&expected, &judge::kernel_tree(&outputs[0]).expect("the kernel mounts it"));
    judge::kernel_works(&outputs[0]).expect("the kernel works on it");
}

/// Ways to fill an image with the kernel.
const WRITERS: [fill::Writer; 3] = [
    |image, source| fill::kernel(image, |root| fill::copy(source, root)),
    |image, source| {
        fill::kernel(image, |root| fill::copy_in_order(source, root, &fill::backwards(source)));
    },
    |image, source| with_history(image, source),
];

/// Copies the tree after other files were created and deleted, in several mounts.
fn with_history(image: &Path, source: &Path) {
    let clutter = |root: &Path, count: usize| {
        for number in 0..count {
            let folder = root.join(format!("clutter{}", number % 7));
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join(format!("n{number}")), Dice::noise(number as u64, 9000)).expect("writing");
        }
    };
    fill::kernel(image, |root| clutter(root, 300));
    fill::kernel(image, |root| {
        fill::copy_in_order(source, root, &fill::backwards(source));
        fs::rename(root.join("many"), root.join("clutter0/m")).expect("renaming");
        fs::remove_file(root.join("sizes/70000")).expect("removing");
    });
    fill::kernel(image, |root| {
        clutter(&root.join("clutter0/m"), 200);
        fs::rename(root.join("clutter0/m"), root.join("many")).expect("renaming");
        for number in 0..7 {
            let _ = fs::remove_dir_all(root.join(format!("clutter{number}")));
            fs::remove_dir_all(root.join(format!("many/clutter{number}"))).expect("removing");
        }
        fill::copy(source, root);
    });
}

fn all_kernel_writers(options: &[&str]) {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.folder("source");
    tree::rich(&source);
    let mut images = vec![lab.mke2fs_d("mke2fs.img", SIZE, options, &source)];
    for (number, write) in WRITERS.iter().enumerate() {
        let image = lab.mke2fs(&format!("kernel{number}.img"), SIZE, options);
        write(&image, &source);
        images.push(image);
    }
    one_form(&images, &source);
}

#[test]
#[ignore = "needs root: mounts images"]
fn mke2fs_and_kernel_on_ext4() {
    all_kernel_writers(&["-t", "ext4", "-b", "1024"]);
}

#[test]
#[ignore = "needs root: mounts images"]
fn mke2fs_and_kernel_on_ext4_with_large_blocks() {
    all_kernel_writers(&["-t", "ext4", "-b", "4096"]);
}

#[test]
#[ignore = "needs root: mounts images"]
fn mke2fs_and_kernel_on_ext3() {
    all_kernel_writers(&["-t", "ext3", "-b", "1024"]);
}

#[test]
#[ignore = "needs root: mounts images"]
fn mke2fs_and_kernel_on_ext2() {
    all_kernel_writers(&["-t", "ext2", "-b", "2048", "-I", "128"]);
}

/// Makes a tree that debugfs scripts can describe: names in ASCII, and no sockets.
fn for_debugfs(source: &Path) {
    tree::rich(source);
    for path in paths(source) {
        let path = source.join(path);
        if path.as_os_str().as_bytes().iter().any(|&byte| byte > 127) || path.ends_with("socket") {
            fs::remove_file(&path).expect("removing");
        }
    }
    tree::set_all_mtimes(source);
}

#[test]
#[ignore = "needs root: mounts images"]
fn debugfs_writes_the_same_tree() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.folder("source");
    for_debugfs(&source);
    let options = ["-t", "ext4"];
    let by_debugfs = lab.mke2fs("debugfs.img", SIZE, &options);
    fill::debugfs_copy(&by_debugfs, &source);
    one_form(&[by_debugfs, lab.mke2fs_d("mke2fs.img", SIZE, &options, &source)], &source);
}

#[test]
#[ignore = "needs root: mounts images"]
fn fuse2fs_writes_the_same_tree() {
    if !gate(&[Need::Mounts, Need::Program("fuse2fs")]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.folder("source");
    tree::rich(&source);
    let options = ["-t", "ext4"];
    let by_fuse2fs = lab.mke2fs("fuse2fs.img", SIZE, &options);
    fill::fuse2fs(&by_fuse2fs, |root| {
        fill::copy(&source, root);
        // cp sets modes as ACLs, and fuse2fs does not convert these to modes.
        for path in paths(&source).iter().map(PathBuf::as_path).chain([Path::new(".")]) {
            let (from, to) = (source.join(path), root.join(path));
            let meta = from.symlink_metadata().expect("metadata");
            if !meta.is_symlink() {
                let acl = |path: &Path| lgetxattr(path, ACL, &mut [0; 256][..]);
                if acl(&from).is_err() && acl(&to).is_ok() {
                    lremovexattr(&to, ACL).expect("removing an xattr");
                }
                fs::set_permissions(&to, meta.permissions()).expect("chmod");
            }
        }
    });
    one_form(&[by_fuse2fs, lab.mke2fs_d("mke2fs.img", SIZE, &options, &source)], &source);
}

#[test]
#[ignore = "needs root: mounts images"]
fn genext2fs_writes_the_same_tree() {
    if !gate(&[Need::Mounts, Need::Program("genext2fs")]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.folder("source");
    for_genext2fs(&source);
    let options = ["-t", "ext2", "-b", "1024", "-I", "128", "-N", "512", "-O", "none"];
    let by_mke2fs = lab.mke2fs_d("mke2fs.img", "16385", &options, &source);
    let by_genext2fs = lab.genext2fs("genext2fs.img", 16385, 512, &source);
    // genext2fs sets all times to the current time, and some superblock fields to different defaults.
    let everything = paths(&source);
    let script = everything.iter().map(|path| {
        let time = source.join(path).symlink_metadata().expect("metadata").mtime();
        format!("set_inode_field \"{}\" mtime @{time}\n", path.display())
    });
    let root = format!("set_inode_field <2> mtime @{}\n", tree::SOME_TIME);
    debugfs(&by_genext2fs, &script.chain([root]).collect::<String>());
    run(tool("tune2fs").args(["-e", "continue"]).arg(&by_genext2fs));
    run(tool("tune2fs").args(["-c", "20", "-o", "^acl,^user_xattr"]).arg(&by_mke2fs));
    superblock(&by_mke2fs).set("s_def_hash_version", 0);
    one_form(&[by_genext2fs, by_mke2fs], &source);
}

/// Makes a tree that genext2fs can write: no xattrs, no names outside ASCII, no large device numbers or IDs.
fn for_genext2fs(source: &Path) {
    tree::plain(source);
    fs::remove_dir_all(source.join("names")).expect("removing");
    tree::make_node(&source.join("null"), FileType::CharacterDevice, 1, 3);
    std::os::unix::fs::lchown(source.join("sizes/1"), Some(1000), Some(1001)).expect("chown");
    tree::set_all_mtimes(source);
}
