//! Random trees, each with two random histories, have the same canonical form.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

use crate::support::dice::Dice;
use crate::support::listing::{Listing, listing, paths, same_tree};
use crate::support::{Lab, Need, canonical, fill, gate, judge, same_bytes, tree};

/// The content of a path.
#[derive(Clone, Debug)]
enum Content {
    File { seed: u64, size: usize, zeros: bool },
    Folder { names: usize },
    Symlink { length: usize },
    Fifo,
}

/// The content of a path, and its metadata.
#[derive(Clone, Debug)]
struct Named {
    content: Content,
    /// The index of its parent among the directories made before it.
    parent: usize,
    mode: u32,
    owner: u32,
    mtime: i64,
    xattrs: BTreeMap<u8, usize>,
    second_name: bool,
}

fn item() -> impl Strategy<Value = Named> {
    let content = prop_oneof![
        4 => (any::<u64>(), prop_oneof![0_usize..200, 900..5000_usize, 0..200_000_usize], any::<bool>())
            .prop_map(|(seed, size, zeros)| Content::File { seed, size, zeros }),
        3 => prop_oneof![Just(0_usize), 1..300_usize].prop_map(|names| Content::Folder { names }),
        1 => prop_oneof![1_usize..80, 80..1000_usize].prop_map(|length| Content::Symlink { length }),
        1 => Just(Content::Fifo),
    ];
    let xattrs = prop_oneof![2 => Just(BTreeMap::new()), 1 => btree_map(any::<u8>(), 0_usize..250, 1..4)];
    (content, any::<usize>(), 0_u32..0o7777, 0_u32..100_000, 0_i64..4_000_000_000, xattrs, any::<bool>())
        .prop_map(|(content, parent, mode, owner, mtime, xattrs, second_name)| Named {
            content,
            parent,
            mode,
            owner,
            mtime,
            xattrs,
            second_name,
        })
}

/// A way to put a tree into an image.
#[derive(Clone, Debug)]
enum Way {
    Mke2fs,
    Kernel {
        /// The seed for the order of copying.
        shuffle: u64,
        /// The number of temporary files, which are created first and removed last.
        clutter: usize,
        /// Whether to unmount and mount again in the middle of the copy.
        remount: bool,
        /// Whether everything is copied with a different name first, then renamed.
        moved: bool,
    },
}

fn history() -> impl Strategy<Value = Way> {
    let kernel = (any::<u64>(), 0_usize..200, any::<bool>(), any::<bool>())
        .prop_map(|(shuffle, clutter, remount, moved)| Way::Kernel { shuffle, clutter, remount, moved });
    prop_oneof![1 => Just(Way::Mke2fs), 3 => kernel]
}

const GEOMETRIES: [&[&str]; 7] = [
    &["-t", "ext4", "-b", "1024"],
    &["-t", "ext4", "-b", "4096"],
    &["-t", "ext4", "-b", "1024", "-I", "128", "-O", "^metadata_csum,^64bit"],
    &["-t", "ext3", "-b", "1024"],
    &["-t", "ext2", "-b", "2048"],
    &["-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", "2048"],
    &["-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", "16384"],
];

fn build_tree(root: &Path, items: &[Named]) {
    let mut folders = vec![root.to_owned()];
    let mut made = Vec::new();
    for (number, item) in items.iter().enumerate() {
        let path = folders[item.parent % folders.len()].join(format!("item{number}"));
        match item.content {
            Content::File { seed, size, zeros } => {
                let mut content = Dice::noise(seed, size);
                if zeros {
                    content[size / 3..size / 2].fill(0);
                }
                fs::write(&path, content).expect("writing");
            }
            Content::Folder { names } => {
                fs::create_dir(&path).expect("a folder");
                for number in 0..names {
                    fs::write(path.join(format!("a name among others, {number}")), "").expect("writing");
                }
                folders.push(path.clone());
            }
            Content::Symlink { length } => symlink("t".repeat(length), &path).expect("a symlink"),
            Content::Fifo => tree::make_node(&path, rustix::fs::FileType::Fifo, 0, 0),
        }
        // `mke2fs -d` turns a symlink with two names into two symlinks.
        if item.second_name && matches!(item.content, Content::File { .. } | Content::Fifo) {
            fs::hard_link(&path, root.join(format!("link{number}"))).expect("a link");
        }
        made.push((path, item));
    }
    for (path, item) in made.iter().rev() {
        std::os::unix::fs::lchown(path, Some(item.owner), Some(item.owner / 2)).expect("chown");
        if !matches!(item.content, Content::Symlink { .. }) {
            fs::set_permissions(path, fs::Permissions::from_mode(item.mode)).expect("chmod");
        }
        for (name, length) in &item.xattrs {
            tree::set_xattr(path, &format!("trusted.{name}"), &Dice::noise(u64::from(*name), *length));
        }
    }
    tree::set_all_mtimes(root);
    for (path, item) in made.iter().rev() {
        tree::set_mtime(path, item.mtime % 2_147_483_648, 0);
    }
}

fn image_by_history(lab: &Lab, name: &str, options: &[&str], source: &Path, history: &Way) -> PathBuf {
    let Way::Kernel { shuffle, clutter, remount, moved } = *history else {
        return lab.mke2fs_d(name, "48M", options, source);
    };
    let image = lab.mke2fs(name, "48M", options);
    let mut order = paths(source);
    Dice::new(shuffle).shuffle(&mut order);
    let clutter_name = |root: &Path, number: usize| root.join(format!("clutter{number}"));
    fill::kernel(&image, |root| {
        for number in 0..clutter {
            fs::write(clutter_name(root, number), Dice::noise(number as u64, number * 40)).expect("writing");
        }
        if moved {
            fs::create_dir(root.join("elsewhere")).expect("a folder");
            fill::copy(source, &root.join("elsewhere"));
        }
        if !remount {
            finish(root, source, &order, clutter);
        }
    });
    if remount {
        fill::kernel(&image, |root| finish(root, source, &order, clutter));
    }
    image
}

fn finish(root: &Path, source: &Path, order: &[PathBuf], clutter: usize) {
    for number in (0..clutter).step_by(2) {
        fs::remove_file(root.join(format!("clutter{number}"))).expect("removing");
    }
    if let Ok(entries) = fs::read_dir(root.join("elsewhere")) {
        for entry in entries.step_by(3) {
            let entry = entry.expect("an entry");
            fs::rename(entry.path(), root.join(entry.file_name())).expect("renaming");
        }
        fs::remove_dir_all(root.join("elsewhere")).expect("removing");
    }
    fill::copy_in_order(source, root, order);
    for number in (1..clutter).step_by(2) {
        fs::remove_file(root.join(format!("clutter{number}"))).expect("removing");
    }
    tree::set_mtime(root, tree::SOME_TIME, 0);
}

#[test]
#[ignore = "needs root: mounts images"]
fn random_trees_with_two_random_histories_have_one_form() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(16);
    let mut runner = TestRunner::new(Config {
        cases,
        max_shrink_iters: 20,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    });
    let inputs = (vec(item(), 0..40), 0..GEOMETRIES.len(), history(), history());
    let result = runner.run(&inputs, |(items, geometry, one, two)| {
        let lab = Lab::new();
        let source = lab.folder("source");
        build_tree(&source, &items);
        let [a, b] = [("a.img", one), ("b.img", two)]
            .map(|(name, history)| image_by_history(&lab, name, GEOMETRIES[geometry], &source, &history));
        let [x, y] = [a, b].map(|image| canonical(&image, &[]));
        same_bytes(&x, &y);
        same_tree(&listing(&source, Listing::default()), &judge::kernel_tree(&x).expect("it mounts"));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
