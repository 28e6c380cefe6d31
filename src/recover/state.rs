//! Checks the state of a filesystem after its journal is replayed.

use super::recovery::Recovery;
use crate::error::{Error, Location, Result, Structure};
use crate::ondisk::features::{Compat, RoCompat};
use crate::ondisk::{mmp, superblock as sb};
use crate::remedy::Remedy;
use crate::source::Source;
use crate::text::counted;

/// Checks the state of multiple mount protection (MMP).
///
/// A copy of a mounted filesystem is accepted with a warning, as without MMP. A filesystem that is in use but
/// looks clean is refused, because it will change. A filesystem on which e2fsck runs is also refused, because
/// its repair can be incomplete.
fn in_use(source: &Source<'_>, recovery: &Recovery<'_>) -> Result<Option<String>> {
    const REMEDY: Remedy = Remedy::fsck(
        "make sure that nothing uses the filesystem, then run tune2fs -f -E clear_mmp and e2fsck -f",
    );
    let Some(mmp) = source.mmp()?.filter(|mmp| mmp.seq != mmp::SEQ_CLEAN) else { return Ok(None) };
    let node = &mmp.node;
    if mmp.seq == mmp::SEQ_FSCK {
        let state = format!("the MMP block says that e2fsck or a similar program is running (node '{node}')");
        return Err(Error::Unclean { state, remedy: REMEDY });
    }
    if recovery.needed || source.superblock.s_state.get() & sb::STATE_VALID == 0 {
        let state = format!("the MMP block says that node '{node}' had the filesystem mounted");
        return Ok(Some(format!(
            "{state}; accepted as a copy of it, since every structure that affects the tree passed the checks"
        )));
    }
    let state = format!("the MMP block says that node '{node}' uses the filesystem, though it looks clean");
    Err(Error::Unclean { state, remedy: REMEDY })
}

/// Checks the state of a filesystem, after its journal was replayed if necessary. Returns warnings.
///
/// # Errors
///
/// `Unclean` if the MMP block says that e2fsck runs, or that a host uses a filesystem that looks clean; also
/// if errors are recorded and `accept_errors` is not set. `Corrupt` if the MMP block is invalid, or if
/// orphan_present is set without orphan_file.
pub(crate) fn check_state(
    source: &Source<'_>,
    recovery: &Recovery<'_>,
    accept_errors: bool,
) -> Result<Vec<String>> {
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
            return Err(Error::Unclean { state, remedy: Remedy::AcceptErrorState { offset: None } });
        }
        warnings.push(format!(
            "{state}; accepted, since every structure that affects the tree passed the checks"
        ));
    }
    if state & sb::STATE_VALID == 0 {
        warnings.push(
            "the filesystem was not cleanly unmounted; every structure that affects the tree passed the \
             checks"
                .to_owned(),
        );
    }
    if recovery.needed {
        let records = match recovery.fast_commit_records {
            0 => String::new(),
            records => format!(", {}", counted(records, "fast-commit record")),
        };
        warnings.push(format!(
            "the filesystem was not unmounted, so its journal was replayed ({}{records}); data that was only \
             in memory is missing",
            counted(recovery.transactions, "transaction")
        ));
    }
    if recovery.needed && source.superblock.s_journal_inum.get() == 0 {
        warnings.push(
            "the journal device still contains the replayed transactions: recreate it before the output is \
             mounted"
                .to_owned(),
        );
    }
    if source.features().has(RoCompat::ORPHAN_PRESENT) && !source.features().has(Compat::ORPHAN_FILE) {
        return Err(Location::of(Structure::Superblock).wrong("orphan_present is set without orphan_file"));
    }
    Ok(warnings)
}
