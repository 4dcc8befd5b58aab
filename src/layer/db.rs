//! The layer's database: three keyspaces of one fjall database, changed by atomic batches.
//!
//! Invariant: a batch that was committed has been handed to the operating system, so a killed daemon loses nothing of it; it is on
//! disk after [`Db::persist`]. Keys and values are in `record`.
//!
//! fjall refuses all further batches of a database once writing one has failed, as on a full disk. So a failure has the database opened
//! anew, which cuts a torn batch off; whether the batch that failed is in it then tells whether it happened.
//!
//! Locking: `handles` shared by every use, exclusive while the database is opened anew.

use super::ballast::Ballast;
use super::error::LayerError;
use super::record::{BadRecord, InodeRecord, NameRecord, ino_of_key, inode_key, name_key};
use crate::format::{Ino, Name};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use parking_lot::{RwLock, RwLockReadGuard};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Memory that one keyspace gathers before it is written out as a table: 4 MiB bounds the daemon's memory, not its speed.
const MEMTABLE_BYTES: u64 = 4 << 20;
/// Cache of table blocks.
const CACHE_BYTES: u64 = 4 << 20;

/// The file that every fjall database has.
pub const VERSION_FILE: &str = "version";

/// An open database.
pub struct Db {
    path: PathBuf,
    /// `None` after the database failed and couldn't be opened anew yet.
    handles: RwLock<Option<Handles>>,
    ballast: Ballast,
    /// Batches committed, and how many of them are known to be on disk.
    committed: AtomicU64,
    persisted: AtomicU64,
}

struct Handles {
    database: Database,
    inodes: Keyspace,
    names: Keyspace,
    meta: Keyspace,
}

/// The key of each keyspace's stamp: shorter than any number's, and no name of a number kept in `meta`.
const STAMP: &[u8] = b"\0made";

/// Which keyspace.
#[derive(Clone, Copy, Debug)]
enum Space {
    Inodes,
    Names,
    Meta,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Handles {
    fn open(path: &Path) -> Result<Self, LayerError> {
        let failed = |source| LayerError::Open { path: path.to_owned(), source };
        let builder = Database::builder(path).cache_size(CACHE_BYTES).worker_threads(1).max_cached_files(Some(64));
        let database = builder.open().map_err(failed)?;
        let keyspace = |name| {
            database
                .keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES))
                .map_err(failed)
        };
        let (inodes, names, meta) = (keyspace("inodes")?, keyspace("names")?, keyspace("meta")?);
        Ok(Self { database, inodes, names, meta })
    }

    fn space(&self, space: Space) -> &Keyspace {
        match space {
            Space::Inodes => &self.inodes,
            Space::Names => &self.names,
            Space::Meta => &self.meta,
        }
    }

    fn commit(&self, changes: &[Change]) -> fjall::Result<()> {
        let mut batch = self.database.batch();
        for change in changes {
            match &change.value {
                Some(value) => batch.insert(self.space(change.space), &*change.key, &**value),
                None => batch.remove(self.space(change.space), &*change.key),
            }
        }
        batch.commit()
    }

    /// Whether the database is as `changes` would have it.
    fn has(&self, changes: &[Change]) -> fjall::Result<bool> {
        for change in changes {
            if self.space(change.space).get(&*change.key)?.as_deref() != change.value.as_deref() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Db {
    /// Opens the database in `path`, or creates it.
    pub fn open(path: &Path) -> Result<Self, LayerError> {
        let handles = Handles::open(path)?;
        Ok(Self {
            path: path.to_owned(),
            handles: RwLock::new(Some(handles)),
            ballast: Ballast::new(path.with_extension("reserve")),
            committed: AtomicU64::new(1),
            persisted: AtomicU64::new(0),
        })
    }

    /// The open database; one that failed is opened anew first.
    fn handles(&self) -> Result<impl std::ops::Deref<Target = Handles> + '_, LayerError> {
        loop {
            if let Ok(open) = RwLockReadGuard::try_map(self.handles.read(), Option::as_ref) {
                return Ok(open);
            }
            let mut handles = self.handles.write();
            if handles.is_none() {
                *handles = Some(self.open_anew()?);
            }
        }
    }

    fn open_anew(&self) -> Result<Handles, LayerError> {
        tracing::warn!(path = %self.path.display(), "opening the layer database anew after a failure");
        Handles::open(&self.path)
            .or_else(|error| if self.ballast.release() { Handles::open(&self.path) } else { Err(error) })
    }

    /// Makes `changes`, all or none. `freeing`: they give space back, so the reserve may be used for them.
    fn commit(&self, changes: &[Change], freeing: bool) -> Result<(), LayerError> {
        let source = match self.handles()?.commit(changes) {
            Ok(()) => {
                // What gave space back may have made room for the reserve.
                if freeing {
                    self.ballast.take();
                }
                return Ok(());
            }
            Err(source) => source,
        };
        *self.handles.write() = None;
        if self.handles()?.has(changes).map_err(|e| self.failed(e))? {
            return Ok(());
        }
        if freeing && self.ballast.release() {
            return self.handles()?.commit(changes).map_err(|e| self.failed(e));
        }
        Err(self.failed(source))
    }

    fn failed(&self, source: fjall::Error) -> LayerError {
        LayerError::Database { path: self.path.clone(), source }
    }

    fn bad(&self, ino: Ino, source: BadRecord) -> LayerError {
        LayerError::Record { path: self.path.clone(), ino, source }
    }

    /// The record of `ino`; `None` when it is clean.
    pub fn inode(&self, ino: Ino) -> Result<Option<InodeRecord>, LayerError> {
        let value = self.handles()?.inodes.get(inode_key(ino)).map_err(|e| self.failed(e))?;
        value.map(|bytes| InodeRecord::decode(&bytes).map_err(|e| self.bad(ino, e))).transpose()
    }

    /// What the layer says of `name` in `parent`; `None` when it says nothing.
    pub fn name(&self, parent: Ino, name: Name<'_>) -> Result<Option<NameRecord>, LayerError> {
        let value = self.handles()?.names.get(name_key(parent, name.as_bytes())).map_err(|e| self.failed(e))?;
        value.map(|bytes| NameRecord::decode(&bytes).map_err(|e| self.bad(parent, e))).transpose()
    }

    /// Visits every name record of `parent`, in name order.
    pub fn each_name_of(&self, parent: Ino, mut visit: impl FnMut(&[u8], NameRecord)) -> Result<(), LayerError> {
        for guard in self.handles()?.names.prefix(inode_key(parent)) {
            let (key, value) = guard.into_inner().map_err(|e| self.failed(e))?;
            visit(&key[8..], NameRecord::decode(&value).map_err(|e| self.bad(parent, e))?);
        }
        Ok(())
    }

    /// Visits every inode record, by number.
    pub fn each_inode(&self, mut visit: impl FnMut(Ino, InodeRecord)) -> Result<(), LayerError> {
        for guard in self.handles()?.inodes.iter() {
            let (key, value) = guard.into_inner().map_err(|e| self.failed(e))?;
            if &*key == STAMP {
                continue;
            }
            let ino = ino_of_key(&key).map_err(|e| self.bad(Ino(0), e))?;
            visit(ino, InodeRecord::decode(&value).map_err(|e| self.bad(ino, e))?);
        }
        Ok(())
    }

    /// Visits every name record, by directory and name.
    pub fn each_name(&self, mut visit: impl FnMut(Ino, &[u8], NameRecord)) -> Result<(), LayerError> {
        for guard in self.handles()?.names.iter() {
            let (key, value) = guard.into_inner().map_err(|e| self.failed(e))?;
            if &*key == STAMP {
                continue;
            }
            let parent = ino_of_key(&key).map_err(|e| self.bad(Ino(0), e))?;
            visit(parent, &key[8..], NameRecord::decode(&value).map_err(|e| self.bad(parent, e))?);
        }
        Ok(())
    }

    /// A number kept under `key`.
    pub fn meta_number(&self, key: &str) -> Result<Option<u64>, LayerError> {
        let value = self.handles()?.meta.get(key).map_err(|e| self.failed(e))?;
        value
            .map(|bytes| match bytes.first_chunk::<8>() {
                Some(number) if bytes.len() == 8 => Ok(u64::from_le_bytes(*number)),
                _ => Err(self.bad(Ino(0), BadRecord::Damaged("meta"))),
            })
            .transpose()
    }

    /// Text kept under `key`.
    pub fn meta_text(&self, key: &str) -> Result<Option<String>, LayerError> {
        let value = self.handles()?.meta.get(key).map_err(|e| self.failed(e))?;
        Ok(value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Marks every keyspace as made, for [`Db::is_whole`].
    pub fn stamp(&self) -> Result<(), LayerError> {
        let stamp = |space| Change { space, key: STAMP.into(), value: Some([].into()) };
        self.commit(&[stamp(Space::Inodes), stamp(Space::Names), stamp(Space::Meta)], false)?;
        self.handles()?.database.persist(PersistMode::SyncAll).map_err(|e| self.failed(e))
    }

    /// Whether every keyspace has its stamp: one that lost its files comes back empty, without an error.
    pub fn is_whole(&self) -> Result<bool, LayerError> {
        let handles = self.handles()?;
        for space in [Space::Inodes, Space::Names, Space::Meta] {
            if handles.space(space).get(STAMP).map_err(|e| self.failed(e))?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Starts a batch: nothing of it is seen or kept before [`Batch::commit`].
    pub fn batch(&self) -> Batch<'_> {
        Batch { db: self, changes: Vec::new(), freeing: false }
    }

    /// Starts a batch that gives space back, and so may use the reserve.
    pub fn freeing_batch(&self) -> Batch<'_> {
        Batch { db: self, changes: Vec::new(), freeing: true }
    }

    /// Puts every committed batch on disk. Does nothing when all of them are there.
    pub fn persist(&self) -> Result<(), LayerError> {
        let goal = self.committed.load(Ordering::Acquire);
        if self.persisted.load(Ordering::Acquire) < goal {
            self.handles()?.database.persist(PersistMode::SyncAll).map_err(|e| self.failed(e))?;
            self.persisted.fetch_max(goal, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Bytes of disk that the database takes.
    pub fn disk_bytes(&self) -> u64 {
        self.handles().ok().and_then(|handles| handles.database.disk_space().ok()).unwrap_or(0)
    }
}

/// One key's new value, or its removal.
struct Change {
    space: Space,
    key: Box<[u8]>,
    value: Option<Box<[u8]>>,
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

    /// Sets what `name` in `parent` means.
    pub fn put_name(&mut self, parent: Ino, name: &[u8], record: NameRecord) {
        self.put(Space::Names, &name_key(parent, name), record.encode());
    }

    /// Forgets what the layer says of `name` in `parent`.
    pub fn remove_name(&mut self, parent: Ino, name: &[u8]) {
        self.remove(Space::Names, &name_key(parent, name));
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
        if self.changes.is_empty() {
            return Ok(());
        }
        self.db.commit(&self.changes, self.freeing)?;
        self.db.committed.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}
