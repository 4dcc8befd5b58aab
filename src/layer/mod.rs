//! A writable layer: what changed against a base manifest.
//!
//! ```text
//! LAYER/index/   fjall database: inodes, names, meta   (db, record)
//!      /index.reserve  disk kept for removals on a full one (ballast)
//!      /stamp    exists once the database and its keyspaces were made: a layer that lacks one of them then is damaged, not new
//!      /data/    content of dirty files                (data)
//! ```
//! A number without a record is clean: the base says what it is. A name without a record is what the base tree says.
//!
//! Invariants
//! * One operation of the filesystem is one batch: it happened whole or not at all.
//! * Numbers given out are never given out again, also not after a crash: they are reserved in the database in blocks.
//! * A layer is open in one process at a time; the store's lock of the layer sees to that.
//!
//! Recovery ([`Layer::open`] after a crash): inodes without names are reclaimed; data files that no record names are removed; after a
//! power cut, files whose copy-up was not yet known to be on disk go back to the blob that they came from.

mod ballast;
mod data;
mod db;
mod error;
pub mod memory;
mod record;
mod recovery;

pub use data::{DataDir, DataId};
pub use db::{Batch, Db};
pub use error::LayerError;
pub use record::{BadRecord, BlobRef, Body, Child, FileContent, InodeRecord, NameRecord};
pub use recovery::Recovered;

use crate::format::Ino;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const FORMAT: u64 = 1;
/// Numbers reserved at a time: a crash wastes at most so many.
const BLOCK: u64 = 1024;

const KEY_FORMAT: &str = "format";
const KEY_RESERVED: &str = "reserved";
const KEY_CLEAN: &str = "clean";
const KEY_BOOT: &str = "boot";

/// Opens the database. One that was made once and is gone is an error: a new one would pass off the base as the layer.
fn open_db(path: &Path) -> Result<Db, LayerError> {
    let (index, stamp) = (path.join("index"), path.join("stamp"));
    let exists = |path: &Path| {
        let path = path.to_owned();
        path.try_exists().map_err(|source| LayerError::Data { action: "examine", path, source })
    };
    let stamped = exists(&stamp)?;
    if stamped && !exists(&index.join(db::VERSION_FILE))? {
        return Err(LayerError::Gone { path: index });
    }
    let db = Db::open(&index)?;
    if stamped {
        return if db.is_whole()? { Ok(db) } else { Err(LayerError::Gone { path: index }) };
    }
    db.stamp()?;
    let written = std::fs::File::create(&stamp).and_then(|file| file.sync_all());
    written.map_err(|source| LayerError::Data { action: "create", path: stamp, source })?;
    Ok(db)
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
}

impl Layer {
    /// Opens the layer in folder `path`, or makes an empty one there; recovers it when it wasn't closed.
    pub fn open(path: &Path) -> Result<Self, LayerError> {
        let db = open_db(path)?;
        let data = DataDir::open(path.join("data"))?;
        let found = db.meta_number(KEY_FORMAT)?;
        if let Some(found) = found.filter(|&found| found != FORMAT) {
            return Err(LayerError::Version { path: path.to_owned(), found, known: FORMAT });
        }
        let is_new = found.is_none();
        let was_clean = is_new || db.meta_number(KEY_CLEAN)? == Some(1);
        let boot = recovery::boot_id();
        let recovered = if was_clean {
            Recovered::default()
        } else {
            recovery::recover(&db, &data, db.meta_text(KEY_BOOT)?.as_deref() != Some(&boot))?
        };
        let first = db.meta_number(KEY_RESERVED)?.unwrap_or(1);
        let layer = Self {
            path: path.to_owned(),
            db,
            data,
            next: AtomicU64::new(first),
            reserved: Mutex::new(first),
            recovered,
        };
        let mut batch = layer.db.batch();
        batch.put_number(KEY_FORMAT, FORMAT);
        batch.put_number(KEY_CLEAN, 0);
        batch.put_text(KEY_BOOT, &boot);
        batch.commit()?;
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

    /// Marks the layer as closed in good order and puts all of it on disk.
    pub fn close(&self) -> Result<(), LayerError> {
        let mut batch = self.db.batch();
        batch.put_number(KEY_CLEAN, 1);
        batch.commit()?;
        self.db.persist()
    }
}
