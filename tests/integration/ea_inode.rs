//! Xattr values in EA inodes.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use ext4_canon::internals::ondisk::checksum::crc32c;
use ext4_canon::internals::ondisk::features::Incompat;
use ext4_canon::internals::ondisk::inode::InodeFlags;
use ext4_canon::internals::ondisk::xattr::entry_hash;

use crate::support::dice::Dice;
use crate::support::fields::{inode, needs_recovery, superblock};
use crate::support::image::{blocks_of, debugfs, debugfs_read, flags_of, inode_of, patch, put_xattr};
use crate::support::kernel::{Mounted, sync};
use crate::support::{Lab, Need, canonical, fill, gate, judge, refused, run, same_bytes, tool, tree};

const SIZE: &str = "32M";

/// The names of files, and the lengths of the values of their xattrs.
type Sets = Vec<(String, Vec<usize>)>;

/// Returns sets of values near every limit for a block size: they fit into the inode, into a block, or into
/// neither.
fn value_sets(block: usize) -> Sets {
    let mut sets: Sets = Vec::new();
    for length in [1, 60, 68, 69, block - 60, block - 56, block - 55, block, block + 1, 5000, 20_000, 65_536]
    {
        sets.push((format!("one-{length}"), vec![length]));
        sets.push((format!("small-and-{length}"), vec![10, length]));
    }
    let half = block / 2;
    sets.push(("halves".to_owned(), vec![half; 4]));
    sets.push(("falling".to_owned(), vec![half, half - 40, half - 80, 300, 200, 100, 20]));
    sets.push(("rising".to_owned(), vec![10, 30, 60, 240, 960, 1920, 7680]));
    sets.push(("many".to_owned(), vec![100; 8]));
    sets.push(("empty".to_owned(), vec![0, 0, 6000, 0]));
    // This is a separate file, in which content and xattrs compete for the inode if content can be inline.
    sets.push(("tight".to_owned(), vec![block - 60, 60]));
    sets
}

/// Returns a value. Values of equal length are equal, except within one file.
fn value(length: usize, place: usize) -> Vec<u8> {
    Dice::noise((length * 16 + place) as u64, length)
}

fn make_nodes(root: &Path, sets: &Sets) {
    for (name, _) in sets {
        fs::write(root.join(name), Dice::noise(1, name.len() * 4)).expect("writing");
        fs::create_dir(root.join(format!("{name}-folder"))).expect("a folder");
        symlink("t".repeat(70), root.join(format!("{name}-link"))).expect("a symlink");
        tree::make_node(&root.join(format!("{name}-fifo")), rustix::fs::FileType::Fifo, 0, 0);
    }
}

fn set(root: &Path, sets: &Sets, backwards: bool, detour: usize) {
    let mut places: Vec<_> = sets
        .iter()
        .flat_map(|(name, lengths)| {
            lengths.iter().enumerate().map(move |(place, length)| (name, place, *length))
        })
        .collect();
    if backwards {
        places.reverse();
    }
    for (name, place, length) in places {
        for (suffix, space) in [("", "user"), ("-folder", "user"), ("-link", "trusted"), ("-fifo", "trusted")]
        {
            let (path, attribute) = (root.join(format!("{name}{suffix}")), format!("{space}.{place}"));
            if detour > 0 {
                tree::set_xattr(&path, &attribute, &value(detour, place));
            }
            tree::set_xattr(&path, &attribute, &value(length, place));
        }
    }
}

fn all_histories_meet(options: &str, block: usize) {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let options: Vec<_> = options.split_whitespace().collect();
    let sets = value_sets(block);
    let mut images = Vec::new();
    for (number, (backwards, detour, first)) in
        [(false, 0, true), (true, 0, false), (false, 3000, false), (true, 30, true)].into_iter().enumerate()
    {
        let image = lab.mke2fs(&format!("{number}.img"), SIZE, &options);
        fill::kernel(&image, |root| {
            make_nodes(root, &sets);
            if first {
                set(root, &sets, backwards, detour);
            }
        });
        fill::kernel(&image, |root| {
            if !first {
                set(root, &sets, backwards, detour);
            }
            tree::set_all_mtimes(root);
        });
        // Some kernels leave wrong reference counts if a value does not fit. Repair them.
        judge::repair(&image, &[]);
        images.push(image);
    }
    let outputs: Vec<_> = images.iter().map(|image| canonical(image, &["--verify"])).collect();
    for output in &outputs {
        same_bytes(&outputs[0], output);
    }
    judge::same_by_kernel(&images[0], &outputs[0]);
    value_inode(&outputs[0]);
    judge::kernel_works(&outputs[0]).expect("the kernel works on it");
}

macro_rules! geometries {
    ($($name:ident: $options:literal, $block:literal;)*) => { $(
        #[test]
        #[ignore = "needs root: mounts images"]
        fn $name() {
            all_histories_meet($options, $block);
        }
    )* };
}

geometries! {
    histories_meet: "-t ext4 -b 1024 -O ea_inode", 1024;
    histories_meet_in_blocks_of_4k: "-t ext4 -b 4096 -O ea_inode", 4096;
    histories_meet_in_inodes_of_128: "-t ext4 -b 1024 -I 128 -O ea_inode", 1024;
    histories_meet_in_inodes_of_512: "-t ext4 -b 4096 -I 512 -O ea_inode", 4096;
    histories_meet_without_extents: "-t ext4 -b 1024 -O ea_inode,^extents,^64bit", 1024;
    histories_meet_without_checksums: "-t ext4 -b 1024 -O ea_inode,^metadata_csum", 1024;
    histories_meet_with_a_seed: "-t ext4 -b 1024 -O ea_inode,metadata_csum_seed,orphan_file", 1024;
    histories_meet_with_inline_data: "-t ext4 -b 1024 -O ea_inode,inline_data", 1024;
    histories_meet_in_clusters: "-t ext4 -b 1024 -O ea_inode,bigalloc -C 8192", 1024;
}

/// e2fsck treats a fast symlink as one with blocks if its i_blocks is not 0. The kernel makes such symlinks,
/// but in the canonical form the value is in a block if it fits.
#[test]
#[ignore = "needs root: mounts images"]
fn fast_symlinks_have_no_values_in_inodes() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let mut outputs = Vec::new();
    for (name, lengths) in [("a", &[900, 60][..]), ("b", &[60, 900]), ("large", &[2000])] {
        let image = lab.mke2fs(&format!("{name}.img"), "8M", &["-t", "ext4", "-b", "1024", "-O", "ea_inode"]);
        fill::kernel(&image, |root| {
            let link = root.join("link");
            symlink("target", &link).expect("a symlink");
            for length in lengths {
                tree::set_xattr(&link, &format!("trusted.{length}"), &value(*length, 0));
            }
            tree::set_all_mtimes(root);
        });
        if name == "large" {
            refused(&image, &[], 3, &["symlink of less than 60 bytes"]);
        } else {
            outputs.push(canonical(&image, &["--verify"]));
        }
    }
    same_bytes(&outputs[0], &outputs[1]);
    judge::kernel_works(&outputs[0]).expect("the kernel works on it");
}

/// The blocks of a value are charged to each inode that refers to it, even if it is shared.
#[test]
fn quotas_charge_values() {
    let lab = Lab::new();
    let source = lab.folder("source");
    for name in ["a", "b", "c"] {
        fs::write(source.join(name), "content").expect("writing");
    }
    let image = lab.mke2fs_d("in.img", "16M", &["-t", "ext4", "-b", "1024", "-O", "ea_inode"], &source);
    let (one, other) = (lab.path("one"), lab.path("other"));
    // debugfs limits values to one block.
    fs::write(&one, Dice::noise(1, 1024)).expect("writing");
    fs::write(&other, Dice::noise(2, 1000)).expect("writing");
    let set =
        |name, file: &Path, attribute| format!("ea_set -f {} {name} user.{attribute}\n", file.display());
    debugfs(&image, &format!("mknod fifo p\n{}", set("fifo", &one, "x")));
    let script =
        [set("a", &one, "x"), set("b", &one, "x"), set("b", &other, "y"), set("c", &one, "z")].concat();
    // Set the owners, so that no other inode belongs to this user.
    debugfs(&image, &format!("{script}set_inode_field a uid 1000\nset_inode_field b uid 1000\n"));
    debugfs(&image, "set_inode_field c uid 0\nset_inode_field <2> uid 0\n");
    run(tool("tune2fs").args(["-O", "quota", "-Q", "usrquota,grpquota"]).arg(&image));
    let output = canonical(&image, &["--verify"]);
    let text = debugfs_read(&output, "list_quota user\n");
    // Two inodes and three values have one block each.
    assert!(
        text.lines().any(
            |line| line.split_whitespace().take(5).collect::<Vec<_>>() == ["1000", "5120", "0", "0", "5"]
        ),
        "{text}"
    );
}

/// No system call sets values of more than 64 KiB, but the format allows 16 MiB. Turn a file into the value
/// of an xattr that had a small one.
#[test]
fn values_may_be_larger_than_the_kernel_gives_out() {
    let content = Dice::noise(1, 300_000);
    let mut outputs = Vec::new();
    for large_first in [true, false] {
        let lab = Lab::new();
        let source = lab.folder("source");
        let names = if large_first { ["a", "b"] } else { ["b", "a"] };
        for name in names {
            fs::write(source.join(name), "content").expect("writing");
        }
        tree::set_all_mtimes(&source);
        let image = lab.mke2fs_d(
            "in.img",
            "16M",
            &["-t", "ext4", "-b", "4096", "-O", "ea_inode,^metadata_csum"],
            &source,
        );
        let (large, small) = (lab.path("large"), lab.path("small"));
        fs::write(&large, &content).expect("writing");
        fs::write(&small, Dice::noise(2, 4090)).expect("writing");
        let set = format!("ea_set -f {} a user.large\n", small.display());
        let write = format!("write {} value\n", large.display());
        debugfs(&image, &if large_first { write + &set } else { set + &write });
        let number: u32 = inode_of(&image, "value");
        let hash = crc32c(crc32c(!0, &superblock(&image).bytes("s_uuid")), &content);
        debugfs(
            &image,
            &format!(
                "unlink value\nclri <{}>\nset_inode_field <{number}> mode 0100600\n\
                 set_inode_field <{number}> flags 0x280000\nset_inode_field <{number}> atime @{}\n\
                 set_inode_field <{number}> ctime @0\nset_inode_field <{number}> version 1\n\
                 set_inode_field <{number}> mtime @0\nset_inode_field a blocks 600\n\
                 set_inode_field <2> mtime @1600000000\n",
                value_inode(&image),
                hash,
            ),
        );
        let holder = inode(&image, "a");
        let entry = holder.first_xattr();
        entry.set("e_value_inum", number.into());
        entry.set("e_value_size", 300_000);
        entry.set("e_hash", entry_hash(b"large", &hash.to_le_bytes(), false).into());
        // e2fsck frees the block and inode of the small value.
        judge::repair(&image, &[]).with_code(1);
        outputs.push((canonical(&image, &["--verify"]), lab));
    }
    same_bytes(&outputs[0].0, &outputs[1].0);
    let output = &outputs[0].0;
    let number = value_inode(output);
    let found = outputs[0].1.path("found");
    debugfs_read(output, &format!("dump <{number}> {}\n", found.display()));
    assert!(fs::read(&found).expect("a value") == content);
}

/// A deleted file that was open still refers to values.
#[test]
#[ignore = "needs root: mounts images"]
fn orphans_refer_to_values() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for features in ["ea_inode", "ea_inode,orphan_file"] {
        let lab = Lab::new();
        let image = lab.mke2fs("in.img", "24M", &["-t", "ext4", "-b", "1024", "-O", features]);
        let mounted = Mounted::read_write(&image).expect("a mount");
        let mut open = Vec::new();
        for number in 0..10_usize {
            for (name, values) in [("kept", [2000, 70]), ("deleted", [2000, 3000 + number])] {
                let path = mounted.path().join(format!("{name}{number}"));
                fs::write(&path, "content").expect("writing");
                for (place, length) in values.into_iter().enumerate() {
                    tree::set_xattr(&path, &format!("user.{place}"), &value(length, place));
                    tree::set_xattr(&path, &format!("user.more{place}"), &value(500, place));
                }
                if name == "deleted" {
                    open.push(File::open(&path).expect("a file"));
                    fs::remove_file(path).expect("removing");
                }
            }
        }
        sync(mounted.path());
        let crashed = lab.copy(&image, "crashed.img");
        drop(open);
        mounted.unmount();
        assert!(needs_recovery(&crashed), "test precondition failed");
        let output = canonical(&crashed, &["--verify"]);
        same_bytes(&output, &canonical(&lab.by_kernel(&crashed), &[]));
    }
}

/// Returns the number of the first EA inode.
fn value_inode(image: &Path) -> u32 {
    let holds_value = |number: &u32| flags_of(image, &format!("<{number}>")).contains(InodeFlags::EA_INODE);
    (11..500).find(holds_value).expect("a value in an inode")
}

fn with_value(lab: &Lab, options: &[&str]) -> std::path::PathBuf {
    let source = lab.folder("source");
    for name in ["file", "other"] {
        fs::write(source.join(name), "content").expect("writing");
    }
    let image = lab.mke2fs_d("sound.img", "8M", options, &source);
    put_xattr(&image, "file", "user.large", Dice::noise(1, 1024));
    image
}

#[test]
fn damage_is_refused() {
    let lab = Lab::new();
    let sound = with_value(&lab, &["-t", "ext4", "-b", "1024", "-O", "ea_inode,^metadata_csum"]);
    canonical(&sound, &[]);
    let number = value_inode(&sound);
    let field = |field: &str| format!("set_inode_field <{number}> {field}");
    for (command, words) in [
        (field("version 2"), "the number of references is 2, expected 1"),
        (field("atime 77"), "(/file), xattrs: bad checksum"),
        (field("flags 0x80000"), "which is not an EA inode"),
        (field("mode 0040755"), "not a plain file"),
        (field("links_count 2"), "not a plain file"),
        (field("size 1023"), "e_value_size is 1024, expected 1023"),
        (field("size 2000"), "blocks that its size needs"),
        (field("links_count 0"), "is not an EA inode"),
        ("clri file\nunlink file".to_owned(), "no xattr refers to it"),
        (format!("link <{number}> name"), "not in use"),
    ] {
        let image = lab.copy(&sound, "damaged.img");
        debugfs(&image, &format!("{command}\n"));
        refused(&image, &[], 4, &[words]);
    }
    let image = lab.copy(&sound, "damaged.img");
    let block = blocks_of(&image, &format!("<{number}>"))[0];
    patch(&image, block * 1024 + 100, b"other bytes");
    refused(&image, &[], 4, &["EA inode", "bad checksum"]);
    // Remove the feature bit.
    let image = lab.copy(&sound, "damaged.img");
    superblock(&image).remove("s_feature_incompat", Incompat::EA_INODE.bits());
    refused(&image, &[], 4, &["e_value_inum", "without the ea_inode feature"]);
}

/// Old servers of Lustre wrote EA inodes without hashes, with a reference to the inode that they belong to.
#[test]
fn values_in_the_form_of_lustre_are_converted() {
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "1024", "-O", "ea_inode,^metadata_csum"];
    let modern = with_value(&lab, &options);
    let number = value_inode(&modern);
    let lustre = lab.copy(&modern, "lustre.img");
    let owner = inode_of(&modern, "file");
    debugfs(
        &lustre,
        &format!(
            "set_inode_field <{number}> mtime @{owner}\nset_inode_field <{number}> generation 0\n\
             set_inode_field <{number}> atime @7\nset_inode_field <{number}> ctime @7\n\
             set_inode_field <{number}> version 0\nset_inode_field file blocks 2\n"
        ),
    );
    judge::fsck_silent(&lustre).expect("e2fsck accepts the Lustre format");
    same_bytes(&canonical(&modern, &[]), &canonical(&lustre, &["--verify"]));
    // If the reference is to a different inode, this is damage.
    debugfs(&lustre, &format!("set_inode_field <{number}> mtime @3\n"));
    refused(&lustre, &[], 4, &["bad checksum"]);
}
