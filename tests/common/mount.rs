//! Mounts served by the test's own process.

use super::spec::Spec;
use cairnfs::format::Digest;
use cairnfs::fuse::{ControlFiles, MetricsSnapshot, MountOptions, Mounted, Unmounted};
use cairnfs::layer::Layer;
use cairnfs::store::Store;
use cairnfs::vfs::Fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// A store, a manifest in it, and room for layers, in a folder that goes away with the value.
pub struct Bench {
    folder: TempDir,
    pub store: Store,
    pub manifest: Digest,
}

impl Bench {
    pub fn new(spec: &Spec) -> Arc<Self> {
        let folder = TempDir::with_prefix("cairnfs-test-").unwrap();
        let store = Store::init(&folder.path().join("store")).unwrap();
        let manifest = spec.store(&store);
        Arc::new(Self { folder, store, manifest })
    }

    pub fn layer_path(&self, name: &str) -> PathBuf {
        self.folder.path().join("layers").join(name)
    }

    /// The filesystem without a layer.
    pub fn read_only(&self) -> Arc<Fs> {
        Arc::new(Fs::read_only(&self.store, self.manifest).unwrap())
    }

    /// The filesystem with a layer, made if it isn't there.
    pub fn with_layer(&self, name: &str) -> Arc<Fs> {
        let path = self.layer_path(name);
        std::fs::create_dir_all(&path).unwrap();
        let layer = Layer::open(&path).unwrap();
        Arc::new(Fs::with_layer(&self.store, self.manifest, layer).unwrap())
    }
}

/// A mount, ended by force when the value is dropped, also when the test fails.
pub struct TestMount {
    // Dropped in this order: first the mount, then the directory under it.
    mounted: Option<Mounted>,
    mountpoint: TempDir,
    pub bench: Arc<Bench>,
    pub fs: Arc<Fs>,
}

impl TestMount {
    pub fn read_only(spec: &Spec) -> Self {
        let bench = Bench::new(spec);
        let fs = bench.read_only();
        Self::mount(&bench, fs, |_| {}, None)
    }

    pub fn writable(spec: &Spec) -> Self {
        let bench = Bench::new(spec);
        let fs = bench.with_layer("layer");
        Self::mount(&bench, fs, |_| {}, None)
    }

    /// Mounts what is given, with other options or a control directory.
    pub fn mount(
        bench: &Arc<Bench>,
        fs: Arc<Fs>,
        choose: impl FnOnce(&mut MountOptions),
        control: Option<Arc<dyn ControlFiles>>,
    ) -> Self {
        let mountpoint = TempDir::with_prefix("cairnfs-mount-").unwrap();
        let mut options = MountOptions::new("test/ref");
        options.read_only = fs.is_read_only();
        choose(&mut options);
        let mounted = Mounted::mount(Arc::clone(&fs), control, mountpoint.path(), &options).unwrap();
        Self { mounted: Some(mounted), mountpoint, bench: Arc::clone(bench), fs }
    }

    /// Unmounts, waits for the end, and mounts the same layer again elsewhere.
    pub fn remount(self) -> Self {
        let bench = Arc::clone(&self.bench);
        let read_only = self.fs.is_read_only();
        self.stop();
        let fs = if read_only { bench.read_only() } else { bench.with_layer("layer") };
        Self::mount(&bench, fs, |_| {}, None)
    }

    /// Unmounts. Nothing may be open any more.
    pub fn stop(mut self) {
        let mounted = self.mounted.take().unwrap();
        let handle = mounted.handle();
        // A program that another test is just starting may hold copies of this process's files for a moment.
        if mounted.unmount().unwrap() == Unmounted::WhenLastUserLeaves {
            super::wait_until("the mount has ended", || handle.has_ended());
        }
    }

    pub fn mounted(&self) -> &Mounted {
        self.mounted.as_ref().unwrap()
    }

    /// Takes the mount out, for tests of its end; nothing unmounts it any more but what the test does.
    pub fn take(&mut self) -> Mounted {
        self.mounted.take().unwrap()
    }

    pub fn root(&self) -> &Path {
        self.mountpoint.path()
    }

    /// Where `path` of the mounted tree is.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// Waits until the kernel has told of all closes but those of `live` descriptors, which it does after close(2) has returned.
    pub fn wait_until_open(&self, live: usize) {
        super::wait_until("the kernel has told of the closes", || self.fs.open_handles() == live);
    }

    pub fn metrics(&self) -> MetricsSnapshot {
        self.mounted().handle().metrics().snapshot()
    }

    /// The count of an operation or event so far.
    pub fn count(&self, name: &str) -> u64 {
        self.metrics().count(name).expect("such a counter exists")
    }
}
