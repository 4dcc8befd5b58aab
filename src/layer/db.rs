//! The layer's database: three keyspaces of one fjall database, changed by atomic batches.
//!
//! Invariant: a batch that was committed has been handed to the operating system, so a killed daemon loses nothing of it; it is on
//! disk after [`Db::persist`]. Keys and values are in `record`.

use super::error::LayerError;
use super::record::{BadRecord, InodeRecord, NameRecord, ino_of_key, inode_key, name_key};
use crate::format::Name;
use crate::vfs::Ino;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Memory that one keyspace gathers before it is written out as a table: 4 MiB bounds the daemon's memory, not its speed.
const MEMTABLE_BYTES: u64 = 4 << 20;
/// Cache of table blocks.
const CACHE_BYTES: u64 = 4 << 20;

/// An open database.
pub struct Db {
    path: PathBuf,
    database: Database,
    inodes: Keyspace,
    names: Keyspace,
    meta: Keyspace,
    /// Batches committed, and how many of them are known to be on disk.
    committed: AtomicU64,
    persisted: AtomicU64,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Db {
    /// Opens the database in `path`, or creates it.
    pub fn open(path: &Path) -> Result<Self, LayerError> {
        let failed = |source| LayerError::Open { path: path.to_owned(), source };
        let database = Database::builder(path)
            .cache_size(CACHE_BYTES)
            .worker_threads(1)
            .max_cached_files(Some(64))
            .open()
            .map_err(failed)?;
        let keyspace = |name| {
            database
                .keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES))
                .map_err(failed)
        };
        let (inodes, names, meta) = (keyspace("inodes")?, keyspace("names")?, keyspace("meta")?);
        Ok(Self {
            path: path.to_owned(),
            database,
            inodes,
            names,
            meta,
            committed: AtomicU64::new(1),
            persisted: AtomicU64::new(0),
        })
    }

    fn failed(&self, source: fjall::Error) -> LayerError {
        LayerError::Database { path: self.path.clone(), source }
    }

    fn bad(&self, ino: Ino, source: BadRecord) -> LayerError {
        LayerError::Record { path: self.path.clone(), ino, source }
    }

    /// The record of `ino`; `None` when it is clean.
    pub fn inode(&self, ino: Ino) -> Result<Option<InodeRecord>, LayerError> {
        let value = self.inodes.get(inode_key(ino)).map_err(|e| self.failed(e))?;
        value.map(|bytes| InodeRecord::decode(&bytes).map_err(|e| self.bad(ino, e))).transpose()
    }

    /// What the layer says of `name` in `parent`; `None` when it says nothing.
    pub fn name(&self, parent: Ino, name: Name<'_>) -> Result<Option<NameRecord>, LayerError> {
        let value = self.names.get(name_key(parent, name.as_bytes())).map_err(|e| self.failed(e))?;
        value.map(|bytes| NameRecord::decode(&bytes).map_err(|e| self.bad(parent, e))).transpose()
    }

    /// Visits every name record of `parent`, in name order.
    pub fn each_name_of(&self, parent: Ino, mut visit: impl FnMut(&[u8], NameRecord)) -> Result<(), LayerError> {
        for guard in self.names.prefix(inode_key(parent)) {
            let (key, value) = guard.into_inner().map_err(|e| self.failed(e))?;
            visit(&key[8..], NameRecord::decode(&value).map_err(|e| self.bad(parent, e))?);
        }
        Ok(())
    }

    /// Visits every inode record, by number.
    pub fn each_inode(&self, mut visit: impl FnMut(Ino, InodeRecord)) -> Result<(), LayerError> {
        for guard in self.inodes.iter() {
            let (key, value) = guard.into_inner().map_err(|e| self.failed(e))?;
            let ino = ino_of_key(&key).map_err(|e| self.bad(Ino(0), e))?;
            visit(ino, InodeRecord::decode(&value).map_err(|e| self.bad(ino, e))?);
        }
        Ok(())
    }

    /// Visits every name record, by directory and name.
    pub fn each_name(&self, mut visit: impl FnMut(Ino, &[u8], NameRecord)) -> Result<(), LayerError> {
        for guard in self.names.iter() {
            let (key, value) = guard.into_inner().map_err(|e| self.failed(e))?;
            let parent = ino_of_key(&key).map_err(|e| self.bad(Ino(0), e))?;
            visit(parent, &key[8..], NameRecord::decode(&value).map_err(|e| self.bad(parent, e))?);
        }
        Ok(())
    }

    /// A number kept under `key`.
    pub fn meta_number(&self, key: &str) -> Result<Option<u64>, LayerError> {
        let value = self.meta.get(key).map_err(|e| self.failed(e))?;
        value
            .map(|bytes| match bytes.first_chunk::<8>() {
                Some(number) if bytes.len() == 8 => Ok(u64::from_le_bytes(*number)),
                _ => Err(self.bad(Ino(0), BadRecord::Damaged("meta"))),
            })
            .transpose()
    }

    /// Text kept under `key`.
    pub fn meta_text(&self, key: &str) -> Result<Option<String>, LayerError> {
        let value = self.meta.get(key).map_err(|e| self.failed(e))?;
        Ok(value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Starts a batch: nothing of it is seen or kept before [`Batch::commit`].
    pub fn batch(&self) -> Batch<'_> {
        Batch { db: self, inner: self.database.batch() }
    }

    /// Puts every committed batch on disk. Does nothing when all of them are there.
    pub fn persist(&self) -> Result<(), LayerError> {
        let goal = self.committed.load(Ordering::Acquire);
        if self.persisted.load(Ordering::Acquire) < goal {
            self.database.persist(PersistMode::SyncAll).map_err(|e| self.failed(e))?;
            self.persisted.fetch_max(goal, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Bytes of disk that the database takes.
    pub fn disk_bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or(0)
    }
}

/// Changes that happen together or not at all.
pub struct Batch<'a> {
    db: &'a Db,
    inner: OwnedWriteBatch,
}

impl Batch<'_> {
    /// Sets the record of `ino`.
    pub fn put_inode(&mut self, ino: Ino, record: &InodeRecord) {
        self.inner.insert(&self.db.inodes, inode_key(ino), record.encode());
    }

    /// Removes the record of `ino`.
    pub fn remove_inode(&mut self, ino: Ino) {
        self.inner.remove(&self.db.inodes, inode_key(ino));
    }

    /// Sets what `name` in `parent` means.
    pub fn put_name(&mut self, parent: Ino, name: &[u8], record: NameRecord) {
        self.inner.insert(&self.db.names, name_key(parent, name), record.encode());
    }

    /// Forgets what the layer says of `name` in `parent`.
    pub fn remove_name(&mut self, parent: Ino, name: &[u8]) {
        self.inner.remove(&self.db.names, name_key(parent, name));
    }

    /// Keeps a number under `key`.
    pub fn put_number(&mut self, key: &str, number: u64) {
        self.inner.insert(&self.db.meta, key, number.to_le_bytes());
    }

    /// Keeps text under `key`.
    pub fn put_text(&mut self, key: &str, text: &str) {
        self.inner.insert(&self.db.meta, key, text);
    }

    /// Makes the changes; the operating system has them when this returns.
    pub fn commit(self) -> Result<(), LayerError> {
        self.inner.commit().map_err(|e| self.db.failed(e))?;
        self.db.committed.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}
