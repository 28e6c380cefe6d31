//! Renders inodes and blocks outside the tree: resize inode, MMP block, journal and orphan file.

use zerocopy::big_endian::U32 as BigU32;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromZeros, IntoBytes};

use super::inode::set_size;
use super::renderer::Renderer;
use crate::ondisk::inode::Inode;
use crate::ondisk::jbd2::{self, JournalSuperblock};
use crate::ondisk::mmp::{self, MmpStruct};
use crate::ondisk::orphan_file::{self, OrphanBlockTail};
use crate::units::{GroupNr, OutputBlock, fits};

impl Renderer<'_, '_> {
    /// Returns the groups with backups, which contain copies of the reserved descriptor blocks.
    fn backup_groups(&self) -> impl Iterator<Item = GroupNr> + use<'_> {
        (1..self.plan.geometry.groups).map(GroupNr).filter(|group| self.plan.geometry.has_superblock(*group))
    }

    /// Returns the first reserved descriptor block of group 0, and the number of reserved descriptor blocks.
    fn reserved(&self) -> (u64, u64) {
        self.plan.geometry.group_head(GroupNr(0)).reserved.unwrap_or((0, 0))
    }

    /// Sets size, block count and block map of the resize inode. Its double indirect block points to the
    /// reserved descriptor blocks of group 0, and these point to the copies in the groups with backups.
    pub(super) fn resize_inode(&self, inode: &mut Inode) {
        let geometry = &self.plan.geometry;
        set_size(inode, geometry.resize_inode_size());
        let (_, reserved) = self.reserved();
        // As in mke2fs, count a cluster for each block, although blocks of static metadata share clusters.
        let blocks = 1 + reserved * (1 + self.backup_groups().count() as u64);
        self.set_blocks(inode, blocks * geometry.blocks_per_cluster);
        if let Some(block) = self.plan.layout.resize_block {
            let slot = 13 * 4;
            inode.i_block[slot..slot + 4].copy_from_slice(&low(block.0).to_le_bytes());
        }
    }

    /// Renders the double indirect block of the resize inode.
    pub(super) fn resize_map(&self, out: &mut [u8]) {
        let pointers = self.plan.geometry.pointers_per_block();
        let first = self.plan.geometry.descriptor_blocks();
        let (start, count) = self.reserved();
        for index in 0..count {
            put(out, (first + index) % pointers, start + index);
        }
    }

    /// Renders a reserved descriptor block of group 0, by its index. The distance of each pointer from the
    /// block is a whole number of groups, as e2fsck and the kernel require. This also holds for clusters with
    /// 1 KiB blocks, where the primary superblock is one block later in its group than the backups.
    pub(super) fn resize_indirect(&self, index: u64, out: &mut [u8]) {
        let (start, _) = self.reserved();
        for (slot, group) in (0..).zip(self.backup_groups()) {
            put(out, slot, start + index + u64::from(group.0) * self.plan.geometry.blocks_per_group);
        }
    }

    /// Renders the MMP block of a filesystem that is not in use.
    pub(super) fn mmp_block(&self, out: &mut [u8]) {
        let interval = self.plan.superblock.s_mmp_update_interval.get().max(mmp::MIN_CHECK_INTERVAL);
        let mut block = MmpStruct::new_zeroed();
        block.mmp_magic = U32::new(mmp::MAGIC);
        block.mmp_seq = U32::new(mmp::SEQ_CLEAN);
        block.mmp_check_interval = U16::new(interval);
        block.mmp_checksum = U32::new(self.checksums.mmp(block.as_bytes()).unwrap_or(0));
        out[..size_of::<MmpStruct>()].copy_from_slice(block.as_bytes());
    }

    /// Renders the superblock of an empty journal.
    pub(super) fn journal_superblock(&self, out: &mut [u8]) {
        let file = self.plan.layout.journal.expect("the audit checked that each piece has its file");
        let blocks: u32 = self.plan.layout.extents(file).iter().map(|extent| extent.count).sum();
        let mut journal: JournalSuperblock = zerocopy::transmute!([0_u8; size_of::<JournalSuperblock>()]);
        journal.h_magic = BigU32::new(jbd2::MAGIC);
        journal.h_blocktype = BigU32::new(jbd2::SUPERBLOCK_V2);
        journal.s_blocksize = BigU32::new(fits(self.plan.geometry.block_size, "a block has at most 64 KiB"));
        journal.s_maxlen = BigU32::new(blocks);
        journal.s_first = BigU32::new(1);
        journal.s_sequence = BigU32::new(1);
        journal.s_nr_users = BigU32::new(1);
        journal.s_num_fc_blks = BigU32::new(self.plan.fast_commit_blocks);
        journal.s_uuid = self.superblock.s_uuid;
        out[..size_of::<JournalSuperblock>()].copy_from_slice(journal.as_bytes());
    }

    /// Renders blocks of an empty orphan file. `start` is the first of these blocks in the output.
    pub(super) fn orphan_file(&self, start: OutputBlock, out: &mut [u8]) {
        let number = self.plan.numbering.orphan_file();
        let number = number.expect("the audit checked that each piece has its file");
        for (block, out) in (start.0..).zip(out.chunks_exact_mut(self.plan.geometry.block_size)) {
            let checksum = self.checksums.orphan_block(number, 0, OutputBlock(block), out).unwrap_or(0);
            let tail =
                OrphanBlockTail { ob_magic: U32::new(orphan_file::MAGIC), ob_checksum: U32::new(checksum) };
            let end = out.len() - size_of::<OrphanBlockTail>();
            out[end..].copy_from_slice(tail.as_bytes());
        }
    }
}

/// Converts a block number to 32 bits.
fn low(block: u64) -> u32 {
    fits(block, "the resize inode has a block map, and mke2fs reserves no descriptors beyond its reach")
}

fn put(out: &mut [u8], slot: u64, block: u64) {
    let start: usize = fits(slot * 4, "it is the offset of a pointer in a block");
    out[start..start + 4].copy_from_slice(&low(block).to_le_bytes());
}
