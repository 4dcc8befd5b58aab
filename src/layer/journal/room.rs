//! Full disks: room that the journal has before it needs it ([`Ahead`]), and what the disk says to one who wants some.

use super::journals;
use nix::fcntl::{FallocateFlags, fallocate, posix_fallocate};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// Taken at a time of what others may take too.
const PIECE: i64 = 4096;

/// Room on disk for what will be appended to the journal in use, which ends where its last batch does.
pub(in crate::layer) struct Ahead {
    journal: File,
    /// Where the room ends that was taken.
    end: i64,
}

impl Ahead {
    /// Of the database in `index`, which was just opened. Nothing where that has no journal.
    pub(in crate::layer) fn new(index: &Path) -> Option<Self> {
        let (_, path) = journals(index).ok()?.pop()?;
        let journal = OpenOptions::new().write(true).open(path).ok()?;
        let end = journal.metadata().ok()?.len().cast_signed();
        Some(Self { journal, end })
    }

    /// Takes up to `room` bytes more: little by little, for a call that asks for more than there is gets nothing.
    pub(in crate::layer) fn take(&mut self, room: u64) {
        let goal = self.end + room.cast_signed();
        while self.end < goal {
            let piece = PIECE.min(goal - self.end);
            if fallocate(&self.journal, FallocateFlags::FALLOC_FL_KEEP_SIZE, self.end, piece).is_err() {
                break;
            }
            self.end += piece;
        }
    }
}

/// Whether the filesystem of `index` has so much room.
pub(in crate::layer) fn has_room(index: &Path, room: u64) -> bool {
    nix::sys::statvfs::statvfs(index).is_ok_and(|disk| disk.blocks_available() * disk.fragment_size() >= room)
}

/// What the disk says to one who wants `room` bytes of it beside `index`: nothing of them stays.
pub(in crate::layer) fn probe(index: &Path, room: u64) -> io::Result<()> {
    let path = index.with_extension("probe");
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
    let allocated = posix_fallocate(&file, 0, room.cast_signed());
    fs::remove_file(&path)?;
    Ok(allocated?)
}
