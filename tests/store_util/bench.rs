//! A layer on a disk whose power can be cut, used without a mount.
#![allow(dead_code, reason = "each test program uses a part")]

use super::disk::Disk;
use super::skip::possible;
use cairnfs::format::{Digest, Name};
use cairnfs::ingest::{ImportOptions, Progress, import_dir};
use cairnfs::layer::{Layer, LayerError};
use cairnfs::store::Store;
use cairnfs::vfs::{Caller, Copying, Fs, OpenMode};
use std::path::PathBuf;

pub const ROOT: Caller = Caller { uid: 0, gid: 0, pid: 0 };
pub const WRITE: OpenMode = OpenMode { write: true, truncate: false };
/// Of the file `base`.
pub const LENGTH: usize = 100_000;

/// A store with a layer on a disk, whose base has the file `base`. Where that is copied up by range, its blocks have 4096 bytes.
pub struct Bench {
    disk: Disk,
    pub manifest: Digest,
    copying: Copying,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// `None` where power can't be cut.
    pub fn new(copying: Copying) -> Option<Self> {
        Self::on("ext4", copying)
    }

    /// The same on another filesystem.
    pub fn on(kind: &str, copying: Copying) -> Option<Self> {
        if !possible(&["xfs_io", &format!("mkfs.{kind}")]) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("base"), base()).unwrap();
        let disk = Disk::make(folder.path(), kind).unwrap();
        let store = Store::init(&disk.store()).unwrap();
        let options = ImportOptions::new("base".parse().unwrap());
        let manifest = import_dir(&store, &source, &options, &Progress::default()).unwrap().manifest;
        Some(Self { disk, manifest, copying, _folder: folder })
    }

    pub fn store(&self) -> Store {
        Store::open(&self.disk.store()).unwrap()
    }

    pub fn layer(&self) -> PathBuf {
        self.disk.at.join("layer")
    }

    pub fn try_open(&self) -> Result<Layer, LayerError> {
        Layer::open(&self.layer())
    }

    pub fn open(&self) -> Fs {
        let fs = Fs::with_layer(&self.store(), self.manifest, self.try_open().unwrap()).unwrap();
        fs.copy_by(self.copying);
        fs
    }

    /// Cuts power under `fs`, and opens the layer that is left. With the log flushed, names are newer than content.
    pub fn cut(&self, fs: Fs, flush_log: bool) -> Fs {
        self.disk.cut_power(flush_log);
        drop(fs);
        self.disk.restart();
        self.open()
    }
}

/// The content of the file `base`.
pub fn base() -> Vec<u8> {
    vec![b'b'; LENGTH]
}

pub fn name(text: &str) -> Name<'_> {
    Name::new(text.as_bytes()).unwrap()
}
