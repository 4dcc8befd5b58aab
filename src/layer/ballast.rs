//! Disk kept in reserve, so that what frees space can be recorded when none is left.
//!
//! Removing a file takes a few bytes of the database's journal. On a full disk the reserve is given up for those, and taken again as soon
//! as it can be had.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// Enough for some ten thousand removals.
const BYTES: i64 = 1 << 20;

/// The reserve of one layer.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    held: AtomicBool,
}

impl Ballast {
    /// Takes the reserve, if it can be had now.
    pub fn new(path: PathBuf) -> Self {
        let ballast = Self { path, held: AtomicBool::new(false) };
        ballast.take();
        ballast
    }

    /// Takes the reserve again after it was given up. Without room for it nothing happens.
    pub fn take(&self) {
        if !self.held.load(Ordering::Acquire) && self.allocate().is_ok() {
            self.held.store(true, Ordering::Release);
        }
    }

    fn allocate(&self) -> io::Result<()> {
        let file = File::create(&self.path)?;
        let allocated = nix::fcntl::posix_fallocate(&file, 0, BYTES);
        allocated.map_err(|errno| {
            // A part of it would only be in the way.
            let _removed = fs::remove_file(&self.path);
            errno.into()
        })
    }

    /// Gives the reserve up. Returns whether there was one.
    pub fn release(&self) -> bool {
        self.held.swap(false, Ordering::AcqRel) && fs::remove_file(&self.path).is_ok()
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        self.release();
    }
}
