//! The command on images that real writers make, judged by e2fsck, the kernel, debugfs and an
//! independent reader.

mod bigalloc;
mod boot_loader;
mod casefold;
mod cli;
mod confluence;
mod content;
mod cross_reader;
mod cuts;
mod damage;
mod digest;
mod ea_inode;
mod encryption;
mod errors;
mod fast_commits;
mod faults;
mod features;
mod geometry;
mod golden;
mod inline_data;
mod journal;
mod judges;
mod large;
mod matrix;
mod messages;
mod mmp;
mod quota;
mod recovery;
mod refusals;
mod shared_blocks;
mod stable;
mod structures;
mod support;
mod threads;
mod verity;
mod writers;
