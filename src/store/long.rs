//! An object too long for memory, hashed while it is written.

use super::Store;
use super::course::Course;
use super::error::{Result, StoreError};
use super::publish::Pending;
use super::reading::{Piece, hash_zeros};
use crate::format::{Digest, Hasher};
use crate::sys::sparse;

/// An object on its way into the store.
pub(super) struct Long<'a> {
    store: &'a Store,
    course: &'a Course,
    hasher: Hasher,
    size: u64,
    /// What has been written. Without room it is still hashed to its end, for the store may have it already.
    pending: Result<Pending>,
}

impl<'a> Long<'a> {
    pub(super) fn new(store: &'a Store, course: &'a Course) -> Result<Self> {
        let pending = match Pending::create(store) {
            Err(error) if !error.is_full() => return Err(error),
            pending => pending,
        };
        Ok(Self { store, course, hasher: Hasher::default(), size: 0, pending })
    }

    /// Appends a piece; zeros become holes.
    pub(super) fn add(&mut self, piece: Piece<'_>) -> Result<()> {
        let length = match piece {
            Piece::Zeros(length) => {
                hash_zeros(&mut self.hasher, length);
                length
            }
            Piece::Bytes(bytes) => {
                self.hasher.update(bytes);
                self.write(bytes)?;
                bytes.len() as u64
            }
        };
        self.size += length;
        self.course.step(length)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Ok(pending) = &self.pending else { return Ok(()) };
        let Err(error) = sparse::write(&pending.file, self.size, bytes) else { return Ok(()) };
        let error = StoreError::io("write an object to", self.store.path(), error);
        if !error.is_full() {
            return Err(error);
        }
        self.pending = Err(error);
        Ok(())
    }

    /// The digest and size of all that was added, and the file that has it, or why there is none for want of room.
    pub(super) fn finish(self) -> Result<(Digest, u64, Result<Pending>)> {
        if let Ok(pending) = &self.pending {
            let cut = pending.file.set_len(self.size);
            cut.map_err(|error| StoreError::io("write an object to", self.store.path(), error))?;
        }
        Ok((self.hasher.finish(), self.size, self.pending))
    }
}
