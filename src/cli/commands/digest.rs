//! `digest`: the SHA-256 of canonical forms, in the format of sha256sum.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, stdin};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use ext4_canon::disk::Disk;
use ext4_canon::words::hexadecimal;
use serde::Serialize;

use super::{Ended, Head, JsonError, Work, json};
use crate::cli::args::{Digesting, Of, Setting};
use crate::cli::exit_code::ExitCode;
use crate::cli::failure::{self, About as _, Usage};

#[derive(Serialize)]
struct Json<'j> {
    #[serde(flatten)]
    head: Head,
    of: &'static str,
    images: Vec<JsonImage<'j>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    malformed_lines: Option<usize>,
}

#[derive(Serialize)]
struct JsonImage<'j> {
    input: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'j str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    matches: Option<bool>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'j [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<JsonError>,
}

/// What became of an image.
struct Digest {
    hexadecimal: String,
    warnings: Vec<String>,
}

/// A line of a list.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    digest: String,
    name: PathBuf,
}

/// Prints or checks digests.
pub fn run(work: &Work<'_>, digesting: &Digesting) -> Result<Ended> {
    if digesting.check {
        return check(work, digesting);
    }
    let digests = digests(work, digesting, &digesting.inputs)?;
    Ok(print(work, digesting, &digests))
}

/// The digests of images. One that can't be read does not keep the others from being read.
fn digests(work: &Work<'_>, digesting: &Digesting, images: &[PathBuf]) -> Result<Vec<Result<Digest>>> {
    if let (Some(journal), [_, _, ..]) = (&digesting.journal, images) {
        return Err(Usage::new("can't be the journal of more than one image")).about(journal);
    }
    Ok(images.iter().map(|image| digest(work, digesting, image)).collect())
}

fn print(work: &Work<'_>, digesting: &Digesting, digests: &[Result<Digest>]) -> Ended {
    let digests: Vec<_> = digesting.inputs.iter().zip(digests).collect();
    let failures = || digests.iter().filter_map(|(_, digest)| digest.as_ref().err());
    let code = failures().next().map_or(ExitCode::Done, failure::code);
    let remarks = failures().map(failure::line).collect();
    let text = if work.setting.json {
        let images = digests.iter().map(|(input, digest)| JsonImage {
            input: input.display().to_string(),
            sha256: digest.as_ref().ok().map(|digest| digest.hexadecimal.clone()),
            expected: None,
            matches: None,
            warnings: digest.as_ref().map_or(&[], |digest| &digest.warnings),
            error: digest.as_ref().err().map(JsonError::of),
        });
        let status = if code == ExitCode::Done { "done" } else { "error" };
        json(&Json {
            head: Head::new("digest", status, code),
            of: digesting.of.name(),
            images: images.collect(),
            malformed_lines: None,
        })
    } else {
        let done = digests.iter().filter_map(|(input, digest)| Some((input, digest.as_ref().ok()?)));
        done.flat_map(|(input, digest)| line(&digest.hexadecimal, input)).collect()
    };
    Ended { code, text, remarks }
}

/// Checks the digests that files list.
fn check(work: &Work<'_>, digesting: &Digesting) -> Result<Ended> {
    let (mut listed, mut malformed, mut ended) = (Vec::new(), 0, Ended::default());
    for list in &digesting.inputs {
        let text = if list.as_os_str() == "-" { read_all(stdin()) } else { fs::read(list) };
        let text = text.context("reading the digests").about(list)?;
        let (lines, wrong) = parse(&text);
        if let Some(first) = wrong.first() {
            let (number, list) = (wrong.len(), list.display());
            let count = if number == 1 { "1 line is".to_owned() } else { format!("{number} lines are") };
            ended.remarks.push(format!("warning: {list}: {count} left out; line {first}: {EXPECTED}"));
        }
        if lines.is_empty() {
            let reason = format!("no digests found: {EXPECTED} in each line");
            return Err(Usage::new(reason)).about(list);
        }
        malformed += wrong.len();
        listed.extend(lines);
    }
    let names: Vec<_> = listed.iter().map(|listed| listed.name.clone()).collect();
    let found = digests(work, digesting, &names)?;
    let (mut images, mut different) = (Vec::new(), 0);
    for (listed, found) in listed.iter().zip(&found) {
        let matches = found.as_ref().ok().map(|digest| digest.hexadecimal == listed.digest);
        match found {
            Err(failure) => {
                ended.remarks.push(failure::line(failure));
                if ended.code == ExitCode::Done {
                    ended.code = failure::code(failure);
                }
            }
            Ok(_) => different += u32::from(matches == Some(false)),
        }
        if !work.setting.json {
            let words = match matches {
                Some(true) if work.setting.quiet => continue,
                Some(true) => "OK",
                Some(false) => "FAILED",
                None => "FAILED open or read",
            };
            let (escape, name) = escaped(&listed.name);
            ended.text.extend([escape, &name, b": ", words.as_bytes(), b"\n"].concat());
        }
        images.push(JsonImage {
            input: listed.name.display().to_string(),
            sha256: found.as_ref().ok().map(|digest| digest.hexadecimal.clone()),
            expected: Some(&listed.digest),
            matches,
            warnings: found.as_ref().map_or(&[], |digest| &digest.warnings),
            error: found.as_ref().err().map(JsonError::of),
        });
    }
    if different > 0 {
        ended.remarks.push(format!("{different} of {} digests did NOT match", listed.len()));
        if ended.code == ExitCode::Done {
            ended.code = ExitCode::NotCanonical;
        }
    }
    if work.setting.json {
        let status = match ended.code {
            ExitCode::Done => "match",
            ExitCode::NotCanonical => "different",
            _ => "error",
        };
        let (head, of) = (Head::new("digest", status, ended.code), digesting.of.name());
        ended.text = json(&Json { head, of, images, malformed_lines: Some(malformed) });
    }
    Ok(ended)
}

/// Digests one image; its warnings are printed in the end.
fn digest(work: &Work<'_>, digesting: &Digesting, input: &Path) -> Result<Digest> {
    let image = work.open(input, digesting.journal.as_deref())?;
    let disk = Disk::of(&image.input(), &work.setting.selection);
    image.unchanged()?;
    let disk = disk.about(input)?;
    let Setting { options, around, .. } = work.setting;
    let progress = &work.progress;
    let result = work.pool.install(|| match digesting.of {
        // A filesystem that was chosen is digested as an image of its own.
        Of::Image if disk.named => {
            let part = disk.only()?;
            let digest = ext4_canon::digest(&disk.filesystem(part), options, progress);
            digest.map(|(report, digest)| (report.warnings, digest)).map_err(|error| Disk::error(part, error))
        }
        Of::Image => {
            let (reports, digest) = disk.digest(options, *around, progress)?;
            Ok((reports.into_iter().flat_map(|report| report.warnings).collect(), digest))
        }
        Of::Tree => {
            let part = disk.only()?;
            ext4_canon::tree_digest(&disk.filesystem(part), options, progress)
                .map_err(|error| Disk::error(part, error))
        }
    });
    image.unchanged()?;
    let (warnings, digest) = result.about(input)?;
    work.warn(input, &warnings);
    Ok(Digest { hexadecimal: hexadecimal(&digest), warnings })
}

/// A line as sha256sum prints it: with a backslash in front where the name had to be escaped.
fn line(digest: &str, name: &Path) -> Vec<u8> {
    let (escape, name) = escaped(name);
    [escape, digest.as_bytes(), b"  ", &name, b"\n"].concat()
}

fn escaped(name: &Path) -> (&'static [u8], Vec<u8>) {
    let bytes = name.as_os_str().as_bytes();
    let mut text = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => text.extend(b"\\\\"),
            b'\n' => text.extend(b"\\n"),
            b'\r' => text.extend(b"\\r"),
            other => text.push(*other),
        }
    }
    (if text.len() == bytes.len() { b"" } else { b"\\" }, text)
}

fn read_all(mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).map(|_| bytes)
}

const EXPECTED: &str = "expected 64 hexadecimal digits, two spaces and a name, as sha256sum prints them";

/// The lines of a list, comments left out, and the numbers of those that are not as they must be.
fn parse(text: &[u8]) -> (Vec<Listed>, Vec<usize>) {
    let (mut listed, mut malformed) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        // What is left of the end of a line; in a name, it would be escaped.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        match parse_line(line) {
            Some(line) => listed.push(line),
            None => malformed.push(number),
        }
    }
    (listed, malformed)
}

fn parse_line(line: &[u8]) -> Option<Listed> {
    let (escaped, line) = match line.strip_prefix(b"\\") {
        Some(line) => (true, line),
        None => (false, line),
    };
    let (digest, name) = match line.strip_prefix(b"SHA256 (") {
        // As sha256sum --tag and the BSDs print them.
        Some(rest) => {
            let (rest, digest) = rest.split_at_checked(rest.len().checked_sub(64)?)?;
            (digest, rest.strip_suffix(b") = ")?)
        }
        None => {
            let (digest, rest) = line.split_at_checked(64)?;
            (digest, rest.strip_prefix(b"  ").or_else(|| rest.strip_prefix(b" *"))?)
        }
    };
    let digest = str::from_utf8(digest).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let name = if escaped { unescaped(name)? } else { name.to_vec() };
    if name.is_empty() {
        return None;
    }
    Some(Listed { digest: digest.to_ascii_lowercase(), name: OsString::from_vec(name).into() })
}

fn unescaped(name: &[u8]) -> Option<Vec<u8>> {
    let (mut text, mut bytes) = (Vec::with_capacity(name.len()), name.iter());
    while let Some(byte) = bytes.next() {
        text.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            },
            other => *other,
        });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_parsed() {
        let digest = "0123456789abcdef".repeat(4);
        for name in ["a.img", "with spaces  and *", "back\\slash", "line\nend\r", "\\n"] {
            let text = line(&digest, Path::new(name));
            assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
            let listed = Listed { digest: digest.clone(), name: name.into() };
            assert_eq!(parse(&text), (vec![listed], vec![]));
        }
    }

    #[test]
    fn lines_that_are_none_are_left_out_and_told() {
        let good = line(&"0".repeat(64), Path::new("a"));
        for bad in [&b"abc  name\n"[..], b"\n\n", &[&good[..63], b"  name"].concat(), b"\\x"] {
            assert!(parse(bad).0.is_empty(), "{bad:?}");
        }
        let (listed, malformed) = parse(&[&good[..], b"\nnonsense\n", &good].concat());
        assert_eq!((listed.len(), malformed), (2, vec![3]));
        let digest = "0f".repeat(32);
        for end in ["\n", "\r\n", ""] {
            let tagged = format!("# a comment\r\n\r\nSHA256 (a) = b) = {digest}{end}");
            let listed = Listed { digest: digest.clone(), name: "a) = b".into() };
            assert_eq!(parse(tagged.as_bytes()), (vec![listed], vec![]));
        }
        let upper = [&b"AB".repeat(32)[..], b" *name\r\n"].concat();
        let listed = Listed { digest: "ab".repeat(32), name: "name".into() };
        assert_eq!(parse(&upper), (vec![listed], vec![]));
    }
}
