//! fs-verity: the Merkle tree and the descriptor after the end of a file.

use crate::error::{Location, Result, Structure};
use crate::map::{DecodedInode, FileMap};
use crate::ondisk::inode::InodeFlags;
use crate::ondisk::le32;
use crate::remedy::Remedy;
use crate::source::Source;
use crate::tree::Run;
use crate::units::BlockNr;

/// The Merkle tree starts at the first multiple of so many bytes behind the end of the file.
const ALIGNMENT: u64 = 65536;

/// e2fsck does not look at descriptors, and no kernel opens such a file.
const REMEDY: Remedy = Remedy::fsck("remove it with debugfs's rm, and run e2fsck -f");

/// Checks that the kernel finds a descriptor in the last blocks of a verity file, and drops the blocks
/// between the end of the file and its Merkle tree, which no kernel reads: they may have been allocated
/// past the end before the tree was built. What the tree holds proves itself when the file is read.
pub(super) fn settle(
    source: &Source<'_>,
    inode: &DecodedInode<'_>,
    map: &mut FileMap,
    dropped: impl FnMut(Run),
) -> Result<()> {
    let at = || Location::of(Structure::FileMap).inode(inode.number);
    let size = inode.fields.size();
    let block_size = source.geometry.block_size as u64;
    let blocks = size.div_ceil(block_size);
    let tree = size.next_multiple_of(ALIGNMENT).div_ceil(block_size);
    map.punch(blocks..tree, dropped);
    let last = map.runs.last().filter(|run| !run.unwritten() && run.end() > tree);
    let Some(last) = last else {
        return Err(at()
            .wrong(format!("has no verity descriptor behind the file, from block {tree} on"))
            .with_remedy(REMEDY));
    };
    if inode.fields.flags().contains(InodeFlags::ENCRYPT) {
        // The descriptor is ciphertext.
        return Ok(());
    }
    // The length of the descriptor stands in the last four bytes, and the descriptor in whole blocks before.
    let physical = BlockNr(last.blocks().end - 1);
    let bytes = source.checked_block(physical);
    let length = u64::from(le32(bytes, source.geometry.block_size - 4).unwrap_or(0));
    let end = last.end();
    let length_in_blocks = (length + 4).div_ceil(block_size);
    if length < 256 || length_in_blocks > end - tree {
        return Err(at()
            .value(
                "the length of the verity descriptor",
                length,
                format!("256 or more, within the {} blocks behind the file", end - tree),
            )
            .with_remedy(REMEDY));
    }
    Ok(())
}
