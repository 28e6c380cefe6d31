//! Shows a progress bar on a terminal.

use std::fmt;
use std::io::{IsTerminal as _, stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ext4_canon::{Observer, Stage};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::signals;

/// The number of redraws per second. More redraws would only cost time.
const REDRAWS: u8 = 10;

/// The time after which the bar appears. Shorter work needs no bar.
const SHORTEST: Duration = Duration::from_secs(1);

/// A progress bar on stderr. It appears after one second, and is cleared when dropped.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    started: Instant,
    /// Whether the bar is wanted but not visible yet.
    pending: AtomicBool,
}

impl Progress {
    /// Creates a bar. It becomes visible only if `wanted` is set and standard error is a terminal.
    pub fn new(wanted: bool) -> Self {
        let bar = ProgressBar::hidden();
        let pending = AtomicBool::new(wanted && stderr().is_terminal());
        Self { bar, started: Instant::now(), pending }
    }

    fn show_in_time(&self) {
        if self.pending.load(Ordering::Relaxed)
            && self.started.elapsed() >= SHORTEST
            && self.pending.swap(false, Ordering::Relaxed)
        {
            // Parse the template only now: most runs end before the bar appears.
            let template = "{msg:<17} [{bar:30}] {percent:>3} %  {rate}  ETA {eta}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                let style = style.with_key("rate", |state: &ProgressState, f: &mut dyn fmt::Write| {
                    // Writing to the terminal's buffer can't fail, and the rate is not essential.
                    let _ = write!(f, "{}/s", HumanCount(state.per_sec().round() as u64));
                });
                self.bar.set_style(style.progress_chars("=> "));
            }
            signals::line_on_terminal(true);
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS));
        }
    }
}

impl Observer for Progress {
    fn begin(&self, stage: Stage, total: u64) {
        // The rate and the ETA of a stage are independent of the previous stage.
        self.bar.reset();
        self.bar.set_length(total);
        self.bar.set_message(match stage {
            Stage::Read => "reading inodes",
            Stage::Survey => "reading blocks",
            Stage::Write => "writing blocks",
            Stage::Verify => "verifying inodes",
            Stage::Compare => "comparing bytes",
            _ => "working",
        });
    }

    fn advance(&self, units: u64) {
        self.show_in_time();
        self.bar.inc(units);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        signals::line_on_terminal(false);
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
        assert!(progress.bar.is_hidden() && !progress.pending.load(Ordering::Relaxed));
        assert_eq!(progress.bar.position(), 4);
        progress.begin(Stage::Write, 5);
        assert_eq!((progress.bar.position(), progress.bar.length()), (0, Some(5)));
    }
}
