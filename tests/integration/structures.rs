//! The on-disk structures, compared with images of real tools: decoding and encoding gives the same bytes,
//! checksums are equal to those of mke2fs and the kernel, and hashes are equal to those of debugfs.

use std::fs;

use ext4_canon::Input;
use ext4_canon::internals::form;
use ext4_canon::internals::ondisk::checksum::Checksums;
use ext4_canon::internals::ondisk::dir_entry::{self, DirEntry, DirEntryTail};
use ext4_canon::internals::ondisk::dirhash::{DirHash, HashVersion};
use ext4_canon::internals::ondisk::extent::{Extent, ExtentHeader};
use ext4_canon::internals::ondisk::group_descriptor::GroupDescriptor;
use ext4_canon::internals::ondisk::inode::{Inode, Timestamp};
use ext4_canon::internals::ondisk::jbd2::JournalSuperblock;
use ext4_canon::internals::ondisk::superblock::Superblock;
use ext4_canon::internals::ondisk::view;
use ext4_canon::internals::ondisk::xattr::{self, XattrEntry, XattrHeader};
use ext4_canon::internals::{BlockNr, GroupNr, InodeNr};
use ext4_canon::internals::{Overlay, Source};
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::support::kernel::Mounted;
use crate::support::tools::project;
use crate::support::{Lab, Need, gate, run, tool};

/// Makes an image with a directory, files, a long symlink and xattrs, with `mke2fs -d`.
fn image_bytes(options: &[&str]) -> (Lab, Vec<u8>) {
    let lab = Lab::new();
    let tree = lab.folder("tree");
    fs::create_dir(tree.join("folder")).expect("a folder");
    for n in 0..40 {
        fs::write(tree.join(format!("folder/file number {n}")), vec![n; 3000]).expect("a file");
    }
    std::os::unix::fs::symlink("t".repeat(100), tree.join("link")).expect("a symlink");
    let image = lab.mke2fs_d("image", "16M", options, &tree);
    let bytes = fs::read(image).expect("reading");
    (lab, bytes)
}

/// Returns the inodes in use, with their bytes.
fn inodes<'a>(source: &Source<'a>) -> Vec<(InodeNr, &'a [u8])> {
    let numbers = (1..=source.geometry.inodes_count()).map(InodeNr);
    let inodes = numbers.filter_map(|number| Some((number, source.inode(number)?)));
    inodes.filter(|(_, bytes)| Inode::decode(bytes).i_links_count.get() > 0).collect()
}

/// Returns the blocks of an inode's extents. The extent tree must have depth 0.
fn blocks_of_inode(inode: &Inode) -> Vec<u64> {
    let header = view::<ExtentHeader>(&inode.i_block).expect("a header");
    assert_eq!(header.eh_depth.get(), 0);
    let entries = inode.i_block[12..].chunks_exact(12).take(header.eh_entries.get().into());
    let extents = entries.map(|bytes| Extent::read_from_bytes(bytes).expect("an extent"));
    extents.flat_map(|extent| extent.start().0..extent.start().0 + u64::from(extent.len().0)).collect()
}

#[test]
fn what_is_decoded_encodes_to_the_same_bytes() {
    for options in
        [&["-t", "ext4"][..], &["-t", "ext4", "-b", "1024"], &["-t", "ext4", "-O", "^64bit,^metadata_csum"]]
    {
        let (_lab, bytes) = image_bytes(options);
        let raw = &bytes[1024..2048];
        assert_eq!(Superblock::read_from_bytes(raw).expect("1024 bytes").as_bytes(), raw);
        let overlay = Overlay::default();
        let source = Source::open(Input::new(&bytes), &overlay).expect("a filesystem");
        let size = source.geometry.descriptor_size;
        let table = source.block(source.geometry.descriptor_block(0)).expect("descriptors");
        assert!(source.geometry.groups > 0);
        for raw in table.chunks_exact(size).take(source.geometry.groups as usize) {
            assert_eq!(&GroupDescriptor::decode(raw).as_bytes()[..size], raw);
        }
        let mut seen = 0;
        for (number, raw) in inodes(&source) {
            let inode = Inode::decode(raw);
            if inode.i_extra_isize.get() == 32 {
                assert_eq!(inode.as_bytes(), &raw[..160], "inode {number}");
                let time = Timestamp::decode(inode.i_mtime, inode.i_mtime_extra);
                assert_eq!(time.encode(true), Some((inode.i_mtime, inode.i_mtime_extra)));
                seen += 1;
            }
        }
        assert!(seen > 40, "{seen}");
        let journal =
            inodes(&source).into_iter().find(|(number, _)| *number == InodeNr::JOURNAL).expect("a journal");
        let block = blocks_of_inode(&Inode::decode(journal.1))[0];
        let raw = &source.block(BlockNr(block)).expect("a block")[..1024];
        assert_eq!(JournalSuperblock::read_from_bytes(raw).expect("1024 bytes").as_bytes(), raw);
    }
}

#[test]
fn directory_entries_encode_to_the_same_bytes() {
    let (_lab, bytes) = image_bytes(&["-t", "ext4", "-b", "1024"]);
    let overlay = Overlay::default();
    let source = Source::open(Input::new(&bytes), &overlay).expect("a filesystem");
    let root = Inode::decode(source.inode(InodeNr::ROOT).expect("a root"));
    let block = source.block(BlockNr(blocks_of_inode(&root)[0])).expect("a block");
    let (mut offset, mut names) = (0, Vec::new());
    while offset < block.len() - dir_entry::TAIL_SIZE {
        let entry = view::<DirEntry>(&block[offset..]).expect("an entry");
        let length = dir_entry::decode_rec_len(entry.rec_len, block.len());
        assert_eq!(dir_entry::encode_rec_len(length, block.len()), entry.rec_len);
        assert_eq!(entry.as_bytes(), &block[offset..offset + 8]);
        names.push(String::from_utf8_lossy(&block[offset + 8..][..entry.name_len.into()]).into_owned());
        offset += length;
    }
    for name in [".", "..", "folder", "link", "lost+found"] {
        assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
    }
    assert!(view::<DirEntryTail>(&block[offset..]).expect("a tail").is_valid());
}

#[test]
fn checksums_are_those_that_mke2fs_stored() {
    for options in [&["-t", "ext4"][..], &["-t", "ext4", "-b", "1024", "-O", "metadata_csum_seed"]] {
        let (_lab, bytes) = image_bytes(options);
        let overlay = Overlay::default();
        let source = Source::open(Input::new(&bytes), &overlay).expect("a filesystem");
        let sums = source.checksums;
        let mut other = source.superblock;
        other.s_uuid[0] ^= 1;
        other.s_checksum_seed = (other.s_checksum_seed.get() ^ 1).into();
        let wrong = Checksums::of(&other);

        let raw: &[u8; 1024] = bytes[1024..2048].first_chunk().expect("1024 bytes");
        assert_eq!(sums.superblock(raw), Some(source.superblock.s_checksum.get()));
        let table = source.block(source.geometry.descriptor_block(0)).expect("descriptors");
        let raw = &table[..source.geometry.descriptor_size];
        let stored = Some(source.descriptors[0].bg_checksum.get());
        assert_eq!(sums.group_descriptor(GroupNr(0), raw), stored);
        assert_ne!(sums.group_descriptor(GroupNr(1), raw), stored);
        assert_ne!(wrong.group_descriptor(GroupNr(0), raw), stored);
        let bitmap = source.block(source.descriptors[0].block_bitmap()).expect("a bitmap");
        let live = usize::try_from(source.geometry.blocks_per_group / 8).expect("a size");
        assert_eq!(sums.bitmap(&bitmap[..live]), Some(source.descriptors[0].block_bitmap_csum()));
        // A checksum over the whole block would be wrong.
        if live < bitmap.len() {
            assert_ne!(sums.bitmap(bitmap), Some(source.descriptors[0].block_bitmap_csum()));
        }
        let inodes = inodes(&source);
        assert!(inodes.len() > 40, "{}", inodes.len());
        for (number, raw) in inodes {
            let inode = Inode::decode(raw);
            let with_high = inode.i_extra_isize.get() >= 4;
            let stored = u32::from(inode.i_checksum_hi.get()) << 16 | u32::from(inode.l_i_checksum_lo.get());
            let generation = inode.i_generation.get();
            assert_eq!(sums.inode(number, generation, raw, with_high), Some(stored), "inode {number}");
            assert_ne!(sums.inode(InodeNr(number.0 + 1), generation, raw, with_high), Some(stored));
        }
        let root = Inode::decode(source.inode(InodeNr::ROOT).expect("a root"));
        let block = source.block(BlockNr(blocks_of_inode(&root)[0])).expect("a block");
        let tail = view::<DirEntryTail>(&block[block.len() - 12..]).expect("a tail");
        let stored = Some(tail.det_checksum.get());
        assert_eq!(sums.directory_block(InodeNr::ROOT, root.i_generation.get(), block), stored);
        assert_ne!(wrong.directory_block(InodeNr::ROOT, root.i_generation.get(), block), stored);
    }
}

#[test]
fn descriptors_of_uninit_bg_have_a_crc16() {
    let (_lab, bytes) = image_bytes(&["-t", "ext4", "-O", "^metadata_csum,uninit_bg"]);
    let overlay = Overlay::default();
    let source = Source::open(Input::new(&bytes), &overlay).expect("a filesystem");
    let table = source.block(source.geometry.descriptor_block(0)).expect("descriptors");
    let raw = &table[..source.geometry.descriptor_size];
    let stored = Some(source.descriptors[0].bg_checksum.get());
    assert!(!source.checksums.covers_metadata());
    assert_eq!(source.checksums.group_descriptor(GroupNr(0), raw), stored);
    assert_ne!(source.checksums.group_descriptor(GroupNr(1), raw), stored);
}

/// Xattrs that don't fit into the inode are in a block, with all hashes.
#[test]
#[ignore = "needs root: mounts images"]
fn xattr_hashes_are_those_that_the_kernel_stored() {
    if !gate(&[Need::Mounts]) {
        return;
    }
    let lab = Lab::new();
    let path = lab.mke2fs("image", "16M", &["-t", "ext4"]);
    let mounted = Mounted::read_write(&path).expect("a mount");
    fs::write(mounted.path().join("file"), "content").expect("a file");
    for (name, value) in
        [("user.long", "v".repeat(301)), ("user.b\u{e9}", "w".repeat(200)), ("trusted.x", "y".repeat(199))]
    {
        run(tool("setfattr").args(["-n", name, "-v", &value]).arg(mounted.path().join("file")));
    }
    mounted.unmount();
    let bytes = fs::read(&path).expect("reading");
    let overlay = Overlay::default();
    let source = Source::open(Input::new(&bytes), &overlay).expect("a filesystem");
    let block = inodes(&source).iter().map(|(_, raw)| Inode::decode(raw).file_acl()).find(|block| *block > 0);
    let at = BlockNr(block.expect("a block of xattrs"));
    let raw = source.block(at).expect("a block");
    let header = view::<XattrHeader>(raw).expect("a header");
    assert_eq!(source.checksums.xattr_block(at, raw), Some(header.h_checksum.get()));
    assert_ne!(source.checksums.xattr_block(BlockNr(at.0 + 1), raw), Some(header.h_checksum.get()));
    let (mut offset, mut hashes) = (32, Vec::new());
    while !xattr::is_end(raw, offset) {
        let entry = view::<XattrEntry>(&raw[offset..]).expect("an entry");
        let name = &raw[offset + 16..][..entry.e_name_len.into()];
        let value = &raw[entry.e_value_offs.get().into()..][..entry.e_value_size.get() as usize];
        assert_eq!(xattr::entry_hash(name, value, false), entry.e_hash.get());
        hashes.push(entry.e_hash.get());
        offset += xattr::entry_size(name.len());
    }
    assert_eq!(hashes.len(), 3);
    assert_eq!(xattr::block_hash(hashes), header.h_hash.get());
}

#[test]
fn names_are_hashed_as_debugfs_hashes_them() {
    let seed = "deadbeef-0123-4567-89ab-cdef00112233";
    let bytes = *uuid::Uuid::parse_str(seed).expect("a UUID").as_bytes();
    // For ASCII names, signed and unsigned characters give the same hash.
    let names = ["a", "four", "a name of sixteen", "thirty-two characters, no less!!", &"long-".repeat(51)];
    for (version, word) in
        [(HashVersion::Legacy, "legacy"), (HashVersion::HalfMd4, "half_md4"), (HashVersion::Tea, "tea")]
    {
        let hash = DirHash::new(version, bytes, true);
        for name in names {
            let command = format!("dx_hash -h {word} -s {seed} \"{name}\"");
            let said = run(tool("debugfs").args(["-R", &command]));
            let numbers: Vec<u32> = said
                .split(|c: char| !c.is_ascii_alphanumeric())
                .filter_map(|part| part.strip_prefix("0x"))
                .filter_map(|digits| u32::from_str_radix(digits, 16).ok())
                .collect();
            let (major, minor) = hash.hash(name.as_bytes());
            assert_eq!(numbers, [major, minor], "{word} {name}: {said}");
        }
    }
}

/// The rows in the document look like this: `
/// 0x00
/// 4
/// s_inodes_count
/// derive
/// …
/// `.
#[test]
fn every_field_has_its_row_in_the_form_and_in_its_specification() {
    let text = fs::read_to_string(project("docs/canonical-fields.md")).expect("reading");
    for (rows, fields) in [(form::SUPERBLOCK, Superblock::FIELDS), (form::INODE, Inode::FIELDS)] {
        assert_eq!(rows.len(), fields.len());
        for ((name, rule), field) in rows.iter().zip(fields) {
            assert_eq!(*name, field.name);
            let row = format!("| 0x{:02X} | {} | `{name}` | {} |", field.offset, field.size, rule.word());
            assert!(text.contains(&row), "missing in docs/canonical-fields.md: {row}");
        }
    }
    let documented = text.lines().filter(|line| line.starts_with("| 0x")).count();
    assert_eq!(documented, form::SUPERBLOCK.len() + form::INODE.len());
}
