//! The ways in which an operation fails: one vocabulary for the model, the kernel and the kernel-free filesystem.

use cairnfs::vfs::VfsError;
use rustix::io::Errno;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fail {
    NoEntry,
    Exists,
    NotDir,
    IsDir,
    NotEmpty,
    Invalid,
    NameTooLong,
    /// A symbolic link where none is followed.
    Loop,
    NotPermitted,
    NoAttribute,
    /// Not open, or not for this.
    BadFile,
    /// Past the end.
    NoData,
    Unsupported,
    /// A device, fifo or socket, which nobody opens here.
    Special,
    /// Anything else, which is never right.
    Other(String),
}

impl From<Errno> for Fail {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::NoEntry,
            Errno::EXIST => Self::Exists,
            Errno::NOTDIR => Self::NotDir,
            Errno::ISDIR => Self::IsDir,
            Errno::NOTEMPTY => Self::NotEmpty,
            Errno::INVAL => Self::Invalid,
            Errno::NAMETOOLONG => Self::NameTooLong,
            Errno::LOOP => Self::Loop,
            Errno::PERM => Self::NotPermitted,
            Errno::NODATA => Self::NoAttribute,
            Errno::BADF => Self::BadFile,
            Errno::NXIO => Self::NoData,
            Errno::OPNOTSUPP => Self::Unsupported,
            other => Self::Other(format!("{other:?}")),
        }
    }
}

impl From<VfsError> for Fail {
    fn from(error: VfsError) -> Self {
        match error {
            VfsError::NotFound => Self::NoEntry,
            VfsError::Exists => Self::Exists,
            VfsError::NotDir => Self::NotDir,
            VfsError::IsDir => Self::IsDir,
            VfsError::NotEmpty => Self::NotEmpty,
            VfsError::Invalid => Self::Invalid,
            VfsError::NameTooLong => Self::NameTooLong,
            VfsError::NotPermitted => Self::NotPermitted,
            VfsError::NoAttribute => Self::NoAttribute,
            VfsError::BadHandle => Self::BadFile,
            VfsError::NoData => Self::NoData,
            VfsError::Unsupported => Self::Unsupported,
            VfsError::Io { source, .. } if source.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
                Self::Unsupported
            }
            VfsError::Io { source, .. } if source.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Self::Invalid,
            other => Self::Other(format!("{other:?}")),
        }
    }
}
