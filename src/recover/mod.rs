//! Recovery in memory: what the kernel would do to an unclean filesystem at the next mount, as an
//! overlay over the input. The input is never written.

mod journal;
mod replay;

pub use journal::Journal;

use crate::error::{Error, Location, Result, Structure};
use crate::ondisk::features::{Compat, Incompat, RoCompat};
use crate::ondisk::superblock as sb;
use crate::source::{Input, Overlay, Source};

/// What the journal gave.
#[derive(Debug, Default)]
pub struct Recovery<'a> {
    /// Replayed blocks.
    pub overlay: Overlay<'a>,
    /// Whether the superblock asked for recovery.
    pub needed: bool,
    /// Transactions that were replayed.
    pub transactions: u64,
    /// Copies that were replayed.
    pub replayed: u64,
    /// Copies that were passed over, since their blocks were revoked later.
    pub revoked: u64,
}

/// Replays the journal where the superblock asks for it.
///
/// # Errors
///
/// `Unclean` for a log that must not be believed, `Corrupt` for damage in it.
pub fn recover<'a>(input: &Input<'a>) -> Result<Recovery<'a>> {
    let nothing = Overlay::default();
    let source = Source::open(input.clone(), &nothing)?;
    let features = source.features();
    if !features.compat.contains(Compat::HAS_JOURNAL) {
        return Ok(Recovery::default());
    }
    let journal = Journal::open(&source, input)?;
    if !features.incompat.contains(Incompat::NEEDS_RECOVERY) {
        if journal.start != 0 {
            let state =
                "the journal is not empty, though the superblock does not ask for recovery".to_owned();
            return Err(Error::Unclean { state, remedy: "run e2fsck -f on the image" });
        }
        return Ok(Recovery::default());
    }
    if journal.start == 0 {
        return Ok(Recovery { needed: true, ..Recovery::default() });
    }
    replay::replay(&journal, source.geometry.blocks_count)
}

/// Looks at the state of a filesystem whose journal has been replayed; returns warnings.
///
/// # Errors
///
/// `Unclean` if errors were found in it, unless `accept_errors`.
pub fn check_state(source: &Source<'_>, accept_errors: bool) -> Result<Vec<String>> {
    let state = source.superblock.s_state.get();
    let mut warnings = Vec::new();
    let journal_error = journal::recorded_error(source)?;
    let errors = [
        (state & sb::STATE_ERROR != 0)
            .then(|| "the superblock says that errors were found (s_state)".to_owned()),
        journal_error.map(|code| format!("the journal recorded an error ({code})")),
    ];
    for state in errors.into_iter().flatten() {
        if !accept_errors {
            return Err(Error::Unclean {
                state,
                remedy: "run e2fsck -f on the image, or accept it with --ignore-error-state",
            });
        }
        warnings.push(format!("{state}; accepted, since everything that carries content checked out"));
    }
    if state & sb::STATE_VALID == 0 {
        warnings.push(
            "the filesystem was not cleanly unmounted; everything that carries content checked out"
                .to_owned(),
        );
    }
    if source.features().ro_compat.contains(RoCompat::ORPHAN_PRESENT)
        && !source.features().compat.contains(Compat::ORPHAN_FILE)
    {
        return Err(Location::of(Structure::Superblock).wrong("orphan_present is set without orphan_file"));
    }
    Ok(warnings)
}
