//! Small files, symlinks and directories in their inodes, with the inline_data feature.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use ext4_canon::internals::ondisk::features::Incompat;
use ext4_canon::internals::ondisk::inode::InodeFlags;

use crate::support::dice::Dice;
use crate::support::fields::{needs_recovery, superblock};
use crate::support::image::{debugfs, debugfs_read, flags_of, inode_of, set_length};
use crate::support::kernel::{Mounted, sync};
use crate::support::listing::{Listing, listing, paths, same_tree};
use crate::support::{Lab, Need, canonical, fill, gate, judge, refused, same_bytes, tree};

const SIZE: &str = "40M";

/// Returns whether the content of a path is stored in its inode.
fn is_inline(image: &Path, path: &str) -> bool {
    flags_of(image, path).contains(InodeFlags::INLINE_DATA)
}

/// Creates files near every size limit, with xattrs of several sizes; directories from empty to too large for
/// any inode; symlinks; hard links; a deep tree.
fn small(root: &Path) {
    let folder = |name: &str| {
        let path = root.join(name);
        fs::create_dir(&path).expect("a folder");
        path
    };
    let files = folder("files");
    for size in [0, 1, 4, 59, 60, 61, 100, 127, 128, 129, 383, 384, 385, 895, 896, 897, 1500] {
        for value in [None, Some(0), Some(1), Some(20), Some(60), Some(64), Some(200)] {
            let path = files.join(format!("{size}-{value:?}"));
            fs::write(&path, Dice::noise(size as u64, size)).expect("writing");
            if let Some(value) = value {
                tree::set_xattr(&path, "user.x", &Dice::noise(1, value));
            }
        }
    }
    fs::write(files.join("zeros"), [0; 50]).expect("writing");
    fs::write(files.join("zeros and one"), [&[0; 70][..], b"1"].concat()).expect("writing");
    fs::write(files.join("one and zeros"), [b"1", &[0; 70][..]].concat()).expect("writing");
    fs::hard_link(files.join("60-None"), root.join("another name")).expect("a link");
    tree::set_xattr(&files.join("59-None"), "system.posix_acl_access", &tree::acl(5));
    tree::set_xattr(&files.join("128-None"), "system.posix_acl_access", &tree::acl(5));

    let folders = folder("folders");
    for count in (0..12).chain([20, 29, 30, 40, 69, 70, 80, 200]) {
        for length in [1, 7, 20, 48, 100] {
            let path = folders.join(format!("{count}-{length}"));
            fs::create_dir(&path).expect("a folder");
            for number in 0..count {
                // Use names of different lengths, so that some directories don't fill their space.
                let name = format!("{number}{}", "n".repeat(length + number % 3 * 4));
                fs::write(path.join(name), "").expect("writing");
            }
        }
    }
    tree::set_xattr(&folders.join("3-7"), "system.posix_acl_default", &tree::acl(7));
    tree::set_xattr(&folders.join("0-1"), "user.large", &Dice::noise(3, 300));
    fs::create_dir_all(root.join("a/b/c/d/e/f/g")).expect("folders");
    fs::write(root.join("a/b/c/d/e/f/g/h"), "deep").expect("writing");

    let links = folder("links");
    for length in [1, 59, 60, 61, 127, 128, 129, 384, 385, 900] {
        symlink("t".repeat(length), links.join(format!("{length}"))).expect("a symlink");
    }
    tree::set_all_mtimes(root);
}

/// Copies a tree so that all content was in blocks first: every file was larger, and every directory had more
/// names.
fn through_blocks(image: &Path, source: &Path) {
    fill::kernel(image, |root| {
        for path in paths(source) {
            let (from, to) = (source.join(&path), root.join(&path));
            let kind = from.symlink_metadata().expect("metadata").file_type();
            if kind.is_dir() {
                fs::create_dir(&to).expect("a folder");
                for number in 0..30 {
                    fs::write(to.join(format!("clutter of a longer name {number:020}")), "")
                        .expect("writing");
                }
            } else if kind.is_file() {
                fs::write(&to, Dice::noise(1, 3000)).expect("writing");
            }
        }
        fill::copy(source, root);
        for path in paths(source).iter().map(|path| root.join(path)).filter(|path| is_folder(path)) {
            for number in 0..30 {
                fs::remove_file(path.join(format!("clutter of a longer name {number:020}")))
                    .expect("removing");
            }
        }
        // Restore the times of directories.
        fill::copy(source, root);
    });
}

fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().expect("metadata").is_dir()
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().expect("metadata").is_file()
}

fn copy_time(from: &Path, to: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    let meta = from.symlink_metadata().expect("metadata");
    tree::set_mtime(to, meta.mtime(), meta.mtime_nsec());
}

/// Copies a tree so that files grow in steps, and get their xattrs in between.
fn grown(image: &Path, source: &Path) {
    fill::kernel(image, |root| {
        fill::copy_in_order(source, root, &fill::backwards(source));
        for path in paths(source).iter().filter(|path| is_file(&source.join(path))) {
            let content = fs::read(source.join(path)).expect("reading");
            let file = OpenOptions::new().write(true).open(root.join(path)).expect("a file");
            file.set_len(content.len() as u64 / 3).expect("cutting");
            for (offset, byte) in content.iter().enumerate().skip(content.len() / 3) {
                file.write_all_at(&[*byte], offset as u64).expect("writing");
            }
        }
    });
    // Restore the times of files that were written last.
    fill::kernel(image, |root| {
        for path in paths(source) {
            copy_time(&source.join(&path), &root.join(&path));
        }
        copy_time(source, root);
    });
}

/// Checks that all histories of one tree have the same canonical form.
fn all_histories_meet(options: &str) {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.folder("source");
    small(&source);
    let options: Vec<_> = options.split_whitespace().collect();
    let mut outputs = Vec::new();
    let writers: [(&str, fill::Writer); 4] = [
        ("copied", |image, source| fill::kernel(image, |root| fill::copy(source, root))),
        ("backwards", |image, source| {
            fill::kernel(image, |root| fill::copy_in_order(source, root, &fill::backwards(source)));
        }),
        ("blocks", through_blocks),
        ("grown", grown),
    ];
    for (name, write) in writers {
        let image = lab.mke2fs(&format!("{name}.img"), SIZE, &options);
        write(&image, &source);
        outputs.push(canonical(&image, &["--verify"]));
    }
    let blocks = lab.path("blocks.img");
    assert!(
        !is_inline(&blocks, "files/61-None") && !is_inline(&blocks, "folders/2-7"),
        "the second image has the same history"
    );
    for output in &outputs {
        same_bytes(&outputs[0], output);
    }
    let output = &outputs[0];
    for (path, expected) in [
        ("files/60-None", true),
        ("files/1500-None", false),
        ("files/0-None", false),
        ("files/zeros", false),
        ("folders/0-1", true),
        ("folders/3-7", true),
        ("folders/200-1", false),
        ("links/60", true),
        ("lost+found", false),
    ] {
        assert_eq!(is_inline(output, path), expected, "{path}");
    }
    same_tree(&listing(&source, Listing::default()), &judge::kernel_tree(output).expect("it mounts"));
    judge::kernel_works(output).expect("the kernel works on it");
}

macro_rules! geometries {
    ($($name:ident: $options:literal;)*) => { $(
        #[test]
        #[ignore = "needs root: mounts images"]
        fn $name() {
            all_histories_meet($options);
        }
    )* };
}

geometries! {
    histories_meet: "-t ext4 -b 1024 -I 256 -N 8000 -O inline_data";
    histories_meet_in_blocks_of_4k: "-t ext4 -b 4096 -I 256 -N 8000 -O inline_data";
    histories_meet_in_inodes_of_512: "-t ext4 -b 1024 -I 512 -N 8000 -O inline_data";
    histories_meet_in_inodes_of_1024: "-t ext4 -b 4096 -I 1024 -N 8000 -O inline_data";
    histories_meet_without_extents: "-t ext4 -b 1024 -N 8000 -O inline_data,^extents,^64bit";
    histories_meet_without_checksums: "-t ext4 -b 1024 -N 8000 -O inline_data,^metadata_csum";
    histories_meet_without_journal_and_types: "-t ext4 -b 1024 -N 8000 -O inline_data,^has_journal,^filetype";
    histories_meet_with_seed_and_large_dir:
        "-t ext4 -b 1024 -N 8000 -O inline_data,metadata_csum_seed,large_dir,orphan_file";
}

/// `mke2fs -d` makes inline directories, files and long symlinks of the plain tree.
#[test]
#[ignore = "needs root: mounts images"]
fn mke2fs_and_kernel_meet() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for options in [
        &["-t", "ext4", "-b", "1024", "-O", "inline_data"],
        &["-t", "ext4", "-I", "512", "-O", "inline_data"],
    ] {
        let lab = Lab::new();
        let source = lab.plain_tree();
        // mke2fs 1.47.0 drops trailing zeros of files with inline_data.
        fs::remove_file(source.join("sizes/gaps")).expect("removing");
        tree::set_all_mtimes(&source);
        let first = lab.mke2fs_d("mke2fs.img", SIZE, options, &source);
        assert!(is_inline(&first, "links/long60"), "mke2fs no longer makes inline symlinks");
        let second = lab.mke2fs("kernel.img", SIZE, options);
        fill::kernel(&second, |root| fill::copy(&source, root));
        let output = canonical(&first, &[]);
        same_bytes(&output, &canonical(&second, &[]));
        same_tree(&listing(&source, Listing::default()), &judge::kernel_tree(&output).expect("it mounts"));
    }
}

/// Inline content has 60 bytes in `i_block`, and the rest after the fields of the inode, minus 4 bytes of
/// magic number, 20 of the entry, and 4 of the terminator.
#[test]
fn files_are_inline_to_the_last_byte_of_room() {
    for (inode_size, room) in [(256, 128), (512, 384), (1024, 896)] {
        let lab = Lab::new();
        let source = lab.folder("source");
        for size in [room - 1, room, room + 1] {
            fs::write(source.join(format!("{size}")), Dice::noise(1, size)).expect("writing");
            // The xattr needs 20 bytes for its entry, and 4 for its value.
            fs::write(source.join(format!("x{}", size - 24)), Dice::noise(1, size - 24)).expect("writing");
        }
        let options = ["-t", "ext4", "-b", "1024", "-I", &inode_size.to_string(), "-O", "inline_data"];
        let image = lab.mke2fs_d("in.img", "8M", &options, &source);
        for size in [room - 25, room - 24, room - 23] {
            debugfs(&image, &format!("ea_set x{size} user.abc value\n").replace("value", "1234"));
        }
        let output = canonical(&image, &[]);
        for (name, expected) in [(room - 1, true), (room, true), (room + 1, false)] {
            assert_eq!(is_inline(&output, &name.to_string()), expected, "{inode_size} {name}");
        }
        // If the content is one byte larger, the xattr moves to a block, and the content stays.
        for size in [room - 25, room - 24, room - 23] {
            assert!(is_inline(&output, &format!("x{size}")), "{inode_size} {size}");
            let text = debugfs_read(&output, &format!("stat x{size}\n"));
            assert_eq!(text.contains("File ACL: 0"), size <= room - 24, "{inode_size} {size}: {text}");
        }
    }
}

/// With inline content, 68 bytes remain in the inode, and the smaller xattr does not fit. The block has 988
/// bytes, all of which the larger xattr needs.
#[test]
#[ignore = "needs root: mounts images"]
fn content_makes_way_for_xattrs_that_fit_nowhere_else() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let mut outputs = Vec::new();
    for order in [[0, 1], [1, 0]] {
        let image =
            lab.mke2fs(&format!("{order:?}.img"), "8M", &["-t", "ext4", "-b", "1024", "-O", "inline_data"]);
        fill::kernel(&image, |root| {
            let path = root.join("file");
            fs::write(&path, Dice::noise(1, 3000)).expect("writing");
            for xattr in order {
                let (name, length) = [("user.aaa", 968), ("user.bbb", 68)][xattr];
                tree::set_xattr(&path, name, &Dice::noise(9, length));
            }
            set_length(&path, 5);
            tree::set_mtime(&path, tree::SOME_TIME, 0);
            tree::set_mtime(root, tree::SOME_TIME, 0);
        });
        outputs.push(canonical(&image, &["--verify"]));
        assert!(!is_inline(&outputs[0], "file"));
        judge::same_by_kernel(&image, &outputs[0]);
    }
    same_bytes(&outputs[0], &outputs[1]);
}

/// A file that was truncated keeps its space, and an empty file stays inline in the kernel.
#[test]
#[ignore = "needs root: mounts images"]
fn longer_values_than_needed_are_cut() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let mut outputs = Vec::new();
    for cut in [true, false] {
        let image =
            lab.mke2fs(&format!("{cut}.img"), "8M", &["-t", "ext4", "-b", "1024", "-O", "inline_data"]);
        fill::kernel(&image, |root| {
            for size in [0, 1, 30, 61, 100] {
                let path = root.join(format!("{size}"));
                let content = Dice::noise(size, 120);
                fs::write(&path, &content[..if cut { 120 } else { size as usize }]).expect("writing");
                sync(root);
                set_length(&path, size);
                tree::set_mtime(&path, tree::SOME_TIME, 0);
            }
            tree::set_mtime(root, tree::SOME_TIME, 0);
        });
        assert_eq!(is_inline(&image, "0"), cut, "test precondition failed");
        outputs.push(canonical(&image, &["--verify"]));
        assert!(!is_inline(outputs.last().expect("one"), "0"));
    }
    same_bytes(&outputs[0], &outputs[1]);
}

/// Blocks of the inode table with inline content are replayed from the journal.
#[test]
#[ignore = "needs root: mounts images"]
fn content_may_lie_in_the_journal() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    for features in ["inline_data", "inline_data,orphan_file"] {
        let lab = Lab::new();
        let image = lab.mke2fs("in.img", "24M", &["-t", "ext4", "-b", "1024", "-O", features]);
        let mounted = Mounted::read_write(&image).expect("a mount");
        let mut open = Vec::new();
        for number in 0..50 {
            let path = mounted.path().join(format!("folder{number}"));
            fs::create_dir(&path).expect("a folder");
            fs::write(path.join("file"), Dice::noise(number, 70)).expect("writing");
            let deleted = path.join("deleted");
            fs::write(&deleted, Dice::noise(number, 90)).expect("writing");
            open.push(File::open(&deleted).expect("a file"));
            fs::remove_file(deleted).expect("removing");
            if number % 10 == 0 {
                sync(mounted.path());
            }
            File::open(path.join("file")).and_then(|file| file.sync_all()).expect("fsync");
        }
        let crashed = lab.copy(&image, "crashed.img");
        drop(open);
        mounted.unmount();
        assert!(needs_recovery(&crashed), "test precondition failed");
        let output = canonical(&crashed, &["--verify"]);
        same_bytes(&output, &canonical(&lab.by_kernel(&crashed), &[]));
        assert!(is_inline(&output, "folder7/file") && is_inline(&output, "folder7"));
    }
}

/// The kernel's replay of such a log leaves wrong link counts.
#[test]
#[ignore = "needs root: mounts images"]
fn fast_commits_are_refused() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let image = lab.mke2fs("in.img", "24M", &["-t", "ext4", "-b", "1024", "-O", "inline_data,fast_commit"]);
    canonical(&image, &[]);
    let mounted = Mounted::read_write(&image).expect("a mount");
    fs::write(mounted.path().join("first"), "first").expect("writing");
    sync(mounted.path());
    let path = mounted.path().join("second");
    fs::write(&path, "second").expect("writing");
    File::open(&path).and_then(|file| file.sync_all()).expect("fsync");
    let crashed = lab.copy(&image, "crashed.img");
    mounted.unmount();
    refused(&crashed, &[], 3, &["fast commits", "inline_data"]);
}

/// With `--holes keep`, zeros stay allocated, inline or not.
#[test]
#[ignore = "needs root: mounts images"]
fn zeros_may_be_kept() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let mut outputs = Vec::new();
    for large in [true, false] {
        let image =
            lab.mke2fs(&format!("{large}.img"), "8M", &["-t", "ext4", "-b", "1024", "-O", "inline_data"]);
        fill::kernel(&image, |root| {
            let (zeros, hole) = (root.join("zeros"), root.join("hole"));
            fs::write(&zeros, vec![0; if large { 3000 } else { 70 }]).expect("writing");
            fs::write(&hole, if large { vec![1; 3000] } else { Vec::new() }).expect("writing");
            sync(root);
            set_length(&zeros, 70);
            let file = File::options().write(true).open(&hole).expect("a file");
            file.set_len(0).and_then(|()| file.set_len(70)).expect("cutting");
            for path in [&zeros, &hole, root] {
                tree::set_mtime(path, tree::SOME_TIME, 0);
            }
        });
        assert_eq!(is_inline(&image, "zeros"), !large, "test precondition failed");
        let kept = canonical(&image, &["--holes", "keep", "--verify"]);
        assert!(is_inline(&kept, "zeros") && !is_inline(&kept, "hole"));
        let punched = canonical(&image, &[]);
        assert!(!is_inline(&punched, "zeros") && !is_inline(&punched, "hole"));
        outputs.push([kept, punched]);
    }
    for (one, other) in outputs[0].iter().zip(&outputs[1]) {
        same_bytes(one, other);
    }
}

/// The image has no checksums, so that damage to inline content is not hidden.
#[test]
fn damage_is_refused() {
    let lab = Lab::new();
    let source = lab.folder("source");
    fs::create_dir(source.join("folder")).expect("a folder");
    for name in ["1", "file with a name"] {
        fs::write(source.join("folder").join(name), "").expect("writing");
    }
    fs::write(source.join("file"), Dice::noise(1, 100)).expect("writing");
    fs::write(source.join("large"), Dice::noise(1, 1000)).expect("writing");
    symlink("t".repeat(70), source.join("link")).expect("a symlink");
    let options = ["-t", "ext4", "-b", "1024", "-O", "inline_data,^metadata_csum"];
    let sound = lab.mke2fs_d("sound.img", "8M", &options, &source);
    for name in ["folder", "file", "link"] {
        assert!(is_inline(&sound, name), "{name}");
    }
    canonical(&sound, &[]);
    for (commands, words) in [
        ("set_inode_field folder size 64", "i_size is 64, expected 60"),
        ("set_inode_field link size 69", "i_size is 69, expected 70"),
        ("set_inode_field link block[3] 0", "NUL"),
        ("set_inode_field file size 281474976710711", "the limit of its map"),
        ("set_inode_field folder block[0] 11", "'..' is 11"),
        ("set_inode_field folder block[1] 0x7FFFFFFF", "not in use"),
        ("set_inode_field folder block[2] 0x01010011", "rec_len is"),
        ("set_inode_field folder flags 0x10001000", "an index"),
        ("set_inode_field file flags 0x10080000", "an extent tree"),
        ("set_inode_field file flags 0", "system.data without the INLINE_DATA flag"),
        ("set_inode_field large flags 0x10000000", "no xattr system.data"),
        ("set_inode_field file mode 0010644", "neither file, directory nor symlink"),
    ] {
        let image = lab.copy(&sound, "damaged.img");
        debugfs(&image, &format!("{commands}\n"));
        refused(&image, &[], 4, &[words]);
    }
    // Remove the feature bit.
    let image = lab.copy(&sound, "damaged.img");
    superblock(&image).remove("s_feature_incompat", Incompat::INLINE_DATA.bits());
    refused(&image, &[], 4, &["without the inline_data feature"]);
}

/// e2fsck ignores the xattr block of a symlink with inline data.
#[test]
#[ignore = "needs root: mounts images"]
fn a_symlink_with_an_xattr_block_is_not_inline() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let options = ["-t", "ext4", "-O", "inline_data"];
    let target = "t".repeat(70);
    let finish = |root: &Path| {
        for (name, length) in [("large", 300), ("small", 3)] {
            tree::set_xattr(&root.join(name), "trusted.name", &vec![7; length]);
            tree::set_mtime(&root.join(name), tree::SOME_TIME, 0);
        }
        tree::set_mtime(root, tree::SOME_TIME, 0);
    };
    // mke2fs makes these symlinks inline, but the kernel does not.
    let source = lab.folder("source");
    for name in ["large", "small"] {
        symlink(&target, source.join(name)).expect("a symlink");
    }
    let image = lab.mke2fs_d("first.img", "16M", &options, &source);
    fill::kernel(&image, finish);
    assert!(is_inline(&image, "large"), "test precondition failed");
    let complaint = judge::fsck_silent(&image).expect_err("e2fsck handles it now");
    assert!(complaint.contains("Block bitmap differences"), "{complaint}");
    let other = lab.mke2fs("second.img", "16M", &options);
    fill::kernel(&other, |root| {
        for name in ["small", "large"] {
            symlink(&target, root.join(name)).expect("a symlink");
        }
        finish(root);
    });
    let output = canonical(&image, &["--verify"]);
    same_bytes(&output, &canonical(&other, &[]));
    assert!(!is_inline(&output, "large") && is_inline(&output, "small"));
}

/// An inline directory begins with the inode number of its parent, which can look like the magic number of
/// extent trees. If the inode of the first entry also matches, e2fsck treats the directory as an extent tree.
#[test]
#[ignore = "needs root: mounts images"]
fn directories_that_look_like_extent_trees_have_blocks() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    // The first free inode is 12. The directory "b" must get inode 0xF30A, and the file in "y" inode 0x10002.
    let (before, after) = (0xF30A - 12, 0x10002 - 0xF30A - 2);
    for (shift, inline) in [(0, false), (1, true)] {
        let lab = Lab::new();
        let options =
            ["-t", "ext4", "-b", "1024", "-I", "256", "-N", "66000", "-O", "inline_data,^has_journal"];
        let image = lab.mke2fs("in.img", "64M", &options);
        fill::kernel(&image, |root| {
            for number in 0..before + shift {
                File::create(root.join(format!("a{number:05}"))).expect("a file");
            }
            fs::create_dir_all(root.join("b/y")).expect("folders");
            File::create(root.join("b/y/file")).expect("a file");
            for number in 0..after {
                File::create(root.join(format!("c{number:05}"))).expect("a file");
            }
        });
        assert!(is_inline(&image, "/b/y"));
        let output = canonical(&image, &["--verify"]);
        let number = inode_of(&output, "/b");
        assert_eq!((number, is_inline(&output, "/b/y")), (0xF30A + shift, inline));
    }
}
