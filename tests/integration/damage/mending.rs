//! Makes the checksums of damaged parts right again, so that the checks behind them are reached.

use ext4_canon::ondisk::checksum::{Checksums, crc32c};
use ext4_canon::ondisk::fast_commit::{Records, TAG_TAIL};
use ext4_canon::ondisk::inode;
use ext4_canon::ondisk::jbd2::{self, LogFormat};
use ext4_canon::ondisk::superblock::Superblock;
use ext4_canon::ondisk::{dir_entry, htree, le16, le32, mmp, view};
use ext4_canon::units::{BlockNr, GroupNr, InodeNr};

use super::anatomy::{Anatomy, Canvas, Kind, Part};

impl Anatomy {
    /// Makes the checksums of a part, and of what it lies in, right again.
    pub fn refresh(&self, canvas: &mut Canvas, part: &Part) {
        self.refresh_alone(canvas, part);
        let (Some(copy), Some(format)) = (part.copy.and_then(|index| self.copies.get(index)), self.log)
        else {
            return;
        };
        if format.incompat & jbd2::INCOMPAT_CSUM_V3 == 0 {
            return;
        }
        let sum = crc32c(
            crc32c(format.seed, &copy.sequence.to_be_bytes()),
            canvas.get(copy.start, self.block_size),
        );
        canvas.set(copy.checksum, &sum.to_be_bytes());
        self.refresh_log(canvas, copy.descriptor);
    }

    fn refresh_log(&self, canvas: &mut Canvas, start: usize) {
        let Some(format) = self.log.filter(LogFormat::has_checksums) else { return };
        let block = canvas.get(start, self.block_size).to_vec();
        let Some(header) = view::<jbd2::JournalHeader>(&block) else { return };
        if header.h_blocktype.get() == jbd2::COMMIT_BLOCK {
            let parts = [&block[..16], &[0; 4], &block[20..]];
            let sum = parts.iter().fold(format.seed, |sum, part| crc32c(sum, part));
            canvas.set(start + 16, &sum.to_be_bytes());
        } else {
            let live = block.len() - 4;
            let sum = crc32c(crc32c(format.seed, &block[..live]), &[0; 4]);
            canvas.set(start + live, &sum.to_be_bytes());
        }
    }

    fn refresh_alone(&self, canvas: &mut Canvas, part: &Part) {
        let (start, checksums) = (part.start, &self.checksums);
        let bytes = canvas.get(start, part.length).to_vec();
        let mut put = |at: usize, sum: Option<u32>| {
            if let Some(sum) = sum {
                canvas.set(start + at, &sum.to_le_bytes());
            }
        };
        match part.kind {
            Kind::Superblock => {
                // What the seed is may be what was changed.
                let Some(sb) = view::<Superblock>(&bytes) else { return };
                put(0x3FC, Checksums::of(sb).superblock(bytes.first_chunk().expect("1024 bytes")));
            }
            Kind::Descriptor(group) => {
                if let Some(sum) = checksums.group_descriptor(GroupNr(group), &bytes) {
                    canvas.set(start + 30, &sum.to_le_bytes());
                }
            }
            Kind::Inode(number) => {
                let generation = le32(&bytes, 0x64).unwrap_or(0);
                let high = bytes.len() > inode::BASE_SIZE
                    && le16(&bytes, inode::BASE_SIZE).unwrap_or(0) >= inode::EXTRA_WITH_CHECKSUM;
                if let Some(sum) = checksums.inode(InodeNr(number), generation, &bytes, high) {
                    let [a, b, c, d] = sum.to_le_bytes();
                    canvas.set(start + inode::CHECKSUM_LO, &[a, b]);
                    if high {
                        canvas.set(start + inode::CHECKSUM_HI, &[c, d]);
                    }
                }
            }
            Kind::Extents(number, generation) => {
                let max = le16(&bytes, 4).unwrap_or(0);
                let sum = checksums.extent_block(InodeNr(number), generation, &bytes, max);
                put(12 * (usize::from(max) + 1), sum);
            }
            Kind::Directory(number, generation, first) => {
                let end = bytes.len() - dir_entry::TAIL_SIZE;
                if le32(&bytes, end) == Some(0) && bytes[end + 7] == dir_entry::TAIL_TYPE {
                    put(bytes.len() - 4, checksums.directory_block(InodeNr(number), generation, &bytes));
                } else {
                    let head = if first { htree::ROOT_HEAD } else { htree::NODE_HEAD };
                    let limit = usize::from(le16(&bytes, head).unwrap_or(0));
                    let count = usize::from(le16(&bytes, head + 2).unwrap_or(0));
                    let (end, tail) = (head + count * 8, head + limit * 8);
                    put(tail + 4, checksums.htree_node(InodeNr(number), generation, &bytes, end, tail));
                }
            }
            Kind::Xattrs => {
                let block = BlockNr((start / self.block_size) as u64);
                put(0x10, checksums.xattr_block(block, &bytes));
            }
            Kind::Orphans(number, generation) => {
                let block = BlockNr((start / self.block_size) as u64);
                put(bytes.len() - 4, checksums.orphan_block(InodeNr(number), generation, block, &bytes));
            }
            Kind::Mmp => put(mmp::CHECKSUM_OFFSET, checksums.mmp(&bytes)),
            Kind::JournalSuperblock => {
                if self.log.is_some_and(|log| log.has_checksums()) {
                    let mut summed = bytes;
                    summed[0xFC..0x100].fill(0);
                    canvas.set(start + 0xFC, &crc32c(!0, &summed).to_be_bytes());
                }
            }
            Kind::JournalBlock => self.refresh_log(canvas, start),
            Kind::FastCommits => {
                let mut sum = 0;
                let mut at = start;
                for record in Records::new(&bytes, self.inode_size) {
                    let Some(record) = record else { break };
                    if record.tag == TAG_TAIL {
                        let sum = crc32c(std::mem::take(&mut sum), &record.bytes[..8]);
                        canvas.set(at + 8, &sum.to_le_bytes());
                    } else {
                        sum = crc32c(sum, record.bytes);
                    }
                    at += record.bytes.len();
                }
            }
            Kind::Indirect | Kind::Quota | Kind::Bitmap => {}
        }
    }
}
