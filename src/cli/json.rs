//! Defines the fields of the JSON output that all commands share. See docs/json.md.

use ext4_canon::FORM_VERSION;
use serde::Serialize;

use super::exit_code::ExitCode;
use super::failure::{self, Message};

/// The version of the JSON schema.
const SCHEMA: u32 = 1;

/// The first fields of every JSON output.
#[derive(Debug, Serialize)]
pub struct HeadJson {
    program: &'static str,
    version: &'static str,
    form: u32,
    schema: u32,
    command: &'static str,
    status: &'static str,
    exit_code: u8,
}

/// The kind and the message of an error.
#[derive(Debug, Serialize)]
pub struct ErrorJson {
    kind: &'static str,
    message: String,
}

impl HeadJson {
    /// Creates the fields for a command that has ended.
    pub fn new(command: &'static str, status: &'static str, exit_code: ExitCode) -> Self {
        let (program, version) = ("ext4-canon", env!("CARGO_PKG_VERSION"));
        let exit_code = exit_code.number();
        Self { program, version, form: FORM_VERSION, schema: SCHEMA, command, status, exit_code }
    }
}

impl ErrorJson {
    /// Creates the fields for an error.
    pub fn of(error: &anyhow::Error) -> Self {
        Self { kind: failure::code(error).name(), message: Message::of(error).line() }
    }
}

/// Serializes a value as JSON with a final newline.
pub fn text(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("all keys are strings");
    text.push(b'\n');
    text
}
