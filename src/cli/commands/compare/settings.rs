//! Groups the settings that differ: each group has causes, and the settings that follow from these causes.

use ext4_canon::compare::SettingDifference;

/// A group of settings with the same cure, and the settings that follow from them.
#[derive(Debug)]
pub struct SettingGroup<'c> {
    /// The settings that differ and have the same cure.
    pub causes: Vec<&'c SettingDifference>,
    /// The settings that follow from the causes.
    pub consequences: Vec<&'c SettingDifference>,
}

impl SettingGroup<'_> {
    /// Returns the cure for all settings of the group.
    pub fn cure(&self) -> &str {
        &self.causes[0].cure
    }
}

/// Groups settings. In `settings`, each consequence must come after its cause.
pub fn groups(settings: &[SettingDifference]) -> Vec<SettingGroup<'_>> {
    let mut groups: Vec<SettingGroup<'_>> = Vec::new();
    for setting in settings {
        match groups.last_mut() {
            Some(group) if setting.follows.is_some() => group.consequences.push(setting),
            Some(group) if !setting.cure.is_empty() && group.cure() == setting.cure => {
                group.causes.push(setting);
            }
            _ => groups.push(SettingGroup { causes: vec![setting], consequences: Vec::new() }),
        }
    }
    groups
}

/// Joins features that are enabled in the same image into one name. Returns the names with their values.
pub fn lines<'c>(causes: &[&'c SettingDifference]) -> Vec<(String, &'c [String; 2])> {
    const FEATURE: &str = "feature ";
    let mut lines: Vec<(String, &'c [String; 2])> = Vec::new();
    for cause in causes {
        match (lines.last_mut(), cause.name.strip_prefix(FEATURE)) {
            (Some((name, values)), Some(feature))
                if name.starts_with("feature") && **values == cause.values =>
            {
                if let Some(only) = name.strip_prefix(FEATURE) {
                    *name = format!("features {only}");
                }
                name.push_str(", ");
                name.push_str(feature);
            }
            _ => lines.push((cause.name.clone(), &cause.values)),
        }
    }
    lines
}
