//! Random options of ext4-canon.

use crate::support::dice::Dice;

/// Options of ext4-canon, except for sizes.
#[derive(Clone, Debug)]
pub struct Choices {
    pub words: Vec<String>,
    /// The options that `digest --tree` needs in order to see the same tree.
    pub times: Vec<String>,
    pub keeps_holes: bool,
    /// Whether the UUID of the input affects the output.
    pub keeps_uuid: bool,
}

impl Choices {
    /// Draws options for a filesystem; `any_time` is set if the output must not depend on the times of the
    /// input.
    pub fn draw(dice: &mut Dice, stable_inodes: bool, any_time: bool) -> Self {
        let mut choices =
            Self { words: Vec::new(), times: Vec::new(), keeps_holes: false, keeps_uuid: stable_inodes };
        if any_time || dice.chance(30) {
            let epoch = dice.between(0, 0x7FFF_FFFF);
            choices.times.extend(["--source-date-epoch".to_owned(), epoch.to_string()]);
            if any_time || dice.chance(60) {
                let policy = if any_time { "set" } else { dice.one(&["set", "clamp", "keep"]) };
                choices.times.extend(["--mtime".to_owned(), policy.to_owned()]);
            }
        }
        choices.words.clone_from(&choices.times);
        if dice.chance(20) {
            choices.say(&["--holes", "keep"]);
            choices.keeps_holes = true;
        }
        match dice.roll(10) {
            0 => {
                choices.say(&["--uuid", "keep"]);
                choices.keeps_uuid = true;
            }
            1 if !stable_inodes => choices.say(&["--uuid", "11112222-3333-4444-8555-666677778888"]),
            _ => {}
        }
        if dice.chance(10) {
            choices.say(&["--label", dice.one(&["", "new label"])]);
        }
        if dice.chance(30) {
            choices.say(&["--threads", dice.one(&["1", "2", "3", "7"])]);
        }
        choices
    }

    fn say(&mut self, words: &[&str]) {
        self.words.extend(words.iter().map(|word| (*word).to_owned()));
    }
}
