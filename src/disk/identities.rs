//! Lists the identities of a disk that can change, and determines their new values.
//!
//! A file can name the UUID of any filesystem on the disk, and these UUIDs are derived from the content of the
//! files. So placeholders first replace all identities in the files, and all UUIDs, GUIDs and signatures are
//! derived from that content. Then the files are written with the new values instead of the placeholders.

use uuid::Uuid;
use zerocopy::FromBytes as _;

use super::guids::{self, Patch};
use super::image::Disk;
use super::partition_table::TableKind;
use super::signature;
use crate::error::{Error, Result};
use crate::identities::{Identity, IdentityKind};
use crate::observe::Observer;
use crate::ondisk::features::Incompat;
use crate::ondisk::superblock::{self as sb, Superblock};
use crate::pipeline::{self, Request};
use crate::policy::{Options, StaleUuids, UuidPolicy};
use crate::remedy::Remedy;
use crate::rewrite::NewValues;

/// The identities of a disk, their new values, and the options for each filesystem, decided before anything is
/// written.
#[derive(Debug)]
pub(super) struct Settled {
    /// The identities that can change.
    pub identities: Vec<Identity>,
    /// The values with which files are rewritten, if they are.
    pub values: Option<Vec<[u8; 16]>>,
    /// The new bytes of the partition table.
    pub patches: Vec<Patch>,
    /// The options for each filesystem.
    options: Vec<Options>,
}

impl Disk<'_> {
    /// Decides the new values of all identities, and what to write into the partition table.
    pub(super) fn settle(&self, options: &Options, observer: &dyn Observer) -> Result<Settled> {
        self.check_table(options)?;
        let identities = self.identities(options)?;
        let mut settled = Settled {
            identities,
            values: None,
            patches: Vec::new(),
            options: vec![options.clone(); self.parts.len()],
        };
        if options.stale_uuids != StaleUuids::Rewrite || !self.names_any(&settled)? {
            let patches = self.patches(options, |part| {
                let task = self.task(part, &settled, None, observer);
                Ok(pipeline::digest(&self.filesystem(&self.parts[part]), task)?.1)
            })?;
            settled.patches = patches;
            return Ok(settled);
        }
        self.derive(options, &settled, observer)
    }

    /// Rejects derived identities of a partition table if there is none.
    pub(super) fn check_table(&self, options: &Options) -> Result<()> {
        if options.canonical_table && self.table.is_none() {
            let problem = "there is no partition table whose GUIDs or signature could be derived";
            return Err(Error::options(problem, Remedy::KeepTable));
        }
        Ok(())
    }

    /// Derives all identities from the content with placeholders.
    fn derive(&self, options: &Options, masked: &Settled, observer: &dyn Observer) -> Result<Settled> {
        let placeholders = NewValues::placeholders(&masked.identities);
        let digests = (0..self.parts.len()).map(|part| {
            let task = self.task(part, masked, Some(&placeholders), observer);
            pipeline::digest(&self.filesystem(&self.parts[part]), task)
                .map_err(|error| Self::error(&self.parts[part], error))
        });
        let digests = digests.collect::<Result<Vec<_>>>()?;
        let patches = self.patches(options, |part| Ok(digests[part].1))?;
        let of_table = self.table_values(&patches);
        let value = |identity: &Identity| match identity.kind {
            IdentityKind::Filesystem => digests[identity.number as usize - 1].0.new_uuid,
            kind => of_table
                .iter()
                .find(|(known, number, _)| (*known, *number) == (kind, identity.number))
                .map_or(identity.value, |(.., value)| *value),
        };
        let values = masked.identities.iter().map(value).collect();
        let options = digests.iter().map(|(report, _)| match options.uuid {
            // The UUID must not be derived again from the content without placeholders.
            UuidPolicy::Content => options.clone().uuid(UuidPolicy::Given(report.new_uuid)),
            _ => options.clone(),
        });
        Ok(Settled {
            identities: masked.identities.clone(),
            values: Some(values),
            patches,
            options: options.collect(),
        })
    }

    /// Returns the identities of the partition table that its new bytes contain.
    pub(super) fn table_values(&self, patches: &[Patch]) -> Vec<(IdentityKind, u32, [u8; 16])> {
        let Some(table) = &self.table else { return Vec::new() };
        let guids = match table.kind {
            TableKind::Gpt(_) => guids::values(table, patches),
            TableKind::Mbr(_) => Vec::new(),
        };
        guids.into_iter().chain(signature::value(patches)).collect()
    }

    fn names_any(&self, settled: &Settled) -> Result<bool> {
        for part in &self.parts {
            let found = pipeline::mentions_in(&self.filesystem(part), &settled.identities);
            if !found.map_err(|error| Self::error(part, error))?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the identities that can change: of each filesystem, in the order of their offsets; and with
    /// derived identities of the partition table, of each partition and of the disk.
    pub(super) fn identities(&self, options: &Options) -> Result<Vec<Identity>> {
        let mut found = Vec::new();
        for (number, part) in (1..).zip(&self.parts) {
            let name = part.name.clone().unwrap_or_default();
            let value = self.uuid_of(number as usize - 1)?;
            found.push(Identity { kind: IdentityKind::Filesystem, number, value, name });
        }
        let Some(table) = self.table.as_ref().filter(|_| options.canonical_table) else { return Ok(found) };
        match table.kind {
            TableKind::Gpt(disk) => {
                for partition in &table.partitions {
                    if let Ok(uuid) = partition.uuid.parse::<Uuid>() {
                        let (number, value) = (partition.number, uuid.into_bytes());
                        let name = partition.shown();
                        found.push(Identity { kind: IdentityKind::Partition, number, value, name });
                    }
                }
                let (value, name) = (disk.into_bytes(), "the disk".to_owned());
                found.push(Identity { kind: IdentityKind::Disk, number: 0, value, name });
            }
            TableKind::Mbr(_) => {}
        }
        if let Some(signature) = signature::of_disk(self.input.bytes(), table) {
            let mut value = [0; 16];
            value[..4].copy_from_slice(&signature.to_be_bytes());
            let name = "the disk".to_owned();
            found.push(Identity { kind: IdentityKind::Signature, number: 0, value, name });
        }
        Ok(found)
    }

    /// Returns the UUID of a filesystem. Replays the journal only if there is something to replay.
    fn uuid_of(&self, part: usize) -> Result<[u8; 16]> {
        let part = &self.parts[part];
        let input = self.filesystem(part);
        let bytes = input.range(sb::OFFSET as u64, (sb::OFFSET + sb::SIZE) as u64);
        let superblock = bytes.and_then(|bytes| Superblock::read_from_bytes(bytes).ok());
        match superblock.filter(|superblock| !superblock.features().has(Incompat::NEEDS_RECOVERY)) {
            Some(superblock) => Ok(superblock.s_uuid),
            None => pipeline::uuid(&input).map_err(|error| Self::error(part, error)),
        }
    }

    /// Returns the request for a filesystem. `new_values` replaces the decided values.
    pub(super) fn task<'t>(
        &'t self,
        part: usize,
        settled: &'t Settled,
        new_values: Option<&'t NewValues<'t>>,
        observer: &'t dyn Observer,
    ) -> Request<'t> {
        Request {
            options: &settled.options[part],
            identities: &settled.identities,
            own: Some(part),
            new_values,
            observer,
        }
    }
}

impl Settled {
    /// Returns the new values for the files of all filesystems, if the files are rewritten.
    pub(super) fn new_values(&self) -> Option<NewValues<'_>> {
        let values = self.values.clone()?;
        Some(NewValues { identities: &self.identities, values: Some(values) })
    }
}
