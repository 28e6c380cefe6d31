//! Defines the options that change the canonical form.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use anyhow::{Context as _, Error, Result};
use clap::{Args, ValueEnum};
use ext4_canon::{HardLinkPolicy, HolePolicy, MtimePolicy, Options, StaleUuids, UuidPolicy};

use super::settings::SettingsArgs;
use super::values::{epoch, uuid_policy};
use crate::cli::remedy;

/// The only environment variable that affects the output.
pub const EPOCH_VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// The options that change the canonical form. They also decide whether two images are equal.
#[derive(Args, Debug)]
pub struct PolicyArgs {
    /// UUID of the output: content (derived from the content), keep (the UUID of IN), or a UUID
    #[arg(long, value_name = "content|keep|UUID", value_parser = uuid_policy, default_value = "content")]
    uuid: UuidPolicy,

    /// Replace the UUIDs, PARTUUIDs and disk signatures that change in the boot files that name them: fstab,
    /// crypttab, configuration of boot loaders, kernel command lines, systemd units
    #[arg(long, conflicts_with = "allow_stale_uuids")]
    rewrite_uuids: bool,

    /// Only warn if a boot file names a UUID, PARTUUID or disk signature that the output no longer has; the
    /// image may not boot
    #[arg(long)]
    allow_stale_uuids: bool,

    #[command(flatten)]
    tree: TreeArgs,

    /// The settings of the output.
    #[command(flatten)]
    pub settings: SettingsArgs,

    /// New volume label of at most 16 bytes; an empty value removes the label
    #[arg(long)]
    label: Option<OsString>,

    /// Treatment of zero blocks in files
    #[arg(long, value_enum, default_value_t = Holes::Punch)]
    holes: Holes,
}

/// The options that change the tree.
#[derive(Args, Debug)]
pub struct TreeArgs {
    /// Clamp mtimes to this Unix time; also used where the input has none [default: the environment variable
    /// SOURCE_DATE_EPOCH, if set and not empty]
    #[arg(long, value_name = "SECONDS", value_parser = epoch, allow_negative_numbers = true)]
    source_date_epoch: Option<i64>,

    /// Treatment of mtimes [default: clamp if there is an epoch, else keep]
    #[arg(long, value_enum)]
    mtime: Option<Mtime>,

    /// Treatment of hard links and of equal files
    #[arg(long, value_enum, default_value_t = HardLinks::Keep)]
    hard_links: HardLinks,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mtime {
    /// Set mtimes after the epoch, and the mtime of the root directory, to the epoch
    Clamp,
    /// Keep all mtimes
    Keep,
    /// Set all mtimes to the epoch
    Set,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum HardLinks {
    /// Keep the hard links of IN
    Keep,
    /// Give each name of a file a separate inode
    Split,
    /// Turn regular files with equal content and equal attributes into hard links of one inode
    Merge,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Holes {
    /// Turn zero blocks into holes
    Punch,
    /// Keep zero blocks allocated if they are allocated in IN
    Keep,
}

impl PolicyArgs {
    /// Converts the arguments to the library's options. `variable` is the value of [`EPOCH_VARIABLE`].
    ///
    /// # Errors
    ///
    /// A message if an option or the environment variable is invalid for every image.
    pub fn options(self, variable: Option<&OsStr>, ignore_error_state: bool) -> Result<Options> {
        let mut options = Options::new().uuid(self.uuid).ignore_error_state(ignore_error_state);
        self.tree.set(&mut options, variable)?;
        self.settings.set(&mut options);
        options.stale_uuids = match (self.rewrite_uuids, self.allow_stale_uuids) {
            (true, _) => StaleUuids::Rewrite,
            (_, true) => StaleUuids::Allow,
            _ => StaleUuids::Refuse,
        };
        options.label = self.label.map(OsString::into_vec);
        options.holes = match self.holes {
            Holes::Punch => HolePolicy::Punch,
            Holes::Keep => HolePolicy::Keep,
        };
        validated(options)
    }
}

impl TreeArgs {
    /// Converts the arguments to the library's options. `variable` is the value of [`EPOCH_VARIABLE`].
    ///
    /// # Errors
    ///
    /// A message if an option or the environment variable is invalid for every image.
    pub fn options(&self, variable: Option<&OsStr>, ignore_error_state: bool) -> Result<Options> {
        let mut options = Options::new().ignore_error_state(ignore_error_state);
        self.set(&mut options, variable)?;
        validated(options)
    }

    fn set(&self, options: &mut Options, variable: Option<&OsStr>) -> Result<()> {
        options.epoch = match self.source_date_epoch {
            Some(epoch) => Some(epoch),
            None => epoch_variable(variable)?,
        };
        options.mtime = match self.mtime {
            None => MtimePolicy::Auto,
            Some(Mtime::Clamp) => MtimePolicy::Clamp,
            Some(Mtime::Keep) => MtimePolicy::Keep,
            Some(Mtime::Set) => MtimePolicy::Set,
        };
        options.hard_links = match self.hard_links {
            HardLinks::Keep => HardLinkPolicy::Keep,
            HardLinks::Split => HardLinkPolicy::Split,
            HardLinks::Merge => HardLinkPolicy::Merge,
        };
        Ok(())
    }
}

/// Checks the options before an image is read.
fn validated(options: Options) -> Result<Options> {
    options.validate().map_err(|error| Error::msg(error.in_words(remedy::option)))?;
    Ok(options)
}

/// Parses the environment variable. Treats an empty value as unset, like other build tools.
fn epoch_variable(variable: Option<&OsStr>) -> Result<Option<i64>> {
    let Some(value) = variable.filter(|value| !value.is_empty()) else { return Ok(None) };
    let parsed = str::from_utf8(value.as_bytes()).ok().context("not a number").and_then(epoch);
    parsed.map(Some).with_context(|| {
        format!("invalid value '{}' of the environment variable {EPOCH_VARIABLE}", value.display())
    })
}
