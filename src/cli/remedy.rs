//! Describes remedies for the library's errors in terms of command-line options.

use ext4_canon::Remedy;

/// Describes a remedy that involves command-line options. Returns `None` for all other remedies.
pub fn option(remedy: &Remedy) -> Option<String> {
    if let Some(words) = about_settings(remedy) {
        return Some(words);
    }
    let words = match remedy {
        Remedy::Enlarge { bytes, for_inodes, in_partition: false } => {
            return Some(enlarge(*bytes, *for_inodes));
        }
        Remedy::Resize { bytes, in_partition: false } => {
            return Some(format!(
                "make the image larger, beforehand or with --size, or use --size {bytes}, and try again"
            ));
        }
        Remedy::ChooseAmong(names) => {
            return Some(format!("use --partition with one of {}", names.join(", ")));
        }
        Remedy::AcceptErrorState { .. } => {
            "run e2fsck -f on the image, or accept it with --ignore-error-state"
        }
        Remedy::EnlargeGroups => {
            "make the image larger, for example with --size min, or make it with larger groups"
        }
        Remedy::LargerSize => "give a larger --size, or --size min",
        Remedy::KeepSize => "leave --size out",
        Remedy::KeepSizeOrCut => "leave --size (or --like, or --profile) out, or cut these bytes off",
        Remedy::MoreInodes => {
            "use --inodes min, or recreate the image with more inodes (mke2fs -N), and try again"
        }
        Remedy::KeepSettings => "keep the settings of the input: leave --like (or --profile, --features) out",
        Remedy::SmallerSettings => "use --like with a smaller filesystem, or --profile",
        Remedy::KeepUuid => "use --uuid keep",
        Remedy::KeepHardLinks => "leave --hard-links out",
        Remedy::KeepTable => "leave --table out",
        Remedy::KeepGaps => "leave --zero-gaps out",
        Remedy::GiveEpoch => "set SOURCE_DATE_EPOCH, or use --source-date-epoch",
        Remedy::GiveJournal => "give that device with --journal (compare: --journal-a, --journal-b)",
        Remedy::OmitJournal => "leave --journal out",
        Remedy::ChooseOne => "use --partition to choose one",
        Remedy::ChooseByNumber => "use --partition with a number",
        Remedy::ChooseNone => "leave --partition out, or use --offset",
        Remedy::ChooseOffsetOrPartition => {
            "use --offset 0 for the filesystem, or --partition for one of the table"
        }
        Remedy::GiveOffset => "give the image of a filesystem or of a disk with partitions, or use --offset",
        Remedy::CorrectOffset => "give an --offset and a --size within the image",
        Remedy::GiveOffsetOrSectorSize => {
            "give a disk with an ext filesystem, or use --offset, or --sector-size if its sectors are larger"
        }
        Remedy::GiveSectorSize => "use --sector-size with the right one",
        Remedy::RecreateTable => {
            "recreate the partition table, or use --offset, if the offset of a filesystem is known"
        }
        Remedy::CopyDiskAgain => {
            "copy all of the image again if it was cut short; otherwise recreate the partition table, or use \
             --offset, if the offset of a filesystem is known"
        }
        _ => return None,
    };
    Some(words.to_owned())
}

/// Describes a remedy that changes the requested settings or the treatment of stale UUIDs.
fn about_settings(remedy: &Remedy) -> Option<String> {
    Some(match remedy {
        Remedy::SetFeature { missing, needed_by } => format!("add {missing} or ^{needed_by} to --features"),
        Remedy::ClearFeature([one, other]) => format!("add ^{one} or ^{other} to --features"),
        Remedy::OtherValue(setting) => format!("use a different --{setting}"),
        Remedy::FeatureForValue { missing, setting } => {
            format!("add {missing} to --features, or leave --{setting} out")
        }
        Remedy::StaleUuids { of_table: false } => {
            "use --uuid keep, --rewrite-uuids or --allow-stale-uuids".to_owned()
        }
        Remedy::StaleUuids { of_table: true } => {
            "use --table keep, --rewrite-uuids or --allow-stale-uuids".to_owned()
        }
        Remedy::StaleText { of_table: false } => "use --uuid keep or --allow-stale-uuids".to_owned(),
        Remedy::StaleText { of_table: true } => "use --table keep or --allow-stale-uuids".to_owned(),
        _ => return None,
    })
}

fn enlarge(bytes: Option<u64>, for_inodes: bool) -> String {
    match bytes {
        Some(bytes) if for_inodes => format!(
            "make the image larger, beforehand or with --size {bytes} or more (inodes are added per block \
             group), or use --inodes min, and try again"
        ),
        Some(bytes) => format!("make the image larger, beforehand or with --size {bytes}, and try again"),
        None => "make the image larger, beforehand or with --size, and try again".to_owned(),
    }
}
