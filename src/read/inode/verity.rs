//! Checks fs-verity: the Merkle tree and the descriptor past the end of a file.

use crate::error::{Location, Result, Structure};
use crate::map::{DecodedInode, FileMap};
use crate::ondisk::inode::InodeFlags;
use crate::ondisk::le32;
use crate::remedy::Remedy;
use crate::source::Source;
use crate::tree::Run;
use crate::units::BlockNr;

/// The alignment of the Merkle tree in bytes. The tree starts at the first multiple of this number past the
/// end of the file.
const ALIGNMENT: u64 = 65536;

/// The remedy for a wrong descriptor. e2fsck does not check descriptors, and no kernel opens such a file.
const REMEDY: Remedy = Remedy::fsck("remove it with debugfs's rm, and run e2fsck -f");

/// Checks that a verity file has a descriptor where the kernel looks for it, in its last blocks. Also removes
/// the blocks between the end of the file and its Merkle tree. These blocks may have been allocated before
/// the tree was built, and no kernel reads them. The tree is not checked, because the kernel verifies it when
/// it reads the file.
pub(super) fn settle(
    source: &Source<'_>,
    inode: &DecodedInode<'_>,
    map: &mut FileMap,
    dropped: impl FnMut(Run),
) -> Result<()> {
    let at = || Location::of(Structure::FileMap).inode(inode.number);
    let size = inode.fields.size();
    let block_size = source.geometry.block_bytes();
    let blocks = size.div_ceil(block_size);
    let tree = size.next_multiple_of(ALIGNMENT).div_ceil(block_size);
    map.punch(blocks..tree, dropped);
    let last = map.runs.last().filter(|run| !run.unwritten() && run.end() > tree);
    let Some(last) = last else {
        return Err(at()
            .wrong(format!(
                "has no verity descriptor past the end of the file (expected from block {tree} on)"
            ))
            .with_remedy(REMEDY));
    };
    if inode.fields.flags().contains(InodeFlags::ENCRYPT) {
        // The descriptor is encrypted, so it can't be checked.
        return Ok(());
    }
    // The last four bytes contain the length of the descriptor. The descriptor is in the blocks before them.
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
                format!("256 or more, within the {} blocks past the end of the file", end - tree),
            )
            .with_remedy(REMEDY));
    }
    Ok(())
}
