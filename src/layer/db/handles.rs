//! The open database: its keyspaces, and batches of plain keys and values.

use crate::layer::LayerError;
use crate::layer::journal::Witness;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use std::path::Path;

/// Memory that one keyspace gathers before it is written out as a table: 4 MiB bounds the daemon's memory, not its speed.
pub(super) const MEMTABLE_BYTES: u64 = 4 << 20;
/// Cache of table blocks.
const CACHE_BYTES: u64 = 4 << 20;

/// The key of each keyspace's stamp: shorter than any number's, and no name of a number kept in `meta`.
pub(super) const STAMP: &[u8] = b"\0made";

/// Where the number of the last batch is kept.
pub(in crate::layer) const COUNT: &[u8] = b"batches";

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

/// One key's new value, or its removal.
pub(super) struct Change {
    pub(super) space: Space,
    pub(super) key: Box<[u8]>,
    pub(super) value: Option<Box<[u8]>>,
}

/// What is open of a database that is in order.
pub(super) struct Handles {
    pub(super) witness: Witness,
    pub(super) database: Database,
    pub(super) inodes: Keyspace,
    pub(super) names: Keyspace,
    pub(super) meta: Keyspace,
}

impl Handles {
    /// Without `tables`, none is written.
    pub(super) fn open(path: &Path, tables: bool) -> Result<Self, LayerError> {
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

    pub(super) fn space(&self, space: Space) -> &Keyspace {
        match space {
            Space::Inodes => &self.inodes,
            Space::Names => &self.names,
            Space::Meta => &self.meta,
        }
    }

    pub(super) fn commit(&self, changes: &[Change]) -> fjall::Result<()> {
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
    pub(super) fn count(&self) -> fjall::Result<u64> {
        let value = self.meta.get(COUNT)?;
        Ok(value.and_then(|bytes| bytes.first_chunk().map(|number| u64::from_le_bytes(*number))).unwrap_or(0))
    }

    /// Whether the database is as `changes` would have it.
    pub(super) fn has(&self, changes: &[Change]) -> fjall::Result<bool> {
        for change in changes {
            if self.space(change.space).get(&*change.key)?.as_deref() != change.value.as_deref() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
