//! Handles signals: turns an unreadable page of a mapped file into an error, and deletes the temporary file
//! when a signal ends the process. Only this module and `map` contain unsafe code.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::thread;

/// The address range of a mapped file: an image, a journal device or an output.
#[derive(Debug)]
struct Slot {
    /// The first address; 0 if the slot is free.
    start: AtomicUsize,
    end: AtomicUsize,
    /// The address of the first page that could not be read; 0 if there is none.
    failed: AtomicUsize,
}

const SLOTS: usize = 4;

static RANGES: [Slot; SLOTS] =
    [const { Slot { start: AtomicUsize::new(0), end: AtomicUsize::new(0), failed: AtomicUsize::new(0) } };
        SLOTS];

/// The name of the temporary file to delete when a signal ends the process; null if there is none.
static TEMPORARY: AtomicPtr<libc::c_char> = AtomicPtr::new(ptr::null_mut());

/// Whether a signal is about to end the process.
static ENDING: AtomicBool = AtomicBool::new(false);

/// A mapped range that is registered with the SIGBUS handler until this value is dropped.
#[derive(Debug)]
pub struct Watched(Option<usize>);

impl Watched {
    /// Registers an address range, which must stay mapped until this value is dropped. If a page of the range
    /// can't be read, this page and all later pages read as zeros, and `unreadable` returns the offset of the
    /// page. If four ranges (`SLOTS`) are already registered, the range is not watched.
    pub fn new(bytes: &[u8]) -> Self {
        install();
        let range = bytes.as_ptr_range();
        let free = RANGES.iter().position(|slot| {
            slot.start.compare_exchange(0, range.start.addr(), Ordering::SeqCst, Ordering::SeqCst).is_ok()
        });
        if let Some(slot) = free.map(|slot| &RANGES[slot]) {
            slot.failed.store(0, Ordering::SeqCst);
            slot.end.store(range.end.addr(), Ordering::SeqCst);
        }
        Self(free)
    }

    /// Returns the offset in bytes, within the range, of the first page that could not be read.
    pub fn unreadable(&self) -> Option<usize> {
        let slot = &RANGES[self.0?];
        match slot.failed.load(Ordering::SeqCst) {
            0 => None,
            page => page.checked_sub(slot.start.load(Ordering::SeqCst)),
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            RANGES[slot].end.store(0, Ordering::SeqCst);
            RANGES[slot].start.store(0, Ordering::SeqCst);
        }
    }
}

/// A temporary file that is deleted if a signal ends the process. The file is unregistered when this value is
/// dropped.
#[derive(Debug)]
pub struct Temporary(());

impl Temporary {
    /// Registers a name. Only one name can be registered at a time.
    pub fn new(path: &Path) -> Self {
        install();
        if let Ok(name) = CString::new(path.as_os_str().as_bytes()) {
            // The string is leaked, since a signal handler can be reading it.
            TEMPORARY.store(name.into_raw(), Ordering::SeqCst);
        }
        Self(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        TEMPORARY.store(ptr::null_mut(), Ordering::SeqCst);
    }
}

/// Blocks forever if a signal is about to end the process, otherwise returns. This suppresses errors that the
/// signal causes, such as a missing temporary file.
pub fn unless_ending() {
    while ENDING.load(Ordering::SeqCst) {
        thread::park();
    }
}

/// The signals from users, timers and limits that end a process. SIGPIPE is not among them, since the Rust
/// runtime ignores it.
const ENDS: [libc::c_int; 11] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGABRT,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGXCPU,
];

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // If SIGXFSZ is ignored, exceeding the limit on file sizes is a write error with a better message.
        handle(libc::SIGXFSZ, libc::SIG_IGN, 0);
        handle(libc::SIGBUS, on_bus as *const () as libc::sighandler_t, libc::SA_SIGINFO);
        for signal in ENDS {
            if !is_ignored(signal) {
                handle(signal, on_end as *const () as libc::sighandler_t, 0);
            }
        }
    });
}

/// Returns whether the parent process ignores a signal, as nohup does.
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: a `sigaction` of all zeros is valid, and the call only writes to it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

fn handle(signal: libc::c_int, handler: libc::sighandler_t, flags: libc::c_int) {
    // SAFETY: the handlers have the signatures that their flags require, and make only async-signal-safe
    // operations: atomic loads and stores, and system calls. If the call fails, the signal keeps its default
    // action.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(signal, &raw const action, ptr::null_mut());
    }
}

/// Handles SIGBUS: a mapped page can't be read, because the file was truncated or the disk failed.
extern "C" fn on_bus(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO, the kernel passes a valid siginfo. Its address is in the page that can't be
    // read.
    let address = unsafe { (*info).si_addr() }.addr();
    for slot in &RANGES {
        let (start, end) = (slot.start.load(Ordering::SeqCst), slot.end.load(Ordering::SeqCst));
        if start == 0 || !(start..end).contains(&address) {
            continue;
        }
        // Round down to 4096, the smallest page size. With larger pages, `mmap` fails if the address is not
        // aligned, and the process ends.
        let from = (address & !0xFFF).max(start);
        let _ = slot.failed.compare_exchange(0, from, Ordering::SeqCst, Ordering::SeqCst);
        // SAFETY: the range maps a file into this process, and stays mapped as long as the slot contains it.
        // The new mapping of zeros has the same address, length and protection.
        let mapped = unsafe {
            libc::mmap(
                ptr::with_exposed_provenance_mut(from),
                end - from,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if mapped != libc::MAP_FAILED {
            return;
        }
    }
    on_end(signal);
}

/// Whether the last line of the terminal is a progress bar.
static LINE_ON_TERMINAL: AtomicBool = AtomicBool::new(false);

/// Sets whether the last line of the terminal must be cleared when a signal ends the process.
pub fn line_on_terminal(is_there: bool) {
    LINE_ON_TERMINAL.store(is_there, Ordering::SeqCst);
}

/// Handles a signal that ends the process: deletes the temporary file, then lets the signal end the process
/// as usual.
extern "C" fn on_end(signal: libc::c_int) {
    ENDING.store(true, Ordering::SeqCst);
    let name = TEMPORARY.load(Ordering::SeqCst);
    // SAFETY: a registered name is never freed. All calls are async-signal-safe. The signal is blocked until
    // the handler returns, and then has its default action.
    unsafe {
        if !name.is_null() {
            libc::unlink(name);
        }
        if LINE_ON_TERMINAL.load(Ordering::SeqCst) {
            const CLEAR: &[u8] = b"\r\x1b[K";
            libc::write(libc::STDERR_FILENO, CLEAR.as_ptr().cast(), CLEAR.len());
        }
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::map::Map;

    #[test]
    fn pages_after_the_end_of_a_shorter_file_are_zeros() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[7; 100_000], 0).unwrap();
        let map = Map::new(&file, 1 << 20).unwrap();
        assert!(map.bytes()[99_999] == 7 && map.unreadable().is_none());
        file.set_len(4096).unwrap();
        assert_eq!((map.bytes()[4095], map.bytes()[99_999], map.bytes()[(1 << 20) - 1]), (7, 0, 0));
        assert!(matches!(map.unreadable(), Some(4096..=99_999)), "{:?}", map.unreadable());
        // A failed page does not affect a later map.
        drop(map);
        assert_eq!(Map::new(&file, 4096).unwrap().unreadable(), None);
    }
}
