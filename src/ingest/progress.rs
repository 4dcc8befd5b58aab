//! Counters that a running import or export moves and that whoever shows progress reads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How far an import or export is. All counters only grow.
#[derive(Debug, Default)]
pub struct Progress {
    entries: AtomicU64,
    bytes: AtomicU64,
    input: AtomicU64,
    input_total: AtomicU64,
}

impl Progress {
    /// Entries done.
    pub fn entries(&self) -> u64 {
        self.entries.load(Relaxed)
    }

    /// Bytes of file content done.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Bytes of an archive read so far, as they are in the file: compressed.
    pub fn input(&self) -> u64 {
        self.input.load(Relaxed)
    }

    /// Length of the archive's file, when it is known: [`Progress::input`] runs up to it.
    pub fn input_total(&self) -> Option<u64> {
        Some(self.input_total.load(Relaxed)).filter(|&total| total > 0)
    }

    /// Tells the length of the archive's file.
    pub fn set_input_total(&self, total: u64) {
        self.input_total.store(total, Relaxed);
    }

    pub(crate) fn add_entry(&self) {
        self.entries.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn add_input(&self, bytes: u64) {
        self.input.fetch_add(bytes, Relaxed);
    }
}
