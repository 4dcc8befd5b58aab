//! Reading a file from its beginning to an end known beforehand. Holes aren't read: their zeros come from memory.

use super::course::{Course, STEP_MAX};
use super::error::{Context, Result};
use super::scratch::with_scratch;
use crate::format::{Digest, Hasher};
use crate::sys::{failure, sparse};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Small enough to stay in the processor's cache while it is hashed again and again.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A part of a file, in order.
pub(super) enum Piece<'a> {
    /// Bytes that were read.
    Bytes(&'a [u8]),
    /// Zeros that the file has as a hole.
    Zeros(u64),
}

/// Hands the first `end` bytes of `file` to `each`, in pieces of at most [`STEP_MAX`] and `buffer`; fewer when it ends before. It moves the
/// file's position.
pub(super) fn pieces(
    file: &File,
    end: u64,
    buffer: &mut [u8],
    each: &mut dyn FnMut(Piece<'_>) -> Result<()>,
    path: &Path,
) -> Result<()> {
    let mut at = 0;
    while at < end {
        let (data, hole) = data_after(file, at, end).context("look for holes of", path)?;
        while at < data {
            let length = (data - at).min(STEP_MAX);
            each(Piece::Zeros(length))?;
            at += length;
        }
        while at < hole {
            let want = buffer.len().min(usize::try_from(hole - at).unwrap_or(usize::MAX));
            match file.read_at(&mut buffer[..want], at) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    each(Piece::Bytes(&buffer[..length]))?;
                    at += length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("read", path),
            }
        }
    }
    Ok(())
}

/// The first run of data at or after `at`, both its bounds at most `end`. A filesystem that doesn't know its holes has only data.
fn data_after(file: &File, at: u64, end: u64) -> io::Result<(u64, u64)> {
    match sparse::data(file, at) {
        Ok(None) => Ok((end, end)),
        Ok(Some(data)) => {
            let data = data.min(end);
            // Between the two looks the file may have changed: what has no end is read to find it.
            Ok((data, sparse::hole(file, data)?.filter(|&hole| hole > data).map_or(end, |hole| hole.min(end))))
        }
        Err(error) if failure::is_unsupported(&error) => Ok((at, end)),
        Err(error) => Err(error),
    }
}

pub(super) fn hash_zeros(hasher: &mut Hasher, mut length: u64) {
    while length > 0 {
        let part = usize::try_from(length).unwrap_or(usize::MAX).min(ZEROS.len());
        hasher.update(&ZEROS[..part]);
        length -= part as u64;
    }
}

/// Hashes a file, as long as it is now.
pub(super) fn hash(file: &File, path: &Path, course: &Course) -> Result<Digest> {
    let end = file.metadata().context("stat", path)?.len();
    let mut hasher = Hasher::default();
    let mut take = |piece: Piece<'_>| match piece {
        Piece::Bytes(bytes) => {
            hasher.update(bytes);
            course.step(bytes.len() as u64)
        }
        Piece::Zeros(length) => {
            hash_zeros(&mut hasher, length);
            course.step(length)
        }
    };
    with_scratch(|buffer| pieces(file, end, buffer, &mut take, path))?;
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    #[test]
    fn holes_are_hashed_as_zeros_and_not_read() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"head", 0).unwrap();
        file.write_all_at(&[7; 70_000], 20 << 20).unwrap();
        file.write_all_at(b"tail", (50 << 20) + 5).unwrap();
        file.set_len((70 << 20) + 1).unwrap();
        let mut whole = vec![0; (70 << 20) + 1];
        file.read_exact_at(&mut whole, 0).unwrap();
        let course = Course::default();
        assert_eq!(hash(&file, Path::new("file"), &course).unwrap(), Digest::of(&whole));
        assert_eq!(course.bytes(), whole.len() as u64);
        let mut read = 0;
        let mut count = |piece: Piece<'_>| {
            if let Piece::Bytes(bytes) = piece {
                read += bytes.len();
            }
            Ok(())
        };
        pieces(&file, whole.len() as u64, &mut [0; 4096], &mut count, Path::new("file")).unwrap();
        assert!(read < 1 << 20, "{read}");
    }

    #[test]
    fn a_work_that_is_stopped_ends_at_its_next_step() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 42).unwrap();
        let course = Course::default();
        std::thread::scope(|scope| {
            let work = scope.spawn(|| hash(&file, Path::new("file"), &course));
            while course.bytes() == 0 {
                std::thread::yield_now();
            }
            course.stop();
            assert!(matches!(work.join().unwrap(), Err(StoreError::Stopped)));
        });
        assert!(course.bytes() < 1 << 42);
    }
}
