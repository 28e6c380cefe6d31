//! Signals: a page of a mapped file that can't be read becomes an error, and whoever ends the process
//! leaves no temporary file behind. With `map`, the only place with `unsafe` in it.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::thread;

/// A range of addresses where files are mapped: image, journal device, output.
#[derive(Debug)]
struct Slot {
    /// 0 for none.
    start: AtomicUsize,
    end: AtomicUsize,
    /// The first page that could not be read; 0 for none.
    failed: AtomicUsize,
}

const SLOTS: usize = 4;

static RANGES: [Slot; SLOTS] =
    [const { Slot { start: AtomicUsize::new(0), end: AtomicUsize::new(0), failed: AtomicUsize::new(0) } };
        SLOTS];

/// The name of the temporary file that goes when the process is ended; null for none.
static TEMPORARY: AtomicPtr<libc::c_char> = AtomicPtr::new(ptr::null_mut());

/// Whether a signal is about to end the process.
static ENDING: AtomicBool = AtomicBool::new(false);

/// A mapped range under watch, until it is dropped.
#[derive(Debug)]
pub struct Watched(Option<usize>);

impl Watched {
    /// Watches over a range of addresses, which has to stay mapped until this is dropped. From now on,
    /// where a page can't be read, zeros appear from there on, and `unreadable` says so.
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

    /// Where the first page lies that could not be read, counted in bytes of the range.
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

/// A temporary file that is removed when a signal ends the process, until this is dropped.
#[derive(Debug)]
pub struct Temporary(());

impl Temporary {
    /// Remembers a name; there is one at a time.
    pub fn new(path: &Path) -> Self {
        install();
        if let Ok(name) = CString::new(path.as_os_str().as_bytes()) {
            // It is never given back, since a handler may be reading it.
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

/// Returns unless a signal is about to end the process: then what failed since, such as giving a name to a
/// temporary file that is gone, is nothing to tell of.
pub fn unless_ending() {
    while ENDING.load(Ordering::SeqCst) {
        thread::park();
    }
}

/// Signals that end a process, and can be caught. SIGPIPE is ignored in every program of Rust.
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
        // A file that grows beyond the limit of the process is an error, which tells more.
        handle(libc::SIGXFSZ, libc::SIG_IGN, 0);
        handle(libc::SIGBUS, on_bus as *const () as libc::sighandler_t, libc::SA_SIGINFO);
        for signal in ENDS {
            if !is_ignored(signal) {
                handle(signal, on_end as *const () as libc::sighandler_t, 0);
            }
        }
    });
}

/// Whether whoever started this process wants a signal to be ignored, as nohup does.
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: a sigaction of zeros is one, and the call only fills it in.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

fn handle(signal: libc::c_int, handler: libc::sighandler_t, flags: libc::c_int) {
    // SAFETY: the handlers have the signatures that their flags ask for, and do only what is safe in a
    // handler: atomic loads and stores, and system calls. Where it fails, the signal keeps its meaning.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(signal, &raw const action, ptr::null_mut());
    }
}

/// A page can't be read: its file became shorter, or its disk failed.
extern "C" fn on_bus(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO, the system gives a siginfo, whose address is that of the page.
    let address = unsafe { (*info).si_addr() }.addr();
    for slot in &RANGES {
        let (start, end) = (slot.start.load(Ordering::SeqCst), slot.end.load(Ordering::SeqCst));
        if start == 0 || !(start..end).contains(&address) {
            continue;
        }
        // Every page size is a power of two, of at least this; the file is done with anyhow.
        let from = (address & !0xFFF).max(start);
        let _ = slot.failed.compare_exchange(0, from, Ordering::SeqCst, Ordering::SeqCst);
        // SAFETY: the range is a private mapping of a file by this process, alive as long as it is in
        // the slot. It is replaced by zeros, which have the same address, length and protection.
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

/// Somebody ends the process: it ends in the same way, but for the temporary file.
extern "C" fn on_end(signal: libc::c_int) {
    ENDING.store(true, Ordering::SeqCst);
    let name = TEMPORARY.load(Ordering::SeqCst);
    // SAFETY: a name that was stored is never freed. The calls are safe in handlers; the signal, which is
    // blocked until the handler returns, then has its ordinary effect.
    unsafe {
        if !name.is_null() {
            libc::unlink(name);
        }
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::map::Map;

    #[test]
    fn pages_behind_the_end_of_a_shorter_file_are_zeros() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[7; 100_000], 0).unwrap();
        let map = Map::new(&file, 1 << 20).unwrap();
        assert!(map.bytes()[99_999] == 7 && map.unreadable().is_none());
        file.set_len(4096).unwrap();
        assert_eq!((map.bytes()[4095], map.bytes()[99_999], map.bytes()[(1 << 20) - 1]), (7, 0, 0));
        assert!(matches!(map.unreadable(), Some(4096..=99_999)), "{:?}", map.unreadable());
        // The next map is as good as new.
        drop(map);
        assert_eq!(Map::new(&file, 4096).unwrap().unreadable(), None);
    }
}
