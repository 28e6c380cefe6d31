//! `ls`: the tree of an image, as it is read.

use ext4_canon::ondisk::xattr::full_name;
use ext4_canon::tree::{Kind, Tree};
use ext4_canon::tree_digest::{self, Item};
use ext4_canon::view::View;
use ext4_canon::{with_tree, words};
use serde::Serialize;

use super::{Ended, Head, Work, json};
use crate::cli::failure::Failure;
use crate::cli::subcommands::Given;

#[derive(Serialize)]
struct Json {
    #[serde(flatten)]
    head: Head,
    input: String,
    entries: Vec<JsonEntry>,
}

#[derive(Default, Serialize)]
struct JsonEntry {
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
    xattrs: Vec<JsonXattr>,
}

#[derive(Serialize)]
struct JsonXattr {
    name: String,
    value: String,
    hex: String,
}

/// Lists a tree, with the digests of files or without.
pub fn run(work: &Work<'_>, given: &Given, digests: bool) -> Result<Ended, Failure> {
    let (input, image) = (&given.path, work.open_given(given)?);
    let (part, filesystem) = given.filesystem(&image, work.setting)?;
    let (mut text, mut entries) = (tree_digest::HEAD.to_owned(), Vec::new());
    let list = || {
        with_tree(&filesystem, &work.setting.options, &work.progress, |source, reading| {
            let tree = &reading.tree;
            let digests = digests.then(|| tree_digest::file_digests(View { source, tree }, &work.progress));
            tree_digest::visit(tree, digests.as_deref(), |item| {
                if work.setting.json {
                    entries.push(entry(tree, &item));
                } else {
                    text.push_str(&tree_digest::line(tree, &item));
                }
                Ok(())
            })?;
            Ok(reading.warnings.clone())
        })
    };
    let result = work.pool.install(list);
    image.unchanged()?;
    let warnings = result.map_err(|error| given.failure(&part, error))?;
    let text = if work.setting.json {
        let head = Head::new("ls", "done", 0);
        json(&Json { head, input: input.display().to_string(), entries })
    } else {
        text.into_bytes()
    };
    let remarks = warnings.iter().map(|warning| format!("warning: {}: {warning}", input.display()));
    Ok(Ended { text, remarks: remarks.collect(), ..Ended::default() })
}

fn entry(tree: &Tree, item: &Item<'_>) -> JsonEntry {
    let node = tree.node(item.id);
    // Without the dot that it begins with.
    let path = |path: &[u8]| match path.get(1..) {
        None => "(boot loader)".to_owned(),
        Some(b"") => "/".to_owned(),
        Some(rest) => words::escaped_text(rest),
    };
    let mut entry = JsonEntry {
        path: path(item.path),
        kind: words::type_of(node),
        mode: words::mode(node),
        uid: node.uid,
        gid: node.gid,
        project: node.project,
        flags: words::flags(node.flags),
        mtime: words::time(node.mtime),
        content: item.digest.map(|digest| words::hexadecimal(&digest.bytes)),
        hardlink: item.hardlink.map(path),
        ..JsonEntry::default()
    };
    match node.kind {
        Kind::Regular { size, .. } => entry.size = Some(size),
        Kind::Symlink(target) => entry.target = Some(words::escaped_text(tree.text(target))),
        Kind::Device { major, minor } => (entry.major, entry.minor) = (Some(major), Some(minor)),
        Kind::Directory { .. } | Kind::Empty => {}
    }
    let set = node.xattrs.map(|set| tree.xattr_set(set)).unwrap_or_default();
    entry.xattrs.extend(set.iter().map(|xattr| JsonXattr {
        name: full_name(xattr.index, tree.text(xattr.name)),
        value: words::xattr_value(xattr.index, tree.text(xattr.value)),
        hex: words::hexadecimal(tree.text(xattr.value)),
    }));
    entry
}
