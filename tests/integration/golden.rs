//! Digests that fix form 1. Several histories have the same digest.
//!
//! A change of any digest is a change of the canonical form. Until release 1.0, such a change needs a
//! separate commit that says which images change and why. After that, it needs a new version of the form, and
//! the digests of form 1 stay.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::contents::sha256;
use crate::support::dice::Dice;
use crate::support::image::debugfs;
use crate::support::listing::paths;
use crate::support::tools::project;
use crate::support::{Lab, canonical, run, tool, tree};

/// The digest of the images in testdata.
const SHIPPED: &str = "859842e4aa8119b9f32f2490a85f7978df5c6585b4b11ee01eefdce4832cd89e";

#[test]
fn the_shipped_images_have_one_digest() {
    let lab = Lab::new();
    let mut images = Vec::new();
    for name in ["mke2fs", "kernel"] {
        images.push(lab.shipped(name));
    }
    assert_ne!(sha256(&images[0]), sha256(&images[1]), "test precondition failed");
    for image in images {
        assert_eq!(sha256(&canonical(&image, &[])), SHIPPED, "{}", image.display());
    }
}

/// A size and options of mke2fs, and the SHA-256 of the canonical form of an image that mke2fs makes with them.
struct Golden {
    size: &'static str,
    options: &'static [&'static str],
    digest: &'static str,
}

const GOLDEN: [Golden; 11] = [
    Golden {
        size: "16M",
        options: &["-t", "ext4", "-b", "4096"],
        digest: "acadc19f122bc4bdcaa39b6775303e292b1e7cfa2d7ec4840f4c2e6db25ebd87",
    },
    Golden {
        size: "32M",
        options: &["-t", "ext4", "-b", "1024"],
        digest: "cba94ed1837b6c9c2875e18ea73c714eb0229ff872ef0a1702451c9a083210a0",
    },
    Golden {
        size: "16M",
        options: &["-t", "ext3", "-b", "1024"],
        digest: "8ef4120060cc9d1a47c422a0e5486d949050433c79358886d4e58f91745a75b6",
    },
    Golden {
        size: "8M",
        options: &["-t", "ext2", "-b", "2048", "-I", "128"],
        digest: "67d1878ec1d7f37f3815dcb24c59859f89093500fd43a4cdb69105fb9ca732c8",
    },
    Golden {
        size: "8M",
        options: &["-t", "ext2", "-b", "1024", "-r", "0"],
        digest: "d86951b5ae7d34a050ad647abf137ffc00c37a8938358392e914cfcaa661bdae",
    },
    Golden {
        size: "24M",
        options: &["-t", "ext4", "-b", "1024", "-O", "metadata_csum_seed,orphan_file,^resize_inode,meta_bg"],
        digest: "90443096f1f185fa47f0e4485c7dcce490faaf07147a0aa324b861ffc134b3c8",
    },
    Golden {
        size: "16M",
        options: &[
            "-t",
            "ext4",
            "-b",
            "1024",
            "-O",
            "quota,project,mmp",
            "-E",
            "quotatype=usrquota:grpquota:prjquota",
        ],
        digest: "dfceb117987187e87bd1e01eaf89903b4d46b6c8adaa8c2f07d3fbc185ecb3c4",
    },
    Golden {
        size: "16M",
        options: &["-t", "ext4", "-b", "4096", "-I", "512", "-O", "inline_data"],
        digest: "c01f438e0c0dc520ad65c7865853cd3504dd7c016a6ac77f757f7329341a2ff2",
    },
    Golden {
        size: "24M",
        options: &["-t", "ext4", "-b", "1024", "-O", "ea_inode,^has_journal"],
        digest: "9863606fa3d326961b180c5423190ff2a5b0ff25efe8e57d7a88ac893d83984b",
    },
    Golden {
        size: "64M",
        options: &["-t", "ext4", "-b", "1024", "-C", "16384", "-O", "bigalloc,^resize_inode"],
        digest: "a4d4446e7bec861a6e4afcfe0b3ff7af6b1b6669a19c7a0a6be202b73f08c856",
    },
    Golden {
        size: "16M",
        options: &["-t", "ext4", "-b", "2048", "-O", "casefold,large_dir"],
        digest: "e772ae98c9068be03c0888a6da190234873ea69dc5e600043dcb25fe4aac1b6a",
    },
];

#[test]
fn trees_in_several_geometries_have_their_digests() {
    let lab = Lab::new();
    let source = lab.folder("source");
    pinned_tree(&source);
    let mut found = Vec::new();
    for (number, golden) in GOLDEN.iter().enumerate() {
        let first = pinned_image(&lab, &format!("{number}.img"), golden, &source);
        let second = pinned_image(&lab, &format!("{number}-with-history.img"), golden, &source);
        debugfs(&second, "mkdir clutter\nmknod pipe p\nrm sizes/70000\nrm pipe\nrmdir clutter\n");
        let time = tree_time(&source.join("sizes/70000"));
        debugfs(
            &second,
            &format!(
                "write {} sizes/70000\nset_inode_field sizes/70000 mtime @{time}\n\
             set_inode_field sizes/70000 mode 0100644\nset_inode_field sizes/70000 uid 0\n\
             set_inode_field sizes/70000 gid 0\nset_inode_field sizes mtime @{}\n\
             set_inode_field <2> mtime @{}\n",
                source.join("sizes/70000").display(),
                tree_time(&source.join("sizes")),
                tree::SOME_TIME
            ),
        );
        let [one, two] = [first, second].map(|image| sha256(&canonical(&image, &[])));
        assert_eq!(one, two, "{:?}", golden.options);
        found.push(one);
    }
    assert_eq!(found, GOLDEN.map(|golden| golden.digest.to_owned()));
}

fn tree_time(path: &Path) -> i64 {
    use std::os::unix::fs::MetadataExt as _;
    path.symlink_metadata().expect("metadata").mtime()
}

/// Makes an image with the defaults in `testdata/mke2fs.conf` and all files owned by root, independent of the
/// machine and the user.
fn pinned_image(lab: &Lab, name: &str, golden: &Golden, source: &Path) -> PathBuf {
    let image = lab.path(name);
    run(tool("mke2fs")
        .env("MKE2FS_CONFIG", project("testdata/mke2fs.conf"))
        .args(["-q", "-F"])
        .args(golden.options)
        .arg("-d")
        .arg(source)
        .arg(&image)
        .arg(golden.size));
    let mut script = String::new();
    for path in paths(source).iter().map(PathBuf::as_path).chain([Path::new(".")]) {
        for field in ["uid", "gid"] {
            script.push_str(&format!("set_inode_field \"{}\" {field} 0\n", path.display()));
        }
    }
    script.push_str(&format!(
        "set_inode_field <2> mtime @{}\nset_inode_field <2> mode 040755\n",
        tree::SOME_TIME
    ));
    let has = |feature: &str| golden.options.iter().any(|option| option.contains(feature));
    if has("ea_inode") {
        let value = lab.path("value");
        fs::write(&value, Dice::noise(9, 5000)).expect("writing");
        for name in ["sizes/1", "sizes/59", "a-second"] {
            script.push_str(&format!("ea_set -f {} {name} user.large\n", value.display()));
        }
    }
    if has("casefold") {
        script.push_str("set_inode_field sizes flags 0x40080000\nset_inode_field many flags 0x40080000\n");
    }
    debugfs(&image, &script);
    image
}

/// Creates [`tree::plain`], without names that can't be used in debugfs commands.
fn pinned_tree(source: &Path) {
    tree::plain(source);
    fs::remove_dir_all(source.join("names")).expect("removing");
    tree::set_all_mtimes(source);
    for path in paths(source) {
        let path = source.join(path);
        // Set permissions explicitly, independent of the umask.
        let meta = path.symlink_metadata().expect("metadata");
        if !meta.is_symlink() && !path.parent().expect("a folder").ends_with("modes") {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = if meta.is_dir() { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        }
    }
}
