//! What a layer can fail with.

use super::record::BadRecord;
use crate::format::Ino;
use std::io;
use std::path::PathBuf;

/// A layer's error; each names the folder or file, and what to do where something can be done.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The database can't be opened.
    #[error(
        "the layer database {path} can't be opened: {source}; its data files are untouched. If a backup or a snapshot of the \
         layer exists, go back to it; otherwise keep {path} for inspection and start another layer"
    )]
    Open {
        /// The `index` folder.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: fjall::Error,
    },
    /// The database was there once and is gone.
    #[error(
        "the layer database {path} is gone, or a part of it; the layer's changes can't be told without it. Restore {path} from a backup, \
         or go back to a snapshot of the layer; its data files are untouched"
    )]
    Gone {
        /// The `index` folder.
        path: PathBuf,
    },
    /// A layer written by another version of the program.
    #[error("the layer at {path} has format {found}; this program knows format {known}: use the program that made it")]
    Version {
        /// The layer's folder.
        path: PathBuf,
        /// Found there.
        found: u64,
        /// Known here.
        known: u64,
    },
    /// The database failed while it was used.
    #[error(
        "the layer database {path} failed: {source}; what was asked did not happen. It goes on by itself once the cause is mended: free space on the disk that holds it, or look at the kernel log for a failing device"
    )]
    Database {
        /// The `index` folder.
        path: PathBuf,
        /// What it said.
        #[source]
        source: fjall::Error,
    },
    /// A record that makes no sense.
    #[error("inode {ino}: {source} in the layer database {path}", ino = .ino.0)]
    Record {
        /// The `index` folder.
        path: PathBuf,
        /// The inode, or the directory whose name record it is.
        ino: Ino,
        /// What is wrong.
        #[source]
        source: BadRecord,
    },
    /// A data file failed.
    #[error("can't {action} the layer's file {path}: {source}")]
    Data {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl LayerError {
    /// The I/O error beneath, when there is one: what a caller of the filesystem is told.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Data { source, .. } => Some(source),
            Self::Open { source, .. } | Self::Database { source, .. } => match source {
                fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => Some(error),
                _ => None,
            },
            Self::Gone { .. } | Self::Version { .. } | Self::Record { .. } => None,
        }
    }
}
