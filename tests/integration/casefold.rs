//! Case-insensitive directories, whose indexes are checked with the tables of e2fsck and a kernel.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use ext4_canon::internals::ondisk::casefold::fold;
use ext4_canon::internals::ondisk::dirhash::{DirHash, HashVersion};
use ext4_canon::internals::ondisk::inode::InodeFlags;
use ext4_canon::internals::ondisk::superblock::{ENCODING_STRICT, ENCODING_UTF8_12_1};

use crate::support::dice::Dice;
use crate::support::emulated::emulated;
use crate::support::fields::superblock;
use crate::support::image::{debugfs, debugfs_read, flags_of};
use crate::support::{Lab, Need, canonical, gate, judge, refused, same_bytes, tree};

const OPTIONS: [&str; 8] = ["-t", "ext4", "-b", "1024", "-O", "casefold,encrypt", "-N", "32768"];

/// Makes an image with a directory `d` of empty files. mke2fs does not compare their case.
fn image_of(lab: &Lab, name: &str, options: &[&str], names: &[Vec<u8>]) -> PathBuf {
    let source = lab.folder(&format!("{name}.source"));
    fs::create_dir(source.join("d")).expect("a folder");
    for name in names {
        File::create(source.join("d").join(OsStr::from_bytes(name))).expect("a file");
    }
    tree::set_all_mtimes(&source);
    let image = lab.mke2fs_d(name, "64M", options, &source);
    let flags = (flags_of(&image, "d") - InodeFlags::INDEX) | InodeFlags::CASEFOLD;
    debugfs(&image, &format!("set_inode_field d flags {:#x}\n", flags.bits()));
    image
}

/// Returns names that contain every code point except '/' and NUL: many of them together, each alone if case
/// folding changes it, and combining marks in any order.
/// Each name begins with a number and a letter that folds, so that all names are different and change when
/// folded.
fn all_names() -> Vec<Vec<u8>> {
    let of = |text: &str| fold(text.as_bytes());
    let characters: Vec<char> = ('\u{1}'..=char::MAX).filter(|c| *c != '/').collect();
    let mut texts = Vec::new();
    texts.extend(characters.chunks(60).map(|part| part.iter().collect::<String>()));
    let changed = |c: char| of(&c.to_string()).is_none_or(|folded| folded != c.to_string().as_bytes());
    let odd: Vec<char> = characters
        .iter()
        .copied()
        .filter(|c| changed(*c) && !('\u{e0000}'..'\u{e1000}').contains(c))
        .collect();
    texts.extend(odd.iter().filter(|c| !('\u{ac01}'..'\u{d7a3}').contains(*c)).map(char::to_string));
    let marks: Vec<char> = characters
        .iter()
        .copied()
        .filter(|c| of(&format!("\u{301}{c}")) != of(&format!("{c}\u{301}")))
        .collect();
    for (number, byte) in Dice::noise(5, 2000).into_iter().enumerate() {
        let mark = |step: usize| marks[(number * 7 + usize::from(byte) * step) % marks.len()];
        let odd = odd[(number * 31 + usize::from(byte)) % odd.len()];
        texts.push([mark(1), 'e', mark(3), mark(5), odd, mark(11), mark(17)].iter().collect());
    }
    texts.iter().zip(10_000..).map(|(text, number)| format!("{number}N{text}").into_bytes()).collect()
}

#[test]
fn e2fsck_agrees_on_the_index() {
    let names: Vec<_> = all_names().into_iter().step_by(8).collect();
    let lab = Lab::new();
    let image = image_of(&lab, "in.img", &OPTIONS, &names);
    // This runs e2fsck, which computes the hash of every name.
    let output = canonical(&image, &["--verify"]);
    let index = debugfs_read(&output, "htree_dump d\n");
    assert!(index.matches("Reading directory block").count() > 100, "the index is too small");
    // The image with the index of e2fsck has the same canonical form.
    let other = lab.copy(&image, "other.img");
    judge::repair(&other, &["-D"]);
    same_bytes(&output, &canonical(&other, &[]));
}

/// Compares the hash of each code point with debugfs, except for characters that are special in its commands.
#[test]
#[ignore = "hashes a million names"]
fn debugfs_agrees_on_every_code_point() {
    let lab = Lab::new();
    let image = lab.mke2fs("in.img", "64M", &OPTIONS);
    let names: Vec<_> = ('!'..=char::MAX)
        .filter(|c| !c.is_whitespace() && !c.is_control() && !"\"'\\#;/|".contains(*c))
        .map(|c| format!("10000N{c}"))
        .collect();
    let commands = names.iter().fold(String::new(), |mut commands, name| {
        writeln!(commands, "dx_hash -h half_md4 -c -e utf8 {name}").expect("writing to a string");
        commands
    });
    let hash = DirHash::new(HashVersion::HalfMd4, [0; 16], true);
    let said = debugfs_read(&image, &commands);
    let found: Vec<_> = said.lines().filter(|line| line.starts_with("Hash of ")).collect();
    assert_eq!(found.len(), names.len());
    for (name, line) in names.iter().zip(found) {
        let (hash, minor) = hash.hash(&fold(name.as_bytes()).expect("a name in UTF-8"));
        assert_eq!(line, format!("Hash of {name} is {hash:#x} (minor {minor:#x})"));
    }
}

/// Returns a sample of [`all_names`].
fn some_names() -> Vec<Vec<u8>> {
    let names: Vec<_> = all_names().into_iter().rev().step_by(29).collect();
    names
}

/// Escapes names in the syntax that fskeys reads.
fn escaped(names: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for name in names {
        name.iter().for_each(|byte| write!(text, "\\x{byte:02x}").expect("writing to a string"));
        text.push('\n');
    }
    text
}

/// Swaps the case of all ASCII letters.
fn swapped(names: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let swap = |byte: u8| if byte.is_ascii_alphabetic() { byte ^ 0x20 } else { byte };
    names.iter().map(|name| name.iter().copied().map(swap).collect()).collect()
}

#[test]
#[ignore = "needs root and an emulated kernel"]
fn a_kernel_finds_names_in_any_case() {
    // Files that the emulated machine creates belong to root.
    if !gate(&[Need::EmulatedKernel, Need::Root]) {
        return;
    }
    let lab = Lab::new();
    let names = some_names();
    let lists = lab.folder("lists");
    for (list, names) in [
        ("all", names.clone()),
        ("backwards", names.iter().rev().cloned().collect()),
        ("swapped", swapped(&names)),
    ] {
        fs::write(lists.join(list), escaped(&names)).expect("writing");
    }
    let lists = lab.mke2fs_d("lists.img", "16M", &["-t", "ext4"], &lists);
    // Use three directories: one by mke2fs, one by the kernel, and an encrypted one.
    let image = image_of(&lab, "in.img", &OPTIONS, &names);
    let made = image_of(&lab, "made.img", &OPTIONS, &[]);
    let secret = lab.mke2fs("secret.img", "64M", &["-t", "ext4", "-b", "4096", "-O", "casefold,encrypt"]);
    let deep = lab.mke2fs("deep.img", "64M", &OPTIONS);
    let mount = "mkdir -p /lists /made /secret\nmount -t ext4 -o ro /dev/vda /lists\n\
                 mount -t ext4 /dev/vdb /made\nmount -t ext4 /dev/vdc /secret\nkey=$(fskeys unlock2 /secret 7)\n";
    let make = "rmdir /made/d\nmkdir /made/d\nfskeys casefold /made/d\nmkdir /secret/d\n\
                fskeys encrypt2 /secret/d $key 2\nfskeys casefold /secret/d\n\
                for top in /made /secret; do fskeys touch $top/d </lists/backwards; done\n";
    let unmount = "umount /made /secret /lists\n";
    let make_deep = "mkdir -p /deep\nmount -t ext4 /dev/vdd /deep\nfskeys unlock2 /deep 7\nmkdir /deep/d\n\
                     fskeys encrypt2 /deep/d $key 2\nfskeys casefold /deep/d\nfskeys touch /deep/d </lists/all\numount /deep\n";
    emulated(&[&lists, &made, &secret, &deep], &format!("{mount}{make}{make_deep}{unmount}"));
    refused(&deep, &[], 3, &["an index of two levels"]);
    debugfs(&made, "set_inode_field d mtime @0\n");
    debugfs(&image, "set_inode_field d mtime @0\n");
    let epoch = ["--source-date-epoch", "0", "--mtime", "set", "--verify"];
    let output = canonical(&made, &epoch);
    same_bytes(&output, &canonical(&image, &epoch));
    let unlocked = canonical(&secret, &epoch);
    let shuffled = lab.copy(&secret, "shuffled.img");
    judge::repair(&shuffled, &["-D"]);
    same_bytes(&unlocked, &canonical(&shuffled, &epoch));

    // Each name is found in both cases, and none is created twice.
    let look = "for top in /made /secret; do\n\
                fskeys stat $top/d </lists/all\nfskeys stat $top/d </lists/swapped\n\
                ls $top/d | wc -l\ndone\n";
    let mount = mount.replace("ext4 /dev", "ext4 -o ro,noload /dev");
    let said = emulated(&[&lists, &output, &unlocked], &format!("{mount}{look}{unmount}"));
    assert_eq!(said.lines().collect::<Vec<_>>(), [names.len().to_string(), names.len().to_string()]);
}

/// Names that are not valid UTF-8 are compared byte by byte. e2fsck can't hash them, so their directory has
/// no index.
#[test]
fn names_that_are_not_text_have_no_index() {
    let lab = Lab::new();
    let names = |count: u8| -> Vec<_> {
        (0..count)
            .map(|number| [b"Not UTF-8: \xff".as_slice(), &[number % 25 + b'A', number / 25 + b'A']].concat())
            .collect()
    };
    for count in [20, 200] {
        let image = image_of(&lab, &format!("{count}.img"), &OPTIONS, &names(count));
        let output = canonical(&image, &["--verify"]);
        judge::same_by_debugfs(&image, &output);
        judge::fsck_silent(&output).expect("no errors");
        assert_eq!(flags_of(&output, "d"), InodeFlags::CASEFOLD | InodeFlags::EXTENTS, "{count}");
    }
}

#[test]
fn small_directories_lie_in_their_inodes() {
    let lab = Lab::new();
    let names = ["One", "TWO", "\u{c4}\u{df}"].map(|name| name.as_bytes().to_vec());
    let options = ["-t", "ext4", "-O", "casefold,inline_data"];
    let image = image_of(&lab, "in.img", &options, &names);
    let output = canonical(&image, &["--verify"]);
    assert_eq!(flags_of(&output, "d"), InodeFlags::CASEFOLD | InodeFlags::INLINE_DATA);
    let listed = debugfs_read(&output, "ls -p d\n");
    assert!(["/One/", "/TWO/", "/\u{c4}\u{df}/"].iter().all(|name| listed.contains(name)), "{listed}");
}

#[test]
fn names_alike_but_for_their_case_are_refused() {
    let lab = Lab::new();
    for (number, [one, other]) in
        [["a", "A"], ["stra\u{df}e", "STRASSE"], ["\u{c4}", "a\u{308}"], ["x\u{ad}y", "xY"]]
            .iter()
            .enumerate()
    {
        let names = [one, other].map(|name| name.as_bytes().to_vec());
        refused(
            &image_of(&lab, &format!("{number}.img"), &OPTIONS, &names),
            &[],
            4,
            &["ignores case", one, other],
        );
    }
    // Without the casefold flag, such names are allowed.
    let image = image_of(&lab, "plain.img", &OPTIONS, &[b"a".to_vec(), b"A".to_vec()]);
    debugfs(&image, "set_inode_field d flags 0x80000\n");
    let output = canonical(&image, &["--verify"]);
    judge::same_by_debugfs(&image, &output);
}

#[test]
fn the_encoding_stays_and_has_to_be_known() {
    let lab = Lab::new();
    let options =
        ["-t", "ext4", "-O", "casefold,^metadata_csum", "-E", "encoding=utf8,encoding_flags=strict"];
    let image = image_of(&lab, "in.img", &options, &[b"Name".to_vec()]);
    let output = canonical(&image, &[]);
    let fields = ["s_encoding", "s_encoding_flags"].map(|field| superblock(&output).get(field));
    assert_eq!(fields, [ENCODING_UTF8_12_1, ENCODING_STRICT].map(u64::from));
    for (field, value, words) in
        [("s_encoding", 2, "s_encoding is 2"), ("s_encoding_flags", 4, "s_encoding_flags 0x4")]
    {
        let other = lab.copy(&image, field);
        superblock(&other).set(field, value);
        refused(&other, &[], 3, &[words]);
    }
    let image = image_of(&lab, "strict.img", &options, &[b"Name\xff".to_vec()]);
    refused(&image, &[], 4, &["which is not UTF-8 of Unicode 12.1, in strict mode"]);
}

#[test]
fn the_flag_is_refused_where_it_has_no_meaning() {
    let lab = Lab::new();
    let image = image_of(&lab, "in.img", &OPTIONS, &[b"file".to_vec()]);
    debugfs(&image, "set_inode_field d/file flags 0x40080000\n");
    refused(&image, &[], 4, &["(/d/file): has the CASEFOLD flag, but is not a directory"]);
    let image = image_of(&lab, "without.img", &["-t", "ext4"], &[]);
    refused(&image, &[], 3, &["i_flags has bits 0x40000000 CASEFOLD"]);
}
