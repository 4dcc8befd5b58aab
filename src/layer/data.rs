//! The layer's data files: `data/XX/INO.GEN`, the content of one dirty file each (numbers in hexadecimal, `XX` the inode's low byte).
//!
//! Invariants: a data file is complete before the record that names it is committed, and removed only after the record that named it is
//! gone from the disk (what isn't synced may come back after a power cut); so a crash leaves at most files that no record names, which
//! [`DataDir::sweep`] removes. Owner and mode are the daemon's: what the mount shows is in the record.
//!
//! The kernel tells of a failed write-back once and calls the bytes written from then on, so after one that failed no sync proves
//! anything: content whose sync failed is *lost* until it is made anew, or cut to nothing, and every sync of it fails.

use super::error::LayerError;
use crate::format::{Ino, Timestamp};
use crate::locks::Mutex;
use crate::sys::syncfs::syncfs;
use rustix::fs::{AtFlags, Mode as FileMode, OFlags, Timespec, Timestamps, UTIME_OMIT, openat, utimensat};
use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Which data file: an inode and the generation of its content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DataId {
    /// The inode.
    pub ino: Ino,
    /// Which copy-up of it.
    pub generation: u32,
}

/// The `data` folder of a layer.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Opened before anything was written, so that it hears of every write that fails.
    host: File,
    /// A write to the host's filesystem has failed since.
    host_lost: AtomicBool,
    lost: Mutex<HashSet<DataId>>,
    /// A folder was made in it that isn't known to be on disk.
    grown: AtomicBool,
}

impl DataDir {
    /// Opens the folder, or creates it.
    pub fn open(path: PathBuf) -> Result<Self, LayerError> {
        let failed = |action| {
            let path = path.clone();
            move |source| LayerError::Data { action, path, source }
        };
        fs::create_dir_all(&path).map_err(failed("create"))?;
        let host = File::open(&path).map_err(failed("open"))?;
        Ok(Self { path, host, host_lost: AtomicBool::new(false), lost: Mutex::default(), grown: AtomicBool::new(true) })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn shard(&self, id: DataId) -> PathBuf {
        self.path.join(shard_name(id))
    }

    /// Where a data file is.
    pub fn file_path(&self, id: DataId) -> PathBuf {
        self.path.join(relative(id))
    }

    /// Creates an empty data file, replacing what a crash may have left there, and opens it for reading and writing.
    pub fn create(&self, id: DataId) -> Result<File, LayerError> {
        self.make(id, OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC)
    }

    /// The same, opened for reading alone: a descriptor that may stay open while the file has no writer.
    pub fn create_to_read(&self, id: DataId) -> Result<File, LayerError> {
        let make = || self.make(id, OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL);
        match make() {
            Err(LayerError::Data { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                self.remove(id)?;
                make()
            }
            other => other,
        }
    }

    fn make(&self, id: DataId, flags: OFlags) -> Result<File, LayerError> {
        let open = || self.open_at(id, flags);
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = fs::create_dir_all(self.shard(id));
                self.grown.store(true, Ordering::Release);
                made.and_then(|()| open())
            }
            other => other,
        };
        self.renewed(id);
        file.map_err(|source| LayerError::Data { action: "create", path: self.file_path(id), source })
    }

    /// Opens by the folder's descriptor: the way to the store needn't be walked each time.
    fn open_at(&self, id: DataId, flags: OFlags) -> io::Result<File> {
        let owner = FileMode::RUSR | FileMode::WUSR;
        Ok(openat(&self.host, relative(id), flags | OFlags::CLOEXEC, owner)?.into())
    }

    /// The content is nothing now, or other than it was: what was lost of it isn't missed.
    pub fn renewed(&self, id: DataId) {
        self.lost.lock().remove(&id);
    }

    /// Puts the content on disk that `file` is open on; without its times when `data_only`. An error from the first failure on.
    pub fn sync_file(&self, id: DataId, file: &File, data_only: bool) -> Result<(), LayerError> {
        let failed = |source| LayerError::Data { action: "sync", path: self.file_path(id), source };
        if self.lost.lock().contains(&id) {
            return Err(LayerError::Lost { path: self.file_path(id) });
        }
        let synced = if data_only { file.sync_data() } else { file.sync_all() };
        synced.map_err(|source| {
            self.lost.lock().insert(id);
            failed(source)
        })
    }

    /// Puts all on disk that the host's filesystem has of the layer. An error from the first failure on.
    pub fn sync_host(&self) -> Result<(), LayerError> {
        if self.host_lost.load(Ordering::Acquire) {
            return Err(LayerError::Lost { path: self.path.clone() });
        }
        syncfs(&self.host).map_err(|source| {
            self.host_lost.store(true, Ordering::Release);
            LayerError::Data { action: "sync", path: self.path.clone(), source }
        })
    }

    /// Opens a data file for reading and writing.
    pub fn open_file(&self, id: DataId) -> Result<File, LayerError> {
        self.open_at(id, OFlags::RDWR).map_err(|source| self.cannot_open(id, source))
    }

    /// Opens a data file for reading.
    pub fn open_to_read(&self, id: DataId) -> Result<File, LayerError> {
        self.open_at(id, OFlags::RDONLY).map_err(|source| self.cannot_open(id, source))
    }

    fn cannot_open(&self, id: DataId, source: io::Error) -> LayerError {
        LayerError::Data { action: "open", path: self.file_path(id), source }
    }

    /// Sets the time of the last change of a data file's content.
    pub fn set_mtime(&self, id: DataId, to: Timestamp) -> Result<(), LayerError> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: to.secs(), tv_nsec: to.nanos().into() },
        };
        utimensat(&self.host, relative(id), &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| LayerError::Data {
            action: "set the time of",
            path: self.file_path(id),
            source: errno.into(),
        })
    }

    /// Size, blocks and times of a data file.
    pub fn metadata(&self, id: DataId) -> Result<fs::Metadata, LayerError> {
        let path = self.file_path(id);
        fs::symlink_metadata(&path).map_err(|source| LayerError::Data { action: "examine", path, source })
    }

    /// Removes a data file that no record names any more. One that is gone already is fine.
    pub fn remove(&self, id: DataId) -> Result<(), LayerError> {
        let path = self.file_path(id);
        self.renewed(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(LayerError::Data { action: "remove", path, source: error })
            }
            _ => Ok(()),
        }
    }

    /// Makes the names of data files durable.
    pub fn sync_names(&self, ids: &[DataId]) -> Result<(), LayerError> {
        let shards: BTreeSet<PathBuf> = ids.iter().map(|id| self.shard(*id)).collect();
        for shard in shards {
            sync_folder(&shard)?;
        }
        if self.grown.swap(false, Ordering::AcqRel) {
            sync_folder(&self.path).inspect_err(|_| self.grown.store(true, Ordering::Release))?;
        }
        Ok(())
    }

    /// Removes every data file that `named` doesn't want; foreign names are left. Returns how many went.
    pub fn sweep(&self, named: impl Fn(DataId) -> bool) -> Result<u64, LayerError> {
        let mut removed = 0;
        self.each(&mut |listed| {
            if let Listed::Data(id) = listed
                && !named(id)
            {
                self.remove(id)?;
                removed += 1;
            }
            Ok(())
        })?;
        Ok(removed)
    }

    /// Lists the folder, in no order.
    pub fn each(&self, visit: &mut dyn FnMut(Listed) -> Result<(), LayerError>) -> Result<(), LayerError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| LayerError::Data { action: "list", path, source }
        };
        for shard in fs::read_dir(&self.path).map_err(failed(&self.path))? {
            let shard = shard.map_err(failed(&self.path))?.path();
            if !shard.is_dir() {
                visit(Listed::Foreign(shard))?;
                continue;
            }
            for file in fs::read_dir(&shard).map_err(failed(&shard))? {
                let path = file.map_err(failed(&shard))?.path();
                let id = path.file_name().and_then(|name| parse(&name.to_string_lossy()));
                visit(match id.filter(|&id| self.file_path(id) == path) {
                    Some(id) => Listed::Data(id),
                    None => Listed::Foreign(path),
                })?;
            }
        }
        Ok(())
    }
}

/// What is in the `data` folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listed {
    /// A data file, by its name.
    Data(DataId),
    /// Something that isn't named as a data file is.
    Foreign(PathBuf),
}

fn shard_name(id: DataId) -> String {
    format!("{:02x}", id.ino.0 & 0xff)
}

/// Where a data file is in the folder.
fn relative(id: DataId) -> String {
    format!("{}/{:x}.{:x}", shard_name(id), id.ino.0, id.generation)
}

fn sync_folder(path: &Path) -> Result<(), LayerError> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|source| LayerError::Data { action: "sync", path: path.to_owned(), source })
}

fn parse(name: &str) -> Option<DataId> {
    let (ino, generation) = name.split_once('.')?;
    Some(DataId { ino: Ino(u64::from_str_radix(ino, 16).ok()?), generation: u32::from_str_radix(generation, 16).ok()? })
}
