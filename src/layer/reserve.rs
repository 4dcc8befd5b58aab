//! Disk kept in reserve, so that what frees space can be recorded when none is left.
//!
//! Removing a file takes a few bytes of the database's journal, and opening a layer takes a few more. On a full disk the reserve is given up
//! for those, by one rule: first all but [`RESTING`], in one go, for others who fill the disk take some of all that is given up; then a [`STEP`] at a
//! time. What is given up for the journal is the journal's at once. It is taken again as soon as it can be had.
//!
//! The reserve is a file without content beside the database. It stays when the layer is closed, cut down to [`RESTING`], so that the layer
//! can be opened again on a disk that was filled meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most that is kept: enough for some ten thousand removals.
const BYTES: u64 = 1 << 20;
/// A reserve is no larger than this part of its filesystem.
const SHARE: u64 = 16;
/// What stays of it when the layer is closed.
const RESTING: u64 = 4 * STEP;
/// What is given up at a time.
const STEP: u64 = 32 << 10;

/// The reserve of one layer.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    /// Bytes on disk now.
    held: AtomicU64,
}

impl Reserve {
    /// The reserve that was left in file `path`, if one was.
    pub fn found(path: PathBuf) -> Self {
        let held = fs::metadata(&path).map_or(0, |file| file.len());
        Self { path, held: AtomicU64::new(held) }
    }

    /// Takes again what was given up of the reserve. Without room for it nothing happens; what is kept never leaves less free than it takes.
    /// Returns whether there was.
    pub fn take(&self) -> bool {
        let held = self.held.load(Ordering::Acquire);
        if held < BYTES
            && let Some(goal) = self.goal(held)
            && self.grow(held, goal).is_ok()
        {
            self.held.store(goal, Ordering::Release);
            return true;
        }
        false
    }

    /// How much to hold, when that is more than now and there is room.
    fn goal(&self, held: u64) -> Option<u64> {
        let disk = nix::sys::statvfs::statvfs(self.path.parent()?).ok()?;
        let goal = BYTES.min(disk.blocks() * disk.fragment_size() / SHARE);
        let free = disk.blocks_available() * disk.fragment_size();
        (goal > held && free >= 2 * (goal - held)).then_some(goal)
    }

    fn grow(&self, held: u64, goal: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.path)?;
        let (from, length) = (held.cast_signed(), (goal - held).cast_signed());
        nix::fcntl::posix_fallocate(&file, from, length).map_err(|errno| {
            // A part of it would only be in the way.
            let _cut = self.shrink(&file, held);
            errno.into()
        })
    }

    /// Gives up all but what opening the layer may need, or a step of that. Returns how many bytes.
    pub fn give(&self) -> Option<u64> {
        let held = self.held.load(Ordering::Acquire);
        let to = if held > RESTING { RESTING } else { held.saturating_sub(STEP) };
        (held > 0 && self.cut(to).is_ok()).then_some(held - to)
    }

    /// Whether as much is held as stays when the layer is closed.
    pub fn is_enough(&self) -> bool {
        self.held.load(Ordering::Acquire) >= RESTING
    }

    /// Gives up what isn't needed while the layer is closed.
    pub fn rest(&self) {
        if self.held.load(Ordering::Acquire) > RESTING {
            // What can't be given up stays.
            let _cut = self.cut(RESTING);
        }
    }

    fn cut(&self, to: u64) -> io::Result<()> {
        let cut = match OpenOptions::new().write(true).open(&self.path) {
            Ok(file) => self.shrink(&file, to),
            Err(error) => Err(error),
        };
        match &cut {
            // Somebody else removed it: there is none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.held.store(0, Ordering::Release),
            _ => {}
        }
        cut
    }

    fn shrink(&self, file: &File, to: u64) -> io::Result<()> {
        file.set_len(to)?;
        self.held.store(to, Ordering::Release);
        // With it goes its inode, which may be what is short.
        if to == 0 { fs::remove_file(&self.path) } else { Ok(()) }
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        self.rest();
    }
}
