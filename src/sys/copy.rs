//! Copying parts of host files: by reference where the filesystem can, else in the kernel, keeping holes.

use super::{reflink, sparse};
use nix::errno::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes copied at a time where the kernel can't copy by itself.
const BUFFER: usize = 256 * 1024;
/// Bytes asked of the kernel at a time.
const STEP: u64 = 1 << 30;

/// Makes `to`, an empty file, begin with the first `length` bytes of `from`, or all of them when it has fewer. Returns whether the
/// bytes are shared (reflinked) and not copied.
pub fn copy_prefix(from: &File, to: &File, length: u64) -> io::Result<bool> {
    let size = from.metadata()?.len();
    if length >= size {
        return reflink::reflink_or_copy(from, to);
    }
    to.set_len(length)?;
    let mut at = 0;
    while let Some(start) = sparse::data(from, at)?.filter(|&start| start < length) {
        let end = sparse::hole(from, start)?.unwrap_or(length).min(length);
        copy_range(from, start, to, start, end - start)?;
        at = end.max(start + 1);
    }
    Ok(false)
}

/// Copies `length` bytes between open files at the offsets given; fewer when `from` ends before. Returns how many.
pub fn copy_range(from: &File, from_at: u64, to: &File, to_at: u64, length: u64) -> io::Result<u64> {
    let (mut source, mut target, mut done) = (from_at.cast_signed(), to_at.cast_signed(), 0);
    while done < length {
        // At most 2^30, so it fits.
        let step = (length - done).min(STEP) as usize;
        match nix::fcntl::copy_file_range(from, Some(&mut source), to, Some(&mut target), step) {
            Ok(0) => return Ok(done),
            Ok(count) => done += count as u64,
            Err(Errno::EINTR) => {}
            // Across filesystems, overlapping in one file, or where the kernel can't.
            Err(Errno::EXDEV | Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EPERM | Errno::ETXTBSY) => {
                let rest = copy_by_buffer(from, from_at + done, to, to_at + done, length - done)?;
                return Ok(done + rest);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(done)
}

fn copy_by_buffer(from: &File, from_at: u64, to: &File, to_at: u64, length: u64) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut done = 0;
    while done < length {
        let want = buffer.len().min(usize::try_from(length - done).unwrap_or(usize::MAX));
        match from.read_at(&mut buffer[..want], from_at + done) {
            Ok(0) => break,
            Ok(count) => {
                to.write_all_at(&buffer[..count], to_at + done)?;
                done += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
