//! The kernel-free filesystem: a base of clean nodes, and a layer of dirty ones, by inode number.

// Signatures that `fuse`, `snapshot`, `control` and `cli` build on.

use crate::format::*;
use crate::store::{Store, StoreError};
use std::fs::File;
use std::sync::Arc;

/// An inode number. The root is 1. Clean inodes are numbered in pre-order of the base; linked inodes from 2^40; new ones from 2^41;
/// numbers from 2^42 are never used here and are free for the adapter (control directory, aliases).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ino(pub u64);

impl Ino {
    /// The root directory.
    pub const ROOT: Self = Self(1);
    /// First number that the filesystem never gives out.
    pub const END: Self = Self(1 << 42);
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Process (0 when it is in another pid namespace).
    pub pid: u32,
}

/// Attributes of an inode, as stat(2) tells them.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Attr {
    pub ino: Ino,
    pub kind: Kind,
    pub mode: Mode,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: Device,
    pub size: u64,
    /// 512-byte blocks
    pub blocks: u64,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
}

/// A time to set.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum SetTime {
    Now,
    To(Timestamp),
}

/// What setattr changes.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct SetAttr {
    pub mode: Option<Mode>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub atime: Option<SetTime>,
    pub mtime: Option<SetTime>,
    pub ctime: Option<Timestamp>,
    pub handle: Option<HandleId>,
}

/// An open file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HandleId(pub u64);

/// Which bytes an open file reads: equal keys, equal host file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ContentKey {
    /// An immutable blob; never handed out for a write open.
    Blob(Digest),
    /// A file of the layer, and which copy-up of the inode made it.
    Data(Ino, u32),
}

/// A file just opened.
#[derive(Debug)]
pub struct Opened {
    /// For read, write, release.
    pub handle: HandleId,
    /// Which bytes.
    pub content: ContentKey,
    /// The host file, for passthrough. Opened read-only for a blob, read-write for a layer's file.
    pub file: Arc<File>,
    /// Length in bytes now.
    pub size: u64,
    /// The content is what the base has and never was anything else in this mount: cached pages may be kept.
    pub pristine: bool,
}

/// How to open.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenMode {
    /// For writing (or both).
    pub write: bool,
    /// Cut to zero length.
    pub truncate: bool,
}

/// What `make` makes.
#[derive(Clone, Debug)]
pub enum Make {
    /// mknod of a regular file, device, fifo or socket.
    Node(Kind, Device),
    /// mkdir.
    Dir,
    /// symlink to the target.
    Symlink(Box<[u8]>),
}

/// rename(2)'s flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum RenameMode {
    Replace,
    NoReplace,
    Exchange,
}

/// setxattr(2)'s flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum XattrMode {
    Set,
    Create,
    Replace,
}

/// lseek(2)'s SEEK_DATA and SEEK_HOLE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Seek {
    Data,
    Hole,
}

/// One entry of a directory listing. `cookie` is stable and resumes after this entry.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Listed<'a> {
    pub name: &'a [u8],
    pub ino: Ino,
    pub kind: Kind,
    pub cookie: u64,
    /// Present when attributes were asked for; never for `.` and `..`.
    pub attr: Option<Attr>,
}

/// File system totals for statfs.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct StatFs {
    pub block_size: u32,
    pub blocks: u64,
    pub free: u64,
    pub available: u64,
    pub files: u64,
    pub files_free: u64,
}

/// Why an operation failed; `fuse::errno` maps each to its errno in one exhaustive match.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum VfsError {
    #[error("no such file or directory")]
    NotFound,
    #[error("inode {0:?} is gone")]
    Stale(Ino),
    #[error("exists already")]
    Exists,
    #[error("not a directory")]
    NotDir,
    #[error("is a directory")]
    IsDir,
    #[error("directory isn't empty")]
    NotEmpty,
    #[error("read-only file system")]
    ReadOnly,
    #[error("not permitted")]
    NotPermitted,
    #[error("access denied")]
    AccessDenied,
    #[error("invalid argument")]
    Invalid,
    #[error("name too long")]
    NameTooLong,
    #[error("no such attribute")]
    NoAttribute,
    #[error("buffer too small")]
    Range,
    #[error("too many links")]
    TooManyLinks,
    #[error("file too large")]
    TooLarge,
    #[error("argument list too long")]
    TooBig,
    #[error("no data past this offset")]
    NoData,
    #[error("operation not supported")]
    Unsupported,
    #[error("bad file handle")]
    BadHandle,
    #[error("quota exceeded")]
    Quota,
    #[error("the mount is shutting down")]
    ShuttingDown,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{context}: {source}")]
    Io {
        context: String,
        #[source]
        source: std::io::Error,
    },
    // owner adds Layer(LayerError) ...
}

type Result<T> = std::result::Result<T, VfsError>;

/// A mounted filesystem. Every method takes `&self` and may be called from any thread.
#[derive(Debug)]
pub struct Fs {}

#[allow(missing_docs)]
impl Fs {
    /// A read-only filesystem over a manifest.
    pub fn read_only(_store: &Store, _manifest: Digest) -> Result<Self> {
        todo!()
    }
    // with_layer(layer::Layer) follows
    pub fn is_read_only(&self) -> bool {
        todo!()
    }
    /// `None`: no such name (cache it as a negative entry).
    pub fn lookup(&self, _parent: Ino, _name: Name<'_>) -> Result<Option<Attr>> {
        todo!()
    }
    /// The kernel dropped the inode; reclaims an unlinked one.
    pub fn forget(&self, _ino: Ino) {
        todo!()
    }
    pub fn attr(&self, _ino: Ino) -> Result<Attr> {
        todo!()
    }
    pub fn set_attr(&self, _caller: Caller, _ino: Ino, _change: &SetAttr) -> Result<Attr> {
        todo!()
    }
    pub fn read_link(&self, _ino: Ino) -> Result<Box<[u8]>> {
        todo!()
    }
    /// `mode` is as the kernel gave it, umask not applied (DONT_MASK is requested, for default ACLs replace the umask).
    pub fn make(
        &self,
        _caller: Caller,
        _parent: Ino,
        _name: Name<'_>,
        _what: Make,
        _mode: Mode,
        _umask: u32,
    ) -> Result<Attr> {
        todo!()
    }
    pub fn create(
        &self,
        _caller: Caller,
        _parent: Ino,
        _name: Name<'_>,
        _mode: Mode,
        _umask: u32,
        _open: OpenMode,
    ) -> Result<(Attr, Opened)> {
        todo!()
    }
    pub fn unlink(&self, _parent: Ino, _name: Name<'_>) -> Result<()> {
        todo!()
    }
    pub fn rmdir(&self, _parent: Ino, _name: Name<'_>) -> Result<()> {
        todo!()
    }
    pub fn rename(&self, _from: (Ino, Name<'_>), _to: (Ino, Name<'_>), _mode: RenameMode) -> Result<()> {
        todo!()
    }
    pub fn link(&self, _ino: Ino, _parent: Ino, _name: Name<'_>) -> Result<Attr> {
        todo!()
    }
    /// Opening for writing copies a blob up first. Opening with `truncate` makes it empty without copying.
    pub fn open(&self, _ino: Ino, _mode: OpenMode) -> Result<Opened> {
        todo!()
    }
    /// Reads the inode's current content; fewer bytes than asked only at the end of the file.
    pub fn read(&self, _handle: HandleId, _offset: u64, _buffer: &mut [u8]) -> Result<usize> {
        todo!()
    }
    /// `kill_priv`: drop setuid, setgid and capability as the kernel's write flag asks.
    pub fn write(&self, _handle: HandleId, _offset: u64, _data: &[u8], _kill_priv: bool) -> Result<usize> {
        todo!()
    }
    pub fn release(&self, _handle: HandleId) {
        todo!()
    }
    /// Content and metadata of the file are on disk when it returns.
    pub fn fsync(&self, _handle: HandleId, _data_only: bool) -> Result<()> {
        todo!()
    }
    pub fn fsync_dir(&self, _ino: Ino) -> Result<()> {
        todo!()
    }
    /// All of the layer is on disk when it returns.
    pub fn sync(&self) -> Result<()> {
        todo!()
    }
    /// Lists from after `cookie` (0: from the start; `.` and `..` come first) until `each` returns false. With `attrs`, each entry has its attributes.
    pub fn read_dir(
        &self,
        _ino: Ino,
        _cookie: u64,
        _attrs: bool,
        _each: &mut dyn FnMut(Listed<'_>) -> bool,
    ) -> Result<()> {
        todo!()
    }
    pub fn stat_fs(&self) -> Result<StatFs> {
        todo!()
    }
    pub fn get_xattr(&self, _ino: Ino, _name: &[u8]) -> Result<Box<[u8]>> {
        todo!()
    }
    /// Names, each ended by NUL, as listxattr(2) returns them.
    pub fn list_xattr(&self, _ino: Ino) -> Result<Vec<u8>> {
        todo!()
    }
    pub fn set_xattr(&self, _caller: Caller, _ino: Ino, _name: &[u8], _value: &[u8], _mode: XattrMode) -> Result<()> {
        todo!()
    }
    pub fn remove_xattr(&self, _caller: Caller, _ino: Ino, _name: &[u8]) -> Result<()> {
        todo!()
    }
    /// `mode` is fallocate(2)'s.
    pub fn fallocate(&self, _handle: HandleId, _offset: u64, _length: u64, _mode: i32) -> Result<()> {
        todo!()
    }
    pub fn seek(&self, _handle: HandleId, _offset: u64, _what: Seek) -> Result<u64> {
        todo!()
    }
    pub fn copy_range(&self, _from: (HandleId, u64), _to: (HandleId, u64), _length: u64) -> Result<u64> {
        todo!()
    }
}
