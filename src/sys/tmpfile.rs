//! Files without a name (O_TMPFILE), named when they are whole.

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// A readable and writable file without a name, on the filesystem of folder `beside`. `None` where the filesystem has no such files.
pub fn unnamed(beside: &Path) -> io::Result<Option<File>> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    match open(beside, flags, Mode::from_bits_truncate(0o600)) {
        Ok(fd) => Ok(Some(File::from(fd))),
        // ENOENT and EISDIR come from kernels and filesystems that know the flag's other bits only
        Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL | Errno::ENOSYS) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Names an unnamed file; `AlreadyExists` when `path` is taken.
pub fn link(file: &File, path: &Path) -> io::Result<()> {
    // By descriptor needs a privilege on older kernels; by /proc needs /proc.
    match nix::unistd::linkat(file, "", AT_FDCWD, path, AtFlags::AT_EMPTY_PATH) {
        Ok(()) => return Ok(()),
        Err(Errno::EEXIST) => return Err(Errno::EEXIST.into()),
        Err(_) => {}
    }
    let by_proc = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(nix::unistd::linkat(AT_FDCWD, by_proc.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)?)
}
