//! How the database fails, and goes on.
//!
//! fjall refuses all further batches of a database once writing one has failed, as on a full disk. So a failure has the database opened
//! anew, which cuts a torn batch off; whether the batch that failed is in it then tells whether it happened.
//!
//! Where there is no room for a table, writing it fails in the background, for each batch anew. So a database that failed goes on without tables:
//! its batches stay in the journal and in memory, of which there is no more than the journal had room for. It is opened with tables again at a later
//! batch, not before [`REST`] has passed and there is room for some of them.
//!
//! The kernel tells of a failed write-back once and calls the bytes written from then on, so a sync that succeeds after one that failed
//! proves nothing. A database that is closed for a failure is thus asked by a witness of its own (`journal`); after a failed sync it is *doubtful*, and
//! its journals are written anew, into other files, before anything is called durable again.

use super::Db;
use super::handles::{Handles, MEMTABLE_BYTES};
use crate::layer::error::{LayerError, io_of};
use crate::layer::journal;
use crate::layer::reserve::Reserve;
use crate::sys::failure::{is_full, is_lost};
use parking_lot::RwLockReadGuard;
use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a database that failed goes on without tables, at least.
const REST: Duration = Duration::from_secs(1);
/// Room on the disk that is enough for tables.
const ROOM_FOR_TABLES: u64 = 4 * MEMTABLE_BYTES;

impl Db {
    /// The open database; one that failed is opened anew first.
    pub(super) fn handles(&self) -> Result<impl Deref<Target = Handles> + '_, LayerError> {
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

    /// Closes a database that failed; its next use opens it anew.
    pub(super) fn give_up(&self) {
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

    /// Closes a database that goes on without tables, so that its next use opens it with them, once it is time for that.
    pub(super) fn take_tables_again(&self) {
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

    /// Gives a part of the reserve to the journal, which was opened anew.
    pub(super) fn give_room(&self) -> bool {
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
    pub(super) fn cause(&self, source: fjall::Error) -> fjall::Error {
        match source {
            fjall::Error::Poisoned => journal::probe(&self.path, MEMTABLE_BYTES).map_or_else(Into::into, |()| source),
            told => told,
        }
    }
}

/// Opens the database in `path`, giving up the reserve for it on a full disk.
///
/// A journal that couldn't be written to its disk is written anew first: what is appended to it would be lost behind the hole.
pub(super) fn open_or_make_room(path: &Path, reserve: &Reserve, tables: bool) -> Result<Handles, LayerError> {
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
    io_of(error).is_some_and(|error| is_full(error) || is_lost(error))
}
