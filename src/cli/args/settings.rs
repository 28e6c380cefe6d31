//! Defines the options for the settings of the output: everything that does not come from the tree.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ext4_canon::{Changes, FeatureChanges, Inodes, Options, Profile, Reserved};

use super::values::{bytes, features, inodes, power_of_two, reserved};

/// The options for the settings of the output.
#[derive(Args, Debug)]
pub struct SettingsArgs {
    /// Use the settings of the filesystem in REF: block size, features, journal, label and all others; also
    /// its size, unless --size is given. REF can be an empty image from mke2fs. It is only read
    #[arg(long, value_name = "REF", conflicts_with = "profile")]
    pub like: Option<PathBuf>,

    /// Use the settings of a profile, which do not depend on IN or on any mke2fs; see docs/profiles.md
    #[arg(long, value_enum)]
    profile: Option<ProfileName>,

    /// Set features, and clear those after ^, as mke2fs -O does, for example ^orphan_file,quota
    #[arg(long, value_name = "[^]NAME,...", value_parser = features)]
    features: Option<FeatureChanges>,

    /// Block size
    #[arg(long, value_name = "BYTES", value_parser = power_of_two)]
    block_size: Option<u32>,

    /// Cluster size, with the bigalloc feature
    #[arg(long, value_name = "BYTES", value_parser = power_of_two)]
    cluster_size: Option<u32>,

    /// Inode size
    #[arg(long, value_name = "BYTES", value_parser = power_of_two)]
    inode_size: Option<u32>,

    /// Number of inodes, which mke2fs's rules round; min: as few as the tree needs
    #[arg(long, value_name = "N|min", value_parser = inodes)]
    inodes: Option<Inodes>,

    /// Size of the journal
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    journal_size: Option<u64>,

    /// Reserved blocks: a percentage such as 2.5%, or a number of blocks
    #[arg(long, value_name = "PERCENT%|BLOCKS", value_parser = reserved)]
    reserved: Option<Reserved>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProfileName {
    /// Features that current distributions use and Linux 4.19 mounts
    Ext4,
    /// Features that Linux 4.4, e2fsprogs 1.43 and old boot loaders know
    Ext4Compat,
    /// Second extended filesystem, for boot loaders
    Ext2,
    /// Smallest ext4 for images that are never written
    Ext4Min,
}

impl SettingsArgs {
    /// Sets these options in the library's options, except `--like`, which needs an image.
    pub fn set(&self, options: &mut Options) {
        if let Some(profile) = self.profile {
            *options = options.clone().profile(match profile {
                ProfileName::Ext4 => Profile::Ext4,
                ProfileName::Ext4Compat => Profile::Ext4Compat,
                ProfileName::Ext2 => Profile::Ext2,
                ProfileName::Ext4Min => Profile::Ext4Min,
            });
        }
        let mut changes = Changes::default();
        changes.features = self.features.unwrap_or_default();
        changes.block_size = self.block_size;
        changes.cluster_size = self.cluster_size;
        changes.inode_size = self.inode_size;
        changes.inodes = self.inodes;
        changes.journal_size = self.journal_size;
        changes.reserved = self.reserved;
        options.changes = changes;
    }
}
