//! Defines the flags of inodes.

#![allow(missing_docs, reason = "the names are the kernel's, without its prefixes")]

use bitflags::bitflags;

bitflags! {
    /// `i_flags`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct InodeFlags: u32 {
        const SECRM = 0x1;
        const UNRM = 0x2;
        const COMPR = 0x4;
        const SYNC = 0x8;
        const IMMUTABLE = 0x10;
        const APPEND = 0x20;
        const NODUMP = 0x40;
        const NOATIME = 0x80;
        const DIRTY = 0x100;
        const COMPRBLK = 0x200;
        const NOCOMPR = 0x400;
        const ENCRYPT = 0x800;
        const INDEX = 0x1000;
        const IMAGIC = 0x2000;
        const JOURNAL_DATA = 0x4000;
        const NOTAIL = 0x8000;
        const DIRSYNC = 0x10000;
        const TOPDIR = 0x20000;
        const HUGE_FILE = 0x40000;
        const EXTENTS = 0x80000;
        const VERITY = 0x0010_0000;
        const EA_INODE = 0x0020_0000;
        const EOFBLOCKS = 0x0040_0000;
        const NOCOW = 0x0080_0000;
        const SNAPFILE = 0x0100_0000;
        const DAX = 0x0200_0000;
        const SNAPFILE_DELETED = 0x0400_0000;
        const SNAPFILE_SHRUNK = 0x0800_0000;
        const INLINE_DATA = 0x1000_0000;
        const PROJINHERIT = 0x2000_0000;
        const CASEFOLD = 0x4000_0000;

        /// Flags that users can set. They are part of the tree.
        const USER = Self::SECRM.bits() | Self::UNRM.bits() | Self::COMPR.bits() | Self::SYNC.bits()
            | Self::IMMUTABLE.bits() | Self::APPEND.bits() | Self::NODUMP.bits() | Self::NOATIME.bits()
            | Self::NOCOMPR.bits() | Self::JOURNAL_DATA.bits() | Self::NOTAIL.bits() | Self::DIRSYNC.bits()
            | Self::TOPDIR.bits() | Self::DAX.bits() | Self::PROJINHERIT.bits();
        /// Flags that determine how content or names are read. Each belongs to a feature.
        const STRUCTURAL = Self::ENCRYPT.bits() | Self::VERITY.bits() | Self::CASEFOLD.bits();
        /// The flags of an encrypted and casefolded directory, whose entries contain the hashes of the
        /// plaintext names.
        const HASHED_NAMES = Self::ENCRYPT.bits() | Self::CASEFOLD.bits();
        /// Flags that are derived from the way in which the inode is stored.
        const DERIVED = Self::INDEX.bits() | Self::HUGE_FILE.bits() | Self::EXTENTS.bits() | Self::EOFBLOCKS.bits()
            | Self::INLINE_DATA.bits();
    }
}
