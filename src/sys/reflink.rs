//! Sharing extents between files, where the filesystem can (btrfs, xfs, bcachefs).

use rustix::io::Errno;
use std::fs::File;
use std::io;

/// Makes `to` share all of `from`'s content. `false` where these two files can't: no reflinks, another filesystem, or an
/// odd file; `to` is then as it was.
pub fn reflink(from: &File, to: &File) -> io::Result<bool> {
    match rustix::fs::ioctl_ficlone(to, from) {
        Ok(()) => Ok(true),
        // NOTTY, OPNOTSUPP, NOSYS: no such call; XDEV: another filesystem; INVAL: not between these two; PERM, TXTBSY: swap files and
        // the like, which can still be copied
        Err(
            Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS | Errno::XDEV | Errno::INVAL | Errno::PERM | Errno::TXTBSY,
        ) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
