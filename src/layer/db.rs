//! The layer's database: three keyspaces of one fjall database, changed by atomic batches.
//!
//! Invariant: a batch that was committed has been handed to the operating system, so a killed daemon loses nothing of it; it is on
//! disk after [`Db::persist`]. Keys and values are in `record`.
//!
//! fjall refuses all further batches of a database once writing one has failed, as on a full disk. So a failure has the database opened
//! anew, which cuts a torn batch off; whether the batch that failed is in it then tells whether it happened.
//!
//! Where there is no room for a table, writing it fails in the background, for each batch anew. So a database that failed goes on without tables:
//! its batches stay in the journal and in memory, of which there is no more than the journal had room for. It is opened with tables again at a later
//! batch, not before [`REST`] has passed and there is room for some of them.
//!
//! The kernel tells of a failed write-back once and calls the bytes written from then on, so a sync that succeeds after one that failed
//! proves nothing. After a failed one the journals are written anew, into other files, before anything is called durable again (`journal`).
//!
//! Every batch has its number as its last item, so that what is there can be compared with what was there (`mark`).
//!
//! Locking: `turn` by who commits, then `handles`: shared by every use, exclusive while the database is opened anew; `failed_at` is a leaf.

use super::blocks::{self, Chunk};
use super::data::DataId;
use super::error::LayerError;
use super::journal::{self, Witness};
use super::mark::Mark;
use super::record::{BadRecord, InodeRecord, NameRecord, ino_of_key, inode_key, name_key};
use super::reserve::Reserve;
use crate::format::{Ino, Name};
use crate::sys::failure::{is_full, is_lost};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Memory that one keyspace gathers before it is written out as a table: 4 MiB bounds the daemon's memory, not its speed.
const MEMTABLE_BYTES: u64 = 4 << 20;
/// How long a database that failed goes on without tables, at least.
const REST: Duration = Duration::from_secs(1);
/// Room on the disk that is enough for tables.
const ROOM_FOR_TABLES: u64 = 4 * MEMTABLE_BYTES;
/// Cache of table blocks.
const CACHE_BYTES: u64 = 4 << 20;

/// The file that every fjall database has.
pub(super) const VERSION_FILE: &str = "version";

/// An open database.
pub struct Db {
    path: PathBuf,
    /// `None` after the database failed and couldn't be opened anew yet.
    handles: RwLock<Option<Handles>>,
    reserve: Reserve,
    /// Held while a batch is committed, so that their numbers are in order.
    turn: Mutex<()>,
    /// The number of the last batch.
    count: AtomicU64,
    mark: Mark,
    /// One more than the last batch that is known to be on disk.
    persisted: AtomicU64,
    /// The journals may not be on disk though the kernel calls them written.
    doubtful: AtomicBool,
    /// A part of the reserve was given to the journal.
    lent: AtomicU64,
    /// When the database failed, while it goes on without tables.
    failed_at: Mutex<Option<Instant>>,
    /// How often it was opened anew.
    reopened: AtomicU64,
}

struct Handles {
    witness: Witness,
    database: Database,
    inodes: Keyspace,
    names: Keyspace,
    meta: Keyspace,
}

/// The key of each keyspace's stamp: shorter than any number's, and no name of a number kept in `meta`.
const STAMP: &[u8] = b"\0made";

/// Where the number of the last batch is kept.
pub(super) const COUNT: &[u8] = b"batches";

/// Which keyspace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// Number to inode record.
    Inodes,
    /// Directory and name to name record.
    Names,
    /// What the layer keeps about itself.
    Meta,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Handles {
    /// Without `tables`, none is written.
    fn open(path: &Path, tables: bool) -> Result<Self, LayerError> {
        let failed = |source| LayerError::Open { path: path.to_owned(), source };
        let builder = Database::builder(path).cache_size(CACHE_BYTES).max_cached_files(Some(64));
        // Tables are written by threads of the database.
        let builder = builder.worker_threads_unchecked(usize::from(tables));
        let database = builder.open().map_err(failed)?;
        let keyspace = |name| {
            database
                .keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES))
                .map_err(failed)
        };
        let (inodes, names, meta) = (keyspace("inodes")?, keyspace("names")?, keyspace("meta")?);
        // What failed before is told by opening, which syncs; a new file hears of what nobody was told yet.
        let witness = Witness::new(path).map_err(|error| failed(error.into()))?;
        Ok(Self { witness, database, inodes, names, meta })
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

    /// The number of the last batch.
    fn count(&self) -> fjall::Result<u64> {
        let value = self.meta.get(COUNT)?;
        Ok(value.and_then(|bytes| bytes.first_chunk().map(|number| u64::from_le_bytes(*number))).unwrap_or(0))
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
    /// Opens the database in `path`, or creates it. On a full disk, what that needs comes from the reserve.
    pub fn open(path: &Path) -> Result<Self, LayerError> {
        let reserve = Reserve::found(path.with_extension("reserve"));
        let handles = open_or_make_room(path, &reserve, true)?;
        let count = handles.count().map_err(|source| LayerError::Database { path: path.to_owned(), source })?;
        let mark = Mark::open(path);
        reserve.take();
        Ok(Self {
            path: path.to_owned(),
            handles: RwLock::new(Some(handles)),
            reserve,
            turn: Mutex::new(()),
            count: AtomicU64::new(count),
            mark,
            persisted: AtomicU64::new(0),
            doubtful: AtomicBool::new(false),
            lent: AtomicU64::new(0),
            failed_at: Mutex::new(None),
            reopened: AtomicU64::new(0),
        })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open database; one that failed is opened anew first.
    fn handles(&self) -> Result<impl std::ops::Deref<Target = Handles> + '_, LayerError> {
        loop {
            if let Ok(open) = RwLockReadGuard::try_map(self.handles.read(), Option::as_ref) {
                return Ok(open);
            }
            let mut handles = self.handles.write();
            if handles.is_none() {
                tracing::warn!(path = %self.path.display(), "opening the layer database anew");
                match journal::mend(&self.path, false, self.count.load(Ordering::Acquire)) {
                    Err(error @ (LayerError::Damaged { .. } | LayerError::Short { .. })) => return Err(error),
                    // The disk failed; what becomes of that is decided below.
                    Err(error) => tracing::warn!(%error, "can't look at the layer's journal"),
                    Ok(_) => {}
                }
                *handles = Some(self.open_anew()?);
            }
        }
    }

    /// Every batch that was committed must still be there.
    fn open_anew(&self) -> Result<Handles, LayerError> {
        self.reopened.fetch_add(1, Ordering::Relaxed);
        let tables = self.failed_at.lock().is_none();
        let opened = open_or_make_room(&self.path, &self.reserve, tables)?;
        let (found, least) = (opened.count().map_err(|e| self.failed(e))?, self.count.load(Ordering::Acquire));
        match least.checked_sub(found) {
            None | Some(0) => Ok(opened),
            Some(missing) => Err(LayerError::Short { path: self.path.clone(), missing }),
        }
    }

    /// How many batches aren't there, if there must be `least`.
    pub(super) fn missing(&self, least: u64) -> Option<u64> {
        least.checked_sub(self.count.load(Ordering::Acquire)).filter(|&missing| missing > 0)
    }

    /// Lets the mark say what there is.
    pub(super) fn begin_mark(&self) {
        self.mark.begin(self.count.load(Ordering::Acquire));
    }

    /// Closes a database that failed; its next use opens it anew.
    fn give_up(&self) {
        *self.failed_at.lock() = Some(Instant::now());
        self.close();
    }

    fn close(&self) {
        let mut handles = self.handles.write();
        if let Some(failed) = handles.take()
            && let Err(error) = failed.witness.check(&self.path)
        {
            tracing::error!(path = %self.path.display(), %error, "the layer database couldn't be written to its disk");
            self.doubtful.store(true, Ordering::Release);
        }
    }

    /// Makes `changes`, all or none. `freeing`: they give space back or must not fail for want of it, so the reserve may be used for them.
    fn commit(&self, mut changes: Vec<Change>, freeing: bool) -> Result<(), LayerError> {
        let _turn = self.turn.lock();
        let count = self.count.load(Ordering::Acquire) + 1;
        let value = Some(count.to_le_bytes().into());
        changes.push(Change { space: Space::Meta, key: COUNT.into(), value });
        self.commit_numbered(&changes, freeing)?;
        self.count.store(count, Ordering::Release);
        self.mark.returned(count);
        self.take_tables_again();
        Ok(())
    }

    /// Closes a database that goes on without tables, so that its next use opens it with them, once it is time for that.
    fn take_tables_again(&self) {
        let mut failed_at = self.failed_at.lock();
        if failed_at.is_some_and(|at| at.elapsed() >= REST) {
            if journal::has_room(&self.path, ROOM_FOR_TABLES) {
                *failed_at = None;
                drop(failed_at);
                self.close();
            } else {
                // Asked again later.
                *failed_at = Some(Instant::now());
            }
        }
    }

    fn commit_numbered(&self, changes: &[Change], freeing: bool) -> Result<(), LayerError> {
        let mut tried_anew = false;
        loop {
            let source = match self.handles()?.commit(changes) {
                Ok(()) => {
                    // What gave space back may have made room for the reserve.
                    if freeing && self.reserve.take() {
                        self.lent.store(0, Ordering::Release);
                    }
                    return Ok(());
                }
                Err(source) => source,
            };
            self.give_up();
            if self.handles()?.has(changes).map_err(|e| self.failed(e))? {
                return Ok(());
            }
            // Cutting a torn batch off gave back what the journal had ahead.
            let lent = self.lent.load(Ordering::Acquire);
            if lent > 0
                && let Some(mut ahead) = journal::Ahead::new(&self.path)
            {
                ahead.take(lent);
            }
            // What failed before may have been another batch, or writing a table in the background.
            let before = matches!(source, fjall::Error::Poisoned) && !std::mem::replace(&mut tried_anew, true);
            if !(before || freeing && self.give_room()) {
                return Err(self.failed(self.cause(source)));
            }
        }
    }

    /// Gives a part of the reserve to the journal, which was opened anew.
    fn give_room(&self) -> bool {
        let ahead = journal::Ahead::new(&self.path);
        let Some(released) = self.reserve.give() else { return false };
        // Taken at once, before others fill the disk again; a part of it will do.
        if let Some(mut ahead) = ahead {
            ahead.take(released);
        }
        self.lent.store(released, Ordering::Release);
        true
    }

    /// What the database failed with in the background isn't told; the disk is asked instead.
    fn cause(&self, source: fjall::Error) -> fjall::Error {
        match source {
            fjall::Error::Poisoned => journal::probe(&self.path, MEMTABLE_BYTES).map_or_else(Into::into, |()| source),
            told => told,
        }
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

    /// A chunk of the blocks of a partial file; `None`: none of them are held.
    pub fn chunk(&self, id: DataId, chunk: u32) -> Result<Option<Chunk>, LayerError> {
        let value = self.handles()?.meta.get(blocks::chunk_key(id, chunk)).map_err(|e| self.failed(e))?;
        value.map(|bytes| Chunk::decode(&bytes).map_err(|e| self.bad(id.ino, e))).transpose()
    }

    /// All chunks of the blocks of a partial file.
    pub fn chunks(&self, id: DataId) -> Result<BTreeMap<u32, Chunk>, LayerError> {
        let mut all = BTreeMap::new();
        for guard in self.handles()?.meta.prefix(blocks::prefix_of(id)) {
            let (key, value) = guard.into_inner().map_err(|e| self.failed(e))?;
            let (_, chunk) = blocks::parse_key(&key).ok_or_else(|| self.bad(id.ino, BadRecord::Damaged("blocks")))?;
            all.insert(chunk, Chunk::decode(&value).map_err(|e| self.bad(id.ino, e))?);
        }
        Ok(all)
    }

    /// Visits every chunk of blocks as bytes, also those that make no sense.
    pub fn each_chunk(&self, mut visit: impl FnMut(&[u8], &[u8])) -> Result<(), LayerError> {
        for guard in self.handles()?.meta.prefix(blocks::prefix_of_all()) {
            let (key, value) = guard.into_inner().map_err(|e| self.failed(e))?;
            visit(&key, &value);
        }
        Ok(())
    }

    fn chunk_keys(&self, prefix: Vec<u8>) -> Result<Vec<Box<[u8]>>, LayerError> {
        let keys = self.handles()?.meta.prefix(prefix).map(|guard| guard.key().map(|key| (*key).into()));
        keys.collect::<fjall::Result<_>>().map_err(|e| self.failed(e))
    }

    /// Visits every key of a keyspace with its value as bytes, also those that make no sense as records.
    pub fn each_raw(&self, space: Space, mut visit: impl FnMut(&[u8], &[u8])) -> Result<(), LayerError> {
        for guard in self.handles()?.space(space).iter() {
            let (key, value) = guard.into_inner().map_err(|e| self.failed(e))?;
            if &*key != STAMP {
                visit(&key, &value);
            }
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
        self.commit(vec![stamp(Space::Inodes), stamp(Space::Names), stamp(Space::Meta)], false)?;
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

    /// Starts a batch that gives space back, or that must not fail for want of it: it may use the reserve.
    pub fn freeing_batch(&self) -> Batch<'_> {
        Batch { db: self, changes: Vec::new(), freeing: true }
    }

    /// Puts every committed batch on disk. Does nothing when all of them are there.
    pub fn persist(&self) -> Result<(), LayerError> {
        let count = self.count.load(Ordering::Acquire);
        let goal = count + 1;
        if self.persisted.load(Ordering::Acquire) >= goal && !self.doubtful.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut outcome = self.persist_now()?;
        if matches!(outcome, Err(fjall::Error::Poisoned)) {
            self.give_up();
            outcome = self.persist_now()?;
        }
        match outcome {
            Ok(()) => {
                self.persisted.fetch_max(goal, Ordering::AcqRel);
                self.mark.synced(count);
                Ok(())
            }
            Err(source) => {
                self.doubtful.store(true, Ordering::Release);
                self.give_up();
                Err(self.failed(self.cause(source)))
            }
        }
    }

    fn persist_now(&self) -> Result<fjall::Result<()>, LayerError> {
        if self.doubtful.load(Ordering::Acquire) {
            let mut handles = self.handles.write();
            // Closed first: what is renamed over mustn't be written any more.
            drop(handles.take());
            journal::rewrite(&self.path)?;
            self.doubtful.store(false, Ordering::Release);
        }
        Ok(self.handles()?.database.persist(PersistMode::SyncAll))
    }

    /// Gives a part of the reserve up. Returns whether there was any.
    pub fn make_room(&self) -> bool {
        self.reserve.give().is_some()
    }

    /// Whether there is enough in reserve to close the layer and open it again on a full disk.
    pub fn is_reserved(&self) -> bool {
        self.reserve.take();
        self.reserve.is_enough()
    }

    /// Gives up what of the reserve isn't needed while the layer is closed.
    pub fn rest(&self) {
        self.reserve.rest();
    }

    /// How often the database was opened anew since it was opened.
    pub fn reopened(&self) -> u64 {
        self.reopened.load(Ordering::Relaxed)
    }

    /// Bytes of disk that the database takes.
    pub fn disk_bytes(&self) -> u64 {
        self.handles().ok().and_then(|handles| handles.database.disk_space().ok()).unwrap_or(0)
    }
}

/// Opens the database in `path`, giving up the reserve for it on a full disk.
///
/// A journal that couldn't be written to its disk is written anew first: what is appended to it would be lost behind the hole.
fn open_or_make_room(path: &Path, reserve: &Reserve, tables: bool) -> Result<Handles, LayerError> {
    let mut rewritten = false;
    loop {
        match Handles::open(path, tables) {
            Err(error) if error.io().is_some_and(is_full) && reserve.give().is_some() => {}
            Err(error) if error.io().is_some_and(is_lost) && !std::mem::replace(&mut rewritten, true) => {
                journal::rewrite(path)?;
            }
            // The disk failed, not the database.
            Err(LayerError::Open { path, source }) if disk_failed(&source) => {
                return Err(LayerError::Database { path, source });
            }
            outcome => return outcome,
        }
    }
}

fn disk_failed(error: &fjall::Error) -> bool {
    super::error::io_of(error).is_some_and(|error| is_full(error) || is_lost(error))
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
        if self.changes.is_empty() {
            return Ok(());
        }
        self.db.commit(self.changes, self.freeing)
    }
}
