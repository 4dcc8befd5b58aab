//! The layer's data files: `data/XX/INO.GEN`, the content of one dirty file each (numbers in hexadecimal, `XX` the inode's low byte).
//!
//! Invariants: a data file is complete before the record that names it is committed, and removed only after the record that named it is
//! gone; so a crash leaves at most files that no record names, which [`DataDir::sweep`] removes. Owner and mode are the
//! daemon's: what the mount shows is in the record.

use super::error::LayerError;
use crate::format::Ino;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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
}

impl DataDir {
    /// Opens the folder, or creates it.
    pub fn open(path: PathBuf) -> Result<Self, LayerError> {
        fs::create_dir_all(&path).map_err(|source| LayerError::Data {
            action: "create",
            path: path.clone(),
            source,
        })?;
        Ok(Self { path })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn shard(&self, id: DataId) -> PathBuf {
        self.path.join(format!("{:02x}", id.ino.0 & 0xff))
    }

    /// Where a data file is.
    pub fn file_path(&self, id: DataId) -> PathBuf {
        self.shard(id).join(format!("{:x}.{:x}", id.ino.0, id.generation))
    }

    /// Creates an empty data file, replacing what a crash may have left there.
    pub fn create(&self, id: DataId) -> Result<File, LayerError> {
        let path = self.file_path(id);
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(self.shard(id)).and_then(|()| open())
            }
            other => other,
        };
        file.map_err(|source| LayerError::Data { action: "create", path, source })
    }

    /// Opens a data file for reading and writing.
    pub fn open_file(&self, id: DataId) -> Result<File, LayerError> {
        let path = self.file_path(id);
        OpenOptions::new().read(true).write(true).open(&path).map_err(|source| LayerError::Data {
            action: "open",
            path,
            source,
        })
    }

    /// Opens a data file for reading.
    pub fn open_to_read(&self, id: DataId) -> Result<File, LayerError> {
        let path = self.file_path(id);
        File::open(&path).map_err(|source| LayerError::Data { action: "open", path, source })
    }

    /// Size, blocks and times of a data file.
    pub fn metadata(&self, id: DataId) -> Result<fs::Metadata, LayerError> {
        let path = self.file_path(id);
        fs::symlink_metadata(&path).map_err(|source| LayerError::Data { action: "examine", path, source })
    }

    /// Removes a data file that no record names any more. One that is gone already is fine.
    pub fn remove(&self, id: DataId) -> Result<(), LayerError> {
        let path = self.file_path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(LayerError::Data { action: "remove", path, source: error })
            }
            _ => Ok(()),
        }
    }

    /// Makes the name of a data file durable.
    pub fn sync_name(&self, id: DataId) -> Result<(), LayerError> {
        let path = self.shard(id);
        File::open(&path).and_then(|dir| dir.sync_all()).map_err(|source| LayerError::Data {
            action: "sync the folder of",
            path,
            source,
        })
    }

    /// Removes every data file that `named` doesn't want; foreign names are left. Returns how many went.
    pub fn sweep(&self, named: impl Fn(DataId) -> bool) -> Result<u64, LayerError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| LayerError::Data { action: "list", path, source }
        };
        let mut removed = 0;
        for shard in fs::read_dir(&self.path).map_err(failed(&self.path))? {
            let shard = shard.map_err(failed(&self.path))?.path();
            if !shard.is_dir() {
                continue;
            }
            for file in fs::read_dir(&shard).map_err(failed(&shard))? {
                let file = file.map_err(failed(&shard))?;
                if let Some(id) = parse(&file.file_name().to_string_lossy())
                    && self.file_path(id) == file.path()
                    && !named(id)
                {
                    self.remove(id)?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }
}

fn parse(name: &str) -> Option<DataId> {
    let (ino, generation) = name.split_once('.')?;
    Some(DataId { ino: Ino(u64::from_str_radix(ino, 16).ok()?), generation: u32::from_str_radix(generation, 16).ok()? })
}
