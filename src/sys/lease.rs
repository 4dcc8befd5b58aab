//! Asking the kernel who has a file open, by file leases (fcntl(2), `F_SETLEASE`).

use nix::errno::Errno;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `F_SETSIG` of include/uapi/asm-generic/fcntl.h, which the libc crate lacks for some targets.
const F_SETSIG: libc::c_int = 10;

/// Whether anyone, in whatever process, can write the regular file that `file` has open read-only: by a descriptor, or by a shared mapping
/// whose descriptor is closed. The kernel grants a read lease only where `i_writecount` is 0. An error where leases can't be had:
/// another's file without CAP_LEASE, or a filesystem without them.
pub fn has_writers(file: &File) -> io::Result<bool> {
    let fd = file.as_raw_fd();
    // Should somebody open the file for writing before the lease is given back, the signal told must not end this process: SIGURG is ignored
    // by default, SIGIO isn't.
    // SAFETY: `fd` is open for the call's length; F_SETSIG takes a number and touches no memory of ours.
    Errno::result(unsafe { libc::fcntl(fd, F_SETSIG, libc::SIGURG) })?;
    // SAFETY: as above.
    match Errno::result(unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) }) {
        Ok(_) => {
            // SAFETY: as above.
            Errno::result(unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) })?;
            Ok(false)
        }
        Err(Errno::EAGAIN) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_seen_while_it_lives() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let read = File::open(&path).unwrap();
        assert!(!has_writers(&read).unwrap());
        let write = File::options().append(true).open(&path).unwrap();
        assert!(has_writers(&read).unwrap());
        drop(write);
        assert!(!has_writers(&read).unwrap());
        let other_reader = File::open(&path).unwrap();
        assert!(!has_writers(&read).unwrap());
        drop(other_reader);
    }
}
