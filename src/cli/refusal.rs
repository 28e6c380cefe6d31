//! Why a file is refused that the command line itself reads: see [`super::sparse`].

use thiserror::Error;

/// A file whose content is refused, with the reason in words.
#[derive(Debug, Error)]
pub enum Refusal {
    /// It is not as its format demands.
    #[error("{0}")]
    Damaged(String),
    /// It is sound, but uses something that is not handled.
    #[error("{0}")]
    Unsupported(String),
}
