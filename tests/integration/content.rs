//! The content of trees: every kind of file, name, time, flag and xattr is preserved.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::support::dice::Dice;
use crate::support::fields::inode;
use crate::support::image::{debugfs, debugfs_read, put_file, unsorted_xattrs};
use crate::support::listing::{first_difference, same_tree};
use crate::support::tools::try_run;
use crate::support::{Lab, Need, canonical, fill, gate, judge, partly, refused, run, same_bytes, tool, tree};

/// Canonicalizes an image, and asserts that the kernel sees the same tree and can change it.
fn same_for_the_kernel(image: &Path) -> PathBuf {
    let output = canonical(image, &["--verify"]);
    judge::same_by_kernel(image, &output);
    judge::kernel_works(&output).expect("the kernel works on it");
    output
}

/// Makes an image and fills it with the kernel.
fn kernel_image(size: &str, options: &[&str], work: impl FnOnce(&Path)) -> Option<(Lab, PathBuf)> {
    gate(&[Need::Mounts]).then(|| {
        let lab = Lab::new();
        let image = lab.mke2fs("in.img", size, options);
        fill::kernel(&image, work);
        (lab, image)
    })
}

fn sectors_of(image: &Path, path: &str) -> u64 {
    let text = debugfs_read(image, &format!("stat {path}\n"));
    let count = text.split("Blockcount: ").nth(1).expect("a block count");
    count.split_whitespace().next().expect("a number").parse().expect("a number")
}

#[test]
#[ignore = "needs root: mounts images"]
fn zeros_and_unwritten_blocks_become_holes() {
    let punched = |image: &Path| {
        for name in ["/zeros", "/fallocated", "/past-the-end", "/sparse"] {
            let expected = if name == "/past-the-end" || name == "/sparse" { 8 } else { 0 };
            assert_eq!(sectors_of(image, name), expected, "{name}");
        }
    };
    let Some((_lab, image)) = kernel_image("16M", &["-t", "ext4", "-b", "4096"], |root| {
        fs::write(root.join("zeros"), vec![0; 50_000]).expect("writing");
        for (name, options) in
            [("fallocated", &["-l", "40000"][..]), ("past-the-end", &["-n", "-l", "60000"])]
        {
            if name == "past-the-end" {
                fs::write(root.join(name), "short").expect("writing");
            }
            run(tool("fallocate").args(options).arg(root.join(name)));
        }
        let file = File::create(root.join("sparse")).expect("a file");
        file.write_all_at(b"end", 8 << 20).expect("writing");
    }) else {
        return;
    };
    assert_ne!(sectors_of(&image, "/zeros"), 0);
    assert_ne!(sectors_of(&image, "/fallocated"), 0);
    punched(&same_for_the_kernel(&image));

    let kept = canonical(&image, &["--holes", "keep", "--verify"]);
    for name in ["/zeros", "/fallocated", "/sparse"] {
        assert_eq!(sectors_of(&kept, name), sectors_of(&image, name), "{name}");
    }
}

#[test]
#[ignore = "needs root: mounts images"]
fn fragmented_files_become_whole() {
    for options in [&["-t", "ext4", "-b", "1024"][..], &["-t", "ext2", "-b", "1024"]] {
        let Some((_lab, image)) = kernel_image("64M", options, |root| {
            // Write every second block of the file, so that it needs thousands of extents.
            let file = File::create(root.join("comb")).expect("a file");
            for block in (0..6000).step_by(2) {
                file.write_all_at(&Dice::noise(block, 1024), block * 1024).expect("writing");
            }
            // Write two files alternately.
            for name in ["a", "b"] {
                fs::write(root.join(name), Dice::noise(3, 900_000)).expect("writing");
            }
        }) else {
            return;
        };
        let output = same_for_the_kernel(&image);
        let text = debugfs_read(&output, "stat /a\n");
        if options.contains(&"ext4") {
            assert!(text.contains("EXTENTS:\n(0-878):"), "{text}");
        }
    }
}

#[test]
#[ignore = "needs root: mounts images"]
fn a_file_of_many_gigabytes() {
    for (options, blocks) in
        [(["-t", "ext4", "-b", "4096"], 3 << 20), (["-t", "ext2", "-b", "4096"], 3 << 20)]
    {
        let Some((_lab, image)) = kernel_image("64M", &options, |root| {
            let file = File::create(root.join("huge")).expect("a file");
            for offset in [0, 4 << 30, (5 << 30) + 777, blocks * 4096] {
                file.write_all_at(b"here", offset).expect("writing");
            }
        }) else {
            return;
        };
        same_for_the_kernel(&image);
    }
}

#[test]
#[ignore = "needs root: mounts images"]
fn times_before_1970_and_after_2038() {
    let times = [
        (-1, 0),
        (-2_147_483_647, 1),
        (0, 0),
        (2_147_483_647, 999_999_999),
        (2_147_483_648, 5),
        (4_294_967_296, 0),
        (6_442_450_943, 7),
        (10_737_418_239, 0),
        (15_032_385_534, 123_456_789),
    ];
    let work = |root: &Path| {
        for (number, (seconds, nanoseconds)) in times.iter().enumerate() {
            let path = root.join(number.to_string());
            fs::create_dir(&path).expect("a folder");
            tree::set_mtime(&path, *seconds, *nanoseconds);
        }
    };
    let Some((_lab, image)) = kernel_image("8M", &["-t", "ext4"], work) else { return };
    let output = same_for_the_kernel(&image);
    let text = judge::kernel_tree(&output).expect("it mounts");
    for (seconds, nanoseconds) in times {
        assert!(text.contains(&format!("mtime={seconds}.{nanoseconds:09}")), "{seconds}: {text}");
    }
    // atime, ctime and crtime get the same value.
    let text = debugfs_read(&output, "stat /8\n");
    for name in ["ctime", "atime", "mtime", "crtime"] {
        assert!(text.contains(&format!("{name}: 0x7ffffffe:1d6f3457")), "{name}: {text}");
    }
}

#[test]
fn the_epoch_clamps_and_sets() {
    let lab = Lab::new();
    let source = lab.plain_tree();
    let image = lab.mke2fs_d("in.img", "8M", &["-t", "ext4"], &source);
    let epoch = (tree::SOME_TIME + 50_000).to_string();
    let with = |options: &[&str]| {
        let output = canonical(&image, options);
        let text = debugfs_read(&output, "stat /deep\nstat /sizes\nstat /a-second\nstat <2>\n");
        let time = |line: &&str| line.trim_start().starts_with("mtime: ");
        text.lines().filter(time).map(|line| line.trim()[9..17].to_owned()).collect::<Vec<_>>()
    };
    let set = format!("{:08x}", tree::SOME_TIME + 50_000);
    let clamped = with(&["--source-date-epoch", &epoch]);
    let kept = with(&["--source-date-epoch", &epoch, "--mtime", "keep"]);
    assert_eq!(kept, with(&[]));
    assert_eq!(with(&["--source-date-epoch", &epoch, "--mtime", "set"]), [set.as_str(); 4]);
    assert!(kept.iter().any(|time| *time > set) && kept.iter().any(|time| *time < set), "{kept:?}");
    let mut expected: Vec<_> = kept.iter().map(|time| time.min(&set).clone()).collect();
    // The root's mtime is arbitrary, so it is set to the epoch, even if it is earlier.
    assert!(kept[3] < set, "{kept:?}");
    expected[3] = set;
    assert_eq!(clamped, expected);
}

#[test]
#[ignore = "needs root: mounts images"]
fn xattrs_in_body_and_block_in_any_order() {
    let forward = |root: &Path| set_in_an_order(root, 1);
    let backward = |root: &Path| set_in_an_order(root, -1);
    for options in
        [&["-t", "ext4", "-I", "256"][..], &["-t", "ext4", "-I", "128"], &["-t", "ext2", "-I", "512"]]
    {
        let Some((_lab, a)) = kernel_image("16M", options, forward) else { return };
        let Some((_other, b)) = kernel_image("16M", options, backward) else { return };
        same_bytes(&same_for_the_kernel(&a), &same_for_the_kernel(&b));
    }
}

/// e2fsck accepts this, but the kernel does not find all of the xattrs. The advice in the message works.
#[test]
fn xattrs_in_a_block_that_is_not_sorted() {
    let lab = Lab::new();
    let image = lab.mke2fs("in.img", "4M", &["-t", "ext2", "-I", "128", "-b", "1024"]);
    put_file(&image, "file", "content");
    let value = lab.path("value");
    unsorted_xattrs(&image, "file");
    run(tool("e2fsck").arg("-fn").arg(&image));
    refused(&image, &[], 4, &["have user.b after user.c, where the kernel does not find it"]);
    for name in ["b", "c", "a"] {
        let value = value.display();
        debugfs(
            &image,
            &format!(
                "ea_get -f {value} file user.{name}\nea_rm file user.{name}\nea_set -f {value} file user.{name}\n"
            ),
        );
    }
    let output = canonical(&image, &[]);
    let found = debugfs_read(&output, "ea_list file\n");
    for value in ["user.a (3) = \"one\"", "user.b (3) = \"two\"", "user.c (5) = \"three\""] {
        assert!(found.contains(value), "{found}");
    }
}

/// Values are padded to a multiple of 4 bytes. The kernel and e2fsck refuse a value whose padding is past the
/// end of the inode.
#[test]
fn a_value_without_room_for_its_padding() {
    let lab = Lab::new();
    let options = ["-t", "ext4", "-O", "^metadata_csum,^64bit,^has_journal", "-I", "256", "-b", "1024"];
    let image = lab.mke2fs("in.img", "4M", &options);
    put_file(&image, "file", "content");
    debugfs(&image, "ea_set file user.a one\n");
    let file = inode(&image, "/file");
    let entry = file.first_xattr();
    assert_eq!(entry.get("e_value_offs"), 88, "the last 4 of 92 bytes");
    entry.set("e_value_offs", 89);
    let judged = try_run(tool("e2fsck").arg("-fn").arg(&image));
    assert!(judged.stdout.contains("allocation collision"), "{}", judged.stdout);
    refused(&image, &[], 4, &["e_value_size is 3, expected a value within the inode or block"]);
}

/// Creates files with many xattrs, which are set in either order; some are set and removed again.
fn set_in_an_order(root: &Path, direction: i64) {
    let all: [(&str, Vec<u8>); 8] = [
        ("user.a", b"1".to_vec()),
        ("user.longer-name", Dice::noise(1, 60)),
        ("trusted.x", Dice::noise(2, 100)),
        ("security.capability", tree::capability()),
        ("security.selinux", b"system_u:object_r:etc_t:s0\0".to_vec()),
        ("system.posix_acl_access", tree::acl(5)),
        ("user.empty", Vec::new()),
        ("user.block", Dice::noise(4, 300)),
    ];
    for count in 0..=all.len() {
        let path = root.join(format!("file{count}"));
        fs::write(&path, "content").expect("writing");
        let mut chosen: Vec<_> = all[..count].iter().collect();
        if direction < 0 {
            tree::set_xattr(&path, "user.gone", &Dice::noise(9, 200));
            chosen.reverse();
        }
        for (name, value) in chosen {
            tree::set_xattr(&path, name, value);
        }
        if direction < 0 {
            rustix::fs::lremovexattr(&path, "user.gone").expect("removing an xattr");
        }
        fs::copy(&path, root.join(format!("copy{count}"))).expect("copying");
        tree::set_xattr(&root.join(format!("copy{count}")), "user.block", &Dice::noise(4, 300));
    }
    fs::create_dir(root.join("folder")).expect("a folder");
    tree::set_xattr(&root.join("folder"), "system.posix_acl_default", &tree::acl(7));
    fs::write(root.join("folder/inherits"), "").expect("writing");
    tree::set_all_mtimes(root);
}

#[test]
#[ignore = "needs root: mounts images"]
fn equal_xattr_blocks_are_shared() {
    let Some((_lab, image)) = kernel_image("32M", &["-t", "ext4", "-I", "128", "-N", "3000"], |root| {
        for number in 0..1100 {
            let path = root.join(number.to_string());
            fs::write(&path, "").expect("writing");
            tree::set_xattr(&path, "user.same", b"for everyone");
        }
    }) else {
        return;
    };
    let output = same_for_the_kernel(&image);
    let text = debugfs_read(&output, &(0..1100).map(|n| format!("stat /{n}\n")).collect::<String>());
    let mut blocks: Vec<_> = text.lines().filter_map(|line| line.split("File ACL: ").nth(1)).collect();
    assert_eq!(blocks.len(), 1100);
    blocks.sort_unstable();
    let counts: Vec<_> = blocks.chunk_by(|a, b| a == b).map(<[_]>::len).collect();
    assert_eq!(counts, [1024, 76]);
}

#[test]
#[ignore = "needs root: mounts images"]
fn flags_of_users_survive() {
    let flags = ["a", "A", "d", "D", "i", "j", "s", "S", "t", "T", "u", "c", "m"];
    let work = |root: &Path| {
        for flag in flags {
            let path = root.join(format!("file-{flag}-{}", flag.chars().all(char::is_uppercase)));
            if ["D", "T"].contains(&flag) {
                fs::create_dir(&path).expect("a folder");
            } else {
                fs::write(&path, "content").expect("writing");
            }
            // Some kernels don't allow all of these flags.
            let _ = try_run(tool("chattr").arg(format!("+{flag}")).arg(&path));
        }
    };
    let Some((_lab, image)) = kernel_image("32M", &["-t", "ext4"], work) else { return };
    // Set SECRM, UNRM, COMPR, NOCOMPR and NOTAIL with debugfs, since the kernel may ignore them.
    debugfs(
        &image,
        "set_inode_field /file-s-false flags 0x80001\nset_inode_field /file-u-false flags 0x80002\n",
    );
    let before = judge::kernel_tree(&image).expect("it mounts");
    assert!(
        before.contains("flags=10 ") && before.contains("flags=20 ") && before.contains("flags=1 "),
        "{before}"
    );
    let output = canonical(&image, &["--verify"]);
    same_tree(&before, &judge::kernel_tree(&output).expect("it mounts"));
}

#[test]
#[ignore = "needs root: mounts images"]
fn project_ids_survive() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.folder("source");
    tree::rich(&source);
    let image = lab.mke2fs_d("in.img", "16M", &["-t", "ext4", "-O", "project"], &source);
    debugfs(
        &image,
        "set_inode_field sizes/1 projid 77\nset_inode_field deep projid 4000000000\n\
         set_inode_field deep flags 0x20080000\n",
    );
    let output = canonical(&image, &["--verify"]);
    let before = judge::kernel_tree(&image).expect("it mounts");
    assert!(before.contains("project=77") && before.contains("project=4000000000"), "{before}");
    judge::same_by_kernel(&image, &output);
}

#[test]
#[ignore = "needs root: mounts images"]
fn names_that_are_any_bytes() {
    let Some((_lab, image)) = kernel_image("16M", &["-t", "ext4", "-b", "1024"], |root| {
        for byte in (1..=255).filter(|&byte| byte != b'/' && byte != b'.') {
            fs::write(root.join(OsStr::from_bytes(&[byte])), [byte]).expect("writing");
            let long = vec![byte; 255];
            fs::write(root.join(OsStr::from_bytes(&long)), [byte]).expect("writing");
        }
        fs::write(root.join("..."), "dots").expect("writing");
    }) else {
        return;
    };
    same_for_the_kernel(&image);
}

#[test]
fn lost_and_found_absent_or_in_use() {
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "1024"];
    let usual = lab.plain_image("usual.img", "8M", &options);
    let absent = lab.copy(&usual, "absent.img");
    debugfs(&absent, "rmdir /lost+found\n");
    same_bytes(&canonical(&usual, &[]), &canonical(&absent, &[]));

    let in_use = lab.copy(&usual, "in-use.img");
    put_file(&in_use, "/lost+found/#12345", "found");
    let output = canonical(&in_use, &["--verify"]);
    let listing = debugfs_read(&output, "cat /lost+found/#12345\n");
    assert!(listing.contains("found"), "{listing}");
    if partly(&[Need::Mounts]) {
        same_for_the_kernel(&in_use);
        same_for_the_kernel(&absent);
    }
}

#[test]
fn every_hash_version() {
    let lab = Lab::new();
    let mut forms = Vec::new();
    for hash in ["half_md4", "tea", "legacy"] {
        let image = lab.plain_image(&format!("{hash}.img"), "8M", &["-t", "ext4", "-b", "1024"]);
        run(tool("tune2fs").args(["-E", &format!("hash_alg={hash}")]).arg(&image));
        let output = canonical(&image, &["--verify"]);
        let text = debugfs_read(&output, "htree /many\n");
        assert!(text.contains("Hash Version: "), "no index: {text}");
        if partly(&[Need::Mounts]) {
            same_for_the_kernel(&image);
        }
        forms.push(text);
    }
    assert_ne!(first_difference(&forms[0], &forms[1]), "");
    assert_ne!(first_difference(&forms[1], &forms[2]), "");
}

/// Inodes with a smaller i_extra_isize, for example of an old kernel, get the same size as all others.
#[test]
fn inodes_of_different_width() {
    let lab = Lab::new();
    let usual = lab.plain_image("usual.img", "8M", &["-t", "ext4"]);
    let narrow = lab.copy(&usual, "narrow.img");
    debugfs(&narrow, "set_inode_field sizes/1 extra_isize 28\nset_inode_field many extra_isize 24\n");
    same_bytes(&canonical(&usual, &[]), &canonical(&narrow, &[]));
}
