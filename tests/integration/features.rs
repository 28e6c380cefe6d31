//! All supported geometries and feature sets of mke2fs.

use std::fs;
use std::path::Path;

use ext4_canon::internals::ondisk::features::{Compat, RoCompat};

use crate::support::dice::Dice;
use crate::support::fields::superblock;
use crate::support::{Lab, Need, canonical, judge, partly, run, same_bytes, tool, tools, tree};

/// Makes an image with these options, and checks its canonical form with all judges.
fn accepted_by_all_judges(size: &str, options: &[&str]) {
    let lab = Lab::new();
    let root = rustix::process::geteuid().is_root();
    let source = lab.folder("source");
    match size {
        "64k" | "100k" | "256k" => fs::write(source.join("file"), Dice::noise(1, 5000)).expect("writing"),
        _ if root => tree::rich(&source),
        _ => tree::plain(&source),
    }
    let image = lab.mke2fs_d("in.img", size, options, &source);
    let output = canonical(&image, &[]);
    assert_eq!(judge::group_layout(&image), judge::group_layout(&output), "{options:?}");
    assert_eq!(feature_line(&image), feature_line(&output), "{options:?}");
    if partly(&[Need::Root]) {
        // debugfs copies owners, which needs root.
        judge::same_by_debugfs(&image, &output);
    }
    // A second image has different random values. None of them may affect the output.
    let other = lab.mke2fs_d("other.img", size, options, &source);
    same_bytes(&output, &canonical(&other, &[]));
    if partly(&[Need::Mounts]) && judge::can_be_mounted(&image) {
        judge::same_by_kernel(&image, &output);
        if let Err(error) = judge::kernel_works(&output) {
            // Kernels without quota support mount images with project IDs only read-only.
            let input = judge::kernel_works(&image);
            assert!(input.is_err_and(|e| e.starts_with("mounting ")), "{options:?}: {error}");
        }
    }
}

fn feature_line(image: &Path) -> String {
    let text = tools::try_run(tool("dumpe2fs").arg("-h").arg(image)).stdout;
    text.lines().find(|line| line.starts_with("Filesystem features:")).expect("features").to_owned()
}

/// Defines one test for each row, so that they run in parallel and a failure has a name.
macro_rules! sets {
    ($($name:ident: $size:literal, $options:literal;)*) => { $(
        #[test]
        fn $name() {
            accepted_by_all_judges($size, &$options.split_whitespace().collect::<Vec<_>>());
        }
    )* };
}

sets! {
    ext2_with_defaults: "16M", "-t ext2";
    ext3_with_defaults: "32M", "-t ext3";
    ext4_with_defaults: "32M", "-t ext4";
    ext4_as_newer_versions_make_it: "32M", "-t ext4 -O metadata_csum_seed,orphan_file";
    ext4_as_older_versions_make_it: "32M", "-t ext4 -O ^metadata_csum,^64bit,uninit_bg";
    revision_0: "16M", "-t ext2 -r 0 -b 1024";
    revision_0_with_blocks_of_4k: "16M", "-t ext2 -r 0 -b 4096";

    blocks_of_1k: "40M", "-t ext4 -b 1024";
    blocks_of_2k: "32M", "-t ext4 -b 2048";
    blocks_of_4k: "64M", "-t ext4 -b 4096";
    blocks_of_16k: "160M", "-t ext4 -b 16384";
    blocks_of_64k: "320M", "-t ext4 -b 65536";
    blocks_of_64k_on_ext2: "64M", "-t ext2 -b 65536";

    inodes_of_128: "32M", "-t ext4 -I 128";
    inodes_of_512: "32M", "-t ext4 -I 512";
    inodes_of_1024: "32M", "-t ext4 -I 1024 -b 1024";
    inodes_of_2048: "48M", "-t ext4 -I 2048 -b 2048 -N 1000";
    inodes_of_4096: "48M", "-t ext4 -I 4096 -b 4096 -N 1000";
    few_inodes: "32M", "-t ext4 -N 300";
    many_inodes: "32M", "-t ext4 -i 1024 -b 1024";

    without_extents: "32M", "-t ext4 -O ^extents,^64bit";
    without_extents_in_small_blocks: "32M", "-t ext4 -b 1024 -O ^extents,^64bit";
    without_64bit: "32M", "-t ext4 -O ^64bit";
    without_flex_bg: "64M", "-t ext4 -b 1024 -O ^flex_bg";
    flex_groups_of_1: "64M", "-t ext4 -b 1024 -G 1";
    flex_groups_of_2: "64M", "-t ext4 -b 1024 -G 2";
    flex_groups_of_4: "100M", "-t ext4 -b 1024 -G 4";
    flex_groups_of_64: "100M", "-t ext4 -b 1024 -G 64";
    without_sparse_super: "64M", "-t ext4 -b 1024 -O ^sparse_super,^resize_inode";
    two_backups: "64M", "-t ext4 -b 1024 -O sparse_super2,^resize_inode";
    no_backup: "64M", "-t ext4 -b 1024 -O sparse_super2,^resize_inode -E num_backup_sb=0";
    one_backup: "64M", "-t ext4 -b 1024 -O sparse_super2,^resize_inode -E num_backup_sb=1";
    meta_bg: "64M", "-t ext4 -b 1024 -O meta_bg,^resize_inode";
    meta_bg_without_flex_bg: "64M", "-t ext4 -b 1024 -O meta_bg,^resize_inode,^flex_bg";
    meta_bg_with_64bit: "200M", "-t ext4 -b 1024 -g 1024 -O meta_bg,^resize_inode,64bit";
    uninit_bg: "64M", "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg";
    no_checksums: "64M", "-t ext4 -b 1024 -O ^metadata_csum,^uninit_bg";
    metadata_csum_seed: "32M", "-t ext4 -O metadata_csum_seed";
    large_dir: "32M", "-t ext4 -b 1024 -O large_dir";
    orphan_file: "32M", "-t ext4 -O orphan_file";
    orphan_file_in_small_blocks: "32M", "-t ext4 -b 1024 -O orphan_file";
    project: "32M", "-t ext4 -O project";
    quota: "32M", "-t ext4 -O quota";
    quota_in_small_blocks: "32M", "-t ext4 -b 1024 -O quota,project -E quotatype=usrquota:grpquota:prjquota";
    quota_in_clusters: "64M", "-t ext4 -O quota,bigalloc";
    quota_of_groups_alone: "64M", "-t ext4 -b 65536 -O quota -E quotatype=grpquota";
    without_filetype: "16M", "-t ext2 -O ^filetype";
    without_filetype_and_index: "32M", "-t ext4 -O ^filetype,^dir_index";
    without_dir_index: "32M", "-t ext4 -b 1024 -O ^dir_index";
    without_extra_isize: "32M", "-t ext4 -O ^extra_isize,^dir_nlink,^huge_file,^large_file";
    without_ext_attr: "16M", "-t ext2 -O ^ext_attr";
    without_resize_inode: "64M", "-t ext4 -O ^resize_inode";
    room_to_grow: "32M", "-t ext4 -b 1024 -E resize=4G";
    without_journal: "32M", "-t ext4 -O ^has_journal";
    large_journal: "64M", "-t ext4 -b 1024 -J size=16";
    fast_commit: "64M", "-t ext4 -b 1024 -O fast_commit";
    fast_commit_of_its_own_size: "64M", "-t ext4 -b 1024 -O fast_commit -J size=8,fast_commit_size=512";
    no_reserve: "32M", "-t ext4 -m 0";
    raid: "64M", "-t ext4 -b 1024 -E stride=16,stripe_width=32";
    raid_without_flex_bg: "64M", "-t ext4 -b 1024 -O ^flex_bg -E stride=7,stripe_width=14";
    raid_to_the_end_of_a_group: "24M", "-t ext4 -b 1024 -g 1024 -O ^flex_bg -N 1536 -E stride=503,stripe_width=503";
    small_groups: "24M", "-t ext4 -b 1024 -g 512";
    small_groups_without_flex_bg: "24M", "-t ext4 -b 1024 -g 1024 -O ^flex_bg -N 2000";
    a_hash_seed_of_its_own: "32M", "-t ext4 -b 1024 -E hash_seed=11111111-2222-3333-4444-555555555555";
    owner_and_label: "32M", "-t ext4 -L a-label -E root_owner=12:34 -e panic -M /somewhere";
    a_uuid_of_its_own: "32M", "-t ext4 -U 11111111-2222-3333-4444-555555555555";
    a_short_last_group: "25000k", "-t ext4 -b 1024";
    an_odd_size: "16387k", "-t ext4 -b 1024";

    bigalloc: "64M", "-t ext4 -O bigalloc";
    bigalloc_in_1k: "64M", "-t ext4 -O bigalloc -b 1024";
    bigalloc_in_1k_by_2: "64M", "-t ext4 -O bigalloc -b 1024 -C 2048";
    bigalloc_in_1k_by_4_with_resize_inode: "80M", "-t ext4 -O bigalloc -b 1024 -C 4096 -E resize=4G";
    bigalloc_in_1k_by_64: "67001k", "-t ext4 -O bigalloc -b 1024 -C 64k";
    bigalloc_in_1k_by_256: "128M", "-t ext4 -O bigalloc -b 1024 -C 256k";
    bigalloc_in_2k_by_4: "64M", "-t ext4 -O bigalloc -b 2048 -C 8k";
    bigalloc_in_2k_by_32: "64M", "-t ext4 -O bigalloc -b 2048 -C 64k";
    bigalloc_in_4k_by_1: "64M", "-t ext4 -O bigalloc -b 4096 -C 4096";
    bigalloc_in_4k_by_2: "64M", "-t ext4 -O bigalloc -b 4096 -C 8k";
    bigalloc_in_4k_by_256: "300M", "-t ext4 -O bigalloc -b 4096 -C 1M -i 16384";
    bigalloc_in_64k_by_4: "320M", "-t ext4 -O bigalloc -b 65536 -C 256k -N 1000";
    bigalloc_in_small_groups: "64M", "-t ext4 -O bigalloc -b 1024 -C 4096 -g 1024";
    bigalloc_without_flex_bg: "64M", "-t ext4 -O bigalloc,^flex_bg -b 1024 -C 4096 -g 1024";
    bigalloc_without_flex_bg_on_raid: "64M", "-t ext4 -O bigalloc,^flex_bg -b 1024 -C 4096 -g 1024 -E stride=7";
    bigalloc_in_flex_groups_of_4: "100M", "-t ext4 -O bigalloc -b 1024 -C 2048 -G 4";
    bigalloc_with_meta_bg: "64M", "-t ext4 -O bigalloc,meta_bg,^resize_inode -b 1024 -C 4096 -g 1024";
    bigalloc_with_meta_bg_without_flex_bg: "64M", "-t ext4 -O bigalloc,meta_bg,^flex_bg,^resize_inode -b 1024 -C 2048 -g 512";
    bigalloc_with_two_backups: "64M", "-t ext4 -O bigalloc,sparse_super2,^resize_inode -b 1024 -C 4096 -g 1024";
    bigalloc_without_sparse_super: "64M", "-t ext4 -O bigalloc,^sparse_super,^resize_inode -b 1024 -C 4096 -g 1024";
    bigalloc_without_64bit: "64M", "-t ext4 -O bigalloc,^64bit -b 1024 -C 4096";
    bigalloc_with_uninit_bg: "64M", "-t ext4 -O bigalloc,^metadata_csum,uninit_bg -b 1024 -C 4096 -g 1024";
    bigalloc_without_checksums: "64M", "-t ext4 -O bigalloc,^metadata_csum,^uninit_bg -b 1024 -C 4096";
    bigalloc_without_journal: "64M", "-t ext4 -O bigalloc,^has_journal -b 1024 -C 16k";
    bigalloc_with_orphan_file: "64M", "-t ext4 -O bigalloc,orphan_file,metadata_csum_seed -b 2048 -C 16k";
    bigalloc_without_dir_index: "64M", "-t ext4 -O bigalloc,^dir_index -b 1024 -C 4096";
    bigalloc_with_small_inodes: "64M", "-t ext4 -O bigalloc -I 128 -b 1024 -C 4096";

    kind_news: "32M", "-t ext4 -T news";
    kind_largefile: "64M", "-t ext4 -T largefile -N 300";
    kind_largefile4: "100M", "-t ext4 -T largefile4 -N 300";
    kind_huge: "64M", "-t ext4 -T huge";
    kind_big: "64M", "-t ext4 -T big";
    kind_small: "32M", "-t ext4 -T small";
    kind_floppy: "8M", "-t ext2 -T floppy";
    kind_hurd_made_for_linux: "32M", "-t ext2 -T hurd -o linux";
    mmp_in_clusters: "64M", "-t ext4 -b 1024 -O mmp,bigalloc,quota";

    tiny: "64k", "-t ext2 -b 1024 -N 16";
    tiny_with_checksums: "100k", "-t ext4 -b 1024 -N 16 -O ^has_journal";
    small: "256k", "-t ext4 -b 1024 -O ^has_journal";
    small_with_large_blocks: "256k", "-t ext4 -b 4096 -O ^has_journal";
}

/// The group metadata of a grown filesystem is in different places than that of a new one.
#[test]
fn a_grown_filesystem_has_the_layout_of_a_fresh_one() {
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "1024", "-E", "resize=256M"];
    let grown = lab.plain_image("grown.img", "24M", &options);
    run(tool("resize2fs").arg(&grown).arg("96M"));
    let fresh = lab.plain_image("fresh.img", "96M", &options);
    assert_ne!(judge::group_layout(&grown), judge::group_layout(&fresh), "test precondition failed");
    assert_eq!(judge::group_layout(&canonical(&grown, &[])), judge::group_layout(&fresh));
}

/// mke2fs can also put all metadata at the start of the filesystem.
#[test]
fn packed_metadata_is_unpacked() {
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "1024"];
    let packed = [&options[..], &["-E", "packed_meta_blocks=1"]].concat();
    let packed = lab.plain_image("packed.img", "200M", &packed);
    let fresh = lab.plain_image("fresh.img", "200M", &options);
    assert_ne!(judge::group_layout(&packed), judge::group_layout(&fresh), "test precondition failed");
    assert_eq!(judge::group_layout(&canonical(&packed, &[])), judge::group_layout(&fresh));
}

/// If checks by mount count are enabled, mke2fs adds 0 to 19 to the maximum, depending on the random UUID.
#[test]
fn the_random_part_of_the_mount_count_is_dropped() {
    let lab = Lab::new();
    let outputs = ["23", "37"].map(|count| {
        let image = lab.plain_image(&format!("{count}.img"), "16M", &["-t", "ext4"]);
        run(tool("tune2fs").args(["-c", count, "-i", "180d"]).arg(&image));
        canonical(&image, &[])
    });
    same_bytes(&outputs[0], &outputs[1]);
}

/// Sets a feature bit that mke2fs would not set, and checks that it is kept.
fn keeps_bit(word: &str, bit: u32) {
    let lab = Lab::new();
    let image = lab.plain_image("in.img", "16M", &["-t", "ext4", "-O", "^metadata_csum"]);
    let without = canonical(&image, &[]);
    superblock(&image).add(word, bit);
    let output = canonical(&image, &[]);
    assert_eq!(superblock(&output).get(word), superblock(&image).get(word));
    assert_ne!(fs::read(&output).expect("reading"), fs::read(&without).expect("reading"));
}

#[test]
fn dir_prealloc() {
    keeps_bit("s_feature_compat", Compat::DIR_PREALLOC.bits());
}

#[test]
fn read_only() {
    keeps_bit("s_feature_ro_compat", RoCompat::READONLY.bits());
}

/// The tests that docs/features.md names for each bit exist.
#[test]
fn the_documented_tests_exist() {
    let text = fs::read_to_string(tools::project("docs/features.md")).expect("reading");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|line| line.trim_matches('|').rsplit('|').next().expect("a cell").trim());
    let tests: Vec<_> = cells.flat_map(|cell| cell.split(", ")).map(|test| test.trim_matches('`')).collect();
    assert!(tests.len() > 60, "{tests:?}");
    for test in tests {
        let (module, name) = test.rsplit_once("::").unwrap_or((test, ""));
        let file = tools::project(format!("tests/integration/{}.rs", module.replace("::", "/")));
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert!(text.contains(name), "{} has no {name}", file.display());
    }
}
