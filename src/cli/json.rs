//! The parts of `--json` that all commands have; `docs/json.md` describes them.

use ext4_canon::FORM_VERSION;
use serde::Serialize;

use super::exit_code::ExitCode;
use super::failure;

/// The version of what `--json` prints.
const SCHEMA: u32 = 1;

/// The first fields of all JSON.
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

/// Why something failed.
#[derive(Debug, Serialize)]
pub struct ErrorJson {
    kind: &'static str,
    message: String,
}

impl HeadJson {
    /// The fields for the end of a command.
    pub fn new(command: &'static str, status: &'static str, exit_code: ExitCode) -> Self {
        let (program, version) = ("ext4-canon", env!("CARGO_PKG_VERSION"));
        let exit_code = exit_code.number();
        Self { program, version, form: FORM_VERSION, schema: SCHEMA, command, status, exit_code }
    }
}

impl ErrorJson {
    /// The kind and the words of an error.
    pub fn of(error: &anyhow::Error) -> Self {
        Self { kind: failure::code(error).name(), message: failure::line(error) }
    }
}

/// JSON, with a line end.
pub fn text(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("all keys are strings");
    text.push(b'\n');
    text
}
