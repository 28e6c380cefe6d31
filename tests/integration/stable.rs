//! Filesystems with the stable_inodes feature: inode numbers and UUID are kept.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::support::dice::Dice;
use crate::support::fields::superblock;
use crate::support::image::debugfs;
use crate::support::listing::paths;
use crate::support::{
    Lab, Need, canonical, fill, gate, judge, kernel::Mounted, refused, run, same_bytes, tool, tree,
};

const OPTIONS: [&str; 9] =
    ["-t", "ext4", "-b", "1024", "-N", "8192", "-O", "stable_inodes,orphan_file", "-U"];
const UUID: &str = "11111111-2222-3333-4444-555555555555";

/// Makes an image with large gaps in its inode tables.
fn gappy(lab: &Lab, name: &str) -> PathBuf {
    let image = lab.mke2fs(name, "48M", &[&OPTIONS[..], &[UUID]].concat());
    fill::kernel(&image, |root| {
        for number in 0..3000 {
            fs::write(root.join(format!("file {number}")), number.to_string()).expect("writing");
        }
        for folder in 0..30 {
            fs::create_dir(root.join(format!("folder {folder}"))).expect("a folder");
        }
        for number in (0..3000).filter(|number| number % 37 != 5) {
            fs::remove_file(root.join(format!("file {number}"))).expect("removing");
        }
        for folder in (0..30).filter(|folder| folder % 4 != 1) {
            fs::remove_dir(root.join(format!("folder {folder}"))).expect("removing");
        }
        tree::set_all_mtimes(root);
    });
    image
}

fn inode_numbers(image: &Path) -> BTreeMap<PathBuf, u64> {
    let mounted = Mounted::read_only(image).unwrap_or_else(|e| panic!("{e}"));
    let root = mounted.path();
    let of = |path: PathBuf| {
        let number = root.join(&path).symlink_metadata().expect("metadata").ino();
        (path, number)
    };
    let numbers = paths(root).into_iter().map(of).collect();
    mounted.unmount();
    numbers
}

fn uuid(image: &Path) -> Vec<u8> {
    superblock(image).bytes("s_uuid")
}

#[test]
#[ignore = "needs root: mounts images"]
fn numbers_and_uuid_stay_whatever_else_changes() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image = gappy(&lab, "in.img");
    let output = canonical(&image, &[]);
    assert_eq!(inode_numbers(&image), inode_numbers(&output));
    assert_eq!(uuid(&image), uuid(&output));
    judge::same_by_kernel(&image, &output);
    judge::kernel_works(&output).unwrap();

    // A different history: all files are written again to different blocks, next to other data.
    let other = lab.copy(&image, "other.img");
    fill::kernel(&other, |root| {
        fs::write(root.join("clutter"), Dice::noise(7, 3_000_000)).expect("writing");
        for path in paths(root).into_iter().map(|path| root.join(path)).filter(|path| path.is_file()) {
            let content = fs::read(&path).expect("reading");
            fs::write(&path, "").expect("emptying");
            fs::write(&path, content).expect("writing");
        }
        fs::remove_file(root.join("clutter")).expect("removing");
        tree::set_all_mtimes(root);
    });
    same_bytes(&output, &canonical(&other, &[]));
    same_bytes(&output, &canonical(&image, &["--uuid", "keep"]));
    same_bytes(&output, &canonical(&image, &["--uuid", UUID]));
}

#[test]
#[ignore = "needs root: mounts images"]
fn two_files_with_each_others_numbers_are_another_tree() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image = gappy(&lab, "in.img");
    let swapped = lab.copy(&image, "swapped.img");
    fill::kernel(&swapped, |root| {
        let [one, two, aside] = ["file 5", "file 42", "aside"].map(|name| root.join(name));
        fs::rename(&one, &aside).expect("renaming");
        fs::rename(&two, &one).expect("renaming");
        fs::rename(&aside, &two).expect("renaming");
        fs::write(&one, "5").expect("writing");
        fs::write(&two, "42").expect("writing");
        tree::set_all_mtimes(root);
    });
    let [first, second] = [&image, &swapped].map(|image| canonical(image, &[]));
    judge::same_by_kernel(&first, &second);
    assert_eq!(inode_numbers(&first)[Path::new("file 5")], inode_numbers(&second)[Path::new("file 42")]);
}

#[test]
fn a_missing_lost_found_takes_the_lowest_free_number() {
    let lab = Lab::new();
    let image = lab.mke2fs("in.img", "8M", &[&OPTIONS[..4], &["-O", "stable_inodes"]].concat());
    debugfs(&image, "write /etc/hostname name\nrmdir lost+found\n");
    let output = canonical(&image, &[]);
    let number = |path: &str| run(tool("debugfs").arg("-R").arg(format!("stat {path}")).arg(&output));
    assert!(number("/lost+found").starts_with("Inode: 11 "), "{}", number("/lost+found"));
    assert!(number("/name").starts_with("Inode: 12 "));
}

#[test]
fn another_uuid_is_refused() {
    let lab = Lab::new();
    let image = lab.mke2fs("in.img", "8M", &["-t", "ext4", "-O", "stable_inodes"]);
    refused(&image, &["--uuid", UUID], 2, &["has the stable_inodes feature", "use --uuid keep"]);
    // Without the feature, the option is accepted.
    canonical(&lab.mke2fs("other.img", "8M", &["-t", "ext4"]), &["--uuid", UUID]);
}
