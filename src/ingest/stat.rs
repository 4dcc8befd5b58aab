//! From what the kernel tells of a file to what the formats hold.

use crate::format::{Content, Device, FormatError, Meta, Mode, Timestamp, Xattrs};
use crate::sys::at::{FileType, Stat};
use crate::sys::xattrs::Pair;

/// Metadata of a file with these attributes.
pub(crate) fn meta(stat: &Stat, xattrs: Vec<Pair>) -> Result<Meta, FormatError> {
    Xattrs::new(xattrs).map(|xattrs| meta_with(stat, xattrs))
}

/// The same with attributes that are checked.
pub(crate) fn meta_with(stat: &Stat, xattrs: Xattrs) -> Meta {
    let (secs, nanos) = stat.mtime;
    let mtime = Timestamp::new(secs, nanos).unwrap_or_default();
    Meta { mode: Mode::from_bits(stat.mode), uid: stat.uid, gid: stat.gid, mtime, xattrs }
}

/// Content of a device, fifo or socket; `None` for what has content elsewhere.
pub(crate) fn special(stat: &Stat) -> Option<Content> {
    let (major, minor) = stat.rdev;
    let device = Device { major, minor };
    match stat.file_type {
        FileType::Char => Some(Content::Char(device)),
        FileType::Block => Some(Content::Block(device)),
        FileType::Fifo => Some(Content::Fifo),
        FileType::Socket => Some(Content::Socket),
        FileType::Regular | FileType::Directory | FileType::Symlink => None,
    }
}

/// Whether two looks at a file saw the same file in the same state. The access time doesn't count, nor does another link to it.
pub(crate) fn unchanged(before: &Stat, after: &Stat) -> bool {
    let state =
        |stat: &Stat| (stat.dev, stat.ino, stat.file_type, stat.size, stat.mtime, stat.mode, stat.uid, stat.gid);
    state(before) == state(after) && (before.ctime == after.ctime || before.nlink != after.nlink)
}
