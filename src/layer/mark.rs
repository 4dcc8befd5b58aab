//! How many batches the database was given, kept beside it: what tells that some of them are missing.
//!
//! ```text
//! index.mark   0..8 batches that had returned, 8..16 batches that were put on disk; little-endian
//! ```
//! The database counts its batches, each of which has its number in it. The mark is written after a batch and before its reply, and never synced.
//! A killed daemon thus leaves a database with at least as many batches as had returned: with fewer, something cut them off. What a power cut leaves of
//! the mark is older, or zeros: it says nothing of what had returned, but what was put on disk stays there.
//!
//! Without room for it, it isn't written, and what is there is true still: it knows of fewer batches.

use super::error::LayerError;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What a mark says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Known {
    returned: u64,
    synced: u64,
}

impl Known {
    /// How many batches there must be. `power_cut`: what wasn't synced may be gone.
    pub(super) fn at_least(self, power_cut: bool) -> u64 {
        if power_cut { self.synced } else { self.returned.max(self.synced) }
    }
}

fn path(index: &Path) -> PathBuf {
    index.with_extension("mark")
}

fn failed(action: &'static str, index: &Path) -> impl FnOnce(io::Error) -> LayerError + use<> {
    let path = path(index);
    move |source| LayerError::Data { action, path, source }
}

/// What the mark of the database in `index` says. Without one, nothing is known.
pub(super) fn read(index: &Path) -> Result<Known, LayerError> {
    let bytes = match fs::read(path(index)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Known::default()),
        bytes => bytes.map_err(failed("read", index))?,
    };
    let number =
        |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |it| u64::from_le_bytes(*it));
    Ok(Known { returned: number(0), synced: number(8) })
}

/// Removes the mark of a database that is made anew.
pub(super) fn forget(index: &Path) -> Result<(), LayerError> {
    match fs::remove_file(path(index)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(failed("remove", index)),
    }
}

/// The mark of an open database.
#[derive(Debug)]
pub(super) struct Mark {
    /// `None` when there was no room for it.
    file: Option<File>,
}

impl Mark {
    pub(super) fn open(index: &Path) -> Self {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path(index));
        let file =
            file.inspect_err(|error| tracing::warn!(%error, index = %index.display(), "can't keep the layer's mark"));
        Self { file: file.ok() }
    }

    fn write(&self, bytes: &[u8], at: u64) {
        // What can't be written leaves what was known before.
        let _kept = self.file.as_ref().map(|file| file.write_all_at(bytes, at));
    }

    /// `count` batches had returned.
    pub(super) fn returned(&self, count: u64) {
        self.write(&count.to_le_bytes(), 0);
    }

    /// `count` batches are on disk.
    pub(super) fn synced(&self, count: u64) {
        self.write(&count.to_le_bytes(), 8);
    }

    /// The database has `count` batches, whatever was known before.
    pub(super) fn begin(&self, count: u64) {
        self.write(&[count.to_le_bytes(), 0u64.to_le_bytes()].concat(), 0);
    }
}
