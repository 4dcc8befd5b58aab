//! Changes of partial files. What a write overwrites in part comes over from the blob first; what it overwrites whole need not.
//!
//! Order of a write: blocks that it changes in part are copied, it is written, and then all blocks that it touched are recorded as held: killed in
//! between, the blob's bytes are still there. A write that reaches over the end of what is visible of the blob has the data file's bytes
//! beyond it seen at once, so for that the blocks are copied and recorded first.
//!
//! When more than half of a file has come over, each write that copies blocks copies some more, until the file is whole: then it is ordinary
//! content, for passthrough. Bringing them by themselves would move the file's mtime.

use super::super::error::{Result, VfsError};
use super::super::handles::OpenFile;
use super::super::{COPY_STRIPES, Fs, Upper};
use super::view::{View, place};
use crate::format::Ino;
use crate::layer::{DataId, Partial};
use crate::sys::copy::copy_range;
use crate::sys::failure;
use nix::fcntl::FallocateFlags;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

/// Blocks that come over besides, of a file of which most has.
const MORE: usize = 8;

/// A partial file that this thread alone changes.
pub(in crate::vfs) struct Changing<'a> {
    fs: &'a Fs,
    upper: &'a Upper,
    id: DataId,
    partial: Partial,
    data: Arc<File>,
    open: Option<&'a OpenFile>,
}

impl Fs {
    /// Has `work` change the partial content of `ino`, which nobody else changes meanwhile, and which is none that a snapshot is reading. `None`
    /// when the content isn't partial.
    pub(in crate::vfs) fn change_partial<T>(
        &self,
        ino: Ino,
        open: Option<&OpenFile>,
        work: impl FnOnce(&mut Changing<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let upper = self.upper()?;
        let _copying = upper.copy_locks[ino.0 as usize % COPY_STRIPES].lock();
        loop {
            let changes = upper.partials.read();
            // Both at once: a snapshot makes the content clean, and then lets go of it.
            let (id, partial, is_frozen) = {
                let _guard = upper.tree_lock.read();
                let Some((generation, partial)) = self.record(ino)?.partial() else { return Ok(None) };
                let id = DataId { ino, generation };
                (id, partial, upper.frozen.lock().contains(&id))
            };
            if is_frozen {
                drop(changes);
                self.copy_anew(upper, id, partial)?;
                continue;
            }
            let data = match open {
                Some(open) => open.data_to_write(self, id)?,
                None => Some(Arc::new(upper.layer.data().open_file(id)?)),
            };
            // It became ordinary, or clean, since.
            let Some(data) = data else { continue };
            return work(&mut Changing { fs: self, upper, id, partial, data, open }).map(Some);
        }
    }

    /// Cuts or extends partial content. `false` when the content isn't partial.
    pub(in crate::vfs) fn cut_partial(&self, ino: Ino, open: Option<&OpenFile>, length: u64) -> Result<bool> {
        let cut = self.change_partial(ino, open, |file| file.cut(length))?;
        Ok(cut.is_some())
    }
}

impl Changing<'_> {
    fn length(&self) -> Result<u64> {
        Ok(self.data.metadata().map_err(VfsError::io("can't examine a file of the layer"))?.len())
    }

    fn view(&self, from: u64, to: u64) -> Result<View> {
        let _guard = self.upper.tree_lock.read();
        self.upper.part_view(self.id, self.partial, from, to)
    }

    /// The file is about to become `length` long. Where it was cut below what is visible of the blob, that must stay cut.
    fn grow(&mut self, length: u64) -> Result<()> {
        let now = self.length()?;
        if length <= now || now >= self.partial.visible {
            return Ok(());
        }
        // First the cut, for the record must not be on disk without it.
        self.upper.layer.data().sync_file(self.id, &self.data, false)?;
        let _guard = self.upper.tree_lock.write();
        let mut record = self.fs.record(self.id.ino)?;
        self.partial.visible = now;
        if let crate::layer::Body::File { content: crate::layer::FileContent::Partial(partial), .. } = &mut record.body
        {
            partial.visible = now;
        }
        let mut batch = self.upper.layer.db().batch();
        batch.put_inode(self.id.ino, &record);
        batch.commit()?;
        // The host may write the new length out before the record, and what was cut off would be seen again.
        Ok(self.upper.layer.db().persist()?)
    }

    /// Copies blocks from the blob to the data file.
    fn bring(&self, view: &View, blocks: &[u64]) -> Result<()> {
        let failed = || VfsError::io("can't copy a part of a file up into the layer");
        if blocks.is_empty() {
            return Ok(());
        }
        let blob = match self.open {
            Some(open) => open.blob_of(self.fs, self.id, self.partial.blob)?,
            None => Arc::new(self.fs.open_blob(self.partial.blob)?),
        };
        // What was cut off stays so.
        let length = self.length()?;
        let mut rest = blocks;
        while let Some(&first) = rest.first() {
            let run = rest.iter().zip(first..).take_while(|(block, expected)| *block == expected).count();
            let (from, to) = (view.start_of(first), view.end_of(rest[run - 1]).min(length));
            let wanted = to.saturating_sub(from);
            let copied = copy_range(&blob, from, &self.data, from, wanted).map_err(failed())?;
            if copied != wanted {
                return Err(failed()(std::io::ErrorKind::UnexpectedEof.into()));
            }
            rest = &rest[run..];
        }
        Ok(())
    }

    /// Records blocks as held.
    fn commit(&self, blocks: impl IntoIterator<Item = u64>) -> Result<()> {
        let mut by_chunk: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for block in blocks {
            let (chunk, index) = place(block);
            by_chunk.entry(chunk).or_default().push(index);
        }
        if by_chunk.is_empty() {
            return Ok(());
        }
        {
            // Blocks are settled under the exclusive lock.
            let _guard = self.upper.tree_lock.read();
            let db = self.upper.layer.db();
            let mut batch = db.batch();
            for (number, indexes) in by_chunk {
                let mut chunk = db.chunk(self.id, number)?.unwrap_or_default();
                indexes.into_iter().for_each(|index| chunk.hold(index));
                batch.put_chunk(self.id, number, &chunk);
            }
            batch.commit()?;
        }
        self.upper.settling.copied(self.id);
        Ok(())
    }

    /// Has `store` put new bytes into the data file from `offset` to `end`; it returns how many it did put there. Returns how many of them count.
    pub(in crate::vfs) fn overwrite(
        &mut self,
        offset: u64,
        end: u64,
        store: impl FnOnce(&File) -> Result<u64>,
    ) -> Result<u64> {
        self.grow(end)?;
        let view = self.view(offset, end)?;
        let missing = view.missing(offset, end);
        let over_the_end = offset < self.partial.visible && end > self.partial.visible;
        let is_whole = |block: u64, end: u64| offset <= view.start_of(block) && end >= view.end_of(block);
        let (whole, partly): (Vec<u64>, Vec<u64>) =
            missing.iter().partition(|&&block| !over_the_end && is_whole(block, end));
        self.bring(&view, &partly)?;
        if over_the_end {
            self.commit(partly.iter().copied())?;
        }
        let done = store(&self.data)?;
        let reached = offset + done;
        // A block of which only a part was written, and none copied, doesn't count.
        let short = whole.iter().copied().find(|&block| !is_whole(block, reached));
        let counted = short.map_or(reached, |block| reached.min(view.start_of(block).max(offset)));
        if !over_the_end {
            let held = whole.into_iter().filter(|&block| is_whole(block, reached));
            self.commit(held.chain(partly.iter().copied()))?;
        }
        // Who replaces whole blocks may go on to do so with those that are left.
        if !partly.is_empty() {
            self.bring_more(reached);
        }
        if counted == offset && done > 0 {
            return Err(VfsError::io("can't write a file of the layer")(failure::full()));
        }
        Ok(counted - offset)
    }

    /// Of a file of which most has come over, brings some more. It needn't succeed.
    fn bring_more(&self, after: u64) {
        let brought = || -> Result<()> {
            let view = {
                let _guard = self.upper.tree_lock.read();
                self.upper.whole_view(self.id, self.partial)?
            };
            let left = view.count_missing(u64::MAX);
            if left == 0 || left > view.blocks() / 2 {
                return Ok(());
            }
            let mut more = view.missing(after, u64::MAX);
            more.truncate(MORE);
            if more.len() < MORE {
                let before = view.missing(0, after);
                more.extend(before.into_iter().take(MORE - more.len()));
                more.sort_unstable();
                more.dedup();
            }
            self.bring(&view, &more)?;
            self.commit(more)
        };
        if let Err(error) = brought() {
            tracing::debug!(%error, "can't bring more of a file into the layer");
        }
    }

    /// fallocate(2).
    pub(in crate::vfs) fn allocate(&mut self, offset: u64, length: u64, flags: FallocateFlags) -> Result<()> {
        let known = FallocateFlags::FALLOC_FL_KEEP_SIZE
            | FallocateFlags::FALLOC_FL_PUNCH_HOLE
            | FallocateFlags::FALLOC_FL_ZERO_RANGE;
        if !known.contains(flags) {
            return Err(VfsError::Unsupported);
        }
        let end = offset.saturating_add(length);
        let keeps = flags.contains(FallocateFlags::FALLOC_FL_KEEP_SIZE);
        if !keeps {
            self.grow(end)?;
        }
        let run = |file: &File| {
            let (offset, length) = (i64::try_from(offset), i64::try_from(length));
            let (Ok(offset), Ok(length)) = (offset, length) else { return Err(VfsError::TooLarge) };
            let done = nix::fcntl::fallocate(file, flags, offset, length);
            done.map_err(VfsError::errno("can't allocate space in the layer"))
        };
        let zeroes = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_ZERO_RANGE;
        if !flags.intersects(zeroes) {
            return run(&self.data);
        }
        // Nothing beyond the end is seen, and what is cut stays the blob's until the file grows.
        let seen = if keeps { end.min(self.length()?) } else { end };
        let view = self.view(offset, seen)?;
        let missing = view.missing(offset, seen);
        let is_partly = |block: &u64| offset > view.start_of(*block) || end < view.end_of(*block);
        let partly: Vec<u64> = missing.iter().copied().filter(is_partly).collect();
        self.bring(&view, &partly)?;
        run(&self.data)?;
        self.commit(missing)
    }

    fn cut(&mut self, length: u64) -> Result<()> {
        self.grow(length)?;
        self.data.set_len(length).map_err(VfsError::io("can't set the length of a file of the layer"))?;
        if length == 0 {
            self.upper.layer.data().renewed(self.id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Copying, OpenMode};
    use super::*;
    use crate::format::Name;
    use crate::ingest::{ImportOptions, Progress, import_dir};
    use crate::layer::Layer;
    use crate::store::Store;

    #[test]
    fn a_block_of_which_only_a_part_found_room_is_as_it_was_and_the_disk_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("file"), vec![b'b'; 10_000]).unwrap();
        let store = Store::init(&folder.path().join("store")).unwrap();
        let options = ImportOptions::new("base".parse().unwrap());
        let base = import_dir(&store, &source, &options, &Progress::default()).unwrap().manifest;
        let fs = Fs::with_layer(&store, base, Layer::open(&folder.path().join("layer")).unwrap()).unwrap();
        fs.copy_by(Copying::Range);
        let ino = fs.lookup(Ino::ROOT, Name::new(b"file").unwrap()).unwrap().unwrap().ino;
        let opened = fs.open(ino, OpenMode { write: true, truncate: false }).unwrap();
        let outcome = fs.change_partial(ino, None, |file| {
            file.overwrite(0, 4096, |host| {
                host.set_len(10_000).unwrap();
                std::os::unix::fs::FileExt::write_all_at(host, b"part", 0).unwrap();
                Ok(4)
            })
        });
        // By its number, for that is what a program is told.
        let Err(VfsError::Io { source, .. }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(source.raw_os_error(), failure::full().raw_os_error());
        let mut found = vec![0; 4096];
        fs.read(opened.handle, 0, &mut found).unwrap();
        assert_eq!(found, vec![b'b'; 4096]);
        fs.release(opened.handle);
    }
}
