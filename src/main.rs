//! The `ext4-canon` command: parses the arguments, runs the command and exits with its code.

#![deny(unsafe_code)]

mod cli;

use std::env;
use std::process;

use cli::args::{self, Invocation};
use cli::exit_code::ExitCode;
use cli::{commands, console, generate, guard};

fn main() -> process::ExitCode {
    guard::silence_panics();
    let code = guard::guarded(|| match args::parse(env::args_os(), env::var_os(args::EPOCH_VARIABLE)) {
        Ok(Invocation::Generate(what)) => generate::run(what),
        Ok(Invocation::Run(task)) => commands::run(&task),
        Err(error) => {
            if !error.use_stderr() {
                // Ignore write errors: there is nowhere left to report them.
                let _ = error.print();
                return ExitCode::Done;
            }
            console::usage(&error);
            ExitCode::Usage
        }
    });
    process::ExitCode::from(code.number())
}
