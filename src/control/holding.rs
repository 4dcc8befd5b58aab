//! A filesystem opened for use by this process alone, and what keeps its objects: by a mount, or by a command on a layer that isn't mounted.
//!
//! Order: the lease comes first, so that a collection keeps the manifest from before anything is read; then the layer's lock; then the
//! layer. A snapshot's manifest is kept by lease and `layer.json` before the layer comes to depend on it.

use crate::format::{Digest, LayerName, RefName};
use crate::fuse;
use crate::layer::Layer;
use crate::layer::memory::Memory;
use crate::locks::Mutex;
use crate::snapshot::{self, SnapshotError};
use crate::store::{Course, LayerConfig, LayerLock, Lease, Store, StoreError};
use crate::vfs::{Fs, VfsError};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a layer is waited for that isn't seen mounted: its process is ending, or it is one that runs a command on the layer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A filesystem in use, with what must live as long as it does.
#[derive(Debug)]
pub struct Holding {
    store: Store,
    fs: Arc<Fs>,
    /// `None` once it is closed.
    lease: Mutex<Option<Lease>>,
    kept: Option<Kept>,
    /// The last snapshot, which the next one follows.
    parent: Mutex<Option<Digest>>,
    _memory: Option<Memory>,
}

#[derive(Debug)]
struct Kept {
    lock: LayerLock,
    config: Mutex<LayerConfig>,
}

impl Holding {
    /// A manifest alone: nothing can be changed.
    pub fn read_only(store: &Store, manifest: Digest, purpose: &str) -> Result<Self, VfsError> {
        let lease = store.lease(purpose, &[manifest])?;
        Ok(Self::new(store, Fs::read_only(store, manifest)?, lease, None, None))
    }

    /// A manifest with a layer in memory.
    pub fn in_memory(store: &Store, manifest: Digest, purpose: &str) -> Result<Self, VfsError> {
        let lease = store.lease(purpose, &[manifest])?;
        let memory = Memory::new(0)?;
        let layer = Layer::open(memory.path())?;
        Ok(Self::new(store, Fs::with_layer(store, manifest, layer)?, lease, None, Some(memory)))
    }

    /// A layer of the store on its base; refused while another process has it.
    pub fn layer(store: &Store, name: &LayerName, purpose: &str) -> Result<Self, VfsError> {
        let lock = lock(store, name, purpose)?;
        let config = store.layer(name)?;
        let needed: Vec<Digest> = config.roots().collect();
        let lease = store.lease(purpose, &needed)?;
        let layer = Layer::open(&store.layer_dir(name))?;
        let fs = Fs::with_layer(store, config.base, layer)?;
        Ok(Self::new(store, fs, lease, Some(Kept { lock, config: Mutex::new(config) }), None))
    }

    fn new(store: &Store, fs: Fs, lease: Lease, kept: Option<Kept>, memory: Option<Memory>) -> Self {
        let parent = kept.as_ref().and_then(|kept| kept.config.lock().parent);
        Self {
            store: store.clone(),
            fs: Arc::new(fs),
            lease: Mutex::new(Some(lease)),
            kept,
            parent: Mutex::new(parent),
            _memory: memory,
        }
    }

    /// The filesystem.
    pub fn fs(&self) -> &Arc<Fs> {
        &self.fs
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Gives up some of what the layer has in reserve for a full disk. Returns whether there was any.
    pub fn make_room(&self) -> bool {
        self.fs.layer().is_some_and(Layer::make_room)
    }

    /// Makes a manifest of the layer and points `name` at it.
    pub fn snapshot(&self, name: &RefName) -> Result<snapshot::Report, SnapshotError> {
        self.snapshot_on_course(name, &Arc::default())
    }

    /// The same, unless `course` is stopped before it is published: then all is as it was.
    pub fn snapshot_on_course(&self, name: &RefName, course: &Arc<Course>) -> Result<snapshot::Report, SnapshotError> {
        let request = snapshot::Request {
            name: name.clone(),
            labels: self.labels(),
            created_at: None,
            parent: *self.parent.lock(),
        };
        let before = request.parent;
        let taken = snapshot::take_on_course(&self.fs, &request, course, &mut |manifest| Ok(self.pin(manifest)?));
        if taken.is_err() {
            self.unpin(before);
        }
        taken
    }

    /// After a snapshot that failed: what it pinned isn't needed, and the next one follows `before` again.
    fn unpin(&self, before: Option<Digest>) {
        let mut parent = self.parent.lock();
        if *parent == before {
            return;
        }
        if let Some(kept) = &self.kept {
            let mut config = kept.config.lock();
            let next = LayerConfig { parent: before, ..config.clone() };
            if let Err(error) = self.store.write_layer(&kept.lock, &next) {
                // It costs room, and the next snapshot follows one that has no name.
                tracing::warn!(%error, "the layer keeps the objects of a snapshot that failed");
                return;
            }
            *config = next;
        }
        *parent = before;
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let project = self.kept.as_ref().and_then(|kept| kept.config.lock().project.clone());
        project.map(|project| ("project".to_owned(), project)).into_iter().collect()
    }

    /// Makes collections keep a snapshot of the layer, from before this returns and for as long as the layer lives.
    fn pin(&self, manifest: Digest) -> Result<(), StoreError> {
        if let Some(lease) = &*self.lease.lock() {
            lease.keep(manifest)?;
        }
        if let Some(kept) = &self.kept {
            let mut config = kept.config.lock();
            let next = LayerConfig { parent: Some(manifest), ..config.clone() };
            self.store.write_layer(&kept.lock, &next)?;
            *config = next;
        }
        *self.parent.lock() = Some(manifest);
        Ok(())
    }

    /// Puts everything on disk, closes the layer in good order, and lets go of the objects. Nothing may use the filesystem any more; the
    /// layer's lock stays until the value is dropped.
    pub fn close(&self) -> Result<(), VfsError> {
        let closed = self.fs.close();
        self.lease.lock().take();
        closed
    }
}

/// Whether a live mount of the layer is to be seen. Its record alone doesn't tell: it stays until the process has put everything on disk.
fn is_mounted(store: &Store, name: &LayerName) -> Result<bool, StoreError> {
    let table = fuse::mounts().unwrap_or_default();
    let seen = |place: &Path| table.iter().any(|mount| mount.mountpoint == place);
    let mounts = store.mounts()?;
    Ok(mounts
        .iter()
        .any(|mount| mount.alive && mount.record.layer.as_ref() == Some(name) && seen(&mount.record.mountpoint)))
}

/// Takes a layer's lock: at once refused while a live mount has it, else waited for.
fn lock(store: &Store, name: &LayerName, purpose: &str) -> Result<LayerLock, StoreError> {
    let start = Instant::now();
    loop {
        let busy = match store.lock_layer(name, purpose) {
            Err(busy @ StoreError::LayerBusy { .. }) => busy,
            taken => return taken,
        };
        if is_mounted(store, name)? || start.elapsed() > PATIENCE {
            return Err(busy);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
