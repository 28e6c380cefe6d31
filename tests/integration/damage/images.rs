//! Small images with all features, clean and dirty, made by mke2fs, e2fsck, debugfs and the kernel.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::support::dice::Dice;
use crate::support::image::{debugfs, put_encryption_context, put_verity_file, put_xattr};
use crate::support::kernel::{Mounted, sync};
use crate::support::{Lab, judge, run, tool, tree};

/// The change to an image after mke2fs made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Nothing,
    /// e2fsck makes directory indexes.
    Index,
    /// e2fsck makes directory indexes, one of them with two levels.
    Levels,
    /// debugfs makes a file with a forged Merkle tree.
    Verity,
    /// The kernel changes the filesystem, mounted with these options, and is shut down.
    Cut(&'static str),
    /// The kernel deletes files that are open, and is shut down.
    Orphans,
    /// The kernel makes fast commits, and is shut down.
    FastCommits,
    /// debugfs sets xattrs that need a block.
    Xattrs,
    /// debugfs sets xattrs of two files and a directory, with values that need an EA inode.
    Values,
    /// Two directories are case-insensitive, and e2fsck makes an index for one.
    Casefold,
    /// A directory has an encryption context.
    Encrypt,
}

/// The name, the size, the options of mke2fs, and the change after that.
pub type Recipe = (&'static str, &'static str, &'static str, Then);

pub const RECIPES: [Recipe; 47] = [
    ("ext2", "1M", "-t ext2 -b 1024", Then::Nothing),
    ("ext2 4k", "2M", "-t ext2 -b 4096", Then::Nothing),
    ("revision 0", "1M", "-t ext2 -r 0 -b 1024", Then::Nothing),
    ("no filetype", "1M", "-t ext2 -b 1024 -O ^filetype,^dir_index", Then::Nothing),
    ("ext2 index", "1M", "-t ext2 -b 1024 -O dir_index", Then::Index),
    ("ext2 xattrs", "1M", "-t ext2 -b 1024 -I 128", Then::Xattrs),
    ("ext3", "3M", "-t ext3 -b 1024", Then::Nothing),
    ("ext3 index", "3M", "-t ext3 -b 1024", Then::Index),
    ("ext3 4k", "8M", "-t ext3 -b 4096", Then::Nothing),
    ("ext4", "3M", "-t ext4 -b 1024", Then::Nothing),
    ("ext4 4k", "8M", "-t ext4 -b 4096", Then::Nothing),
    ("ext4 2k", "2M", "-t ext4 -b 2048 -O ^has_journal", Then::Nothing),
    ("no journal", "1M", "-t ext4 -b 1024 -O ^has_journal", Then::Nothing),
    ("no checksums", "1M", "-t ext4 -b 1024 -O ^metadata_csum,^64bit,^has_journal", Then::Nothing),
    ("uninit_bg", "1M", "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg,^has_journal", Then::Nothing),
    ("small inodes", "1M", "-t ext4 -b 1024 -I 128 -O ^has_journal", Then::Xattrs),
    ("large inodes", "1M", "-t ext4 -b 1024 -I 512 -O ^has_journal", Then::Xattrs),
    ("xattrs", "1M", "-t ext4 -b 1024 -O ^has_journal", Then::Xattrs),
    ("index", "1M", "-t ext4 -b 1024 -O ^has_journal", Then::Index),
    ("index, no checksums", "1M", "-t ext4 -b 1024 -O ^has_journal,^metadata_csum", Then::Index),
    ("index 4k, large_dir", "4M", "-t ext4 -b 4096 -O ^has_journal,large_dir", Then::Index),
    ("index of two levels", "2M", "-t ext4 -b 1024 -O ^has_journal", Then::Levels),
    ("groups", "2M", "-t ext4 -b 1024 -g 256 -O ^has_journal", Then::Nothing),
    ("groups, no flex_bg", "2M", "-t ext4 -b 1024 -g 256 -O ^has_journal,^flex_bg", Then::Nothing),
    ("meta_bg", "2M", "-t ext4 -b 1024 -g 256 -O ^has_journal,meta_bg,^resize_inode", Then::Nothing),
    (
        "sparse_super2",
        "2M",
        "-t ext4 -b 1024 -g 512 -O ^has_journal,sparse_super2,^resize_inode",
        Then::Nothing,
    ),
    ("seed", "1M", "-t ext4 -b 1024 -O ^has_journal,metadata_csum_seed", Then::Nothing),
    ("stable_inodes, encrypt", "1M", "-t ext4 -b 1024 -O ^has_journal,stable_inodes,encrypt", Then::Nothing),
    ("verity", "2M", "-t ext4 -b 4096 -O ^has_journal,verity", Then::Nothing),
    ("verity, files", "2M", "-t ext4 -b 4096 -O ^has_journal,verity", Then::Verity),
    ("bigalloc", "2M", "-t ext4 -b 1024 -C 4096 -O ^has_journal,bigalloc", Then::Index),
    ("bigalloc 4k", "8M", "-t ext4 -b 4096 -C 16384 -O ^has_journal,bigalloc", Then::Xattrs),
    (
        "quota",
        "2M",
        "-t ext4 -b 1024 -O ^has_journal,quota,project -E quotatype=usrquota:grpquota:prjquota",
        Then::Nothing,
    ),
    ("mmp", "2M", "-t ext4 -b 1024 -O ^has_journal,mmp", Then::Nothing),
    ("orphan_file", "4M", "-t ext4 -b 1024 -O orphan_file", Then::Nothing),
    ("inline_data", "1M", "-t ext4 -b 1024 -I 256 -O ^has_journal,inline_data", Then::Nothing),
    (
        "inline_data in large inodes",
        "2M",
        "-t ext4 -b 4096 -I 1024 -O ^has_journal,inline_data",
        Then::Xattrs,
    ),
    ("ea_inode", "2M", "-t ext4 -b 1024 -O ^has_journal,ea_inode", Then::Values),
    ("casefold", "2M", "-t ext4 -b 1024 -O ^has_journal,casefold", Then::Casefold),
    ("encrypt, xattrs", "1M", "-t ext4 -b 1024 -O ^has_journal,^metadata_csum,encrypt", Then::Encrypt),
    ("dirty", "4M", "-t ext4 -b 1024", Then::Cut("data=ordered")),
    ("dirty, data", "4M", "-t ext4 -b 1024", Then::Cut("data=journal")),
    ("dirty ext3", "4M", "-t ext3 -b 1024", Then::Cut("data=ordered")),
    ("dirty, no checksums", "4M", "-t ext4 -b 1024 -O ^metadata_csum", Then::Cut("journal_checksum")),
    ("orphans", "4M", "-t ext4 -b 1024", Then::Orphans),
    ("orphans in a file", "4M", "-t ext4 -b 1024 -O orphan_file", Then::Orphans),
    ("fast commits", "6M", "-t ext4 -b 1024 -O fast_commit", Then::FastCommits),
];

impl Then {
    /// Returns whether the change needs the kernel.
    pub fn mounts(self) -> bool {
        matches!(self, Self::Cut(_) | Self::Orphans | Self::FastCommits)
    }

    fn has_index(self) -> bool {
        matches!(self, Self::Index | Self::Levels | Self::Casefold)
    }
}

/// Makes a small tree with all kinds of files.
fn small_tree(lab: &Lab, then: Then) -> PathBuf {
    let root = lab.folder("source");
    fs::create_dir_all(root.join("deep/er/and/deeper")).expect("folders");
    fs::create_dir(root.join("lost+found")).expect("a folder");
    for (number, size) in [0, 1, 59, 150, 1024, 5000].into_iter().enumerate() {
        fs::write(root.join(format!("file{size}")), Dice::noise(number as u64, size)).expect("writing");
    }
    fs::write(root.join("deep/er/file"), "text").expect("writing");
    fs::hard_link(root.join("file1"), root.join("deep/second")).expect("a link");
    std::os::unix::fs::symlink("short", root.join("short")).expect("a symlink");
    std::os::unix::fs::symlink("x".repeat(200), root.join("long")).expect("a symlink");
    // This file needs an extent tree deeper than its root, or an indirect block.
    let comb = File::create(root.join("comb")).expect("a file");
    for block in (0..40).step_by(2) {
        comb.write_all_at(&[7; 4096], block * 4096).expect("writing");
    }
    // This file needs a double-indirect block.
    let far = File::create(root.join("far")).expect("a file");
    far.write_all_at(b"far", 5 << 20).expect("writing");
    if then == Then::Levels {
        fs::create_dir(root.join("large")).expect("a folder");
        for number in 0..400 {
            let name = root.join("large").join(format!("{number:0250}"));
            fs::hard_link(root.join("file59"), name).expect("a link");
        }
    }
    if then.has_index() {
        fs::create_dir(root.join("many")).expect("a folder");
        for number in 0..150 {
            let name = format!("{number:03} a name of some length that fills the blocks of a folder");
            std::os::unix::fs::symlink("x", root.join("many").join(name)).expect("a symlink");
        }
    }
    tree::set_all_mtimes(&root);
    root
}

/// Makes the image of a recipe.
pub fn make(lab: &Lab, recipe: &Recipe) -> PathBuf {
    let (_, size, options, then) = recipe;
    let source = small_tree(lab, *then);
    let inodes = if then.has_index() { "256" } else { "64" };
    let options: Vec<&str> = options.split(' ').chain(["-N", inodes]).collect();
    let image = lab.mke2fs_d("in.img", size, &options, &source);
    match *then {
        Then::Cut(mount_options) => cut(lab, &image, mount_options, |_| Vec::new()),
        Then::Orphans => cut(lab, &image, "data=ordered", orphans),
        Then::FastCommits => fast_commits(lab, &image),
        then => {
            by_e2fsprogs(&image, then);
            image
        }
    }
}

/// Deletes files that stay open until the filesystem is shut down.
fn orphans(root: &Path) -> Vec<File> {
    let names = ["file5000", "comb", "far"].map(|name| root.join(name));
    let files = names.each_ref().map(|name| File::open(name).expect("a file"));
    for name in names {
        fs::remove_file(name).expect("removing");
    }
    files.into()
}

/// Changes an image with debugfs and e2fsck.
fn by_e2fsprogs(image: &Path, then: Then) {
    match then {
        Then::Index | Then::Levels | Then::Casefold => {
            if then == Then::Casefold {
                let set = |folder: &str| format!("set_inode_field {folder} flags 0x40080000\n");
                debugfs(image, &(set("many") + &set("deep")));
            }
            judge::repair(image, &["-D"]);
        }
        Then::Verity => put_verity_file(image, "verity", Dice::noise(9, 20 * 4096), 65_000, 256),
        Then::Xattrs => {
            let long = "v".repeat(300);
            debugfs(
                image,
                &format!(
                    "ea_set file59 user.short value\nea_set file59 user.long {long}\n\
                     ea_set file150 user.long {long}\nea_set deep trusted.other other\n"
                ),
            );
        }
        Then::Values => {
            for path in ["file59", "file150", "deep"] {
                put_xattr(image, path, "trusted.large", Dice::noise(7, 3000));
            }
        }
        Then::Encrypt => {
            debugfs(image, "mkdir secret\n");
            put_encryption_context(image, "secret", [2, 1, 4, 2]);
        }
        Then::Nothing | Then::Cut(_) | Then::Orphans | Then::FastCommits => {}
    }
}

/// Changes an image with the kernel, and shuts the filesystem down.
fn cut(lab: &Lab, image: &Path, options: &str, work: impl FnOnce(&Path) -> Vec<File>) -> PathBuf {
    let mounted = Mounted::with_options(image, options).expect("a mount");
    let root = mounted.path();
    fs::create_dir(root.join("new")).expect("a folder");
    for number in 0..8 {
        fs::write(root.join(format!("new/file{number}")), Dice::noise(number, 1000)).expect("writing");
    }
    fs::rename(root.join("file1024"), root.join("deep/moved")).expect("renaming");
    fs::remove_file(root.join("new/file3")).expect("removing");
    fs::write(root.join("new/file9"), Dice::noise(9, 3000)).expect("writing");
    sync(root);
    let open = work(root);
    run(tool("xfs_io").args(["-x", "-c", "shutdown -f"]).arg(root));
    drop(open);
    mounted.unmount();
    lab.copy(image, "cut.img")
}

fn fast_commits(lab: &Lab, image: &Path) -> PathBuf {
    for _ in 0..20 {
        let mounted = Mounted::read_write(image).expect("a mount");
        let root = mounted.path();
        let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all()).expect("fsync");
        sync(root);
        for number in 0..4 {
            let name = root.join(format!("deep/new{number}"));
            fs::write(&name, Dice::noise(number, 2000)).expect("writing");
            sync(&name);
        }
        fs::rename(root.join("deep/new1"), root.join("renamed")).expect("renaming");
        fs::remove_file(root.join("deep/new2")).expect("removing");
        sync(&root.join("renamed"));
        let copy = lab.copy(image, "cut.img");
        mounted.unmount();
        let replayable = Mounted::read_write(&lab.copy(&copy, "try.img")).is_ok();
        if replayable {
            return copy;
        }
        for name in ["deep/new0", "deep/new3", "renamed"] {
            let mounted = Mounted::read_write(image).expect("a mount");
            fs::remove_file(mounted.path().join(name)).expect("removing");
            mounted.unmount();
        }
    }
    panic!("the kernel could replay none of the images");
}
