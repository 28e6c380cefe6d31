//! Updates the checksums of damaged parts, so that later checks are reached.

use std::mem::offset_of;

use ext4_canon::internals::ondisk::checksum::{Checksums, crc32c};
use ext4_canon::internals::ondisk::dir_entry::{self, DirEntryTail};
use ext4_canon::internals::ondisk::extent::{self, ExtentHeader};
use ext4_canon::internals::ondisk::fast_commit::{FastCommitTag, FastCommitTail, Records, TAG_TAIL};
use ext4_canon::internals::ondisk::group_descriptor::GroupDescriptor;
use ext4_canon::internals::ondisk::htree::{self, DxCountLimit, DxTail};
use ext4_canon::internals::ondisk::inode::{self, Inode};
use ext4_canon::internals::ondisk::jbd2::{self, CommitHeader, JournalSuperblock, LogFormat};
use ext4_canon::internals::ondisk::superblock::Superblock;
use ext4_canon::internals::ondisk::xattr::XattrHeader;
use ext4_canon::internals::ondisk::{le16, le32, mmp, view};
use ext4_canon::internals::{BlockNr, GroupNr, InodeNr};

use super::anatomy::{Anatomy, Canvas, Kind, Part};

impl Anatomy {
    /// Updates the checksums of a part, and of the copy in the journal that contains it.
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
            const SUM: usize = offset_of!(CommitHeader, h_chksum);
            let parts = [&block[..SUM], &[0; 4], &block[SUM + 4..]];
            let sum = parts.iter().fold(format.seed, |sum, part| crc32c(sum, part));
            canvas.set(start + SUM, &sum.to_be_bytes());
        } else {
            let live = block.len() - 4;
            let sum = crc32c(crc32c(format.seed, &block[..live]), &[0; 4]);
            canvas.set(start + live, &sum.to_be_bytes());
        }
    }

    fn refresh_alone(&self, canvas: &mut Canvas, part: &Part) {
        let (start, checksums) = (part.start, &self.checksums);
        let bytes = canvas.get(start, part.length).to_vec();
        let block = BlockNr((start / self.block_size) as u64);
        let sum = match part.kind {
            Kind::Superblock => {
                // The damage may have changed the checksum seed.
                let Some(sb) = view::<Superblock>(&bytes) else { return };
                let sum = Checksums::of(sb).superblock(bytes.first_chunk().expect("1024 bytes"));
                (offset_of!(Superblock, s_checksum), sum)
            }
            Kind::Descriptor(group) => {
                if let Some(sum) = checksums.group_descriptor(GroupNr(group), &bytes) {
                    canvas.set(start + offset_of!(GroupDescriptor, bg_checksum), &sum.to_le_bytes());
                }
                return;
            }
            Kind::Inode(number) => return self.refresh_inode(canvas, start, number, &bytes),
            Kind::Extents(number, generation) => {
                let max = le16(&bytes, offset_of!(ExtentHeader, eh_max)).unwrap_or(0);
                let sum = checksums.extent_block(InodeNr(number), generation, &bytes, max);
                (extent::ENTRY_SIZE * (usize::from(max) + 1), sum)
            }
            Kind::Directory(number, generation, first) => {
                self.directory_checksum(InodeNr(number), generation, first, &bytes)
            }
            Kind::Xattrs => (offset_of!(XattrHeader, h_checksum), checksums.xattr_block(block, &bytes)),
            Kind::Orphans(number, generation) => {
                let sum = checksums.orphan_block(InodeNr(number), generation, block, &bytes);
                (bytes.len() - size_of::<u32>(), sum)
            }
            Kind::Mmp => (mmp::CHECKSUM_OFFSET, checksums.mmp(&bytes)),
            Kind::JournalSuperblock => return self.refresh_journal_superblock(canvas, start, bytes),
            Kind::JournalBlock => return self.refresh_log(canvas, start),
            Kind::FastCommits => return self.refresh_fast_commits(canvas, start, &bytes),
            Kind::Indirect | Kind::Quota | Kind::Bitmap => return,
        };
        if let (at, Some(sum)) = sum {
            canvas.set(start + at, &sum.to_le_bytes());
        }
    }

    fn refresh_inode(&self, canvas: &mut Canvas, start: usize, number: u32, bytes: &[u8]) {
        let generation = le32(bytes, offset_of!(Inode, i_generation)).unwrap_or(0);
        let high = bytes.len() > inode::BASE_SIZE
            && le16(bytes, inode::BASE_SIZE).unwrap_or(0) >= inode::EXTRA_WITH_CHECKSUM;
        if let Some(sum) = self.checksums.inode(InodeNr(number), generation, bytes, high) {
            let [a, b, c, d] = sum.to_le_bytes();
            canvas.set(start + inode::CHECKSUM_LO, &[a, b]);
            if high {
                canvas.set(start + inode::CHECKSUM_HI, &[c, d]);
            }
        }
    }

    /// Returns the offset and the correct value of the checksum in a directory block.
    fn directory_checksum(
        &self,
        number: InodeNr,
        generation: u32,
        first: bool,
        bytes: &[u8],
    ) -> (usize, Option<u32>) {
        let end = bytes.len() - dir_entry::TAIL_SIZE;
        let is_tail = |tail: &DirEntryTail| {
            tail.det_reserved_zero1.get() == 0 && tail.det_reserved_ft == dir_entry::TAIL_TYPE
        };
        if view::<DirEntryTail>(&bytes[end..]).is_some_and(is_tail) {
            let sum = self.checksums.directory_block(number, generation, bytes);
            return (end + offset_of!(DirEntryTail, det_checksum), sum);
        }
        let head = if first { htree::ROOT_HEAD } else { htree::NODE_HEAD };
        let counts = bytes.get(head..).and_then(view::<DxCountLimit>);
        let [limit, count] =
            counts.map_or([0; 2], |counts| [counts.limit, counts.count].map(|number| number.get().into()));
        let (end, tail) = (head + count * htree::ENTRY_SIZE, head + limit * htree::ENTRY_SIZE);
        let sum = self.checksums.htree_node(number, generation, bytes, end, tail);
        (tail + offset_of!(DxTail, dt_checksum), sum)
    }

    fn refresh_journal_superblock(&self, canvas: &mut Canvas, start: usize, mut bytes: Vec<u8>) {
        const SUM: usize = offset_of!(JournalSuperblock, s_checksum);
        if self.log.is_some_and(|log| log.has_checksums()) {
            bytes[SUM..SUM + 4].fill(0);
            canvas.set(start + SUM, &crc32c(!0, &bytes).to_be_bytes());
        }
    }

    fn refresh_fast_commits(&self, canvas: &mut Canvas, start: usize, bytes: &[u8]) {
        const SUM: usize = size_of::<FastCommitTag>() + offset_of!(FastCommitTail, fc_crc);
        let (mut sum, mut at) = (0, start);
        for record in Records::new(bytes, self.inode_size) {
            let Some(record) = record else { break };
            if record.tag == TAG_TAIL {
                let sum = crc32c(std::mem::take(&mut sum), &record.bytes[..SUM]);
                canvas.set(at + SUM, &sum.to_le_bytes());
            } else {
                sum = crc32c(sum, record.bytes);
            }
            at += record.bytes.len();
        }
    }
}
