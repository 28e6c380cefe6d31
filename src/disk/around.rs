//! Options for the bytes of a disk that belong to no filesystem.

/// What happens to what is no filesystem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// Whether GUIDs of a GPT are derived from the content.
    pub canonical_guids: bool,
    /// Whether bytes that belong to no partition become zero.
    pub zero_gaps: bool,
}
