//! Differences that do not matter.

/// A difference that does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ignored {
    /// A word for programs.
    pub kind: &'static str,
    /// What differs, in words.
    pub what: &'static str,
    /// How.
    pub detail: Detail,
}

/// How two images differ in something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// By a value on each side.
    Values([String; 2]),
    /// By so many things that each side has, but not alike.
    Differing(u64),
    /// By so many things on each side, of which at least one has some.
    Counts([u64; 2]),
}
