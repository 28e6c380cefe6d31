//! Turns panics into error messages, so that a bug is reported as a bug.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Mutex;

use anyhow::Result;

use super::console;
use super::exit_code::ExitCode;
use super::failure::{self, About as _, Internal, Message};

/// The source location of the first panic. Several threads can panic for the same reason.
static PLACE: Mutex<Option<String>> = Mutex::new(None);

/// Installs a panic hook that prints nothing and records the location for [`caught`].
pub fn silence_panics() {
    panic::set_hook(Box::new(|info| {
        if let (Ok(mut place), Some(location)) = (PLACE.lock(), info.location()) {
            place.get_or_insert_with(|| location.to_string());
        }
    }));
}

/// Calls `f`, and turns a panic in it, or in a thread that it waits for, into an error about `path`.
pub fn caught<T>(path: &Path, f: impl FnOnce() -> Result<T>) -> Result<T> {
    // This is unwind safe: after a panic, all data that `f` can reach is dropped or no longer used.
    panic::catch_unwind(AssertUnwindSafe(f))
        .unwrap_or_else(|payload| Err(Internal::new(words(payload.as_ref()))).about(path))
}

/// Runs the whole program and returns its exit code. Turns a panic that was not caught elsewhere into an
/// error message.
pub fn guarded(f: impl FnOnce() -> ExitCode) -> ExitCode {
    let ended = caught(Path::new(env!("CARGO_PKG_NAME")), || Ok(f()));
    ended.unwrap_or_else(|error| {
        console::error(&Message::of(&error));
        failure::code(&error)
    })
}

fn words(payload: &(dyn Any + Send)) -> String {
    let what = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no details");
    match PLACE.lock().ok().and_then(|mut place| place.take()) {
        Some(place) => format!("internal error: {what} ({place})"),
        None => format!("internal error: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_failure() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let result: Result<(), _> =
            caught(Path::new("a.img"), || pool.install(|| panic!("index {} is too large", 7)));
        let error = result.unwrap_err();
        assert_eq!(failure::code(&error), ExitCode::Internal);
        let line = Message::of(&error).line();
        assert!(line.starts_with("a.img: internal error: index 7 is too large"), "{line}");
        assert!(line.ends_with("please report this"), "{line}");
    }

    #[test]
    fn a_panic_anywhere_has_its_exit_code() {
        assert_eq!(guarded(|| panic!("no")), ExitCode::Internal);
        assert_eq!(guarded(|| ExitCode::Usage), ExitCode::Usage);
    }

    #[test]
    fn what_does_not_panic_passes_through() {
        assert_eq!(caught(Path::new("a.img"), || Ok(5)).unwrap(), 5);
    }
}
