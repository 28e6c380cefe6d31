//! The images and commands that give each message.

mod around;

use std::fs::{self, File};
use std::path::Path;

use ext4_canon::ondisk::checksum::crc32c;

use crate::support::image::{blocks_of, debugfs, inode_offset, patch, peek, unsorted_xattrs};
use crate::support::{Lab, canon, tree};

/// One message.
pub struct Case {
    pub name: &'static str,
    /// What the shell does in the folder; `$0` is the program.
    pub script: &'static str,
    /// Whether it takes root.
    pub root: bool,
    /// Makes what the folder has.
    pub make: fn(&Lab),
}

/// The ordinary command.
pub const PLAIN: &str = r#""$0" in.img out.img"#;

/// Refusals without a case, and why.
pub const EXCUSED: [(&str, &str); 10] = [
    ("these xattrs does not fit into one inode", "a set of the input always fits: the guard of a rule"),
    ("remove some of them", "the same"),
    ("block maps can't reach", "it takes 16 TiB"),
    ("make the image with the extent feature", "the same"),
    ("with 2 TiB or more in blocks", "it takes 2 TiB"),
    ("set it with tune2fs -O huge_file", "the same"),
    ("an encrypted directory that ignores case", "it takes another kernel: see casefold.rs"),
    ("move some of its files to others", "the same"),
    ("2^32 or more extents or xattrs", "it takes 64 GiB of memory"),
    ("put some of the files into another image", "the same"),
];

const fn case(name: &'static str, make: fn(&Lab)) -> Case {
    Case { name, script: PLAIN, root: false, make }
}

const fn command(name: &'static str, script: &'static str, make: fn(&Lab)) -> Case {
    Case { name, script, root: false, make }
}

const fn by_root(name: &'static str, script: &'static str, make: fn(&Lab)) -> Case {
    Case { name, script, root: true, make }
}

/// An image without checksums, with a file of a block, one of many extents, a folder and a symlink.
fn made(lab: &Lab, options: &str, size: &str) -> std::path::PathBuf {
    let source = lab.folder("source");
    fs::create_dir(source.join("folder")).expect("a folder");
    fs::write(source.join("file"), tree::noise(1, 1000)).expect("writing");
    fs::write(source.join("other"), tree::noise(2, 1000)).expect("writing");
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

const EXT2: &str = "-t ext2";
const EXT4: &str = "-t ext4 -O ^metadata_csum,^64bit,^has_journal";
const CHECKED: &str = "-t ext4 -O ^has_journal";
const JOURNAL: &str = "-t ext3 -J size=1";

/// Overwrites a field of the superblock.
fn superblock(lab: &Lab, options: &str, at: u64, bytes: &[u8]) {
    patch(&made(lab, options, "4M"), 1024 + at, bytes);
}

/// Sets bits of the superblock.
fn bits(image: &Path, at: u64, bits: u32) {
    let old = u32::from_le_bytes(peek(image, 1024 + at));
    patch(image, 1024 + at, &(old | bits).to_le_bytes());
}

/// Has debugfs change an image.
fn changed(lab: &Lab, options: &str, commands: &str) {
    debugfs(&made(lab, options, "4M"), commands);
}

/// Flips a bit.
fn flip(image: &Path, at: u64) {
    let [byte] = peek(image, at);
    patch(image, at, &[byte ^ 0x10]);
}

fn first_block(image: &Path, what: &str) -> u64 {
    blocks_of(image, what)[0] * 1024
}

/// An image whose journal, or what tells of it, is changed at a byte of the journal.
fn journal(lab: &Lab, at: u64, bytes: &[u8]) {
    let image = made(lab, JOURNAL, "8M");
    bits(&image, 0x60, 4);
    patch(&image, first_block(&image, "<8>") + at, bytes);
}

/// An image that says that its journal is on another device.
fn outside(lab: &Lab, recovery: bool) {
    let image = made(lab, EXT2, "4M");
    bits(&image, 0x5C, 4);
    patch(&image, 1024 + 0xD0, &[0x11; 16]);
    if recovery {
        bits(&image, 0x60, 4);
    }
}

/// A file with the encryption context of a policy with flags.
fn encrypted(lab: &Lab, flags: u8) {
    let image = made(lab, "-t ext4 -O ^metadata_csum,^64bit,^has_journal,encrypt", "4M");
    let context = lab.path("context");
    fs::write(&context, [&[2, 1, 4, flags, 0, 0, 0, 0][..], &[7; 32]].concat()).expect("writing");
    debugfs(
        &image,
        &format!("ea_set -f {} folder user.c\nset_inode_field folder flags 0x80800\n", context.display()),
    );
    fs::remove_file(context).expect("removing");
    // debugfs has no name for the namespace of contexts.
    patch(&image, inode_offset(&image, "/folder") + 128 + 32 + 4 + 1, &[9]);
}

/// Names of which no two are alike, but all are long, in a directory made by hand.
fn three_levels(lab: &Lab) {
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

/// An image without lost+found that has no blocks or inodes left for one.
fn full(lab: &Lab, inodes: bool) {
    let image = made(lab, "-t ext2 -N 32", "1M");
    let mut script = "rmdir lost+found\n".to_owned();
    let content = lab.path("content");
    if inodes {
        let free = u32::from_le_bytes(peek(&image, 1024 + 0x10)) + 1;
        script.extend((0..free).map(|number| format!("mknod pipe{number} p\n")));
    } else {
        let free = u32::from_le_bytes(peek(&image, 1024 + 0x0C)) + 12;
        // Blocks of block numbers take some.
        fs::write(&content, tree::noise(1, (free as usize - 5) * 1024)).expect("writing");
        script.push_str(&format!("write {} all\n", content.display()));
    }
    debugfs(&image, &script);
    let _ = fs::remove_file(content);
}

/// A log whose descriptor, or the copy behind it, is damaged, with checksums.
fn damaged_log(lab: &Lab, place: usize) {
    let image = made(lab, "-t ext4 -J size=1", "8M");
    let block = lab.path("block");
    fs::write(&block, [7; 1024]).expect("writing");
    let target = blocks_of(&image, "/other")[0];
    debugfs(&image, &format!("jo -c\njw -b {target} {0}\njw -b {target} {0}\njc\n", block.display()));
    fs::remove_file(block).expect("removing");
    patch(&image, blocks_of(&image, "<8>")[place] * 1024 + 900, &[8]);
}

/// Fast commits that debugfs knows nothing of, behind a log that it made: a head with features, a name
/// that goes, and the end.
fn fast_commits(lab: &Lab, options: &str, features: u32) {
    let options =
        format!("-t ext4 -O ^metadata_csum,^64bit,fast_commit{options} -J size=4,fast_commit_size=256");
    let image = made(lab, &options, "16M");
    let block = lab.path("block");
    fs::write(&block, [7; 1024]).expect("writing");
    let target = blocks_of(&image, "/other").first().copied().unwrap_or(4000);
    debugfs(&image, &format!("jo\njw -b {target} {}\njc\n", block.display()));
    fs::remove_file(block).expect("removing");
    let journal = blocks_of(&image, "<8>");
    let start = journal[0] * 1024;
    let word = |at: u64| u32::from_be_bytes(peek(&image, start + at));
    let set = |at: u64, value: u32| patch(&image, start + at, &value.to_be_bytes());
    // s_feature_incompat, and s_num_fc_blks of s_maxlen.
    set(0x28, word(0x28) | 0x20);
    set(0x54, 256);
    let area = usize::try_from(word(0x10) - 256).expect("a place") + 1;
    let sequence = word(0x18) + 1;
    let record = |tag: u16, value: &[u8]| {
        let length = u16::try_from(value.len()).expect("a length");
        [&tag.to_le_bytes(), &length.to_le_bytes(), value].concat()
    };
    let pair = |one: u32, two: u32| [one.to_le_bytes(), two.to_le_bytes()].concat();
    let head = record(9, &pair(features, sequence));
    let unlink = record(5, &[&pair(2, 13)[..], b"file"].concat());
    let mut tail = record(8, &pair(sequence, 0));
    let sum = [&head[..], &unlink, &tail[..8]].iter().fold(0, |sum, part| crc32c(sum, part));
    tail[8..].copy_from_slice(&sum.to_le_bytes());
    patch(&image, journal[area] * 1024, &[head, unlink, tail].concat());
}

/// A quota tree that leads beyond its end.
fn quota(lab: &Lab) {
    let image = made(lab, "-t ext4 -O ^metadata_csum,^64bit,^has_journal,quota", "4M");
    patch(&image, first_block(&image, "<3>") + 1024, &[0xFF; 4]);
}

/// Overwrites bytes of a block with one xattr.
fn xattr_block(lab: &Lab, at: u64, bytes: &[u8]) {
    let image = made(lab, "-t ext2 -I 128", "4M");
    debugfs(&image, "ea_set file user.name value\n");
    let block = u32::from_le_bytes(peek(&image, inode_offset(&image, "/file") + 0x68));
    patch(&image, u64::from(block) * 1024 + at, bytes);
}

/// The inode of a large xattr says another number of references.
fn ea_inode(lab: &Lab, on: &str) {
    let image = made(lab, "-t ext4 -O ^metadata_csum,^64bit,^has_journal,ea_inode", "4M");
    let value = lab.path("value");
    fs::write(&value, tree::noise(1, 3000)).expect("writing");
    debugfs(&image, &format!("ea_set -f {} {on} trusted.large\n", value.display()));
    fs::remove_file(value).expect("removing");
    if on == "file" {
        // i_links_count's neighbour: the low half of the number of references is i_ctime, here the high one.
        let number = crate::support::image::inode_of(&image, "/comb") + 1;
        let last = (number..40).rev().find(|number| {
            let at = inode_offset(&image, &format!("<{number}>"));
            u32::from_le_bytes(peek(&image, at + 0x20)) & 0x20_0000 != 0
        });
        let at = inode_offset(&image, &format!("<{}>", last.expect("an inode of a value")));
        patch(&image, at + 0x0C, &9_u32.to_le_bytes());
    }
}

fn nothing(_: &Lab) {}

fn sound(lab: &Lab) {
    made(lab, EXT4, "4M");
}

const CASES: &[Case] = &[
    // No filesystem.
    case("empty", |lab| fs::write(lab.path("in.img"), "").expect("writing")),
    case("no filesystem", |lab| fs::write(lab.path("in.img"), vec![0; 8192]).expect("writing")),
    case("an overwritten superblock", |lab| {
        patch(&made(lab, EXT4, "16M"), 1024, &[0; 1024]);
    }),
    case("a compressed image", |lab| fs::write(lab.path("in.img"), b"\xfd7zXZ\0").expect("writing")),
    case("another kind of image", |lab| {
        fs::write(lab.path("in.img"), [&b"QFI\xfb"[..], &[0; 8192]].concat()).expect("writing");
    }),
    case("another filesystem", |lab| {
        fs::write(lab.path("in.img"), [&b"hsqs"[..], &[0; 8192]].concat()).expect("writing");
    }),
    case("cut short", |lab| {
        File::options()
            .write(true)
            .open(made(lab, EXT4, "4M"))
            .and_then(|file| file.set_len(1 << 20))
            .expect("cutting");
    }),
    case("cut short in the middle of a block", |lab| {
        File::options()
            .write(true)
            .open(made(lab, EXT4, "4M"))
            .and_then(|file| file.set_len((1 << 20) + 5))
            .expect("cutting");
    }),
    // Not handled.
    case("revision", |lab| superblock(lab, EXT2, 0x4C, &[2])),
    case("creator", |lab| superblock(lab, EXT2, 0x48, &[2])),
    case("features that the Hurd lacks", |lab| {
        made(lab, "-t ext4 -o hurd -O ^has_journal", "4M");
    }),
    case("a translator", |lab| {
        let image = made(lab, &format!("{EXT2} -o hurd"), "4M");
        debugfs(&image, "set_inode_field file version 7\n");
    }),
    case("flags of an inode", |lab| {
        debugfs(&made(lab, EXT2, "4M"), "set_inode_field folder flags 0x80000200\n");
    }),
    case("times behind the fields of an inode", |lab| {
        let image = made(lab, &format!("{EXT2} -I 256"), "4M");
        let offset = inode_offset(&image, "/file");
        patch(&image, offset + 0x80, &[0, 0]);
        patch(&image, offset + 0x88, &[5]);
    }),
    // Damaged, and e2fsck does not see it or leaves it.
    case("nanoseconds", |lab| {
        changed(lab, &format!("{EXT2} -I 256"), "set_inode_field file mtime_extra 0xffffffff\n");
    }),
    case("a device number", |lab| {
        changed(lab, EXT2, "mknod device c 5 1\nset_inode_field device block[0] 0x10501\n");
    }),
    case("a symlink that was never written", |lab| {
        let target = "t".repeat(80);
        changed(lab, EXT4, &format!("symlink long {target}\nset_inode_field long block[4] 0x8001\n"));
    }),
    case("a symlink with a NUL", |lab| {
        let image = made(lab, EXT4, "4M");
        patch(&image, inode_offset(&image, "/link") + 0x28 + 1, &[0]);
    }),
    case("inline data without its flag", |lab| {
        changed(lab, &format!("{EXT2} -I 256"), "ea_set file system.data abc\n");
    }),
    case("a value of no bytes in an inode", |lab| {
        let image = made(lab, "-t ext4 -O ^metadata_csum,^64bit,^has_journal,ea_inode", "4M");
        let value = lab.path("value");
        fs::write(&value, tree::noise(1, 3000)).expect("writing");
        debugfs(&image, &format!("ea_set -f {} file trusted.large\n", value.display()));
        fs::remove_file(value).expect("removing");
        patch(&image, inode_offset(&image, "/file") + 128 + 32 + 4 + 8, &[0; 4]);
    }),
    case("no descriptor of verity", |lab| {
        changed(lab, &format!("{EXT4},verity"), "set_inode_field file flags 0x180000\n");
    }),
    case("descriptors too small", |lab| {
        superblock(lab, "-t ext4 -O ^metadata_csum,64bit,^has_journal", 0xFE, &[8, 0]);
    }),
    case("an unknown hash", |lab| superblock(lab, EXT4, 0xFC, &[6])),
    case("a reserved inode", |lab| {
        changed(lab, EXT2, "set_inode_field <9> mode 0100644\nset_inode_field <9> links_count 1\n");
    }),
    case("several reserved inodes", |lab| {
        let set = |number: u32| {
            format!("set_inode_field <{number}> mode 0100644\nset_inode_field <{number}> links_count 1\n")
        };
        changed(lab, EXT2, &[6, 9, 10].map(set).concat());
    }),
    case("more reserved inodes", |lab| superblock(lab, EXT2, 0x54, &[14])),
    case("a namespace that there is not", |lab| {
        let image = made(lab, &format!("{EXT2} -I 128"), "4M");
        debugfs(&image, "ea_set file user.name value\n");
        let block = u32::from_le_bytes(peek(&image, inode_offset(&image, "/file") + 0x68));
        patch(&image, u64::from(block) * 1024 + 33, &[200]);
    }),
    case("the depth of a leaf", |lab| {
        let image = made(lab, EXT4, "4M");
        let leaf = u32::from_le_bytes(peek(&image, inode_offset(&image, "/comb") + 0x28 + 16));
        patch(&image, u64::from(leaf) * 1024 + 6, &[3]);
    }),
    case("an index that is none", |lab| changed(lab, EXT4, "set_inode_field folder flags 0x81000\n")),
    // Not handled, again.
    case("a seed without checksums", |lab| bits(&made(lab, EXT2, "4M"), 0x60, 0x2000)),
    case("journal device", |lab| {
        lab.mke2fs("in.img", "4M", &["-O", "journal_dev", "-b", "1024"]);
    }),
    case("a feature", |lab| bits(&made(lab, EXT2, "4M"), 0x60, 1)),
    case("features", |lab| bits(&made(lab, EXT2, "4M"), 0x60, 0x4000_0001)),
    case("shared blocks of clusters", |lab| {
        bits(
            &made(lab, "-t ext4 -C 4096 -O bigalloc,^metadata_csum,^64bit,^has_journal", "4M"),
            0x64,
            0x4000,
        );
    }),
    case("encoding", |lab| superblock(lab, &format!("{EXT4},casefold"), 0x27C, &[9])),
    case("flags of the encoding", |lab| superblock(lab, &format!("{EXT4},casefold"), 0x27E, &[0x40])),
    case("level of encryption", |lab| superblock(lab, &format!("{EXT4},encrypt"), 0x176, &[1])),
    case("mount options without an end", |lab| superblock(lab, EXT2, 0x200, &[b'x'; 64])),
    case("an index of three levels", three_levels),
    case("revision 0", |lab| {
        let image = made(lab, "-t ext2 -r 0", "4M");
        debugfs(&image, "set_inode_field file size 0x90000000\nset_inode_field file block[10] 0\n");
    }),
    case("flags of a policy", |lab| encrypted(lab, 0x80)),
    case("another version of a policy", |lab| {
        encrypted(lab, 0);
        let image = lab.path("in.img");
        let at = inode_offset(&image, "/folder");
        let body: [u8; 256] = peek(&image, at);
        let start = body.windows(4).position(|bytes| bytes == [2, 1, 4, 0]).expect("a context");
        patch(&image, at + start as u64, &[3]);
    }),
    case("a policy bound to inode numbers", |lab| encrypted(lab, 0x08)),
    case("a symlink with a large xattr", |lab| ea_inode(lab, "link")),
    case("journal features", |lab| journal(lab, 0x28, &[0x40])),
    command("no journal device", r#""$0" --uuid keep --journal journal.img in.img out.img"#, |lab| {
        outside(lab, true);
        fs::write(lab.path("journal.img"), [0; 4096]).expect("writing");
    }),
    command("another journal device", r#""$0" --uuid keep --journal journal.img in.img out.img"#, |lab| {
        outside(lab, true);
        lab.mke2fs("journal.img", "4M", &["-O", "journal_dev", "-b", "1024"]);
    }),
    // No room.
    case("no blocks left", |lab| full(lab, false)),
    case("no inodes left", |lab| full(lab, true)),
    // Unclean.
    case("errors were found", |lab| superblock(lab, EXT2, 0x3A, &[2])),
    case("errors in the journal", |lab| journal(lab, 0x20, &[0xFF, 0xFF, 0xFF, 0xFB])),
    case("log of a clean filesystem", |lab| {
        let image = made(lab, JOURNAL, "8M");
        patch(&image, first_block(&image, "<8>") + 0x1C, &[0, 0, 0, 1]);
    }),
    case("journal elsewhere", |lab| outside(lab, true)),
    case("start of the log", |lab| journal(lab, 0x1C, &[0x7F, 0, 0, 0])),
    case("a damaged copy in the log", |lab| damaged_log(lab, 2)),
    case("a damaged descriptor in the log", |lab| damaged_log(lab, 1)),
    case("fast commits of the future", |lab| fast_commits(lab, "", 1)),
    case("fast commits with inline data", |lab| fast_commits(lab, ",inline_data", 0)),
    case("length of the journal", |lab| journal(lab, 0x10, &[0x7F, 0, 0, 0])),
    case("e2fsck at work", |lab| {
        let image = made(lab, &format!("{EXT4},mmp"), "4M");
        let block = u64::from_le_bytes(peek(&image, 1024 + 0x168)) * 1024;
        patch(&image, block + 4, &0xE24D_4D50_u32.to_le_bytes());
        patch(&image, block + 0x10, b"node\0");
    }),
    case("in use", |lab| {
        let image = made(lab, &format!("{EXT4},mmp"), "4M");
        let block = u64::from_le_bytes(peek(&image, 1024 + 0x168)) * 1024;
        patch(&image, block + 4, &0x1234_u32.to_le_bytes());
        patch(&image, block + 0x10, b"node\0");
    }),
    // Damaged.
    case("checksum of the superblock", |lab| flip(&made(lab, CHECKED, "4M"), 1024 + 0x54)),
    case("inodes of the superblock", |lab| superblock(lab, EXT2, 0x28, &[0; 4])),
    case("a file of the tree as a quota file", |lab| superblock(lab, EXT2, 0x240, &[12, 0, 0, 0])),
    case("checksum of a group descriptor", |lab| flip(&made(lab, CHECKED, "4M"), 2048 + 8)),
    case("place of an inode table", |lab| patch(&made(lab, EXT2, "4M"), 2048 + 8, &[0xFF; 4])),
    case("checksum of an inode", |lab| {
        let image = made(lab, CHECKED, "4M");
        flip(&image, inode_offset(&image, "/file") + 4);
    }),
    case("type of an inode", |lab| changed(lab, EXT2, "set_inode_field file mode 0150644\n")),
    case("links of an inode", |lab| changed(lab, EXT2, "set_inode_field file links_count 7\n")),
    case("no name", |lab| changed(lab, EXT2, "unlink file\n")),
    case("two owners", |lab| {
        let image = made(lab, EXT2, "4M");
        let block = u32::try_from(blocks_of(&image, "/other")[0]).expect("a block");
        patch(&image, inode_offset(&image, "/file") + 0x28, &block.to_le_bytes());
    }),
    case("a block behind the end", |lab| {
        let image = made(lab, EXT2, "4M");
        patch(&image, inode_offset(&image, "/file") + 0x28, &[0xFF, 0xFF, 0, 0]);
    }),
    case("an indirect block", |lab| {
        let image = made(lab, EXT2, "4M");
        let [a, b, c, d] = peek(&image, inode_offset(&image, "/comb") + 0x28 + 48);
        patch(&image, u64::from(u32::from_le_bytes([a, b, c, d])) * 1024, &[0xFF; 4]);
    }),
    case("magic of an extent block", |lab| {
        let image = made(lab, EXT4, "4M");
        let [a, b, c, d] = peek(&image, inode_offset(&image, "/comb") + 0x28 + 16);
        patch(&image, u64::from(u32::from_le_bytes([a, b, c, d])) * 1024, &[0; 2]);
    }),
    case("entries of a directory", |lab| {
        let image = made(lab, EXT2, "4M");
        patch(&image, first_block(&image, "/folder") + 4, &[3, 0]);
    }),
    case("parent of a directory", |lab| {
        let image = made(lab, EXT2, "4M");
        patch(&image, first_block(&image, "/folder") + 12, &[11]);
    }),
    case("a cycle of directories", |lab| changed(lab, EXT2, "link folder folder/again\n")),
    case("a name that plays tricks", |lab| {
        let image = made(lab, EXT2, "4M");
        debugfs(&image, "mknod abcdef p\n");
        let block = first_block(&image, "/");
        let bytes: [u8; 1024] = peek(&image, block);
        let at = bytes.windows(6).position(|name| name == b"abcdef").expect("the name");
        patch(&image, block + at as u64, b"\x1b[2J/\n");
    }),
    case("magic of an xattr block", |lab| xattr_block(lab, 0, &[0; 4])),
    case("an ACL with a name", |lab| xattr_block(lab, 33, &[2])),
    case("xattrs out of order", |lab| {
        let image = made(lab, "-t ext2 -I 128", "4M");
        unsorted_xattrs(&image, "file");
    }),
    case("references to a value", |lab| ea_inode(lab, "file")),
    case("magic of the journal", |lab| journal(lab, 0, &[0])),
    case("an orphan file", |lab| {
        let image = made(lab, "-t ext4 -J size=1 -O orphan_file,^metadata_csum,^64bit", "8M");
        let number = u32::from_le_bytes(peek(&image, 1024 + 0x280));
        patch(&image, first_block(&image, &format!("<{number}>")) + 1016, &[0; 4]);
    }),
    case("a quota file", quota),
    case("magic of the MMP block", |lab| {
        let image = made(lab, &format!("{EXT4},mmp"), "4M");
        patch(&image, u64::from_le_bytes(peek(&image, 1024 + 0x168)) * 1024, &[0; 4]);
    }),
    // What the command line asks for.
    command("a long label", r#""$0" --label 12345678901234567 in.img out.img"#, sound),
    command("clamped to nothing", r#""$0" --mtime clamp in.img out.img"#, sound),
    command("a time that does not fit", r#""$0" --source-date-epoch 99999999999 in.img out.img"#, sound),
    command("a journal for none", r#""$0" --journal in.img in.img out.img"#, sound),
    command("a journal for one inside", r#""$0" --journal in.img in.img out.img"#, |lab| {
        made(lab, JOURNAL, "8M");
    }),
    command(
        "another UUID with stable inodes",
        r#""$0" --uuid 11111111-2222-3333-4444-555555555555 in.img out.img"#,
        |lab| {
            made(lab, &format!("{EXT4},stable_inodes"), "4M");
        },
    ),
    case("another UUID with a journal elsewhere", |lab| outside(lab, false)),
    // Files.
    command("no input", r#""$0" none.img out.img"#, nothing),
    command("a folder as input", r#""$0" folder out.img"#, |lab| {
        lab.folder("folder");
    }),
    command("the input as output", r#""$0" in.img in.img"#, sound),
    command("a folder as output", r#""$0" in.img folder"#, |lab| {
        sound(lab);
        lab.folder("folder");
    }),
    command("no folder", r#""$0" in.img no/out.img"#, sound),
    command("several names", r#""$0" --in-place in.img"#, |lab| {
        sound(lab);
        fs::hard_link(lab.path("in.img"), lab.path("hard")).expect("a link");
    }),
    command("no list", r#""$0" digest --check none.img"#, nothing),
    command("a list of nothing", r#""$0" digest --check list"#, |lab| {
        fs::write(lab.path("list"), "nothing\n").expect("writing");
    }),
    command("a path that is too long", r#""$0" ls in.img"#, |lab| {
        let image = lab.mke2fs("in.img", "4M", &["-t", "ext4"]);
        let name = "n".repeat(250);
        debugfs(&image, &format!("mkdir {name}\ncd {name}\n").repeat(17));
    }),
    command("no such file to print", r#""$0" cat in.img /no/such/file"#, sound),
    command("a folder to print", r#""$0" cat in.img /folder"#, sound),
    by_root(
        "a mounted image in place",
        r#"unshare -m sh -c 'mount -o loop,ro in.img /mnt && exec "$0" --in-place in.img' "$0""#,
        sound,
    ),
    by_root(
        "a mounted output",
        r#"unshare -m sh -c 'mount -o loop,ro out.img /mnt && exec "$0" in.img out.img' "$0""#,
        |lab| {
            sound(lab);
            fs::copy(lab.path("in.img"), lab.path("out.img")).expect("copying");
        },
    ),
    by_root(
        "a full disk",
        r#"unshare -m sh -c 'mount -t tmpfs -o size=4k none full && exec "$0" in.img full/out.img' "$0""#,
        |lab| {
            sound(lab);
            lab.folder("full");
        },
    ),
];

/// All cases.
pub fn all() -> impl Iterator<Item = &'static Case> {
    CASES.iter().chain(around::CASES)
}

/// Tools that the recipes need are those of all tests.
#[test]
fn a_sound_image_has_no_message() {
    let lab = Lab::new();
    sound(&lab);
    canon(["-q", "in.img", "out.img"]).within(&lab.path("")).run().done().without_a_word();
}
