//! What each error of the library means on the command line: its exit code, and what to do. One match each, so that a new error has to be
//! thought about here.
//!
//! The library's errors say what to do after the last `; ` of their text; that part becomes the `help:` line.

use super::error::{Explain, chain};
use super::exit::Exit;
use crate::fsck::FsckError;
use crate::fuse::MountError;
use crate::gc::GcError;
use crate::ingest::IngestError;
use crate::ingest::tar::Problem;
use crate::layer::LayerError;
use crate::snapshot::SnapshotError;
use crate::store::{ErrorClass, StoreError};
use crate::vfs::VfsError;
use std::io;

/// `causes` by the chain of sources, its head split where the remedy begins; the exit code by a function.
macro_rules! explain {
    ($type:ty, $exit:expr) => {
        impl Explain for $type {
            fn explain(&self) -> (Exit, Option<String>) {
                let exit: fn(&$type) -> Exit = $exit;
                (exit(self), told(self))
            }

            fn causes(&self) -> Vec<String> {
                head_split(chain(self))
            }
        }
    };
}

explain!(crate::format::BadLabel, |_| Exit::Usage);
explain!(LayerError, of_layer);
explain!(VfsError, of_vfs);
explain!(SnapshotError, of_snapshot);
explain!(FsckError, of_fsck);

impl Explain for io::Error {
    fn explain(&self) -> (Exit, Option<String>) {
        (of_io(self), Some(io_remedy(self).to_owned()))
    }

    fn causes(&self) -> Vec<String> {
        chain(self)
    }
}

impl Explain for MountError {
    fn explain(&self) -> (Exit, Option<String>) {
        let help = match self {
            Self::Mount { .. } | Self::Session { .. } => {
                Some("`cairnfs doctor` tells what this machine lacks".to_owned())
            }
            Self::Unmount { .. } => Some("end what uses it, or take it away with `cairnfs umount --lazy`".to_owned()),
            Self::FinalSync { .. } => {
                Some("mount it again and look at its files; `cairnfs fsck` checks the layer".to_owned())
            }
            _ => told(self),
        };
        (of_mount(self), help)
    }

    fn causes(&self) -> Vec<String> {
        let mut causes = head_split(chain(self));
        // the command's own error says that already
        if let Some((start, rest)) = causes.first().and_then(|head| head.split_once(": "))
            && start.starts_with("can't mount at ")
        {
            causes[0] = rest.to_owned();
        }
        causes
    }
}

impl Explain for StoreError {
    fn explain(&self) -> (Exit, Option<String>) {
        let help = match self {
            Self::NoRef { .. } => told(self).or_else(|| Some("`cairnfs refs` lists all refs".to_owned())),
            Self::NoLayer { .. } => told(self).or_else(|| Some("`cairnfs layers` lists all layers".to_owned())),
            Self::Encode { .. } => Some("change what can't be stored, or leave it out".to_owned()),
            _ => told(self),
        };
        (of_store(self), help)
    }

    fn causes(&self) -> Vec<String> {
        head_split(chain(self))
    }
}

impl Explain for IngestError {
    fn explain(&self) -> (Exit, Option<String>) {
        let help = match self {
            Self::Archive { problem: problem @ Problem::NoEnd, .. } => Some(archive_remedy(problem).to_owned()),
            Self::Archive { problem, .. } => told(self).or_else(|| Some(archive_remedy(problem).to_owned())),
            Self::Stream { .. } => {
                Some("get the archive anew, or decompress it by itself to see where it breaks off".to_owned())
            }
            Self::Format { .. } | Self::Name { .. } => {
                Some("rename or change it, or leave it out with --exclude".to_owned())
            }
            Self::Links(_) => Some("import it in parts, each with fewer hard-linked files".to_owned()),
            Self::Pattern { .. } => Some("write a path or pattern relative to the source, as `var/cache/*`".to_owned()),
            Self::Damaged { .. } => Some("import its source again, or export an earlier manifest".to_owned()),
            Self::Limit { what: "entries", .. } => Some("if that many are meant, --max-entries takes more".to_owned()),
            Self::Incomplete { .. } => Some("run it as root, or leave out owners with --no-owners".to_owned()),
            Self::NotEmpty { .. } => Some("export to a new or empty directory, or give --force".to_owned()),
            Self::Reserved => {
                Some("rename it, leave it out with --exclude /.ctl, or allow it with --allow-ctl".to_owned())
            }
            _ => told(self),
        };
        (of_ingest(self), help)
    }

    fn causes(&self) -> Vec<String> {
        match self {
            // these list several things, divided as remedies are elsewhere
            Self::Incomplete { .. } => chain(self),
            _ => head_split(chain(self)),
        }
    }
}

impl Explain for GcError {
    fn explain(&self) -> (Exit, Option<String>) {
        let help = match self {
            Self::NoRoots { .. } => Some("if that is meant, `cairnfs gc --allow-no-roots`".to_owned()),
            Self::Unreadable { root, .. } => Some(format!("repair that, or remove {root}, then collect again")),
            _ => told(self),
        };
        (of_class(self.class()), help)
    }

    fn causes(&self) -> Vec<String> {
        head_split(chain(self))
    }
}

/// Without the remedy that the first text ends with.
fn head_split(mut causes: Vec<String>) -> Vec<String> {
    causes.iter_mut().take(1).for_each(|head| *head = split(head).0);
    causes
}

/// What the error's text says to do; if nothing, what can be done about the failure of the system beneath it.
fn told(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let by_text = split(&error.to_string()).1;
    by_text.or_else(|| {
        let beneath = std::iter::successors(Some(error), |error| error.source());
        beneath.filter_map(|error| error.downcast_ref::<io::Error>()).last().map(|error| io_remedy(error).to_owned())
    })
}

/// What to do about a failure that the system tells.
fn io_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "run it as the owner, or as root",
        io::ErrorKind::NotFound => "check the path: it, or a directory above it, isn't there",
        io::ErrorKind::NotADirectory => "check the path: a part of it isn't a directory",
        io::ErrorKind::IsADirectory => "name a file: that is a directory",
        io::ErrorKind::AlreadyExists => "name another place, or remove what is there",
        io::ErrorKind::ReadOnlyFilesystem => "the filesystem is mounted read-only; remount it, or use another place",
        io::ErrorKind::StorageFull => "make room on the filesystem; `cairnfs gc` frees what nothing names",
        io::ErrorKind::ResourceBusy => "end what uses it, then try again",
        io::ErrorKind::BrokenPipe => "what was to read it ended early; look at what it said",
        _ => "try again; if it goes on, the kernel log (`dmesg`) may say why",
    }
}

/// What to do about an archive that can't be imported as it is.
fn archive_remedy(problem: &Problem) -> &'static str {
    match problem {
        Problem::NoEnd => "if the archive is known to be whole, --allow-missing-end takes it",
        Problem::NotTar => "give a directory, or a tar archive; `file` tells what it is",
        Problem::Empty
        | Problem::Truncated(_)
        | Problem::LoneZeros
        | Problem::Checksum
        | Problem::Number(_)
        | Problem::Records
        | Problem::Record(_)
        | Problem::Dangling
        | Problem::Sparse(_)
        | Problem::NoName => "get the archive anew, and compare its checksum with that of where it comes from",
        Problem::HeaderTooLong(_) | Problem::PathTooLong(_) => "extract it, and import the directory",
        Problem::Unsupported(_)
        | Problem::Global(_)
        | Problem::Type(_)
        | Problem::AclName(..)
        | Problem::Acl(_)
        | Problem::Escapes
        | Problem::Name(_)
        | Problem::RootType
        | Problem::Beneath(..)
        | Problem::OverDirectory
        | Problem::LinkTarget(_)
        | Problem::LinkDirectory(_)
        | Problem::SymlinkTarget
        | Problem::Format(_) => "pack it anew without that member, or extract it and import the directory",
    }
}

/// The text, and what it says to do.
pub(super) fn split(text: &str) -> (String, Option<String>) {
    match text.rsplit_once("; ") {
        Some((text, remedy)) => (text.to_owned(), Some(remedy.to_owned())),
        None => (text.to_owned(), None),
    }
}

fn of_io(error: &io::Error) -> Exit {
    match error.kind() {
        io::ErrorKind::NotFound => Exit::NotFound,
        io::ErrorKind::ResourceBusy => Exit::Refused,
        _ => Exit::Failed,
    }
}

fn of_store(error: &StoreError) -> Exit {
    of_class(error.class())
}

fn of_class(class: ErrorClass) -> Exit {
    match class {
        ErrorClass::Failed => Exit::Failed,
        ErrorClass::NotFound => Exit::NotFound,
        ErrorClass::Refused => Exit::Refused,
        ErrorClass::Corrupt => Exit::Corrupt,
    }
}

fn of_layer(error: &LayerError) -> Exit {
    match error {
        LayerError::Version { .. } => Exit::Refused,
        error if error.is_damage() => Exit::Corrupt,
        _ => Exit::Failed,
    }
}

fn of_vfs(error: &VfsError) -> Exit {
    match error {
        VfsError::Store(error) => of_store(error),
        VfsError::Layer(error) => of_layer(error),
        VfsError::NotFound => Exit::NotFound,
        VfsError::ReadOnly | VfsError::Quota => Exit::Refused,
        _ => Exit::Failed,
    }
}

fn of_snapshot(error: &SnapshotError) -> Exit {
    match error {
        SnapshotError::Store(error) => of_store(error),
        SnapshotError::Fs(error) => of_vfs(error),
        SnapshotError::Encode { .. } => Exit::Failed,
        SnapshotError::Inconsistent { .. } => Exit::Corrupt,
    }
}

fn of_fsck(error: &FsckError) -> Exit {
    match error {
        FsckError::Layer(error) => of_layer(error),
        FsckError::Io { source, .. } => of_io(source),
    }
}

fn of_ingest(error: &IngestError) -> Exit {
    match error {
        IngestError::Store(error) => of_store(error),
        IngestError::Time { .. } | IngestError::Pattern { .. } => Exit::Usage,
        IngestError::ContainsStore { .. } | IngestError::Reserved | IngestError::NotEmpty { .. } => Exit::Refused,
        IngestError::Damaged { .. } => Exit::Corrupt,
        IngestError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Pipe,
        _ => Exit::Failed,
    }
}

fn of_mount(error: &MountError) -> Exit {
    match error {
        MountError::NoMountpoint { .. } | MountError::NotMounted { .. } => Exit::NotFound,
        MountError::AlreadyMounted { .. } | MountError::DeadMount { .. } => Exit::Refused,
        MountError::NoDevice { .. } | MountError::Signals { .. } => Exit::System,
        MountError::NotDirectory { .. }
        | MountError::Mountpoint { .. }
        | MountError::NotAllowed { .. }
        | MountError::Remount { .. }
        | MountError::Mount { .. }
        | MountError::Session { .. }
        | MountError::Unmount { .. }
        | MountError::FinalSync { .. } => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::error::Error;

    #[test]
    fn the_remedy_becomes_the_help() {
        let error = StoreError::NoRef { name: "debain".into(), near: vec!["debian".into()] };
        let told = Error::of("mount `debain`", &error);
        assert_eq!(told.exit, Exit::NotFound);
        assert_eq!(told.to_string(), "can't mount `debain`: no ref or manifest `debain`");
        assert_eq!(told.help.as_deref(), Some("did you mean `debian`?"));
    }

    #[test]
    fn a_full_disk_says_what_frees_room() {
        let told = Error::of("x", &io::Error::from(io::ErrorKind::StorageFull));
        assert!(told.help.is_some_and(|help| help.contains("cairnfs gc")));
    }
}
