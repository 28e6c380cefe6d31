//! `digest`: prints or checks the SHA-256 of canonical forms, in the format of sha256sum.

use std::fs;
use std::io::{self, Read, stdin};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::cli::args::{DigestOf, DigestTask, ImageFiles, STANDARD, Verbosity};
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::{self, About as _, Message, Usage};
use crate::cli::json::{self, ErrorJson, HeadJson};
use crate::cli::runner::{Outcome, Runner};
use crate::cli::sha256sum::{self, EXPECTED, Listed};

#[derive(Serialize)]
struct DigestJson<'j> {
    #[serde(flatten)]
    head: HeadJson,
    of: &'static str,
    images: Vec<DigestedImageJson<'j>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    malformed_lines: Option<usize>,
}

#[derive(Serialize)]
struct DigestedImageJson<'j> {
    input: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'j str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'j str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    matches: Option<bool>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'j [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorJson>,
}

/// The digest of an image.
struct Digested {
    hexadecimal: String,
    warnings: Vec<String>,
}

/// The lines of all lists of digests.
struct Lists {
    listed: Vec<Listed>,
    /// The number of malformed lines.
    malformed: usize,
    /// Warnings about the malformed lines.
    warnings: Vec<String>,
}

/// Prints or checks digests.
pub fn run(runner: &Runner<'_>, task: &DigestTask) -> Result<Outcome> {
    if task.check {
        let lists = read_lists(&task.inputs)?;
        let names: Vec<_> = lists.listed.iter().map(|listed| listed.name.as_path()).collect();
        let digests = digests(runner, task, &names)?;
        Ok(check(runner, task, lists, &digests))
    } else {
        let names: Vec<_> = task.inputs.iter().map(PathBuf::as_path).collect();
        let digests = digests(runner, task, &names)?;
        Ok(print(runner, task, &digests))
    }
}

/// Digests several images. An error in one image does not affect the remaining images.
fn digests(runner: &Runner<'_>, task: &DigestTask, images: &[&Path]) -> Result<Vec<Result<Digested>>> {
    if let (Some(journal), [_, _, ..]) = (&task.journal, images) {
        return Err(Usage::new("can't be the journal of more than one image")).about(journal);
    }
    Ok(images.iter().map(|image| digest(runner, task, image)).collect())
}

/// Digests an image. The warnings about it are printed at the end.
fn digest(runner: &Runner<'_>, task: &DigestTask, input: &Path) -> Result<Digested> {
    let image = runner.open(&ImageFiles { path: input.to_owned(), journal: task.journal.clone() })?;
    let settings = runner.settings;
    let disk = runner.disk(&image, &settings.selection)?;
    let (options, progress) = (&settings.options, &runner.progress);
    let result = runner.read(&[&image], || match task.of {
        // If a filesystem on a disk was selected, digest it like a separate image.
        DigestOf::Image if disk.is_whole_disk() => disk.digest(options, progress),
        DigestOf::Image => disk.filesystem_digest(options, progress),
        DigestOf::Tree => disk.tree_digest(options, progress),
    })?;
    let digest = result.about(input)?;
    runner.warn_about(input, &digest.warnings);
    Ok(Digested { hexadecimal: digest.to_string(), warnings: digest.warnings })
}

fn print(runner: &Runner<'_>, task: &DigestTask, digests: &[Result<Digested>]) -> Outcome {
    let code = first_failure(digests).unwrap_or(ExitCode::Done);
    let text = if runner.settings.json {
        let status = if code == ExitCode::Done { "done" } else { "error" };
        let images = task.inputs.iter().zip(digests);
        json::text(&DigestJson {
            head: HeadJson::new("digest", status, code),
            of: task.of.name(),
            images: images.map(|(input, digested)| DigestedImageJson::of(input, digested)).collect(),
            malformed_lines: None,
        })
    } else {
        let done = task.inputs.iter().zip(digests).filter_map(|(input, digested)| {
            Some(sha256sum::line(&digested.as_ref().ok()?.hexadecimal, input))
        });
        done.flatten().collect()
    };
    Outcome { errors: failures(digests).map(Message::of).collect(), ..Outcome::new(code, text) }
}

/// Compares the digests of images with the listed digests.
fn check(runner: &Runner<'_>, task: &DigestTask, lists: Lists, digests: &[Result<Digested>]) -> Outcome {
    let Lists { listed, malformed, warnings } = lists;
    let matches: Vec<_> = listed.iter().zip(digests).map(|(listed, found)| matches(listed, found)).collect();
    let errors = failures(digests).map(Message::of).collect();
    let different = matches.iter().filter(|matches| **matches == Some(false)).count();
    let remark = (different > 0).then(|| format!("{different} of {} digests did NOT match", listed.len()));
    let code = match first_failure(digests) {
        Some(code) => code,
        None if different > 0 => ExitCode::NotCanonical,
        None => ExitCode::Done,
    };
    let text = if runner.settings.json {
        let status = match code {
            ExitCode::Done => "match",
            ExitCode::NotCanonical => "different",
            _ => "error",
        };
        let images = listed.iter().zip(digests).zip(&matches);
        let images = images.map(|((listed, digested), matches)| DigestedImageJson {
            expected: Some(&listed.digest),
            matches: *matches,
            ..DigestedImageJson::of(&listed.name, digested)
        });
        let (head, of) = (HeadJson::new("digest", status, code), task.of.name());
        json::text(&DigestJson { head, of, images: images.collect(), malformed_lines: Some(malformed) })
    } else {
        let quiet = runner.settings.verbosity == Verbosity::Quiet;
        let verdicts = listed.iter().zip(&matches).filter(|(_, matches)| !quiet || **matches != Some(true));
        verdicts.flat_map(|(listed, matches)| verdict(&listed.name, *matches)).collect()
    };
    Outcome { warnings, errors, remark, ..Outcome::new(code, text) }
}

/// The remedy for a file without digests.
const LISTS: &str = "use a file to which 'ext4-canon digest' or sha256sum printed";

/// Reads lists of digests.
fn read_lists(files: &[PathBuf]) -> Result<Lists> {
    let mut lists = Lists { listed: Vec::new(), malformed: 0, warnings: Vec::new() };
    for file in files {
        let text = if file.as_os_str() == STANDARD { read_all(stdin()) } else { fs::read(file) };
        let text = text.context("reading the digests").about(file)?;
        let (listed, malformed) = sha256sum::parse(&text);
        if let Some(first) = malformed.first() {
            let (number, file) = (malformed.len(), file.display());
            let count = if number == 1 { "1 line is".to_owned() } else { format!("{number} lines are") };
            lists.warnings.push(format!("{file}: {count} left out; line {first}: {EXPECTED}"));
        }
        if listed.is_empty() {
            return Err(Usage::new(format!("no digests found: {EXPECTED} in each line; {LISTS}")))
                .about(file);
        }
        lists.malformed += malformed.len();
        lists.listed.extend(listed);
    }
    Ok(lists)
}

fn read_all(mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).map(|_| bytes)
}

/// Returns whether the digest of an image matches the listed digest, or `None` if the image could not be
/// read.
fn matches(listed: &Listed, found: &Result<Digested>) -> Option<bool> {
    found.as_ref().ok().map(|digested| digested.hexadecimal == listed.digest)
}

/// Formats the result for an image as sha256sum does.
fn verdict(name: &Path, matches: Option<bool>) -> Vec<u8> {
    let words = match matches {
        Some(true) => "OK",
        Some(false) => "FAILED",
        None => "FAILED open or read",
    };
    sha256sum::verdict(name, words)
}

fn failures(digests: &[Result<Digested>]) -> impl Iterator<Item = &anyhow::Error> {
    digests.iter().filter_map(|digested| digested.as_ref().err())
}

fn first_failure(digests: &[Result<Digested>]) -> Option<ExitCode> {
    failures(digests).next().map(failure::code)
}

impl<'j> DigestedImageJson<'j> {
    fn of(input: &Path, digested: &'j Result<Digested>) -> Self {
        Self {
            input: input.display().to_string(),
            sha256: digested.as_ref().ok().map(|digested| digested.hexadecimal.as_str()),
            expected: None,
            matches: None,
            warnings: digested.as_ref().map_or(&[], |digested| &digested.warnings),
            error: digested.as_ref().err().map(ErrorJson::of),
        }
    }
}
