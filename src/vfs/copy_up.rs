//! Clean content becomes dirty: the protocol, top-down.
//!
//! 1. hold the inode's copy lock, so that one thread copies;
//! 2. make the new generation's data file and fill it, or for a large blob leave it empty (`partial`), outside of `tree_lock`: names and attributes of other files go on;
//! 3. under `tree_lock`, commit the record that names it, and
//! 4. switch the inode's open file to it, so that nobody opens the new content and gets the old one's host file.
//!
//! A crash before 3 leaves a data file that no record names; after 3, the copy is complete. The record keeps the blob as `origin` until the
//! copy is on disk (`settle`), for a power cut may take the copy's bytes but not the record. Sealed content has no blob to go back to yet: its
//! copy is put on disk before 3, and the sealed file goes when the record is on disk.

use super::error::{Result, VfsError};
use super::open::content_of;
use super::types::ContentKey;
use super::{COPY_STRIPES, Fs, Upper};
use crate::format::{Ino, Timestamp};
use crate::layer::{BlobRef, Body, DataId, FileContent, InodeRecord, Partial};
use crate::sys::copy::copy_prefix;
use crate::sys::reflink::reflink;
use std::fs::{File, FileTimes};

/// What is copied.
struct Plan {
    from: ContentKey,
    to: DataId,
    origin: Option<BlobRef>,
    mtime: Timestamp,
    /// Only the blob is named, and nothing copied.
    partial: Option<Partial>,
}

impl Fs {
    /// Makes the content of `ino` the layer's own and writable; at least the first `keep` bytes are what they were.
    pub(super) fn make_data(&self, ino: Ino, keep: u64) -> Result<()> {
        let upper = self.upper()?;
        upper.with_room(|| self.copy_up(upper, ino, keep))
    }

    fn copy_up(&self, upper: &Upper, ino: Ino, keep: u64) -> Result<()> {
        // Most files that are opened for writing are the layer's already; they don't wait for another's copy.
        if self.is_copied_up(ino)? {
            return Ok(());
        }
        let _copying = upper.copy_locks[ino.0 as usize % COPY_STRIPES].lock();
        // Another thread may have copied it while this one waited.
        let Some(mut plan) = self.plan_copy_up(upper, ino, keep)? else { return Ok(()) };
        let file = upper.layer.data().create(plan.to)?;
        let filled = self.fill(&mut plan, &file, keep);
        drop(file);
        match filled.and_then(|()| self.commit_copy_up(upper, ino, &plan)) {
            Ok(()) => {
                self.settle_later(upper, &plan);
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

    fn is_copied_up(&self, ino: Ino) -> Result<bool> {
        let _guard = self.read_lock();
        Ok(content_of(&self.record(ino)?)?.1.is_writable())
    }

    fn plan_copy_up(&self, upper: &Upper, ino: Ino, keep: u64) -> Result<Option<Plan>> {
        let _guard = self.read_lock();
        let record = self.record(ino)?;
        let (generation, content) = content_of(&record)?;
        let next = generation.checked_add(1).ok_or(VfsError::TooLarge)?;
        let to = DataId { ino, generation: next };
        let (from, origin, partial) = match content {
            FileContent::Blob(blob) => (ContentKey::Blob(blob.digest), Some(blob), upper.by_range.partial(blob, keep)),
            FileContent::Data { .. } | FileContent::Partial(_) => return Ok(None),
            FileContent::Sealed => (ContentKey::Data(ino, generation), None, None),
        };
        Ok(Some(Plan { from, to, origin, mtime: record.meta.mtime, partial }))
    }

    fn fill(&self, plan: &mut Plan, to: &File, keep: u64) -> Result<()> {
        if let Some(partial) = plan.partial {
            if !self.shares(partial, to, keep)? {
                to.set_len(partial.visible).map_err(VfsError::io("can't set the length of a file of the layer"))?;
                return set_mtime(to, plan.mtime);
            }
            plan.partial = None;
        } else if keep > 0 {
            let from = self.open_content(plan.from, plan.origin.map_or(0, |blob| blob.size))?;
            copy_prefix(&from, to, keep).map_err(VfsError::io("can't copy a file up into the layer"))?;
        }
        // Opening for writing changes no times; only writing does.
        set_mtime(to, plan.mtime)?;
        if plan.origin.is_none() {
            to.sync_all().map_err(VfsError::io("can't sync a file of the layer"))?;
            self.upper()?.layer.data().sync_names(&[plan.to])?;
        }
        Ok(())
    }

    /// Makes the file share all extents of the blob, where that is asked for and can be.
    fn shares(&self, partial: Partial, to: &File, keep: u64) -> Result<bool> {
        if keep < partial.blob.size || !self.upper()?.by_range.prefers_reflinks() {
            return Ok(false);
        }
        reflink(&self.open_blob(partial.blob)?, to).map_err(VfsError::io("can't copy a file up into the layer"))
    }

    fn commit_copy_up(&self, upper: &Upper, ino: Ino, plan: &Plan) -> Result<()> {
        let _guard = upper.tree_lock.write();
        // Metadata may have changed since the plan; content can't have, for the copy lock is held.
        let record = self.record(ino)?;
        if record.meta.mtime != plan.mtime {
            let file = upper.layer.data().open_file(plan.to)?;
            set_mtime(&file, record.meta.mtime)?;
        }
        let generation = plan.to.generation;
        let content = plan.partial.map_or(FileContent::Data { origin: plan.origin }, FileContent::Partial);
        let mut batch = upper.layer.db().batch();
        batch.put_inode(ino, &InodeRecord { body: Body::File { generation, content }, ..record });
        if plan.partial.is_some() {
            // Generations begin anew when a repair forgets an inode of the base.
            batch.remove_chunks_of(ino)?;
            upper.layer.commit_partial(batch)?;
            self.open.switch(ino, ContentKey::Partial(ino, generation), 0);
        } else {
            batch.commit()?;
            self.open.switch(ino, ContentKey::Data(ino, generation), 0);
        }
        Ok(())
    }

    fn settle_later(&self, upper: &Upper, plan: &Plan) {
        match plan.from {
            ContentKey::Blob(_) => upper.settling.copied(plan.to),
            ContentKey::Data(ino, generation) | ContentKey::Partial(ino, generation) => {
                upper.doom(DataId { ino, generation });
            }
        }
    }
}

pub(super) fn set_mtime(file: &File, mtime: Timestamp) -> Result<()> {
    let times = FileTimes::new().set_modified(mtime.into());
    file.set_times(times).map_err(VfsError::io("can't set the time of a file of the layer"))
}

#[cfg(test)]
mod tests {
    use super::super::{Caller, OpenMode, SetAttr, SetTime};
    use super::*;
    use crate::format::{Mode, Name};
    use crate::ingest::{ImportOptions, Progress, import_dir};
    use crate::layer::Layer;
    use crate::store::Store;

    #[test]
    fn a_file_of_the_layer_is_opened_while_another_is_copied_up() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::init(&folder.path().join("store")).unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        let options = ImportOptions::new("base".parse().unwrap());
        let base = import_dir(&store, &source, &options, &Progress::default()).unwrap().manifest;
        let fs = Fs::with_layer(&store, base, Layer::open(&folder.path().join("layer")).unwrap()).unwrap();
        let (caller, mode) = (Caller { uid: 0, gid: 0, pid: 0 }, Mode::from_bits(0o644));
        let open = OpenMode { write: true, truncate: false };
        let (attr, _) = fs.create(caller, Ino::ROOT, Name::new(b"new").unwrap(), mode, 0, open).unwrap();
        let copying = fs.upper().unwrap().copy_locks[attr.ino.0 as usize % COPY_STRIPES].lock();
        std::thread::scope(|scope| {
            let (done, opened) = std::sync::mpsc::channel();
            let fs = &fs;
            scope.spawn(move || done.send(fs.open(attr.ino, open).is_ok()).unwrap());
            let outcome = opened.recv_timeout(std::time::Duration::from_secs(20));
            // Before the assertion, whose failure would wait for the thread.
            drop(copying);
            assert_eq!(outcome, Ok(true));
        });
    }

    #[test]
    fn a_time_that_is_set_while_content_is_copied_up_stays() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("file"), "content").unwrap();
        let store = Store::init(&folder.path().join("store")).unwrap();
        let options = ImportOptions::new("base".parse().unwrap());
        let base = import_dir(&store, &source, &options, &Progress::default()).unwrap().manifest;
        let fs = Fs::with_layer(&store, base, Layer::open(&folder.path().join("layer")).unwrap()).unwrap();
        let ino = fs.lookup(Ino::ROOT, Name::new(b"file").unwrap()).unwrap().unwrap().ino;
        let upper = fs.upper().unwrap();

        // As `make_data` does, with utimensat(2) in between.
        let mut plan = fs.plan_copy_up(upper, ino, u64::MAX).unwrap().unwrap();
        let file = upper.layer.data().create(plan.to).unwrap();
        fs.fill(&mut plan, &file, u64::MAX).unwrap();
        let time = Timestamp::new(1_000_000_000, 5).unwrap();
        let change = SetAttr { mtime: Some(SetTime::To(time)), ..SetAttr::default() };
        fs.set_attr(Caller { uid: 0, gid: 0, pid: 0 }, ino, &change).unwrap();
        fs.commit_copy_up(upper, ino, &plan).unwrap();
        assert_eq!(fs.attr(ino).unwrap().mtime, time);
    }
}
