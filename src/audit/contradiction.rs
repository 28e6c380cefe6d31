//! Creates errors about a plan that contradicts itself.

use crate::error::{Error, Result};

/// Returns an error about the plan unless `holds` is true.
pub(super) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(wrong(what())) }
}

/// Creates an error about the plan.
pub(super) fn wrong(what: impl std::fmt::Display) -> Error {
    Error::Internal(format!("the plan of the output contradicts itself: {what}"))
}
