//! The command on images that real writers make, judged by e2fsck, the kernel, debugfs and an
//! independent reader.

mod features;
mod judges;
mod support;
mod writers;
