//! The kernel-free filesystem: a base of clean nodes and a layer of dirty ones, both by inode number.
//!
//! ```text
//! types     words exchanged with the adapter      base      clean nodes of the manifest
//! node      what an inode is, clean or dirty      namespace lookup, unlink, rename, link
//! make      new inodes, and what they inherit
//! dirs      listings                              attrs     getattr, setattr      xattrs, acl
//! open      opening and closing files             handles   what is open
//! content   read, write, fallocate, seek, copy
//! copy_up   clean content becomes dirty           freeze    what a snapshot needs      since  what it leaves for the next
//! partial   content of which the layer has only blocks
//! sync      fsync, sync, closing                  settle    copies synced, removed content given back, in the background
//! reclaim   inodes without a name                 totals    statfs                error   why an operation failed
//! ```
//! An inode is dirty when the layer has a record of its number; a directory's entries are its base tree's, changed by the layer's name
//! records. There are no whiteouts and no merged listings; renaming a directory moves one record.
//!
//! Locking, outermost first
//! 0. a pass of `settle`: held while copies are synced, by one thread at a time;
//! 1. a stripe of `copy_locks` (by inode): held while content is copied up, so that it is copied once, and while partial content is changed;
//! 2. `partials`: shared by changes of partial content, exclusive for the instant of a snapshot, and when it becomes ordinary;
//! 3. `tree_lock`: shared by readers of names and records, exclusive for changes; one operation is one batch under it;
//! 4. the tables of `handles`, `views`, `frozen`, `taken`, `forgotten`, the backlog of `settle`: leaves, held for look-ups only.
//!
//! Invariant: a blob is never written: an open for writing yields layer content, or fails.

pub(crate) mod acl;
mod attrs;
mod base;
mod content;
mod copy_up;
mod dirs;
mod error;
#[cfg(test)]
pub(crate) mod explored;
pub mod freeze;
mod handles;
mod make;
mod namespace;
mod node;
mod open;
mod partial;
mod reclaim;
mod settle;
pub mod since;
mod sync;
mod totals;
mod types;
mod xattrs;

pub use base::{Base, BaseInode, child_ino};
// Inodes are what this interface speaks of, so their numbers are named here too.
pub use crate::format::Ino;
pub use error::{Result, VfsError};
pub use open::Opened;
pub use types::{
    Attr, Caller, ContentKey, Copying, HandleId, Listed, Make, OpenMode, RenameMode, Seek, SetAttr, SetTime, StatFs,
    XattrMode,
};

use crate::format::Digest;
use crate::layer::{DataId, Layer};
use crate::locks::{Mutex, RwLock};
use crate::store::Store;
use lru::LruCache;
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

const COPY_STRIPES: usize = 64;
/// Listings of dirty directories kept in memory.
const VIEWS: NonZeroUsize = NonZeroUsize::new(64).expect("64 isn't zero");

/// A mounted filesystem. Every method takes `&self` and may be called from any thread.
#[derive(Debug)]
pub struct Fs {
    base: Base,
    upper: Option<Arc<Upper>>,
    open: Arc<handles::OpenTable>,
    _settler: Option<settle::Settler>,
}

/// The writable side.
#[derive(Debug)]
struct Upper {
    layer: Layer,
    /// What the filesystem has open.
    open: Arc<handles::OpenTable>,
    tree_lock: RwLock<()>,
    copy_locks: [Mutex<()>; COPY_STRIPES],
    partials: RwLock<()>,
    /// What is copied up by range.
    by_range: partial::Threshold,
    views: Mutex<LruCache<Ino, Arc<dirs::DirView>>>,
    /// Data files that a snapshot is reading: a later write copies them up again.
    frozen: Mutex<HashSet<DataId>>,
    /// What the last snapshot left for the next.
    taken: Mutex<Option<since::Taken>>,
    /// Unlinked inodes that the kernel forgot while they were open.
    forgotten: Mutex<HashSet<Ino>>,
    settling: settle::Settling,
}

impl Fs {
    /// A read-only filesystem over a manifest.
    pub fn read_only(store: &Store, manifest: Digest) -> Result<Self> {
        Ok(Self { base: Base::open(store, manifest)?, upper: None, open: Arc::default(), _settler: None })
    }

    /// A writable filesystem: `layer` on the manifest that it was made on.
    pub fn with_layer(store: &Store, manifest: Digest, layer: Layer) -> Result<Self> {
        let open = Arc::<handles::OpenTable>::default();
        let upper = Arc::new(Upper {
            layer,
            open: Arc::clone(&open),
            tree_lock: RwLock::new(()),
            copy_locks: [const { Mutex::new(()) }; COPY_STRIPES],
            partials: RwLock::new(()),
            by_range: partial::Threshold::default(),
            views: Mutex::new(LruCache::new(VIEWS)),
            frozen: Mutex::new(HashSet::new()),
            taken: Mutex::new(None),
            forgotten: Mutex::new(HashSet::new()),
            settling: settle::Settling::default(),
        });
        upper.layer.unsettled().iter().for_each(|id| upper.settling.copied(*id));
        let base = Base::open(store, manifest)?;
        let settler = Some(settle::Settler::start(&upper)?);
        Ok(Self { base, upper: Some(upper), open, _settler: settler })
    }

    /// Whether nothing can be changed.
    pub fn is_read_only(&self) -> bool {
        self.upper.is_none()
    }

    /// Chooses how content is copied up from now on. What was copied up by range stays so.
    pub fn copy_by(&self, copying: Copying) {
        if let Some(upper) = &self.upper {
            upper.by_range.set(copying);
        }
    }

    /// The base.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// The layer, when there is one.
    pub fn layer(&self) -> Option<&Layer> {
        self.upper.as_ref().map(|upper| &upper.layer)
    }

    fn upper(&self) -> Result<&Upper> {
        self.upper.as_deref().ok_or(VfsError::ReadOnly)
    }
}
