//! Host files registered with the kernel for passthrough.
//!
//! Registering costs a system call, so registrations are kept in a bounded LRU and used again by every open of the same content. One that
//! falls out of the LRU lives on while an open uses it ([`super::io_mode`] holds it); the kernel drops its reference when the value is
//! dropped. A registration pins the host file and its disk space, so an inode's goes when the kernel forgets the inode.
//!
//! When the kernel refuses in a way that no later attempt mends, everything is cached from then on; the log says so once.
//!
//! Locking: `kept` is a leaf.

use super::errno;
use super::metrics::Events;
use crate::format::Digest;
use crate::locks::Mutex;
use crate::vfs::{ContentKey, Fs, Ino, Opened, VfsError};
use fuser::BackingId;
use lru::LruCache;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A registration costs the kernel some hundred bytes, and its file on the host stays in memory. Files of the base are there for all mounts once.
const KEPT: NonZeroUsize = NonZeroUsize::new(16 << 10).expect("not zero");

/// A file that was registered with the kernel, which lets go of it when this is dropped.
#[derive(Debug)]
pub(super) enum Registered {
    Kernel(BackingId),
    /// What a kernel would hold.
    #[cfg(test)]
    Test(File),
}

/// A host file that the kernel may read, and for a layer's file write, by itself.
#[derive(Debug)]
pub(super) struct Backing {
    id: Registered,
    content: ContentKey,
    host: HostFile,
}

/// Device and inode number on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HostFile {
    device: u64,
    inode: u64,
}

/// At most one registration for each blob and each inode of the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Blob(Digest),
    Data(Ino),
}

impl From<ContentKey> for Key {
    fn from(content: ContentKey) -> Self {
        match content {
            ContentKey::Blob(digest) => Self::Blob(digest),
            ContentKey::Data(ino, _) | ContentKey::Partial(ino, _) => Self::Data(ino),
        }
    }
}

/// All registrations of a mount.
#[derive(Debug)]
pub(super) struct Backings {
    available: AtomicBool,
    kept: Mutex<LruCache<Key, Arc<Backing>>>,
}

impl Backing {
    /// For the reply.
    pub(super) fn id(&self) -> &BackingId {
        match &self.id {
            Registered::Kernel(id) => id,
            #[cfg(test)]
            Registered::Test(_) => panic!("there is no kernel to reply to"),
        }
    }

    /// The file that was registered.
    #[cfg(test)]
    pub(super) fn file(&self) -> &File {
        match &self.id {
            Registered::Test(file) => file,
            Registered::Kernel(_) => panic!("the kernel has it"),
        }
    }

    /// The content that was registered.
    pub(super) fn content(&self) -> ContentKey {
        self.content
    }

    /// Whether `file` is the host file that was registered.
    pub(super) fn is_same_file(&self, file: &File) -> bool {
        HostFile::of(file).is_ok_and(|host| host == self.host)
    }
}

impl HostFile {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Default for Backings {
    fn default() -> Self {
        Self { available: AtomicBool::new(false), kept: Mutex::new(LruCache::new(KEPT)) }
    }
}

impl Backings {
    /// The kernel agreed to passthrough when the mount began.
    pub(super) fn allow(&self) {
        self.available.store(true, Relaxed);
    }

    /// Whether passthrough can be had at all.
    pub(super) fn available(&self) -> bool {
        self.available.load(Relaxed)
    }

    /// The registration of what was opened, made by `register` unless it is kept from before; `None` when passthrough can't be had.
    pub(super) fn get(
        &self,
        fs: &Fs,
        opened: &Opened,
        events: &Events,
        register: impl FnOnce(&File) -> io::Result<Registered>,
    ) -> Result<Option<Arc<Backing>>, VfsError> {
        if !self.available() {
            return Ok(None);
        }
        let key = Key::from(opened.content);
        if let Some(kept) = self.kept.lock().get(&key).filter(|kept| kept.content == opened.content) {
            events.backings_reused.fetch_add(1, Relaxed);
            return Ok(Some(Arc::clone(kept)));
        }
        let Some(file) = opened.file(fs)? else { return Ok(None) };
        let made = HostFile::of(&file).and_then(|host| Ok((host, register(&file)?)));
        match made {
            Ok((host, id)) => {
                events.backings_registered.fetch_add(1, Relaxed);
                let backing = Arc::new(Backing { id, content: opened.content, host });
                self.kept.lock().put(key, Arc::clone(&backing));
                Ok(Some(backing))
            }
            Err(error) => {
                events.backings_failed.fetch_add(1, Relaxed);
                self.give_up_on(&error);
                Ok(None)
            }
        }
    }

    fn give_up_on(&self, error: &io::Error) {
        if errno::rules_out_passthrough(error) && self.available.swap(false, Relaxed) {
            tracing::warn!(%error, "files can't be passed through to the kernel, so reads and writes go through this process");
        }
    }

    /// The kernel has forgotten the inode: its layer file needn't be pinned.
    pub(super) fn forget(&self, ino: Ino) {
        let gone = self.kept.lock().pop(&Key::Data(ino));
        drop(gone);
    }
}
