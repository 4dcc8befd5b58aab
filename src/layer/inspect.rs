//! A layer's database looked at without opening the layer: nothing is recovered, and nothing marked as open.
//!
//! Opening the database changes its files all the same (a torn end of the journal is cut off), so who must change nothing looks at a copy.

use super::db::{Db, Space};
use super::{
    FORMAT_PARTIAL, KEY_CLEAN, KEY_FORMAT, KEY_RESERVED, LayerError, check_format, instance, journal, making, mark,
};
use std::path::Path;

/// The database of a layer, and what it says of the layer as a whole.
#[derive(Debug)]
pub struct Inspected {
    db: Db,
    /// Whether the layer was closed in good order, or never used: if not, opening it recovers it.
    pub closed: bool,
    /// Whether what wasn't synced since the layer was opened last may be gone.
    pub power_cut: bool,
    /// The journal has bytes that no crash leaves: [`super::Layer::open`] refuses it. Here the database cut them off, with all behind them.
    pub damaged: bool,
    /// How many batches aren't there that no crash takes: [`super::Layer::open`] refuses that too.
    pub missing: u64,
    /// Whether it may have content that is only partly in its data files.
    pub knows_partial: bool,
    /// The first number that was never given out.
    pub reserved: u64,
}

impl Inspected {
    /// Opens the database in folder `path`, which is `layer`'s folder or a copy of its database. One that was never there is made, empty.
    pub fn open(path: &Path, layer: &Path) -> Result<Self, LayerError> {
        let power_cut = instance::power_was_cut(layer)?;
        let least = mark::read(&layer.join("index"))?.at_least(power_cut);
        let damaged = match journal::mend(&path.join("index"), power_cut, least) {
            Err(LayerError::Damaged { .. }) => true,
            Err(LayerError::Short { .. }) => false,
            mended => mended.map(|_| false)?,
        };
        let db = making::open_db(path, layer)?;
        let missing = db.missing(least).unwrap_or(0);
        let found = db.meta_number(KEY_FORMAT)?;
        check_format(path, found)?;
        let closed = found.is_none() || db.meta_number(KEY_CLEAN)? == Some(1);
        let reserved = db.meta_number(KEY_RESERVED)?.unwrap_or(1);
        let knows_partial = found == Some(FORMAT_PARTIAL);
        Ok(Self { db, closed, power_cut, damaged, missing, knows_partial, reserved })
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Takes what is there for all that there ever was: what is missing isn't missed any more.
    pub fn accept(&self) {
        self.db.begin_mark();
    }

    /// Visits every inode record as bytes.
    pub fn each_inode(&self, visit: impl FnMut(&[u8], &[u8])) -> Result<(), LayerError> {
        self.db.each_raw(Space::Inodes, visit)
    }

    /// Visits every name record as bytes.
    pub fn each_name(&self, visit: impl FnMut(&[u8], &[u8])) -> Result<(), LayerError> {
        self.db.each_raw(Space::Names, visit)
    }

    /// Visits every chunk of blocks of partial content as bytes.
    pub fn each_chunk(&self, visit: impl FnMut(&[u8], &[u8])) -> Result<(), LayerError> {
        self.db.each_chunk(visit)
    }

    /// In `batch`, sets the first number that was never given out.
    pub fn put_reserved(batch: &mut super::Batch<'_>, reserved: u64) {
        batch.put_number(KEY_RESERVED, reserved);
    }
}
