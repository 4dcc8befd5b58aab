//! Writing files without filling their holes, and finding those. All I/O is positioned, but [`data`] and [`hole`] move the file's position.

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A run of zeros this long is left out of a file being written. Shorter ones cost an extent more than they save.
const HOLE_MIN: usize = 32 * 1024;
/// Zeros are looked for in blocks of this size.
const BLOCK: usize = 4096;

/// The first byte of data at or after `offset`; `None` when only a hole follows, or `offset` is at or past the end.
pub fn data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    seek(file, offset, Whence::SeekData)
}

/// The first byte of a hole at or after `offset`, the end of the file being one; `None` when `offset` is at or past the end.
pub fn hole(file: &File, offset: u64) -> io::Result<Option<u64>> {
    seek(file, offset, Whence::SeekHole)
}

fn seek(file: &File, offset: u64, whence: Whence) -> io::Result<Option<u64>> {
    let Ok(from) = i64::try_from(offset) else { return Ok(None) };
    match lseek(file, from, whence) {
        Ok(at) => Ok(u64::try_from(at).ok()),
        Err(Errno::ENXIO) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Writes `bytes` at `offset` of a file that has no data there yet, leaving out long runs of zeros. The caller sets the file's length
/// when all is written, for a run at the end is left out too.
pub fn write(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut start = 0; // first byte not yet written or skipped
    let mut at = 0;
    while at < bytes.len() {
        let zeros = zero_run(&bytes[at..]);
        if zeros >= HOLE_MIN {
            file.write_all_at(&bytes[start..at], offset + start as u64)?;
            at += zeros;
            start = at;
        } else {
            at += zeros.max(BLOCK);
        }
    }
    if start < bytes.len() { file.write_all_at(&bytes[start..], offset + start as u64) } else { Ok(()) }
}

/// Bytes in the whole blocks of zeros at the start of `bytes`.
fn zero_run(bytes: &[u8]) -> usize {
    let zero = |block: &&[u8]| u64_is_zero(block) && block.iter().all(|&byte| byte == 0);
    bytes.chunks(BLOCK).take_while(zero).map(<[u8]>::len).sum()
}

/// A quick no for nearly every block of data.
fn u64_is_zero(block: &[u8]) -> bool {
    block.iter().take(8).all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    #[test]
    fn long_zeros_are_left_out_and_short_ones_written() {
        let mut bytes = vec![7u8; 300_000];
        bytes[5_000..25_000].fill(0);
        bytes[100_000..250_001].fill(0);
        let file = tempfile::tempfile().unwrap();
        write(&file, 0, &bytes).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        let mut back = vec![1; bytes.len()];
        file.read_exact_at(&mut back, 0).unwrap();
        assert!(back == bytes);
        assert!(file.metadata().unwrap().blocks() * 512 < 200_000);
        assert_eq!(data(&file, 120_000).unwrap(), Some(249_856)); // the block that holds byte 250,001
    }

    #[test]
    fn ends_of_files_are_neither_data_nor_hole() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(10).unwrap();
        assert_eq!(data(&file, 0).unwrap(), None);
        assert_eq!(hole(&file, 0).unwrap(), Some(0));
        assert_eq!(hole(&file, 10).unwrap(), None);
    }
}
