//! The images and commands that cause each message.

mod around;
mod making;
mod settings;

use std::fs::{self};

use ext4_canon::internals::ondisk::features::{Incompat, RoCompat};
use ext4_canon::internals::ondisk::mmp::SEQ_FSCK;
use ext4_canon::internals::ondisk::orphan_file::OrphanBlockTail;
use ext4_canon::internals::ondisk::xattr::INDEX_ACL_ACCESS;

use crate::support::dice::Dice;
use crate::support::fields::{
    block_size, descriptor, entry_at, inode, journal, mmp, node_below_root, structure, superblock,
};
use crate::support::image::{block_of, debugfs, patch, peek, put_xattr, set_length, unsorted_xattrs};
use crate::support::{Lab, canon};
use making::{
    CHECKED, EXT2, EXT4, JOURNAL, add_incompat, changed, damaged_log, full_image, journal_elsewhere, made,
    many_names, nothing, sound_image, three_levels, wild_quota, with_context, with_fast_commits,
    with_journal, with_superblock, with_xattr_block, wrong_references, xattr_in_block,
};

/// A case for one message.
pub struct Case {
    pub name: &'static str,
    /// The shell script to run in the directory; `$0` is the program.
    pub script: &'static str,
    /// Whether it needs root.
    pub root: bool,
    /// Creates the files in the directory.
    pub make: fn(&Lab),
}

/// The default command.
pub const PLAIN: &str = r#""$0" in.img out.img"#;

/// Refusals without a case, and the reason.
pub const EXCUSED: [(&str, &str); 14] = [
    ("can't be rewritten, because files can share blocks", "it takes debugfs: see identities.rs"),
    ("no filesystem can have ", "it takes 2^32 groups"),
    (" bytes do not fit into one inode", "it takes mounts: see settings.rs"),
    ("remove some of them, choose", "the same"),
    ("block maps can't reach", "it takes 16 TiB"),
    ("make the image with the extent feature", "the same"),
    ("with 2 TiB or more in blocks", "it takes 2 TiB"),
    ("set it with tune2fs -O huge_file", "the same"),
    ("an encrypted directory that ignores case", "it takes another kernel: see casefold.rs"),
    ("move some of its files to other directories", "the same"),
    ("2^32 or more extents or xattrs", "it takes 64 GiB of memory"),
    ("put some of the files into a different image", "the same"),
    ("is encrypted, and no key is available", "it takes an encrypted image: see encryption.rs"),
    ("mount the image, add the key, and copy the file", "the same"),
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

const CASES: &[Case] = &[
    // These are not filesystems.
    case("empty", |lab| fs::write(lab.path("in.img"), "").expect("writing")),
    case("no filesystem", |lab| fs::write(lab.path("in.img"), vec![0; 8192]).expect("writing")),
    case("an overwritten superblock", |lab| {
        let image = made(lab, EXT4, "16M");
        patch(&image, superblock(&image).start, &[0; 1024]);
    }),
    case("a compressed image", |lab| fs::write(lab.path("in.img"), b"\xfd7zXZ\0").expect("writing")),
    case("another kind of image", |lab| {
        fs::write(lab.path("in.img"), [&b"QFI\xfb"[..], &[0; 8192]].concat()).expect("writing");
    }),
    case("another filesystem", |lab| {
        fs::write(lab.path("in.img"), [&b"hsqs"[..], &[0; 8192]].concat()).expect("writing");
    }),
    case("cut short", |lab| {
        set_length(made(lab, EXT4, "4M"), 1 << 20);
    }),
    case("cut short in the middle of a block", |lab| {
        set_length(made(lab, EXT4, "4M"), (1 << 20) + 5);
    }),
    // These are not supported.
    case("revision", |lab| with_superblock(lab, EXT2, "s_rev_level", 2)),
    case("creator", |lab| with_superblock(lab, EXT2, "s_creator_os", 2)),
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
        let file = inode(&image, "/file");
        file.set("i_extra_isize", 0);
        file.put("i_mtime_extra", &[5]);
    }),
    // These are damaged, and e2fsck does not detect or repair it.
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
        patch(&image, inode(&image, "/link").at("i_block") + 1, &[0]);
    }),
    case("inline data without its flag", |lab| {
        changed(lab, &format!("{EXT2} -I 256"), "ea_set file system.data abc\n");
    }),
    case("a value of no bytes in an inode", |lab| {
        let image = made(lab, "-t ext4 -O ^metadata_csum,^64bit,^has_journal,ea_inode", "4M");
        put_xattr(&image, "file", "trusted.large", Dice::noise(1, 3000));
        inode(&image, "/file").first_xattr().set("e_value_size", 0);
    }),
    case("no descriptor of verity", |lab| {
        changed(lab, &format!("{EXT4},verity"), "set_inode_field file flags 0x180000\n");
    }),
    case("descriptors too small", |lab| {
        with_superblock(lab, "-t ext4 -O ^metadata_csum,64bit,^has_journal", "s_desc_size", 8);
    }),
    case("an unknown hash", |lab| with_superblock(lab, EXT4, "s_def_hash_version", 6)),
    case("a reserved inode", |lab| {
        changed(lab, EXT2, "set_inode_field <9> mode 0100644\nset_inode_field <9> links_count 1\n");
    }),
    case("several reserved inodes", |lab| {
        let set = |number: u32| {
            format!("set_inode_field <{number}> mode 0100644\nset_inode_field <{number}> links_count 1\n")
        };
        changed(lab, EXT2, &[6, 9, 10].map(set).concat());
    }),
    case("an inode in a bad block", |lab| {
        let image = made(lab, EXT2, "4M");
        let block = inode(&image, "/file").start / block_size(&image);
        debugfs(&image, &format!("set_inode_field <1> block[0] {block}\n"));
    }),
    case("more reserved inodes", |lab| with_superblock(lab, EXT2, "s_first_ino", 14)),
    case("a namespace that there is not", |lab| {
        let image = with_xattr_block(lab);
        xattr_in_block(&image).set("e_name_index", 200);
    }),
    case("the depth of a leaf", |lab| {
        let image = made(lab, EXT4, "4M");
        node_below_root(&image, "/comb").set("eh_depth", 3);
    }),
    case("an index that is none", |lab| changed(lab, EXT4, "set_inode_field folder flags 0x81000\n")),
    // These are not supported.
    case("a seed without checksums", |lab| {
        add_incompat(&made(lab, EXT2, "4M"), Incompat::METADATA_CSUM_SEED.bits());
    }),
    case("journal device", |lab| {
        lab.mke2fs("in.img", "4M", &["-O", "journal_dev", "-b", "1024"]);
    }),
    case("a feature", |lab| add_incompat(&made(lab, EXT2, "4M"), Incompat::COMPRESSION.bits())),
    case("features", |lab| add_incompat(&made(lab, EXT2, "4M"), 0x4000_0000 | Incompat::COMPRESSION.bits())),
    case("shared blocks of clusters", |lab| {
        let image = made(lab, "-t ext4 -C 4096 -O bigalloc,^metadata_csum,^64bit,^has_journal", "4M");
        superblock(&image).add("s_feature_ro_compat", RoCompat::SHARED_BLOCKS.bits());
    }),
    case("encoding", |lab| with_superblock(lab, &format!("{EXT4},casefold"), "s_encoding", 9)),
    case("flags of the encoding", |lab| {
        with_superblock(lab, &format!("{EXT4},casefold"), "s_encoding_flags", 0x40);
    }),
    case("level of encryption", |lab| {
        with_superblock(lab, &format!("{EXT4},encrypt"), "s_encryption_level", 1);
    }),
    case("mount options without an end", |lab| superblock(&made(lab, EXT2, "4M")).fill("s_mount_opts", b'x')),
    case("an index of three levels", three_levels),
    case("revision 0", |lab| {
        let image = made(lab, "-t ext2 -r 0", "4M");
        debugfs(&image, "set_inode_field file size 0x90000000\nset_inode_field file block[10] 0\n");
    }),
    case("flags of a policy", |lab| with_context(lab, [2, 1, 4, 0x80])),
    case("another version of a policy", |lab| with_context(lab, [3, 1, 4, 0])),
    case("a policy bound to inode numbers", |lab| with_context(lab, [2, 1, 4, 0x08])),
    case("a symlink with a large xattr", |lab| wrong_references(lab, "link")),
    case("journal features", |lab| with_journal(lab, "s_feature_incompat", 0x4000_0000)),
    command("no journal device", r#""$0" --uuid keep --journal journal.img in.img out.img"#, |lab| {
        journal_elsewhere(lab, true);
        fs::write(lab.path("journal.img"), [0; 4096]).expect("writing");
    }),
    command("another journal device", r#""$0" --uuid keep --journal journal.img in.img out.img"#, |lab| {
        journal_elsewhere(lab, true);
        lab.mke2fs("journal.img", "4M", &["-O", "journal_dev", "-b", "1024"]);
    }),
    // Space is missing.
    case("no blocks left", |lab| full_image(lab, false)),
    case("no inodes left", |lab| full_image(lab, true)),
    // These are not clean.
    case("errors were found", |lab| with_superblock(lab, EXT2, "s_state", 2)),
    case("errors in the journal", |lab| with_journal(lab, "s_errno", 0xFFFF_FFFB)),
    case("log of a clean filesystem", |lab| {
        journal(&made(lab, JOURNAL, "8M")).set("s_start", 1);
    }),
    case("journal elsewhere", |lab| journal_elsewhere(lab, true)),
    case("start of the log", |lab| with_journal(lab, "s_start", 0x7F00_0000)),
    case("a damaged copy in the log", |lab| damaged_log(lab, 2)),
    case("a damaged descriptor in the log", |lab| damaged_log(lab, 1)),
    case("fast commits of the future", |lab| with_fast_commits(lab, "", 1)),
    case("fast commits with inline data", |lab| with_fast_commits(lab, ",inline_data", 0)),
    case("length of the journal", |lab| with_journal(lab, "s_maxlen", 0x7F00_0000)),
    case("e2fsck at work", |lab| {
        let image = made(lab, &format!("{EXT4},mmp"), "4M");
        mmp(&image).set("mmp_seq", SEQ_FSCK.into());
        mmp(&image).put("mmp_nodename", b"node\0");
    }),
    case("in use", |lab| {
        let image = made(lab, &format!("{EXT4},mmp"), "4M");
        mmp(&image).set("mmp_seq", 0x1234);
        mmp(&image).put("mmp_nodename", b"node\0");
    }),
    // These are damaged.
    case("checksum of the superblock", |lab| superblock(&made(lab, CHECKED, "4M")).flip("s_first_ino")),
    case("inodes of the superblock", |lab| with_superblock(lab, EXT2, "s_inodes_per_group", 0)),
    case("a file of the tree as a quota file", |lab| with_superblock(lab, EXT2, "s_usr_quota_inum", 12)),
    case("checksum of a group descriptor", |lab| {
        descriptor(&made(lab, CHECKED, "4M"), 0).flip("bg_inode_table_lo");
    }),
    case("place of an inode table", |lab| {
        descriptor(&made(lab, EXT2, "4M"), 0).fill("bg_inode_table_lo", 0xFF);
    }),
    case("checksum of an inode", |lab| {
        let image = made(lab, CHECKED, "4M");
        inode(&image, "/file").flip("i_size_lo");
    }),
    case("type of an inode", |lab| changed(lab, EXT2, "set_inode_field file mode 0150644\n")),
    case("links of an inode", |lab| changed(lab, EXT2, "set_inode_field file links_count 7\n")),
    case("no name", |lab| changed(lab, EXT2, "unlink file\n")),
    case("two owners", |lab| {
        let image = made(lab, EXT2, "4M");
        let block = u32::try_from(block_of(&image, "/other", 0)).expect("32 bits");
        inode(&image, "/file").set_word("i_block", 0, block);
    }),
    case("a block behind the end", |lab| {
        let image = made(lab, EXT2, "4M");
        inode(&image, "/file").set_word("i_block", 0, 0xFFFF);
    }),
    case("an indirect block", |lab| {
        let image = made(lab, EXT2, "4M");
        let block = inode(&image, "/comb").word("i_block", 12);
        patch(&image, u64::from(block) * 1024, &[0xFF; 4]);
    }),
    case("magic of an extent block", |lab| {
        let image = made(lab, EXT4, "4M");
        node_below_root(&image, "/comb").set("eh_magic", 0);
    }),
    case("entries of a directory", |lab| {
        let image = made(lab, EXT2, "4M");
        entry_at(&image, "/folder", 0).set("rec_len", 3);
    }),
    case("parent of a directory", |lab| {
        let image = made(lab, EXT2, "4M");
        entry_at(&image, "/folder", 12).put("inode", &[11]);
    }),
    case("a cycle of directories", |lab| changed(lab, EXT2, "link folder folder/again\n")),
    case("a name that plays tricks", |lab| {
        let image = made(lab, EXT2, "4M");
        debugfs(&image, "mknod abcdef p\n");
        let block = block_of(&image, "/", 0) * 1024;
        let bytes: [u8; 1024] = peek(&image, block);
        let at = bytes.windows(6).position(|name| name == b"abcdef").expect("the name");
        patch(&image, block + at as u64, b"\x1b[2J/\n");
    }),
    case("magic of an xattr block", |lab| {
        inode(&with_xattr_block(lab), "/file").xattr_block().set("h_magic", 0);
    }),
    case("an ACL with a name", |lab| {
        xattr_in_block(&with_xattr_block(lab)).set("e_name_index", INDEX_ACL_ACCESS.into());
    }),
    case("xattrs out of order", |lab| {
        let image = made(lab, "-t ext2 -I 128", "4M");
        unsorted_xattrs(&image, "file");
    }),
    case("references to a value", |lab| wrong_references(lab, "file")),
    case("magic of the journal", |lab| with_journal(lab, "h_magic", 0x003B_3998)),
    case("an orphan file", |lab| {
        let image = made(lab, "-t ext4 -J size=1 -O orphan_file,^metadata_csum,^64bit", "8M");
        let number = superblock(&image).get("s_orphan_file_inum");
        let end = (block_of(&image, &format!("<{number}>"), 0) + 1) * 1024;
        structure::<OrphanBlockTail>(&image, end - size_of::<OrphanBlockTail>() as u64).set("ob_magic", 0);
    }),
    case("a quota file", wild_quota),
    case("magic of the MMP block", |lab| {
        let image = made(lab, &format!("{EXT4},mmp"), "4M");
        mmp(&image).set("mmp_magic", 0);
    }),
    // The option is invalid, or does not fit the image.
    command("a long label", r#""$0" --label 12345678901234567 in.img out.img"#, sound_image),
    command("clamped to nothing", r#""$0" --mtime clamp in.img out.img"#, sound_image),
    command(
        "a time that does not fit",
        r#""$0" --source-date-epoch 99999999999 in.img out.img"#,
        sound_image,
    ),
    command("a journal for none", r#""$0" --journal in.img in.img out.img"#, sound_image),
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
    command("split links with stable inodes", r#""$0" --hard-links split in.img out.img"#, |lab| {
        made(lab, &format!("{EXT4},stable_inodes"), "4M");
    }),
    command("too much to split", r#""$0" --hard-links split in.img out.img"#, many_names),
    case("another UUID with a journal elsewhere", |lab| journal_elsewhere(lab, false)),
    // The files can't be used.
    command("no input", r#""$0" none.img out.img"#, nothing),
    command("a folder as input", r#""$0" folder out.img"#, |lab| {
        lab.folder("folder");
    }),
    command("the input as output", r#""$0" in.img in.img"#, sound_image),
    command("a folder as output", r#""$0" in.img folder"#, |lab| {
        sound_image(lab);
        lab.folder("folder");
    }),
    command("no folder", r#""$0" in.img no/out.img"#, sound_image),
    command("several names", r#""$0" --in-place in.img"#, |lab| {
        sound_image(lab);
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
    command("no such file to print", r#""$0" cat in.img /no/such/file"#, sound_image),
    command("a folder to print", r#""$0" cat in.img /folder"#, sound_image),
    by_root(
        "a mounted image in place",
        r#"unshare -m sh -c 'mount -o loop,ro in.img /mnt && exec "$0" --in-place in.img' "$0""#,
        sound_image,
    ),
    by_root(
        "a mounted output",
        r#"unshare -m sh -c 'mount -o loop,ro out.img /mnt && exec "$0" in.img out.img' "$0""#,
        |lab| {
            sound_image(lab);
            fs::copy(lab.path("in.img"), lab.path("out.img")).expect("copying");
        },
    ),
    by_root(
        "a full disk",
        r#"unshare -m sh -c 'mount -t tmpfs -o size=4k none full && exec "$0" in.img full/out.img' "$0""#,
        |lab| {
            sound_image(lab);
            lab.folder("full");
        },
    ),
];

/// Returns all cases.
pub fn all() -> impl Iterator<Item = &'static Case> {
    CASES.iter().chain(around::CASES).chain(settings::CASES)
}

/// The image that all cases are made from causes no message.
#[test]
fn a_sound_image_has_no_message() {
    let lab = Lab::new();
    sound_image(&lab);
    canon(["-q", "in.img", "out.img"]).within(&lab.path("")).run().done().without_a_word();
}
