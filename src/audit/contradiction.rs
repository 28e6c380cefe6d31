//! The error of a plan that contradicts itself.

use crate::error::{Error, Result};

/// An error about a plan, unless it holds.
pub(super) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(wrong(what())) }
}

/// An error about a plan.
pub(super) fn wrong(what: impl std::fmt::Display) -> Error {
    Error::Internal(format!("the plan of the output contradicts itself: {what}"))
}
