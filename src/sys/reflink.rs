//! Sharing extents between files, where the filesystem can (btrfs, xfs, bcachefs).

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

mod ioctl {
    // FICLONE of linux/fs.h
    nix::ioctl_write_int!(ficlone, 0x94, 9);
}

/// Makes `to` share all of `from`'s content. `false` where these two files can't: no reflinks, another filesystem, or an
/// odd file; `to` is then as it was.
pub fn reflink(from: &File, to: &File) -> io::Result<bool> {
    let source: RawFd = from.as_raw_fd();
    // The descriptor of an open file is never negative.
    let Ok(source) = nix::sys::ioctl::ioctl_param_type::try_from(source) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    // SAFETY: both descriptors are open for the call's length; FICLONE takes a descriptor number and touches no memory of ours.
    match unsafe { ioctl::ficlone(to.as_raw_fd(), source) } {
        Ok(_) => Ok(true),
        Err(errno) if cannot(errno) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn cannot(errno: nix::errno::Errno) -> bool {
    use nix::errno::Errno;
    // ENOTTY and EOPNOTSUPP: no such ioctl; EXDEV: another filesystem; EINVAL: not between these two; EPERM, ETXTBSY: swap files
    // and the like, which can still be copied.
    matches!(
        errno,
        Errno::ENOTTY
            | Errno::EOPNOTSUPP
            | Errno::ENOSYS
            | Errno::EXDEV
            | Errno::EINVAL
            | Errno::EPERM
            | Errno::ETXTBSY
    )
}

/// Gives the empty file `to` the content of `from`: by reflink, or by a copy that keeps holes. `true` when extents are shared.
pub fn reflink_or_copy(from: &File, to: &File) -> io::Result<bool> {
    if reflink(from, to)? {
        return Ok(true);
    }
    super::sparse::copy(from, to)?;
    Ok(false)
}
