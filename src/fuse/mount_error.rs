//! Why a filesystem couldn't be mounted or unmounted, and what to do about it.

use std::io;
use std::path::PathBuf;

/// What went wrong, where, and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// Nothing at the path.
    #[error("can't mount at {path}: there is no such directory; make it with `mkdir -p {path}`")]
    NoMountpoint {
        /// The mountpoint.
        path: PathBuf,
    },
    /// Something else than a directory.
    #[error("can't mount at {path}: it isn't a directory; name a directory, best an empty one")]
    NotDirectory {
        /// The mountpoint.
        path: PathBuf,
    },
    /// A cairnfs mount is there.
    #[error(
        "can't mount at {path}: `{source_name}` is mounted there already; unmount it with `cairnfs umount {path}`, or choose another directory"
    )]
    AlreadyMounted {
        /// The mountpoint.
        path: PathBuf,
        /// What is mounted there.
        source_name: String,
    },
    /// No cairnfs mount is there.
    #[error("nothing of cairnfs is mounted at {path}; `cairnfs mounts` lists the mounts")]
    NotMounted {
        /// The mountpoint.
        path: PathBuf,
    },
    /// A FUSE mount is there whose daemon has died.
    #[error(
        "can't mount at {path}: the daemon of a former mount there has died; clear it away with `cairnfs umount {path}`, then try again"
    )]
    DeadMount {
        /// The mountpoint.
        path: PathBuf,
    },
    /// The mountpoint can't be looked at.
    #[error("can't mount at {path}: {source}")]
    Mountpoint {
        /// The mountpoint.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A mount's flags couldn't be changed.
    #[error("can't give the mount at {path} other flags: {source}; {remedy}")]
    Remount {
        /// The mountpoint.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The FUSE device is missing or closed.
    #[error("can't open /dev/fuse: {source}; {remedy}")]
    NoDevice {
        /// What to do.
        remedy: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// mount(2) isn't allowed, and the helper for unprivileged mounts didn't do it.
    #[error(
        "can't mount at {path} without privilege: {source}; become root, or install fuse3 for its `fusermount3` \
         (for `-o allow_other`, put `user_allow_other` into /etc/fuse.conf)"
    )]
    NotAllowed {
        /// The mountpoint.
        path: PathBuf,
        /// What the helper said.
        #[source]
        source: io::Error,
    },
    /// mount(2) failed.
    #[error("can't mount at {path}: {source}")]
    Mount {
        /// The mountpoint.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The kernel and this program couldn't agree, or no thread could be started.
    #[error("mounted at {path}, but can't serve it: {source}")]
    Session {
        /// The mountpoint.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Signals can't be caught.
    #[error("can't wait for signals: {source}")]
    Signals {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// umount2(2) failed.
    #[error("can't unmount {path}: {source}")]
    Unmount {
        /// Where it is mounted.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The mount is gone, but its last changes aren't on disk for certain.
    #[error("unmounted, but the last changes may not be on disk: {source}")]
    FinalSync {
        /// Why not.
        #[source]
        source: crate::vfs::VfsError,
    },
}
