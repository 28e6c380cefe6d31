//! `--like`, `--profile`, `--features` and the sizes that belong to them: the settings of the output.

mod advice;

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::canon::{Canon, rewritten, sound, tree_digest, unchanged};
use crate::support::contents::sha256;
use crate::support::dice::Dice;
use crate::support::fields::{has_feature, superblock};
use crate::support::image::{put_file, set_length};
use crate::support::listing::same_tree;
use crate::support::tools::try_run;
use crate::support::{Lab, Need, canon, judge, partly, refused, run, same_bytes, tool};

/// Sets all times, so that inodes of 128 bytes can hold them.
const TIMES: [&str; 4] = ["--mtime", "set", "--source-date-epoch", "1700000000"];

/// Options of filesystems that differ in all settings.
const SHAPES: [&str; 12] = [
    "-t ext4 -b 1024",
    "-t ext4 -b 4096",
    "-t ext4 -b 65536 -N 1000",
    "-t ext2 -b 1024 -I 128",
    "-t ext3 -b 2048",
    "-t ext4 -b 4096 -I 1024 -O inline_data",
    "-t ext4 -b 2048 -O bigalloc -C 16384 -N 1000",
    "-t ext4 -b 4096 -O ^metadata_csum,uninit_bg,^64bit,^extent,^flex_bg",
    "-t ext4 -b 1024 -O ea_inode -J size=2",
    "-t ext4 -b 4096 -O quota,project -L label -e panic",
    "-t ext4 -b 1024 -O meta_bg,^resize_inode -g 2048",
    "-t ext4 -b 4096 -O orphan_file,metadata_csum_seed,fast_commit -m 1",
];

fn borrowed(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn words(options: &str) -> Vec<&str> {
    options.split(' ').collect()
}

/// Canonicalizes with options, and returns the output.
fn with(image: &Path, options: &[&str]) -> PathBuf {
    rewritten(image, &[&TIMES[..], options].concat()).unwrap_or_else(|ran| panic!("{options:?}: {ran:#?}"))
}

fn like(image: &Path, reference: &Path) -> PathBuf {
    with(image, &["--like", reference.to_str().expect("UTF-8")])
}

/// Makes a tree with files that are laid out differently in each block size.
fn source(lab: &Lab) -> PathBuf {
    let source = lab.plain_tree();
    let mut dice = Dice::new(7);
    for (index, zeros) in [10, 50, 90].into_iter().enumerate() {
        let part = |dice: &mut Dice| match dice.chance(zeros) {
            true => vec![0; 1024],
            false => Dice::noise(dice.number(), 1024),
        };
        let mut content: Vec<u8> = (0..300).flat_map(|_| part(&mut dice)).collect();
        content.truncate(content.len() - 700 * index);
        // With large blocks, mke2fs -d cuts off a hole at the end of a file.
        content.extend([1; 100]);
        fs::write(source.join(format!("pattern{index}")), content).expect("a file");
    }
    fs::remove_file(source.join("sizes/gaps")).expect("a file with a hole at its end");
    fs::write(source.join("short"), "y".repeat(500)).expect("a file");
    source
}

fn images(lab: &Lab, size: &str, from: &Path) -> Vec<PathBuf> {
    let made =
        |(index, shape): (usize, &&str)| lab.mke2fs_d(&format!("in{index}.img"), size, &words(shape), from);
    SHAPES.iter().enumerate().map(made).collect()
}

/// The output with the settings of a reference is the canonical form of the reference, if the trees are equal.
#[test]
fn equal_trees_meet_like_any_reference() {
    let lab = Lab::in_memory();
    let source = source(&lab);
    let images = images(&lab, "40M", &source);
    let digest = tree_digest(&images[0], &TIMES);
    let can_mount = partly(&[Need::Mounts]);
    let (mut canonical, mut by_kernel) = (Vec::new(), None);
    for (reference, shape) in images.iter().zip(SHAPES) {
        let expected = with(reference, &[]);
        sound(&expected);
        assert_eq!(tree_digest(&expected, &TIMES), digest, "{shape}");
        for (image, from) in images.iter().zip(SHAPES) {
            let output = like(image, reference);
            println!("{from} like {shape}");
            same_bytes(&expected, &output);
            fs::remove_file(output).expect("removing");
        }
        if can_mount && let Ok(tree) = judge::kernel_tree(&expected) {
            // Only filesystems with the project feature have these.
            let tree = tree.replace(" project=0", "");
            let first = by_kernel.get_or_insert_with(|| tree.clone());
            same_tree(first, &tree);
        }
        canonical.push(expected);
    }
    // There and back again.
    for (from, image) in canonical.iter().enumerate() {
        let there = like(image, &images[(from + 5) % images.len()]);
        same_bytes(image, &like(&there, &images[from]));
    }
}

/// An empty image of mke2fs is enough as a reference, and different trees do not meet.
#[test]
fn a_reference_can_be_empty() {
    let lab = Lab::in_memory();
    let source = source(&lab);
    let mut dice = Dice::new(11);
    let shapes = ["-t ext4 -b 4096 -L label -E stride=8 -m 2", "-t ext3 -b 1024 -g 4096"];
    for shape in shapes {
        let empty = lab.mke2fs("empty.img", "48M", &words(shape));
        let full = lab.mke2fs_d("full.img", "48M", &words(shape), &source);
        let image = lab.mke2fs_d("in.img", "32M", &words(dice.one(&SHAPES[..2])), &source);
        let output = like(&image, &empty);
        same_bytes(&with(&full, &[]), &output);
        unchanged(&output, &TIMES);
        unchanged(&output, &[&TIMES[..], &["--like", empty.to_str().expect("UTF-8")]].concat());
        put_file(&image, "/more", "z".repeat(500));
        let other = like(&image, &empty);
        assert_ne!(sha256(&output), sha256(&other), "a different tree");
    }
}

/// A file in many pieces of 1 KiB is gathered into larger blocks, and its holes become smaller ones again.
#[test]
fn fragments_are_gathered() {
    let lab = Lab::in_memory();
    let empty = lab.folder("none");
    let content = |seed: u64| Dice::noise(seed, 150_000);
    let make = |name: &str, block_size: &str| {
        let image = lab.mke2fs_d(name, "24M", &["-t", "ext4", "-b", block_size, "-N", "2000"], &empty);
        (0..300).for_each(|index| put_file(&image, &format!("/piece{index}"), [1; 900]));
        let remove: Vec<_> =
            (0..300).filter(|index| index % 2 == 0).map(|i| format!("rm /piece{i}")).collect();
        crate::support::image::debugfs(&image, &remove.join("\n"));
        put_file(&image, "/one", content(1));
        put_file(&image, "/two", content(2));
        image
    };
    let [small, large] = [("small.img", "1024"), ("large.img", "4096")].map(|(name, size)| make(name, size));
    let stat = run(tool("debugfs").args(["-R", "stat /one"]).arg(&small));
    assert!(stat.matches("):").count() > 20, "the file has too few pieces: {stat}");
    for (image, reference) in [(&small, &large), (&large, &small)] {
        let output = like(image, reference);
        same_bytes(&with(reference, &[]), &output);
        sound(&output);
    }
}

/// The features that draws set and clear.
const TOGGLES: &str = "resize_inode 64bit flex_bg sparse_super2 meta_bg metadata_csum metadata_csum_seed uninit_bg \
                       orphan_file fast_commit has_journal extent quota project inline_data ea_inode large_dir \
                       huge_file dir_index dir_nlink extra_isize mmp bigalloc";

/// A filesystem, and changes of its settings.
struct Change {
    /// The options of mke2fs for the input.
    input: Vec<String>,
    /// The options of mke2fs for a filesystem with the changed settings.
    changed: Vec<String>,
    /// The options of ext4-canon for the change.
    options: Vec<String>,
    size: &'static str,
}

impl Change {
    fn draw(dice: &mut Dice) -> Self {
        let toggles = words(TOGGLES);
        let (block, inode) = (dice.one(&["1024", "2048", "4096"]), dice.one(&["256", "512"]));
        let (inodes, percent) = (dice.one(&["400", "1000", "5000"]), dice.one(&["0", "1", "10"]));
        let kind = dice.one(&["ext4", "ext3", "ext2"]);
        let names: Vec<_> = (0..dice.between(1, 3)).map(|_| dice.one(&toggles)).collect();
        let sign = |name: &&str| if dice.chance(50) { format!("^{name}") } else { (*name).to_owned() };
        let features = names.iter().map(sign).collect::<Vec<_>>().join(",");
        let other = if dice.chance(25) { dice.one(&["1024", "2048", "4096"]) } else { block };
        let base = |block: &str| format!("-t {kind} -b {block} -I {inode} -N {inodes} -m {percent}");
        let owned = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        Self {
            input: owned(base(block)),
            changed: owned(format!("{} -O {features}", base(other))),
            options: owned(format!(
                "{} --features {features} --block-size {other} --inodes {inodes} --reserved {percent}%",
                TIMES.join(" ")
            )),
            // No size at which mke2fs leaves out the last group: the input would be shorter then.
            size: dice.one(&["16M", "40M", "64M", "128M"]),
        }
    }
}

/// Draws changes, and compares the output with that of an image that mke2fs made with them.
#[test]
fn changes_equal_the_options_of_mke2fs() {
    let all = Lab::in_memory();
    let source = source(&all);
    let seed = crate::draws::first_seed();
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let (mut equal, mut refusals) = (0, 0);
    for _ in 0..40 {
        let lab = Lab::in_memory();
        let Change { input, changed, options, size } = Change::draw(&mut dice);
        println!("{} {size}: {}", input.join(" "), options.join(" "));
        let image = lab.mke2fs_d("in.img", size, &borrowed(&input), &source);
        let made = lab.try_mke2fs("made.img", size, &borrowed(&changed), Some(&source));
        match (made, rewritten(&image, &borrowed(&options))) {
            (Ok(made), Ok(output)) => {
                crate::support::image::root_as_in(&made, &source);
                same_bytes(&with(&made, &[]), &output);
                equal += 1;
            }
            (Err(_), Err(ran)) if [2, 3].contains(&ran.code.expect("no signal")) => refusals += 1,
            (made, ours) => panic!("mke2fs: {made:#?}\nours: {ours:#?}"),
        }
    }
    println!("{equal} equal, {refusals} refused by both");
    assert!(equal >= 20, "only {equal} were equal");
}

const PROFILES: [&str; 4] = ["ext4", "ext4-compat", "ext2", "ext4-min"];

/// The digests fix the profiles. A change needs a new version of the form.
#[test]
fn profiles_are_frozen() {
    const DIGESTS: [(&str, &str, &str); 8] = [
        ("ext4", "40M", "f09a1c2a17c68a9d23e785819bd87d1fd873a097e73fd8f1e46844f4fdb56495"),
        ("ext4", "min", "3cfb1315271667797d576004f9260ed757be33e398d03999e5c9f0a555de1b3e"),
        ("ext4-compat", "40M", "bf5895e4abf43b3555a53611a34813f65631e0b7d260b4fcb88c407890139ae5"),
        ("ext4-compat", "300M", "83a7e0a5032ee64ea18b38e8a246915e57978488c9d9a35125b4749434b5d000"),
        ("ext2", "40M", "d19b59ef92f4d8aaa07e8d4a17fad2726b9edc98ee1a84245c045f1fa28161a7"),
        ("ext2", "min", "cea604e4e8fe28c5a45b482abffe2f0c2a1463471ef2a37c4ebb7f5faa9a1d27"),
        ("ext4-min", "40M", "98858d6aad66d6d9a18d90068372643a15d8b4acc980838d3ef266d8eab06622"),
        ("ext4-min", "min", "b4c9ed6641ddf2e050ae4a02efccf62ab2d3ca50215406058d028600c8c7bf07"),
    ];
    let lab = Lab::in_memory();
    let image = lab.shipped("mke2fs");
    for (profile, size, digest) in DIGESTS {
        let output = with(&image, &["--profile", profile, "--size", size]);
        assert_eq!(sha256(&output), digest, "{profile} {size}");
    }
}

/// Trees meet whatever made their filesystems, also those with the defaults of e2fsprogs 1.47.4.
#[test]
fn equal_trees_meet_under_each_profile() {
    let lab = Lab::in_memory();
    let source = source(&lab);
    let mut images = images(&lab, "40M", &source);
    images.remove(9); // The label is part of each output.
    for (name, features) in [("old.img", "^orphan_file"), ("new.img", "orphan_file,metadata_csum_seed")] {
        images.push(lab.mke2fs_d(name, "40M", &["-t", "ext4", "-O", features], &source));
    }
    let digest = tree_digest(&images[0], &TIMES);
    for profile in PROFILES {
        for size in ["40M", "min"] {
            let options = ["--profile", profile, "--size", size];
            let outputs: Vec<_> = images.iter().map(|image| with(image, &options)).collect();
            sound(&outputs[0]);
            assert_eq!(tree_digest(&outputs[0], &TIMES), digest, "{profile} {size}");
            outputs[1..].iter().for_each(|output| same_bytes(&outputs[0], output));
            unchanged(&outputs[0], &TIMES);
            unchanged(&outputs[0], &[&TIMES[..], &options].concat());
            outputs.iter().for_each(|output| fs::remove_file(output).expect("removing"));
        }
    }
    let compared = canon(["compare", "--profile", "ext4"]).args(TIMES).args(&images[..2]).run().done();
    assert!(compared.stdout.contains(": match"), "{compared:#?}");
}

/// Where mke2fs 1.47.0 has the same settings, it makes the same filesystem.
#[test]
fn profiles_are_what_mke2fs_makes_of_their_features() {
    let lab = Lab::in_memory();
    let source = lab.plain_tree();
    let base = ["-b", "4096", "-I", "256", "-i", "16384"];
    let min = "ext_attr,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,\
               metadata_csum,^resize_inode,^has_journal,^64bit";
    for (profile, options) in [
        ("ext4", vec!["-t", "ext4", "-O", "^orphan_file,^metadata_csum_seed"]),
        ("ext4-compat", vec!["-t", "ext4", "-O", "^64bit,^metadata_csum,uninit_bg,^orphan_file"]),
        ("ext2", vec!["-t", "ext2"]),
        ("ext4-min", vec!["-t", "ext4", "-m", "0", "-O", min]),
    ] {
        for size in ["16M", "40M", "130M", "300M", "1100M"] {
            let lab = Lab::in_memory();
            let made = lab.mke2fs_d("made.img", size, &[&options[..], &base].concat(), &source);
            let input = lab.mke2fs_d("in.img", "20M", &["-b", "1024", "-t", "ext3"], &source);
            let length = made.metadata().expect("an image").len().to_string();
            let extra: &[&str] = if profile == "ext4-min" { &["--inodes", "min"] } else { &[] };
            let output = with(&input, &[&["--profile", profile, "--size", &length], extra].concat());
            let expected = with(&made, extra);
            same_bytes(&expected, &output);
        }
    }
}

/// The fewest inodes fill their tables, and a smaller filesystem does not hold the tree.
#[test]
fn the_fewest_inodes_leave_none_to_spare() {
    let lab = Lab::in_memory();
    let image = lab.mke2fs_d("in.img", "300M", &["-t", "ext4", "-b", "1024"], &lab.plain_tree());
    let output = with(&image, &["--inodes", "min"]);
    sound(&output);
    let [inodes, free] =
        ["s_inodes_count", "s_free_inodes_count"].map(|field| superblock(&output).get(field));
    assert!(free < 40 * 8, "{free} of {inodes} inodes are free, in 38 groups of at least 8");
    let smallest = with(&image, &["--inodes", "min", "--size", "min", "--profile", "ext4-min"]);
    sound(&smallest);
    let bytes = smallest.metadata().expect("an image").len();
    let less = (bytes - 4096).to_string();
    let words = [&TIMES[..], &["--profile", "ext4-min", "--size", &less]].concat();
    refused(&image, &words, 3, &["needs"]);
    assert!(superblock(&smallest).get("s_free_inodes_count") < 16);
}

/// What only the input's settings can mean is refused, with its path.
#[test]
fn a_tree_that_would_change_is_refused() {
    let lab = Lab::in_memory();
    let source = lab.plain_tree();
    fs::write(source.join("file"), "text").expect("a file");
    let link = "x".repeat(1500);
    std::os::unix::fs::symlink(&link, source.join("long")).expect("a symlink");
    let image = lab.mke2fs_d("in.img", "40M", &["-t", "ext4", "-b", "4096"], &source);
    crate::support::image::debugfs(&image, "set_inode_field /file mtime_extra 20");
    let sized = |option: &'static str, value: &'static str| [&TIMES[..], &[option, value]].concat();
    refused(
        &image,
        &["--mtime", "keep", "--inode-size", "128"],
        3,
        &["an mtime that an inode of 128 bytes can't hold"],
    );
    refused(&image, &sized("--block-size", "1024"), 3, &["/long", "has a target of 1500 bytes"]);
    refused(
        &image,
        &sized("--features", "metadata_csum_seed,^metadata_csum"),
        2,
        &["needs the metadata_csum feature"],
    );
    refused(&image, &sized("--features", "^extent"), 2, &["the 64bit feature needs the extent feature"]);
    refused(&image, &sized("--features", "meta_bg"), 2, &["resize_inode and meta_bg are not compatible"]);
    let usage = canon(["--check", "--features", "bogus"]).arg(&image).run().with_code(2);
    assert!(usage.stderr.contains("'bogus' is not one of the features that can be changed"), "{usage:#?}");
    refused(&image, &sized("--cluster-size", "65536"), 2, &["needs the bigalloc feature"]);
    refused(
        &image,
        &sized("--journal-size", "1M"),
        2,
        &["the journal has 1048576 bytes, but needs at least 4194304"],
    );
    refused(&image, &sized("--inode-size", "8192"), 2, &["do not fit into blocks of 4096"]);
    let large = lab.mke2fs("large.img", "40M", &["-t", "ext4", "-b", "4096"]);
    put_file(&large, "/sparse", "x");
    crate::support::image::debugfs(&large, "set_inode_field /sparse size 5497558138880");
    refused(&large, &sized("--block-size", "1024"), 3, &["/sparse", "has 5497558138880 bytes"]);
}

#[test]
fn a_reference_with_foreign_parts_is_refused() {
    let lab = Lab::in_memory();
    let image = lab.plain_image("in.img", "40M", &["-t", "ext4"]);
    let stable = lab.mke2fs("stable.img", "40M", &["-t", "ext4", "-O", "stable_inodes"]);
    let option = |reference: &Path| vec!["--like".to_owned(), reference.to_str().expect("UTF-8").to_owned()];
    let refused = |image: &Path, reference: &Path, text: &str| {
        let option = option(reference);
        refused(image, &option.iter().map(String::as_str).collect::<Vec<_>>(), 2, &[text]);
    };
    refused(&image, &stable, "only the requested settings have the stable_inodes feature");
    refused(&stable, &image, "only the input has the stable_inodes feature");
    // Data after the end of the filesystem would be lost.
    let long = lab.copy(&image, "long.img");
    set_length(&long, 41 << 20);
    crate::support::image::patch(&long, (40 << 20) + 5, b"x");
    let small = lab.mke2fs("small.img", "32M", &["-t", "ext4"]);
    refused(&long, &small, "the image has data after the end of its filesystem (byte 41943045)");
    // The same settings keep it.
    same_bytes(&with(&long, &[]), &like(&long, &long));
}

/// On a disk, `--like` and `--profile` change a filesystem as if it were a separate image. A filesystem that is
/// larger than its partition is refused.
#[test]
fn partitions_keep_their_places() {
    let lab = Lab::in_memory();
    let source = lab.plain_tree();
    let image = lab.mke2fs_d("fs.img", "24M", &["-t", "ext4", "-b", "1024"], &source);
    let other =
        lab.mke2fs_d("other.img", "24M", &["-t", "ext4", "-b", "4096", "-O", "^has_journal"], &source);
    let disk = lab.path("disk.img");
    crate::support::disk::disk(&disk, 30, "label: gpt\nstart=2MiB, size=24MiB\n", &[(2, &image)]);
    for options in [vec!["--like", other.to_str().expect("UTF-8")], vec!["--profile", "ext4"]] {
        let output = with(&disk, &options);
        let part = lab.path("part.img");
        crate::support::disk::cut_out(&output, 2 << 20, 24 << 20, &part);
        same_bytes(&with(&image, &options), &part);
    }
    let large = lab.mke2fs("large.img", "25M", &["-t", "ext4"]);
    refused(
        &disk,
        &["--like", large.to_str().expect("UTF-8")],
        2,
        &["more than the 25165824 bytes of its place"],
    );
    // The reference can be the filesystem of a partition.
    let reference = lab.copy(&disk, "reference.img");
    same_bytes(&like(&other, &reference), &with(&image, &[]));
    let two = lab.path("two.img");
    let table = "label: gpt\nstart=2MiB, size=24MiB\nstart=26MiB, size=24MiB\n";
    crate::support::disk::disk(&two, 54, table, &[(2, &image), (26, &other)]);
    refused(
        &two,
        &["--like", other.to_str().expect("UTF-8")],
        2,
        &["several filesystems would have the settings of one"],
    );
    let words = ["--partition", "1", "--like", two.to_str().expect("UTF-8")];
    same_bytes(&like(&disk, &image), &with(&disk, &words));
}

/// The other commands take the options, too.
#[test]
fn every_command_knows_the_settings() {
    let lab = Lab::in_memory();
    let source = lab.plain_tree();
    let [one, other] = [("a.img", "1024"), ("b.img", "4096")]
        .map(|(name, size)| lab.mke2fs_d(name, "40M", &["-t", "ext4", "-b", size], &source));
    let options = [&TIMES[..], &["--profile", "ext4-compat", "--size", "48M"]].concat();
    let output = rewritten(&one, &options).expect("an output");
    canon(["--check"]).args(&options).arg(&output).run().done();
    canon(["--check"]).args(&options).arg(&one).run().with_code(1);
    let verified = lab.path("verified.img");
    canon(["--verify"]).args(&options).args([&other, &verified]).run().done();
    same_bytes(&output, &verified);
    let digest = canon(["digest"]).args(&options).arg(&other).run().done().stdout;
    assert_eq!(digest[..64], sha256(&output));
    let like = ["--like", one.to_str().expect("UTF-8")];
    canon(["compare", "-q"]).args(TIMES).args(like).args([&one, &other]).run().done();
    canon(["compare", "-q"]).args(TIMES).args([&one, &other]).run().with_code(1);
    canon(["explain"]).args(like).arg(&other).run().done();
    // The digest of a tree is the same with any settings.
    let tree = |options: &[&str]| canon(["digest", "--tree"]).args(options).arg(&one).run().done().stdout;
    assert_eq!(tree(&["--profile", "ext4"]), tree(&[]));
    assert_eq!(tree(&["--inode-size", "512"]), tree(&like));
    let in_place = lab.copy(&other, "in-place.img");
    canon(["--in-place"]).args(TIMES).args(like).arg(&in_place).run().done();
    same_bytes(&with(&one, &[]), &in_place);
    assert!(has_feature(&in_place, "64bit"));
    let ran = try_run(tool("cmp").args([&in_place, &one]));
    assert_eq!(ran.code, Some(1), "the canonical form differs from the input");
}

/// Lost hard links and other filesystems together: all images of one tree meet.
#[test]
fn images_of_cptofs_meet_those_of_mke2fs() {
    let lab = Lab::in_memory();
    let names = ["cptofs-one", "cptofs-two", "mke2fs-links-kept", "mke2fs-links-split"];
    let images = names.map(|name| lab.shipped(name));
    let epoch = ["--source-date-epoch", "1735689600"];
    for links in ["split", "merge"] {
        let options = [&epoch[..], &["--hard-links", links, "--profile", "ext4"]].concat();
        let outputs = images.each_ref().map(|image| rewritten(image, &options).expect("an output"));
        sound(&outputs[0]);
        outputs[1..].iter().for_each(|output| same_bytes(&outputs[0], output));
    }
}

/// The reference is only read.
#[test]
fn the_reference_is_never_replaced() {
    let lab = Lab::in_memory();
    let image = lab.plain_image("in.img", "16M", &["-t", "ext4", "-b", "1024"]);
    let reference = lab.mke2fs("ref.img", "20M", &["-t", "ext4"]);
    let link = lab.path("link.img");
    fs::hard_link(&reference, &link).expect("a link");
    let before = sha256(&reference);
    let like = ["--like", reference.to_str().expect("UTF-8")];
    let output = lab.path("out.img");
    let refused = |canon: Canon| {
        let ran = canon.run().with_code(2);
        assert!(ran.stderr.contains("is the image of --like"), "{ran:#?}");
        assert_eq!(before, sha256(&reference), "the reference was changed");
    };
    refused(canon(like).args([&image, &reference]));
    refused(canon(like).args([&image, &link]));
    refused(canon(like).arg("--bmap").args([&reference, &image, &output]));
    refused(canon(["compare"]).args(like).arg("--html").args([&reference, &image, &image]));
    // With itself as the reference, an image may be replaced in place.
    let own = ["--in-place", "--like", image.to_str().expect("UTF-8")];
    canon(own).arg(&image).run().done();
}
