//! Completions and the man page, checked with shells and formatters, and the same page in Markdown.
//!
//! Run with EXT4_CANON_BLESS=1 to write docs/command-line.md.

use std::fs;

use crate::support::tools::{project, try_run};
use crate::support::{Lab, Need, canon, gate, run, tool};

fn generated(what: &str) -> String {
    canon(["--generate", what]).run().done().stdout
}

/// Command lines, with words that the last word can be completed to, and words that it can't.
const COMPLETED: [(&str, &[&str], &[&str]); 16] = [
    ("ext4-canon --so", &["--source-date-epoch"], &["--size"]),
    ("ext4-canon --table ", &["keep", "canonical"], &["punch"]),
    ("ext4-canon --uuid keep --holes p", &["punch"], &["keep"]),
    ("ext4-canon dig", &["digest"], &["compare"]),
    ("ext4-canon compare --ht", &["--html"], &["--holes"]),
    ("ext4-canon compare --holes ", &["punch", "keep"], &["canonical"]),
    ("ext4-canon digest --", &["--tree", "--check", "--zero-gaps"], &["--html", "--in-place"]),
    ("ext4-canon explain --", &["--all", "--examples"], &["--tree", "--in-place"]),
    ("ext4-canon ls --", &["--digests", "--mtime"], &["--examples", "--tree"]),
    ("ext4-canon ls --mtime ", &["clamp", "keep"], &["punch"]),
    ("ext4-canon cat --ignore", &["--ignore-error-state"], &["--uuid"]),
    ("ext4-canon digest ima", &["image.img"], &["other.img"]),
    ("ext4-canon compare image.img oth", &["other.img"], &["image.img"]),
    ("ext4-canon ima", &["image.img"], &["other.img"]),
    ("ext4-canon image.img oth", &["other.img"], &["image.img"]),
    ("ext4-canon image.img --zero", &["--zero-gaps"], &["--html"]),
];

/// Asks a shell for each completion, in a directory with two images and the scripts.
fn ask(shell: &str, script: &str) {
    let lab = Lab::new();
    fs::write(lab.path("_ext4-canon"), generated(shell)).expect("writing");
    for name in ["image.img", "other.img"] {
        fs::write(lab.path(name), "").expect("writing");
    }
    for (line, wanted, unwanted) in COMPLETED {
        let mut command = tool(shell);
        let ran = try_run(command.args(["-c", script, shell, line]).current_dir(lab.path("")));
        let found: Vec<_> =
            ran.stdout.lines().map(|line| line.split('\t').next().unwrap_or(line).trim()).collect();
        for word in wanted {
            assert!(found.contains(word), "{shell}: {line:?} is not completed to {word}: {ran:#?}");
        }
        for word in unwanted {
            assert!(!found.contains(word), "{shell}: {line:?} is completed to {word}: {ran:#?}");
        }
    }
}

/// Like readline, calls the registered function, and completes file names if it returns nothing.
#[test]
fn bash_completes() {
    ask(
        "bash",
        r#"
        source ./_ext4-canon
        read -ra COMP_WORDS <<<"$1"
        [[ $1 == *' ' ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        registered=$(complete -p ext4-canon)
        function=${registered##*-F }
        word=${COMP_WORDS[COMP_CWORD]}
        "${function%% *}" ext4-canon "$word" "${COMP_WORDS[COMP_CWORD - 1]}"
        if [ ${#COMPREPLY[@]} = 0 ] && [[ $registered == *'-o default'* ]]; then
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
        fi
        printf '%s\n' "${COMPREPLY[@]}"
        "#,
    );
}

#[test]
fn fish_completes() {
    if gate(&[Need::Program("fish")]) {
        ask("fish", r#"source ./_ext4-canon; complete -C $argv[2]"#);
    }
}

/// Runs zsh in a pseudo-terminal, and prints the matches when they are added.
#[test]
fn zsh_completes() {
    if gate(&[Need::Program("zsh")]) {
        ask(
            "zsh",
            r#"
            zmodload zsh/zpty
            zpty shell zsh -f -i
            zpty -w shell "PROMPT=; fpath=($PWD \$fpath); autoload -Uz compinit; compinit -u -d $PWD/dump; compdef _ext4-canon ext4-canon"
            zpty -w shell 'compadd() {
                builtin compadd "$@"; local status_=$?
                [[ " $* " == *" -[OAD] "* ]] && return $status_
                local -a hits; builtin compadd -A hits "$@"; print -l "" "HIT "$^hits; return $status_
            }'
            zpty -w shell 'comppostfuncs=(done_); done_() { print; print THE END }'
            zpty -w -n shell "$1"$'\t'
            while zpty -r shell line; do
                line=${line//$'\r'/}; line=${line%$'\n'}
                [[ $line == "HIT "* ]] && print -r -- "${line#HIT }"
                [[ $line == "THE END" ]] && break
            done
            zpty -d shell
            "#,
        );
    }
}

/// groff and mandoc have no warnings about the page, except for long lines.
#[test]
fn the_man_page_is_clean() {
    if !gate(&[Need::Program("groff"), Need::Program("mandoc")]) {
        return;
    }
    let lab = Lab::new();
    let page = lab.path("ext4-canon.1");
    fs::write(&page, generated("man")).expect("writing");
    let ran = try_run(tool("groff").args(["-ww", "-man", "-Tutf8"]).arg(&page));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let ran = try_run(tool("mandoc").args(["-Tlint", "-Wwarning"]).arg(&page));
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
    let text = run(tool("mandoc").args(["-Tutf8", "-O", "width=200"]).arg(&page));
    let text = without_overstrikes(&text);
    for word in ["--size <min|BYTES|+BYTES>", "EXT4-CANON COMPARE", "SOURCE_DATE_EPOCH", "mke2fs(8)"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

/// docs/command-line.md is the output of `--generate markdown`.
#[test]
fn the_page_in_the_documentation_is_the_generated_one() {
    let (page, file) = (generated("markdown"), project("docs/command-line.md"));
    if std::env::var_os("EXT4_CANON_BLESS").is_some_and(|bless| bless == "1") {
        fs::write(&file, &page).expect("writing");
    }
    let documented = fs::read_to_string(&file).expect("reading");
    assert_eq!(page, documented, "run with EXT4_CANON_BLESS=1 to update it");
}

/// Removes the overstrikes that make bold text on printers.
fn without_overstrikes(text: &str) -> String {
    let mut plain = String::new();
    for character in text.chars() {
        match character {
            '\u{8}' => _ = plain.pop(),
            other => plain.push(other),
        }
    }
    plain
}
