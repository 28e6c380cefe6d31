//! Writes the canonical form of an image: `cargo run --example canonicalize -- IN OUT`.

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::process::ExitCode;

use ext4_canon::{Disk, FileSink, Input, Options, Selection, Silent};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let names: Vec<_> = env::args_os().skip(1).collect();
    let [input, output] = &names[..] else { return Err("usage: canonicalize IN OUT".into()) };
    // The library accepts any byte slice. A memory map would avoid reading the whole file.
    let bytes = fs::read(input)?;
    let disk = Disk::open(&Input::new(&bytes), &Selection::all())?;
    let sink = FileSink::new(File::create_new(output)?);
    let report = match disk.canonicalize(&Options::new(), &sink, &Silent) {
        Ok(report) => report,
        Err(error) => {
            // Remove the incomplete output.
            fs::remove_file(output)?;
            return Err(error.into());
        }
    };
    sink.finish(report.image_bytes)?;
    for filesystem in &report.filesystems {
        let name = filesystem.name.as_deref().unwrap_or("the filesystem");
        println!("{name}: {} inodes, {} renumbered", filesystem.inodes, filesystem.inodes_renumbered);
        filesystem.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    }
    Ok(())
}
