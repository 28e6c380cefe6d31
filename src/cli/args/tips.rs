//! Adds tips to the errors of the parser.

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The tip about a third file.
const ONE_IMAGE: &str =
    "each run writes one image: use 'ext4-canon compare A B' or 'ext4-canon digest IN...' for several";

/// The tip about an option that conflicts with `--tree`.
const TREE_ONLY: &str = "the digest of a tree does not depend on this option: leave it out";

/// Adds a tip to an error. `name` is the name of the subcommand, if there is one.
pub fn with_tip(mut error: clap::Error, parser: &mut Command, name: Option<&str>) -> clap::Error {
    // clap mistakes a third file for the name of a subcommand.
    if error.kind() == ErrorKind::ArgumentConflict
        && let [word] = words(&error, ContextKind::InvalidSubcommand)[..]
        && parser.find_subcommand(word).is_none()
    {
        let text = format!("unexpected argument '{word}' found; {ONE_IMAGE}");
        return parser.error(ErrorKind::UnknownArgument, text);
    }
    let is_third = error.kind() == ErrorKind::UnknownArgument;
    if let (true, Some(command), [word]) = (is_third, name, &words(&error, ContextKind::InvalidArg)[..])
        && !word.starts_with('-')
        && let Some(images) =
            [("compare", "two images"), ("explain", "one image"), ("cat", "one image and paths")]
                .iter()
                .find_map(|(known, images)| (*known == command).then_some(images))
    {
        let text = format!("unexpected argument '{word}' found; '{command}' needs {images}");
        return parser.error(ErrorKind::UnknownArgument, text);
    }
    let is_tree = |kind: ContextKind| words(&error, kind).iter().any(|word| option_name(word) == "--tree");
    let invalid = words(&error, ContextKind::InvalidArg);
    let tip = match (error.kind(), invalid.as_slice()) {
        (ErrorKind::ArgumentConflict, _)
            if is_tree(ContextKind::InvalidArg) || is_tree(ContextKind::PriorArg) =>
        {
            Some(TREE_ONLY.to_owned())
        }
        (ErrorKind::UnknownArgument, [word]) if word.starts_with('-') => other_command(parser, name, word),
        _ => None,
    };
    if let Some(tip) = tip {
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// Returns the arguments that an error names.
fn words(error: &clap::Error, kind: ContextKind) -> Vec<&str> {
    match error.get(kind) {
        Some(ContextValue::String(word)) => vec![word],
        Some(ContextValue::Strings(words)) => words.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Returns the name of an option, without its value.
fn option_name(word: &str) -> &str {
    word.split(['=', ' ']).next().unwrap_or(word)
}

/// Returns a tip about an option that this command does not have, but another one has.
fn other_command(parser: &Command, name: Option<&str>, word: &str) -> Option<String> {
    let option = option_name(word);
    let has_option = |command: &&Command| {
        let mut known = command.get_arguments().filter(|known| !known.is_hide_set());
        known.any(|known| match option.strip_prefix("--") {
            Some(long) => known.get_long() == Some(long),
            None => {
                known.get_short().is_some_and(|short| option.strip_prefix('-') == Some(&*short.to_string()))
            }
        })
    };
    let main = has_option(&parser).then(|| "'ext4-canon IN OUT'".to_owned());
    let subcommands = parser.get_subcommands().filter(has_option);
    let subcommands = subcommands.map(|known| format!("'ext4-canon {}'", known.get_name()));
    let commands: Vec<_> = main.into_iter().chain(subcommands).collect();
    let (last, others) = commands.split_last()?;
    let all = if others.is_empty() { last.clone() } else { format!("{} and {last}", others.join(", ")) };
    let place = name.unwrap_or("IN OUT");
    Some(format!("'{option}' is an option of {all}; it has no effect on 'ext4-canon {place}'"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use crate::cli::args::parse;

    fn error(words: &str) -> String {
        parse(words.split(' ').map(OsString::from), None).unwrap_err().to_string()
    }

    #[test]
    fn an_option_of_other_commands_is_explained() {
        let label = error("x ls --label=x a");
        let expected = "tip: '--label' is an option of 'ext4-canon IN OUT', 'ext4-canon digest', 'ext4-canon \
                        compare' and 'ext4-canon explain'; it has no effect on 'ext4-canon ls'\n";
        assert!(label.contains(expected), "{label}");
        let tree = error("x --tree a b");
        let expected = "tip: '--tree' is an option of 'ext4-canon digest'; it has no effect on";
        assert!(tree.contains(expected), "{tree}");
        assert!(!error("x ls --frobnicate a").contains("has no effect"));
        assert!(!error("x a b --generate man").contains("has no effect"));
    }

    #[test]
    fn a_third_file_is_explained() {
        for words in ["x a b c", "x --check a b c"] {
            let error = error(words);
            assert!(
                error.contains("unexpected argument 'c' found; each run writes one image: use "),
                "{error}"
            );
        }
        assert!(!error("x ls a b c").contains("tip:"));
    }

    #[test]
    fn options_without_effect_on_a_tree_are_refused() {
        for option in ["--uuid=keep", "--label=x", "--holes=punch", "--table=keep", "--zero-gaps"] {
            let error = error(&format!("x digest --tree {option} a"));
            assert!(error.contains("tip: the digest of a tree does not depend on this option"), "{error}");
        }
    }
}
