//! `ls`: the tree of an image, as it is read.

use anyhow::Result;
use ext4_canon::ondisk::xattr::full_name;
use ext4_canon::tree::{Kind, Tree};
use ext4_canon::tree_digest::{self, Item};
use ext4_canon::view::View;
use ext4_canon::{attribute_text, text, with_tree};
use serde::Serialize;

use crate::cli::args::LsTask;
use crate::cli::exit_code::ExitCode;
use crate::cli::json::{self, HeadJson};
use crate::cli::runner::{Outcome, Runner};

#[derive(Serialize)]
struct LsJson {
    #[serde(flatten)]
    head: HeadJson,
    input: String,
    entries: Vec<EntryJson>,
}

#[derive(Default, Serialize)]
struct EntryJson {
    path: String,
    #[serde(rename = "type")]
    kind: &'static str,
    mode: String,
    uid: u32,
    gid: u32,
    project: u32,
    flags: String,
    mtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    major: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minor: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hardlink: Option<String>,
    xattrs: Vec<XattrJson>,
}

#[derive(Serialize)]
struct XattrJson {
    name: String,
    value: String,
    hex: String,
}

/// Lists a tree.
pub fn run(runner: &Runner<'_>, task: &LsTask) -> Result<Outcome> {
    let image = runner.open(&task.input)?;
    let settings = runner.settings;
    let (mut text, mut entries) = (tree_digest::HEAD.to_owned(), Vec::new());
    let warnings = runner.read_filesystem(&image, |filesystem| {
        with_tree(filesystem, &settings.options, &runner.progress, |source, reading| {
            let tree = &reading.tree;
            let digests =
                task.digests.then(|| tree_digest::file_digests(View { source, tree }, &runner.progress));
            tree_digest::visit(tree, digests.as_deref(), |item| {
                if settings.json {
                    entries.push(entry(tree, &item));
                } else {
                    text.push_str(&tree_digest::line(tree, &item));
                }
                Ok(())
            })?;
            Ok(reading.warnings.clone())
        })
    })?;
    runner.warn_about(&image.path, &warnings);
    let text = if settings.json {
        let head = HeadJson::new("ls", "done", ExitCode::Done);
        json::text(&LsJson { head, input: image.path.display().to_string(), entries })
    } else {
        text.into_bytes()
    };
    Ok(Outcome::new(ExitCode::Done, text))
}

fn entry(tree: &Tree, item: &Item<'_>) -> EntryJson {
    let node = tree.node(item.id);
    // Without the dot that it begins with.
    let path = |path: &[u8]| match path.get(1..) {
        None => "(boot loader)".to_owned(),
        Some(b"") => "/".to_owned(),
        Some(rest) => text::escaped_text(rest),
    };
    let mut entry = EntryJson {
        path: path(item.path),
        kind: attribute_text::type_of(node),
        mode: attribute_text::mode(node),
        uid: node.uid,
        gid: node.gid,
        project: node.project,
        flags: attribute_text::flags(node.flags),
        mtime: attribute_text::time(node.mtime),
        content: item.digest.map(|digest| text::hexadecimal(&digest.bytes)),
        hardlink: item.hardlink.map(path),
        ..EntryJson::default()
    };
    match node.kind {
        Kind::Regular { size, .. } => entry.size = Some(size),
        Kind::Symlink(target) => entry.target = Some(text::escaped_text(tree.text(target))),
        Kind::Device { major, minor } => (entry.major, entry.minor) = (Some(major), Some(minor)),
        Kind::Directory { .. } | Kind::Empty => {}
    }
    let set = node.xattrs.map(|set| tree.xattr_set(set)).unwrap_or_default();
    entry.xattrs.extend(set.iter().map(|xattr| XattrJson {
        name: full_name(xattr.index, tree.text(xattr.name)),
        value: attribute_text::xattr_value(xattr.index, tree.text(xattr.value)),
        hex: text::hexadecimal(tree.text(xattr.value)),
    }));
    entry
}
