//! What is open: handles, the content of each inode that has any, and host files with it.
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
use super::types::{ContentKey, HandleId};
use crate::format::Ino;
use crate::layer::{BlobRef, DataId};
use crate::locks::{Mutex, RwLock};
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

    /// Keeps a host file with the content, open for reading.
    pub(super) fn keep(&self, file: File) {
        self.source.write().read = Some(Arc::new(file));
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

    /// How many handles there are.
    pub(super) fn count(&self) -> usize {
        self.handles.read().len()
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
    pub(super) fn insert(&self, ino: Ino, key: ContentKey, size: u64, write: bool) -> (HandleId, Arc<OpenFile>) {
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
    pub(super) fn remove(&self, handle: HandleId) -> Option<Ino> {
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
