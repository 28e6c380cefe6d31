//! Images for the cases.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use ext4_canon::internals::ondisk::fast_commit::TAG_UNLINK;
use ext4_canon::internals::ondisk::features::{Compat, Incompat};
use ext4_canon::internals::ondisk::inode::InodeFlags;
use ext4_canon::internals::ondisk::jbd2::INCOMPAT_FAST_COMMIT;
use ext4_canon::internals::ondisk::quota;
use ext4_canon::internals::ondisk::xattr::XattrEntry;

use crate::support::dice::Dice;
use crate::support::fields::{Structure, inode, journal, structure, superblock};
use crate::support::image::{
    block_of, blocks_of, debugfs, flags_of, inode_of, patch, put_encryption_context, put_xattr,
};
use crate::support::{Lab, fast_commit, tree};

/// Makes an image without checksums, with a file of one block, a file of many extents, a directory and a
/// symlink.
pub fn made(lab: &Lab, options: &str, size: &str) -> PathBuf {
    let source = lab.folder("source");
    fs::create_dir(source.join("folder")).expect("a folder");
    fs::write(source.join("file"), Dice::noise(1, 1000)).expect("writing");
    fs::write(source.join("other"), Dice::noise(2, 1000)).expect("writing");
    std::os::unix::fs::symlink("file", source.join("link")).expect("a symlink");
    let comb: Vec<u8> = (0..40_u8).flat_map(|block| [block % 2 * 7; 1024]).collect();
    fs::write(source.join("comb"), comb).expect("writing");
    tree::set_all_mtimes(&source);
    let fixed =
        "-b 1024 -U 00112233-4455-6677-8899-aabbccddeeff -E hash_seed=00112233-4455-6677-8899-aabbccddeeff";
    let options: Vec<&str> = options.split(' ').chain(fixed.split(' ')).collect();
    let image = lab.mke2fs_d("in.img", size, &options, &source);
    fs::remove_dir_all(source).expect("removing");
    image
}

pub const EXT2: &str = "-t ext2";
pub const EXT4: &str = "-t ext4 -O ^metadata_csum,^64bit,^has_journal";
pub const CHECKED: &str = "-t ext4 -O ^has_journal";
pub const JOURNAL: &str = "-t ext3 -J size=1";

/// Makes an image, and sets a field of its superblock.
pub fn with_superblock(lab: &Lab, options: &str, field: &str, value: u64) {
    superblock(&made(lab, options, "4M")).set(field, value);
}

/// Sets bits of `s_feature_incompat`.
pub fn add_incompat(image: &Path, bits: u32) {
    superblock(image).add("s_feature_incompat", bits);
}

/// Makes an image, and changes it with debugfs.
pub fn changed(lab: &Lab, options: &str, commands: &str) {
    debugfs(&made(lab, options, "4M"), commands);
}

/// Makes an image whose journal needs to be replayed, and sets a field of the journal's superblock.
pub fn with_journal(lab: &Lab, field: &str, value: u64) {
    let image = made(lab, JOURNAL, "8M");
    add_incompat(&image, Incompat::NEEDS_RECOVERY.bits());
    journal(&image).set(field, value);
}

/// Makes an image whose superblock refers to an external journal.
pub fn journal_elsewhere(lab: &Lab, recovery: bool) {
    let image = made(lab, EXT2, "4M");
    superblock(&image).add("s_feature_compat", Compat::HAS_JOURNAL.bits());
    superblock(&image).fill("s_journal_uuid", 0x11);
    if recovery {
        add_incompat(&image, Incompat::NEEDS_RECOVERY.bits());
    }
}

/// Makes an image with an encryption context that begins with `start`.
pub fn with_context(lab: &Lab, start: [u8; 4]) {
    let image = made(lab, "-t ext4 -O ^metadata_csum,^64bit,^has_journal,encrypt", "4M");
    put_encryption_context(&image, "folder", start);
}

/// Makes a directory by hand, with names that are all different and long, so that its index needs three
/// levels.
pub fn three_levels(lab: &Lab) {
    const LEAVES: u32 = 16_200;
    let mut block = Vec::new();
    let (file, content) = (lab.path("empty"), lab.path("content"));
    let mut number = 0;
    let mut entry = |inode: u32, length: u16, name: &[u8]| {
        let head = [
            &inode.to_le_bytes()[..],
            &length.to_le_bytes(),
            &[u8::try_from(name.len()).expect("a length"), 0],
        ];
        let mut bytes = [&head.concat(), name].concat();
        bytes.resize(length.into(), 0);
        block.extend(bytes);
    };
    entry(13, 12, b".");
    entry(2, 1012, b"..");
    for _ in 0..LEAVES {
        for place in 0..4 {
            let name = format!("{number:0240}");
            number += 1;
            let last = place == 3;
            entry(12, if last { 1024 - 3 * 248 } else { 248 }, name.as_bytes());
        }
    }
    fs::write(&content, &block).expect("writing");
    fs::write(&file, b"").expect("writing");
    let image = lab.mke2fs("in.img", "24M", &["-t", "ext2", "-b", "1024", "-O", "^filetype"]);
    debugfs(
        &image,
        &format!(
            "write {} t\nwrite {} d\nset_inode_field t links_count {}\nset_inode_field d mode 040755\n\
             set_inode_field d links_count 2\nset_inode_field / links_count 4\n",
            file.display(),
            content.display(),
            number + 1
        ),
    );
    for path in [file, content] {
        fs::remove_file(path).expect("removing");
    }
}

/// Makes an image without lost+found, and without free blocks or inodes for it.
pub fn full_image(lab: &Lab, inodes: bool) {
    let image = made(lab, "-t ext2 -N 32", "1M");
    let mut script = "rmdir lost+found\n".to_owned();
    let content = lab.path("content");
    if inodes {
        let free = superblock(&image).get("s_free_inodes_count") + 1;
        script.extend((0..free).map(|number| format!("mknod pipe{number} p\n")));
    } else {
        let free = superblock(&image).get32("s_free_blocks_count_lo") + 12;
        // Some of the blocks are needed as indirect blocks.
        fs::write(&content, Dice::noise(1, (free as usize - 5) * 1024)).expect("writing");
        script.push_str(&format!("write {} all\n", content.display()));
    }
    debugfs(&image, &script);
    let _ = fs::remove_file(content);
}

/// Makes an image with checksums and a damaged log: either the descriptor block or the copy after it is
/// damaged.
pub fn damaged_log(lab: &Lab, place: usize) {
    let image = made(lab, "-t ext4 -J size=1", "8M");
    let block = lab.path("block");
    fs::write(&block, [7; 1024]).expect("writing");
    let target = blocks_of(&image, "/other")[0];
    debugfs(&image, &format!("jo -c\njw -b {target} {0}\njw -b {target} {0}\njc\n", block.display()));
    fs::remove_file(block).expect("removing");
    patch(&image, blocks_of(&image, "<8>")[place] * 1024 + 900, &[8]);
}

/// Makes an image with fast commits after a log by debugfs, which does not support them: a head with
/// `features`, an unlinked name, and a tail.
pub fn with_fast_commits(lab: &Lab, options: &str, features: u32) {
    let options =
        format!("-t ext4 -O ^metadata_csum,^64bit,fast_commit{options} -J size=4,fast_commit_size=256");
    let image = made(lab, &options, "16M");
    let block = lab.path("block");
    fs::write(&block, [7; 1024]).expect("writing");
    let target = blocks_of(&image, "/other").first().copied().unwrap_or(4000);
    debugfs(&image, &format!("jo\njw -b {target} {}\njc\n", block.display()));
    fs::remove_file(block).expect("removing");
    let jsb = journal(&image);
    jsb.add("s_feature_incompat", INCOMPAT_FAST_COMMIT);
    jsb.set("s_num_fc_blks", 256);
    let transaction = jsb.get32("s_sequence") + 1;
    let unlink = fast_commit::name_record(TAG_UNLINK, 2, 13, "file");
    let block = fast_commit::block(features, transaction, &[unlink], 1024);
    patch(&image, fast_commit::area(&image), &block);
}

/// Makes a quota tree with a reference past its end.
pub fn wild_quota(lab: &Lab) {
    let image = made(lab, "-t ext4 -O ^metadata_csum,^64bit,^has_journal,quota", "4M");
    let below_the_root = u64::from(quota::ROOT) + 1;
    patch(&image, block_of(&image, "<3>", below_the_root) * 1024, &[0xFF; 4]);
}

/// Makes an image with a file that has one xattr in a block.
pub fn with_xattr_block(lab: &Lab) -> PathBuf {
    let image = made(lab, "-t ext2 -I 128", "4M");
    debugfs(&image, "ea_set file user.name value\n");
    image
}

/// Returns the xattr in that block.
pub fn xattr_in_block(image: &Path) -> Structure<'_> {
    structure::<XattrEntry>(image, inode(image, "/file").xattr_block().end())
}

/// Makes an image with a large xattr whose EA inode has a wrong reference count.
pub fn wrong_references(lab: &Lab, on: &str) {
    let image = made(lab, "-t ext4 -O ^metadata_csum,^64bit,^has_journal,ea_inode", "4M");
    put_xattr(&image, on, "trusted.large", Dice::noise(1, 3000));
    if on == "file" {
        let after_comb = inode_of(&image, "/comb") + 1..40;
        let mut inodes = after_comb.rev().map(|number| format!("<{number}>"));
        let last = inodes.find(|number| flags_of(&image, number).contains(InodeFlags::EA_INODE));
        // The high half of the reference count is stored in i_ctime.
        inode(&image, &last.expect("an inode of a value")).set("i_ctime", 9);
    }
}

pub fn nothing(_: &Lab) {}

pub fn sound_image(lab: &Lab) {
    made(lab, EXT4, "4M");
}

/// Gives a large file of unwritten blocks 600 more names.
pub fn many_names(lab: &Lab) {
    let image = made(lab, EXT4, "32M");
    let mut commands = "fallocate file 0 29999\n".to_owned() + &"expand_dir folder\n".repeat(10);
    for number in 0..600 {
        writeln!(commands, "ln file folder/{number}").expect("writing to a string");
    }
    debugfs(
        &image,
        &(commands + "set_inode_field file size 30720000\nset_inode_field file links_count 601\n"),
    );
}
