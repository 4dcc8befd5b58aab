//! Copying content between host files: by reference where the filesystem can, else in the kernel, keeping holes.

use rustix::fs::{SeekFrom, copy_file_range, ioctl_ficlone, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const CHUNK: usize = 1 << 20;
/// Copied between two looks whether to go on.
const PART: u64 = 64 << 20;

/// Makes `to`, an empty file, begin with the first `length` bytes of `from`, or all of them when it has fewer. Returns whether the
/// bytes are shared (reflinked) and not copied.
pub fn copy_prefix(from: &File, to: &File, length: u64) -> io::Result<bool> {
    copy_prefix_while(from, to, length, &mut || true)
}

/// The same, as long as `go_on`, which is asked every few megabytes, says so: else it fails with `Interrupted`.
pub fn copy_prefix_while(from: &File, to: &File, length: u64, go_on: &mut dyn FnMut() -> bool) -> io::Result<bool> {
    let size = from.metadata()?.len();
    if length >= size && size > 0 && ioctl_ficlone(to, from).is_ok() {
        return Ok(true);
    }
    let length = length.min(size);
    let mut at = 0;
    while at < length {
        let data = match seek(from, SeekFrom::Data(at)) {
            Ok(data) => data.min(length),
            Err(Errno::NXIO) => length,
            // The filesystem doesn't know its holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
            Err(errno) => return Err(errno.into()),
        };
        let end = match seek(from, SeekFrom::Hole(data)) {
            Ok(hole) => hole.min(length),
            Err(_) => length,
        };
        let end = end.min(data + PART);
        copy_range(from, data, to, data, end - data)?;
        at = end;
        if !go_on() {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    if to.metadata()?.len() < length {
        to.set_len(length)?;
    }
    Ok(false)
}

/// Copies `length` bytes between open files at the offsets given; fewer when `from` ends before. Returns how many.
pub fn copy_range(from: &File, from_at: u64, to: &File, to_at: u64, length: u64) -> io::Result<u64> {
    let (mut source, mut target, mut done) = (from_at, to_at, 0);
    while done < length {
        let want = usize::try_from(length - done).unwrap_or(usize::MAX).min(1 << 30);
        match copy_file_range(from, Some(&mut source), to, Some(&mut target), want) {
            Ok(0) => return Ok(done),
            Ok(count) => done += count as u64,
            Err(Errno::INTR) => {}
            // Across filesystems, or where the kernel can't.
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                return copy_by_buffer(from, source, to, target, length - done).map(|rest| done + rest);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(done)
}

fn copy_by_buffer(from: &File, from_at: u64, to: &File, to_at: u64, length: u64) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK.min(usize::try_from(length).unwrap_or(CHUNK)).max(1)];
    let mut done = 0;
    while done < length {
        let want = buffer.len().min(usize::try_from(length - done).unwrap_or(usize::MAX));
        let count = from.read_at(&mut buffer[..want], from_at + done)?;
        if count == 0 {
            break;
        }
        to.write_all_at(&buffer[..count], to_at + done)?;
        done += count as u64;
    }
    Ok(done)
}
