//! What is mounted from a store: `run/ID.json`, one record per mount, flocked by its daemon from before the record has a name. So a record that isn't
//! locked is of a dead daemon, whatever process has its number now.

use super::error::{Context, Result, StoreError, found};
use super::publish::{Pending, set_mode};
use super::{Store, publish};
use crate::format::{Digest, LayerName};
use crate::sys::{flock, plain};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// A mount.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MountRecord {
    /// Names the mount's files in `run/`.
    pub id: String,
    /// The daemon.
    pub pid: u32,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// What was asked for: a ref, or a digest.
    pub reference: String,
    /// The manifest that is mounted.
    pub manifest: Digest,
    /// The layer, if it is kept.
    pub layer: Option<LayerName>,
    /// Whether writes go to memory.
    pub tmpfs: bool,
    /// The control socket.
    pub socket: PathBuf,
    /// The daemon's log.
    pub log: PathBuf,
    /// When it was mounted.
    pub started_unix_ms: u64,
}

/// A mount, and whether its daemon lives.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MountInfo {
    /// What the daemon wrote.
    #[serde(flatten)]
    pub record: MountRecord,
    /// Whether it lives.
    pub alive: bool,
}

/// Keeps a mount's record while it lives; dropped, record and socket are removed. To be made by the daemon itself, after it forked.
#[derive(Debug)]
pub struct MountGuard {
    record: PathBuf,
    socket: PathBuf,
    pid: u32,
    _locked: File,
}

impl Store {
    /// `run/`.
    pub fn run_dir(&self) -> PathBuf {
        self.layout().run()
    }

    /// A name for a new mount, short enough for a socket's path.
    pub fn new_mount_id(&self) -> String {
        // Time, process and a count, told apart by a digest of them.
        Digest::of(publish::unique().as_bytes()).short()
    }

    /// Where a mount's control socket is.
    pub fn socket_path(&self, id: &str) -> PathBuf {
        self.layout().run_file(id, "sock")
    }

    /// Where a mount's log is.
    pub fn log_path(&self, id: &str) -> PathBuf {
        self.layout().run_file(id, "log")
    }

    /// Makes a mount known.
    pub fn publish_mount(&self, record: &MountRecord) -> Result<MountGuard> {
        let path = self.layout().run_file(&record.id, "json");
        let pending = Pending::create(self)?;
        flock::exclusive(&pending.file).context("lock", &path)?;
        let text = serde_json::to_vec(record).map_err(|why| StoreError::io("encode", &path, why.into()))?;
        (&pending.file).write_all(&text).context("write", &path)?;
        set_mode(&pending.file, 0o644).context("write", &path)?;
        if !pending.publish_new(&path)? {
            return Err(StoreError::io("create", &path, std::io::ErrorKind::AlreadyExists.into()));
        }
        let locked = pending.file.try_clone().context("open", &path)?;
        Ok(MountGuard { record: path, socket: record.socket.clone(), pid: std::process::id(), _locked: locked })
    }

    /// All mounts, those of dead daemons included, oldest first.
    pub fn mounts(&self) -> Result<Vec<MountInfo>> {
        let folder = self.run_dir();
        let mut mounts = Vec::new();
        for entry in fs::read_dir(&folder).context("list", &folder)? {
            let path = entry.context("list", &folder)?.path();
            if path.extension().is_some_and(|kind| kind == "json") {
                mounts.extend(read(&path)?);
            }
        }
        mounts.sort_by_key(|mount| mount.record.started_unix_ms);
        Ok(mounts)
    }

    /// Removes what a dead daemon left in `run/`, its log included. `false` when the daemon lives, or nothing is there.
    pub fn forget_dead_mount(&self, id: &str) -> Result<bool> {
        let path = self.layout().run_file(id, "json");
        match read(&path)? {
            Some(mount) if !mount.alive => {
                for left in [self.socket_path(id), self.log_path(id), path] {
                    found(fs::remove_file(&left)).context("remove", &left)?;
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// `None` when it is gone, or was cut off by a power failure.
fn read(path: &Path) -> Result<Option<MountInfo>> {
    let Some(mut file) = found(plain::open(path)).context("open", path)? else { return Ok(None) };
    let alive = !flock::try_shared(&file).context("lock", path)?;
    let mut text = String::new();
    file.read_to_string(&mut text).context("read", path)?;
    Ok(serde_json::from_str(&text).ok().map(|record| MountInfo { record, alive }))
}

impl Drop for MountGuard {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            // What stays behind is unlocked, and thereby known to be dead.
            let _ = fs::remove_file(&self.socket);
            let _ = fs::remove_file(&self.record);
        }
    }
}
