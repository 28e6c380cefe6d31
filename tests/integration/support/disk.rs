//! Disks with partitions.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::tools::{run, tool};

/// Makes a disk of so many MiB with sfdisk, and puts files at offsets in MiB.
pub fn disk(path: &Path, size: u64, table: &str, contents: &[(u64, &Path)]) {
    let file = File::create(path).expect("a file");
    file.set_len(size << 20).expect("the size");
    let script = path.with_extension("sfdisk");
    fs::write(&script, table).expect("writing");
    run(tool("sh").args(["-c", "sfdisk --quiet \"$0\" <\"$1\""]).arg(path).arg(&script));
    fs::remove_file(script).expect("removing");
    for (offset, content) in contents {
        let bytes = fs::read(content).expect("reading");
        file.write_all_at(&bytes, offset << 20).expect("writing");
    }
}
