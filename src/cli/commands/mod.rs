//! Runs the commands. Each command turns a validated task into a text and an exit code.

mod canonicalize;
mod cat;
mod check;
mod compare;
mod digest;
mod explain;
mod ls;
mod reports;

use super::args::{Command, Task};
use super::exit_code::ExitCode;
use super::runner;

/// Runs a command, reports the result, and returns the exit code.
pub fn run(task: &Task) -> ExitCode {
    runner::run(task, |runner| match &task.command {
        Command::Canonicalize(task) => canonicalize::run(runner, task),
        Command::Check(input) => check::run(runner, input),
        Command::Digest(task) => digest::run(runner, task),
        Command::Compare(task) => compare::run(runner, task),
        Command::Explain(task) => explain::run(runner, task),
        Command::Ls(task) => ls::run(runner, task),
        Command::Cat(task) => cat::run(runner, task),
    })
}
