//! Checks that all features are supported. An image with an unsupported feature is refused, and the error
//! names the feature.

use crate::error::{Location, Result, Structure};
use crate::ondisk::features::{Compat, Features, Incompat, RoCompat};
use crate::ondisk::superblock::{self as sb, Superblock};

/// The features that this version supports.
const SUPPORTED: Features = Features {
    compat: Compat::from_bits_retain(
        Compat::DIR_PREALLOC.bits()
            | Compat::HAS_JOURNAL.bits()
            | Compat::EXT_ATTR.bits()
            | Compat::RESIZE_INODE.bits()
            | Compat::DIR_INDEX.bits()
            | Compat::SPARSE_SUPER2.bits()
            | Compat::FAST_COMMIT.bits()
            | Compat::STABLE_INODES.bits()
            | Compat::ORPHAN_FILE.bits(),
    ),
    incompat: Incompat::from_bits_retain(
        Incompat::FILETYPE.bits()
            | Incompat::META_BG.bits()
            | Incompat::EXTENTS.bits()
            | Incompat::BIT64.bits()
            | Incompat::MMP.bits()
            | Incompat::FLEX_BG.bits()
            | Incompat::METADATA_CSUM_SEED.bits()
            | Incompat::LARGE_DIR.bits()
            | Incompat::ENCRYPT.bits()
            | Incompat::INLINE_DATA.bits()
            | Incompat::CASEFOLD.bits()
            | Incompat::EA_INODE.bits(),
    ),
    ro_compat: RoCompat::from_bits_retain(
        RoCompat::SPARSE_SUPER.bits()
            | RoCompat::LARGE_FILE.bits()
            | RoCompat::HUGE_FILE.bits()
            | RoCompat::GDT_CSUM.bits()
            | RoCompat::DIR_NLINK.bits()
            | RoCompat::EXTRA_ISIZE.bits()
            | RoCompat::METADATA_CSUM.bits()
            | RoCompat::READONLY.bits()
            | RoCompat::PROJECT.bits()
            | RoCompat::BIGALLOC.bits()
            | RoCompat::QUOTA.bits()
            | RoCompat::VERITY.bits(),
    ),
};

/// Features that don't describe a format, but a state that must be resolved first.
pub(super) const STATE: Features = Features {
    compat: Compat::empty(),
    incompat: Incompat::NEEDS_RECOVERY,
    ro_compat: RoCompat::ORPHAN_PRESENT.union(RoCompat::SHARED_BLOCKS),
};

/// Features that need inode fields that GNU Hurd uses for other values.
const NOT_OF_HURD: Features = Features {
    compat: Compat::empty(),
    incompat: Incompat::BIT64.union(Incompat::EA_INODE),
    ro_compat: RoCompat::HUGE_FILE.union(RoCompat::METADATA_CSUM),
};

const LATER: &str = "use a newer version of ext4-canon, if there is one";

/// Checks that the revision, operating system and features of a superblock are supported.
pub(super) fn check_superblock(sb: &Superblock) -> Result<()> {
    let at = || Location::of(Structure::Superblock);
    let features = sb.features();
    if sb.s_rev_level.get() > sb::DYNAMIC_REV {
        return Err(at().unsupported(format!("revision {}", sb.s_rev_level), LATER));
    }
    let creator = sb.s_creator_os.get();
    if ![sb::OS_LINUX, sb::OS_HURD].contains(&creator) && !sb::OS_LIKE_LINUX.contains(&creator) {
        return Err(at().unsupported(
            format!(
                "a filesystem made for a system with a different inode layout (s_creator_os is {creator})"
            ),
            "recreate the image with mke2fs -o linux",
        ));
    }
    if features.has(Incompat::JOURNAL_DEV) {
        return Err(at().unsupported(
            "a journal device (feature journal_dev), not a filesystem",
            "use the image of the filesystem that this journal belongs to",
        ));
    }
    let unknown = features.difference(SUPPORTED).difference(STATE).names();
    if !unknown.is_empty() {
        let noun = if unknown.len() == 1 { "feature" } else { "features" };
        return Err(at().unsupported(format!("{noun} {}", unknown.join(", ")), LATER));
    }
    if creator == sb::OS_HURD && features != features.difference(NOT_OF_HURD) {
        return Err(at().unsupported(
            format!("a filesystem of the Hurd (s_creator_os is {creator}) with one of 64bit, ea_inode, huge_file, metadata_csum"),
            "recreate the image with mke2fs -o linux",
        ));
    }
    check_combinations(sb, features)
}

fn check_combinations(sb: &Superblock, features: Features) -> Result<()> {
    let at = || Location::of(Structure::Superblock);
    if features.has(RoCompat::SHARED_BLOCKS | RoCompat::BIGALLOC) {
        return Err(at().unsupported(
            "shared_blocks together with bigalloc, which no tool makes",
            "run e2fsck -E unshare_blocks on the image, so that files share no blocks",
        ));
    }
    if features.has(RoCompat::METADATA_CSUM | RoCompat::GDT_CSUM) {
        return Err(at().wrong("metadata_csum and uninit_bg are both set"));
    }
    if features.has(RoCompat::METADATA_CSUM) && sb.s_checksum_type != sb::CHECKSUM_CRC32C {
        return Err(at().value("s_checksum_type", sb.s_checksum_type, sb::CHECKSUM_CRC32C));
    }
    if features.has(Incompat::METADATA_CSUM_SEED) && !features.has(RoCompat::METADATA_CSUM) {
        return Err(at().unsupported(
            "metadata_csum_seed without metadata_csum",
            "clear it with debugfs -w -R 'feature -metadata_csum_seed'",
        ));
    }
    if features.has(RoCompat::BIGALLOC) && !features.has(Incompat::EXTENTS) {
        return Err(at().wrong("bigalloc is set without the extent feature"));
    }
    check_names(sb, features)?;
    // Some kernels accept the unterminated string, others refuse to mount.
    if !sb.s_mount_opts.contains(&0) {
        return Err(at().unsupported(
            "mount options that fill all of s_mount_opts, without a NUL byte",
            "set them again with tune2fs -E mount_opts=OPTIONS",
        ));
    }
    if features.has(Incompat::NEEDS_RECOVERY) && !features.has(Compat::HAS_JOURNAL) {
        return Err(at().wrong("needs_recovery is set, but there is no journal"));
    }
    if features.has(Compat::ORPHAN_FILE) && !features.has(Compat::HAS_JOURNAL) {
        return Err(at().wrong("orphan_file is set without has_journal"));
    }
    if sb.s_rev_level.get() == sb::GOOD_OLD_REV
        && (sb.s_feature_compat.get() | sb.s_feature_incompat.get() | sb.s_feature_ro_compat.get()) != 0
    {
        return Err(at().wrong("revision 0 has no features, but some are set"));
    }
    Ok(())
}

/// Checks that the versions of casefolding and encryption are known.
fn check_names(sb: &Superblock, features: Features) -> Result<()> {
    let at = || Location::of(Structure::Superblock);
    if features.has(Incompat::CASEFOLD) {
        if sb.s_encoding.get() != sb::ENCODING_UTF8_12_1 {
            return Err(at().unsupported(
                format!(
                    "names in an encoding other than UTF-8 of Unicode 12.1 (s_encoding is {})",
                    sb.s_encoding
                ),
                LATER,
            ));
        }
        if sb.s_encoding_flags.get() & !(sb::ENCODING_STRICT | sb::ENCODING_NO_FALLBACK) != 0 {
            return Err(at().unsupported(format!("s_encoding_flags {:#x}", sb.s_encoding_flags), LATER));
        }
    }
    if features.has(Incompat::ENCRYPT) && sb.s_encryption_level != 0 {
        return Err(at().unsupported(format!("s_encryption_level {}", sb.s_encryption_level), LATER));
    }
    Ok(())
}
