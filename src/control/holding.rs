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
        match &taken {
            Ok(report) if report.rebased => self.drop_pins(),
            Ok(_) => {}
            Err(_) => self.unpin(before),
        }
        taken
    }

    /// After a snapshot that all content of the layer has come to stand on: the former ones aren't needed.
    fn drop_pins(&self) {
        let Some(kept) = &self.kept else { return };
        let mut config = kept.config.lock();
        if config.pins.is_empty() {
            return;
        }
        let next = LayerConfig { pins: Vec::new(), ..config.clone() };
        match self.store.write_layer(&kept.lock, &next) {
            Ok(()) => *config = next,
            // It costs room, until the next snapshot.
            Err(error) => tracing::warn!(%error, "the layer keeps the objects of its former snapshot"),
        }
    }

    /// After a snapshot that failed: what it pinned isn't needed, and the next one follows `before` again.
    fn unpin(&self, before: Option<Digest>) {
        let mut parent = self.parent.lock();
        if *parent == before {
            return;
        }
        if let Some(kept) = &self.kept {
            let mut config = kept.config.lock();
            let pins = config.pins.iter().copied().filter(|pin| Some(*pin) != before).collect();
            let next = LayerConfig { parent: before, pins, ..config.clone() };
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

    /// Makes collections keep a snapshot of the layer, from before this returns and for as long as the layer lives. The one before is pinned where
    /// content may be partly in its blobs: until [`Fs::rebase`] has moved that to the new one's, and the disk has it.
    fn pin(&self, manifest: Digest) -> Result<(), StoreError> {
        if let Some(lease) = &*self.lease.lock() {
            lease.keep(manifest)?;
        }
        if let Some(kept) = &self.kept {
            let mut config = kept.config.lock();
            let mut next = LayerConfig { parent: Some(manifest), ..config.clone() };
            let former = config.parent.filter(|former| *former != manifest && !config.pins.contains(former));
            if self.fs.layer().is_some_and(Layer::knows_partial) {
                next.pins.extend(former);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Ino, Name};
    use crate::gc;
    use crate::ingest::{ImportOptions, Progress, import_dir};
    use crate::vfs::{Copying, OpenMode};
    use std::fs;

    fn holding(store: &Store) -> Holding {
        let holding = Holding::layer(store, &"layer".parse().unwrap(), "test").unwrap();
        holding.fs().copy_by(Copying::Range);
        holding
    }

    fn open(fs: &Fs, write: bool) -> crate::vfs::HandleId {
        let ino = fs.lookup(Ino::ROOT, Name::new(b"file").unwrap()).unwrap().unwrap().ino;
        fs.open(ino, OpenMode { write, truncate: false }).unwrap().handle
    }

    fn write(fs: &Fs, at: u64, bytes: &[u8]) {
        let handle = open(fs, true);
        fs.write(handle, at, bytes).unwrap();
        fs.release(handle);
    }

    fn read(fs: &Fs) -> Vec<u8> {
        let handle = open(fs, false);
        let mut bytes = vec![0; 100_000];
        let count = fs.read(handle, 0, &mut bytes).unwrap();
        fs.release(handle);
        bytes.truncate(count);
        bytes
    }

    fn pins(store: &Store) -> Vec<Digest> {
        store.layer(&"layer".parse().unwrap()).unwrap().pins
    }

    #[test]
    fn a_snapshot_is_kept_for_as_long_as_content_is_partly_in_its_blobs() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), vec![b'b'; 50_000]).unwrap();
        let store = Store::init(&folder.path().join("store")).unwrap();
        let options = ImportOptions::new("base".parse().unwrap());
        let base = import_dir(&store, &source, &options, &Progress::default()).unwrap().manifest;
        store.create_layer(&LayerConfig::new("layer".parse().unwrap(), base, String::new())).unwrap();

        let first: RefName = "first".parse().unwrap();
        let held = holding(&store);
        write(held.fs(), 0, b"first");
        let taken = held.snapshot(&first).unwrap().manifest;
        write(held.fs(), 20_000, b"partly in the first");
        let right = read(held.fs());
        // The second one is cut off when it has become the layer's parent, before the layer has moved to it.
        let request = snapshot::Request {
            name: "second".parse().unwrap(),
            labels: BTreeMap::new(),
            created_at: None,
            parent: Some(taken),
        };
        let cut_off = snapshot::take(held.fs(), &request, &mut |manifest| {
            held.pin(manifest)?;
            Err(VfsError::Busy("a crash").into())
        });
        assert!(cut_off.is_err());
        drop(held);
        store.remove_ref(&first).unwrap();
        let now = gc::Options { grace: Duration::ZERO, dry_run: false, allow_no_roots: false };
        gc::collect(&store, &now, &|_| {}).unwrap();

        let held = holding(&store);
        assert_eq!(read(held.fs()), right);
        assert_eq!(pins(&store), [taken]);
        // The next one takes all of it.
        held.snapshot(&"third".parse().unwrap()).unwrap();
        assert!(pins(&store).is_empty(), "what isn't needed any more is kept");
        held.close().unwrap();
        drop(held);
        gc::collect(&store, &now, &|_| {}).unwrap();
        assert_eq!(read(holding(&store).fs()), right);
    }
}
