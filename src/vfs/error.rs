//! Why an operation failed. `fuse::errno` maps each to its errno in one exhaustive match.

use crate::format::{Digest, Ino};
use crate::layer::LayerError;
use crate::store::StoreError;
use crate::sys::failure;

/// The filesystem's error.
#[derive(Debug, thiserror::Error)]
pub enum VfsError {
    /// No such name.
    #[error("no such file or directory")]
    NotFound,
    /// The inode was removed, or never was.
    #[error("inode {} is gone", .0.0)]
    Stale(Ino),
    /// The name is taken.
    #[error("exists already")]
    Exists,
    /// Something else than a directory where one is needed.
    #[error("not a directory")]
    NotDir,
    /// A directory where something else is needed.
    #[error("is a directory")]
    IsDir,
    /// rmdir or rename onto a directory with entries.
    #[error("directory isn't empty")]
    NotEmpty,
    /// A change to a read-only mount.
    #[error("read-only file system")]
    ReadOnly,
    /// Forbidden for everyone, such as a hard link to a directory.
    #[error("operation not permitted")]
    NotPermitted,
    /// Forbidden for this caller.
    #[error("permission denied")]
    AccessDenied,
    /// Arguments that make no sense.
    #[error("invalid argument")]
    Invalid,
    /// A name over 255 bytes.
    #[error("name too long")]
    NameTooLong,
    /// No extended attribute of this name.
    #[error("no such attribute")]
    NoAttribute,
    /// A buffer that is too small.
    #[error("buffer too small")]
    Range,
    /// More links than an inode can have.
    #[error("too many links")]
    TooManyLinks,
    /// A size past what files can have.
    #[error("file too large")]
    TooLarge,
    /// An extended attribute over the limits.
    #[error("attribute too big")]
    TooBig,
    /// More extended attributes than an inode has room for.
    #[error("no room for more attributes of this file")]
    NoAttributeRoom,
    /// lseek past the end.
    #[error("no data past this offset")]
    NoData,
    /// Not something that this filesystem does.
    #[error("operation not supported")]
    Unsupported,
    /// A handle that isn't open, or not for this.
    #[error("bad file handle")]
    BadHandle,
    /// The layer's quota is used up.
    #[error("quota exceeded")]
    Quota,
    /// Something else of the kind goes on.
    #[error("busy: {0}")]
    Busy(&'static str),
    /// The mount is going away.
    #[error("the mount is shutting down")]
    ShuttingDown,
    /// A directory entry whose sums aren't those of the tree that it names: a damaged or forged parent.
    #[error(
        "the directory that holds tree {0} tells other sums than the tree has; import the source again, or go back to an earlier manifest"
    )]
    Sums(Digest),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The layer failed.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A file operation failed.
    #[error("{context}: {source}")]
    Io {
        /// What was tried, on what.
        context: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl VfsError {
    /// Whether it failed for want of room on a disk.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Store(error) => error.is_full(),
            Self::Layer(error) => error.io().is_some_and(failure::is_full),
            Self::Io { source, .. } => failure::is_full(source),
            _ => false,
        }
    }

    /// Wraps an I/O error with what was tried.
    pub fn io(context: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { context: context.into(), source }
    }

    /// Wraps an errno of a system call with what was tried.
    pub fn errno(context: impl Into<String>) -> impl FnOnce(nix::errno::Errno) -> Self {
        move |errno| Self::Io { context: context.into(), source: errno.into() }
    }
}

/// The filesystem's result.
pub type Result<T> = std::result::Result<T, VfsError>;
