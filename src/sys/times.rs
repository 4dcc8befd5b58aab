//! Setting modification times, and what the clock was set to.

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::path::Path;

/// Sets the modification time of what `path` names, which may be a symlink, to `secs` and `nanos` since the epoch; the access time stays.
pub fn set_mtime(path: &Path, secs: i64, nanos: i64) -> io::Result<()> {
    Ok(utimensat(AT_FDCWD, path, &TimeSpec::UTIME_OMIT, &TimeSpec::new(secs, nanos), UtimensatFlags::NoFollowSymlink)?)
}

/// How far the clock of the day is ahead of the one that counts from the machine's start, in nanoseconds: less than before once somebody has set
/// it back. Both go at one pace, whatever that is corrected by.
pub fn clock_set_to() -> i64 {
    let nanos = |id| {
        let time = clock_gettime(id);
        time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
    };
    nanos(ClockId::Realtime).saturating_sub(nanos(ClockId::Boottime))
}
