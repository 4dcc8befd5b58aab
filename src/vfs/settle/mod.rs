//! What is put on disk in the background, and what may be removed only then.
//!
//! * *Copies*: a copy-up keeps the blob it came from as `origin` until the copy is known to be on disk, for a power cut may take the copy's bytes
//!   and not the record. A power cut reverts such a file, with all that was written to it since; so copies are synced soon, not only by fsync.
//! * *Doomed* data files: no record names them any more, but the records on disk may, and come back after a power cut. They are removed
//!   when the database is on disk.
//!
//! Protocol of [`Upper::settle`], which one thread at a time goes through:
//! 1. take the backlog;
//! 2. sync the database, when there are doomed files, and remove them;
//! 3. sync the copies, holding no lock but the pass's own: by one syncfs(2) when there are many;
//! 4. under `tree_lock`, clear `origin` of those whose record is as it was, in one batch; of partial files, settle the blocks that they held before 3.
//!
//! What failed in 2 and 4 is put back and tried again in the next pass. A copy that couldn't be synced isn't: it is lost (`layer::DataDir`), and
//! keeps its origin.
//!
//! A thread settles some seconds after something came up (`backlog`), or at once when doomed files take [`MUCH`]. Before that whoever needs it does: `sync`,
//! closing, removing files when the disk is so full that what the doomed ones take matters, and what finds no room ([`Upper::with_room`]).
//! Only writes by passthrough get their ENOSPC from the host without anybody being asked.
//!
//! Locking: `pass` before `tree_lock`; `backlog` is a leaf.

mod backlog;

pub(super) use backlog::Settling;

use super::Upper;
use super::error::{Result, VfsError};
use super::partial::Marks;
use crate::format::Ino;
use crate::layer::{Body, DataId, FileContent};
use crate::locks;
use crate::sys::syncfs;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::thread::JoinHandle;

/// More copies than this are synced by one syncfs(2), which writes out all that the host's filesystem has in memory, of others too.
const FEW: usize = 64;
/// Doomed files that take more than this, in bytes, don't wait.
const MUCH: u64 = 64 << 20;
/// The disk is tight when doomed files take more than this part of what is free.
const TIGHT: u64 = 8;

impl Upper {
    /// Gives up a data file that no record names any more: it is removed once that is on disk. Unless a snapshot reads it, which removes it then.
    /// `tree_lock` must not be held.
    pub(super) fn doom(&self, id: DataId) {
        if self.frozen.lock().contains(&id) {
            return;
        }
        let bytes = self.layer.data().metadata(id).map_or(0, |metadata| metadata.blocks() * 512);
        let held = self.settling.doomed(id, bytes);
        if held.0 > MUCH && cfg!(not(test)) {
            self.settling.hurry();
        }
        if self.is_tight(held)
            && let Err(error) = self.settle()
        {
            tracing::warn!(%error, "can't give back the space of removed files yet");
        }
    }

    /// Does what may need room; where there is none, once more when what removed files still hold is given back. `tree_lock` must not be held.
    pub(super) fn with_room<T>(&self, run: impl Fn() -> Result<T>) -> Result<T> {
        let outcome = run();
        if !outcome.as_ref().is_err_and(VfsError::is_full) {
            return outcome;
        }
        if let Err(error) = self.settle() {
            tracing::debug!(%error, "not all could be settled on a full disk");
        }
        run()
    }

    fn is_tight(&self, (bytes, files): (u64, u64)) -> bool {
        // A filesystem that doesn't count inodes says 0 of all of them.
        rustix::fs::statvfs(self.layer.path()).is_ok_and(|host| {
            bytes > host.f_bavail * host.f_frsize / TIGHT || (host.f_files > 0 && files > host.f_favail / TIGHT)
        })
    }

    /// Puts copies on disk, and removes doomed data files. See the module's header.
    pub(super) fn settle(&self) -> Result<()> {
        let _pass = self.settling.pass.lock();
        let (copies, doomed) = self.settling.take();
        // First what gives space back: the rest may need it.
        let removed = self.remove_doomed(doomed);
        let copied = self.settle_copies(&copies);
        removed.and(copied)
    }

    fn settle_copies(&self, copies: &HashMap<Ino, u32>) -> Result<()> {
        let ids: Vec<DataId> = copies.iter().map(|(&ino, &generation)| DataId { ino, generation }).collect();
        let marks = match self.marks(&ids) {
            Ok(marks) => marks,
            Err(error) => {
                self.settling.put_back(copies.clone(), Vec::new());
                return Err(error);
            }
        };
        let (synced, failed) = self.sync_copies(ids);
        if synced.is_empty() {
            return failed.map_or(Ok(()), Err);
        }
        if let Err(error) = self.clear_origins(&synced, &marks) {
            self.settling.put_back(synced.iter().map(|id| (id.ino, id.generation)).collect(), Vec::new());
            return Err(error);
        }
        let whole = self.make_ordinary(&synced);
        failed.map_or(whole, Err)
    }

    fn remove_doomed(&self, doomed: Vec<DataId>) -> Result<()> {
        if doomed.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.layer.db().persist() {
            self.settling.put_back(HashMap::new(), doomed);
            return Err(error.into());
        }
        let (mut left, mut failed) = (Vec::new(), None);
        for id in doomed {
            if let Err(error) = self.layer.data().remove(id) {
                left.push(id);
                failed = Some(error);
            }
        }
        self.settling.put_back(HashMap::new(), left);
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Returns the copies that are on disk now, and the first failure.
    fn sync_copies(&self, ids: Vec<DataId>) -> (Vec<DataId>, Option<VfsError>) {
        // What syncfs(2) reports may be another file's failure.
        if ids.len() > FEW && self.layer.data().sync_host().is_ok() {
            return (ids, None);
        }
        let (mut synced, mut failed) = (Vec::new(), None);
        for some in ids.chunks(FEW) {
            failed = self.sync_each(some, &mut synced).or(failed);
        }
        match self.layer.data().sync_names(&synced) {
            Ok(()) => (synced, failed),
            Err(error) => (Vec::new(), Some(error.into())),
        }
    }

    /// Syncs copies each by itself, and adds to `synced` those that are on disk. Returns a failure, if there was one.
    fn sync_each(&self, ids: &[DataId], synced: &mut Vec<DataId>) -> Option<VfsError> {
        let (mut files, mut failed) = (Vec::with_capacity(ids.len()), None);
        for &id in ids {
            match File::open(self.layer.data().file_path(id)) {
                Ok(file) => {
                    syncfs::start(&file);
                    files.push((id, file));
                }
                // It was removed, or copied up anew, since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => failed = Some(VfsError::io("can't open a file of the layer")(error)),
            }
        }
        for (id, file) in files {
            match self.layer.data().sync_file(id, &file, true) {
                Ok(()) => synced.push(id),
                Err(error) => failed = Some(error.into()),
            }
        }
        failed
    }

    /// The copies are on disk: where the record is of the same copy, the origin isn't needed any more.
    pub(super) fn clear_origins(&self, copies: &[DataId], marks: &Marks) -> Result<()> {
        let _guard = self.tree_lock.write();
        // It takes no room worth the name, and fsync(2) isn't refused for want of that once the content has its place.
        let mut batch = self.layer.db().freeing_batch();
        for copy in copies {
            let Some(mut record) = self.layer.db().inode(copy.ino)? else { continue };
            let Body::File { generation, content } = &mut record.body else { continue };
            if *generation != copy.generation {
                continue;
            }
            match content {
                FileContent::Data { origin: origin @ Some(_) } => *origin = None,
                FileContent::Partial(partial) => {
                    // Without the blocks, it isn't told what was synced.
                    let Some(seen) = marks.get(copy) else { continue };
                    self.settle_blocks(&mut batch, *copy, seen)?;
                    if partial.settled {
                        continue;
                    }
                    partial.settled = true;
                }
                _ => continue,
            }
            batch.put_inode(copy.ino, &record);
        }
        Ok(batch.commit()?)
    }
}

/// The thread that settles; it ends with the value.
#[derive(Debug)]
pub(super) struct Settler {
    upper: Arc<Upper>,
    thread: Option<JoinHandle<()>>,
}

impl Settler {
    pub(super) fn start(upper: &Arc<Upper>) -> Result<Self> {
        let own = Arc::clone(upper);
        let run = move || {
            while own.settling.wait() {
                if let Err(error) = own.settle() {
                    tracing::warn!(%error, "can't put copied files on disk; trying again");
                }
            }
        };
        let thread = locks::spawn_outside("settle", run);
        let thread = thread.map_err(VfsError::io("can't start the thread that settles copies"))?;
        Ok(Self { upper: Arc::clone(upper), thread: Some(thread) })
    }
}

impl Drop for Settler {
    /// Waits for the thread, so that nothing uses the layer when the filesystem is gone.
    fn drop(&mut self) {
        self.upper.settling.stop();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that settles copies panicked");
        }
    }
}
