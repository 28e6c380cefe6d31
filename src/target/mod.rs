//! Determines the settings of the output: those of the input, or settings that the options choose.

mod change;
mod fitting;
mod mke2fs;
mod profiles;
mod recipe;

use std::collections::HashMap;
use std::ops::Range;

use zerocopy::little_endian::U32;

use crate::bytes::first_set_byte;
use crate::changes::{Changes, Inodes, Profile};
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::ondisk::features::{Compat, Features, Incompat};
use crate::ondisk::inode::InodeFlags;
use crate::ondisk::quota::QuotaType;
use crate::ondisk::superblock::{self as sb, Superblock};
use crate::policy::{Options, SettingsPolicy, SizePolicy};
use crate::read::{QuotaFile, Reading, SpecialFile, Specials};
use crate::remedy::Remedy;
use crate::resized_geometry::bytes_for_inodes;
use crate::settings::Settings;
use crate::source::Source;
use crate::units::{InodeNr, fits};

use crate::survey::StoredTree;
use crate::tree::{Kind, Tree};

/// The settings of the output.
#[derive(Clone, Debug)]
pub struct Target {
    /// The superblock whose kept fields become those of the output.
    pub superblock: Superblock,
    /// The sizes and counts of the output, without the changes of `--size`.
    pub geometry: Geometry,
    /// The sizes and quota limits of the inodes outside the tree.
    pub specials: Specials,
    /// The length of the output in bytes, without the changes of `--size`.
    pub image_bytes: u64,
    /// The byte range past the end of the filesystem that is copied from the input. It is empty if the output
    /// has a different size.
    pub rest: Range<u64>,
    /// Whether the settings are those of the input.
    pub is_own: bool,
    /// The profile of these settings.
    profiled: Option<Box<Profiled>>,
}

/// A profile with the arguments that it is evaluated for.
#[derive(Clone, Debug)]
struct Profiled {
    profile: Profile,
    changes: Changes,
    own: Settings,
    /// Whether to evaluate the profile at the size of the content, for the smallest size.
    by_content: bool,
}

/// The minimum size in blocks at which a profile is evaluated for the smallest size: that of the smallest
/// filesystem with a journal.
const LEAST_CONTENT: u64 = 2048;

/// More inodes than a filesystem has outside the tree.
const OTHER_INODES: u32 = 16;

/// Settings whose geometry is valid, before the inodes outside the tree of the input are known.
#[derive(Clone, Debug)]
pub(crate) struct ChosenSettings {
    /// The settings; `None` for those of the input.
    other: Option<Settings>,
    /// The geometry.
    pub geometry: Geometry,
    profiled: Option<Box<Profiled>>,
}

impl ChosenSettings {
    /// Chooses the settings that the options request.
    ///
    /// # Errors
    ///
    /// `Options` if the settings do not fit the input, `Corrupt` if they are inconsistent.
    pub(crate) fn new(source: &Source<'_>, options: &Options, reading: &Reading) -> Result<Self> {
        let own = || settings_of(source, &reading.specials);
        let mut profiled = None;
        let base = match &options.settings {
            SettingsPolicy::Own => None,
            SettingsPolicy::Like(settings) => Some((**settings).clone()),
            SettingsPolicy::Profile(profile) => {
                let own = own();
                let bytes = match options.size {
                    SizePolicy::Bytes(bytes) => bytes,
                    _ => source.geometry.filesystem_bytes(),
                };
                let mut settings = change::of_profile(*profile, &options.changes, &own, bytes)?;
                if options.size == SizePolicy::Keep {
                    settings.image_bytes = own.image_bytes;
                }
                profiled = Some(Box::new(Profiled {
                    profile: *profile,
                    changes: options.changes.clone(),
                    own,
                    by_content: options.size == SizePolicy::Smallest,
                }));
                Some(settings)
            }
        };
        let is_changed = options.changes != Changes::default();
        let other = match base {
            Some(base) if !is_changed || matches!(options.settings, SettingsPolicy::Profile(_)) => Some(base),
            base if is_changed => Some(change::changed(&base.unwrap_or_else(own), &options.changes)?),
            base => base,
        };
        let Some(mut other) = other else {
            return Ok(Self { other: None, geometry: source.geometry.clone(), profiled: None });
        };
        if source.features().has(Incompat::ENCRYPT) {
            // Keys can be derived from the salt, so it belongs to the encrypted files.
            other.superblock.s_encrypt_algos = source.superblock.s_encrypt_algos;
            other.superblock.s_encrypt_pw_salt = source.superblock.s_encrypt_pw_salt;
        }
        let mut geometry = Geometry::new(&other.superblock)?;
        geometry.least_inodes = other.least_inodes.then_some(0);
        check_bound(source, &reading.tree, &other.superblock, geometry.features)?;
        Ok(Self { other: Some(other), geometry, profiled })
    }

    /// Returns whether the output has an external journal.
    pub(crate) fn has_external_journal(&self, source: &Source<'_>) -> bool {
        let superblock = self.other.as_ref().map_or(&source.superblock, |other| &other.superblock);
        self.geometry.features.has(Compat::HAS_JOURNAL) && superblock.s_journal_inum.get() == 0
    }
}

impl Target {
    /// Returns the settings of the input. `specials` are its inodes outside the tree.
    pub fn own(source: &Source<'_>, specials: &Specials) -> Self {
        let length = source.input().bytes().len() as u64;
        Self {
            superblock: source.superblock,
            geometry: source.geometry.clone(),
            specials: Specials { claims: Vec::new(), ..specials.clone() },
            image_bytes: length,
            rest: source.geometry.filesystem_bytes()..length,
            is_own: true,
            profiled: None,
        }
    }

    /// Completes the settings with the inodes outside the tree. `specials` are those of the input.
    ///
    /// # Errors
    ///
    /// `Options` if the filesystem is a part of a larger image and would not fit, or if data after the end of
    /// the filesystem would be lost.
    pub(crate) fn new(
        source: &Source<'_>,
        chosen: ChosenSettings,
        specials: &Specials,
        size: SizePolicy,
    ) -> Result<Self> {
        let length = source.input().bytes().len() as u64;
        let ChosenSettings { other, geometry, profiled } = chosen;
        let mut target = match other {
            None => Self::own(source, specials),
            Some(settings) => Self {
                superblock: settings.superblock,
                geometry,
                specials: specials_of(&settings, specials),
                image_bytes: settings.image_bytes,
                rest: length..length,
                is_own: false,
                profiled,
            },
        };
        if source.input().is_part() {
            target.image_bytes = length;
            if target.geometry.filesystem_bytes() > length {
                return Err(Error::options(
                    format!(
                        "the filesystem would have {} bytes, more than the {length} bytes of its place in the image",
                        target.geometry.filesystem_bytes()
                    ),
                    Remedy::SmallerSettings,
                ));
            }
        }
        let same_end = target.geometry.filesystem_bytes() == source.geometry.filesystem_bytes();
        if size == SizePolicy::Keep && same_end && target.image_bytes == length {
            target.rest = source.geometry.filesystem_bytes()..length;
        } else {
            target.rest = length..length;
            check_rest(source)?;
        }
        Ok(target)
    }

    /// Checks that each inode of the tree means the same with these settings.
    ///
    /// # Errors
    ///
    /// `Unsupported`, with the path, for the first inode that would change.
    pub(crate) fn check_tree(&self, source: &Source<'_>, reading: &Reading) -> Result<()> {
        if self.is_own {
            return Ok(());
        }
        fitting::check_tree(source, reading, &self.superblock, &self.geometry)
    }

    /// Returns the target for the smallest size. The sizes of a profile that depend on the size of the
    /// filesystem are then those for the size of the content, so that they do not depend on the input.
    ///
    /// # Errors
    ///
    /// `Options` if the profile has no filesystem of this size.
    pub(crate) fn for_content(self, stored: StoredTree<'_>) -> Result<Self> {
        let Some(profiled) = self.profiled.as_ref().filter(|profiled| profiled.by_content) else {
            return Ok(self);
        };
        let Profiled { profile, changes, own, .. } = &**profiled;
        let tree = stored.tree;
        let content = tree.ids().flat_map(|id| stored.blocks_of(id)).map(|(_, count, _)| u64::from(count));
        let directories = tree.nodes.iter().filter(|node| node.kind.is_directory()).count() as u64;
        let blocks = (content.sum::<u64>() + directories).max(LEAST_CONTENT);
        let bytes = blocks * self.geometry.block_bytes();
        let mut changes = changes.clone();
        let nodes = fits::<u32, _>(tree.nodes.len(), "inodes have numbers of 32 bits");
        let by_ratio = bytes / change::PROFILE_RATIO;
        if changes.inodes.is_none() && self.geometry.least_inodes.is_none() && by_ratio < nodes.into() {
            changes.inodes = Some(Inodes::Count(nodes.saturating_add(OTHER_INODES)));
        }
        let settings = change::of_profile(*profile, &changes, own, bytes)?;
        let mut geometry = Geometry::new(&settings.superblock)?;
        geometry.least_inodes = self.geometry.least_inodes;
        let specials = specials_of(&settings, &self.specials);
        Ok(Self { superblock: settings.superblock, geometry, specials, ..self })
    }

    /// Adds to an error about too few inodes a size at which there are enough, if there is one. `last` is the
    /// last inode in use.
    pub(crate) fn with_enough_inodes(&self, error: Error, last: InodeNr) -> Error {
        match error {
            Error::TooFewInodes { needed, available, .. } => {
                let bytes = match &self.profiled {
                    Some(profiled) => profiled.bytes_for_inodes(last),
                    None => bytes_for_inodes(&self.geometry, last),
                };
                Error::TooFewInodes { needed, available, bytes }
            }
            other => other,
        }
    }

    /// Returns the target with the geometry and the length that `--size` gives it.
    pub(crate) fn with_size(mut self, geometry: Geometry, image_bytes: u64) -> Self {
        (self.geometry, self.image_bytes) = (geometry, image_bytes);
        self
    }

    /// Returns whether the filesystem of the output belongs to GNU Hurd.
    pub(crate) fn is_of_hurd(&self) -> bool {
        self.superblock.s_creator_os == sb::OS_HURD
    }
}

impl Profiled {
    /// Returns the smallest size in whole MiB at which the profile has the inode `last`; `None` if the number
    /// of inodes does not depend on the size.
    fn bytes_for_inodes(&self, last: InodeNr) -> Option<u64> {
        const STEP: u64 = 1 << 20;
        if self.changes.inodes.is_some() {
            return None;
        }
        let inodes = |bytes| -> Option<u32> {
            let settings = change::of_profile(self.profile, &self.changes, &self.own, bytes).ok()?;
            (!settings.least_inodes).then(|| settings.superblock.s_inodes_count.get())
        };
        let most = u64::from(last.0) * change::PROFILE_RATIO;
        // Rounding adds inodes to each group, so that a somewhat smaller size can be enough, and a last group
        // without room is left out, so that a larger size can be needed.
        let first = most / 100 * 98 / STEP;
        let steps = (first.max(1)..=first + most / STEP / 16 + 64).map(|count| count * STEP);
        steps.into_iter().find(|bytes| inodes(*bytes).is_some_and(|inodes| inodes >= last.0))
    }
}

/// Returns the image and the tree with all block numbers in units of `block_size` bytes; `None` if the blocks
/// of the image are not larger. [`Target::check_tree`] must have accepted the tree.
pub(crate) fn in_smaller_blocks<'a>(
    source: &Source<'a>,
    tree: &Tree,
    block_size: usize,
) -> Option<(Source<'a>, Tree)> {
    let ratio = fits(source.geometry.block_size / block_size, "blocks have at most 64 KiB");
    if ratio <= 1 {
        return None;
    }
    let mut tree = tree.clone();
    for run in &mut tree.runs {
        *run = run.in_smaller_blocks(ratio);
    }
    for node in &tree.nodes {
        let Kind::Regular { size, first, count, .. } = node.kind else { continue };
        let end = size.div_ceil(block_size as u64);
        for run in &mut tree.runs[first..][..count as usize] {
            // The last block of the file can have smaller blocks past its end.
            let left = end.saturating_sub(run.logical.into());
            run.count = u32::try_from(left).unwrap_or(u32::MAX).min(run.count);
        }
    }
    Some((source.in_smaller_blocks(block_size), tree))
}

/// Reads the settings of an image.
pub(crate) fn settings_of(source: &Source<'_>, specials: &Specials) -> Settings {
    let input = source.input();
    Settings {
        superblock: source.superblock,
        journal: specials.journal,
        orphan_file: specials.orphan_file.map(|file| file.blocks),
        quotas: specials.quotas.iter().map(|file| (file.kind, file.rules.clone())).collect(),
        least_inodes: false,
        image_bytes: if input.is_part() {
            source.geometry.filesystem_bytes()
        } else {
            input.bytes().len() as u64
        },
    }
}

/// Returns the inodes outside the tree for these settings. With `stable_inodes`, they keep the numbers that
/// they have in the input.
fn specials_of(settings: &Settings, input: &Specials) -> Specials {
    let number_before = |kind| match kind {
        QuotaType::User => InodeNr::USER_QUOTA,
        QuotaType::Group => InodeNr::GROUP_QUOTA,
        QuotaType::Project => {
            let file = input.quotas.iter().find(|file| file.kind == kind);
            file.map_or(InodeNr(0), |file| file.number)
        }
    };
    let quotas = settings.quotas.iter().map(|(kind, rules)| QuotaFile {
        kind: *kind,
        number: number_before(*kind),
        rules: rules.clone(),
        usage: HashMap::new(),
    });
    let orphan_number = input.orphan_file.map_or(InodeNr(0), |file| file.number);
    Specials {
        journal: settings.journal,
        quotas: quotas.collect(),
        orphan_file: settings.orphan_file.map(|blocks| SpecialFile { number: orphan_number, blocks }),
        ..Specials::default()
    }
}

/// Returns an error if the input and the settings depend on different things outside the tree: inode numbers,
/// an external journal, or the operating system.
fn check_bound(source: &Source<'_>, tree: &Tree, superblock: &Superblock, features: Features) -> Result<()> {
    let refused = |problem: &str, remedy: Remedy| Err(Error::options(problem, remedy));
    let stable = |features: Features| features.has(Compat::STABLE_INODES);
    if stable(source.features()) != stable(features) {
        let which = if stable(features) { "only the requested settings have" } else { "only the input has" };
        let encrypted = tree.ids().find(|id| tree.node(*id).flags.contains(InodeFlags::ENCRYPT));
        let path = encrypted.map(|id| format!(", such as {}", tree.paths().swap_remove(id.index())));
        let path = path.unwrap_or_default();
        return refused(
            &format!(
                "{which} the stable_inodes feature: files{path} may be encrypted with keys that depend on it"
            ),
            Remedy::KeepSettings,
        );
    }
    let outside = features.has(Compat::HAS_JOURNAL) && superblock.s_journal_inum == U32::new(0);
    if outside && superblock.s_journal_uuid != source.superblock.s_journal_uuid {
        return refused(
            "the requested settings have an external journal, which belongs to a different filesystem",
            Remedy::KeepSettings,
        );
    }
    if (superblock.s_creator_os == sb::OS_HURD) != source.is_of_hurd() {
        return refused(
            "only one of the input and the requested settings is of GNU Hurd, whose inodes have other fields",
            Remedy::KeepSettings,
        );
    }
    Ok(())
}

/// Returns an error if the image has bytes other than zero past the end of its filesystem, which would be
/// lost.
fn check_rest(source: &Source<'_>) -> Result<()> {
    let rest = source.geometry.filesystem_bytes()..source.input().bytes().len() as u64;
    match first_set_byte(source.input().bytes(), source.input().data_within(rest)) {
        None => Ok(()),
        Some(offset) => Err(Error::options(
            format!(
                "the image has data after the end of its filesystem (byte {offset}), which a different size would lose"
            ),
            Remedy::KeepSizeOrCut,
        )),
    }
}
