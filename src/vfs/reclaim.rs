//! Reclaiming inodes that have no name: record and data file go when the kernel has forgotten the inode and its last handle has closed,
//! whichever comes later. What a dead daemon left is reclaimed when the layer is opened (`layer/recovery.rs`).
//!
//! Locking: `forgotten` is noted before the handles are looked at, and a closing handle looks there after it has gone; so one of the two
//! sees the other, and the record goes under `tree_lock`, once.

use super::error::Result;
use super::{Fs, Upper};
use crate::format::Ino;
use crate::layer::DataId;

impl Fs {
    /// The kernel dropped the inode; one without a name is reclaimed, now or when its last handle closes.
    pub fn forget(&self, ino: Ino) {
        let Some(upper) = &self.upper else { return };
        let unnamed = {
            let _guard = upper.tree_lock.read();
            matches!(upper.layer.db().inode(ino), Ok(Some(record)) if record.nlink == 0)
        };
        if !unnamed {
            return;
        }
        // Noted before it is looked at: a last handle that closes meanwhile is either seen closed here, or sees the note.
        upper.forgotten.lock().insert(ino);
        if self.open.is_open(ino) {
            return;
        }
        if let Err(error) = self.reclaim(ino) {
            // It stays recorded without a name, and the next opening of the layer reclaims it.
            tracing::warn!(ino = ino.0, %error, "can't reclaim an unlinked inode");
        }
    }

    /// Removes record and data of an inode that has no name.
    pub(super) fn reclaim(&self, ino: Ino) -> Result<()> {
        let upper = self.upper()?;
        if let Some(generation) = self.drop_record(upper, ino)? {
            upper.doom(DataId { ino, generation });
        }
        Ok(())
    }

    /// Removes the record of an inode that has no name. Returns the generation of its data file, if there is one.
    fn drop_record(&self, upper: &Upper, ino: Ino) -> Result<Option<u32>> {
        let _guard = upper.tree_lock.write();
        upper.forgotten.lock().remove(&ino);
        let Some(record) = upper.layer.db().inode(ino)? else { return Ok(None) };
        if record.nlink > 0 || self.open.is_open(ino) {
            return Ok(None);
        }
        let generation = record.data_generation();
        let mut batch = upper.layer.db().freeing_batch();
        if ino.is_linked_range() {
            batch.put_inode(ino, &record.tombstone());
        } else {
            batch.remove_inode(ino);
        }
        batch.remove_chunks_of(ino)?;
        batch.commit()?;
        Ok(generation)
    }

    pub(super) fn reclaim_all_orphans(&self) -> Result<()> {
        let upper = self.upper()?;
        let mut orphans = Vec::new();
        upper.layer.db().each_inode(|ino, record| {
            if record.nlink == 0 {
                orphans.push(ino);
            }
        })?;
        for ino in orphans {
            self.open.close_all(ino);
            self.reclaim(ino)?;
        }
        Ok(())
    }
}
