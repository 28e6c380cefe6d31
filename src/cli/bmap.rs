//! Creates block maps (`.bmap` files), which list the blocks that bmaptool and other flashing tools write to
//! devices.
//!
//! The format is version 2.0. Free blocks of the filesystems are left out, because their content is never
//! read. All other blocks are listed, including blocks of zeros, since the device may contain old data there.

use std::fmt::Write as _;
use std::ops::Range;

use ext4_canon::text::hexadecimal;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

/// The block size of the map in bytes, independent of the block sizes of the filesystems.
const BLOCK: u64 = 4096;

/// The placeholder for the digest of the bmap file itself, while that digest is computed.
const NO_DIGEST: [u8; 32] = [0; 32];

/// Returns the block map of an image whose byte ranges `used` are in use.
pub fn text(image: &[u8], used: &[Range<u64>]) -> String {
    let length = image.len() as u64;
    let ranges = blocks(used, length);
    let digests: Vec<[u8; 32]> = ranges.par_iter().map(|range| digest(image, range)).collect();
    let with = |own: &[u8; 32]| {
        let mapped: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        let mut text = String::from("<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n");
        let count = length.div_ceil(BLOCK);
        let mut field = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a string can't fail.
            let _ = writeln!(text, "    <{name}> {value} </{name}>");
        };
        field("ImageSize", &length);
        field("BlockSize", &BLOCK);
        field("BlocksCount", &count);
        field("MappedBlocksCount", &mapped);
        field("ChecksumType", &"sha256");
        field("BmapFileChecksum", &hexadecimal(own));
        text.push_str("    <BlockMap>\n");
        for (range, digest) in ranges.iter().zip(&digests) {
            let (first, last, digest) = (range.start, range.end - 1, hexadecimal(digest));
            let blocks = if first == last { first.to_string() } else { format!("{first}-{last}") };
            let _ = writeln!(text, "        <Range chksum=\"{digest}\"> {blocks} </Range>");
        }
        text.push_str("    </BlockMap>\n</bmap>\n");
        text
    };
    with(&Sha256::digest(with(&NO_DIGEST)).into())
}

/// Returns the sorted blocks that contain the byte ranges `used`. Adjacent and overlapping ranges are merged.
fn blocks(used: &[Range<u64>], length: u64) -> Vec<Range<u64>> {
    let whole = |bytes: &Range<u64>| bytes.start / BLOCK..bytes.end.min(length).div_ceil(BLOCK);
    let mut ranges: Vec<_> = used.iter().map(whole).filter(|range| range.start < range.end).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, kept| {
        let touches = next.start <= kept.end;
        if touches {
            kept.end = kept.end.max(next.end);
        }
        touches
    });
    ranges
}

fn digest(image: &[u8], range: &Range<u64>) -> [u8; 32] {
    // The last block can be shorter.
    let place = |block: u64| (block * BLOCK).min(image.len() as u64);
    let at = |block| usize::try_from(place(block)).expect("at most the length of a slice");
    Sha256::digest(&image[at(range.start)..at(range.end)]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_whole_blocks() {
        let used = [5000..5001, 20_000..20_480, 0..10, 8192..8193, 12_288..12_288];
        assert_eq!(blocks(&used, 100_000), [0..3, 4..5]);
        assert_eq!(blocks(&[0..100_000, 0..1], 10_000), [0..3, 0..0][..1]);
        assert_eq!(blocks(&[], 10), []);
    }

    #[test]
    fn the_last_block_may_be_short() {
        let text = text(&[1; 5000], &[4096..5000, 0..0]);
        let expected = hexadecimal(&<[u8; 32]>::from(Sha256::digest([1; 904])));
        assert!(text.contains(&format!("<Range chksum=\"{expected}\"> 1 </Range>")), "{text}");
        assert!(text.contains("<BlocksCount> 2 </BlocksCount>"), "{text}");
    }
}
