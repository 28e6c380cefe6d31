//! Computes the SHA-256 of an output, without storing the output.

use std::io::{self, IoSlice};
use std::sync::Mutex;

use sha2::{Digest as _, Sha256};

use super::copy::copy;
use crate::sink::{Order, Sink};
use crate::source::Input;
use crate::units::fits;

/// A buffer of zeros, which is hashed for holes.
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// A sink that hashes the output. Data must arrive in ascending order of the offsets.
#[derive(Debug, Default)]
pub(crate) struct HashSink {
    state: Mutex<HashState>,
}

/// Returns the SHA-256 of an unchanged image.
pub(crate) fn digest_of(input: &Input<'_>) -> io::Result<[u8; 32]> {
    let (sink, length) = (HashSink::default(), input.bytes().len() as u64);
    copy(input, 0..length, &sink)?;
    Ok(sink.finish(length))
}

#[derive(Debug, Default)]
struct HashState {
    hash: Sha256,
    /// The number of hashed bytes.
    done: u64,
}

impl HashSink {
    /// Returns the digest of the output with a length of `length` bytes. No data may have been written past
    /// this length.
    pub(crate) fn finish(self, length: u64) -> [u8; 32] {
        let mut state = self.state.into_inner().expect("a thread that fails while it hashes ends the job");
        state.zeros(length);
        state.hash.finalize().into()
    }
}

impl HashState {
    /// Hashes zeros up to an offset.
    fn zeros(&mut self, until: u64) {
        while self.done < until {
            let step = (until - self.done).min(ZEROS.len() as u64);
            self.hash.update(&ZEROS[..fits(step, "it is at most the length of the zeros")]);
            self.done += step;
        }
    }
}

impl Sink for HashSink {
    fn order(&self) -> Order {
        Order::Ascending
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut state = self.state.lock().map_err(|_| io::ErrorKind::Other)?;
        if offset < state.done {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "bytes to be hashed are out of order"));
        }
        state.zeros(offset);
        for part in parts {
            state.hash.update(&part[..]);
            state.done += part.len() as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha256(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }

    #[test]
    fn holes_count_as_zeros() {
        let mut whole = vec![0; 300_000];
        whole[10..13].copy_from_slice(b"abc");
        whole[200_000..200_006].copy_from_slice(b"defghi");
        let sink = HashSink::default();
        sink.write_at(10, &[IoSlice::new(b"a"), IoSlice::new(b""), IoSlice::new(b"bc")]).unwrap();
        sink.write_at(200_000, &[IoSlice::new(b"def")]).unwrap();
        sink.write_at(200_003, &[IoSlice::new(b"ghi")]).unwrap();
        assert_eq!(sink.finish(300_000), sha256(&whole));
        assert_eq!(HashSink::default().finish(0), sha256(b""));
    }

    #[test]
    fn the_order_is_demanded() {
        let sink = HashSink::default();
        sink.write_at(10, &[IoSlice::new(b"abc")]).unwrap();
        assert!(sink.write_at(12, &[IoSlice::new(b"x")]).is_err());
    }
}
