//! Defines the constants and tables of canonical form 1 that several stages use.
//!
//! `docs/canonical-form.md` specifies the form. `docs/architecture.md` lists the file that applies each of
//! its rules.

mod constants;
mod fields;

pub use constants::VERSION;
pub(crate) use constants::{
    CHECKSUM_SEED, CONTENT_DOMAIN, DISK_DOMAIN, EXTRA_ISIZE, HASH_SEED, LAST_GROUP_ROOM, PARTITION_DOMAIN,
    SEGMENT_BYTES, SIGNATURE_DOMAIN, SPECIAL_MODE, is_derived, lost_found_blocks, max_mount_count, uuid,
};
pub use fields::{INODE, Rule, SUPERBLOCK};
pub(crate) use fields::{is_kept, kept_fields};
