//! Why a snapshot couldn't be taken.

use crate::format::{FormatError, Ino};
use crate::store::StoreError;
use crate::vfs::VfsError;

/// A snapshot that wasn't taken: the layer is as it was, and the attempt can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The filesystem or the layer failed.
    #[error(transparent)]
    Fs(#[from] VfsError),
    /// A tree that the format can't hold.
    #[error("can't encode directory {dir} of the snapshot: {source}", dir = .dir.0)]
    Encode {
        /// The directory's inode number.
        dir: Ino,
        /// Why not.
        #[source]
        source: FormatError,
    },
    /// Records that contradict each other.
    #[error("the layer contradicts itself at inode {ino}: {what}; the layer is left as it is, keep it for inspection", ino = .ino.0)]
    Inconsistent {
        /// Where.
        ino: Ino,
        /// How.
        what: &'static str,
    },
}
