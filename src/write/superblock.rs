//! Renders superblocks and descriptor blocks.

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

use super::renderer::Renderer;
use crate::ondisk::checksum::Checksums;
use crate::ondisk::inode::I_BLOCK_SIZE;
use crate::ondisk::superblock::{OFFSET, SIZE, Superblock};
use crate::plan::Plan;
use crate::units::{BlockNr, GroupNr, fits};

/// Returns the superblock of group 0, with the UUID, the backup of the journal inode and the checksum.
pub(super) fn finish(plan: &Plan, uuid: [u8; 16]) -> Superblock {
    let mut superblock = plan.superblock;
    superblock.s_uuid = uuid;
    if let Some(journal) = plan.layout.journal {
        let i_block = super::map::root(plan, journal);
        let words = i_block.as_chunks::<4>().0;
        for (slot, word) in superblock.s_jnl_blocks.iter_mut().zip(words) {
            *slot = U32::from_bytes(*word);
        }
        let size = plan.layout.extents(journal).iter().map(|extent| u64::from(extent.count)).sum::<u64>()
            * plan.geometry.block_bytes();
        let [a, b, c, d, e, f, g, h] = size.to_le_bytes();
        superblock.s_jnl_blocks[I_BLOCK_SIZE / 4] = U32::from_bytes([e, f, g, h]);
        superblock.s_jnl_blocks[I_BLOCK_SIZE / 4 + 1] = U32::from_bytes([a, b, c, d]);
    }
    sum(superblock)
}

fn sum(mut superblock: Superblock) -> Superblock {
    superblock.s_checksum = U32::new(0);
    let bytes: [u8; SIZE] = zerocopy::transmute!(superblock);
    if let Some(checksum) = Checksums::of(&superblock).superblock(&bytes) {
        superblock.s_checksum = U32::new(checksum);
    }
    superblock
}

impl Renderer<'_, '_> {
    /// Copies the boot sector from the input, since it does not belong to the filesystem.
    pub(super) fn boot_sector(&self, out: &mut [u8]) {
        out.copy_from_slice(&self.view.source.checked_block(BlockNr(0))[..out.len()]);
    }

    /// Renders the block of a superblock, including the boot sector if it is in the same block.
    pub(super) fn superblock_block(&self, group: GroupNr, out: &mut [u8]) {
        if group.0 == 0 {
            let offset = if out.len() > SIZE { OFFSET } else { 0 };
            self.boot_sector(&mut out[..offset]);
            out[offset..offset + SIZE].copy_from_slice(self.superblock.as_bytes());
            return;
        }
        let mut backup = self.superblock;
        // The field has 16 bits. Like mke2fs, store 65535 for larger numbers.
        backup.s_block_group_nr = U16::new(u16::try_from(group.0).unwrap_or(u16::MAX));
        // As in mke2fs, backups do not have the VALID flag.
        backup.s_state = U16::new(0);
        out[..SIZE].copy_from_slice(sum(backup).as_bytes());
    }

    /// Renders descriptor blocks, starting with the block `index`.
    pub(super) fn descriptor_blocks(&self, index: u64, out: &mut [u8]) {
        let per_block =
            self.plan.geometry.descriptors_per_block() * self.plan.geometry.descriptor_size as u64;
        let start: usize = fits(index * per_block, "all descriptors are in memory");
        let all = &self.descriptors[start..];
        let length = all.len().min(out.len());
        out[..length].copy_from_slice(&all[..length]);
    }
}
