//! Digests and comparison of files, with a cost that depends on their data, not on their length.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use sha2::{Digest as _, Sha256};

const PIECE: u64 = 64 * 1024;

/// Calls `f` for each piece that contains a non-zero byte, in order of offset.
fn for_each_piece(file: &File, mut f: impl FnMut(u64, &[u8])) -> io::Result<()> {
    let mut buffer = vec![0; PIECE as usize];
    for offset in pieces(file)? {
        let piece = read_piece(file, offset, &mut buffer)?;
        if piece.iter().any(|&byte| byte != 0) {
            f(offset, piece);
        }
    }
    Ok(())
}

/// Returns the offsets of all pieces that are not in a hole.
fn pieces(file: &File) -> io::Result<BTreeSet<u64>> {
    let mut offsets = BTreeSet::new();
    let mut at = 0;
    loop {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => return Ok(offsets),
            Err(error) => return Err(error.into()),
        };
        at = seek(file, SeekFrom::Hole(start))?;
        offsets.extend((start / PIECE..at.div_ceil(PIECE)).map(|piece| piece * PIECE));
    }
}

fn read_piece<'b>(file: &File, offset: u64, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(&buffer[..filled])
}

/// Returns a digest of the length and the bytes of a file. Holes and zeros have equal digests.
pub fn digest(file: &File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    hasher.update(file.metadata()?.len().to_le_bytes());
    for_each_piece(file, |offset, piece| {
        hasher.update(offset.to_le_bytes());
        hasher.update(piece);
    })?;
    Ok(hex(&hasher.finalize()))
}

/// Returns the [`digest`] of the file at a path.
pub fn digest_of(path: &Path) -> String {
    File::open(path).and_then(|file| digest(&file)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Returns the plain SHA-256 of a file, as `sha256sum` prints it.
pub fn sha256(path: &Path) -> String {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path).expect("a file"), &mut hasher).expect("reading");
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string");
        text
    })
}

/// Returns up to `limit` offsets at which two files differ. If the lengths differ, the length of the shorter
/// file is one of them.
pub fn differences(a: &Path, b: &Path, limit: usize) -> Vec<u64> {
    let files = [File::open(a).expect("a file"), File::open(b).expect("a file")];
    let mut found = Vec::new();
    let lengths = files.each_ref().map(|file| file.metadata().expect("a length").len());
    if lengths[0] != lengths[1] {
        found.push(lengths[0].min(lengths[1]));
    }
    let mut offsets = pieces(&files[0]).expect("reading");
    offsets.append(&mut pieces(&files[1]).expect("reading"));
    let mut buffers = [vec![0; PIECE as usize], vec![0; PIECE as usize]];
    for offset in offsets {
        let [left, right] = &mut buffers;
        let left = read_piece(&files[0], offset, left).expect("reading");
        let right = read_piece(&files[1], offset, right).expect("reading");
        if left == right {
            continue;
        }
        for (at, (x, y)) in left.iter().zip(right).enumerate() {
            if x != y && found.len() < limit {
                found.push(offset + at as u64);
            }
        }
    }
    found.truncate(limit);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn differences_are_found_in_holes_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        for path in [&a, &b] {
            let file = File::create(path).expect("a file");
            file.set_len(10 << 30).expect("a length");
            file.write_all_at(b"same", 123).expect("writing");
        }
        assert_eq!(differences(&a, &b, 9), [0; 0]);
        assert_eq!(digest_of(&a), digest_of(&b));
        fs::OpenOptions::new()
            .write(true)
            .open(&b)
            .expect("a file")
            .write_all_at(b"x", 9 << 30)
            .expect("writing");
        assert_eq!(differences(&a, &b, 9), [9 << 30]);
        assert_ne!(digest_of(&a), digest_of(&b));
    }
}
