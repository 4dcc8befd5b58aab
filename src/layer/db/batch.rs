//! Changes to the database that happen together.

use super::Db;
use super::handles::{Change, Space};
use crate::format::Ino;
use crate::layer::blocks::{self, Chunk};
use crate::layer::data::DataId;
use crate::layer::error::LayerError;
use crate::layer::record::{InodeRecord, NameRecord, inode_key, name_key};

impl Db {
    /// Starts a batch: nothing of it is seen or kept before [`Batch::commit`].
    pub fn batch(&self) -> Batch<'_> {
        Batch { db: self, changes: Vec::new(), freeing: false }
    }

    /// Starts a batch that gives space back, or that must not fail for want of it: it may use the reserve.
    pub fn freeing_batch(&self) -> Batch<'_> {
        Batch { db: self, changes: Vec::new(), freeing: true }
    }
}

/// Changes that happen together or not at all.
pub struct Batch<'a> {
    db: &'a Db,
    changes: Vec<Change>,
    freeing: bool,
}

impl Batch<'_> {
    fn put(&mut self, space: Space, key: &[u8], value: impl Into<Box<[u8]>>) {
        self.changes.push(Change { space, key: key.into(), value: Some(value.into()) });
    }

    fn remove(&mut self, space: Space, key: &[u8]) {
        self.changes.push(Change { space, key: key.into(), value: None });
    }

    /// Sets the record of `ino`.
    pub fn put_inode(&mut self, ino: Ino, record: &InodeRecord) {
        self.put(Space::Inodes, &inode_key(ino), record.encode());
    }

    /// Removes the record of `ino`.
    pub fn remove_inode(&mut self, ino: Ino) {
        self.remove(Space::Inodes, &inode_key(ino));
    }

    /// Sets what is held of a chunk of a partial file.
    pub fn put_chunk(&mut self, id: DataId, number: u32, chunk: &Chunk) {
        self.put(Space::Meta, &blocks::chunk_key(id, number), chunk.encode());
    }

    /// Forgets the blocks of a data file that is partial content no more.
    pub fn remove_chunks(&mut self, id: DataId) -> Result<(), LayerError> {
        let keys = self.db.chunk_keys(blocks::prefix_of(id))?;
        keys.iter().for_each(|key| self.remove(Space::Meta, key));
        Ok(())
    }

    /// Forgets the blocks of all data files that the inode ever had.
    pub fn remove_chunks_of(&mut self, ino: Ino) -> Result<(), LayerError> {
        let keys = self.db.chunk_keys(blocks::prefix_of_ino(ino))?;
        keys.iter().for_each(|key| self.remove(Space::Meta, key));
        Ok(())
    }

    /// Sets what `name` in `parent` means.
    pub fn put_name(&mut self, parent: Ino, name: &[u8], record: NameRecord) {
        self.put(Space::Names, &name_key(parent, name), record.encode());
    }

    /// Forgets what the layer says of `name` in `parent`.
    pub fn remove_name(&mut self, parent: Ino, name: &[u8]) {
        self.remove(Space::Names, &name_key(parent, name));
    }

    /// Sets a key to bytes that may be none of a record: what a damaged database has.
    pub fn put_raw(&mut self, space: Space, key: &[u8], value: &[u8]) {
        self.put(space, key, value);
    }

    /// Removes a key that may be none of a record.
    pub fn remove_raw(&mut self, space: Space, key: &[u8]) {
        self.remove(space, key);
    }

    /// Keeps a number under `key`.
    pub fn put_number(&mut self, key: &str, number: u64) {
        self.put(Space::Meta, key.as_bytes(), number.to_le_bytes());
    }

    /// Keeps text under `key`.
    pub fn put_text(&mut self, key: &str, text: &str) {
        self.put(Space::Meta, key.as_bytes(), text.as_bytes());
    }

    /// Makes the changes; the operating system has them when this returns.
    pub fn commit(self) -> Result<(), LayerError> {
        self.commit_as(false)
    }

    /// The same of changes that no snapshot would show, such as where content lies: [`Db::changed_since`] doesn't tell of them.
    pub fn commit_quietly(self) -> Result<(), LayerError> {
        self.commit_as(true)
    }

    fn commit_as(self, quiet: bool) -> Result<(), LayerError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        self.db.commit(self.changes, self.freeing, quiet)
    }
}
