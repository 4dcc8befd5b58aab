//! The FUSE adapter: decodes, calls `vfs`, maps the error, replies. Nothing else.
//!
//! ```text
//! session         a mount from beginning to end                requests  the kernel's requests, one method each
//! turns           who waits for the next request               adapter   what serves them · meter: counts them
//! mounting        mount(2), umount2(2), fusermount3            *_ops     namespace_ops · file_ops · attr_ops · dir_ops
//! mount_options   -o options                                   nodes     numbers that the kernel knows inodes by
//! mount_error     why a mount failed, and what to do
//! mount_table     /proc/self/mountinfo                         io_mode   passthrough or page cache, for each open
//! running         files that are open to be run                scout     lists directories ahead of a program
//! control_dir     .ctl · control_requests: its threads         backing   host files registered for passthrough
//! metrics         counters                                     convert   the kernel's types and ours
//! negotiation     what is asked of the kernel at the start     replies   from outcomes to answers
//! errno           every failure's errno, in one place
//! ```
//! The kernel caches names, absent names, attributes, symbolic links and listings without limit of time, for nobody but the kernel changes
//! what a mount shows. The daemon never touches its own mount, but for `scout`, which tells how nobody comes to wait for that.

mod adapter;
mod attr_ops;
mod backing;
mod control_dir;
mod control_requests;
mod convert;
mod dir_ops;
mod errno;
#[cfg(test)]
mod explored;
mod file_ops;
mod io_mode;
mod meter;
mod metrics;
mod mount_error;
mod mount_options;
mod mount_table;
mod mounting;
mod namespace_ops;
mod negotiation;
mod nodes;
mod replies;
mod requests;
mod running;
mod scout;
mod session;
mod turns;

pub use metrics::{BUCKETS, EventSnapshot, Metrics, MetricsSnapshot, OpSnapshot, events};
pub use mount_error::MountError;
pub use mount_options::{BadOption, ControlAccess, IoChoice, MountOptions};
pub use mount_table::{MountEntry, mounts};
pub use mounting::{clear_dead, detach, is_read_only, remount, unmount};
pub use session::{MountHandle, Mounted, Unmounted};

/// The files of the control directory, which the adapter shows as `.ctl` at the root of a mount. The adapter does names, inode numbers,
/// handles, direct I/O and the owner check; the implementation (in `control`) does content and commands.
pub trait ControlFiles: Send + Sync + 'static {
    /// Names, and whether each can be written.
    fn files(&self) -> &[ControlFile];
    /// Content of file `index` at this moment: taken once per open, read at any offset.
    fn read(&self, index: usize) -> Result<Vec<u8>, ControlError>;
    /// Runs what was written to file `index` in one write(2).
    fn write(&self, index: usize, text: &[u8]) -> Result<(), ControlError>;
    /// The mount is told to end, though some command may still run in it.
    fn ending(&self) {}
}

/// A file of the control directory.
#[derive(Debug, Clone, Copy)]
pub struct ControlFile {
    /// Its name.
    pub name: &'static str,
    /// Whether writing to it runs commands.
    pub writable: bool,
}

/// Why a control file couldn't be read or a command failed; the adapter maps it to an errno.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Not a command, or bad arguments: EINVAL.
    #[error("{0}")]
    Usage(String),
    /// What it names isn't there: ENOENT.
    #[error("{0}")]
    NotFound(String),
    /// Can't be done now: EBUSY.
    #[error("{0}")]
    Busy(String),
    /// Can't be done on this mount, e.g. a snapshot of a read-only one: EROFS.
    #[error("{0}")]
    Refused(String),
    /// It was told to stop: ECANCELED.
    #[error("{0}")]
    Cancelled(String),
    /// No room for it on the disk of the store or of the layer: ENOSPC.
    #[error("{0}")]
    NoSpace(String),
    /// Something of the store or of the layer is missing or damaged: EIO.
    #[error("{0}")]
    Corrupt(String),
    /// Tried and failed: EIO.
    #[error("{0}")]
    Failed(String),
}
