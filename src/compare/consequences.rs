//! Finds settings that differ only because another setting differs. For example, a different block size
//! changes all counts of blocks.

use super::difference::SettingDifference;

/// Settings, each with the settings that mke2fs computes from it. Earlier causes take precedence.
const CONSEQUENCES: &[(&str, &[&str])] = &[
    (
        "block size",
        &[
            "blocks",
            "reserved blocks",
            "cluster size",
            "blocks per group",
            "inodes per group",
            "reserved descriptor blocks",
            "first meta group",
            "groups with backups",
            "blocks of the journal",
            "blocks of the journal for fast commits",
            "blocks of the orphan file",
        ],
    ),
    ("bytes of the image", &["blocks"]),
    (
        "blocks",
        &[
            "reserved blocks",
            "inodes per group",
            "reserved descriptor blocks",
            "groups with backups",
            "blocks of the journal",
            "blocks of the journal for fast commits",
            "blocks of the orphan file",
        ],
    ),
    ("feature bigalloc", &["cluster size", "blocks per group", "inodes per group"]),
    ("cluster size", &["blocks per group", "inodes per group"]),
    ("blocks per group", &["inodes per group", "reserved descriptor blocks"]),
    ("feature 64bit", &["descriptor size", "reserved descriptor blocks"]),
    ("descriptor size", &["reserved descriptor blocks"]),
    ("feature resize_inode", &["reserved descriptor blocks"]),
    ("feature meta_bg", &["first meta group", "reserved descriptor blocks"]),
    ("feature sparse_super2", &["groups with backups"]),
    ("feature flex_bg", &["groups in a flex group"]),
    ("feature fast_commit", &["blocks of the journal for fast commits", "blocks of the journal"]),
    ("blocks of the journal for fast commits", &["blocks of the journal"]),
    ("feature journal_dev", &["UUID of the external journal", "device of the external journal"]),
    ("place of the journal", &["UUID of the external journal", "device of the external journal"]),
    ("inode size", &["least extra size of inodes", "wanted extra size of inodes", "inodes per group"]),
    ("feature extra_isize", &["least extra size of inodes", "wanted extra size of inodes"]),
    ("feature quota", &["user quota", "group quota", "project quota"]),
    ("feature project", &["project quota"]),
    ("feature stable_inodes", &["UUID"]),
];

/// Names the cause of each consequence, and moves consequences after their cause.
pub(super) fn order(settings: Vec<SettingDifference>) -> Vec<SettingDifference> {
    let names: Vec<String> = settings.iter().map(|setting| setting.name.clone()).collect();
    let cause_of = |name: &str| {
        let explains =
            |row: &&(&str, &[&str])| names.iter().any(|present| present == row.0) && row.1.contains(&name);
        CONSEQUENCES.iter().find(explains).map(|row| row.0.to_owned())
    };
    let (mut causes, mut consequences) = (Vec::new(), Vec::new());
    for mut setting in settings {
        setting.follows = cause_of(&setting.name);
        if setting.follows.is_some() { consequences.push(setting) } else { causes.push(setting) }
    }
    let mut ordered = Vec::new();
    // A cause can itself be a consequence: the number of blocks depends on the block size.
    let mut pending: Vec<_> = causes.into_iter().rev().collect();
    while let Some(cause) = pending.pop() {
        let of_cause = |one: &SettingDifference| one.follows.as_deref() == Some(&*cause.name);
        let (own, others) = consequences.into_iter().partition::<Vec<_>, _>(of_cause);
        consequences = others;
        pending.extend(own.into_iter().rev());
        ordered.push(cause);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consequences_come_after_their_causes() {
        let setting =
            |name: &str| SettingDifference { name: name.to_owned(), ..SettingDifference::default() };
        let names = ["feature 64bit", "blocks", "label", "block size", "inodes per group", "descriptor size"];
        let ordered = order(names.map(setting).into());
        let told: Vec<_> = ordered.iter().map(|one| (one.name.as_str(), one.follows.as_deref())).collect();
        let expected = [
            ("feature 64bit", None),
            ("descriptor size", Some("feature 64bit")),
            ("label", None),
            ("block size", None),
            ("blocks", Some("block size")),
            ("inodes per group", Some("block size")),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn no_setting_explains_itself() {
        for (index, (cause, consequences)) in CONSEQUENCES.iter().enumerate() {
            // No row lists the cause of an earlier row, so no two settings are the cause of each other.
            for earlier in &CONSEQUENCES[..index] {
                assert!(!consequences.contains(&earlier.0), "{cause} and {}", earlier.0);
            }
            assert!(!consequences.contains(cause), "{cause}");
        }
    }
}
