//! The progress bar on a terminal.

use std::io::{IsTerminal as _, stderr};

use ext4_canon::{Observer, Stage};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Redraws per second.
const REDRAWS: u8 = 10;

/// A progress bar on standard error, or a hidden one. It is cleared when dropped.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Creates a bar, which is visible if `wanted` and if standard error is a terminal.
    pub fn new(wanted: bool) -> Self {
        if !wanted || !stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden() };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(REDRAWS));
        if let Ok(style) = ProgressStyle::with_template("{msg:<17} [{bar:40}] {percent:>3} %  {elapsed}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar }
    }
}

impl Observer for Progress {
    fn begin(&self, stage: Stage, total: u64) {
        self.bar.set_position(0);
        self.bar.set_length(total);
        self.bar.set_message(match stage {
            Stage::Read => "reading inodes",
            Stage::Survey => "reading content",
            Stage::Write => "writing",
            Stage::Verify => "verifying",
            Stage::Compare => "comparing",
            _ => "working",
        });
    }

    fn advance(&self, units: u64) {
        self.bar.inc(units);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_it_only_counts() {
        let progress = Progress::new(false);
        progress.begin(Stage::Read, 10);
        progress.advance(4);
        assert!(progress.bar.is_hidden());
        assert_eq!(progress.bar.position(), 4);
        progress.begin(Stage::Write, 5);
        assert_eq!((progress.bar.position(), progress.bar.length()), (0, Some(5)));
    }
}
