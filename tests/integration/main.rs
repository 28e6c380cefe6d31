#[cfg(feature = "cli")]
mod cli;
