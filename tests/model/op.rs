//! Operations. `{:?}` of a sequence is Rust: with `use model::op::{Op::*, ..}` it compiles, so a failure can be pasted as a test.

use std::fmt;

/// Open files of a sequence are known by slot, `0..SLOTS`; opening into one that is in use closes it first.
pub const SLOTS: u8 = 4;
/// The same for listings that are read in pieces.
pub const LISTINGS: u8 = 2;
/// What the process's umask is set to.
pub const UMASK: u32 = 0o022;

/// A path below the sequence's directory, `""` for that directory itself. The parts `L` and `X` stand for names of 255 and of 256 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(pub String);

pub fn p(text: &str) -> Path {
    Path(text.to_owned())
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p({:?})", self.0)
    }
}

impl Path {
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// The directory that holds it, and its name there.
    pub fn split(&self) -> (Self, &str) {
        let (dir, name) = self.0.rsplit_once('/').unwrap_or(("", &self.0));
        (p(dir), name)
    }

    pub fn join(&self, name: &str) -> Self {
        if self.0.is_empty() { p(name) } else { Self(format!("{}/{name}", self.0)) }
    }

    /// Whether `other` is this or lies beneath.
    pub fn holds(&self, other: &Self) -> bool {
        other == self || other.0.strip_prefix(&self.0).is_some_and(|rest| rest.starts_with('/') || self.0.is_empty())
    }

    /// The path as it is on disk.
    pub fn real(&self) -> String {
        self.parts().map(real_name).collect::<Vec<_>>().join("/")
    }
}

/// What a part of a path is on disk.
pub fn real_name(part: &str) -> String {
    match part {
        "L" => "L".repeat(255),
        "X" => "X".repeat(256),
        other => other.to_owned(),
    }
}

/// The part that is `name` on disk.
pub fn short_name(name: &[u8]) -> String {
    if name == [b'L'; 255] { "L".to_owned() } else { String::from_utf8_lossy(name).into_owned() }
}

/// What a symbolic link says: so many bytes, that name nothing and are no name too long.
pub fn target(length: usize) -> Vec<u8> {
    (0..length).map(|at| if at % 100 == 99 { b'/' } else { b't' }).collect()
}

/// What is worked on: by its path, a symbolic link itself, or through an open file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum On {
    At(Path),
    Slot(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    Read,
    Write,
    Both,
}

/// How to open: always with `O_NOFOLLOW`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct How {
    pub access: Access,
    pub create: bool,
    pub excl: bool,
    pub trunc: bool,
    pub append: bool,
}

pub const READ: How = How { access: Access::Read, create: false, excl: false, trunc: false, append: false };
pub const WRITE: How = How { access: Access::Both, ..READ };
pub const CREATE: How = How { create: true, ..WRITE };

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Node {
    File,
    Fifo,
    Socket,
    Char(u32, u32),
    Block(u32, u32),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Plain,
    NoReplace,
    Exchange,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    Allocate,
    KeepSize,
    Punch,
    Zero,
    ZeroKeepSize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Time {
    Omit,
    Now,
    To(i64, u32),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Set {
    Any,
    Create,
    Replace,
}

/// One operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    Stat(On),
    Open(u8, Path, How, u32),
    Close(u8),
    Mkdir(Path, u32),
    Mknod(Path, Node, u32),
    /// The target is so many bytes long, and names nothing.
    Symlink(Path, usize),
    Readlink(Path),
    Link(Path, Path),
    Unlink(Path),
    Rmdir(Path),
    Rename(Path, Path, Mode),
    /// Slot, offset, length.
    Read(u8, u64, usize),
    /// Slot, offset, length, and the byte that is written.
    Write(u8, u64, usize, u8),
    Ftruncate(u8, u64),
    Truncate(Path, u64),
    Fallocate(u8, Space, u64, u64),
    SeekData(u8, u64),
    SeekHole(u8, u64),
    /// From slot and offset, to slot and offset, length.
    CopyRange(u8, u64, u8, u64, u64),
    Fsync(u8),
    Chmod(On, u32),
    Chown(On, Option<u32>, Option<u32>),
    /// Access and modification time.
    Utimens(On, Time, Time),
    /// The value is so many times the byte.
    SetXattr(On, String, usize, u8, Set),
    GetXattr(On, String),
    ListXattr(On),
    RemoveXattr(On, String),
    /// Lists a directory from start to end.
    List(Path),
    /// Starts a listing, reads some of it, and reads it to its end.
    ListStart(u8, Path),
    ListSome(u8),
    ListEnd(u8),
    /// Compares the whole tree, and all that is open, with the model.
    Check,
    /// Takes a snapshot and compares its tree with the model. Closes what is open for reading alone: what such a descriptor sees of a later
    /// write is documented otherwise (`docs/SEMANTICS.md`, "Open files while the content changes").
    Snapshot,
    /// A snapshot that fails after it has read everything: nothing changes.
    FailedSnapshot,
    /// Closes everything, takes a snapshot, and goes on in a new layer on it: inodes are numbered anew, and have no times but the
    /// modification's.
    NewLayer,
    /// Closes everything, unmounts in good order, and mounts again.
    Remount,
    /// Ends the daemon as a kill does: what is open is gone.
    Crash,
}

impl Op {
    /// Whether it may add, move or remove names.
    pub fn changes_names(&self) -> bool {
        matches!(
            self,
            Self::Open(..)
                | Self::Mkdir(..)
                | Self::Mknod(..)
                | Self::Symlink(..)
                | Self::Link(..)
                | Self::Unlink(_)
                | Self::Rmdir(_)
                | Self::Rename(..)
        )
    }

    /// The operation's name, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stat(_) => "stat",
            Self::Open(_, _, how, _) if how.create => "create",
            Self::Open(..) => "open",
            Self::Close(_) => "close",
            Self::Mkdir(..) => "mkdir",
            Self::Mknod(..) => "mknod",
            Self::Symlink(..) => "symlink",
            Self::Readlink(_) => "readlink",
            Self::Link(..) => "link",
            Self::Unlink(_) => "unlink",
            Self::Rmdir(_) => "rmdir",
            Self::Rename(_, _, Mode::Plain) => "rename",
            Self::Rename(_, _, Mode::NoReplace) => "rename noreplace",
            Self::Rename(_, _, Mode::Exchange) => "rename exchange",
            Self::Read(..) => "read",
            Self::Write(..) => "write",
            Self::Ftruncate(..) => "ftruncate",
            Self::Truncate(..) => "truncate",
            Self::Fallocate(..) => "fallocate",
            Self::SeekData(..) | Self::SeekHole(..) => "seek",
            Self::CopyRange(..) => "copy_file_range",
            Self::Fsync(_) => "fsync",
            Self::Chmod(..) => "chmod",
            Self::Chown(..) => "chown",
            Self::Utimens(..) => "utimens",
            Self::SetXattr(..) => "setxattr",
            Self::GetXattr(..) => "getxattr",
            Self::ListXattr(_) => "listxattr",
            Self::RemoveXattr(..) => "removexattr",
            Self::List(_) => "list",
            Self::ListStart(..) | Self::ListSome(_) | Self::ListEnd(_) => "list in pieces",
            Self::Check => "check",
            Self::Snapshot => "snapshot",
            Self::FailedSnapshot => "failed snapshot",
            Self::NewLayer => "new layer",
            Self::Remount => "remount",
            Self::Crash => "crash",
        }
    }
}
