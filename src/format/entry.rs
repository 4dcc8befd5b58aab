//! What a directory entry or a linked inode is.

use super::{Digest, Meta};

/// A device number, as `makedev(3)` splits it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// The content of an inode that isn't a directory.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Content {
    /// A regular file: its blob and the blob's length in bytes.
    File {
        /// The blob.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// A symbolic link and its target, 1 to 4095 bytes without NUL.
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

/// A directory's tree object and the sums over all that lies beneath.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Subtree {
    /// The tree object.
    pub tree: Digest,
    /// Entries beneath, at every depth; the directory itself isn't counted.
    pub entries: u64,
    /// Bytes of the regular files beneath; hard-linked inodes aren't counted, for they belong to no one directory.
    pub bytes: u64,
    /// Directories beneath, at every depth.
    pub dirs: u64,
    /// Directories directly inside; the directory's link count is two more.
    pub subdirs: u32,
}

/// An index into the manifest's table of linked inodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkNumber(pub u32);

/// An inode with metadata of its own in a tree: anything but a hard link.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Node {
    /// Not a directory, with one name.
    Leaf(Content),
    /// A directory.
    Dir(Subtree),
}

/// What a directory entry names.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Entry {
    /// An inode described here.
    Inode(Meta, Node),
    /// An inode with several names, described in the table of linked inodes.
    Linked(LinkNumber),
}

/// The type of an inode, as `st_mode` and `d_type` tell it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Kind {
    /// Regular file.
    File,
    /// Directory.
    Dir,
    /// Symbolic link.
    Symlink,
    /// Character device.
    Char,
    /// Block device.
    Block,
    /// Named pipe.
    Fifo,
    /// Unix socket.
    Socket,
}

impl Kind {
    /// Its name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Dir => "dir",
            Self::Symlink => "symlink",
            Self::Char => "char",
            Self::Block => "block",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
        }
    }
}

impl Content {
    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File { .. } => Kind::File,
            Self::Symlink(_) => Kind::Symlink,
            Self::Char(_) => Kind::Char,
            Self::Block(_) => Kind::Block,
            Self::Fifo => Kind::Fifo,
            Self::Socket => Kind::Socket,
        }
    }
}

impl Node {
    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Leaf(content) => content.kind(),
            Self::Dir(_) => Kind::Dir,
        }
    }
}
