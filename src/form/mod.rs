//! Canonical form 1, as far as constants and tables say it: what the rules in other stages have in common.
//!
//! `docs/canonical-form.md` specifies the form; `docs/architecture.md` lists where each of its rules is applied.

mod constants;
mod fields;

pub use constants::VERSION;
pub(crate) use constants::{
    CHECKSUM_SEED, CONTENT_DOMAIN, DISK_DOMAIN, EXTRA_ISIZE, HASH_SEED, LAST_GROUP_ROOM, PARTITION_DOMAIN,
    SEGMENT_BYTES, SPECIAL_MODE, lost_found_blocks, max_mount_count, uuid,
};
pub(crate) use fields::kept_fields;
pub use fields::{INODE, Rule, SUPERBLOCK};
