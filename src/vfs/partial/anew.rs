//! What becomes of partial files besides their changes: copied once more when a snapshot reads them, settled when they are on disk, ordinary when
//! nothing is left in the blob.

use super::super::error::{Result, VfsError};
use super::super::node::times_of_dirty;
use super::super::{ContentKey, Fs, Upper};
use crate::layer::{Body, Chunk, DataId, FileContent, InodeRecord, Partial};
use crate::sys::copy::copy_range;
use crate::sys::sparse;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;

/// Blocks that were held before their data files were synced.
pub(in crate::vfs) type Marks = HashMap<DataId, BTreeMap<u32, Chunk>>;

impl Fs {
    /// Leaves the data file of partial content to the snapshot that reads it, and goes on with the next generation, which holds the same
    /// blocks. The caller holds the inode's stripe of `copy_locks`.
    pub(super) fn copy_anew(&self, upper: &Upper, id: DataId, partial: Partial) -> Result<()> {
        let generation = id.generation.checked_add(1).ok_or(VfsError::TooLarge)?;
        let to = DataId { generation, ..id };
        let view = {
            let _guard = upper.tree_lock.read();
            upper.whole_view(id, partial)?
        };
        let copied = || -> Result<u64> {
            let (from, file) = (upper.layer.data().open_to_read(id)?, upper.layer.data().create(to)?);
            let metadata = from.metadata().map_err(VfsError::io("can't examine a file of the layer"))?;
            let mut local = view.runs(0, metadata.len()).into_iter().filter(|run| !run.remote);
            let done = local.try_for_each(|run| copy_data(&from, &file, run.from, run.to));
            done.and_then(|()| file.set_len(metadata.len())).map_err(VfsError::io("can't copy a file of the layer"))?;
            // The record that follows has no older content to go back to but the blob.
            file.sync_all().map_err(VfsError::io("can't sync a file of the layer"))?;
            upper.layer.data().sync_names(&[to])?;
            Ok(metadata.len())
        };
        let switched = copied().and_then(|length| self.switch_to(upper, id, to, length, &view.chunks));
        if !switched.as_ref().is_ok_and(|switched| *switched)
            && let Err(error) = upper.layer.data().remove(to)
        {
            tracing::warn!(%error, "a copy that isn't needed stays behind");
        }
        if switched? {
            upper.doom(id);
        }
        Ok(())
    }

    /// `false` when the content is another by now: the snapshot has made it clean.
    fn switch_to(
        &self,
        upper: &Upper,
        id: DataId,
        to: DataId,
        length: u64,
        chunks: &BTreeMap<u32, Chunk>,
    ) -> Result<bool> {
        let _guard = upper.tree_lock.write();
        let mut record = self.record(id.ino)?;
        let Some((_, partial)) = record.partial().filter(|(generation, _)| *generation == id.generation) else {
            return Ok(false);
        };
        // The mtime may have been set meanwhile.
        let metadata = upper.layer.data().metadata(id)?;
        let (mtime, _) = times_of_dirty((record.meta.mtime, record.ctime), &metadata);
        upper.layer.data().set_mtime(to, mtime)?;
        let partial = Partial { visible: partial.visible.min(length), settled: true, ..partial };
        record.body = Body::File { generation: to.generation, content: FileContent::Partial(partial) };
        let mut batch = upper.layer.db().batch();
        batch.put_inode(id.ino, &record);
        batch.remove_chunks(id)?;
        for (&number, chunk) in chunks {
            let mut settled = chunk.clone();
            settled.settle(chunk);
            batch.put_chunk(to, number, &settled);
        }
        batch.commit()?;
        self.open.switch(id.ino, ContentKey::Partial(id.ino, to.generation), 0);
        Ok(true)
    }
}

/// Copies what isn't a hole.
fn copy_data(from: &File, to: &File, start: u64, end: u64) -> std::io::Result<()> {
    let mut at = start;
    while let Some(data) = sparse::data(from, at)?.filter(|&data| data < end) {
        let stop = sparse::hole(from, data)?.unwrap_or(end).min(end);
        copy_range(from, data, to, data, stop - data)?;
        at = stop;
    }
    Ok(())
}

impl Upper {
    /// The blocks that partial files hold now. To be called before they are synced, for [`Upper::settle_blocks`] after it.
    pub(in crate::vfs) fn marks(&self, ids: &[DataId]) -> Result<Marks> {
        let _guard = self.tree_lock.read();
        let mut marks = Marks::new();
        for &id in ids {
            let partial = self.layer.db().inode(id.ino)?.and_then(|record| record.partial());
            if partial.is_some_and(|(generation, _)| generation == id.generation) {
                marks.insert(id, self.layer.db().chunks(id)?);
            }
        }
        Ok(marks)
    }

    /// In `batch`, settles the blocks that were held before `id` was synced. The caller holds `tree_lock` exclusively, and has found that the
    /// content is partial still.
    pub(in crate::vfs) fn settle_blocks(
        &self,
        batch: &mut crate::layer::Batch<'_>,
        id: DataId,
        seen: &BTreeMap<u32, Chunk>,
    ) -> Result<()> {
        for (&number, seen) in seen {
            let Some(mut chunk) = self.layer.db().chunk(id, number)? else { continue };
            if !chunk.is_settled() {
                chunk.settle(seen);
                batch.put_chunk(id, number, &chunk);
            }
        }
        Ok(())
    }

    /// Makes those of `ids` ordinary content that hold all of their blocks, settled. Neither `partials` nor `tree_lock` may be held.
    pub(in crate::vfs) fn make_ordinary(&self, ids: &[DataId]) -> Result<()> {
        let any = {
            let _guard = self.tree_lock.read();
            ids.iter().map(|&id| self.if_whole(id)).any(|found| !matches!(found, Ok(None)))
        };
        if !any {
            return Ok(());
        }
        // No change is under way that has found the content partial.
        let _partials = self.partials.write();
        let _guard = self.tree_lock.write();
        let mut batch = self.layer.db().freeing_batch();
        let mut whole = Vec::new();
        for &id in ids {
            let Some(record) = self.if_whole(id)? else { continue };
            let body = Body::File { generation: id.generation, content: FileContent::Data { origin: None } };
            batch.put_inode(id.ino, &InodeRecord { body, ..record });
            batch.remove_chunks(id)?;
            whole.push(id);
        }
        batch.commit()?;
        for id in whole {
            self.open.switch(id.ino, ContentKey::Data(id.ino, id.generation), 0);
        }
        Ok(())
    }

    /// The record of partial content that has come over to its end, and is on disk, and that no snapshot reads. The caller holds `tree_lock`.
    fn if_whole(&self, id: DataId) -> Result<Option<InodeRecord>> {
        let Some(record) = self.layer.db().inode(id.ino)? else { return Ok(None) };
        let Some((generation, partial)) = record.partial() else { return Ok(None) };
        if generation != id.generation || !partial.settled || self.frozen.lock().contains(&id) {
            return Ok(None);
        }
        let view = self.whole_view(id, partial)?;
        let is_whole = view.is_whole() && view.chunks.values().all(Chunk::is_settled);
        Ok(is_whole.then_some(record))
    }
}
