//! Checks of the mutants of one image with e2fsck and the kernel.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use ext4_canon::internals::ondisk::features::{Incompat, RoCompat};
use ext4_canon::internals::ondisk::inode::Inode;
use ext4_canon::internals::ondisk::superblock::{self, Superblock};
use ext4_canon::internals::ondisk::view;

use super::anatomy::{Anatomy, Canvas, Live};
use super::images::{Recipe, Then};
use super::mutate::Damage;
use super::outcome::{Outcome, Output, outcome};
use super::{Progress, Tally};
use crate::support::listing::first_difference;
use crate::support::{Lab, judge};

/// The judges of one image.
pub struct Court<'c> {
    pub lab: Lab,
    pub recipe: &'c Recipe,
    pub anatomy: &'c Anatomy,
    pub progress: &'c Progress,
    /// Whether this machine can mount images.
    pub mounts: bool,
    /// The tree of each output by digest, or `None` until an input has been compared with it.
    pub outputs: HashMap<u128, Option<String>>,
    pub tally: Tally,
}

impl Court<'_> {
    /// Judges a damaged image.
    pub fn judge(&mut self, canvas: &Canvas, damage: &Damage) {
        self.progress.send(format!("{}: {}", self.recipe.0, damage.words)).expect("a receiver");
        let image = &canvas.bytes[..damage.length.unwrap_or(canvas.bytes.len())];
        self.tally.mutants += 1;
        let words = match outcome(image) {
            Outcome::Refused => {
                self.tally.refused += 1;
                return;
            }
            Outcome::Wrong(words) => words,
            Outcome::Written(output) => match self.judge_output(image, &output) {
                Ok(()) => return,
                Err(words) => words,
            },
        };
        let name = self.recipe.0.replace([' ', ','], "-");
        let name = format!("ext4-canon-damage-{name}-{}.img", self.tally.mutants);
        let kept = std::env::temp_dir().join(name);
        fs::write(&kept, image).expect("writing");
        let place = kept.display();
        self.tally.wrong.push(format!("{}: {}: {words} ({place})", self.recipe.0, damage.words));
    }

    /// Checks each output once with e2fsck, and compares its tree with that of each input.
    fn judge_output(&mut self, image: &[u8], output: &Output) -> Result<(), String> {
        let path = self.lab.path("out.img");
        let reader = self.reader(image);
        let known = self.outputs.entry(output.digest());
        if let Entry::Vacant(_) = known {
            self.tally.outputs += 1;
            output.store(&path);
            judge::fsck_silent(&path)?;
        }
        let known = known.or_default();
        let Some(read) = reader else { return Ok(()) };
        self.tally.compared += 1;
        let input = self.lab.path("damaged.img");
        fs::write(&input, image).expect("writing");
        let wanted = read(&input).map_err(|words| format!("the input can't be read: {words}"))?;
        let found = match known {
            Some(found) => found,
            None => {
                output.store(&path);
                known.insert(read(&path).map_err(|words| format!("the output can't be read: {words}"))?)
            }
        };
        if wanted == *found {
            Ok(())
        } else {
            Err(format!("input and output differ:\n{}", first_difference(&wanted, found)))
        }
    }

    /// Returns a tool that reads the tree of an image without writing to it first, if there is one.
    fn reader(&self, image: &[u8]) -> Option<Reader> {
        let sb = image.get(superblock::OFFSET..).and_then(view::<Superblock>)?;
        let incompat = Incompat::from_bits_retain(sb.s_feature_incompat.get());
        let ro_compat = RoCompat::from_bits_retain(sb.s_feature_ro_compat.get());
        let has_orphans = ro_compat.contains(RoCompat::ORPHAN_PRESENT) || sb.s_last_orphan.get() != 0;
        // Few kernels have the tables for casefolding.
        if has_orphans || incompat.intersects(Incompat::NEEDS_RECOVERY | Incompat::CASEFOLD) {
            None
        } else if self.recipe.3 == Then::Verity {
            // The kernel does not open a file with an invalid Merkle tree, and debugfs copies each byte of a
            // hole, so large files are skipped.
            let is_small = |inode: &Live| {
                image.get(inode.start..).is_none_or(|bytes| Inode::decode(bytes).size() < 1 << 24)
            };
            self.anatomy.inodes.iter().all(is_small).then_some(tree_by_debugfs)
        } else {
            self.mounts.then_some(tree_by_kernel)
        }
    }
}

/// A function that reads the tree of an image.
type Reader = fn(&Path) -> Result<String, String>;

fn tree_by_debugfs(image: &Path) -> Result<String, String> {
    Ok(judge::debugfs_tree(image))
}

/// Returns the tree that the kernel sees. If the kernel can't read it, this returns an error instead of a
/// panic.
fn tree_by_kernel(image: &Path) -> Result<String, String> {
    catch_unwind(|| judge::kernel_tree(image)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map_or("a panic", String::as_str);
        Err(words.to_owned())
    })
}
