//! Shows a progress bar on a terminal.

use std::fmt;
use std::io::{IsTerminal as _, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ext4_canon::{Observer, Stage};
use indicatif::{BinaryBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::signals;

/// The number of redraws per second. More redraws would only cost time.
const REDRAWS: u8 = 10;

/// The time after which the bar appears. Shorter work needs no bar.
const SHORTEST: Duration = Duration::from_secs(1);

/// A progress bar on stderr. It appears after one second, and is cleared when dropped.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    units: Arc<Units>,
    /// The thread that shows the bar. It ends when it is unparked after `is_over` is set.
    timer: Option<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
}

/// What the bar counts.
#[derive(Debug, Default)]
struct Units {
    are_bytes: AtomicBool,
    /// The bytes of which a digest was computed.
    hashed: AtomicU64,
    /// Whether only digests are left to compute, so that the bar shows them.
    only_hashing: AtomicBool,
}

impl Progress {
    /// Creates a bar. It becomes visible only if `wanted` is set and standard error is a terminal.
    pub fn new(wanted: bool) -> Self {
        let bar = ProgressBar::hidden();
        let (units, is_over) = (Arc::<Units>::default(), Arc::<AtomicBool>::default());
        let timer = (wanted && stderr().is_terminal()).then(|| {
            let (bar, units, is_over) = (bar.clone(), Arc::clone(&units), Arc::clone(&is_over));
            // A thread shows the bar, since the first unit of a stage can take long.
            thread::spawn(move || show_in_time(&bar, units, &is_over))
        });
        Self { bar, units, timer, is_over }
    }

    fn start(&self, name: &'static str, total: u64, are_bytes: bool) {
        self.units.are_bytes.store(are_bytes, Ordering::Relaxed);
        // The rate and the ETA of a stage are independent of the previous stage.
        self.bar.reset();
        self.bar.set_length(total);
        self.bar.set_message(name);
    }

    /// Reports that only the digests of files, of `total` bytes, are left to compute.
    pub fn only_hashing(&self, total: u64) {
        self.start("hashing files", total, true);
        self.units.only_hashing.store(true, Ordering::Relaxed);
        self.hashed(0);
    }

    /// Reports that the digest of `bytes` more bytes was computed, possibly while a stage runs.
    pub fn hashed(&self, bytes: u64) {
        let before = self.units.hashed.fetch_add(bytes, Ordering::Relaxed);
        if self.units.only_hashing.load(Ordering::Relaxed) {
            self.bar.set_position(before + bytes);
        }
    }
}

/// Shows the bar after a while, unless the work is over by then.
fn show_in_time(bar: &ProgressBar, units: Arc<Units>, is_over: &AtomicBool) {
    let started = Instant::now();
    while let Some(left) = SHORTEST.checked_sub(started.elapsed()) {
        if is_over.load(Ordering::Acquire) {
            return;
        }
        thread::park_timeout(left);
    }
    // At most 80 columns.
    let template = "{msg:<16} [{bar:24}] {percent:>3} %  {rate}  ETA {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        let style = style.with_key("rate", move |state: &ProgressState, f: &mut dyn fmt::Write| {
            let rate = state.per_sec().round() as u64;
            // Writing to the terminal's buffer can't fail, and the rate is not essential.
            let _ = if units.are_bytes.load(Ordering::Relaxed) {
                write!(f, "{}/s", BinaryBytes(rate))
            } else {
                write!(f, "{}/s", HumanCount(rate))
            };
        });
        bar.set_style(style.progress_chars("=> "));
    }
    signals::line_on_terminal(true);
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS));
    bar.enable_steady_tick(SHORTEST / u32::from(REDRAWS));
}

impl Observer for Progress {
    fn begin(&self, stage: Stage, total: u64) {
        let (name, are_bytes) = match stage {
            Stage::Read => ("reading inodes", false),
            Stage::Survey => ("reading blocks", false),
            Stage::Write => ("writing blocks", false),
            Stage::Verify => ("verifying inodes", false),
            Stage::Compare => ("comparing bytes", true),
            _ => ("working", false),
        };
        self.start(name, total, are_bytes);
    }

    fn advance(&self, units: u64) {
        self.bar.inc(units);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(timer) = self.timer.take() {
            timer.thread().unpark();
            // The thread can't panic, and has no result.
            let _ = timer.join();
        }
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
        assert!(progress.bar.is_hidden() && progress.timer.is_none());
        assert_eq!(progress.bar.position(), 4);
        progress.begin(Stage::Write, 5);
        assert_eq!((progress.bar.position(), progress.bar.length()), (0, Some(5)));
        progress.hashed(7);
        assert_eq!(progress.bar.position(), 0);
        progress.only_hashing(20);
        progress.hashed(2);
        assert_eq!((progress.bar.position(), progress.bar.length()), (9, Some(20)));
    }
}
