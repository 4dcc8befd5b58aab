//! The errno of every failure that a mount reports: the one place outside `sys` that names errno constants.
//!
//! A write that is denied: EROFS on a mount without a layer ([`VfsError::ReadOnly`]), EBUSY and EPERM for the control
//! directory. Owner and mode are checked by the kernel itself (`default_permissions`), whose EACCES and EPERM never come through here.
//!
//! Each `match` is exhaustive and has no wildcard arm, so that a new kind of failure can't compile without a decision here.

use super::ControlError;
use crate::format::BadName;
use crate::layer::LayerError;
use crate::store::StoreError;
use crate::vfs::VfsError;
use fuser::Errno;
use std::io;

/// Why the adapter answers a request with an errno.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The filesystem said no.
    #[error(transparent)]
    Vfs(#[from] VfsError),
    /// A control file said no.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The kernel sent a name that isn't a path component.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The adapter itself said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What the adapter refuses without asking the filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Removing or replacing `.ctl` in the root.
    #[error("the control directory's name is reserved")]
    Reserved,
    /// Changing the control directory or its files otherwise than by writing commands.
    #[error("the control directory can't be changed")]
    ControlFixed,
    /// A control file, for somebody who is neither the mount's owner nor root.
    #[error("the control directory is for the mount's owner and root")]
    NotOwner,
    /// An attribute of a control file.
    #[error("control files have no extended attributes")]
    NoAttribute,
    /// Reading a control file's directory as a file, and the like.
    #[error("is a directory")]
    IsDir,
    /// Looking below a control file.
    #[error("not a directory")]
    NotDir,
    /// Not a name in the control directory.
    #[error("no such control file")]
    NoControlFile,
    /// A handle that nobody opened.
    #[error("bad file handle")]
    BadHandle,
    /// A node number that the kernel was never given, or an open that has to look its path up again.
    #[error("the node number is out of date")]
    Superseded,
    /// Truncating a program that is running.
    #[error("the program is running")]
    Running,
    /// Flags that no filesystem of this kind takes, such as `RENAME_WHITEOUT`.
    #[error("flags aren't supported")]
    Flags,
    /// An ioctl.
    #[error("no such ioctl")]
    NoIoctl,
    /// An operation that the kernel does better itself once it has been told so.
    #[error("left to the kernel")]
    LeftToKernel,
    /// The filesystem broke its word, or the adapter has a bug: nothing is answered rather than something false.
    #[error("internal error")]
    Bug,
}

/// The errno for `fault`.
pub(super) fn of(fault: &Fault) -> Errno {
    match fault {
        Fault::Vfs(error) => of_vfs(error),
        Fault::Control(error) => of_control(error),
        Fault::Name(error) => of_name(*error),
        Fault::Refused(refusal) => of_refusal(*refusal),
    }
}

/// Whether `fault` tells of trouble with the store or the machine, which belongs in the log, rather than of a caller's mistake.
pub(super) fn is_trouble(fault: &Fault) -> bool {
    match fault {
        Fault::Vfs(error) => [Errno::EIO.code(), Errno::ENFILE.code()].contains(&of_vfs(error).code()),
        Fault::Control(_) | Fault::Name(_) => false,
        Fault::Refused(refusal) => *refusal == Refusal::Bug,
    }
}

fn of_vfs(error: &VfsError) -> Errno {
    match error {
        VfsError::NotFound => Errno::ENOENT,
        // The kernel retries a path walk on ESTALE, and tells open descriptors the truth: the inode is no more.
        VfsError::Stale(_) => Errno::ESTALE,
        VfsError::Exists => Errno::EEXIST,
        VfsError::NotDir => Errno::ENOTDIR,
        VfsError::IsDir => Errno::EISDIR,
        VfsError::NotEmpty => Errno::ENOTEMPTY,
        VfsError::ReadOnly => Errno::EROFS,
        VfsError::NotPermitted => Errno::EPERM,
        VfsError::AccessDenied => Errno::EACCES,
        VfsError::Invalid => Errno::EINVAL,
        VfsError::NameTooLong => Errno::ENAMETOOLONG,
        VfsError::NoAttribute => Errno::ENODATA,
        VfsError::Range => Errno::ERANGE,
        VfsError::TooManyLinks => Errno::EMLINK,
        VfsError::TooLarge => Errno::EFBIG,
        VfsError::TooBig => Errno::E2BIG,
        // As ext4 has it when the inode's block is full.
        VfsError::NoAttributeRoom => Errno::ENOSPC,
        // SEEK_DATA and SEEK_HOLE past the end, as lseek(2) says.
        VfsError::NoData => Errno::ENXIO,
        VfsError::Unsupported => Errno::EOPNOTSUPP,
        VfsError::BadHandle => Errno::EBADF,
        // A layer's quota is a limit on the user's share, not a full disk.
        VfsError::Quota => Errno::EDQUOT,
        // What the kernel itself answers once the daemon is gone.
        VfsError::ShuttingDown => Errno::ENOTCONN,
        VfsError::Busy(_) => Errno::EBUSY,
        VfsError::Sums(_) => Errno::EIO,
        VfsError::Store(error) => of_store(error),
        VfsError::Layer(error) => of_layer(error),
        VfsError::Io { source, .. } => of_host(source),
    }
}

fn of_store(error: &StoreError) -> Errno {
    match error {
        StoreError::Io { source, .. } | StoreError::NotWritable { source, .. } => of_host(source),
        // The file is there, its bytes are not to be had: damage, not absence.
        StoreError::MissingObject { .. } | StoreError::CorruptObject { .. } => Errno::EIO,
        // No operation of a mount asks for these; whatever brings them here is trouble with the store.
        StoreError::Stopped => Errno::ECANCELED,
        StoreError::NoStore { .. }
        | StoreError::NotEmpty { .. }
        | StoreError::UnknownVersion { .. }
        | StoreError::BadFormatFile { .. }
        | StoreError::Encode { .. }
        | StoreError::NoRef { .. }
        | StoreError::NotManifest { .. }
        | StoreError::Ambiguous { .. }
        | StoreError::BadRef { .. }
        | StoreError::BadHistory { .. }
        | StoreError::RefConflict { .. }
        | StoreError::NothingToUndo { .. }
        | StoreError::UndoTooLate { .. }
        | StoreError::NoLayer { .. }
        | StoreError::LayerExists { .. }
        | StoreError::LayerBusy { .. }
        | StoreError::NotLayer { .. }
        | StoreError::BadLayer { .. }
        | StoreError::CopiedLayer { .. }
        | StoreError::BadLease { .. } => Errno::EIO,
    }
}

fn of_layer(error: &LayerError) -> Errno {
    match error {
        LayerError::Data { source, .. } => of_host(source),
        // A full disk shows itself in the database too.
        LayerError::Open { .. } | LayerError::Database { .. } => error.io().map_or(Errno::EIO, of_host),
        // As fsync(2) has it, again and again: what a kernel tells once doesn't become true later.
        LayerError::Lost { .. } => Errno::EIO,
        LayerError::Gone { .. }
        | LayerError::Short { .. }
        | LayerError::Missing { .. }
        | LayerError::Damaged { .. }
        | LayerError::Version { .. }
        | LayerError::Record { .. } => Errno::EIO,
    }
}

fn of_control(error: &ControlError) -> Errno {
    match error {
        ControlError::Usage(_) => Errno::EINVAL,
        ControlError::NotFound(_) => Errno::ENOENT,
        ControlError::Busy(_) => Errno::EBUSY,
        ControlError::Refused(_) => Errno::EROFS,
        ControlError::Cancelled(_) => Errno::ECANCELED,
        ControlError::NoSpace(_) => Errno::ENOSPC,
        ControlError::Corrupt(_) | ControlError::Failed(_) => Errno::EIO,
    }
}

fn of_name(error: BadName) -> Errno {
    match error {
        BadName::TooLong => Errno::ENAMETOOLONG,
        // The kernel resolves these itself; one that comes here anyway names nothing that could be made or found.
        BadName::Empty | BadName::Dots | BadName::Forbidden => Errno::EINVAL,
    }
}

fn of_refusal(refusal: Refusal) -> Errno {
    match refusal {
        // As for a mountpoint: the name is in use by the system.
        Refusal::Reserved => Errno::EBUSY,
        Refusal::ControlFixed => Errno::EPERM,
        Refusal::NotOwner => Errno::EACCES,
        Refusal::NoAttribute => Errno::ENODATA,
        Refusal::IsDir => Errno::EISDIR,
        Refusal::NotDir => Errno::ENOTDIR,
        Refusal::NoControlFile => Errno::ENOENT,
        Refusal::BadHandle => Errno::EBADF,
        // Makes the kernel walk the path again and ask for every component anew.
        Refusal::Superseded => Errno::ESTALE,
        Refusal::Running => Errno::ETXTBSY,
        Refusal::Flags => Errno::EINVAL,
        Refusal::NoIoctl => Errno::ENOTTY,
        Refusal::LeftToKernel => Errno::ENOSYS,
        Refusal::Bug => Errno::EIO,
    }
}

/// The errno for a failed operation on a host file. What tells the caller of a limit, or of an operation that the host filesystem lacks,
/// passes through. Everything else is EIO: ENOENT or EACCES would speak of the caller's path or rights, but mean the store's.
fn of_host(error: &io::Error) -> Errno {
    match error.raw_os_error() {
        Some(
            code @ (libc::ENOSPC
            | libc::EDQUOT
            | libc::EFBIG
            | libc::ENOMEM
            | libc::EROFS
            | libc::EINVAL
            | libc::EOPNOTSUPP
            | libc::ENXIO
            | libc::EINTR
            | libc::EOVERFLOW
            | libc::ETXTBSY),
        ) => Errno::from_i32(code),
        // The daemon's limit, not the calling process's, which EMFILE would blame.
        Some(libc::EMFILE | libc::ENFILE) => Errno::ENFILE,
        Some(_) | None => Errno::EIO,
    }
}

/// Whether registering a backing file failed in a way that no later attempt mends: no privilege, a kernel without passthrough, or a store on
/// a filesystem that is itself stacked.
pub(super) fn rules_out_passthrough(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EPERM | libc::EACCES | libc::EOPNOTSUPP | libc::ENOSYS | libc::ENOTTY | libc::EINVAL | libc::ELOOP)
    )
}

/// Whether an unmount failed because somebody still uses the mount.
pub(super) fn is_busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EBUSY)
}

/// Whether a system call failed for want of privilege.
pub(super) fn is_not_permitted(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EPERM)
}

/// Whether a path leads to a mount whose daemon has died.
pub(super) fn is_dead_mount(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOTCONN)
}

/// Whether there is no mount at the path any more.
pub(super) fn is_not_mounted(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(code: i32) -> i32 {
        let source = io::Error::from_raw_os_error(code);
        of(&Fault::Vfs(VfsError::Io { context: "write data/7".into(), source })).code()
    }

    #[test]
    fn limits_of_the_host_pass_through_and_its_secrets_do_not() {
        for code in [libc::ENOSPC, libc::EDQUOT, libc::EFBIG, libc::ENOMEM, libc::EROFS] {
            assert_eq!(host(code), code);
        }
        for code in [libc::ENOENT, libc::EACCES, libc::EPERM, libc::ENOTDIR, libc::EBADF, libc::ESTALE] {
            assert_eq!(host(code), libc::EIO, "{code}");
        }
        assert_eq!(host(libc::EMFILE), libc::ENFILE);
    }

    #[test]
    fn only_trouble_is_logged() {
        assert!(!is_trouble(&VfsError::NotFound.into()));
        assert!(!is_trouble(&Refusal::NotOwner.into()));
        assert!(is_trouble(&Refusal::Bug.into()));
        let source = io::Error::from_raw_os_error(libc::EIO);
        assert!(is_trouble(&VfsError::Io { context: String::new(), source }.into()));
    }
}
