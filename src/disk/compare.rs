//! Compares two disks: their partition tables, their filesystems, and all other bytes.

use std::ops::Range;

use super::chosen::ChosenFilesystem;
use super::cures;
use super::image::Disk;
use super::partition::Partition;
use super::partition_table::{PartitionTable, TableKind};
use crate::compare::{
    self, BlockMaps, CompareError, ComparedIdentities, Comparison, Details, FilesystemComparison,
    SettingDifference,
};
use crate::error::Error;
use crate::identities::Identity;
use crate::observe::Observer;
use crate::pipeline;
use crate::policy::Options;
use crate::remedy::Remedy;
use crate::source::Input;

impl Disk<'_> {
    /// Compares the canonical forms of two images without creating them, so they need not fit into the
    /// images.
    ///
    /// If both images have a partition table, and no filesystem was selected, compares the partition tables,
    /// the filesystems and all other bytes. Otherwise compares only one filesystem of each image.
    ///
    /// # Errors
    ///
    /// A [`CompareError`] that says which image the error is about. The error is `Options` if only one image
    /// is compared as a disk with partitions, if several filesystems are selected in an image, or if a
    /// filesystem within an image would get a different size.
    pub fn compare(
        &self,
        other: &Disk<'_>,
        options: &Options,
        details: Details,
        observer: &dyn Observer,
    ) -> Result<Comparison, CompareError> {
        let disks: [&Disk<'_>; 2] = [self, other];
        for (side, disk) in disks.iter().enumerate() {
            let checked = disk.check_size(options).and_then(|()| disk.check_table(options));
            checked.map_err(|error| CompareError { side, error })?;
        }
        // Files can also name identities that do not change.
        let all = options.clone().canonical_table(true);
        let changing = both_identities(disks, options)?;
        let every = both_identities(disks, &all)?;
        let identities = ComparedIdentities {
            changing: changing.each_ref().map(Vec::as_slice),
            every: every.each_ref().map(Vec::as_slice),
        };
        let compare = |parts: [&ChosenFilesystem; 2], name: Option<String>| {
            let found = compare_filesystems(disks, parts, identities, (options, details), observer)?;
            Ok(FilesystemComparison { name, ..found })
        };
        match disks.map(Disk::is_whole_disk) {
            [false, false] => {
                let only = |side: usize| disks[side].only().map_err(|error| CompareError { side, error });
                let filesystems = vec![compare([only(0)?, only(1)?], None)?];
                Ok(Comparison { filesystems, ..Comparison::default() })
            }
            [true, true] => {
                let mut settings = tables(disks, options);
                let twins = twins(disks).into_iter();
                let filesystems = twins.map(|parts| compare(parts, parts[0].name.clone()));
                let filesystems = filesystems.collect::<Result<_, _>>()?;
                let tables_differ = !settings.is_empty();
                settings.extend(bytes(disks, options, tables_differ));
                cures::add(self.table.as_ref(), &mut settings);
                Ok(Comparison { settings, filesystems })
            }
            [one_is_whole, _] => {
                let problem = "only one of the two images is a disk with partitions";
                let error = Error::options(problem, Remedy::ChooseOne);
                Err(CompareError { side: usize::from(!one_is_whole), error })
            }
        }
    }
}

/// Returns the identities of both disks that can change.
fn both_identities(disks: [&Disk<'_>; 2], options: &Options) -> Result<[Vec<Identity>; 2], CompareError> {
    let of = |side: usize| disks[side].identities(options).map_err(|error| CompareError { side, error });
    Ok([of(0)?, of(1)?])
}

/// Returns the pairs of filesystems that have the same byte range on both disks, in the order of their
/// offsets.
fn twins<'d>(disks: [&'d Disk<'_>; 2]) -> Vec<[&'d ChosenFilesystem; 2]> {
    let twin = |part: &'d ChosenFilesystem| {
        let other = disks[1].parts.iter().find(|other| other.bytes == part.bytes)?;
        Some([part, other])
    };
    disks[0].parts.iter().filter_map(twin).collect()
}

fn compare_filesystems(
    disks: [&Disk<'_>; 2],
    parts: [&ChosenFilesystem; 2],
    identities: ComparedIdentities<'_>,
    (options, details): (&Options, Details),
    observer: &dyn Observer,
) -> Result<FilesystemComparison, CompareError> {
    let inputs = [0, 1].map(|side| disks[side].filesystem(parts[side]));
    let named = |side: usize, error| CompareError { side, error: Disk::error(parts[side], error) };
    let comparison = compare::compare([&inputs[0], &inputs[1]], identities, options, details, observer)
        .map_err(|failed| named(failed.side, failed.error))?;
    let maps = |side: usize, cells| {
        let (before, after) = pipeline::occupancy(&inputs[side], options, cells, observer)
            .map_err(|error| named(side, error))?;
        Ok(BlockMaps { before, after })
    };
    let block_maps = details.map_cells.map(|cells| Ok([maps(0, cells)?, maps(1, cells)?])).transpose()?;
    Ok(FilesystemComparison { block_maps, ..comparison })
}

/// Compares the partition tables.
fn tables(disks: [&Disk<'_>; 2], options: &Options) -> Vec<SettingDifference> {
    let mut settings = Vec::new();
    let mut add = |name: String, values: [String; 2]| {
        if values[0] != values[1] {
            settings.push(SettingDifference { name, values, ..SettingDifference::default() });
        }
    };
    add("bytes of the disk".to_owned(), disks.map(|disk| disk.input.bytes().len().to_string()));
    add("partition table".to_owned(), disks.map(|disk| kind(disk, options)));
    add("filesystems".to_owned(), disks.map(filesystems));
    let partitions = disks.map(|disk| disk.table.as_ref().map_or(&[][..], |table| &table.partitions));
    let mut numbers: Vec<_> = partitions.iter().flat_map(|all| all.iter().map(|one| one.number)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for number in numbers {
        let both = partitions.map(|all| all.iter().find(|partition| partition.number == number));
        let [Some(one), Some(other)] = both else {
            let shown =
                |partition: Option<&Partition>| partition.map_or("(none)".to_owned(), Partition::shown);
            add(format!("partition {number}"), both.map(shown));
            continue;
        };
        let mut field = |what: &str, of: &dyn Fn(&Partition) -> String| {
            add(format!("{} of partition {number}", what), [of(one), of(other)]);
        };
        field("name", &|partition| {
            if partition.name.is_empty() { "(none)".to_owned() } else { partition.name.clone() }
        });
        field("type", &|partition| partition.kind.clone());
        field("attributes", &|partition| format!("{:#x}", partition.attributes));
        field("first byte", &|partition| partition.bytes.start.to_string());
        field("size in bytes", &|partition| (partition.bytes.end - partition.bytes.start).to_string());
        if !options.canonical_table {
            field("PARTUUID", &|partition| partition.uuid.clone());
        }
    }
    settings
}

/// Describes the selected filesystems and their byte ranges.
fn filesystems(disk: &Disk<'_>) -> String {
    let parts = disk.parts.iter().map(|part| format!("bytes {} to {}", part.bytes.start, part.bytes.end));
    parts.collect::<Vec<_>>().join(", ")
}

fn kind(disk: &Disk<'_>, options: &Options) -> String {
    match &disk.table {
        None => "(none)".to_owned(),
        Some(PartitionTable { kind: TableKind::Gpt(_), .. }) if options.canonical_table => "GPT".to_owned(),
        Some(PartitionTable { kind: TableKind::Mbr(_), .. }) if options.canonical_table => "MBR".to_owned(),
        Some(PartitionTable { kind: TableKind::Gpt(guid), .. }) => format!("GPT {guid}"),
        Some(PartitionTable { kind: TableKind::Mbr(signature), .. }) => format!("MBR {signature:08x}"),
    }
}

/// Compares the bytes that are copied. If differences between the partition tables are already known, the
/// bytes of the tables are not compared.
fn bytes(disks: [&Disk<'_>; 2], options: &Options, tables_differ: bool) -> Vec<SettingDifference> {
    let [masked, other] = disks.map(|disk| disk.masked(options));
    let copied = [disks[0].copied(&masked, options), disks[1].copied(&other, options)];
    if copied[0] != copied[1] {
        // The differences between the partition tables explain this difference.
        return Vec::new();
    }
    let reserved = disks[0].table.as_ref().map_or(&[][..], |table| &table.reserved);
    let mut settings = Vec::new();
    let mut add = |offset: u64, values: [String; 2]| {
        let partitions = disks[0].table.iter().flat_map(|table| &table.partitions);
        let holder =
            partitions.filter(|partition| partition.bytes.contains(&offset)).map(Partition::shown).next();
        let name = format!("byte {offset} of {}", holder.unwrap_or_else(|| "the disk".to_owned()));
        settings.push(SettingDifference { name, values, ..SettingDifference::default() });
    };
    for range in copied[0].iter().flat_map(|range| split(range, reserved)) {
        if tables_differ && reserved.iter().any(|table| table.contains(&range.start)) {
            continue;
        }
        if let Some(offset) = first_difference(disks.map(|disk| &disk.input), range) {
            add(offset, disks.map(|disk| value(&disk.input, offset)));
        }
    }
    if !tables_differ && masked != other {
        add(masked.first().map_or(0, |patch| patch.offset), ["(table)", "(another)"].map(str::to_owned));
    }
    settings
}

/// Cuts a range at the boundaries of other ranges.
fn split(range: &Range<u64>, at: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut cuts: Vec<u64> = at.iter().flat_map(|other| [other.start, other.end]).collect();
    cuts.retain(|cut| range.start < *cut && *cut < range.end);
    cuts.extend([range.start, range.end]);
    cuts.sort_unstable();
    cuts.dedup();
    cuts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

fn value(input: &Input<'_>, offset: u64) -> String {
    let byte = input.range(offset, offset + 1).and_then(<[u8]>::first);
    byte.map_or_else(String::new, |byte| format!("{byte:#04x}"))
}

/// Returns the offset of the first byte in a range that differs.
fn first_difference(inputs: [&Input<'_>; 2], range: Range<u64>) -> Option<u64> {
    const STEP: u64 = 1 << 16;
    let mut start = range.start;
    while start < range.end {
        let end = range.end.min(start + STEP);
        if !inputs.iter().all(|input| input.is_hole(start..end)) {
            let [one, other] =
                inputs.map(|input| input.range(start, end).expect("copied ranges are within the disk"));
            if one != other {
                let same = one.iter().zip(other).take_while(|(one, other)| one == other).count();
                return Some(start + same as u64);
            }
        }
        start = end;
    }
    None
}
