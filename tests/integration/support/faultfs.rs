//! A file with an unreadable byte range, served by a small FUSE filesystem in C.

use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use super::tools::{compiled, tool, try_run};

/// A mounted directory that contains one file. It is unmounted when this is dropped.
#[derive(Debug)]
pub struct FaultyFile {
    folder: PathBuf,
    server: Child,
}

impl FaultyFile {
    /// Mounts on the empty directory `folder`, and shows `file` there with `unreadable` bytes that fail with
    /// EIO.
    pub fn new(file: &Path, folder: &Path, unreadable: &Range<u64>) -> Self {
        let mut command = tool(compiled("faultfs", &[]));
        command.arg(file).arg(folder).args([unreadable.start.to_string(), unreadable.end.to_string()]);
        let mut server = command.stdout(Stdio::piped()).spawn().expect("a process");
        let mut line = String::new();
        let told = BufReader::new(server.stdout.take().expect("a pipe")).read_line(&mut line);
        assert!(told.is_ok() && line == "ready\n", "{line}: {:?}", server.wait());
        Self { folder: folder.to_owned(), server }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> PathBuf {
        self.folder.join("in.img")
    }
}

impl Drop for FaultyFile {
    fn drop(&mut self) {
        // Unmount lazily, because programs that look at new mounts may keep it busy for a moment. The server
        // ends after that.
        try_run(tool("umount").arg("--lazy").arg(&self.folder));
        let _ = self.server.wait();
    }
}
