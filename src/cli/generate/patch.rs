//! Corrects generated text. A correction fails if the text to replace is missing, since a new version of a
//! generator can write different text.

use anyhow::{Result, ensure};

use crate::cli::failure::Internal;

/// Replaces all occurrences of `old` with `new`.
///
/// # Errors
///
/// An internal error if there is no occurrence.
pub fn replaced(text: &str, old: &str, new: &str) -> Result<String> {
    ensure!(text.contains(old), Internal::new(format!("internal error: generated text lacks {old:?}")));
    Ok(text.replace(old, new))
}

/// Splits text at the first occurrence of `mark`, and removes `mark`.
///
/// # Errors
///
/// An internal error if there is no occurrence.
pub fn split<'t>(text: &'t str, mark: &str) -> Result<[&'t str; 2]> {
    let parts = text.split_once(mark).map(|(before, after)| [before, after]);
    parts.ok_or_else(|| Internal::new(format!("internal error: generated text lacks {mark:?}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit_code::ExitCode;
    use crate::cli::failure::code;

    #[test]
    fn a_pattern_that_does_not_match_is_a_bug() {
        assert_eq!(replaced("abcabc", "b", "").unwrap(), "acac");
        assert_eq!(split("abcabc", "bc").unwrap(), ["a", "abc"]);
        for error in [replaced("abc", "x", "y").unwrap_err(), split("abc", "x").unwrap_err()] {
            assert_eq!(code(&error), ExitCode::Internal, "{error}");
        }
    }
}
