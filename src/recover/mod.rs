//! Recovery in memory: what the kernel would do to an unclean filesystem at the next mount, as an
//! overlay over the input. The input is never written.

mod fast_commit;
mod fast_commit_replay;
mod journal;
mod replay;

pub use journal::{Journal, Place};

use crate::error::{Error, Location, Result, Structure};
use crate::ondisk::features::{Compat, Incompat, RoCompat};
use crate::ondisk::{mmp, superblock as sb};
use crate::source::{Input, Overlay, Source};

/// What the journal gave.
#[derive(Debug, Default)]
pub struct Recovery<'a> {
    /// Replayed blocks.
    pub overlay: Overlay<'a>,
    /// Whether the superblock asked for recovery.
    pub needed: bool,
    /// The error that the journal recorded, 0 for none.
    pub error: u32,
    /// `s_state` as it stood before the replay: errors are written past the journal, whose copy of
    /// the superblock may be older.
    pub state_before: u16,
    /// Transactions that were replayed.
    pub transactions: u64,
    /// Copies that were replayed.
    pub replayed: u64,
    /// Records of fast commits that were replayed.
    pub fast_commit_records: u64,
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
    let needed = source.features().incompat.contains(Incompat::NEEDS_RECOVERY);
    let journal = match Place::of(&source)? {
        None if input.journal().is_some() => {
            return Err(Error::Options("a journal device is given, but the image has no journal".to_owned()));
        }
        None => return Ok(Recovery::default()),
        Some(Place::Inside(_)) if input.journal().is_some() => {
            return Err(Error::Options(
                "a journal device is given, but the journal is inside the image".to_owned(),
            ));
        }
        Some(Place::Inside(file)) => Journal::inside(&source, input, file)?,
        Some(Place::Outside(uuid)) => match input.journal() {
            Some(device) => Journal::outside(&source, device)?,
            None if !needed => return Ok(Recovery::default()),
            None => {
                let uuid = uuid::Uuid::from_bytes(uuid);
                let state = format!("the journal needs recovery, and is on another device (UUID {uuid})");
                return Err(Error::Unclean {
                    state,
                    remedy: "give that device with --journal (compare: --journal-a, --journal-b)",
                });
            }
        },
    };
    if !needed {
        if journal.start != 0 {
            let state =
                "the journal is not empty, though the superblock does not ask for recovery".to_owned();
            return Err(Error::Unclean { state, remedy: "run e2fsck -f on the image" });
        }
        return Ok(Recovery { error: journal.error, ..Recovery::default() });
    }
    if journal.start == 0 {
        return Ok(Recovery { needed, error: journal.error, ..Recovery::default() });
    }
    let (mut recovery, end) = replay::replay(&journal)?;
    recovery.state_before = source.superblock.s_state.get();
    let replayed = Source::open(input.clone(), &recovery.overlay)?;
    let blocks = replayed.geometry.blocks_count;
    if let Some(beyond) = recovery.overlay.first_in(blocks..u64::MAX) {
        return Err(Location::of(Structure::Journal)
            .wrong(format!("holds a copy of block {beyond}, but the filesystem has {blocks} blocks")));
    }
    let (fast_commits, records) = fast_commit::replay(&replayed, &journal, end)?;
    (recovery.overlay.fast_commits, recovery.fast_commit_records) = (fast_commits, records);
    Ok(recovery)
}

/// Looks at what multiple mount protection says: a copy of a mounted filesystem is as good with it as
/// without; but one that looks clean is about to be changed, and one that e2fsck left is half repaired.
fn in_use(source: &Source<'_>, recovery: &Recovery<'_>) -> Result<Option<String>> {
    const REMEDY: &str =
        "make sure that nothing uses the filesystem, then run tune2fs -f -E clear_mmp and e2fsck -f";
    let Some(mmp) = source.mmp()?.filter(|mmp| mmp.seq != mmp::SEQ_CLEAN) else { return Ok(None) };
    let node = &mmp.node;
    if mmp.seq == mmp::SEQ_FSCK {
        let state =
            format!("e2fsck or a program like it is at work, says multiple mount protection (node '{node}')");
        return Err(Error::Unclean { state, remedy: REMEDY });
    }
    if recovery.needed || source.superblock.s_state.get() & sb::STATE_VALID == 0 {
        let state = format!("multiple mount protection says that node '{node}' had the filesystem mounted");
        return Ok(Some(format!(
            "{state}; taken as a copy of it, since everything that carries content checked out"
        )));
    }
    let state = format!(
        "multiple mount protection says that node '{node}' has the filesystem in use, though it looks clean"
    );
    Err(Error::Unclean { state, remedy: REMEDY })
}

/// Looks at the state of a filesystem whose journal has been replayed; returns warnings.
///
/// # Errors
///
/// `Unclean` if errors were found in it, unless `accept_errors`.
pub fn check_state(source: &Source<'_>, recovery: &Recovery<'_>, accept_errors: bool) -> Result<Vec<String>> {
    let state = source.superblock.s_state.get();
    let mut warnings = Vec::from_iter(in_use(source, recovery)?);
    let errors = [
        ((state | recovery.state_before) & sb::STATE_ERROR != 0)
            .then(|| "the superblock says that errors were found (s_state)".to_owned()),
        (recovery.error != 0)
            .then(|| format!("the journal recorded an error ({})", recovery.error.cast_signed())),
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
    if recovery.needed {
        let records = match recovery.fast_commit_records {
            0 => String::new(),
            records => format!(", fast-commit records: {records}"),
        };
        warnings.push(format!(
            "the filesystem was not unmounted, so its journal was replayed (transactions: {}{records}); what was only \
             in memory is missing",
            recovery.transactions
        ));
    }
    if recovery.needed && source.superblock.s_journal_inum.get() == 0 {
        warnings.push(
            "the journal device still holds what was replayed: make it anew before the output is mounted"
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
