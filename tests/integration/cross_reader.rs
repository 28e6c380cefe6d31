//! An independent reader sees the same tree in input and output.

use std::path::Path;

use ext4_view::{Ext4, Metadata};
use sha2::{Digest as _, Sha256};

use crate::support::listing::same_tree;
use crate::support::{Lab, canonical};

/// Returns the tree as the `ext4_view` crate reads it, without an empty lost+found.
fn tree_of(image: &Path) -> String {
    let filesystem = Ext4::load_from_path(image).unwrap_or_else(|e| panic!("{}: {e}", image.display()));
    let mut text = String::new();
    below(&filesystem, b"/", &mut text);
    text
}

fn below(filesystem: &Ext4, folder: &[u8], text: &mut String) {
    let path = ext4_view::Path::try_from(folder).expect("a path");
    let entries = filesystem.read_dir(path).unwrap_or_else(|e| panic!("{}: {e}", folder.escape_ascii()));
    let mut entries: Vec<_> = entries.map(|entry| entry.expect("an entry")).collect();
    entries.sort_by(|a, b| a.file_name().as_ref().cmp(b.file_name().as_ref()));
    for entry in entries {
        let path = entry.path();
        let bytes: &[u8] = path.as_ref();
        if [&b"."[..], b".."].contains(&entry.file_name().as_ref()) || bytes == b"/lost+found" {
            continue;
        }
        let meta = filesystem.symlink_metadata(path.as_path()).expect("metadata");
        text.push_str(&line(filesystem, bytes, &meta));
        if meta.is_dir() {
            below(filesystem, bytes, text);
        }
    }
}

fn line(filesystem: &Ext4, path: &[u8], meta: &Metadata) -> String {
    let path = ext4_view::Path::try_from(path).expect("a path");
    let content = if meta.is_symlink() {
        let target = filesystem.read_link(path).expect("a target");
        <ext4_view::PathBuf as AsRef<[u8]>>::as_ref(&target).escape_ascii().to_string()
    } else if meta.is_dir() {
        String::new()
    } else if meta.file_type().is_regular_file() {
        let content = filesystem.read(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        format!("{} bytes, {:x}", content.len(), Sha256::digest(content))
    } else {
        "special".to_owned()
    };
    format!("{} {:o} {}:{} {content}\n", path.as_ref().escape_ascii(), meta.mode(), meta.uid(), meta.gid())
}

#[test]
fn an_independent_reader_sees_the_same_tree() {
    for options in [
        &["-t", "ext4", "-b", "1024"][..],
        &["-t", "ext4", "-b", "4096", "-O", "metadata_csum_seed"],
        &["-t", "ext4", "-b", "4096", "-O", "^metadata_csum,uninit_bg"],
        &["-t", "ext2", "-b", "1024"],
    ] {
        let lab = Lab::new();
        let source = lab.plain_tree();
        if options.contains(&"ext2") {
            // This reader treats a hole in a block map as block 0.
            for name in ["sizes/zeros", "sizes/gaps"] {
                std::fs::remove_file(source.join(name)).expect("removing");
            }
        }
        let image = lab.mke2fs_d("in.img", "16M", options, &source);
        let (before, after) = (tree_of(&image), tree_of(&canonical(&image, &[])));
        assert!(before.lines().count() > 100, "{before}");
        same_tree(&before, &after);
    }
}
