//! Reading and writing content that doesn't go by passthrough, and what always comes here: fallocate, lseek, copy_file_range.

use super::Fs;
use super::error::{Result, VfsError};
use super::handles::Handle;
use super::partial::{Changing, read_some};
use super::types::{ContentKey, HandleId, Seek};
use crate::format::Ino;
use crate::layer::DataId;
use crate::sys::copy::copy_range;
use crate::sys::sparse;
use nix::fcntl::FallocateFlags;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The longest file, as the kernel's `loff_t` counts.
pub(super) const SIZE_MAX: u64 = i64::MAX as u64;
/// The most that is copied into partial content at a time.
const COPY_STEP: u64 = 16 << 20;

/// Where a handle's changes go.
enum Target {
    /// Into this file.
    File(Arc<File>),
    /// Into partial content of the inode.
    Partial(Ino),
}

impl Fs {
    /// Where a handle for writing writes to now. Content that a snapshot made clean under an open handle is copied up again.
    fn target(&self, handle: &Handle) -> Result<Target> {
        if !handle.write {
            return Err(VfsError::BadHandle);
        }
        loop {
            match handle.file.key() {
                ContentKey::Blob(_) => self.make_data(handle.ino, u64::MAX)?,
                ContentKey::Partial(..) => return Ok(Target::Partial(handle.ino)),
                ContentKey::Data(..) => match handle.file.to_write(self) {
                    // The content was another when it was to be opened.
                    Err(_) if !matches!(handle.file.key(), ContentKey::Data(..)) => {}
                    file => return Ok(Target::File(file?)),
                },
            }
        }
    }

    /// Has the one or the other change the content of a handle for writing, with what removed files hold given back if there is no room.
    fn change<T>(
        &self,
        handle: HandleId,
        file: impl Fn(&File) -> Result<T>,
        partial: impl Fn(&mut Changing<'_>) -> Result<T>,
    ) -> Result<T> {
        let handle = self.open.handle(handle)?;
        self.upper()?.with_room(|| {
            loop {
                match self.target(&handle)? {
                    Target::File(host) => return file(&host),
                    Target::Partial(ino) => {
                        if let Some(done) = self.change_partial(ino, Some(&handle.file), &partial)? {
                            return Ok(done);
                        }
                    }
                }
            }
        })
    }

    /// Reads the inode's current content; fewer bytes than asked only at the end of the file.
    pub fn read(&self, handle: HandleId, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let open = self.open.handle(handle)?.file;
        loop {
            match open.now(self)? {
                (ContentKey::Partial(ino, generation), _) => {
                    if let Some(count) = self.read_partial(&open, DataId { ino, generation }, offset, buffer)? {
                        return Ok(count);
                    }
                }
                (_, file) => return read_some(&file, offset, buffer),
            }
        }
    }

    /// Writes; less than all of `data` when room for the rest can't be had.
    pub fn write(&self, handle: HandleId, offset: u64, data: &[u8]) -> Result<usize> {
        let Some(end) = offset.checked_add(data.len() as u64).filter(|&end| end <= SIZE_MAX) else {
            return if self.open.handle(handle)?.write { Err(VfsError::TooLarge) } else { Err(VfsError::BadHandle) };
        };
        let partial = |file: &mut Changing<'_>| {
            let count = file.overwrite(offset, end, |host| write_some(host, offset, data).map(|count| count as u64))?;
            Ok(count as usize)
        };
        self.change(handle, |file| write_some(file, offset, data), partial)
    }

    /// fallocate(2); `mode` is its flags.
    pub fn fallocate(&self, handle: HandleId, offset: u64, length: u64, mode: i32) -> Result<()> {
        if !self.open.handle(handle)?.write {
            return Err(VfsError::BadHandle);
        }
        let flags = FallocateFlags::from_bits(mode).ok_or(VfsError::Unsupported)?;
        let range = (i64::try_from(offset), i64::try_from(length));
        let (Ok(signed_offset), Ok(signed_length)) = range else { return Err(VfsError::TooLarge) };
        let file = |file: &File| {
            let done = nix::fcntl::fallocate(file, flags, signed_offset, signed_length);
            done.map_err(VfsError::errno("can't allocate space in the layer"))
        };
        self.change(handle, file, |partial| partial.allocate(offset, length, flags))
    }

    /// lseek(2) for data and holes.
    pub fn seek(&self, handle: HandleId, offset: u64, what: Seek) -> Result<u64> {
        let open = self.open.handle(handle)?.file;
        loop {
            match open.now(self)? {
                (ContentKey::Partial(ino, generation), _) => {
                    if let Some(found) = self.seek_partial(&open, DataId { ino, generation }, offset, what)? {
                        return found.ok_or(VfsError::NoData);
                    }
                }
                (_, file) => {
                    let found = match what {
                        Seek::Data => sparse::data(&file, offset),
                        Seek::Hole => sparse::hole(&file, offset),
                    };
                    return found.map_err(VfsError::io("can't seek in a file's content"))?.ok_or(VfsError::NoData);
                }
            }
        }
    }

    /// copy_file_range(2); returns how many bytes were copied.
    pub fn copy_range(&self, from: (HandleId, u64), to: (HandleId, u64), length: u64) -> Result<u64> {
        let source = self.open.handle(from.0)?.file;
        if to.1.checked_add(length).is_none_or(|end| end > SIZE_MAX) {
            return Err(VfsError::TooLarge);
        }
        let pieces = |length: u64| self.pieces(&source, from.1, from.1.saturating_add(length));
        let copy = |pieces: &[Piece], target: &File| copy_pieces(pieces, from.1, target, to.1);
        let partial = |target: &mut Changing<'_>| {
            // Others wait for the inode meanwhile; the kernel asks again for the rest.
            let pieces = pieces(length.min(COPY_STEP))?;
            let end = pieces.last().map_or(to.1, |(_, _, end)| to.1 + (end - from.1));
            target.overwrite(to.1, end, |host| copy(&pieces, host))
        };
        self.change(to.0, |host| copy(&pieces(length)?, host), partial)
    }
}

/// A part of a file's content, and the host file with it.
type Piece = (Arc<File>, u64, u64);

fn copy_pieces(pieces: &[Piece], from: u64, target: &File, to: u64) -> Result<u64> {
    let mut done = 0;
    for (file, start, end) in pieces {
        match copy_range(file, *start, target, to + (start - from), end - start) {
            Ok(count) => {
                done += count;
                if count < end - start {
                    break;
                }
            }
            Err(_) if done > 0 => break,
            Err(error) => return Err(VfsError::io("can't copy within the layer")(error)),
        }
    }
    Ok(done)
}

/// Writes as much as goes; an error only when that is nothing.
fn write_some(file: &File, offset: u64, data: &[u8]) -> Result<usize> {
    let mut done = 0;
    while done < data.len() {
        match file.write_at(&data[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) if done > 0 => break,
            Err(error) => return Err(VfsError::io("can't write a file of the layer")(error)),
        }
    }
    Ok(done)
}
