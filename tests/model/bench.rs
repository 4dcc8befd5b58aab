//! Where the machines are: a disk with ext4, a store on it with one base that has the starting tree many times, and layers.

use super::machine::make_starting_tree;
use super::op::UMASK;
use super::skip::possible;
use cairnfs::format::Digest;
use cairnfs::ingest::{ImportOptions, Progress, import_dir};
use cairnfs::layer::Layer;
use cairnfs::snapshot;
use cairnfs::store::Store;
use cairnfs::vfs::{Copying, Fs, VfsError};
use nix::mount::{MntFlags, umount2};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

/// Copies of the starting tree in the base: as many sequences run on one layer.
pub const CLONES: usize = 40;
/// The disk's size; its image is sparse, in memory where there is some.
const DISK_BYTES: u64 = 3 << 30;

/// An ext4 that keeps access times as they are set, as a mount of the filesystem does.
struct Disk {
    at: PathBuf,
}

impl Disk {
    fn make(folder: &Path) -> Self {
        let (image, at) = (folder.join("image"), folder.join("disk"));
        std::fs::create_dir(&at).unwrap();
        std::fs::File::create(&image).unwrap().set_len(DISK_BYTES).unwrap();
        run("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=1"], &[&image]);
        run("mount", &["-o", "loop,noatime,nodev"], &[&image, &at]);
        Self { at }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Nothing more can be done about one that is still in use.
        let _ended = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

fn run(program: &str, options: &[&str], paths: &[&Path]) {
    let output = Command::new(program).args(options).args(paths).output();
    let output = output.unwrap_or_else(|error| panic!("{program} doesn't run: {error}; scripts/setup installs it"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Owns the disk and all on it.
pub struct Bench {
    pub store: Store,
    pub base: Digest,
    pub clones: usize,
    pub disk: PathBuf,
    count: AtomicU64,
    // Dropped in this order.
    _disk: Disk,
    _folder: TempDir,
}

/// A layer's folder, which goes away with the value.
pub struct LayerDir {
    pub path: PathBuf,
}

impl Drop for LayerDir {
    fn drop(&mut self) {
        // The disk goes as a whole after that.
        let _gone = std::fs::remove_dir_all(&self.path);
    }
}

/// Loop devices and owners other than oneself need root.
pub fn can_run() -> bool {
    possible(&[])
}

impl Bench {
    pub fn new(clones: usize) -> Arc<Self> {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(UMASK));
        let memory = Path::new("/dev/shm");
        let temporary = std::env::temp_dir();
        let folder =
            TempDir::with_prefix_in("cairnfs-model-", if memory.is_dir() { memory } else { &temporary }).unwrap();
        let disk = Disk::make(folder.path());
        let source = disk.at.join("source");
        std::fs::create_dir(&source).unwrap();
        for number in 0..clones {
            make_starting_tree(&source.join(Self::clone_name(number)));
        }
        let store = Store::init(&disk.at.join("store")).unwrap();
        let mut options = ImportOptions::new("base".parse().unwrap());
        options.created_at = Some("2026-01-01T00:00:00Z".to_owned());
        let base = import_dir(&store, &source, &options, &Progress::default()).unwrap().manifest;
        std::fs::remove_dir_all(&source).unwrap();
        let at = disk.at.clone();
        Arc::new(Self { store, base, clones, disk: at, count: AtomicU64::new(0), _disk: disk, _folder: folder })
    }

    /// What the starting tree is called in the base, each time.
    pub fn clone_name(number: usize) -> String {
        format!("s{number:03}")
    }

    pub fn number(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    pub fn layer(&self) -> LayerDir {
        let path = self.disk.join(format!("layer{}", self.number()));
        std::fs::create_dir(&path).unwrap();
        LayerDir { path }
    }

    pub fn open(&self, base: Digest, layer: &LayerDir) -> Fs {
        let fs = Fs::with_layer(&self.store, base, Layer::open(&layer.path).unwrap()).unwrap();
        // Every second time; what was copied up before stays as it is, so layers have both.
        if self.number() % 2 == 1 {
            fs.copy_by(Copying::Range);
        }
        fs
    }

    /// Takes a snapshot, or fails to at the last moment.
    pub fn snapshot(&self, fs: &Fs, succeeds: bool) -> Result<Digest, String> {
        let request = snapshot::Request {
            name: format!("snap{}", self.number()).parse().unwrap(),
            labels: Default::default(),
            created_at: None,
            parent: None,
        };
        let pin = &mut |_| if succeeds { Ok(()) } else { Err(VfsError::Busy("a test").into()) };
        snapshot::take(fs, &request, pin).map(|report| report.manifest).map_err(|error| format!("{error:?}"))
    }
}
