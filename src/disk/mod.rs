//! Filesystems within an image: in the partitions of a disk, at an offset, or the image as a whole.
//!
//! A [`Disk`] says where filesystems are, and which of them were chosen. Each is canonicalized in its place;
//! every other byte is copied, or belongs to a gap that becomes zero.

mod chosen;
mod compare;
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
