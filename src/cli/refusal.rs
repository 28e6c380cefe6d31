//! Defines the error type for file formats that the command line reads itself, such as Android sparse images.

use thiserror::Error;

/// A file that can't be used because of its content.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The file violates its format.
    #[error("{0}")]
    Damaged(String),
    /// The file is valid, but uses an unsupported feature of its format.
    #[error("{0}")]
    Unsupported(String),
}
