//! Filesystems in an image: in the partitions of a disk, at an offset, or as the whole image.
//!
//! A [`Disk`] knows the places of filesystems, and which of them are selected. Each is canonicalized in its
//! place. All other bytes are copied, or zeroed if they are in gaps.

mod chosen;
mod compare;
mod cures;
mod detect;
mod filesystems;
mod gpt;
mod guids;
mod image;
mod mbr;
mod neighbours;
mod notices;
mod partition;
mod partition_table;
mod segments;
mod select;
mod shifted;
mod write;

pub use image::Disk;
pub use select::Selection;
