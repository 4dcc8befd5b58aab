//! Durability: fsync, sync, closing, and what is written out early.

use super::error::Result;
use super::types::HandleId;
use super::{ContentKey, Fs};
use crate::format::{Ino, Name};
use crate::layer::DataId;
use crate::sys::syncfs;
use std::sync::atomic::Ordering;

impl Fs {
    /// Content and metadata of the file are on disk when it returns.
    pub fn fsync(&self, handle: HandleId, data_only: bool) -> Result<()> {
        let Some(upper) = &self.upper else { return Ok(()) };
        let handle = self.open.handle(handle)?;
        let (key, file) = handle.file.now(self)?;
        if let ContentKey::Data(ino, generation) | ContentKey::Partial(ino, generation) = key {
            let id = DataId { ino, generation };
            let marks = upper.marks(&[id])?;
            upper.layer.data().sync_file(id, &file, data_only)?;
            if !handle.file.name_synced.load(Ordering::Acquire) {
                upper.layer.data().sync_names(&[id])?;
                handle.file.name_synced.store(true, Ordering::Release);
            }
            upper.clear_origins(&[id], &marks)?;
        }
        upper.layer.db().persist()?;
        Ok(())
    }

    /// The directory's entries are on disk when it returns.
    pub fn fsync_dir(&self, _ino: Ino) -> Result<()> {
        match &self.upper {
            Some(upper) => Ok(upper.layer.db().persist()?),
            None => Ok(()),
        }
    }

    /// Starts writing out content that is about to replace other content under its name, as ext4 does (`auto_da_alloc`): programs replace files so
    /// without fsync, and the bytes should reach the disk no later than the name. What can't be done is left: it is no promise.
    pub(super) fn start_writeback(&self, from: (Ino, Name<'_>), to: (Ino, Name<'_>)) {
        let started = || -> Result<()> {
            let upper = self.upper()?;
            let guard = upper.tree_lock.read();
            let (Some((moved, _)), Some((target, _))) = (self.child(from.0, from.1)?, self.child(to.0, to.1)?) else {
                return Ok(());
            };
            if moved != target
                && let Some(generation) = self.record(moved)?.data_generation()
            {
                let file = upper.layer.data().open_to_read(DataId { ino: moved, generation })?;
                drop(guard);
                syncfs::start(&file);
            }
            Ok(())
        };
        if let Err(error) = started() {
            tracing::debug!(%error, "can't start writing a file out before its rename");
        }
    }

    /// All of the layer is on disk when it returns.
    pub fn sync(&self) -> Result<()> {
        let Some(upper) = &self.upper else { return Ok(()) };
        // Both, whatever becomes of the one. Copies are settled as well: what is on disk must not be taken for a copy that a power cut
        // may have torn.
        let host = upper.layer.data().sync_host();
        let settled = upper.settle();
        upper.layer.db().persist()?;
        host?;
        settled
    }

    /// Syncs and closes the layer in good order: the last thing before the filesystem goes away.
    pub fn close(&self) -> Result<()> {
        let Some(upper) = &self.upper else { return Ok(()) };
        let forgotten: Vec<Ino> = upper.forgotten.lock().iter().copied().collect();
        tracing::debug!(still_open = forgotten.len(), "closing the layer");
        self.reclaim_all_orphans()?;
        self.sync()?;
        Ok(upper.layer.close()?)
    }
}
