//! Filesystems with bigalloc, which allocate clusters of blocks.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use ext4_canon::internals::ondisk::features::Incompat;
use ext4_canon::internals::ondisk::inode::InodeFlags;

use crate::support::dice::Dice;
use crate::support::fields::{descriptor, inode, superblock};
use crate::support::image::{block_of, debugfs, debugfs_read, put_file};
use crate::support::kernel::Mounted;
use crate::support::listing::paths;
use crate::support::{Lab, Need, canonical, fill, gate, judge, partly, refused, run, same_bytes, tool, tree};

/// Clusters of 4 blocks of 1 KiB. There are no checksums, so patches don't have to update any.
const PLAIN: [&str; 8] = ["-t", "ext4", "-b", "1024", "-C", "4096", "-O", "bigalloc,^metadata_csum"];

/// Creates a sparse file of `size` bytes, with 100 bytes of data at each of `offsets`.
fn islands(path: &Path, size: u64, offsets: impl IntoIterator<Item = u64>) {
    let file = File::create(path).expect("a file");
    file.set_len(size).expect("a length");
    for offset in offsets {
        file.write_all_at(&Dice::noise(offset, 100), offset).expect("writing");
    }
}

/// Creates files whose block maps are difficult with clusters of `ratio` blocks of `block` bytes.
fn cluster_tree(root: &Path, block: u64, ratio: u64) {
    tree::rich(root);
    let folder = root.join("clusters");
    fs::create_dir(&folder).expect("a folder");
    let cluster = block * ratio;
    for size in [1, block - 1, block, block + 1, cluster - 1, cluster, cluster + 1, 3 * cluster] {
        let size = usize::try_from(size).expect("a size");
        fs::write(folder.join(format!("size{size}")), Dice::noise(size as u64, size)).expect("writing");
    }
    let last = block * (ratio - 1);
    let ends = 5 * cluster + block + 1;
    islands(&folder.join("last-blocks"), ends, (0..5).map(|number| number * cluster + last));
    islands(&folder.join("first-and-last"), ends, (0..5).flat_map(|n| [n * cluster, n * cluster + last]));
    islands(&folder.join("end"), 7 * cluster + block / 2, [7 * cluster]);
    islands(&folder.join("only-a-hole"), 3 * cluster + 1, []);
    // The extents exceed the space in the inode; those of the second file also exceed a block of 1 KiB.
    for (name, extents) in [("five", 5), ("ninety", 90)] {
        islands(
            &folder.join(name),
            400 * cluster,
            (0..extents).map(|number| 4 * number * cluster + block / 3),
        );
    }
    for number in 0..20 {
        tree::set_xattr(&folder.join("five"), &format!("user.number{number}"), &Dice::noise(number, 20));
    }
    tree::set_all_mtimes(root);
}

/// Copies a tree into an image with the kernel, among temporary files.
fn shredded(image: &Path, source: &Path, cluster: u64) {
    let clutter = |root: &Path, number: u64| root.join(format!("clutter{number}"));
    fill::kernel(image, |root| {
        for number in 0..60 {
            let size = usize::try_from(cluster * (1 + number % 3)).expect("a size");
            fs::write(clutter(root, number), Dice::noise(number, size)).expect("writing");
        }
    });
    fill::kernel(image, |root| {
        for number in (0..60).step_by(2) {
            fs::remove_file(clutter(root, number)).expect("removing");
        }
        fill::copy_in_order(source, root, &fill::backwards(source));
        for number in (1..60).step_by(2) {
            fs::remove_file(clutter(root, number)).expect("removing");
        }
        // Write and remove a file, then make blocks of zeros that are written, unwritten or punched out.
        let reserve = File::create(clutter(root, 0)).expect("a file");
        reserve.write_all_at(&Dice::noise(0, 1000), 0).expect("writing");
        drop(reserve);
        fs::remove_file(clutter(root, 0)).expect("removing");
        let gaps = root.join("clusters/five");
        let time = fs::symlink_metadata(&gaps).expect("metadata").modified().expect("a time");
        let length = (2 * cluster).to_string();
        run(tool("fallocate").args(["-n", "-o", &cluster.to_string(), "-l", &length]).arg(&gaps));
        let file = File::options().write(true).open(root.join("clusters/only-a-hole")).expect("a file");
        file.write_all_at(&vec![0; 1500], cluster / 2).expect("writing");
        file.sync_all().expect("syncing");
        drop(file);
        File::options().write(true).open(&gaps).and_then(|f| f.set_modified(time)).expect("a time");
        fill::copy_in_order(source, root, &["clusters/last-blocks".into()]);
        restore_times(source, root);
    });
}

/// Copies the mtimes of all files from the source to the copy.
fn restore_times(source: &Path, copy: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    for path in paths(source) {
        let meta = source.join(&path).symlink_metadata().expect("metadata");
        tree::set_mtime(&copy.join(path), meta.mtime(), meta.mtime_nsec());
    }
    tree::set_mtime(copy, tree::SOME_TIME, 0);
}

/// Checks that five histories of one tree have the same canonical form, and that all judges accept it.
fn all_histories_meet(size: &str, block: u64, ratio: u64, more: &[&str]) {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let source = lab.folder("source");
    cluster_tree(&source, block, ratio);
    let sizes = [block.to_string(), (block * ratio).to_string()];
    let options = [&["-t", "ext4", "-O", "bigalloc", "-b", &sizes[0], "-C", &sizes[1]], more].concat();
    let image = lab.mke2fs_d("mke2fs.img", size, &options, &source);
    let output = canonical(&image, &["--verify"]);
    let same = |image: &Path| same_bytes(&output, &canonical(image, &[]));

    // Punch holes into clusters that have other blocks.
    let punched = lab.copy(&image, "punched.img");
    debugfs(&punched, "punch clusters/last-blocks 0 0\n");
    if ratio > 2 {
        debugfs(&punched, "punch clusters/first-and-last 1 1\n");
    }
    same(&punched);
    assert_eq!(judge::group_layout(&image), judge::group_layout(&output));
    let overhead = |image: &Path| superblock(image).get("s_overhead_clusters");
    assert_eq!(overhead(&image), overhead(&output));
    if !judge::can_be_mounted(&image) {
        return;
    }
    judge::same_by_kernel(&image, &output);
    judge::kernel_works(&output).expect("the kernel works on it");
    let forwards = lab.mke2fs("forwards.img", size, &options);
    fill::kernel(&forwards, |root| {
        fill::copy(&source, root);
        restore_times(&source, root);
    });
    same(&forwards);
    let shreds = lab.mke2fs("shreds.img", size, &options);
    shredded(&shreds, &source, block * ratio);
    same(&shreds);
    // Change a canonical image, and restore its content.
    let later = lab.copy(&output, "later.img");
    fill::kernel(&later, |root| {
        fs::write(root.join("more"), Dice::noise(9, 100_000)).expect("writing");
        fs::remove_file(root.join("clusters/ninety")).expect("removing");
        fs::remove_file(root.join("more")).expect("removing");
        fill::copy_in_order(&source, root, &["clusters/ninety".into()]);
        restore_times(&source, root);
    });
    same(&later);
}

/// Defines one test for each row, so that they run in parallel and a failure has a name.
macro_rules! sets {
    ($($name:ident: $size:literal, $block:literal by $ratio:literal, $more:literal;)*) => { $(
        #[test]
        #[ignore = "needs root: mounts images"]
        fn $name() {
            all_histories_meet($size, $block, $ratio, &$more.split_whitespace().collect::<Vec<_>>());
        }
    )* };
}

sets! {
    one_form_in_1k_by_2: "48M", 1024 by 2, "";
    one_form_in_1k_by_16: "64M", 1024 by 16, "-g 2048";
    one_form_in_1k_by_256: "128M", 1024 by 256, "-N 2000";
    one_form_in_2k_by_4: "48M", 2048 by 4, "-I 128";
    one_form_in_2k_by_32: "64M", 2048 by 32, "";
    one_form_in_4k_by_2: "64M", 4096 by 2, "-O ^metadata_csum,^64bit";
    one_form_in_4k_by_16: "96M", 4096 by 16, "";
    one_form_in_4k_by_256: "600M", 4096 by 256, "-N 2000";
    one_form_in_64k_by_4: "320M", 65536 by 4, "-N 2000";
}

/// Returns debugfs's list of the extents of a file, without those of the extent tree itself.
fn extents_of(image: &Path, path: &str) -> String {
    let text = debugfs_read(image, &format!("stat {path}\n"));
    let extents = text.split("EXTENTS:").nth(1).expect("extents").trim();
    extents.split(", ").filter(|part| !part.starts_with("(ETB")).collect::<Vec<_>>().join(", ")
}

/// Parses a line of debugfs, and returns the start of each extent as a pair of logical and physical block.
fn places(line: &str) -> Vec<(u64, u64)> {
    let number = |text: &str| text.split('-').next().and_then(|n| n.parse().ok()).expect("a number");
    let parts = line.split(", ").map(|part| part.trim().trim_start_matches('(').split_once("):"));
    parts.map(|part| part.expect("(logical):physical")).map(|(a, b)| (number(a), number(b))).collect()
}

/// Parses `(9)` or `(13-15[u])`, and returns the logical blocks with whether they are unwritten.
fn blocks_in(part: &str) -> Vec<(u64, bool)> {
    let unwritten = part.contains("[u]");
    let numbers = part.replace("[u]", "");
    let numbers: Vec<u64> =
        numbers.trim_matches(['(', ')']).split('-').map(|n| n.parse().expect("a number")).collect();
    (numbers[0]..=numbers[numbers.len() - 1]).map(|number| (number, unwritten)).collect()
}

/// Each logical cluster is either stored as a whole or not at all. It is stored from its first block to its
/// last, or to the last block of the file.
#[test]
fn holes_are_whole_clusters() {
    let lab = Lab::new();
    let source = lab.folder("source");
    islands(&source.join("file"), 50 * 1024, [2 * 1024, 21 * 1024, 49 * 1024]);
    let options = ["-t", "ext4", "-b", "1024", "-C", "8192", "-O", "bigalloc"];
    let output = canonical(&lab.mke2fs_d("in.img", "16M", &options, &source), &[]);
    let line = extents_of(&output, "/file");
    let found = places(&line);
    assert_eq!(found.iter().map(|(logical, _)| *logical).collect::<Vec<_>>(), [0, 16, 48], "{line}");
    assert!(line.contains("(0-7)") && line.contains("(16-23)") && line.contains("(48-49)"), "{line}");
    let first = found[0].1;
    assert_eq!(found.iter().map(|(_, physical)| physical - first).collect::<Vec<_>>(), [0, 8, 16], "{line}");
    assert_eq!(first % 8, 0);
    let text = debugfs_read(&output, "stat /file\n");
    assert!(text.contains("Blockcount: 48"), "three clusters of 8 KiB: {text}");
}

/// `--holes keep` keeps holes and unwritten ranges by block, also within clusters.
#[test]
#[ignore = "needs root: mounts images"]
fn single_blocks_can_be_kept() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "1024", "-C", "8192", "-O", "bigalloc"];
    let image = lab.mke2fs("in.img", "64M", &options);
    fill::kernel(&image, |root| {
        let file = File::create(root.join("file")).expect("a file");
        file.write_all_at(&Dice::noise(1, 1024), 9 * 1024).expect("writing");
        file.sync_all().expect("syncing");
        run(tool("fallocate").args(["-o", "13312", "-l", "9216"]).arg(root.join("file")));
        run(tool("fallocate").args(["-l", "40000000"]).arg(root.join("long")));
    });
    let output = canonical(&image, &["--holes", "keep", "--verify"]);
    let logical = |image: &Path| {
        let line = extents_of(image, "/file");
        line.split(", ").flat_map(|part| part.split(':').next().map(blocks_in)).flatten().collect::<Vec<_>>()
    };
    assert_eq!(logical(&image), logical(&output));
    assert_eq!(
        logical(&output),
        [&[(9, false)][..], &(13..22).map(|n| (n, true)).collect::<Vec<_>>()].concat()
    );
    for (logical, physical) in places(&extents_of(&output, "/file").replace("[u]", "")) {
        assert_eq!(logical % 8, physical % 8);
    }
    judge::kernel_works(&output).expect("the kernel works on it");
    // An unwritten extent has at most 32767 blocks, so it ends within a cluster.
    assert!(extents_of(&output, "/long").contains("32767-"), "{}", extents_of(&output, "/long"));
}

#[test]
fn what_is_missing_is_told_in_whole_clusters() {
    let lab = Lab::new();
    let options = ["-t", "ext4", "-b", "1024", "-C", "8192", "-O", "bigalloc"];
    let image = lab.mke2fs("in.img", "4M", &options);
    debugfs(&image, "rmdir lost+found\n");
    let free = || superblock(&image).get32("s_free_blocks_count_lo");
    put_file(&image, "all", Dice::noise(1, 1024 * free() as usize));
    assert_eq!(free(), 0, "free blocks");
    // The 12 blocks of lost+found need 2 clusters.
    refused(&image, &[], 3, &["needs 4112 blocks, but there are 4096: 16 too few"]);
}

/// Makes an image with two files, a and b, of 3000 bytes each.
fn two_files(lab: &Lab) -> PathBuf {
    let source = lab.folder("source");
    for name in ["a", "b"] {
        fs::write(source.join(name), Dice::noise(1, 3000)).expect("writing");
    }
    lab.mke2fs_d("in.img", "16M", &PLAIN, &source)
}

#[test]
fn clusters_have_one_owner() {
    let lab = Lab::new();
    let image = two_files(&lab);
    let [block_of_a, block_of_b] = ["/a", "/b"].map(|path| block_of(&image, path, 0));
    let extent_of_a = |logical: u64, count: u64, physical: u64| {
        let copy = lab.copy(&image, "copy.img");
        let a = inode(&copy, "/a");
        a.extent(0).set_extent(logical, count, physical);
        // Extend the size to a whole cluster.
        a.set("i_size_lo", 4096);
        copy
    };
    assert_eq!(block_of_b % 4, 0, "a whole cluster");
    // Map block 3 of a to the last block of b's cluster, which b does not use.
    let words = ["(/a), ", "is in a cluster that is also claimed by inode 13"];
    refused(&extent_of_a(3, 1, block_of_b + 3), &[], 4, &words);
    // Map both files to the same blocks.
    refused(&extent_of_a(0, 3, block_of_b), &[], 4, &["(/b), ", "is also claimed by inode 12"]);
    // Use a free block in a cluster that also contains metadata.
    let bitmap = descriptor(&image, 0).get("bg_block_bitmap_lo");
    let free = (bitmap / 4 * 4..bitmap / 4 * 4 + 4).find(|block| {
        let text = debugfs_read(&image, &format!("icheck {block}\n"));
        *block > bitmap && text.contains("not found")
    });
    let free = free.expect("a free block beside the bitmap");
    let words = ["(/a), ", "is in a cluster that is also claimed by filesystem metadata"];
    refused(&extent_of_a(free % 4, 1, free), &[], 4, &words);
    // Map the second block of the file to the first block of the cluster.
    refused(&extent_of_a(1, 2, block_of_a), &[], 4, &["the place in its cluster is 0, expected 1"]);
}

/// The blocks of one logical cluster are in two clusters, or one cluster belongs to two logical clusters.
#[test]
fn logical_clusters_are_clusters() {
    let lab = Lab::new();
    let image = two_files(&lab);
    let first = block_of(&image, "/a", 0);
    for (logical, physical, words) in [
        (3, first + 80 + 3, "has blocks of one logical cluster in two clusters"),
        (7, first + 3, "is in a cluster that is also claimed by inode 12"),
    ] {
        let copy = lab.copy(&image, "copy.img");
        let a = inode(&copy, "/a");
        a.extent_header().set("eh_entries", 2);
        a.extent(1).set_extent(logical, 1, physical);
        a.set("i_size_lo", 8192);
        refused(&copy, &[], 4, &[words]);
    }
}

#[test]
fn block_maps_are_refused_unless_they_are_empty() {
    let lab = Lab::new();
    let image = two_files(&lab);
    let block = block_of(&image, "/a", 0);
    let mapped = lab.copy(&image, "mapped.img");
    inode(&mapped, "/a").set("i_flags", 0);
    inode(&mapped, "/a").fill("i_block", 0);
    let empty = lab.copy(&mapped, "empty.img");
    for slot in 0..3 {
        let number = u32::try_from(block).expect("32 bits") + slot;
        inode(&mapped, "/a").set_word("i_block", slot as usize, number);
    }
    refused(&mapped, &[], 4, &["(/a): has a block map, but with bigalloc"]);
    // e2fsck accepts a file without blocks. Its 3000 bytes are a hole.
    inode(&empty, "/a").set("i_blocks_lo", 0);
    let hole = lab.folder("hole");
    File::create(hole.join("a")).and_then(|file| file.set_len(3000)).expect("a file");
    fs::write(hole.join("b"), Dice::noise(1, 3000)).expect("writing");
    tree::set_all_mtimes(&hole);
    let other = lab.mke2fs_d("other.img", "16M", &PLAIN, &hole);
    let set = "set_inode_field <2> mtime @5\nset_inode_field a mtime @5\nset_inode_field b mtime @5\n\
               set_inode_field <2> mode 040755\n";
    [&empty, &other].into_iter().for_each(|image| _ = debugfs(image, set));
    same_bytes(&canonical(&empty, &[]), &canonical(&other, &[]));
}

#[test]
fn geometries_that_do_not_fit_together_are_refused() {
    let lab = Lab::new();
    let image = two_files(&lab);
    for (field, value, words) in [
        ("s_log_cluster_size", 20, "s_log_cluster_size is 20"),
        ("s_log_cluster_size", 3, "s_clusters_per_group is 8192, expected 4096"),
        ("s_clusters_per_group", 4096, "s_clusters_per_group is 4096, expected"),
        ("s_blocks_per_group", 16384, "s_clusters_per_group is 8192, expected"),
        ("s_blocks_per_group", 12, "s_blocks_per_group is 12, expected"),
        ("s_blocks_count_lo", 16383, "s_blocks_count is 16383, expected"),
        ("s_first_data_block", 1, "s_first_data_block is 1, expected"),
    ] {
        let copy = lab.copy(&image, "copy.img");
        superblock(&copy).set(field, value);
        refused(&copy, &[], 4, &[words]);
    }
    let without_extents = lab.copy(&image, "copy.img");
    superblock(&without_extents).remove("s_feature_incompat", Incompat::EXTENTS.bits());
    refused(&without_extents, &[], 4, &["bigalloc is set without the extent feature"]);
}

/// The list of bad blocks is a block map even with bigalloc, and may contain several blocks of a cluster.
#[test]
fn lists_of_bad_blocks_are_dropped() {
    let lab = Lab::new();
    let list = lab.path("list");
    let blocks = (9001..9020).map(|block| format!("{block}\n")).collect::<String>();
    fs::write(&list, blocks).expect("writing");
    let options = [&PLAIN[..], &["-l", list.to_str().expect("a path")]].concat();
    let epoch = ["--source-date-epoch", "1"];
    let images = [("listed.img", &options[..]), ("plain.img", &PLAIN)];
    let [listed, plain] = images.map(|(name, options)| lab.mke2fs(name, "16M", options));
    assert!(debugfs_read(&listed, "blocks <1>\n").contains("9019"), "test precondition failed");
    same_bytes(&canonical(&listed, &epoch), &canonical(&plain, &epoch));
}

/// With the huge_file flag, an inode counts its blocks in filesystem blocks, not in 512-byte sectors.
#[test]
fn inodes_may_count_in_blocks() {
    for (options, units) in [(&PLAIN[..], 4), (&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"], 3)] {
        let lab = Lab::new();
        let source = lab.folder("source");
        fs::write(source.join("a"), Dice::noise(1, 3000)).expect("writing");
        let image = lab.mke2fs_d("in.img", "16M", options, &source);
        let huge = lab.copy(&image, "huge.img");
        let file = inode(&huge, "/a");
        assert_eq!(file.get("i_blocks_lo"), units * 2);
        file.set("i_blocks_lo", units);
        file.add("i_flags", InodeFlags::HUGE_FILE.bits());
        let output = canonical(&huge, &[]);
        same_bytes(&canonical(&image, &[]), &output);
        if partly(&[Need::Mounts]) {
            let mounted = Mounted::read_only(&huge).expect("a mount");
            use std::os::unix::fs::MetadataExt as _;
            let meta = mounted.path().join("a").metadata().expect("metadata");
            assert_eq!(meta.blocks(), units * 2, "512-byte sectors of the file");
            mounted.unmount();
        }
    }
}
