//! `ls`: lists the file tree of an image.

use std::os::unix::ffi::OsStrExt as _;

use anyhow::Result;
use ext4_canon::text::hexadecimal;
use ext4_canon::{ListedPath, ListedXattr, MTREE_HEAD};
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

#[derive(Serialize)]
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

/// Lists the file tree of an image.
pub fn run(runner: &Runner<'_>, task: &LsTask) -> Result<Outcome> {
    let image = runner.open(&task.input)?;
    let settings = runner.settings;
    let (mut text, mut entries) = (MTREE_HEAD.to_owned(), Vec::new());
    let warnings = runner.read_disk(&image, |disk| {
        disk.list(task.path.as_bytes(), &settings.options, task.digests, &runner.progress, |path| {
            if settings.json {
                entries.push(EntryJson::of(path));
            } else {
                text.push_str(&path.mtree_line());
            }
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

impl EntryJson {
    fn of(path: &ListedPath<'_>) -> Self {
        let device = path.device();
        Self {
            path: path.path(),
            kind: path.type_name(),
            mode: format!("{:04o}", path.mode()),
            uid: path.uid(),
            gid: path.gid(),
            project: path.project(),
            flags: path.flags(),
            mtime: path.mtime(),
            size: path.size(),
            content: path.content_digest().map(|digest| hexadecimal(&digest)),
            target: path.target(),
            major: device.map(|(major, _)| major),
            minor: device.map(|(_, minor)| minor),
            hardlink: path.hard_link(),
            xattrs: path.xattrs().into_iter().map(XattrJson::of).collect(),
        }
    }
}

impl XattrJson {
    fn of(xattr: ListedXattr<'_>) -> Self {
        Self { hex: hexadecimal(xattr.value), name: xattr.name, value: xattr.text }
    }
}
