//! Making a whole filesystem durable.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Writes all of the filesystem that `file` is on to its disk. Reports also what failed to be written since `file` was opened.
pub fn syncfs(file: &File) -> io::Result<()> {
    Ok(nix::unistd::syncfs(file)?)
}

/// Starts writing what `file` has in memory to its disk, and doesn't wait for it. A later [`syncfs`] has less to do, and reports what fails.
pub fn start(file: &File) {
    // SAFETY: the descriptor is open during the call, which touches no memory of ours.
    let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}
