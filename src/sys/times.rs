//! Setting modification times.

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use std::io;
use std::path::Path;

/// Sets the modification time of what `path` names, which may be a symlink, to `secs` and `nanos` since the epoch; the access time stays.
pub fn set_mtime(path: &Path, secs: i64, nanos: i64) -> io::Result<()> {
    Ok(utimensat(AT_FDCWD, path, &TimeSpec::UTIME_OMIT, &TimeSpec::new(secs, nanos), UtimensatFlags::NoFollowSymlink)?)
}
