//! What a failed operation on a file means.

use std::io;

/// It failed for want of room: a full disk, or a quota of the disk that is used up.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The error of a full disk, where the host told of it only by taking fewer bytes than it was given.
pub fn full() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}

/// The disk didn't take or give the bytes (EIO).
pub fn is_lost(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EIO)
}

/// The filesystem, or this kind of file, doesn't have what was asked for.
pub fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS | libc::ESPIPE))
}
