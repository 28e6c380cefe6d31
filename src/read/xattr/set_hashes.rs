//! Hashes xattr sets, to find equal sets.

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::entries::{StoredValue, StoredXattr};
use crate::error::{Location, Result, Structure};
use crate::ondisk::xattr::full_name;
use crate::units::InodeNr;

/// The hashes of the xattr sets that are completely in the bodies of their inodes.
#[derive(Debug, Default)]
pub(crate) struct SetHashes {
    /// The seed of the hashes.
    pub seed: u64,
    /// The hashes. Each has the index of its inode.
    pub list: Vec<(u64, u32)>,
    buffer: Vec<u8>,
}

impl SetHashes {
    /// Adds the hash of an inode's xattrs, unless a value is in an EA inode. The inode must have no xattr
    /// block.
    pub(crate) fn add(&mut self, number: InodeNr, index: u32, xattrs: &[StoredXattr<'_>]) -> Result<()> {
        if !is_own(xattrs) {
            return Ok(());
        }
        let mut set: SmallVec<[&StoredXattr<'_>; 4]> = xattrs.iter().collect();
        set.sort_unstable_by(|a, b| a.key().cmp(&b.key()));
        let value = |xattr: &StoredXattr<'_>, buffer: &mut Vec<u8>| {
            if let StoredValue::Here(value) = xattr.value {
                buffer.extend(value);
            }
        };
        let hash = hash(self.seed, number, &set, &mut self.buffer, value)?;
        self.list.push((hash, index));
        Ok(())
    }

    /// Appends the hashes of inodes whose indices are shifted by `by`.
    pub(crate) fn append(&mut self, more: Self, by: u32) {
        self.list.extend(more.list.into_iter().map(|(hash, index)| (hash, index.saturating_add(by))));
    }
}

/// Returns whether there are xattrs, and none of their values is in an EA inode.
pub(crate) fn is_own(xattrs: &[StoredXattr<'_>]) -> bool {
    !xattrs.is_empty() && xattrs.iter().all(|xattr| xattr.inode().is_none())
}

/// Returns a hash of sorted xattrs. `value` writes the value of an xattr to the buffer.
pub(crate) fn hash(
    seed: u64,
    number: InodeNr,
    set: &[&StoredXattr<'_>],
    buffer: &mut Vec<u8>,
    value: impl Fn(&StoredXattr<'_>, &mut Vec<u8>),
) -> Result<u64> {
    if let Some([double, _]) = set.windows(2).find(|pair| pair[0].key() == pair[1].key()) {
        let name = full_name(double.index, double.name);
        return Err(Location::of(Structure::Xattr)
            .inode(number)
            .wrong(format!("have two values for {name}")));
    }
    buffer.clear();
    for xattr in set {
        buffer.push(xattr.index);
        buffer.extend(xattr.name.len().to_le_bytes());
        buffer.extend(xattr.name);
        value(xattr, buffer);
    }
    Ok(xxh3_64_with_seed(buffer, seed))
}
