//! Messages about settings that the output can't have.

use std::fs;

use super::around::two_filesystems;
use super::making::{EXT2, made, sound_image};
use super::{Case, command};
use crate::support::Lab;
use crate::support::fields::superblock;

/// Makes two images: the input, and a reference with these options.
fn with_reference(lab: &Lab, options: &str, size: &str) {
    lab.mke2fs("ref.img", size, &options.split(' ').collect::<Vec<_>>());
    sound_image(lab);
}

fn ext2(lab: &Lab) {
    made(lab, EXT2, "4M");
}

pub const CASES: &[Case] = &[
    command(
        "a cluster too small",
        r#""$0" --features bigalloc --cluster-size 512 in.img out.img"#,
        sound_image,
    ),
    command(
        "metadata larger than the image",
        r#""$0" --block-size 64K --inode-size 64K in.img out.img"#,
        sound_image,
    ),
    command("no clusters", r#""$0" --cluster-size 64K in.img out.img"#, sound_image),
    command("inodes larger than blocks", r#""$0" --inode-size 2K in.img out.img"#, sound_image),
    command(
        "inodes without room",
        r#""$0" --inode-size 128 --features inline_data in.img out.img"#,
        sound_image,
    ),
    command("blocks of no size", r#""$0" --block-size 512 in.img out.img"#, sound_image),
    command(
        "a journal too small",
        r#""$0" --features has_journal --journal-size 64K in.img out.img"#,
        sound_image,
    ),
    command(
        "a journal too large",
        r#""$0" --features has_journal --journal-size 2M in.img out.img"#,
        sound_image,
    ),
    command("inodes larger than the image", r#""$0" --inodes 100000 in.img out.img"#, sound_image),
    command("no journal", r#""$0" --features ^has_journal --journal-size 4M in.img out.img"#, sound_image),
    command("a feature without its base", r#""$0" --features orphan_file in.img out.img"#, ext2),
    command(
        "features that exclude each other",
        r#""$0" --features meta_bg,resize_inode in.img out.img"#,
        sound_image,
    ),
    command("too many reserved blocks", r#""$0" --reserved 4000 in.img out.img"#, sound_image),
    command(
        "a reference larger than a partition",
        r#""$0" --partition 1 --like ref.img in.img out.img"#,
        |lab| {
            lab.mke2fs("ref.img", "8M", &["-t", "ext2"]);
            two_filesystems(lab);
        },
    ),
    command("one reference for several", r#""$0" --like ref.img in.img out.img"#, |lab| {
        lab.mke2fs("ref.img", "4M", &["-t", "ext2"]);
        two_filesystems(lab);
    }),
    command("a reference with stable inodes", r#""$0" --like ref.img in.img out.img"#, |lab| {
        with_reference(lab, "-t ext4 -O stable_inodes", "4M");
    }),
    command("a reference with a journal elsewhere", r#""$0" --like ref.img in.img out.img"#, |lab| {
        with_reference(lab, "-t ext2", "4M");
        let reference = lab.path("ref.img");
        let features = superblock(&reference).get32("s_feature_compat") | 4;
        superblock(&reference).put("s_feature_compat", &features.to_le_bytes());
        superblock(&reference).put("s_journal_uuid", &[0x11; 16]);
    }),
    command("a reference of the Hurd", r#""$0" --like ref.img in.img out.img"#, |lab| {
        with_reference(lab, "-t ext2 -o hurd", "4M");
    }),
    command("a tree that would change", r#""$0" --inode-size 128 in.img out.img"#, |lab| {
        let image = made(lab, EXT2, "4M");
        let commands = "set_inode_field /file mtime_extra 20\n";
        crate::support::image::debugfs(&image, commands);
    }),
    command("a path too long for smaller blocks", r#""$0" --block-size 1024 in.img out.img"#, |lab| {
        let source = lab.folder("long");
        std::os::unix::fs::symlink("x".repeat(1500), source.join("link")).expect("a symlink");
        lab.mke2fs_d("in.img", "4M", &["-t", "ext2", "-b", "4096"], &source);
        fs::remove_dir_all(source).expect("removing");
    }),
];
