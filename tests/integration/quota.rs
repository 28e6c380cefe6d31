//! Quota files: limits are content, usage is counted again, and the file is equal to the one that e2fsprogs
//! make.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::emulated::emulated;
use ext4_canon::internals::ondisk::quota::{
    self, QtDiskDqdbheader, QuotaType, V2DiskDqheader, V2DiskDqinfo, V2r1DiskDqblk,
};

use crate::support::fields::{Structure, block_size, structure, superblock};
use crate::support::image::{block_of, debugfs, debugfs_read, patch, peek};
use crate::support::{Lab, Need, canonical, gate, judge, partly, refused, run, same_bytes, tool, tree};

/// IDs for which the radix tree branches at every level.
const OWNERS: [u32; 9] = [0, 1, 5, 256, 300, 70_000, 16_909_060, 4_294_967_294, 1000];
const PROJECTS: [(&str, u32); 3] = [("sizes/4096", 7), ("many", 70_000), ("links/z-first", 4_000_000_000)];

/// Makes an image of [`tree::plain`] with many owners, without quotas.
fn owned(lab: &Lab, name: &str, options: &[&str]) -> PathBuf {
    let image = lab.plain_image(name, "32M", options);
    let mut script = String::new();
    for number in 0..100_u32 {
        let file = format!("\"many/entry number {number:05} with a name\"");
        // Some owners have many files, others one. The file needs more than two data blocks.
        let (uid, gid) =
            if number < 60 { (OWNERS[number as usize % OWNERS.len()], number) } else { (number, 7) };
        script += &format!("set_inode_field {file} uid {uid}\nset_inode_field {file} gid {gid}\n");
    }
    if options.iter().any(|option| option.contains("project")) {
        for (file, project) in PROJECTS {
            script += &format!("set_inode_field {file} projid {project}\n");
        }
    }
    debugfs(&image, &script);
    image
}

/// Creates quota files that count everything in the image.
fn count_usage(image: &Path, types: &str) {
    run(tool("tune2fs").args(["-O", "quota", "-Q", types]).arg(image));
}

/// Returns the inode number of the project quota file.
fn project_file(image: &Path) -> u32 {
    superblock(image).get32("s_prj_quota_inum")
}

/// Returns the content of an inode.
fn content(image: &Path, inode: u32) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("content");
    debugfs_read(image, &format!("dump <{inode}> {}\n", path.display()));
    fs::read(path).expect("reading")
}

/// Returns the byte offset in the image of a byte of a file.
fn place(image: &Path, inode: u32, offset: usize) -> u64 {
    let (offset, size) = (offset as u64, block_size(image));
    block_of(image, &format!("<{inode}>"), offset / size) * size + offset % size
}

/// Returns the byte offset in the image of the reference for an ID in a block of the quota tree.
fn reference(image: &Path, inode: u32, block: usize, byte: u8) -> u64 {
    place(image, inode, block * quota::BLOCK_SIZE + usize::from(byte) * 4)
}

/// Returns the entry of an ID in a quota file.
fn entry_of(image: &Path, inode: u32, id: u32) -> Structure<'_> {
    let mut block = quota::ROOT;
    for byte in id.to_be_bytes() {
        block = u32::from_le_bytes(peek(image, reference(image, inode, block as usize, byte)));
        assert_ne!(block, 0, "no id {id}");
    }
    let header = place(image, inode, block as usize * quota::BLOCK_SIZE);
    let mut at = structure::<QtDiskDqdbheader>(image, header).end();
    let entries = (0..quota::ENTRIES_PER_BLOCK).map(|_| {
        let entry = structure::<V2r1DiskDqblk>(image, at);
        at = entry.end();
        entry
    });
    // An unused entry is all zero, and the ID of root is zero too.
    let in_use = |entry: &Structure| peek::<72>(image, entry.start) != [0; 72];
    let mut found = entries.filter(|entry| entry.get32("dqb_id") == id && in_use(entry));
    found.next().expect("an entry")
}

/// Sets hard and soft limits of inodes and KiB, and the timers that the kernel would set.
fn set_limits(image: &Path, inode: u32, id: u32, limits: [u64; 4]) {
    let entry = entry_of(image, inode, id);
    let fields = ["dqb_ihardlimit", "dqb_isoftlimit", "dqb_bhardlimit", "dqb_bsoftlimit"];
    for (field, value) in fields.into_iter().zip(limits) {
        entry.set(field, value);
    }
    entry.set("dqb_btime", 1_700_000_000);
    entry.set("dqb_itime", 1);
}

/// Returns the info header of a quota file.
fn info(image: &Path, inode: u32) -> Structure<'_> {
    structure::<V2DiskDqinfo>(image, place(image, inode, quota::INFO))
}

/// Returns the limits that debugfs lists, without usage.
fn limits(image: &Path, kind: &str) -> Vec<String> {
    let text = debugfs_read(image, &format!("list_quota {kind}\n"));
    let limited = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [id, _, soft, hard, _, inodes_soft, inodes_hard] = words[..] else { return None };
        id.parse::<u32>().ok()?;
        let limits = [hard, soft, inodes_hard, inodes_soft];
        limits.iter().any(|limit| *limit != "0").then(|| format!("{id} {}", limits.join(" ")))
    });
    limited.collect()
}

#[test]
fn files_are_those_that_tune2fs_makes() {
    for options in [
        &["-t", "ext4", "-b", "1024", "-O", "project"][..],
        &["-t", "ext4", "-b", "4096", "-O", "project,orphan_file"],
        &["-t", "ext4", "-b", "1024", "-O", "project,^extents,^64bit"],
    ] {
        let lab = Lab::new();
        let image = owned(&lab, "in.img", options);
        count_usage(&image, "usrquota,grpquota,prjquota");
        let output = canonical(&image, &[]);
        assert_eq!(project_file(&output), 12, "{options:?}");
        assert_ne!(project_file(&image), 12, "test precondition failed");
        // tune2fs counts the usage in the output.
        let again = lab.copy(&output, "again.img");
        run(tool("tune2fs").args(["-O", "^quota"]).arg(&again));
        count_usage(&again, "usrquota,grpquota,prjquota");
        for (made, ours) in [(3, 3), (4, 4), (project_file(&again), 12)] {
            let (made, ours) = (content(&again, made), content(&output, ours));
            assert!(made.len() > 6 * 1024, "test precondition failed");
            assert!(made == ours, "{options:?}: a file differs");
        }
        judge::same_by_debugfs(&image, &output);
        if partly(&[Need::Mounts]) {
            judge::same_by_kernel(&image, &output);
        }
    }
}

/// mke2fs creates the quota files before it fills the filesystem; tune2fs creates them afterwards, in
/// different inodes.
#[test]
fn it_does_not_matter_who_made_them_and_when() {
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "1024", "-O", "project"];
    let late = owned(&lab, "late.img", &options);
    count_usage(&late, "usrquota,grpquota,prjquota");
    let early = ["-t", "ext4", "-b", "1024", "-O", "quota,project"];
    let early = [&early[..], &["-E", "quotatype=usrquota:grpquota:prjquota"]].concat();
    let early = owned(&lab, "early.img", &early);
    // The usage in these files is that of the empty filesystem. e2fsck corrects it.
    let repaired = lab.copy(&early, "repaired.img");
    judge::repair(&repaired, &[]).with_code(1);
    assert_ne!(content(&early, 3), content(&repaired, 3), "test precondition failed");
    let output = canonical(&late, &[]);
    same_bytes(&output, &canonical(&early, &[]));
    same_bytes(&output, &canonical(&repaired, &[]));
}

#[test]
fn types_that_are_off_stay_off() {
    for (types, on) in [("usrquota", [true, false]), ("grpquota", [false, true])] {
        let lab = Lab::new();
        let image = owned(&lab, "in.img", &["-t", "ext4"]);
        // By default, tune2fs creates both files.
        let others = if types == "usrquota" { "^grpquota" } else { "^usrquota" };
        count_usage(&image, &format!("{types},{others}"));
        let output = canonical(&image, &[]);
        let fields = ["s_usr_quota_inum", "s_grp_quota_inum", "s_prj_quota_inum"];
        let inodes = fields.map(|field| superblock(&output).get(field));
        assert_eq!(inodes, [u64::from(on[0]) * 3, u64::from(on[1]) * 4, 0], "{types}");
    }
}

/// Makes a filesystem with limits, both for an owner of files and for an owner without files.
fn limited(lab: &Lab, name: &str, limits: [u64; 4]) -> PathBuf {
    let image = owned(lab, name, &["-t", "ext4", "-b", "1024"]);
    debugfs(&image, "mknod pipe p\nset_inode_field pipe uid 555\nset_inode_field pipe gid 556\n");
    count_usage(&image, "usrquota,grpquota");
    set_limits(&image, 3, 555, limits);
    set_limits(&image, 3, 70_000, [0, 0, 0, 1]);
    set_limits(&image, 4, 556, [9, 0, 0, 0]);
    debugfs(&image, &format!("rm pipe\nset_inode_field <2> mtime @{}\n", tree::SOME_TIME));
    image
}

#[test]
fn limits_and_grace_times_are_content() {
    let lab = Lab::new();
    let stale = limited(&lab, "stale.img", [100, 90, 5_000_000_000, 4_000_000_000]);
    let output = canonical(&stale, &[]);
    assert_eq!(limits(&output, "user"), ["555 5000000000 4000000000 100 90", "70000 0 1 0 0"]);
    assert_eq!(limits(&output, "group"), ["556 0 0 9 0"]);
    // e2fsck counts again, and writes new files with the same limits.
    let repaired = lab.copy(&stale, "repaired.img");
    judge::repair(&repaired, &[]).with_code(1);
    same_bytes(&output, &canonical(&repaired, &[]));
    // The timers are zero, although the usage may exceed the limits.
    for (inode, id) in [(3, 555), (3, 70_000), (4, 556)] {
        let entry = entry_of(&output, inode, id);
        assert_eq!((entry.get("dqb_btime"), entry.get("dqb_itime")), (0, 0), "timers of {id}");
    }

    let other = limited(&lab, "other.img", [100, 90, 5_000_000_000, 4_000_000_001]);
    let graceful = lab.copy(&stale, "graceful.img");
    info(&graceful, 3).set("dqi_bgrace", 86_400);
    info(&graceful, 4).set("dqi_igrace", 3_600);
    let graceful = canonical(&graceful, &[]);
    assert_eq!(info(&graceful, 3).get("dqi_bgrace"), 86_400);
    assert_eq!(info(&graceful, 4).get("dqi_igrace"), 3_600);
    let uuids = [&output, &canonical(&other, &[]), &graceful].map(|image| superblock(image).bytes("s_uuid"));
    assert!(uuids[0] != uuids[1] && uuids[0] != uuids[2] && uuids[1] != uuids[2], "{uuids:x?}");
}

#[test]
fn damage_is_refused_with_its_place() {
    let lab = Lab::new();
    let image = owned(&lab, "in.img", &["-t", "ext4", "-b", "1024"]);
    count_usage(&image, "usrquota,grpquota");
    canonical(&image, &[]);
    let header = structure::<V2DiskDqheader>(&image, place(&image, 3, 0));
    let info = info(&image, 3);
    let [root, leaf] = [1, 4].map(|block| reference(&image, 3, block, 9));
    let data = structure::<QtDiskDqdbheader>(&image, place(&image, 3, 5 * quota::BLOCK_SIZE));
    for (number, (at, value, words)) in [
        (header.at("dqh_magic"), QuotaType::Group.magic(), "bad magic"),
        (header.at("dqh_version"), 0, "dqh_version is 0"),
        (info.at("dqi_blocks"), 10_000, "dqi_blocks is 10000"),
        (info.at("dqi_blocks"), 1, "dqi_blocks is 1,"),
        (info.at("dqi_free_blk"), 9_999, "dqi_free_blk is 9999"),
        (info.at("dqi_free_entry"), 9_999, "dqi_free_entry is 9999"),
        (root, 9_999, "leads to block 9999"),
        (root, 2, "is in the tree twice"),
        (leaf, 2, "is both a block of the tree and of data"),
        (leaf, 5, "no entry for id 9"),
        (data.at("dqdh_entries"), 13, "does not have exactly 14 entries"),
        (entry_of(&image, 3, 5).at("dqb_id"), 6, "no entry for id 5"),
    ]
    .into_iter()
    .enumerate()
    {
        let damaged = lab.copy(&image, &format!("damaged{number}.img"));
        patch(&damaged, at, &u32::to_le_bytes(value));
        refused(&damaged, &[], 4, &["inode 3, quota file: ", words]);
    }
}

/// A kernel with quotas updates our files to the usage that e2fsck counts.
#[test]
#[ignore = "needs an emulated kernel"]
fn the_kernel_goes_on_with_them() {
    if !gate(&[Need::EmulatedKernel]) {
        return;
    }
    let lab = Lab::new();
    let image = owned(&lab, "in.img", &["-t", "ext4", "-b", "1024", "-O", "project"]);
    count_usage(&image, "usrquota,grpquota,prjquota");
    set_limits(&image, 3, 70_000, [7, 0, 0, 1]);
    let output = canonical(&image, &[]);
    let [changed, back] = ["changed.img", "back.img"].map(|name| lab.copy(&output, name));
    let change = "for id in 0 5 9 70000 123456; do\n\
                  head -c 5000 /bin/busybox >$1/new.$id\nchown $id:$id $1/new.$id\ndone\nrm $1/new.5\n";
    let script = format!(
        "mkdir /other\nmount -t ext4 -o usrquota,grpquota,prjquota /dev/vda /mnt\n\
         mount -t ext4 /dev/vdb /other\nchange() {{\n{change}}}\nchange /mnt\nchange /other\n\
         rm /other/new.*\ntouch -d @{} /other\numount /mnt /other\n",
        tree::SOME_TIME
    );
    emulated(&[&changed, &back], &script);
    judge::fsck_silent(&changed).expect("correct quota usage");
    assert_ne!(content(&changed, 3), content(&output, 3), "the usage did not change");
    assert_eq!(limits(&changed, "user"), limits(&output, "user"));
    let again = canonical(&changed, &[]);
    assert_eq!(limits(&again, "user"), limits(&output, "user"));
    assert!(debugfs_read(&again, "list_quota user\n").contains("123456"));
    same_bytes(&output, &canonical(&back, &[]));
}

/// e2fsck does not count symlinks with inline targets.
#[test]
fn inline_symlinks_are_counted_as_e2fsck_counts_them() {
    let lab = Lab::new();
    let source = lab.folder("source");
    std::os::unix::fs::symlink("t".repeat(70), source.join("link")).expect("a symlink");
    fs::write(source.join("file"), "some text").expect("writing");
    let image = lab.mke2fs_d("in.img", "16M", &["-t", "ext4", "-O", "inline_data"], &source);
    debugfs(&image, "set_inode_field link uid 4321\nset_inode_field file uid 1234\n");
    let late = lab.copy(&image, "late.img");
    count_usage(&late, "usrquota,grpquota");
    let output = canonical(&late, &[]);
    let text = debugfs_read(&output, "list_quota user\n");
    assert!(text.contains("1234") && !text.contains("4321"), "{text}");
    let repaired = lab.copy(&late, "repaired.img");
    judge::repair(&repaired, &[]).with_code(1);
    same_bytes(&output, &canonical(&repaired, &[]));
}
