//! The command-line interface: arguments, I/O, progress, reports. docs/files.md describes each file.

pub mod args;
pub mod bmap;
pub mod commands;
pub mod console;
pub mod dates;
pub mod exit_code;
pub mod failure;
pub mod format;
pub mod generate;
pub mod guard;
pub mod help;
pub mod image;
pub mod json;
#[allow(unsafe_code)]
pub mod map;
pub mod mounted;
pub mod output;
pub mod paint;
pub mod progress;
pub mod refusal;
pub mod remedy;
pub mod runner;
pub mod sha256sum;
#[allow(unsafe_code)]
pub mod signals;
pub mod sink;
pub mod sparse;
mod sparse_sums;
pub mod stream;
pub mod target;
