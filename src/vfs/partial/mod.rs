//! Files copied up by range: partly in a data file, block by block, and for the rest still in the blob.
//!
//! ```text
//! view     where each byte is (pure)           change   writing, allocating, cutting: blocks come over first
//! mod      reading, seeking                    anew     what a snapshot reads is left to it; what is whole becomes ordinary content
//! ```
//! What is where is `layer::Partial`, and the blocks that the data file holds; read anew from the layer for every operation, so that there
//! is one truth. Such a file is never served by passthrough, so every change of it comes here.
//!
//! Invariants
//! * A byte is the blob's when its block isn't held and it lies below `visible` and the data file's length. Any other is the data file's. What the
//!   data file has in blocks that aren't held, below `visible`, counts for nothing.
//! * A block is recorded as held when the data file has all of it: after a killed daemon it is there.
//! * `visible` is recorded, on disk too, before the file grows beyond where it was cut to, and that only once the cut is on disk: so neither a
//!   kill nor a power cut brings the blob back where zeros belong, nor zeros where the blob belongs. Who reads looks at the length first.
//! * The blob is one of the base or of the layer's last snapshot, which a collection keeps; or of a former one that the layer pins (`Fs::rebase`).
//! * A power cut takes blocks back to the blob that weren't synced since they came over (`layer::recovery`), so a block is *settled* in the
//!   layer's records after the data file was synced, and only if it was held before that began.
//!
//! Locking: a change holds the inode's stripe of `copy_locks`, then `partials` shared, for its length, and `tree_lock` to read or commit records
//! only. `freeze` holds `partials` exclusively, and thereby finds no change half done.

mod anew;
mod change;
mod view;

pub(super) use anew::Marks;
pub(super) use change::Changing;
pub(super) use view::{Run, View};

use super::error::{Result, VfsError};
use super::handles::OpenFile;
use super::types::{Copying, Seek};
use super::{ContentKey, Fs, Upper};
use crate::format::Ino;
use crate::layer::{BlobRef, DataId, Partial};
use crate::sys::sparse;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use view::place;

/// Blobs from this length on are copied up by range unless told otherwise: below it, copying takes less time than a person notices, and buys
/// reads and writes by passthrough.
const LARGE: u64 = 32 << 20;
/// Blocks of blobs of at least [`LARGE`], and of shorter ones.
const SHIFTS: (u8, u8) = (18, 12);

/// From which length on content is copied up by range.
#[derive(Debug)]
pub(super) struct Threshold(AtomicU64);

impl Default for Threshold {
    fn default() -> Self {
        Self(AtomicU64::new(LARGE))
    }
}

impl Threshold {
    pub(super) fn set(&self, copying: Copying) {
        let from = match copying {
            Copying::Auto => LARGE,
            Copying::Whole => u64::MAX,
            Copying::Range => 1,
        };
        self.0.store(from, Ordering::Relaxed);
    }

    /// What a copy-up of so much of a blob makes; `None`: a whole copy. Whether the filesystem can share extents instead is asked first, unless
    /// all is to be copied so.
    pub(super) fn partial(&self, blob: BlobRef, keep: u64) -> Option<Partial> {
        let visible = keep.min(blob.size);
        let shift = if blob.size >= LARGE { SHIFTS.0 } else { SHIFTS.1 };
        (visible >= self.0.load(Ordering::Relaxed)).then_some(Partial { blob, visible, shift, settled: false })
    }

    pub(super) fn prefers_reflinks(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 1
    }
}

/// Host files of a partial file, and what they have.
pub(super) struct Parts {
    pub(super) data: Arc<File>,
    pub(super) blob: Arc<File>,
    /// The file's length when `view` was looked at, or before.
    pub(super) length: u64,
    pub(super) view: View,
}

impl Parts {
    fn file(&self, remote: bool) -> &Arc<File> {
        if remote { &self.blob } else { &self.data }
    }

    /// Reads; fewer bytes than asked only at the end of the file.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let end = self.length.min(offset.saturating_add(buffer.len() as u64));
        let mut done = 0;
        for run in self.view.runs(offset, end) {
            let part = &mut buffer[done..done + (run.to - run.from) as usize];
            let count = read_some(self.file(run.remote), run.from, part)?;
            done += count;
            if count < part.len() {
                break;
            }
        }
        Ok(done)
    }

    fn seek(&self, offset: u64, what: Seek) -> Result<Option<u64>> {
        let failed = VfsError::io("can't seek in a file's content");
        let length = self.length;
        if offset >= length {
            return Ok(None);
        }
        let found = || {
            for run in self.view.runs(offset, length) {
                let file = self.file(run.remote);
                let at = match what {
                    Seek::Data => sparse::data(file, run.from)?,
                    // The end of the blob is no hole of the file.
                    Seek::Hole => sparse::hole(file, run.from)?,
                };
                if let Some(at) = at.filter(|&at| at < run.to) {
                    return Ok(Some(at));
                }
            }
            Ok((what == Seek::Hole).then_some(length))
        };
        found().map_err(failed)
    }
}

/// Reads as much of `buffer` as the file has from `offset` on.
pub(super) fn read_some(file: &File, offset: u64, buffer: &mut [u8]) -> Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(VfsError::io("can't read a file's content")(error)),
        }
    }
    Ok(done)
}

impl Upper {
    /// What the layer says of the blocks with bytes from `from` to `to`. The caller holds `tree_lock`.
    fn part_view(&self, id: DataId, partial: Partial, from: u64, to: u64) -> Result<View> {
        let mut view = View { partial, chunks: Default::default() };
        let to = to.min(partial.visible);
        if from < to {
            let (first, _) = place(view.block_of(from));
            let (last, _) = place(view.block_of(to - 1));
            for number in first..=last {
                if let Some(chunk) = self.layer.db().chunk(id, number)? {
                    view.chunks.insert(number, chunk);
                }
            }
        }
        Ok(view)
    }

    /// The same of all blocks.
    pub(super) fn whole_view(&self, id: DataId, partial: Partial) -> Result<View> {
        Ok(View { partial, chunks: self.layer.db().chunks(id)? })
    }
}

impl Fs {
    /// The host files of an open inode's partial content, and where the bytes from `from` to `to` are. `None` when the content is another.
    pub(super) fn parts(&self, open: &OpenFile, id: DataId, from: u64, to: u64) -> Result<Option<Parts>> {
        let Some(data) = open.data_of(self, id)? else { return Ok(None) };
        // Before the view: what it says of the blob holds for the length at that instant. A file that was cut is recorded as such before it
        // grows, and the length that it has then would let the blob's bytes be seen behind the cut.
        let length = data.metadata().map_err(VfsError::io("can't examine a file of the layer"))?.len();
        let view = {
            let upper = self.upper()?;
            let _guard = upper.tree_lock.read();
            match self.record(id.ino)?.partial() {
                Some((generation, partial)) if generation == id.generation => upper.part_view(id, partial, from, to)?,
                _ => return Ok(None),
            }
        };
        Ok(Some(Parts { data, blob: open.blob_of(self, id, view.partial.blob)?, length, view }))
    }

    pub(super) fn read_partial(
        &self,
        open: &OpenFile,
        id: DataId,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<Option<usize>> {
        let parts = self.parts(open, id, offset, offset.saturating_add(buffer.len() as u64))?;
        parts.map(|parts| parts.read(offset, buffer)).transpose()
    }

    /// `Some(None)`: nothing of the kind past `offset`.
    pub(super) fn seek_partial(
        &self,
        open: &OpenFile,
        id: DataId,
        offset: u64,
        what: Seek,
    ) -> Result<Option<Option<u64>>> {
        let parts = self.parts(open, id, offset, u64::MAX)?;
        parts.map(|parts| parts.seek(offset, what)).transpose()
    }

    /// Where an open inode's bytes from `from` to `to` are, for copying them.
    pub(super) fn pieces(&self, open: &OpenFile, from: u64, to: u64) -> Result<Vec<(Arc<File>, u64, u64)>> {
        loop {
            match open.key() {
                ContentKey::Partial(ino, generation) => {
                    let Some(parts) = self.parts(open, DataId { ino, generation }, from, to)? else { continue };
                    let end = to.min(parts.length);
                    let runs = parts.view.runs(from, end).into_iter();
                    return Ok(runs.map(|run| (parts.file(run.remote).clone(), run.from, run.to)).collect());
                }
                _ => {
                    let file = open.to_read(self)?;
                    let length = file.metadata().map_err(VfsError::io("can't examine a file's content"))?.len();
                    return Ok(if from < length { vec![(file, from, to.min(length))] } else { Vec::new() });
                }
            }
        }
    }

    /// Blocks of 512 bytes that a partial file takes, here and in the store. The caller holds `tree_lock`.
    pub(super) fn remote_blocks(&self, ino: Ino, generation: u32, partial: Partial, length: u64) -> Result<u64> {
        let view = self.upper()?.whole_view(DataId { ino, generation }, partial)?;
        Ok(view.remote_bytes(length) / 512)
    }
}
