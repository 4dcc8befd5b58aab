//! Files that are open to be run. The kernel refuses to truncate a running program, but where truncation comes with an open
//! (`FUSE_ATOMIC_O_TRUNC`) and the open isn't for writing, it asks the filesystem first, which therefore has to know.
//!
//! A program that has just ended may be known for a moment longer, until the kernel's RELEASE arrives.
//!
//! Locking: `open` is a leaf.

use crate::locks::Mutex;
use crate::vfs::Ino;
use std::collections::HashMap;

/// Handles that programs are run by.
#[derive(Debug, Default)]
pub(super) struct Running {
    open: Mutex<HashMap<u64, Ino>>,
}

impl Running {
    /// `handle` was opened to run `ino`.
    pub(super) fn opened(&self, handle: u64, ino: Ino) {
        self.open.lock().insert(handle, ino);
    }

    /// `handle` is closed.
    pub(super) fn released(&self, handle: u64) {
        self.open.lock().remove(&handle);
    }

    /// Whether `ino` may be running.
    pub(super) fn is(&self, ino: Ino) -> bool {
        self.open.lock().values().any(|open| *open == ino)
    }
}
