//! The words that the filesystem and its adapter exchange.

use crate::format::{Device, Digest, Ino, Kind, Mode, Timestamp};
use std::sync::OnceLock;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Process; 0 when it is in another pid namespace.
    pub pid: u32,
}

impl Caller {
    /// Whether it is the machine's root, who has capabilities of the initial user namespace (`capable` in Linux's kernel/capability.c): among
    /// them `CAP_FSETID`, of which FUSE doesn't tell. The root of another namespace is number 0 on a mount of that namespace, and has not.
    pub fn is_machine_root(self) -> bool {
        static INITIAL: OnceLock<bool> = OnceLock::new();
        self.uid == 0
            && *INITIAL.get_or_init(|| {
                std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| maps_all_to_themselves(&map))
            })
    }
}

/// Whether a user namespace has this `uid_map` (user_namespaces(7)) that is the initial one, or made no different from it.
fn maps_all_to_themselves(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Attributes of an inode, as stat(2) tells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Number.
    pub ino: Ino,
    /// Type.
    pub kind: Kind,
    /// Permission bits.
    pub mode: Mode,
    /// Links; for a directory 2 and one for each directory inside.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device.
    pub rdev: Device,
    /// Length in bytes.
    pub size: u64,
    /// Blocks of 512 bytes.
    pub blocks: u64,
    /// Access time.
    pub atime: Timestamp,
    /// Modification time.
    pub mtime: Timestamp,
    /// Change time.
    pub ctime: Timestamp,
}

/// A time to set.
#[derive(Clone, Copy, Debug)]
pub enum SetTime {
    /// The clock's.
    Now,
    /// This one.
    To(Timestamp),
}

impl SetTime {
    /// The time meant.
    pub fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Now => now,
            Self::To(time) => time,
        }
    }
}

/// What setattr changes; `None` leaves a field.
#[derive(Clone, Debug, Default)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<Mode>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length: cut, or extended by a hole.
    pub size: Option<u64>,
    /// Access time.
    pub atime: Option<SetTime>,
    /// Modification time.
    pub mtime: Option<SetTime>,
    /// Change time; the clock's when `None`.
    pub ctime: Option<Timestamp>,
    /// The open file that the change came through.
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
    /// A file of the layer: the inode, and which copy-up of it.
    Data(Ino, u32),
    /// Partly in a file of the layer, partly in a blob: no host file has it all.
    Partial(Ino, u32),
}

/// How the content of clean files is copied up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Copying {
    /// Large files by range, unless the filesystem shares extents.
    #[default]
    Auto,
    /// All of a file when it is first opened for writing.
    Whole,
    /// Every file by range.
    Range,
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
    /// A symbolic link to the target.
    Symlink(Box<[u8]>),
}

/// rename(2)'s flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RenameMode {
    /// What the new name meant is replaced.
    Replace,
    /// RENAME_NOREPLACE.
    NoReplace,
    /// RENAME_EXCHANGE.
    Exchange,
}

/// setxattr(2)'s flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XattrMode {
    /// Create or replace.
    Set,
    /// XATTR_CREATE.
    Create,
    /// XATTR_REPLACE.
    Replace,
    /// Both: neither a new attribute nor one that is there will do.
    Neither,
}

/// lseek(2)'s SEEK_DATA and SEEK_HOLE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seek {
    /// The next byte of data.
    Data,
    /// The next hole, or the end.
    Hole,
}

/// One entry of a directory listing.
#[derive(Clone, Debug)]
pub struct Listed<'a> {
    /// Name; `.` and `..` among them.
    pub name: &'a [u8],
    /// Number.
    pub ino: Ino,
    /// Type.
    pub kind: Kind,
    /// Resumes after this entry; stable while entries come and go.
    pub cookie: u64,
    /// Present when attributes were asked for and could be had; never for `.` and `..`.
    pub attr: Option<Attr>,
}

/// Totals for statfs(2).
#[derive(Clone, Copy, Debug, Default)]
pub struct StatFs {
    /// Bytes of a block.
    pub block_size: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub free: u64,
    /// Free blocks for ordinary users.
    pub available: u64,
    /// Inodes in all.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_namespace_is_known_by_its_map() {
        assert!(maps_all_to_themselves("         0          0 4294967295\n"));
        assert!(!maps_all_to_themselves("         0       1000          1\n"));
        assert!(!maps_all_to_themselves(""));
    }
}
