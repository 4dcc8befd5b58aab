//! The layer's database: three keyspaces of one fjall database, changed by atomic batches.
//!
//! ```text
//! handles   the database and its keyspaces; keys and values as bytes
//! records   what is read, by type       batch   what is changed, by type; both by the keys and values of `record` and `blocks`
//! watch     which inodes batches changed since a moment
//! failure   what happens when the disk is full or fails
//! ```
//! Invariant: a batch that was committed has been handed to the operating system, so a killed daemon loses nothing of it; it is on
//! disk after [`Db::persist`].
//!
//! Every batch has its number as its last item, so that what is there can be compared with what was there (`mark`).
//!
//! Locking: `turn` by who commits, then `handles`: shared by every use, exclusive while the database is opened anew; `failed_at` is a leaf.

mod batch;
mod failure;
mod handles;
mod records;
mod watch;

pub use batch::Batch;
pub(super) use handles::COUNT;
pub use handles::Space;
pub use watch::Changed;

use super::error::LayerError;
use super::journal;
use super::mark::Mark;
use super::reserve::Reserve;
use fjall::PersistMode;
use handles::{Change, Handles, STAMP};
use parking_lot::{Mutex, RwLock};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

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
    watch: watch::Watch,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Db {
    /// Opens the database in `path`, or creates it. On a full disk, what that needs comes from the reserve.
    pub fn open(path: &Path) -> Result<Self, LayerError> {
        let reserve = Reserve::found(path.with_extension("reserve"));
        let handles = failure::open_or_make_room(path, &reserve, true)?;
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
            watch: watch::Watch::default(),
        })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Marks every keyspace as made, for [`Db::is_whole`].
    pub fn stamp(&self) -> Result<(), LayerError> {
        let stamp = |space| Change { space, key: STAMP.into(), value: Some([].into()) };
        self.commit(vec![stamp(Space::Inodes), stamp(Space::Names), stamp(Space::Meta)], false, true)?;
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

    /// How many batches aren't there, if there must be `least`.
    pub(super) fn missing(&self, least: u64) -> Option<u64> {
        least.checked_sub(self.count.load(Ordering::Acquire)).filter(|&missing| missing > 0)
    }

    /// Lets the mark say what there is.
    pub(super) fn begin_mark(&self) {
        self.mark.begin(self.count.load(Ordering::Acquire));
    }

    /// Makes `changes`, all or none. `freeing`: they give space back or must not fail for want of it, so the reserve may be used for them.
    /// `quiet`: the watch isn't told.
    fn commit(&self, changes: Vec<Change>, freeing: bool, quiet: bool) -> Result<(), LayerError> {
        let touched = if quiet { Vec::new() } else { watch::touched(&changes) };
        let outcome = self.commit_in_turn(changes, freeing);
        // Afterwards, whatever the outcome: who asks in between sees the change itself already, or hears of it the next time.
        self.watch.note(touched);
        outcome
    }

    fn commit_in_turn(&self, mut changes: Vec<Change>, freeing: bool) -> Result<(), LayerError> {
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

    fn failed(&self, source: fjall::Error) -> LayerError {
        LayerError::Database { path: self.path.clone(), source }
    }
}
