//! Encrypted trees, created and read by the kernel with the key.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::dice::Dice;
use crate::support::fields::block_size;
use crate::support::fskeys::fskeys;
use crate::support::image::{block_of, debugfs, debugfs_read, patch};
use crate::support::kernel::Mounted;
use crate::support::listing::{Listing, listing, paths, same_tree};
use crate::support::{Lab, Need, canon, canonical, fill, gate, judge, refused, run, same_bytes, tool, tree};

const OPTIONS: [&str; 6] = ["-t", "ext4", "-b", "1024", "-O", "encrypt"];
const STABLE: [&str; 4] = ["-t", "ext4", "-O", "encrypt,stable_inodes,orphan_file"];
const DESCRIPTOR: &str = "0011223344556677";

/// A policy of encryption.
#[derive(Clone, Copy, Debug)]
enum Policy {
    Version1,
    /// A policy of version 2 with these flags.
    Version2(&'static str),
}

impl Policy {
    /// Adds the key to the kernel; returns its descriptor or identifier.
    fn unlock(self, root: &Path) -> String {
        let root = root.to_str().expect("a path in UTF-8");
        match self {
            Self::Version1 => {
                fskeys(&["unlock1", root, DESCRIPTOR, "5"]);
                DESCRIPTOR.to_owned()
            }
            Self::Version2(_) => fskeys(&["unlock2", root, "7"]),
        }
    }

    fn encrypt(self, folder: &Path, key: &str) {
        let folder = folder.to_str().expect("a path in UTF-8");
        match self {
            Self::Version1 => fskeys(&["encrypt1", folder, key, "3"]),
            Self::Version2(flags) => fskeys(&["encrypt2", folder, key, flags]),
        };
    }
}

/// Mounts an image with the kernel, adds the key, and changes it.
fn unlocked(image: &Path, policy: Policy, work: impl FnOnce(&Path)) {
    fill::kernel(image, |root| {
        policy.unlock(root);
        work(root);
    });
}

/// Returns the tree of an image as the kernel shows it with the key.
fn decrypted(image: &Path, policy: Policy) -> String {
    let mounted = Mounted::read_only(image).unwrap_or_else(|e| panic!("{e}"));
    policy.unlock(mounted.path());
    let text = listing(mounted.path(), Listing::default());
    mounted.unmount();
    text
}

/// Makes an image with plain and encrypted directories.
fn encrypted(lab: &Lab, options: &[&str], policy: Policy) -> PathBuf {
    let image = lab.mke2fs("in.img", "48M", options);
    fill::kernel(&image, |root| {
        let key = policy.unlock(root);
        fs::create_dir(root.join("plain")).expect("a folder");
        fs::write(root.join("plain/file"), "for everybody").expect("writing");
        let secret = root.join("plain/secret");
        fs::create_dir(&secret).expect("a folder");
        policy.encrypt(&secret, &key);
        tree::make_node(&secret.join("null"), rustix::fs::FileType::CharacterDevice, 1, 3);
        fs::create_dir_all(secret.join("deep/down")).expect("folders");
        for (number, size) in [0, 1, 100, 1023, 1024, 1025, 70_000].into_iter().enumerate() {
            fs::write(secret.join(format!("deep/{size}")), Dice::noise(number as u64, size))
                .expect("writing");
        }
        fs::write(secret.join("deep/zeros"), vec![0; 10_000]).expect("writing");
        let holes = fs::File::create(secret.join("deep/down/holes")).expect("a file");
        std::os::unix::fs::FileExt::write_all_at(&holes, b"between holes", 1 << 20).expect("writing");
        holes.set_len(3 << 20).expect("a length");
        fs::hard_link(secret.join("deep/100"), secret.join("again")).expect("a link");
        for length in [1, 14, 31, 32, 58, 59, 60, 200, 900] {
            symlink("t".repeat(length), secret.join(format!("link {length}"))).expect("a symlink");
        }
        fs::create_dir(secret.join("many")).expect("a folder");
        for number in 0..600 {
            fs::write(secret.join(format!("many/a name among others, {number}")), "").expect("writing");
        }
        tree::set_xattr(&secret.join("again"), "user.note", b"not encrypted");
        tree::set_all_mtimes(root);
    });
    image
}

fn survives(options: &[&str], policy: Policy) {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image = encrypted(&lab, options, policy);
    let output = canonical(&image, &["--verify"]);
    same_tree(&decrypted(&image, policy), &decrypted(&output, policy));
    judge::kernel_works_after(&output, |root| {
        policy.unlock(root);
    })
    .unwrap();

    let other = lab.copy(&image, "other.img");
    unlocked(&other, policy, |root| {
        let secret = root.join("plain/secret");
        fs::write(root.join("clutter"), Dice::noise(7, 2_000_000)).expect("writing");
        fs::write(secret.join("clutter"), Dice::noise(8, 2_000_000)).expect("writing");
        for path in paths(&secret).into_iter().map(|path| secret.join(path)) {
            if path.is_file() && !path.ends_with("holes") && !path.is_symlink() {
                let content = fs::read(&path).expect("reading");
                fs::write(&path, "").expect("emptying");
                fs::write(&path, content).expect("writing");
            }
        }
        fs::rename(secret.join("many/a name among others, 7"), secret.join("aside")).expect("renaming");
        fs::rename(secret.join("aside"), secret.join("many/a name among others, 7")).expect("renaming");
        fs::remove_file(secret.join("clutter")).expect("removing");
        fs::remove_file(root.join("clutter")).expect("removing");
        tree::set_all_mtimes(root);
    });
    judge::repair(&other, &["-D"]);
    same_bytes(&output, &canonical(&other, &[]));
}

#[test]
#[ignore = "needs root: mounts images"]
fn policies_of_version_1_survive() {
    survives(&OPTIONS, Policy::Version1);
}

#[test]
#[ignore = "needs root: mounts images"]
fn policies_of_version_2_survive() {
    survives(&OPTIONS, Policy::Version2("2"));
}

#[test]
#[ignore = "needs root: mounts images"]
fn block_maps_survive() {
    survives(&["-t", "ext4", "-b", "4096", "-O", "encrypt,^extents,^64bit"], Policy::Version2("3"));
}

#[test]
#[ignore = "needs root: mounts images"]
fn policies_bound_to_inode_numbers_survive_with_stable_inodes() {
    survives(&STABLE, Policy::Version2("11"));
}

fn inode_with_key(image: &Path, policy: Policy, path: &str) -> u64 {
    let mounted = Mounted::read_only(image).unwrap_or_else(|e| panic!("{e}"));
    policy.unlock(mounted.path());
    let inode = std::os::unix::fs::MetadataExt::ino(&mounted.path().join(path).metadata().expect("metadata"));
    mounted.unmount();
    inode
}

#[test]
#[ignore = "needs root: mounts images"]
fn a_file_without_its_key_is_not_printed() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image = encrypted(&lab, &OPTIONS, Policy::Version2("2"));
    let listed = canon(["ls", "--json"]).arg(&image).run().json();
    let entries = listed["entries"].as_array().expect("a list");
    let is_encrypted = |entry: &&serde_json::Value| {
        entry["type"] == "regular file"
            && entry["flags"].as_str().is_some_and(|flags| flags.contains("encrypt"))
    };
    let paths = entries.iter().filter(is_encrypted).map(|entry| entry["path"].as_str().expect("a path"));
    // No argument can hold a NUL byte, which encrypted names may have.
    let paths = paths.filter(|path| !path.contains("\\x00"));
    let ran: Vec<_> = paths.map(|path| canon(["cat"]).arg(&image).arg(unescaped(path)).run()).collect();
    // An encrypted name with a slash can't be given as a path, so some files are not found.
    let refused = ran.iter().filter(|ran| ran.code == Some(3));
    let words = "is encrypted, and no key is available; mount the image, add the key, and copy the file";
    assert!(refused.clone().count() > 0 && ran.iter().all(|ran| ran.stdout.is_empty()), "{ran:#?}");
    assert!(refused.clone().all(|ran| ran.error().contains(words)), "{ran:#?}");
}

/// Decodes the escapes of `ls --json`.
fn unescaped(text: &str) -> OsString {
    let mut parts = text.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    while let Some(part) = parts.next() {
        match part.strip_prefix('x') {
            Some(part) => {
                bytes.push(u8::from_str_radix(&part[..2], 16).expect("two digits"));
                bytes.extend_from_slice(&part.as_bytes()[2..]);
            }
            // Two backslashes are one.
            None => {
                bytes.push(b'\\');
                bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
            }
        }
    }
    OsString::from_vec(bytes)
}

#[test]
#[ignore = "needs root: mounts images"]
fn a_block_of_zeros_is_ciphertext_and_no_hole() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let policy = Policy::Version2("2");
    let lab = Lab::new();
    let image = encrypted(&lab, &OPTIONS, policy);
    let inode = inode_with_key(&image, policy, "plain/secret/deep/70000");
    patch(&image, block_of(&image, &format!("<{inode}>"), 5) * block_size(&image), &[0; 1024]);
    let output = canonical(&image, &["--verify"]);
    same_tree(&decrypted(&image, policy), &decrypted(&output, policy));
    // The output is the same if the image's file has holes in place of zeros.
    same_bytes(&output, &canonical(&lab.copy(&image, "sparse.img"), &["--verify"]));

    // A real hole in the file has different content.
    let holed = lab.copy(&image, "holed.img");
    unlocked(&holed, policy, |root| {
        let path = root.join("plain/secret/deep/70000");
        run(tool("xfs_io").args(["-c", "fpunch 5k 1k"]).arg(path));
        tree::set_all_mtimes(root);
    });
    let other = canonical(&holed, &["--verify"]);
    same_tree(&decrypted(&holed, policy), &decrypted(&other, policy));
    assert_ne!(decrypted(&output, policy), decrypted(&other, policy));
}

#[test]
#[ignore = "needs root: mounts images"]
fn unwritten_blocks_are_holes() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let policy = Policy::Version2("2");
    let lab = Lab::new();
    let image = encrypted(&lab, &OPTIONS, policy);
    let allocated = lab.copy(&image, "allocated.img");
    unlocked(&allocated, policy, |root| {
        let path = root.join("plain/secret/deep/down/holes");
        run(tool("xfs_io").args(["-c", "falloc 0 100k", "-c", "falloc -k 3m 1m"]).arg(path));
        tree::set_all_mtimes(root);
    });
    same_bytes(&canonical(&image, &[]), &canonical(&allocated, &["--verify"]));
    let kept = canonical(&allocated, &["--holes", "keep", "--verify"]);
    same_tree(&decrypted(&allocated, policy), &decrypted(&kept, policy));
}

#[test]
#[ignore = "needs root: mounts images"]
fn policies_bound_to_inode_numbers_are_refused_without_stable_inodes() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image = encrypted(&lab, &STABLE, Policy::Version2("10"));
    debugfs(&image, "feature -stable_inodes\n");
    refused(&image, &[], 3, &["IV_INO_LBLK", "stable_inodes"]);
}

#[test]
#[ignore = "needs root: mounts images"]
fn what_contradicts_the_policies_is_refused() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let policy = Policy::Version2("2");
    let lab = Lab::new();
    let image = encrypted(&lab, &OPTIONS, policy);
    let [file, folder, link] = ["deep/100", "deep", "link 900"].map(|name| format!("plain/secret/{name}"));
    let [file, folder] = [file, folder].map(|path| inode_with_key(&image, policy, &path));
    let link = {
        let mounted = Mounted::read_only(&image).unwrap_or_else(|e| panic!("{e}"));
        policy.unlock(mounted.path());
        let metadata = mounted.path().join(link).symlink_metadata().expect("metadata");
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        mounted.unmount();
        inode
    };
    let plain = "/plain/file";
    let name = "a name of ciphertext";
    for (number, (commands, word)) in [
        (format!("set_inode_field <{file}> flags 0x80000\n"), "without the ENCRYPT flag"),
        (format!("set_inode_field {plain} flags 0x80800\n"), "has no encryption context"),
        (
            format!("ln {plain} \"<{folder}>/{name}\"\nset_inode_field {plain} links_count 2\n"),
            "not encrypted by the same policy",
        ),
        (format!("ln <{file}> \"<{folder}>/short\"\n"), "name_len is 5"),
        (format!("set_inode_field <{link}> size 700\n"), "i_size is 700"),
        ("set_inode_field / flags 0x80800\n".to_owned(), "inode 2 (/), directory block"),
    ]
    .into_iter()
    .enumerate()
    {
        let broken = lab.copy(&image, &format!("broken{number}.img"));
        debugfs(&broken, &commands);
        refused(&broken, &[], 4, &[word]);
    }
}

#[test]
fn the_salt_of_passwords_stays() {
    let lab = Lab::new();
    let image = lab.mke2fs("in.img", "8M", &OPTIONS);
    debugfs(&image, "ssv encrypt_pw_salt 00112233-4455-6677-8899-aabbccddeeff\n");
    let output = canonical(&image, &[]);
    assert_ne!(
        fs::read(&output).unwrap(),
        fs::read(canonical(&lab.mke2fs("b.img", "8M", &OPTIONS), &[])).unwrap()
    );
    let header = debugfs_read(&output, "stats -h\n");
    assert!(header.contains("00112233-4455-6677-8899-aabbccddeeff"), "{header}");
}

#[test]
#[ignore = "needs root: mounts images"]
fn clusters_survive() {
    survives(&["-t", "ext4", "-O", "encrypt,bigalloc", "-C", "16384"], Policy::Version2("2"));
}

#[test]
#[ignore = "needs root: mounts images"]
fn encrypted_content_never_lies_in_inodes() {
    survives(&["-t", "ext4", "-O", "encrypt,inline_data"], Policy::Version2("2"));
}
