//! Opening and closing files. What is open is in `handles`.

use super::error::{Result, VfsError};
use super::handles::OpenFile;
use super::types::{ContentKey, HandleId, OpenMode};
use super::{Fs, Upper};
use crate::format::Ino;
use crate::layer::{BlobRef, Body, DataId, FileContent, InodeRecord};
use crate::locks::RwLockReadGuard;
use std::fs::File;
use std::sync::Arc;

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

/// Generation and content of a regular file.
pub(super) fn content_of(record: &InodeRecord) -> Result<(u32, FileContent)> {
    match record.body {
        Body::File { generation, content } => Ok((generation, content)),
        Body::Dir { .. } => Err(VfsError::IsDir),
        _ => Err(VfsError::Invalid),
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

    pub(super) fn open_to_write(&self, key: ContentKey) -> Result<File> {
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
            if !opened.writable {
                // A snapshot has sealed or taken the content between the copy-up and the lock.
                self.open.remove(opened.handle);
                continue;
            }
            if !mode.truncate {
                return Ok(opened);
            }
            let ContentKey::Partial(..) = opened.content else { return self.truncate_data(upper, opened) };
            drop(guard);
            if let Some(opened) = self.truncate_partial(ino, opened)? {
                return Ok(opened);
            }
        }
    }

    /// Cuts a data file that was just opened to nothing; it isn't open when that fails. Under `tree_lock`, so that no snapshot seals it meanwhile.
    fn truncate_data(&self, upper: &Upper, opened: Opened) -> Result<Opened> {
        let file = opened.file.to_write(self);
        let failed = VfsError::io("can't truncate a file of the layer");
        if let Err(error) = file.and_then(|file| file.set_len(0).map_err(failed)) {
            self.open.remove(opened.handle);
            return Err(error);
        }
        if let ContentKey::Data(ino, generation) = opened.content {
            upper.layer.data().renewed(DataId { ino, generation });
        }
        Ok(opened)
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
        let (generation, content) = content_of(&record)?;
        let (key, size) = match content {
            FileContent::Blob(blob) => (ContentKey::Blob(blob.digest), blob.size),
            FileContent::Data { .. } | FileContent::Sealed => (ContentKey::Data(ino, generation), 0),
            FileContent::Partial(_) => (ContentKey::Partial(ino, generation), 0),
        };
        let writable = content.is_writable();
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
        file.keep(data);
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
        self.open.count()
    }

    /// Shared hold on names and records.
    pub(super) fn read_lock(&self) -> Option<RwLockReadGuard<'_, ()>> {
        self.upper.as_ref().map(|upper| upper.tree_lock.read())
    }
}
