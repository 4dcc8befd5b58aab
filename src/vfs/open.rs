//! Open files and handles.
//!
//! One [`OpenFile`] an inode, shared by its handles, so that a copy-up switches all of them to the new content at once. Host files are
//! opened when they are first needed: an adapter that has a backing id already needs none.
//!
//! Invariant: this program has a data file open for writing only while a handle for writing is open, or for the length of one operation.
//! So the kernel can tell a snapshot whether others still write it (`sys::lease`).
//!
//! Locking: `inodes` before `handles`; both are leaves.

use super::Fs;
use super::error::{Result, VfsError};
use super::types::{ContentKey, HandleId, OpenMode};
use crate::format::Ino;
use crate::layer::{BlobRef, Body, DataId, FileContent};
use crate::locks::{Mutex, RwLock, RwLockReadGuard};
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// All that is open.
#[derive(Debug, Default)]
pub(super) struct OpenTable {
    inodes: Mutex<HashMap<Ino, Open>>,
    handles: RwLock<HashMap<u64, Handle>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Open {
    file: Arc<OpenFile>,
    handles: u32,
    writers: u32,
}

/// A handle: an inode's open file, and whether it may be written through it.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    pub(super) ino: Ino,
    pub(super) write: bool,
    pub(super) file: Arc<OpenFile>,
}

/// The content of an open inode.
#[derive(Debug)]
pub(super) struct OpenFile {
    source: RwLock<Source>,
    /// The data file's name is known to be on disk.
    pub(super) name_synced: AtomicBool,
}

/// The bytes that an inode has now, and the host files opened on them so far.
#[derive(Debug)]
struct Source {
    key: ContentKey,
    /// What the length must be, when the content is a blob.
    size: u64,
    read: Option<Arc<File>>,
    write: Option<Arc<File>>,
    /// The blob of partial content.
    blob: Option<Arc<File>>,
}

impl Source {
    fn new(key: ContentKey, size: u64) -> Self {
        Self { key, size, read: None, write: None, blob: None }
    }
}

/// A file just opened.
#[derive(Debug)]
pub struct Opened {
    /// For read, write, release.
    pub handle: HandleId,
    /// Which bytes.
    pub content: ContentKey,
    /// Length in bytes now.
    pub size: u64,
    /// The content is the layer's and not sealed.
    pub(super) writable: bool,
    file: Arc<OpenFile>,
}

impl Opened {
    /// The host file, open read-only, for passthrough: the kernel opens it again with the flags of whoever opens. `None` when the inode has
    /// other content by now: what is kept under the name of one content must never be another; and when no file has all of it.
    pub fn file(&self, fs: &Fs) -> Result<Option<Arc<File>>> {
        if let ContentKey::Partial(..) = self.content {
            return Ok(None);
        }
        let (key, file) = self.file.now(fs)?;
        Ok((key == self.content).then_some(file))
    }

    /// Whether the inode still has the content that was opened.
    pub fn is_current(&self) -> bool {
        self.file.key() == self.content
    }
}

impl OpenFile {
    pub(super) fn key(&self) -> ContentKey {
        self.source.read().key
    }

    /// The host file with the inode's current content, for reading.
    pub(super) fn to_read(&self, fs: &Fs) -> Result<Arc<File>> {
        Ok(self.now(fs)?.1)
    }

    /// The data file of partial content, for reading; `None` when the content is another.
    pub(super) fn data_of(&self, fs: &Fs, id: DataId) -> Result<Option<Arc<File>>> {
        let (key, file) = self.now(fs)?;
        Ok((key == ContentKey::Partial(id.ino, id.generation)).then_some(file))
    }

    /// The same for writing.
    pub(super) fn data_to_write(&self, fs: &Fs, id: DataId) -> Result<Option<Arc<File>>> {
        let (key, file) = self.host(|key, _| fs.open_to_write(key), |source| &mut source.write)?;
        Ok((key == ContentKey::Partial(id.ino, id.generation)).then_some(file))
    }

    /// The blob of partial content.
    pub(super) fn blob_of(&self, fs: &Fs, id: DataId, blob: BlobRef) -> Result<Arc<File>> {
        let key = ContentKey::Partial(id.ino, id.generation);
        {
            let source = self.source.read();
            if let Some(file) = source.blob.as_ref().filter(|_| source.key == key) {
                return Ok(file.clone());
            }
        }
        let file = Arc::new(fs.open_blob(blob)?);
        let mut source = self.source.write();
        if source.key == key {
            source.blob = Some(file.clone());
        }
        Ok(file)
    }

    /// The inode's current content, and the host file with it, for reading.
    pub(super) fn now(&self, fs: &Fs) -> Result<(ContentKey, Arc<File>)> {
        self.host(|key, size| fs.open_content(key, size), |source| &mut source.read)
    }

    /// The same for writing; only for a handle that may write.
    pub(super) fn to_write(&self, fs: &Fs) -> Result<Arc<File>> {
        Ok(self.host(|key, _| fs.open_to_write(key), |source| &mut source.write)?.1)
    }

    fn host(
        &self,
        open: impl Fn(ContentKey, u64) -> Result<File>,
        slot: impl Fn(&mut Source) -> &mut Option<Arc<File>>,
    ) -> Result<(ContentKey, Arc<File>)> {
        loop {
            let (key, size) = {
                let mut source = self.source.write();
                if let Some(file) = slot(&mut source) {
                    let file = file.clone();
                    return Ok((source.key, file));
                }
                (source.key, source.size)
            };
            let opened = open(key, size);
            let mut source = self.source.write();
            // Content that was switched meanwhile is opened again; what it was before may be gone, which is no failure.
            if source.key == key {
                return Ok((key, slot(&mut source).get_or_insert(Arc::new(opened?)).clone()));
            }
        }
    }
}

impl OpenTable {
    pub(super) fn handle(&self, handle: HandleId) -> Result<Handle> {
        self.handles.read().get(&handle.0).cloned().ok_or(VfsError::BadHandle)
    }

    pub(super) fn is_open(&self, ino: Ino) -> bool {
        self.inodes.lock().contains_key(&ino)
    }

    /// Inodes that are open for writing.
    pub(super) fn written(&self) -> BTreeSet<Ino> {
        self.inodes.lock().iter().filter(|(_, open)| open.writers > 0).map(|(ino, _)| *ino).collect()
    }

    /// Whether the inode is open for writing.
    pub(super) fn is_written(&self, ino: Ino) -> bool {
        self.inodes.lock().get(&ino).is_some_and(|open| open.writers > 0)
    }

    /// The data file `id`, when the inode has it open.
    pub(super) fn data_file(&self, id: DataId) -> Option<Arc<File>> {
        let file = self.inodes.lock().get(&id.ino)?.file.clone();
        let source = file.source.read();
        let (data, partial) = (ContentKey::Data(id.ino, id.generation), ContentKey::Partial(id.ino, id.generation));
        let is_it = source.key == data || source.key == partial;
        source.read.as_ref().or(source.write.as_ref()).filter(|_| is_it).cloned()
    }

    /// Adds a handle; the first of an inode brings its content.
    fn insert(&self, ino: Ino, key: ContentKey, size: u64, write: bool) -> (HandleId, Arc<OpenFile>) {
        let mut inodes = self.inodes.lock();
        let open = inodes.entry(ino).or_insert_with(|| Open {
            file: Arc::new(OpenFile {
                source: RwLock::new(Source::new(key, size)),
                name_synced: AtomicBool::new(false),
            }),
            handles: 0,
            writers: 0,
        });
        open.handles += 1;
        open.writers += u32::from(write);
        let handle = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        self.handles.write().insert(handle, Handle { ino, write, file: open.file.clone() });
        (HandleId(handle), open.file.clone())
    }

    /// The inode's content is another now. The caller holds `tree_lock` as for the change of the record, so that an open, which holds it too,
    /// finds the content that the record names.
    pub(super) fn switch(&self, ino: Ino, key: ContentKey, size: u64) {
        if let Some(open) = self.inodes.lock().get(&ino) {
            *open.file.source.write() = Source::new(key, size);
            open.file.name_synced.store(false, Ordering::Release);
        }
    }

    /// Removes a handle. Returns the inode when that was its last.
    fn remove(&self, handle: HandleId) -> Option<Ino> {
        let mut inodes = self.inodes.lock();
        let handle = self.handles.write().remove(&handle.0)?;
        let open = inodes.get_mut(&handle.ino)?;
        open.handles -= 1;
        open.writers -= u32::from(handle.write);
        if open.writers == 0 {
            open.file.source.write().write = None;
        }
        if open.handles > 0 {
            return None;
        }
        inodes.remove(&handle.ino);
        Some(handle.ino)
    }

    /// Drops all handles of `ino`: the mount is gone and no release will come.
    pub(super) fn close_all(&self, ino: Ino) {
        let mut inodes = self.inodes.lock();
        inodes.remove(&ino);
        self.handles.write().retain(|_, handle| handle.ino != ino);
    }
}

impl Fs {
    /// Opens content for reading. A blob of another length than `size` is damaged: it isn't read as if it were whole.
    pub(super) fn open_content(&self, key: ContentKey, size: u64) -> Result<File> {
        match key {
            ContentKey::Blob(digest) => Ok(self.base.store().open_blob(digest, size)?),
            ContentKey::Data(ino, generation) | ContentKey::Partial(ino, generation) => {
                Ok(self.upper()?.layer.data().open_to_read(DataId { ino, generation })?)
            }
        }
    }

    pub(super) fn open_blob(&self, blob: BlobRef) -> Result<File> {
        self.open_content(ContentKey::Blob(blob.digest), blob.size)
    }

    fn open_to_write(&self, key: ContentKey) -> Result<File> {
        match key {
            ContentKey::Blob(_) => Err(VfsError::BadHandle),
            ContentKey::Data(ino, generation) | ContentKey::Partial(ino, generation) => {
                Ok(self.upper()?.layer.data().open_file(DataId { ino, generation })?)
            }
        }
    }

    /// Opens a regular file. For writing, a blob is copied up first; with `truncate`, nothing of it is copied.
    pub fn open(&self, ino: Ino, mode: OpenMode) -> Result<Opened> {
        if !(mode.write || mode.truncate) {
            let _guard = self.read_lock();
            return self.open_now(ino, mode);
        }
        let upper = self.upper()?;
        loop {
            self.make_data(ino, if mode.truncate { 0 } else { u64::MAX })?;
            let guard = upper.tree_lock.read();
            let opened = self.open_now(ino, mode)?;
            // A snapshot may have sealed or taken the content between the copy-up and the lock.
            if opened.writable {
                if mode.truncate
                    && let ContentKey::Partial(..) = opened.content
                {
                    drop(guard);
                    match self.truncate_partial(ino, opened)? {
                        Some(opened) => return Ok(opened),
                        None => continue,
                    }
                }
                if !mode.truncate {
                    return Ok(opened);
                }
                let file = opened.file.to_write(self);
                let failed = VfsError::io("can't truncate a file of the layer");
                return match file.and_then(|file| file.set_len(0).map_err(failed)) {
                    Ok(()) => {
                        if let ContentKey::Data(ino, generation) = opened.content {
                            upper.layer.data().renewed(DataId { ino, generation });
                        }
                        Ok(opened)
                    }
                    Err(error) => {
                        self.open.remove(opened.handle);
                        Err(error)
                    }
                };
            }
            self.open.remove(opened.handle);
        }
    }

    /// Cuts partial content that was just opened to nothing. `None`, and not open, when the content is another by now.
    fn truncate_partial(&self, ino: Ino, mut opened: Opened) -> Result<Option<Opened>> {
        let cut = self.cut_partial(ino, Some(&opened.file), 0);
        if matches!(cut, Ok(true)) {
            // It may have been copied anew, for a snapshot reads what it was.
            opened.content = opened.file.key();
            opened.size = 0;
            return Ok(Some(opened));
        }
        self.open.remove(opened.handle);
        cut.map(|_| None)
    }

    pub(super) fn open_now(&self, ino: Ino, mode: OpenMode) -> Result<Opened> {
        let record = self.record(ino)?;
        let Body::File { generation, content } = record.body else {
            return Err(if matches!(record.body, Body::Dir { .. }) { VfsError::IsDir } else { VfsError::Invalid });
        };
        let (key, size) = match content {
            FileContent::Blob(blob) => (ContentKey::Blob(blob.digest), blob.size),
            FileContent::Data { .. } | FileContent::Sealed => (ContentKey::Data(ino, generation), 0),
            FileContent::Partial(_) => (ContentKey::Partial(ino, generation), 0),
        };
        let writable = matches!(content, FileContent::Data { .. } | FileContent::Partial(_));
        let (handle, file) = self.open.insert(ino, key, size, mode.write);
        let mut opened = Opened { handle, content: key, size, writable, file };
        if !matches!(key, ContentKey::Blob(_)) {
            match self.upper()?.layer.data().metadata(DataId { ino, generation }) {
                Ok(metadata) => opened.size = metadata.len(),
                Err(error) => {
                    self.open.remove(handle);
                    return Err(error.into());
                }
            }
        }
        Ok(opened)
    }

    /// Opens a file that was just made, under the lock that the caller holds; `data` is its data file, open for reading.
    pub(super) fn open_made(&self, ino: Ino, data: File, mode: OpenMode) -> Opened {
        let content = ContentKey::Data(ino, 1);
        let (handle, file) = self.open.insert(ino, content, 0, mode.write);
        file.source.write().read = Some(Arc::new(data));
        Opened { handle, content, size: 0, writable: true, file }
    }

    /// Closes a handle.
    pub fn release(&self, handle: HandleId) {
        let (Some(ino), Some(upper)) = (self.open.remove(handle), &self.upper) else { return };
        if upper.forgotten.lock().contains(&ino)
            && let Err(error) = self.reclaim(ino)
        {
            tracing::warn!(ino = ino.0, %error, "can't reclaim an unlinked inode");
        }
    }

    /// Handles that are open. The kernel tells of a close some time after close(2) has returned.
    pub fn open_handles(&self) -> usize {
        self.open.handles.read().len()
    }

    /// Shared hold on names and records.
    pub(super) fn read_lock(&self) -> Option<RwLockReadGuard<'_, ()>> {
        self.upper.as_ref().map(|upper| upper.tree_lock.read())
    }
}
