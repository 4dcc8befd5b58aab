//! Durability and totals: fsync, statfs, reclaiming what has no name.

use super::error::{Result, VfsError};
use super::types::{HandleId, StatFs};
use super::{ContentKey, Fs, Upper};
use crate::format::{Ino, Name, Timestamp};
use crate::layer::DataId;
use crate::sys::syncfs;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

fn time(secs: i64, nanos: i64) -> Timestamp {
    u32::try_from(nanos).ok().and_then(|nanos| Timestamp::new(secs, nanos)).unwrap_or_default()
}

/// Modification time of a host file.
pub(crate) fn mtime_of(metadata: &Metadata) -> Timestamp {
    time(metadata.mtime(), metadata.mtime_nsec())
}

/// Change time of a host file.
pub(crate) fn ctime_of(metadata: &Metadata) -> Timestamp {
    time(metadata.ctime(), metadata.ctime_nsec())
}

impl Fs {
    /// Content and metadata of the file are on disk when it returns.
    pub fn fsync(&self, handle: HandleId, data_only: bool) -> Result<()> {
        let Some(upper) = &self.upper else { return Ok(()) };
        let handle = self.open.handle(handle)?;
        if let ContentKey::Data(ino, generation) = handle.file.key() {
            let file = handle.file.to_read(self)?;
            let id = DataId { ino, generation };
            upper.layer.data().sync_file(id, &file, data_only)?;
            if !handle.file.name_synced.load(Ordering::Acquire) {
                upper.layer.data().sync_names(&[id])?;
                handle.file.name_synced.store(true, Ordering::Release);
            }
            upper.clear_origins(&[id])?;
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
    pub(super) fn start_commit(&self, from: (Ino, Name<'_>), to: (Ino, Name<'_>)) {
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

    /// Totals of the filesystem that new content goes to.
    pub fn stat_fs(&self) -> Result<StatFs> {
        let path = match &self.upper {
            Some(upper) => upper.layer.path(),
            None => self.base.store().path(),
        };
        let host = rustix::fs::statvfs(path).map_err(|errno| VfsError::Io {
            context: format!("can't examine {}", path.display()),
            source: errno.into(),
        })?;
        // What removed files hold is free to whoever needs it: see `settle`.
        let (bytes, files) = self.upper.as_ref().map_or((0, 0), |upper| upper.settling.held());
        let held = bytes / host.f_frsize.max(1);
        Ok(StatFs {
            block_size: u32::try_from(host.f_frsize).unwrap_or(4096),
            blocks: host.f_blocks,
            free: (host.f_bfree + held).min(host.f_blocks),
            available: (host.f_bavail + held).min(host.f_blocks),
            files: host.f_files,
            files_free: (host.f_ffree + files).min(host.f_files),
        })
    }

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
        batch.commit()?;
        Ok(generation)
    }

    fn reclaim_all_orphans(&self) -> Result<()> {
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
