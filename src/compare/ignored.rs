//! Describes the differences that a comparison ignores.

use crate::explain::Cause;

/// A difference that is ignored, because canonicalization removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ignored {
    /// The cause, as in an [explanation](crate::explain).
    pub cause: Cause,
    /// A fixed identifier of the kind of difference, for programs.
    pub kind: &'static str,
    /// A description.
    pub what: &'static str,
    /// The values or counts.
    pub detail: Detail,
}

/// The values or counts of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The value on each side.
    Values([String; 2]),
    /// The number of items (such as inodes) that exist on both sides and differ.
    Differing(u64),
    /// The number of items (such as free blocks) on each side. At least one number is not 0.
    Counts([u64; 2]),
}
