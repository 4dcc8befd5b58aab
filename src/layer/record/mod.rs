//! The records of a layer's database. `bytes` has their keys and values as bytes.

mod bytes;

pub use bytes::{ino_of_key, inode_key, name_key};

use crate::format::{Device, Digest, Ino, Kind, Meta, Timestamp, Xattrs};
use bytes::{VERSION, VERSION_PARTIAL};

/// A blob and its length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BlobRef {
    /// Name of the blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// Content that is in a data file block by block, and elsewhere in the blob that it was copied up from.
///
/// A byte is the blob's when it lies below `visible` in a block that the data file doesn't hold (`blocks`); any other is the data file's. Length
/// and mtime are the data file's. Nothing but this program writes it, so what is held is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Partial {
    /// Where bytes come from that aren't held.
    pub blob: BlobRef,
    /// Up to where the blob is seen: the shortest length that the file has had and grown from, at most the blob's.
    pub visible: u64,
    /// The size of a block is 2 to the power of this.
    pub shift: u8,
    /// The data file is known to be on disk. Until then, a power cut takes the file back to the blob.
    pub settled: bool,
}

/// Where the bytes of a regular file are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileContent {
    /// In the store: the content is clean, only metadata is dirty.
    Blob(BlobRef),
    /// In the layer's data file of this inode and generation. Its size and mtime are those of the data file, for passthrough writes
    /// don't pass the daemon. `origin` is the blob it was copied up from, kept until the copy is known to be on disk.
    Data {
        /// What to fall back to when a power cut took the copy.
        origin: Option<BlobRef>,
    },
    /// In the data file, which a snapshot is taking into the store and nothing writes any more: its mtime is the record's, and a write
    /// copies it up to the next generation.
    Sealed,
    /// In the data file and in a blob.
    Partial(Partial),
}

impl FileContent {
    /// Whether it is in a data file that may be written.
    pub fn is_writable(&self) -> bool {
        matches!(self, Self::Data { .. } | Self::Partial(_))
    }
}

/// What an inode has by its type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// A regular file.
    File {
        /// Counts copy-ups, so that no two data files of one inode share a name.
        generation: u32,
        /// Where its bytes are.
        content: FileContent,
    },
    /// A directory; its entries are its base tree's, changed by the `names` records.
    Dir {
        /// The directory that holds it (the root holds itself).
        parent: Ino,
        /// Directories directly inside, after the changes.
        subdirs: u32,
    },
    /// A symbolic link's target.
    Symlink(Box<[u8]>),
    /// A character device.
    Char(Device),
    /// A block device.
    Block(Device),
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
}

impl Body {
    /// The type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File { .. } => Kind::File,
            Self::Dir { .. } => Kind::Dir,
            Self::Symlink(_) => Kind::Symlink,
            Self::Char(_) => Kind::Char,
            Self::Block(_) => Kind::Block,
            Self::Fifo => Kind::Fifo,
            Self::Socket => Kind::Socket,
        }
    }
}

/// A dirty inode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InodeRecord {
    /// Mode, owner, mtime, xattrs. The mtime of a file whose content is in a data file is that file's.
    pub meta: Meta,
    /// Names; 0 for an inode that is unlinked but still held by the kernel. 1 for a directory: what stat tells is counted from `subdirs`.
    pub nlink: u32,
    /// Access time: set when the inode is made and by utimensat(2), never by reading.
    pub atime: Timestamp,
    /// Change time.
    pub ctime: Timestamp,
    /// By type.
    pub body: Body,
}

/// What a directory's entry has become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameRecord {
    /// The base tree's entry of this name is gone.
    Removed,
    /// The name means this inode.
    Child(Child),
}

/// A child under a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Child {
    /// Its number.
    pub ino: Ino,
    /// Its type.
    pub kind: Kind,
    /// Order of making in the layer: the listing's cookie.
    pub sequence: u64,
}

/// Bytes of a record that no version of this program wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// A version from the future.
    #[error("record version {0}, this program reads versions {VERSION} and {VERSION_PARTIAL}")]
    Version(u8),
    /// Something else.
    #[error("a damaged record ({0})")]
    Damaged(&'static str),
}

impl InodeRecord {
    /// Whether it has no name left.
    pub fn is_unnamed(&self) -> bool {
        self.nlink == 0
    }

    /// What stays of an inode of the base's table that has no name left: the base would call it alive otherwise.
    pub fn tombstone(self) -> Self {
        let meta = Meta { xattrs: Xattrs::default(), ..self.meta };
        Self { meta, nlink: 0, body: Body::Fifo, ..self }
    }

    /// Its data file's generation, when its content is in one.
    pub fn data_generation(&self) -> Option<u32> {
        match self.body {
            Body::File { generation, content } if !matches!(content, FileContent::Blob(_)) => Some(generation),
            _ => None,
        }
    }

    /// Generation and content of a file that is partly in its data file.
    pub fn partial(&self) -> Option<(u32, Partial)> {
        match self.body {
            Body::File { generation, content: FileContent::Partial(partial) } => Some((generation, partial)),
            _ => None,
        }
    }

    /// Its type.
    pub fn kind(&self) -> Kind {
        self.body.kind()
    }
}
