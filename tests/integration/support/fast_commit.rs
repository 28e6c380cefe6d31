//! Builders for fast commits.

use std::path::Path;

use ext4_canon::internals::ondisk::checksum::crc32c;
use ext4_canon::internals::ondisk::fast_commit::{TAG_HEAD, TAG_TAIL};
use ext4_canon::internals::ondisk::jbd2::DEFAULT_FC_BLOCKS;

use super::fields::{block_size, journal};
use super::image::blocks_of;

/// Builds a record with the given tag and value.
pub fn record(tag: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("a length");
    [&tag.to_le_bytes()[..], &length.to_le_bytes(), value].concat()
}

/// Builds a record about a directory entry: parent inode, inode, name.
pub fn name_record(tag: u16, parent: u32, inode: u32, name: &str) -> Vec<u8> {
    record(tag, &[&parent.to_le_bytes()[..], &inode.to_le_bytes(), name.as_bytes()].concat())
}

/// Builds a block with one fast commit that follows `transaction`: head, `records` and tail.
pub fn block(features: u32, transaction: u32, records: &[Vec<u8>], size: u64) -> Vec<u8> {
    let size = usize::try_from(size).expect("a size");
    let mut block = record(TAG_HEAD, &[features, transaction].map(u32::to_le_bytes).concat());
    records.iter().for_each(|record| block.extend(record));
    // The length of the tail covers the rest of the block, but its checksum covers only the bytes up to here.
    let rest = u16::try_from(size - block.len() - 4).expect("room for the end");
    block.extend([TAG_TAIL.to_le_bytes(), rest.to_le_bytes()].concat());
    block.extend(transaction.to_le_bytes());
    block.extend(crc32c(0, &block).to_le_bytes());
    block.resize(size, 0);
    block
}

/// Returns the byte offset in the image of the first fast commit block.
pub fn area(image: &Path) -> u64 {
    let jsb = journal(image);
    let count = match jsb.get32("s_num_fc_blks") {
        0 => DEFAULT_FC_BLOCKS,
        count => count,
    };
    let first = jsb.get32("s_maxlen") - count + 1;
    blocks_of(image, "<8>")[first as usize] * block_size(image)
}
