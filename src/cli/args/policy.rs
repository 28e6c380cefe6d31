//! Options that say what the output is to be.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use anyhow::{Context as _, Error, Result};
use clap::{Args, ValueEnum};
use ext4_canon::{HolePolicy, MtimePolicy, Options, UuidPolicy};

use super::values::{epoch, uuid_policy};
use crate::cli::remedy;

/// The only environment variable that has a say in the output.
pub const EPOCH_VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// What the output is to be, which also says which images are equal.
#[derive(Args, Debug)]
pub struct PolicyArgs {
    /// The UUID of the output: content (one derived from the content), keep (that of IN), or a UUID
    #[arg(long, value_name = "content|keep|UUID", value_parser = uuid_policy, default_value = "content")]
    uuid: UuidPolicy,

    /// The time of what has no time of its own, and the latest of any, in seconds since 1970
    /// [default: the environment variable SOURCE_DATE_EPOCH, if set and not empty]
    #[arg(long, value_name = "SECONDS", value_parser = epoch, allow_negative_numbers = true)]
    source_date_epoch: Option<i64>,

    /// What happens to the times of files [default: clamp if there is an epoch, else keep]
    #[arg(long, value_enum)]
    mtime: Option<Mtime>,

    /// A new label, of at most 16 bytes; an empty one removes it
    #[arg(long)]
    label: Option<OsString>,

    /// What happens to blocks of zeros in files
    #[arg(long, value_enum, default_value_t = Holes::Punch)]
    holes: Holes,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mtime {
    /// No time is later than the epoch, and the root directory's is the epoch
    Clamp,
    /// Times stay as they are
    Keep,
    /// Every time is the epoch
    Set,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Holes {
    /// They become holes
    Punch,
    /// They stay allocated where IN has them allocated
    Keep,
}

impl PolicyArgs {
    /// The library's options; `variable` is the value of [`EPOCH_VARIABLE`].
    ///
    /// # Errors
    ///
    /// In words, where no image could have them.
    pub fn options(self, variable: Option<&OsStr>, ignore_error_state: bool) -> Result<Options> {
        let epoch = match self.source_date_epoch {
            Some(epoch) => Some(epoch),
            None => epoch_variable(variable)?,
        };
        let mut options = Options::new().uuid(self.uuid).ignore_error_state(ignore_error_state);
        options.epoch = epoch;
        options.mtime = match self.mtime {
            None => MtimePolicy::Auto,
            Some(Mtime::Clamp) => MtimePolicy::Clamp,
            Some(Mtime::Keep) => MtimePolicy::Keep,
            Some(Mtime::Set) => MtimePolicy::Set,
        };
        options.label = self.label.map(OsString::into_vec);
        options.holes = match self.holes {
            Holes::Punch => HolePolicy::Punch,
            Holes::Keep => HolePolicy::Keep,
        };
        // What no image could hold is better said before one is read.
        options.validate().map_err(|error| Error::msg(error.in_words(remedy::option)))?;
        Ok(options)
    }
}

/// An empty variable counts as unset, as build tools have it.
fn epoch_variable(variable: Option<&OsStr>) -> Result<Option<i64>> {
    let Some(value) = variable.filter(|value| !value.is_empty()) else { return Ok(None) };
    let parsed = str::from_utf8(value.as_bytes()).ok().context("not a number").and_then(epoch);
    parsed.map(Some).with_context(|| {
        format!("invalid value '{}' of the environment variable {EPOCH_VARIABLE}", value.display())
    })
}
