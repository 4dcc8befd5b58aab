//! Memory for layers that are dropped at unmount (`--tmpfs`).
//!
//! A detached tmpfs (fsmount(2)) is reachable through this process alone: when the process ends, however it ends, the memory is free.
//! Without the privilege for that, a folder in `/dev/shm` serves, removed when the value is dropped.

use super::error::LayerError;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Memory with a path.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    _hold: Hold,
}

#[derive(Debug)]
enum Hold {
    Detached { _mount: OwnedFd },
    Folder { _folder: tempfile::TempDir },
}

impl Memory {
    /// Gets memory; `limit` bytes at most, where that can be set (0: the kernel's default, half of RAM).
    pub fn new(limit: u64) -> Result<Self, LayerError> {
        match detached_tmpfs(limit) {
            Ok(mount) => {
                let path = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
                Ok(Self { path, _hold: Hold::Detached { _mount: mount } })
            }
            Err(error) => {
                tracing::debug!(%error, "no detached tmpfs; using /dev/shm");
                let folder = tempfile::Builder::new().prefix("cairnfs-").tempdir_in("/dev/shm").map_err(|source| {
                    LayerError::Data { action: "make a folder for", path: "/dev/shm".into(), source }
                })?;
                Ok(Self { path: folder.path().to_owned(), _hold: Hold::Folder { _folder: folder } })
            }
        }
    }

    /// Where it is, for this process.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn detached_tmpfs(limit: u64) -> rustix::io::Result<OwnedFd> {
    use rustix::mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    };
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "mode", "0700")?;
    if limit > 0 {
        fsconfig_set_string(&context, "size", limit.to_string())?;
    }
    fsconfig_create(&context)?;
    fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
    )
}
