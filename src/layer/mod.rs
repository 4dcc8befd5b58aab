//! A writable layer: what changed against a base manifest.
//!
//! ```text
//! LAYER/index/   fjall database: inodes, names, meta   (db, record)
//!      /index.reserve  disk kept for removals, and for opening the layer, on a full one (reserve)
//!      /index.mark  how many batches the database was given: one that has fewer is damaged (mark)
//!      /new      while the database was never used: a layer without it that lacks its database is damaged, not new (making)
//!      /instance the mounting of the host's filesystem that it was opened on last (instance)
//!      /data/    content of dirty files                (data; of which blocks, of files copied up by range: blocks)
//! ```
//! `recovery` mends what a crash left; `inspect` reads a layer without opening it; `memory` is where the layer of `--tmpfs` lies; `error` says what can
//! fail.
//!
//! A number without a record is clean: the base says what it is. A name without a record is what the base tree says.
//!
//! Invariants
//! * One operation of the filesystem is one batch: it happened whole or not at all.
//! * Numbers given out are never given out again, also not after a crash: they are reserved in the database in blocks.
//! * A layer is open in one process at a time; the store's lock of the layer sees to that.
//!
//! Recovery ([`Layer::open`] after a crash): unfinished batches are dropped (journal); inodes without names are reclaimed; data files that no
//! record names are removed; after a power cut, files whose copy-up was not yet known to be on disk go back to the blob that they came from
//! (recovery).

mod blocks;
mod data;
mod db;
mod error;
mod inspect;
pub mod instance;
mod journal;
mod making;
mod mark;
pub(crate) mod memory;
mod record;
mod recovery;
mod reserve;

pub use blocks::{CHUNK_BLOCKS, Chunk, parse_key as parse_chunk_key};
pub use data::{DataDir, DataId, Listed};
pub use db::{Batch, Changed, Db, Space};
pub use error::{LayerError, Part};
pub use inspect::Inspected;
pub use record::{BadRecord, BlobRef, Body, Child, FileContent, InodeRecord, NameRecord, Partial};
pub use recovery::{Recovered, foretell};

use crate::format::Ino;
use crate::locks::Mutex;
use crate::sys::failure::is_full;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Of a layer that has never had partial content.
const FORMAT: u64 = 1;
/// Of one that has or had: a program that doesn't know of it takes the data files for whole.
const FORMAT_PARTIAL: u64 = 2;
/// Numbers reserved at a time: a crash wastes at most so many.
const BLOCK: u64 = 1024;

const KEY_FORMAT: &str = "format";
const KEY_RESERVED: &str = "reserved";
const KEY_CLEAN: &str = "clean";

/// Refuses a layer of a format that this program doesn't know.
fn check_format(path: &Path, found: Option<u64>) -> Result<(), LayerError> {
    match found {
        Some(found) if ![FORMAT, FORMAT_PARTIAL].contains(&found) => {
            Err(LayerError::Version { path: path.to_owned(), found, known: FORMAT_PARTIAL })
        }
        _ => Ok(()),
    }
}

/// An open layer.
#[derive(Debug)]
pub struct Layer {
    path: PathBuf,
    db: Db,
    data: DataDir,
    next: AtomicU64,
    reserved: Mutex<u64>,
    recovered: Recovered,
    unsettled: Vec<DataId>,
    /// The layer's format is the one with partial content.
    knows_partial: AtomicBool,
}

impl Layer {
    /// Opens the layer in folder `path`, or makes an empty one there when there is nothing; recovers it when it wasn't closed.
    pub fn open(path: &Path) -> Result<Self, LayerError> {
        making::prepare(path)?;
        let index = path.join("index");
        let power_cut = instance::power_was_cut(path)?;
        let least = mark::read(&index)?.at_least(power_cut);
        let journal_cut = journal::mend(&index, power_cut, least)?;
        let db = making::open_db(path, path)?;
        if let Some(missing) = db.missing(least) {
            return Err(LayerError::Short { path: index, missing });
        }
        let data = DataDir::open(path.join("data"))?;
        let found = db.meta_number(KEY_FORMAT)?;
        check_format(path, found)?;
        let was_clean = found.is_none() || db.meta_number(KEY_CLEAN)? == Some(1);
        let (mut recovered, mut unsettled) = (Recovered::default(), Vec::new());
        if !was_clean {
            (recovered, unsettled) = recovery::recover(&db, &data, power_cut)?;
        }
        recovered.journal_cut = journal_cut;
        if recovered != Recovered::default() {
            tracing::warn!(?recovered, power_cut, "the layer was not closed; recovered");
        }
        let first = db.meta_number(KEY_RESERVED)?.unwrap_or(1);
        let layer = Self {
            path: path.to_owned(),
            db,
            data,
            next: AtomicU64::new(first),
            reserved: Mutex::new(first),
            recovered,
            unsettled,
            knows_partial: AtomicBool::new(found == Some(FORMAT_PARTIAL)),
        };
        // It must be known that the layer is in use, or the next opening wouldn't recover it: so from the reserve on a full disk. What is known
        // already needs no room.
        if was_clean {
            let mut batch = layer.db.freeing_batch();
            batch.put_number(KEY_FORMAT, found.unwrap_or(FORMAT));
            batch.put_number(KEY_CLEAN, 0);
            batch.commit()?;
        }
        // Once the layer is recovered: if that is cut off, it is done again. The mark first, which may be of more than a power cut left.
        layer.db.begin_mark();
        if power_cut {
            match instance::record(path) {
                Err(error) if error.io().is_some_and(is_full) && layer.make_room() => instance::record(path)?,
                recorded => recorded?,
            }
        }
        Ok(layer)
    }

    /// The layer's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// The data files.
    pub fn data(&self) -> &DataDir {
        &self.data
    }

    /// What the last opening had to mend.
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Copy-ups of an earlier use that aren't known to be on disk yet.
    pub fn unsettled(&self) -> &[DataId] {
        &self.unsettled
    }

    /// Whether there is, or was, partial content.
    pub fn knows_partial(&self) -> bool {
        self.knows_partial.load(Ordering::Acquire)
    }

    /// Commits a batch that brings partial content: from then on the layer is of the format that has it.
    pub fn commit_partial(&self, mut batch: Batch<'_>) -> Result<(), LayerError> {
        if self.knows_partial() {
            return batch.commit();
        }
        batch.put_number(KEY_FORMAT, FORMAT_PARTIAL);
        batch.commit()?;
        self.knows_partial.store(true, Ordering::Release);
        Ok(())
    }

    /// A number that was never given out before.
    pub fn allocate(&self) -> Result<u64, LayerError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut reserved = self.reserved.lock();
        while number >= *reserved {
            let upto = *reserved + BLOCK;
            let mut batch = self.db.batch();
            batch.put_number(KEY_RESERVED, upto);
            batch.commit()?;
            *reserved = upto;
        }
        Ok(number)
    }

    /// A number for a new inode.
    pub fn allocate_ino(&self) -> Result<Ino, LayerError> {
        Ok(Ino(Ino::NEW.0 + self.allocate()?))
    }

    /// Gives some of the layer's reserve to whoever needs it to begin using the layer. Returns whether there was any.
    pub fn make_room(&self) -> bool {
        self.db.make_room()
    }

    /// Marks the layer as closed in good order and puts all of it on disk.
    pub fn close(&self) -> Result<(), LayerError> {
        self.db.persist()?;
        // Opening a layer that is marked needs room to take the mark away; one that isn't is recovered instead, and needs none. All else is on
        // disk by now.
        let mut batch = self.db.freeing_batch();
        batch.put_number(KEY_CLEAN, 1);
        let marked = if self.db.is_reserved() { batch.commit().and_then(|()| self.db.persist()) } else { Ok(()) };
        match marked {
            Err(error) if error.io().is_some_and(is_full) => {
                tracing::warn!(%error, "no room to mark the layer as closed; its next opening looks through it");
            }
            outcome => outcome?,
        }
        self.db.rest();
        Ok(())
    }
}
