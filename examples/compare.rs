//! Checks whether two images have the same canonical form, and prints the differences if not: `cargo run
//! --example compare -- A B`.

use std::env;
use std::error::Error;
use std::fs;
use std::process::ExitCode;

use ext4_canon::compare::Details;
use ext4_canon::{Disk, Input, Options, Selection, Silent};

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(2)
    })
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let names: Vec<_> = env::args_os().skip(1).collect();
    let [one, other] = &names[..] else { return Err("usage: compare A B".into()) };
    let (one, other) = (fs::read(one)?, fs::read(other)?);
    let (one, other) = (Input::new(&one), Input::new(&other));
    let one = Disk::open(&one, &Selection::all())?;
    let other = Disk::open(&other, &Selection::all())?;
    let comparison = one.compare(&other, &Options::new(), Details::new(), &Silent)?;
    for setting in &comparison.settings {
        println!("{}: {} or {}", setting.name, setting.values[0], setting.values[1]);
    }
    for filesystem in &comparison.filesystems {
        for difference in &filesystem.differences {
            println!("{}: {}", difference.path, difference.attribute.name());
        }
        for setting in &filesystem.settings {
            println!("{}: {} or {}", setting.name, setting.values[0], setting.values[1]);
        }
    }
    if comparison.is_match() {
        println!("match");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(1))
}
