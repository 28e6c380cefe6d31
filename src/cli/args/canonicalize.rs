//! Defines and validates the options of the main command.

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::place::{AroundArgs, PlaceArgs, SizeArgs};
use super::policy::PolicyArgs;
use super::task::{
    CanonicalizeTask, Command, Generate, ImageFiles, Invocation, STANDARD, Settings, Task, Verbosity,
};
use super::values::threads;
use crate::cli::format::Format;

/// The arguments of `ext4-canon` without a subcommand, as typed.
#[derive(Args, Debug)]
pub struct CanonicalizeArgs {
    /// Image of a filesystem, or of a disk with partitions: a file, a block device, a pipe (- is standard
    /// input) or an Android sparse image; for the last two, a copy is stored in TMPDIR. The image is only
    /// read
    #[arg(value_name = "IN", required_unless_present = "generate")]
    input: Option<PathBuf>,

    /// Canonical image. An existing file is replaced. The image appears only when it is complete. - is
    /// standard output, which is written sequentially: discard the output if the exit code is not 0
    #[arg(value_name = "OUT", required_unless_present_any = ["check", "in_place", "generate"])]
    output: Option<PathBuf>,

    /// Write nothing; check whether IN is already canonical (with these options), and report where it is not
    #[arg(long, conflicts_with_all = ["output", "in_place", "verify"])]
    check: bool,

    /// Replace IN with its canonical form when that is complete
    #[arg(long, conflicts_with = "output")]
    in_place: bool,

    #[command(flatten)]
    policy: PolicyArgs,

    #[command(flatten)]
    place: PlaceArgs,

    #[command(flatten)]
    size: SizeArgs,

    #[command(flatten)]
    around: AroundArgs,

    /// Device of the external journal to recover IN from; it is only read
    #[arg(long, value_name = "DEVICE")]
    journal: Option<PathBuf>,

    /// Accept an image whose superblock or journal records errors; every structure that affects the tree is
    /// still checked
    #[arg(long)]
    ignore_error_state: bool,

    /// Re-read and verify the output before moving it into place
    #[arg(long)]
    verify: bool,

    /// Format of OUT
    #[arg(long, value_enum, default_value_t = Format::Raw)]
    format: Format,

    /// Also write a bmap file (version 2.0) for OUT, so that flashing tools skip the free blocks of
    /// filesystems
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    bmap: Option<PathBuf>,

    /// Skip fsync: faster, but a power cut may leave an incomplete file
    #[arg(long, conflicts_with_all = ["in_place", "check"])]
    no_sync: bool,

    /// Number of threads; the output does not depend on it [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<NonZeroUsize>,

    /// Print a JSON report to standard output, even if the command fails
    #[arg(long)]
    json: bool,

    /// Print only errors, and warnings about possible data loss or boot failure
    #[arg(short, long)]
    quiet: bool,

    /// Print all counts, including zeros
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,

    /// Print the man page, the same page in Markdown, or a completion script
    #[arg(long, value_enum, exclusive = true, hide = true)]
    generate: Option<Generate>,
}

impl CanonicalizeArgs {
    /// Validates the arguments. `variable` is the value of [`super::policy::EPOCH_VARIABLE`].
    ///
    /// # Errors
    ///
    /// A message that says which arguments are invalid.
    pub fn validate(self, variable: Option<&OsStr>) -> Result<Invocation> {
        if let Some(what) = self.generate {
            return Ok(Invocation::Generate(what));
        }
        let like = self.policy.settings.like.clone();
        let mut options = self.policy.options(variable, self.ignore_error_state)?;
        let (selection, size) = self.place.with_size(&self.size)?;
        options.size = size;
        self.around.set(&mut options);
        let input = ImageFiles { path: self.input.context("IN is missing")?, journal: self.journal };
        let task = CanonicalizeTask {
            input,
            // clap requires OUT unless `--check` or `--in-place` is given. With one of these, it rejects OUT.
            output: self.output,
            verify: self.verify,
            sync: !self.no_sync,
            format: self.format,
            bmap: self.bmap,
        };
        refuse(&task, self.check)?;
        let verbosity = match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        let settings = Settings {
            options,
            like,
            selection,
            threads: self.threads,
            json: self.json,
            verbosity,
            progress: verbosity > Verbosity::Quiet,
        };
        let command = if self.check { Command::Check(task.input) } else { Command::Canonicalize(task) };
        Ok(Invocation::Run(Box::new(Task { settings, command })))
    }
}

/// Rejects invalid combinations of options that clap's rules can't express.
fn refuse(task: &CanonicalizeTask, check: bool) -> Result<()> {
    let in_place = task.output.is_none() && !check;
    if in_place && task.input.path.as_os_str() == STANDARD {
        bail!("standard input can't be replaced: leave --in-place out, and give OUT");
    }
    if task.verify && task.streams() {
        bail!("a pipe can't be read again: leave --verify out, or write to a file");
    }
    if task.bmap.is_some() && task.streams() {
        bail!("a pipe can't be read again: leave --bmap out, or write to a file");
    }
    let is_file = task.output.is_some() && !task.streams();
    if task.format == Format::Sparse && (!is_file || task.bmap.is_some()) {
        bail!("an Android sparse image is written to a file: give OUT, and leave --bmap out");
    }
    Ok(())
}
