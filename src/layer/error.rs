//! What a layer can fail with.

use super::record::BadRecord;
use crate::format::Ino;
use crate::sys::failure;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A layer's error; each names the folder or file, and what to do where something can be done.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The database can't be opened.
    #[error(
        "the layer database {path} can't be opened: {source}; {} tells what is damaged. Its data files are untouched: if a backup or a \
         snapshot of the layer exists, go back to it, otherwise keep {path} for inspection and start another layer",
        check(path)
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
        "{part} {path} is gone, and the layer's changes can't be told without it; nothing was changed. {} tells what is damaged. Its data \
         files are untouched: restore {path} from a backup, or go back to a snapshot of the layer; {} gives the layer up",
        check(path),
        removal(path)
    )]
    Gone {
        /// The `index` folder.
        path: PathBuf,
        /// What of it.
        part: Part,
    },
    /// The database has fewer batches than it was given.
    #[error(
        "{missing} changes of the layer that had happened are not in its database {path} any more, and neither a killed process nor a power cut \
         takes them: its journal was cut off, or it is of an older time than the rest; nothing was changed. Restore {path}, or let {} tell what is \
         there; with --repair it goes on without them, and keeps the content that nothing names any more in the layer's lost/",
        check(path)
    )]
    Short {
        /// The `index` folder.
        path: PathBuf,
        /// How many batches.
        missing: u64,
    },
    /// A layer written by another version of the program.
    #[error("the layer at {path} has format {found}; this program knows format {known}; use the program that made it")]
    Version {
        /// The layer's folder.
        path: PathBuf,
        /// Found there.
        found: u64,
        /// Known here.
        known: u64,
    },
    /// The database's journal has bytes that neither a killed daemon nor a power cut leaves.
    #[error(
        "the layer database is damaged: {path} is unreadable at byte {offset}, with changes after it that had happened; nothing was changed. Look at the \
         kernel log for a failing device, see what {} tells, and go back to a backup or a snapshot of the layer",
        check(path)
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// Where the first bad batch begins.
        offset: u64,
    },
    /// Data files are gone though nothing happened that explains it.
    #[error(
        "{files} files of the layer have lost their content: it is not in {path}, and no power was cut since it was written; nothing was changed. \
         Put the folder back, or let `cairnfs fsck` name the files"
    )]
    Missing {
        /// The folder of data files.
        path: PathBuf,
        /// How many.
        files: u64,
    },
    /// The database failed while it was used.
    #[error(
        "the layer database {path} failed: {}; what was asked did not happen. It goes on by itself once the cause is mended: \
         free space on the disk that holds it, or look at the kernel log for a failing device",
        told(source)
    )]
    Database {
        /// The `index` folder.
        path: PathBuf,
        /// What it said.
        #[source]
        source: fjall::Error,
    },
    /// A record that makes no sense.
    #[error("inode {ino}: {source} in the layer database {path}; unmount, then {}", check(path), ino = .ino.0)]
    Record {
        /// The `index` folder.
        path: PathBuf,
        /// The inode, or the directory whose name record it is.
        ino: Ino,
        /// What is wrong.
        #[source]
        source: BadRecord,
    },
    /// What was written didn't reach the disk, as was told before.
    #[error(
        "what was written to {path} before didn't reach its disk, and nobody can tell what of it is there; look at the kernel log for the cause, \
         write the file anew, or mount the layer again and check it"
    )]
    Lost {
        /// The data file, or the folder of them.
        path: PathBuf,
    },
    /// A data file failed.
    #[error("can't {action} the layer's file {path}: {source}{}", remedy(path, source))]
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

/// What of a database can be gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// All of it.
    Database,
    /// Every journal.
    Journal,
    /// What one of its keyspaces had.
    Keyspace,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Database => "the layer database",
            Self::Journal => "the journal of the layer database",
            Self::Keyspace => "a part of the layer database",
        })
    }
}

impl LayerError {
    /// Whether the layer itself is damaged, or a part of it is gone.
    pub fn is_damage(&self) -> bool {
        match self {
            // What the system refuses, as for want of room or permission, is no damage.
            Self::Open { .. } => self.io().is_none_or(|error| error.raw_os_error().is_none() || is_gone(error)),
            Self::Gone { .. } | Self::Short { .. } | Self::Missing { .. } => true,
            Self::Damaged { .. } | Self::Record { .. } => true,
            Self::Data { source, .. } => is_gone(source),
            Self::Version { .. } | Self::Database { .. } | Self::Lost { .. } => false,
        }
    }

    /// The I/O error beneath, when there is one: what a caller of the filesystem is told.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Data { source, .. } => Some(source),
            Self::Open { source, .. } | Self::Database { source, .. } => io_of(source),
            Self::Lost { .. }
            | Self::Gone { .. }
            | Self::Short { .. }
            | Self::Missing { .. }
            | Self::Damaged { .. }
            | Self::Version { .. }
            | Self::Record { .. } => None,
        }
    }
}

/// The I/O error beneath an error of the database.
pub(super) fn io_of(error: &fjall::Error) -> Option<&io::Error> {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => Some(error),
        _ => None,
    }
}

/// An error of the database for people.
fn told(error: &fjall::Error) -> String {
    io_of(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// What to do about a failing disk, or a file that is gone.
fn remedy(path: &Path, source: &io::Error) -> String {
    match source {
        full if failure::is_full(full) => "; make room on the filesystem".to_owned(),
        lost if failure::is_lost(lost) => "; look at the kernel log for a failing device".to_owned(),
        gone if is_gone(gone) => format!("; unmount, then {}", check(path)),
        _ => String::new(),
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// The command that checks the layer which a file or folder is of.
fn check(path: &Path) -> String {
    format!("`cairnfs fsck {}`", name(path))
}

/// The command that removes it.
fn removal(path: &Path) -> String {
    format!("`cairnfs rm layer {}`", name(path))
}

fn name(path: &Path) -> String {
    let folder = path.ancestors().skip(1).find(|above| above.parent().is_some_and(|all| all.ends_with("layers")));
    folder.and_then(Path::file_name).map_or("LAYER".into(), |name| name.to_string_lossy().into_owned())
}
