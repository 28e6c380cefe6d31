//! Test support: checks for prerequisites, tools, source trees, ways to fill images, and independent judges.

pub mod canon;
pub mod contents;
pub mod dice;
pub mod disk;
pub mod emulated;
pub mod fast_commit;
pub mod faultfs;
pub mod fields;
pub mod fill;
pub mod fskeys;
pub mod image;
pub mod judge;
pub mod kernel;
pub mod listing;
pub mod ran;
pub mod tools;
pub mod tree;

pub use canon::{Canon, canon, canonical, refused, same_bytes};
pub use image::Lab;
pub use tools::{Need, gate, partly, run, tool};
