//! Differences that are ignored.

use crate::explain::Cause;

/// A difference that is ignored, because canonicalization removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ignored {
    /// The cause, as in an [explanation](crate::explain).
    pub cause: Cause,
    /// An identifier for programs.
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
    /// The number of things that exist on both sides and differ.
    Differing(u64),
    /// The number of things on each side. At least one is not 0.
    Counts([u64; 2]),
}
