//! Clean content becomes dirty: the protocol, top-down.
//!
//! 1. hold the inode's copy lock, so that one thread copies;
//! 2. make the new generation's data file and fill it, outside of `tree_lock`: names and attributes of other files go on;
//! 3. under `tree_lock`, commit the record that names it;
//! 4. switch the inode's open file to it.
//!
//! A crash before 3 leaves a data file that no record names; after 3, the copy is complete. The record keeps the blob as `origin` until
//! a fsync, for a power cut may take the copy's bytes but not the record.

use super::error::{Result, VfsError};
use super::types::ContentKey;
use super::{COPY_STRIPES, Fs, Upper};
use crate::format::{Ino, Timestamp};
use crate::layer::{BlobRef, Body, DataId, FileContent, InodeRecord};
use crate::sys::copy::copy_prefix;
use std::fs::{File, FileTimes};

/// What is copied.
struct Plan {
    from: ContentKey,
    to: DataId,
    origin: Option<BlobRef>,
    mtime: Timestamp,
}

impl Fs {
    /// Makes the content of `ino` the layer's own and writable; at least the first `keep` bytes are what they were.
    pub(super) fn make_data(&self, ino: Ino, keep: u64) -> Result<()> {
        let upper = self.upper()?;
        let _copying = upper.copy_locks[ino.0 as usize % COPY_STRIPES].lock();
        let Some(plan) = self.plan_copy_up(ino)? else { return Ok(()) };
        let file = upper.layer.data().create(plan.to)?;
        let filled = self.fill(&plan, &file, keep);
        drop(file);
        match filled.and_then(|()| self.commit_copy_up(upper, ino, &plan)) {
            Ok(()) => {
                let key = ContentKey::Data(ino, plan.to.generation);
                self.open.switch(ino, key, 0);
                Ok(())
            }
            Err(error) => {
                // Nothing names the file, so nothing is lost with it; the next opening of the layer removes it otherwise.
                if let Err(error) = upper.layer.data().remove(plan.to) {
                    tracing::warn!(%error, "a copy that failed stays behind");
                }
                Err(error)
            }
        }
    }

    fn plan_copy_up(&self, ino: Ino) -> Result<Option<Plan>> {
        let _guard = self.read_lock();
        let record = self.record(ino)?;
        let Body::File { generation, content } = record.body else {
            return Err(if matches!(record.body, Body::Dir { .. }) { VfsError::IsDir } else { VfsError::Invalid });
        };
        let next = generation.checked_add(1).ok_or(VfsError::TooLarge)?;
        let to = DataId { ino, generation: next };
        Ok(match content {
            FileContent::Blob(blob) => {
                Some(Plan { from: ContentKey::Blob(blob.digest), to, origin: Some(blob), mtime: record.meta.mtime })
            }
            FileContent::Data { .. } => None,
            FileContent::Sealed => {
                Some(Plan { from: ContentKey::Data(ino, generation), to, origin: None, mtime: record.meta.mtime })
            }
        })
    }

    fn fill(&self, plan: &Plan, to: &File, keep: u64) -> Result<()> {
        if keep > 0 {
            let from = self.open_content(plan.from, plan.origin.map_or(0, |blob| blob.size))?;
            copy_prefix(&from, to, keep).map_err(VfsError::io("can't copy a file up into the layer"))?;
        }
        // Opening for writing changes no times; only writing does.
        let times = FileTimes::new().set_modified(plan.mtime.into());
        to.set_times(times).map_err(VfsError::io("can't set the time of a file of the layer"))
    }

    fn commit_copy_up(&self, upper: &Upper, ino: Ino, plan: &Plan) -> Result<()> {
        let _guard = upper.tree_lock.write();
        // Metadata may have changed since the plan; content can't have, for the copy lock is held.
        let record = self.record(ino)?;
        // A snapshot may have made a blob of what was copied, which a power cut can then go back to.
        let origin = match record.body {
            Body::File { content: FileContent::Blob(blob), .. } => Some(blob),
            _ => plan.origin,
        };
        let body = Body::File { generation: plan.to.generation, content: FileContent::Data { origin } };
        let mut batch = upper.layer.db().batch();
        batch.put_inode(ino, &InodeRecord { body, ..record });
        batch.commit()?;
        if let ContentKey::Data(ino, generation) = plan.from {
            upper.drop_data(DataId { ino, generation })?;
        }
        Ok(())
    }
}
