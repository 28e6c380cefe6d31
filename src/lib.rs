//! Converts any ext2, ext3 or ext4 image into the canonical image of the same file tree.
//!
//! [`Disk::open`] finds the filesystems in an [`Input`], which is the image of one filesystem, or of a disk
//! with partitions. The methods of [`Disk`] are the operations of this library:
//!
//! | method | result |
//! |---|---|
//! | [`Disk::canonicalize`] | the canonical image, written to a [`Sink`], and a [`Report`] |
//! | [`Disk::check`] | the places where an image differs from its canonical form |
//! | [`Disk::digest`], [`Disk::filesystem_digest`] | the SHA-256 of the canonical image, without writing it |
//! | [`Disk::tree_digest`] | a digest of the file tree alone |
//! | [`Disk::verify`] | whether a canonical image has the same content as the input |
//! | [`Disk::compare`] | whether two images have the same canonical form, and if not, why |
//! | [`Disk::explain`] | the changes that canonicalization would make, grouped by cause |
//! | [`Disk::list`], [`Disk::read_file`] | the paths of the tree, and the content of a file |
//!
//! ```
//! use ext4_canon::{Disk, Input, Options, Selection, Silent, VecSink};
//!
//! fn canonical(image: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
//!     let disk = Disk::open(&Input::new(image), &Selection::all())?;
//!     let sink = VecSink::new();
//!     let report = disk.canonicalize(&Options::new(), &sink, &Silent)?;
//!     Ok(sink.finish(report.image_bytes)?)
//! }
//!
//! let error = canonical(b"not an image").unwrap_err();
//! assert!(error.to_string().contains("is too short for an ext2, ext3 or ext4 filesystem"), "{error}");
//! ```
//!
//! The library has no global state, prints nothing, and reads neither the clock nor the environment. It runs
//! in the rayon thread pool of the caller, and the output does not depend on the number of threads. No input
//! makes it panic. If it is not certain how to read an image, it returns an [`Error`] that says what is
//! wrong, where, and what to do.
//!
//! The feature `cli`, which is on by default, builds the command-line tool. Users of the library turn it off:
//! `ext4-canon = { version = "0.1", default-features = false }`.

#![forbid(unsafe_code)]
#![deny(missing_docs, unreachable_pub)]

mod attribute_text;
mod audit;
mod boot_files;
mod bytes;
mod changes;
mod check;
pub mod compare;
mod content;
mod disk;
mod error;
pub mod explain;
mod form;
mod geometry;
mod hard_links;
mod identities;
mod leftovers;
mod listing;
mod map;
mod mentions;
mod observe;
mod occupancy;
mod ondisk;
mod pipeline;
mod places;
mod plan;
mod policy;
mod ranges;
mod read;
mod recover;
mod remedy;
mod report;
mod report_counts;
mod resized_geometry;
mod rewrite;
mod settings;
mod sink;
mod sinks;
mod source;
mod survey;
mod target;
pub mod text;
mod tree;
mod tree_digest;
mod units;
mod verify;
mod view;
mod write;

pub use changes::{Changes, FeatureChanges, Inodes, Profile, Reserved};
pub use content::FileContent;
pub use disk::{Disk, Selection};
pub use error::{Error, Location, Problem, Result, Structure};
pub use form::VERSION as FORM_VERSION;
pub use listing::{ListedPath, ListedXattr, MTREE_HEAD};
pub use observe::{Observer, Silent, Stage};
pub use policy::{
    HardLinkPolicy, HolePolicy, MtimePolicy, Options, SettingsPolicy, SizePolicy, StaleUuids, UuidPolicy,
};
pub use remedy::Remedy;
pub use report::{Difference, Digest, FilesystemReport, Report, Rewritten};
pub use settings::Settings;
pub use sink::{Order, Sink};
pub use sinks::{FileSink, VecSink};
pub use source::Input;

/// The stages, for fuzz targets, benchmarks and tests. They are not part of the public interface and may
/// change in any version.
#[doc(hidden)]
pub mod internals {
    pub use crate::bytes::is_zero;
    pub use crate::plan::plan;
    pub use crate::read::read;
    pub use crate::source::{Overlay, Source};
    pub use crate::survey::{Digester, Segments, StoredView, survey};
    pub use crate::target::Target;
    pub use crate::units::{BlockNr, GroupNr, InodeNr};
    pub use crate::view::View;

    /// The rules of the canonical form for the fields of the superblock and the inode.
    pub mod form {
        pub use crate::form::{INODE, Rule, SUPERBLOCK};
    }

    /// On-disk structures.
    pub mod ondisk {
        pub use crate::ondisk::*;
    }
}
