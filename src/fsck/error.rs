//! Why a layer couldn't be checked or mended at all. What is wrong with the layer itself is no error but a finding.

use crate::layer::LayerError;
use std::io;
use std::path::PathBuf;

/// The check's error.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    /// A file of the layer, or of the copy that is looked at, failed.
    #[error("can't {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The layer failed while it was mended.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

impl FsckError {
    /// Wraps an I/O error with what was tried on what.
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
