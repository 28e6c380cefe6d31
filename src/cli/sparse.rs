//! Reads and writes Android sparse images. They consist of chunks: stored blocks, blocks filled with a
//! pattern, or "don't care" blocks.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, bail};

use super::refusal::Refusal;

/// Error context while an input that can't be mapped is copied to a temporary file.
pub const STORING: &str = "storing it in a temporary file (see TMPDIR)";

/// The magic number of a sparse image. All numbers are little-endian.
const MAGIC: u32 = 0xED26_FF3A;
/// The sizes in bytes of the file header and of a chunk header.
const HEADER: u16 = 28;
const CHUNK_HEADER: u16 = 12;

/// The type of chunks with stored data.
pub const RAW: u16 = 0xCAC1;
/// The type of chunks that repeat a pattern of four bytes.
pub const FILL: u16 = 0xCAC2;
const DONT_CARE: u16 = 0xCAC3;
/// The type of chunks with a checksum of all data before them.
pub const CRC32: u16 = 0xCAC4;

/// The block size of written images, in bytes.
const BLOCK: usize = 4096;
/// The maximum number of blocks in a stored chunk. Flashing tools can handle chunks of this size (64 MiB).
const MAX_BLOCKS: u64 = 1 << 14;
/// The maximum number of bytes that patterns may fill in the temporary file. A chunk of 16 bytes can
/// represent terabytes.
const MAX_FILLED: u64 = 1 << 30;

/// Returns whether the bytes begin with the magic number.
pub fn is_sparse(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_le_bytes())
}

/// Expands a sparse image into a temporary file without a name. "Don't care" blocks become holes.
///
/// # Errors
///
/// A [`Refusal`], or an I/O error about the temporary file.
pub fn expand(bytes: &[u8]) -> anyhow::Result<File> {
    expand_within(bytes, MAX_FILLED)
}

/// Expands a sparse image in which patterns fill at most `most_filled` bytes.
///
/// # Errors
///
/// The errors of [`expand`].
pub fn expand_within(bytes: &[u8], most_filled: u64) -> anyhow::Result<File> {
    let header = Header::of(bytes)?;
    let length = header.block * header.blocks;
    if i64::try_from(length).is_err() {
        bail!(damaged("describes more bytes than a file can have"));
    }
    let file = tempfile::tempfile().context(STORING)?;
    file.set_len(length).context(STORING)?;
    let (mut done, mut filled, mut end) = (0, 0, header.first);
    for chunk in header.chunks(bytes) {
        let Chunk { kind, blocks, data, end: after } = chunk?;
        let (start, length) = (done * header.block, blocks * header.block);
        (done, end) = (done + blocks, after);
        if done > header.blocks {
            bail!(damaged("has more blocks in its chunks than its header says"));
        }
        match (kind, data.len()) {
            (RAW, size) if size as u64 == length => write_data(&file, data, start).context(STORING)?,
            (FILL, 4) => {
                filled += if data == [0; 4] { 0 } else { length };
                if filled > most_filled {
                    bail!(unsupported("fills more than 1 GiB with patterns; make a raw image with simg2img"));
                }
                fill(&file, data, start..start + length).context(STORING)?;
            }
            (DONT_CARE, 0) => {}
            // `sparse_sums` checks this checksum.
            (CRC32, 4) if blocks == 0 => {}
            _ => bail!(damaged("has a chunk of an unknown type or size")),
        }
    }
    if done != header.blocks || end != bytes.len() as u64 {
        bail!(damaged("has chunks that do not match its header"));
    }
    Ok(file)
}

/// The header of a sparse image.
pub struct Header {
    /// The block size in bytes.
    pub block: u64,
    blocks: u64,
    chunks: u32,
    /// The checksum of the whole image; 0 if there is none.
    pub sum: u32,
    /// The offset of the first chunk, in bytes.
    first: u64,
    /// The size of a chunk header, in bytes.
    chunk_header: u64,
}

/// A chunk of a sparse image.
pub struct Chunk<'b> {
    /// The type of the chunk.
    pub kind: u16,
    /// The length of the chunk in the expanded image, in blocks.
    pub blocks: u64,
    /// The data after the chunk header.
    pub data: &'b [u8],
    /// The offset of the next chunk, in bytes.
    end: u64,
}

impl Header {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] if the header is damaged or has an unsupported version.
    pub fn of(bytes: &[u8]) -> Result<Self, Refusal> {
        let header = take(bytes, 0, HEADER.into(), "the header")?;
        let (major, length, chunk_header) = (u16_at(header, 4), u16_at(header, 8), u16_at(header, 10));
        if major != 1 || length < HEADER || chunk_header < CHUNK_HEADER {
            return Err(unsupported("has an unknown version; make a raw image with simg2img"));
        }
        let block = u32_at(header, 12);
        if block == 0 || !block.is_multiple_of(4) {
            return Err(damaged("has a block size that is not a multiple of 4"));
        }
        Ok(Self {
            block: block.into(),
            blocks: u32_at(header, 16).into(),
            chunks: u32_at(header, 20),
            sum: u32_at(header, 24),
            first: length.into(),
            chunk_header: chunk_header.into(),
        })
    }

    /// Returns an iterator over the chunks. It stops after a damaged chunk.
    pub fn chunks<'b>(&self, bytes: &'b [u8]) -> impl Iterator<Item = Result<Chunk<'b>, Refusal>> + use<'b> {
        let (mut at, head) = (Some(self.first), self.chunk_header);
        (0..self.chunks).map_while(move |_| {
            let chunk = chunk(bytes, at?, head);
            at = chunk.as_ref().ok().map(|chunk| chunk.end);
            Some(chunk)
        })
    }
}

fn chunk(bytes: &[u8], at: u64, head: u64) -> Result<Chunk<'_>, Refusal> {
    let chunk = take(bytes, at, head, "a chunk")?;
    let (kind, blocks, total) = (u16_at(chunk, 0), u32_at(chunk, 4), u64::from(u32_at(chunk, 8)));
    let Some(size) = total.checked_sub(head) else {
        return Err(damaged("has a chunk that is too short"));
    };
    let data = take(bytes, at + head, size, "a chunk")?;
    Ok(Chunk { kind, blocks: blocks.into(), data, end: at + total })
}

/// Writes an image in the sparse format. Blocks outside the byte ranges `used` become "don't care" blocks.
///
/// # Errors
///
/// A [`Refusal`] if the size is too large or not a multiple of the block size, or an I/O error.
pub fn write(out: &File, image: &[u8], used: &[Range<u64>]) -> anyhow::Result<()> {
    let blocks = u32::try_from(image.len() / BLOCK).ok().filter(|_| image.len().is_multiple_of(BLOCK));
    let Some(blocks) = blocks else {
        let words = "an Android sparse image has whole blocks of 4096 bytes, and at most 2^32 - 1 of them; \
                     use --format raw, or give a filesystem such a size with --size";
        bail!(Refusal::Unsupported(words.to_owned()));
    };
    write_blocks(out, image, blocks, &runs(image, used)).context("writing the output")
}

fn write_blocks(out: &File, image: &[u8], blocks: u32, chunks: &[(u16, Range<u64>)]) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    out.write_all(&MAGIC.to_le_bytes())?;
    for half in [1, 0, HEADER, CHUNK_HEADER] {
        out.write_all(&half.to_le_bytes())?;
    }
    let count = u32::try_from(chunks.len()).expect("no more chunks than blocks");
    for word in [4096, blocks, count, 0] {
        out.write_all(&word.to_le_bytes())?;
    }
    for (kind, range) in chunks {
        let data: &[u8] = match *kind {
            RAW => &image[at(range.start)..at(range.end)],
            FILL => &[0; 4],
            _ => &[],
        };
        out.write_all(&kind.to_le_bytes())?;
        out.write_all(&[0; 2])?;
        let blocks = u32::try_from(range.end - range.start).expect("no more than the image has");
        let length = usize::from(CHUNK_HEADER) + data.len();
        let length = u32::try_from(length).expect("a chunk stores at most 64 MiB: MAX_BLOCKS");
        for word in [blocks, length] {
            out.write_all(&word.to_le_bytes())?;
        }
        out.write_all(data)?;
    }
    out.flush()
}

/// Returns the chunk types of all blocks, as runs of blocks.
fn runs(image: &[u8], used: &[Range<u64>]) -> Vec<(u16, Range<u64>)> {
    let mut used: Vec<_> = used.to_vec();
    used.sort_unstable_by_key(|range| range.start);
    let mut rest = used.iter().peekable();
    let mut chunks: Vec<(u16, Range<u64>)> = Vec::new();
    for (block, bytes) in (0..).zip(image.chunks_exact(BLOCK)) {
        let (start, end) = (block * BLOCK as u64, (block + 1) * BLOCK as u64);
        while rest.next_if(|range| range.end <= start).is_some() {}
        let is_used = rest.peek().is_some_and(|range| range.start < end);
        let kind = match is_used {
            false => DONT_CARE,
            true if bytes.iter().all(|byte| *byte == 0) => FILL,
            true => RAW,
        };
        match chunks.last_mut() {
            Some((last, range)) if *last == kind && (kind != RAW || range.end - range.start < MAX_BLOCKS) => {
                range.end += 1;
            }
            _ => chunks.push((kind, block..block + 1)),
        }
    }
    chunks
}

/// Returns the offset in bytes of a block of an image in memory.
fn at(block: u64) -> usize {
    usize::try_from(block).expect("blocks were counted in memory") * BLOCK
}

/// Writes data at an offset, and leaves holes for zeros.
fn write_data(file: &File, data: &[u8], start: u64) -> io::Result<()> {
    for (offset, part) in (start..).step_by(1 << 16).zip(data.chunks(1 << 16)) {
        if part.iter().any(|byte| *byte != 0) {
            file.write_all_at(part, offset)?;
        }
    }
    Ok(())
}

fn fill(file: &File, pattern: &[u8], range: Range<u64>) -> io::Result<()> {
    if pattern == [0; 4] {
        return Ok(());
    }
    let part = pattern.repeat(1 << 14);
    for offset in range.clone().step_by(part.len()) {
        let length = usize::try_from(range.end - offset).map_or(part.len(), |left| left.min(part.len()));
        file.write_all_at(&part[..length], offset)?;
    }
    Ok(())
}

fn take<'b>(bytes: &'b [u8], start: u64, length: u64, what: &str) -> Result<&'b [u8], Refusal> {
    let place = |at: u64| usize::try_from(at).ok();
    let range = start.checked_add(length).and_then(|end| Some(place(start)?..place(end)?));
    let found = range.and_then(|range| bytes.get(range));
    found.ok_or_else(|| damaged(&format!("is cut short: {what} at byte {start} has {length} bytes")))
}

fn damaged(what: &str) -> Refusal {
    Refusal::Damaged(format!("the Android sparse image {what}; recreate it"))
}

fn unsupported(what: &str) -> Refusal {
    Refusal::Unsupported(format!("the Android sparse image {what}"))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(image: &[u8], used: &[Range<u64>]) -> (Vec<u8>, Vec<u8>) {
        let file = tempfile::tempfile().unwrap();
        write(&file, image, used).unwrap();
        let read = |file: &File| {
            let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
            file.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        };
        let sparse = read(&file);
        let image = read(&expand(&sparse).unwrap());
        (sparse, image)
    }

    #[test]
    fn what_is_in_use_comes_back() {
        let mut image = vec![0; 10 * BLOCK];
        image[BLOCK + 5] = 1;
        image[7 * BLOCK] = 2;
        let (sparse, found) = round(&image, &[7 * 4096..7 * 4096 + 1, 0..3 * 4096]);
        assert!(found == image);
        let kinds: Vec<_> = runs(&image, &[7 * 4096..7 * 4096 + 1, 0..3 * 4096]);
        assert_eq!(
            kinds,
            [(FILL, 0..1), (RAW, 1..2), (FILL, 2..3), (DONT_CARE, 3..7), (RAW, 7..8), (DONT_CARE, 8..10)]
        );
        assert_eq!(sparse.len(), 28 + 6 * 12 + 2 * 4 + 2 * BLOCK);
        assert!(write(&tempfile::tempfile().unwrap(), &image[1..], &[]).is_err());
    }

    #[test]
    fn damage_is_told_and_takes_no_room() {
        let mut image = vec![0; 4 * BLOCK];
        image[0] = 1;
        let (sparse, _) = round(&image, &[0..2 * 4096, 9..9]);
        for at in 0..sparse.len().min(100) {
            for value in [0, 1, 0x7F, 0xFF] {
                let mut damaged = sparse.clone();
                damaged[at] = value;
                if let Ok(file) = expand(&damaged) {
                    use std::os::unix::fs::MetadataExt as _;
                    assert!(file.metadata().unwrap().blocks() * 512 <= MAX_FILLED);
                }
            }
        }
        for length in 0..sparse.len() {
            assert!(expand(&sparse[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn no_file_has_the_length_of_the_greatest_numbers() {
        let mut header = MAGIC.to_le_bytes().to_vec();
        header.extend([1, 0, HEADER, CHUNK_HEADER].map(u16::to_le_bytes).as_flattened());
        header.extend([u32::MAX - 3, u32::MAX, 0, 0].map(u32::to_le_bytes).as_flattened());
        let error = expand(&header).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Refusal::Damaged(_))), "{error}");
        assert!(error.to_string().contains("more bytes than a file can have; recreate it"), "{error}");
    }
}
