//! Digests that pin form 1. Several histories share each digest.
//!
//! A change of any of them is a change of the canonical form. Until release 1.0 such a change is
//! made in a commit of its own that says which images change and why; afterwards it is a new form
//! version, and form 1 stays as it is here.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::contents::sha256;
use crate::support::image::debugfs;
use crate::support::{Lab, canonical, run, tool, tree};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata");

/// The images that come with the source.
const SHIPPED: &str = "a1b11904b543510e154e8cd25ef8a46601389fabc3794c62606126d47e6b4d5d";

#[test]
fn the_shipped_images_have_one_digest() {
    let lab = Lab::new();
    let mut images = Vec::new();
    for name in ["mke2fs", "kernel"] {
        let packed = lab.path(&format!("{name}.img.xz"));
        fs::copy(Path::new(DATA).join(format!("{name}.img.xz")), &packed).expect("a shipped image");
        run(tool("xz").arg("-d").arg(&packed));
        images.push(packed.with_extension(""));
    }
    assert_ne!(sha256(&images[0]), sha256(&images[1]), "nothing to be seen here");
    for image in images {
        assert_eq!(sha256(&canonical(&image, &[])), SHIPPED, "{}", image.display());
    }
}

/// A geometry, how to make it, and the digest of a tree in it.
struct Golden {
    size: &'static str,
    options: &'static [&'static str],
    digest: &'static str,
}

const GOLDEN: [Golden; 6] = [
    Golden {
        size: "16M",
        options: &["-t", "ext4", "-b", "4096"],
        digest: "8073aa63686e6c06283d97f2d5ba9c7ac06ce024375cfad8e01d6d2b8d346b84",
    },
    Golden {
        size: "32M",
        options: &["-t", "ext4", "-b", "1024"],
        digest: "4d1142dd0c01326da857275d41db523a81c3edf766a3fa6531170c14938dc40d",
    },
    Golden {
        size: "16M",
        options: &["-t", "ext3", "-b", "1024"],
        digest: "c12a4a47f5c6c2466e7b6e3edb73bfce292c70577561e3bbe24d2d609ec0e4a7",
    },
    Golden {
        size: "8M",
        options: &["-t", "ext2", "-b", "2048", "-I", "128"],
        digest: "4f04ffa4952055f4f11a5ffd109f372d56570c78f58ad945ce2bfcb8ef8aa4f6",
    },
    Golden {
        size: "8M",
        options: &["-t", "ext2", "-b", "1024", "-r", "0"],
        digest: "6e9a31c630a186bf2a995241dd1e9c3543fa2bf9b6e95b619a75f64e0199e9e6",
    },
    Golden {
        size: "24M",
        options: &["-t", "ext4", "-b", "1024", "-O", "metadata_csum_seed,orphan_file,^resize_inode,meta_bg"],
        digest: "e62aedbd16d1766c66f8718b9f84f746f1dd9b1f550ffa0a56fe847b71bda63f",
    },
];

#[test]
fn trees_in_several_geometries_have_their_digests() {
    let lab = Lab::new();
    let source = lab.folder("source");
    pinned_tree(&source);
    let mut found = Vec::new();
    for (number, golden) in GOLDEN.iter().enumerate() {
        let first = image(&lab, &format!("{number}.img"), golden, &source);
        let second = image(&lab, &format!("{number}-with-history.img"), golden, &source);
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

/// Makes an image with the defaults of `testdata/mke2fs.conf`, whatever those of the machine are,
/// and with root as the owner of everything, whoever runs the test.
fn image(lab: &Lab, name: &str, golden: &Golden, source: &Path) -> PathBuf {
    let image = lab.path(name);
    run(tool("mke2fs")
        .env("MKE2FS_CONFIG", Path::new(DATA).join("mke2fs.conf"))
        .args(["-q", "-F"])
        .args(golden.options)
        .arg("-d")
        .arg(source)
        .arg(&image)
        .arg(golden.size));
    let mut script = String::new();
    for path in crate::support::listing::paths(source).iter().map(PathBuf::as_path).chain([Path::new(".")]) {
        for field in ["uid", "gid"] {
            script.push_str(&format!("set_inode_field \"{}\" {field} 0\n", path.display()));
        }
    }
    script.push_str(&format!(
        "set_inode_field <2> mtime @{}\nset_inode_field <2> mode 040755\n",
        tree::SOME_TIME
    ));
    debugfs(&image, &script);
    image
}

/// [`tree::plain`], without names that debugfs can't be told.
fn pinned_tree(source: &Path) {
    tree::plain(source);
    fs::remove_dir_all(source.join("names")).expect("removing");
    tree::set_all_mtimes(source);
    for path in crate::support::listing::paths(source) {
        let path = source.join(path);
        // Whatever the umask says.
        let meta = path.symlink_metadata().expect("metadata");
        if !meta.is_symlink() && !path.parent().expect("a folder").ends_with("modes") {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = if meta.is_dir() { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        }
    }
}
