//! Finds and processes the filesystems in an image: in the partitions of a disk, at an offset, or as the
//! whole image.
//!
//! A [`Disk`] contains the byte ranges of the selected filesystems. Each filesystem is canonicalized within
//! its byte range. All other bytes are copied, except that the options can zero the bytes outside of
//! partitions, and derive the GUIDs of a GPT or the signature of an MBR.

mod chosen;
mod compare;
mod cures;
mod detect;
mod filesystems;
mod gpt;
mod guids;
mod identities;
mod image;
mod mbr;
mod notices;
mod partition;
mod partition_table;
mod segments;
mod select;
mod shifted;
mod signature;
mod write;

pub use image::Disk;
pub use select::Selection;
