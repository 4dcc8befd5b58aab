//! Renames that don't replace.

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::io;
use std::path::Path;

/// Renames `from` to `to` if nothing is there; `AlreadyExists` otherwise.
pub fn no_replace(from: &Path, to: &Path) -> io::Result<()> {
    Ok(renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE)?)
}
