//! Making a whole filesystem durable.

use std::fs::File;
use std::io;

/// Writes all of the filesystem that `file` is on to its disk. Reports also what failed to be written since `file` was opened.
pub fn syncfs(file: &File) -> io::Result<()> {
    Ok(nix::unistd::syncfs(file)?)
}
