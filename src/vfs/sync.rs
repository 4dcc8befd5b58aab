//! Durability and totals: fsync, statfs, reclaiming what has no name.

use super::error::{Result, VfsError};
use super::types::{HandleId, StatFs};
use super::{ContentKey, Fs};
use crate::format::{Ino, Timestamp};
use crate::layer::{Body, DataId, FileContent};
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
            let synced = if data_only { file.sync_data() } else { file.sync_all() };
            synced.map_err(VfsError::io("can't sync a file of the layer"))?;
            if !handle.file.name_synced.swap(true, Ordering::AcqRel) {
                upper.layer.data().sync_name(DataId { ino, generation })?;
            }
            self.settle_copy(ino, generation)?;
        }
        upper.layer.db().persist()?;
        Ok(())
    }

    /// The copy-up is on disk: the origin isn't needed any more.
    fn settle_copy(&self, ino: Ino, synced: u32) -> Result<()> {
        let upper = self.upper()?;
        let _guard = upper.tree_lock.write();
        let Some(mut record) = upper.layer.db().inode(ino)? else { return Ok(()) };
        if let Body::File { generation, content: content @ FileContent::Data { origin: Some(_) } } = &mut record.body
            && *generation == synced
        {
            *content = FileContent::Data { origin: None };
            let mut batch = upper.layer.db().batch();
            batch.put_inode(ino, &record);
            batch.commit()?;
        }
        Ok(())
    }

    /// The directory's entries are on disk when it returns.
    pub fn fsync_dir(&self, _ino: Ino) -> Result<()> {
        match &self.upper {
            Some(upper) => Ok(upper.layer.db().persist()?),
            None => Ok(()),
        }
    }

    /// All of the layer is on disk when it returns.
    pub fn sync(&self) -> Result<()> {
        let Some(upper) = &self.upper else { return Ok(()) };
        let path = upper.layer.data().path();
        let dir = std::fs::File::open(path).map_err(VfsError::io(format!("can't open {}", path.display())))?;
        rustix::fs::syncfs(&dir).map_err(|errno| VfsError::Io {
            context: format!("can't sync {}", path.display()),
            source: errno.into(),
        })?;
        Ok(upper.layer.db().persist()?)
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
        Ok(StatFs {
            block_size: u32::try_from(host.f_frsize).unwrap_or(4096),
            blocks: host.f_blocks,
            free: host.f_bfree,
            available: host.f_bavail,
            files: host.f_files,
            files_free: host.f_ffree,
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
        if self.open.is_open(ino) {
            upper.forgotten.lock().insert(ino);
        } else if let Err(error) = self.reclaim(ino) {
            // It stays recorded without a name, and the next opening of the layer reclaims it.
            tracing::warn!(ino = ino.0, %error, "can't reclaim an unlinked inode");
        }
    }

    /// Removes record and data of an inode that has no name.
    pub(super) fn reclaim(&self, ino: Ino) -> Result<()> {
        let upper = self.upper()?;
        let _guard = upper.tree_lock.write();
        upper.forgotten.lock().remove(&ino);
        let Some(record) = upper.layer.db().inode(ino)? else { return Ok(()) };
        if record.nlink > 0 || self.open.is_open(ino) {
            return Ok(());
        }
        let generation = record.data_generation();
        let mut batch = upper.layer.db().freeing_batch();
        if ino.is_linked_range() {
            batch.put_inode(ino, &record.tombstone());
        } else {
            batch.remove_inode(ino);
        }
        batch.commit()?;
        match generation {
            Some(generation) => upper.drop_data(DataId { ino, generation }),
            None => Ok(()),
        }
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

impl super::Upper {
    /// Removes a data file that no record names any more, unless a snapshot reads it: the snapshot removes it then.
    pub(super) fn drop_data(&self, id: DataId) -> Result<()> {
        if self.frozen.lock().contains(&id) { Ok(()) } else { Ok(self.layer.data().remove(id)?) }
    }
}
