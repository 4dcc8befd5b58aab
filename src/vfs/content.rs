//! Reading and writing content that doesn't go by passthrough, and what always comes here: fallocate, lseek, copy_file_range.

use super::Fs;
use super::error::{Result, VfsError};
use super::types::{HandleId, Seek};
use crate::format::Ino;
use crate::sys::copy::copy_range;
use crate::sys::sparse;
use nix::fcntl::FallocateFlags;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The longest file, as the kernel's `loff_t` counts.
pub(super) const SIZE_MAX: u64 = i64::MAX as u64;

impl Fs {
    fn readable(&self, handle: HandleId) -> Result<Arc<File>> {
        self.open.handle(handle)?.file.to_read(self)
    }

    fn writable(&self, handle: HandleId) -> Result<(Ino, Arc<File>)> {
        let handle = self.open.handle(handle)?;
        if !handle.write {
            return Err(VfsError::BadHandle);
        }
        debug_assert!(matches!(handle.file.key(), super::ContentKey::Data(..)), "a write handle on a blob");
        Ok((handle.ino, handle.file.to_write(self)?))
    }

    /// Reads the inode's current content; fewer bytes than asked only at the end of the file.
    pub fn read(&self, handle: HandleId, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let file = self.readable(handle)?;
        let mut done = 0;
        while done < buffer.len() {
            match file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(VfsError::io("can't read a file's content")(error)),
            }
        }
        Ok(done)
    }

    /// Writes; less than all of `data` when room for the rest can't be had.
    pub fn write(&self, handle: HandleId, offset: u64, data: &[u8]) -> Result<usize> {
        let (_, file) = self.writable(handle)?;
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > SIZE_MAX) {
            return Err(VfsError::TooLarge);
        }
        self.upper()?.with_room(|| write_some(&file, offset, data))
    }

    /// fallocate(2); `mode` is its flags.
    pub fn fallocate(&self, handle: HandleId, offset: u64, length: u64, mode: i32) -> Result<()> {
        let (_, file) = self.writable(handle)?;
        let flags = FallocateFlags::from_bits(mode).ok_or(VfsError::Unsupported)?;
        let (offset, length) = (i64::try_from(offset), i64::try_from(length));
        let (Ok(offset), Ok(length)) = (offset, length) else { return Err(VfsError::TooLarge) };
        self.upper()?.with_room(|| {
            let done = nix::fcntl::fallocate(&*file, flags, offset, length);
            done.map_err(VfsError::errno("can't allocate space in the layer"))
        })
    }

    /// lseek(2) for data and holes.
    pub fn seek(&self, handle: HandleId, offset: u64, what: Seek) -> Result<u64> {
        let file = self.readable(handle)?;
        let found = match what {
            Seek::Data => sparse::data(&file, offset),
            Seek::Hole => sparse::hole(&file, offset),
        };
        found.map_err(VfsError::io("can't seek in a file's content"))?.ok_or(VfsError::NoData)
    }

    /// copy_file_range(2); returns how many bytes were copied.
    pub fn copy_range(&self, from: (HandleId, u64), to: (HandleId, u64), length: u64) -> Result<u64> {
        let source = self.readable(from.0)?;
        let (_, target) = self.writable(to.0)?;
        if to.1.checked_add(length).is_none_or(|end| end > SIZE_MAX) {
            return Err(VfsError::TooLarge);
        }
        self.upper()?.with_room(|| {
            let copied = copy_range(&source, from.1, &target, to.1, length);
            copied.map_err(VfsError::io("can't copy within the layer"))
        })
    }
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
