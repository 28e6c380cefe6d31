//! The command line: parse, map, call, exit code. Everything else is in [`cli`] and the library.

#![deny(unsafe_code)]

mod cli;

use std::env;
use std::process::ExitCode;

use cli::args::{self, Command};
use cli::{commands, guard, help, run};

fn main() -> ExitCode {
    guard::silence_panics();
    let code = guard::guarded(|| match args::parse(env::args_os(), env::var_os(args::EPOCH_VARIABLE)) {
        Ok(Command::Canonicalize(job)) => run::run(&job),
        Ok(Command::Generate(what)) => help::generate(what),
        Ok(Command::Sub(task)) => commands::run(&task),
        Err(error) => {
            // Nobody is left to tell when this fails.
            let _ = error.print();
            u8::try_from(error.exit_code()).expect("clap exits with 0 or 2")
        }
    });
    ExitCode::from(code)
}
