//! The command on images that real writers make, judged by e2fsck, the kernel, debugfs and an
//! independent reader.

mod support;
mod writers;
