//! The state of a filesystem after its journal is replayed.

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
/// looks clean is refused, because it will change. So is one on which e2fsck runs, because it may be half
/// repaired.
fn in_use(source: &Source<'_>, recovery: &Recovery<'_>) -> Result<Option<String>> {
    const REMEDY: Remedy = Remedy::fsck(
        "make sure that nothing uses the filesystem, then run tune2fs -f -E clear_mmp and e2fsck -f",
    );
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

/// Checks the state of a filesystem whose journal is replayed. Returns warnings.
///
/// # Errors
///
/// `Unclean` if errors are recorded, unless `accept_errors` is set.
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
            records => format!(", {}", counted(records, "fast-commit record")),
        };
        warnings.push(format!(
            "the filesystem was not unmounted, so its journal was replayed ({}{records}); what was only in \
             memory is missing",
            counted(recovery.transactions, "transaction")
        ));
    }
    if recovery.needed && source.superblock.s_journal_inum.get() == 0 {
        warnings.push(
            "the journal device still holds what was replayed: make it anew before the output is mounted"
                .to_owned(),
        );
    }
    if source.features().has(RoCompat::ORPHAN_PRESENT) && !source.features().has(Compat::ORPHAN_FILE) {
        return Err(Location::of(Structure::Superblock).wrong("orphan_present is set without orphan_file"));
    }
    Ok(warnings)
}
