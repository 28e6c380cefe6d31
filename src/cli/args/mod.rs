//! Parses the command line, and validates the arguments.

mod canonicalize;
mod parser;
mod place;
mod policy;
mod rewrite;
mod settings;
mod subcommands;
mod task;
mod tips;
mod values;

pub use parser::{command, parse};
pub use policy::EPOCH_VARIABLE;
pub use task::*;
