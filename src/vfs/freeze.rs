//! What a snapshot needs of a live filesystem: one instant held still, and content handed over to the store.
//!
//! Protocol
//! 1. [`Fs::freeze`], under the exclusive `tree_lock`: take all records as they are; copy content that is open for writing; seal all
//!    other dirty content, so that a later write copies it up and its data file stays as it is. One batch.
//! 2. The snapshot reads the sealed files and copies, outside of any lock.
//! 3. [`Fs::rebase`]: sealed content that is in the store now becomes clean; its data file is freed. One batch.
//!
//! A crash, or a snapshot that fails, leaves sealed content: whole, readable, and copied up by the next write.

use super::error::{Result, VfsError};
use super::node::times_of_dirty;
use super::partial::{Run, View};
use super::since::{Left, Since};
use super::types::ContentKey;
use super::{Base, COPY_STRIPES, Fs, Upper};
use crate::format::{Digest, Ino, NameBuf};
use crate::layer::{BlobRef, Body, DataId, FileContent, InodeRecord, NameRecord, Partial};
use crate::store::Course;
use crate::sys::copy::copy_prefix_while;
use crate::sys::lease;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Where a snapshot reads dirty content.
#[derive(Debug)]
pub enum Source {
    /// A sealed data file: nothing writes it, so it may become the blob itself.
    Sealed(PathBuf),
    /// A copy, for the file was open for writing.
    Copy(File),
    /// Partial content, which is written to the next generation until the snapshot is taken.
    Partial(Assembled),
}

/// Partial content at one instant.
#[derive(Debug)]
pub struct Assembled {
    data: File,
    blob: File,
    view: View,
    length: u64,
}

impl Assembled {
    /// Reads it from its beginning.
    pub fn reader(&self) -> impl Read + '_ {
        let mut runs = self.view.runs(0, self.length);
        runs.reverse();
        AssembledReader { from: self, runs }
    }
}

struct AssembledReader<'a> {
    from: &'a Assembled,
    /// What is left, last first.
    runs: Vec<Run>,
}

impl Read for AssembledReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(run) = self.runs.last_mut() else { return Ok(0) };
        let file = if run.remote { &self.from.blob } else { &self.from.data };
        let want = buffer.len().min(usize::try_from(run.to - run.from).unwrap_or(usize::MAX));
        let count = file.read_at(&mut buffer[..want], run.from)?;
        if count == 0 && want > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        run.from += count as u64;
        if run.from == run.to {
            self.runs.pop();
        }
        Ok(count)
    }
}

/// What a layer says, at one instant: all, or all that a snapshot needs which knows what the one before it found ([`Frozen::since`]).
#[derive(Debug, Default)]
pub struct Records {
    /// Inode records.
    pub inodes: BTreeMap<Ino, InodeRecord>,
    /// Name records, by directory.
    pub names: BTreeMap<Ino, BTreeMap<NameBuf, NameRecord>>,
}

/// The layer at one instant, its content held still.
#[derive(Debug)]
pub struct Frozen<'a> {
    upper: &'a Upper,
    /// What the layer said; content that is held is told as [`FileContent::Sealed`].
    pub records: Records,
    /// What the snapshot before this one left; `None` when [`Frozen::records`] are all that there are.
    pub since: Option<Since>,
    /// Where the dirty content is.
    pub content: BTreeMap<DataId, Source>,
    /// Inodes that were open for writing, or mapped so.
    pub written: BTreeSet<Ino>,
    /// How long operations were held up.
    pub held: Duration,
}

/// What [`Fs::hold`] finds.
struct Held {
    records: Records,
    since: Option<Since>,
    content: BTreeMap<DataId, Source>,
    written: BTreeSet<Ino>,
}

impl Fs {
    /// The manifest of this daemon's last snapshot, of whose trees the next one may use some; `None` when that will look at everything.
    pub fn last_taken(&self) -> Option<Digest> {
        self.upper.as_ref()?.taken.lock().as_ref().map(|taken| taken.manifest)
    }

    /// Has the next snapshot look at everything.
    pub fn forget_taken(&self) {
        if let Some(upper) = &self.upper {
            *upper.taken.lock() = None;
        }
    }

    /// Holds the layer still for an instant. [`VfsError::ReadOnly`] without a layer; one snapshot at a time.
    pub fn freeze(&self) -> Result<Frozen<'_>> {
        self.freeze_on_course(&Course::default())
    }

    /// The same, unless `course` is stopped while content is copied: then nothing is held.
    pub fn freeze_on_course(&self, course: &Course) -> Result<Frozen<'_>> {
        let upper = self.upper()?;
        // A sealed file has no origin, so it must be on disk if it is a copy; one that isn't is copied once more.
        if let Err(error) = upper.settle() {
            tracing::warn!(%error, "can't put copied files on disk before a snapshot");
        }
        let started = Instant::now();
        let Held { records, since, content, written } = self.hold(upper, course)?;
        // Made after `tree_lock` is free again, for dropping it takes that lock.
        let frozen = Frozen { upper, records, since, content, written, held: started.elapsed() };
        // The store takes sealed files in as they are. A power cut that left them there, and here the records from before they were sealed,
        // would have blobs be written in place.
        upper.layer.db().persist()?;
        Ok(frozen)
    }

    fn hold(&self, upper: &Upper, course: &Course) -> Result<Held> {
        // Changes of partial content are over, or wait: it is left to the snapshot as it is.
        let _partials = upper.partials.write();
        let _guard = upper.tree_lock.write();
        if !upper.frozen.lock().is_empty() {
            return Err(VfsError::Busy("another snapshot of this layer is being taken"));
        }
        let mut written = self.open.written();
        let (mut records, since) = match upper.since(&self.base)? {
            Some((records, since)) => (records, Some(since)),
            None => (upper.records()?, None),
        };
        let content = self.hold_content(upper, &mut records, &mut written, course)?;
        Ok(Held { records, since, content, written })
    }

    fn hold_content(
        &self,
        upper: &Upper,
        records: &mut Records,
        written: &mut BTreeSet<Ino>,
        course: &Course,
    ) -> Result<BTreeMap<DataId, Source>> {
        let mut all = BTreeMap::new();
        let mut batch = upper.layer.db().batch();
        for (&ino, record) in &mut records.inodes {
            let Some(generation) = record.data_generation().filter(|_| !record.is_unnamed()) else { continue };
            let id = DataId { ino, generation };
            let sealed = matches!(record.body, Body::File { content: FileContent::Sealed, .. });
            if !sealed {
                let metadata = upper.layer.data().metadata(id)?;
                (record.meta.mtime, record.ctime) = times_of_dirty((record.meta.mtime, record.ctime), &metadata);
            }
            if let Some((_, partial)) = record.partial() {
                all.insert(id, Source::Partial(self.assemble(upper, id, partial)?));
                continue;
            }
            let is_written = !sealed && (written.contains(&ino) || is_written(upper, id)?);
            if is_written {
                written.insert(ino);
            }
            // A copy-up of this moment: sealed, it would have no origin to go back to after a power cut.
            let unsettled = matches!(record.body, Body::File { content: FileContent::Data { origin: Some(_) }, .. });
            let source = if is_written || unsettled {
                Source::Copy(self.copy_of(upper, id, course)?)
            } else {
                record.body = Body::File { generation, content: FileContent::Sealed };
                if !sealed {
                    batch.put_inode(ino, record);
                }
                Source::Sealed(upper.layer.data().file_path(id))
            };
            all.insert(id, source);
        }
        // Sealed content is the same content.
        batch.commit_quietly()?;
        upper.frozen.lock().extend(all.keys());
        Ok(all)
    }

    fn assemble(&self, upper: &Upper, id: DataId, partial: Partial) -> Result<Assembled> {
        let data = upper.layer.data().open_to_read(id)?;
        let length = data.metadata().map_err(VfsError::io("can't examine a file of the layer"))?.len();
        let blob = self.open_blob(partial.blob)?;
        Ok(Assembled { data, blob, view: upper.whole_view(id, partial)?, length })
    }

    fn copy_of(&self, upper: &Upper, id: DataId, course: &Course) -> Result<File> {
        let failed = |error| VfsError::io("can't copy a file that is being written")(error);
        let copy = tempfile::tempfile_in(upper.layer.data().path()).map_err(failed)?;
        let mut stopped = Ok(());
        let mut go_on = || {
            stopped = course.step(0);
            stopped.is_ok()
        };
        let copied = copy_prefix_while(&upper.layer.data().open_to_read(id)?, &copy, u64::MAX, &mut go_on);
        stopped?;
        copied.map_err(failed)?;
        Ok(copy)
    }

    /// Sealed and partial content that the store has now, under the blob given, becomes clean. Partial content that was written since, and
    /// so copied anew, has the rest in that blob from now on: the layer depends on no former snapshot. Returns how long operations were
    /// held up.
    pub fn rebase(&self, blobs: &HashMap<DataId, BlobRef>) -> Result<Duration> {
        let upper = self.upper()?;
        let _guard = upper.tree_lock.write();
        let started = Instant::now();
        let mut batch = upper.layer.db().freeing_batch();
        let mut switched = Vec::new();
        for (&id, &blob) in blobs {
            let Some(mut record) = upper.layer.db().inode(id.ino)? else { continue };
            let Body::File { generation, content } = &mut record.body else { continue };
            let is_same = *generation == id.generation;
            match content {
                FileContent::Sealed if is_same => *content = FileContent::Blob(blob),
                // It came from the very content that was taken: what isn't held is the same there, and lies within it.
                FileContent::Partial(partial) if *generation > id.generation => {
                    if partial.visible > blob.size {
                        return Err(VfsError::Invalid);
                    }
                    partial.blob = blob;
                    batch.put_inode(id.ino, &record);
                    continue;
                }
                FileContent::Partial(_) if is_same => {
                    *content = FileContent::Blob(blob);
                    // Its times were the data file's.
                    let metadata = upper.layer.data().metadata(id)?;
                    (record.meta.mtime, record.ctime) = times_of_dirty((record.meta.mtime, record.ctime), &metadata);
                    batch.remove_chunks(id)?;
                }
                _ => continue,
            }
            batch.put_inode(id.ino, &record);
            switched.push((id, blob));
        }
        batch.commit_quietly()?;
        for (id, blob) in switched {
            self.open.switch(id.ino, ContentKey::Blob(blob.digest), blob.size);
        }
        Ok(started.elapsed())
    }

    /// All that the layer says now; nothing without a layer.
    pub fn records(&self) -> Result<Records> {
        let Some(upper) = &self.upper else { return Ok(Records::default()) };
        let _guard = upper.tree_lock.read();
        upper.records()
    }
}

/// Whether the data file may still change though no handle is open for writing: a shared mapping by passthrough is one of the data file
/// itself, and outlives the descriptor it came from, the handle, and even the mount. Where the kernel can't tell, it may.
fn is_written(upper: &Upper, id: DataId) -> Result<bool> {
    let file = upper.layer.data().open_to_read(id)?;
    Ok(lease::has_writers(&file).unwrap_or(true))
}

impl Upper {
    fn records(&self) -> Result<Records> {
        let mut records = Records::default();
        let db = self.layer.db();
        db.each_inode(|ino, record| {
            records.inodes.insert(ino, record);
        })?;
        let mut bad_name = false;
        db.each_name(|parent, name, record| match NameBuf::new(name) {
            Ok(name) => {
                records.names.entry(parent).or_default().insert(name, record);
            }
            Err(_) => bad_name = true,
        })?;
        if bad_name { Err(VfsError::Invalid) } else { Ok(records) }
    }
}

impl Records {
    /// The path of an inode, for people. `None` when it has no name.
    pub fn path(&self, base: &Base, ino: Ino) -> Option<String> {
        let mut parts = Vec::new();
        let mut at = ino;
        while at != Ino::ROOT {
            // A path has at most 4096 bytes; more steps than that would be a circle.
            if parts.len() > 4096 {
                return None;
            }
            let (parent, name) = self.name_of(base, at)?;
            parts.push(name);
            at = parent;
        }
        parts.reverse();
        Some(parts.join("/"))
    }

    fn name_of(&self, base: &Base, ino: Ino) -> Option<(Ino, String)> {
        let by_layer = self.names.iter().find_map(|(parent, names)| {
            let found =
                names.iter().find(|(_, record)| matches!(record, NameRecord::Child(child) if child.ino == ino))?;
            Some((*parent, found.0.to_string()))
        });
        by_layer.or_else(|| base.name(ino).ok().flatten())
    }
}

impl Drop for Frozen<'_> {
    /// Lets go: data files that no record names any more are removed. Once one isn't named it never is again, for generations only grow;
    /// so the files go when the lock is free.
    fn drop(&mut self) {
        let unnamed = self.let_go();
        // The records on disk may still name them.
        if let Err(error) = self.upper.layer.db().persist() {
            tracing::warn!(%error, "data files that a snapshot took stay for now");
            unnamed.into_iter().for_each(|id| self.upper.doom(id));
            return;
        }
        for id in unnamed {
            // A copy-up that was planned from the file before it lost its name is still to read it.
            let _copied = self.upper.copy_locks[id.ino.0 as usize % COPY_STRIPES].lock();
            if let Err(error) = self.upper.layer.data().remove(id) {
                tracing::warn!(%error, "a data file that a snapshot took stays behind");
            }
        }
    }
}

impl Frozen<'_> {
    /// Keeps for the next snapshot what this one, which is taken, leaves. To be called after [`Fs::rebase`].
    pub fn leave(&self, left: Left) -> Result<()> {
        self.upper.leave(left, self.content.keys().map(|id| id.ino))
    }

    /// Ends the hold on content, and returns the data files that nothing names. A record that can't be read keeps its file.
    fn let_go(&self) -> Vec<DataId> {
        let _guard = self.upper.tree_lock.write();
        self.upper.frozen.lock().clear();
        let unnamed = |id: &DataId| match self.upper.layer.db().inode(id.ino) {
            Ok(Some(record)) => record.data_generation() != Some(id.generation),
            Ok(None) => true,
            Err(_) => false,
        };
        self.content.keys().copied().filter(unnamed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Caller, Ino, OpenMode};
    use super::*;
    use crate::format::{Digest, Mode, Name};
    use crate::ingest::{ImportOptions, Progress, import_dir};
    use crate::layer::Layer;
    use crate::store::Store;

    #[test]
    fn a_file_that_is_being_copied_up_outlives_the_snapshot_that_took_it() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        let store = Store::init(&folder.path().join("store")).unwrap();
        let options = ImportOptions::new("base".parse().unwrap());
        let base = import_dir(&store, &source, &options, &Progress::default()).unwrap().manifest;
        let fs = Fs::with_layer(&store, base, Layer::open(&folder.path().join("layer")).unwrap()).unwrap();
        let (caller, mode) = (Caller { uid: 0, gid: 0, pid: 0 }, Mode::from_bits(0o644));
        let open = OpenMode { write: true, truncate: false };
        let (attr, opened) = fs.create(caller, Ino::ROOT, Name::new(b"x").unwrap(), mode, 0, open).unwrap();
        fs.release(opened.handle);
        let upper = fs.upper().unwrap();
        let frozen = fs.freeze().unwrap();
        let id = *frozen.content.keys().next().unwrap();
        let path = upper.layer.data().file_path(id);

        // As a copy-up has it from its plan, made while the file was sealed, to its commit.
        let copying = upper.copy_locks[attr.ino.0 as usize % COPY_STRIPES].lock();
        fs.rebase(&HashMap::from([(id, BlobRef { digest: Digest::of(b""), size: 0 })])).unwrap();
        std::thread::scope(|scope| {
            let ends = scope.spawn(|| drop(frozen));
            while !upper.frozen.lock().is_empty() {
                std::thread::yield_now();
            }
            let until = Instant::now() + Duration::from_millis(100);
            while !ends.is_finished() && Instant::now() < until {
                std::thread::yield_now();
            }
            assert!(path.exists(), "the copy-up has nothing to copy from");
            drop(copying);
        });
        assert!(!path.exists());
    }
}
