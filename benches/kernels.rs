//! Benchmarks of the most expensive functions: `cargo bench`.

use std::process::Command;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use ext4_canon::HolePolicy;
use ext4_canon::Input;
use ext4_canon::Options;
use ext4_canon::Silent;
use ext4_canon::internals::View;
use ext4_canon::internals::is_zero;
use ext4_canon::internals::ondisk::checksum::crc32c;
use ext4_canon::internals::ondisk::dirhash::{DirHash, HashVersion};
use ext4_canon::internals::{Digester, Segments, StoredView, Target, survey};
use ext4_canon::internals::{Overlay, Source};
use ext4_canon::internals::{plan, read};

fn main() {
    divan::main();
}

/// Returns pseudo-random bytes, the same on every call.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    });
    bytes.take(length).collect()
}

/// Unpacks a test image.
fn image() -> Vec<u8> {
    let packed = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/kernel.img.xz");
    let unpacked = Command::new("xz").args(["-dc", packed]).output().expect("xz");
    assert!(unpacked.status.success());
    unpacked.stdout
}

#[divan::bench(args = [256, 4096, 1 << 20])]
fn checksum(bencher: Bencher<'_, '_>, length: usize) {
    let bytes = noise(length);
    bencher.counter(BytesCount::new(length)).bench(|| crc32c(!0, black_box(&bytes)));
}

#[divan::bench(args = [4096, 1 << 20])]
fn zero_scan(bencher: Bencher<'_, '_>, length: usize) {
    let bytes = vec![0; length];
    bencher.counter(BytesCount::new(length)).bench(|| is_zero(black_box(&bytes)));
}

#[divan::bench(args = [8, 24, 200])]
fn directory_hash(bencher: Bencher<'_, '_>, length: usize) {
    let (hash, name) = (DirHash::new(HashVersion::HalfMd4, [7; 16], true), noise(length));
    bencher.counter(ItemsCount::new(1_usize)).bench(|| hash.hash(black_box(&name)));
}

#[divan::bench]
fn tree_building(bencher: Bencher<'_, '_>) {
    let (bytes, overlay) = (image(), Overlay::default());
    let source = Source::open(Input::new(&bytes), &overlay).expect("a filesystem");
    bencher.bench(|| read(black_box(&source), &Silent).expect("a tree"));
}

#[divan::bench]
fn planning(bencher: Bencher<'_, '_>) {
    let (bytes, overlay, options) = (image(), Overlay::default(), Options::default());
    let source = Source::open(Input::new(&bytes), &overlay).expect("a filesystem");
    let reading = read(&source, &Silent).expect("a tree");
    let target = Target::own(&source, &reading.specials);
    let view = View { source: &source, tree: &reading.tree };
    let stored = survey(view, &target.geometry, HolePolicy::Punch, &Silent);
    bencher.bench(|| {
        plan(&reading.tree, &reading.inodes, &target, black_box(&stored), &options).expect("a plan")
    });
}

#[divan::bench]
fn content_digest(bencher: Bencher<'_, '_>) {
    let (bytes, overlay) = (image(), Overlay::default());
    let source = Source::open(Input::new(&bytes), &overlay).expect("a filesystem");
    let reading = read(&source, &Silent).expect("a tree");
    let view = View { source: &source, tree: &reading.tree };
    let survey = survey(view, &source.geometry, HolePolicy::Punch, &Silent);
    let view = StoredView { source: &source, stored: survey.stored(&reading.tree) };
    let segments = Segments::new(source.geometry.block_size, view.stored, 1 << 20);
    bencher.bench(|| Digester::new(view, black_box(&segments)).finish());
}
