struct F(std::fs::File);
impl ext4_canon::Sink for F {
    fn write_at(&self, mut offset: u64, parts: &[std::io::IoSlice<'_>]) -> std::io::Result<()> {
        use std::os::unix::fs::FileExt;
        for p in parts {
            self.0.write_all_at(p, offset)?;
            offset += p.len() as u64;
        }
        Ok(())
    }
}
fn main() {
    let bytes = std::fs::read(std::env::args().nth(1).unwrap()).unwrap();
    let out = std::env::args().nth(2).unwrap();
    let f = std::fs::File::create(&out).unwrap();
    f.set_len(bytes.len() as u64).unwrap();
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().map(|e| e.parse().unwrap());
    let options = ext4_canon::Options { epoch, ..Default::default() };
    let r = ext4_canon::canonicalize(
        &ext4_canon::Input::new(&bytes),
        &options,
        &F(f),
        &ext4_canon::observe::Silent,
    );
    if let Err(e) = r {
        std::fs::remove_file(&out).unwrap();
        eprintln!("{e}");
        std::process::exit(4)
    }
}
