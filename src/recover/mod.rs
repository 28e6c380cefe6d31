//! Recovers an unclean filesystem in memory: makes the changes that the kernel would make at the next mount,
//! as an overlay over the input. Never writes to the input.

mod directory_names;
mod fast_commit;
mod fast_commit_replay;
mod journal;
mod log_replay;
mod recovery;
mod state;

pub(crate) use journal::{Journal, JournalPlace};
pub(crate) use recovery::Recovery;
pub(crate) use state::check_state;

use crate::error::{Error, Location, Result, Structure};
use crate::ondisk::features::Incompat;
use crate::remedy::Remedy;
use crate::source::{Input, Overlay, Source};

/// Replays the journal if the superblock requires it.
///
/// # Errors
///
/// `Unclean` for a log that can't be trusted or whose device is missing, `Corrupt` for a damaged log or
/// filesystem, `Unsupported` for unsupported features or the journal device of a different filesystem,
/// `Options` if the input has a journal device that the image does not use.
pub(crate) fn recover<'a>(input: &Input<'a>) -> Result<Recovery<'a>> {
    let nothing = Overlay::default();
    let source = Source::open(input.clone(), &nothing)?;
    let needed = source.features().has(Incompat::NEEDS_RECOVERY);
    let journal = match JournalPlace::of(&source)? {
        None if input.journal().is_some() => {
            return Err(Error::options(
                "a journal device is given, but the image has no journal",
                Remedy::OmitJournal,
            ));
        }
        None => return Ok(Recovery::default()),
        Some(JournalPlace::Inside(_)) if input.journal().is_some() => {
            return Err(Error::options(
                "a journal device is given, but the journal is inside the image",
                Remedy::OmitJournal,
            ));
        }
        Some(JournalPlace::Inside(file)) => Journal::inside(&source, input, file)?,
        Some(JournalPlace::Outside(uuid)) => match input.journal() {
            Some(device) => Journal::outside(&source, device)?,
            None if !needed => return Ok(Recovery::default()),
            None => {
                let uuid = uuid::Uuid::from_bytes(uuid);
                let state = format!("the journal needs recovery, and is on a different device (UUID {uuid})");
                return Err(Error::Unclean { state, remedy: Remedy::GiveJournal });
            }
        },
    };
    if !needed {
        if journal.start != 0 {
            let state =
                "the journal is not empty, though the superblock does not ask for recovery".to_owned();
            return Err(Error::Unclean { state, remedy: Remedy::FSCK });
        }
        return Ok(Recovery { error: journal.error, ..Recovery::default() });
    }
    if journal.start == 0 {
        return Ok(Recovery { needed, error: journal.error, ..Recovery::default() });
    }
    let (mut recovery, end) = log_replay::replay(&journal)?;
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
