//! The bytes of an inode, as entries of trees and slots of link tables hold them.
//!
//! ```text
//! head:     kind u8 │ name_len u8 │ mode u16 │ uid u32 │ gid u32 │ mtime_secs i64 │ mtime_nanos u32 │ xattr set u32
//! payload:  by kind
//! ```
//! Reading checks every field by itself; what fields owe each other is checked by the callers.

use super::codec::{Put, Reader};
use super::{Content, Device, Digest, FormatError, Kind, LinkNumber, Meta, Mode, Node, Subtree, Timestamp, Xattrs};

/// A slot of a link table that holds no inode.
pub(super) const FREE: u8 = 0;
const FILE: u8 = 1;
const DIR: u8 = 2;
const SYMLINK: u8 = 3;
const CHAR: u8 = 4;
const BLOCK: u8 = 5;
const FIFO: u8 = 6;
const SOCKET: u8 = 7;
const LINKED: u8 = 8;

/// Length of a head.
pub(super) const HEAD_LEN: usize = 1 + 1 + 2 + 4 + 4 + 8 + 4 + 4;
/// Where a head has its kind, and its name's length.
pub(super) const KIND_AT: usize = 0;
pub(super) const NAME_LEN_AT: usize = KIND_AT + 1;

/// The longest target of a symbolic link, in bytes (Linux `PATH_MAX` without the NUL).
const TARGET_MAX: usize = 4095;
/// Entries beneath a directory, and thereby inode numbers, stay under this.
pub(super) const ENTRIES_END: u64 = 1 << 40;
/// Bytes of a file, and of all files beneath a directory, are at most this (`off_t`).
pub(super) const BYTES_MAX: u64 = i64::MAX as u64;

/// The type that a head's kind stands for; `None` for a hard link.
pub(super) fn kind_of(code: u8) -> Option<Kind> {
    match code {
        FILE => Some(Kind::File),
        DIR => Some(Kind::Dir),
        SYMLINK => Some(Kind::Symlink),
        CHAR => Some(Kind::Char),
        BLOCK => Some(Kind::Block),
        FIFO => Some(Kind::Fifo),
        SOCKET => Some(Kind::Socket),
        _ => None,
    }
}

/// The fields that every kind has.
#[derive(PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: u8,
    pub(super) name_len: u8,
    mode: Mode,
    uid: u32,
    gid: u32,
    mtime: Timestamp,
    pub(super) set: u32,
}

impl Head {
    /// The head of an inode with its own metadata, whose attributes are set number `set`.
    pub(super) fn new(payload: &Payload<'_>, name_len: u8, meta: &Meta, set: u32) -> Self {
        let Meta { mode, uid, gid, mtime, xattrs: _ } = meta;
        Self { kind: payload.code(), name_len, mode: *mode, uid: *uid, gid: *gid, mtime: *mtime, set }
    }

    /// The head of a hard link: all zero, for the link table has the metadata.
    pub(super) fn of_link(name_len: u8) -> Self {
        Self { kind: LINKED, name_len, mode: Mode::default(), uid: 0, gid: 0, mtime: Timestamp::default(), set: 0 }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.u8(self.kind);
        out.u8(self.name_len);
        out.u16(self.mode.bits());
        out.u32(self.uid);
        out.u32(self.gid);
        out.i64(self.mtime.secs());
        out.u32(self.mtime.nanos());
        out.u32(self.set);
    }

    pub(super) fn read(reader: &mut Reader<'_>, index: usize) -> Result<Self, FormatError> {
        let bad = |field| FormatError::Field { index, field };
        let (kind, name_len, bits) = (reader.u8()?, reader.u8()?, reader.u16()?);
        let mode = Mode::from_bits(bits.into());
        if mode.bits() != bits {
            return Err(bad("mode"));
        }
        let (uid, gid) = (reader.u32()?, reader.u32()?);
        let (secs, nanos) = (reader.i64()?, reader.u32()?);
        let mtime = Timestamp::new(secs, nanos).ok_or(bad("mtime"))?;
        Ok(Self { kind, name_len, mode, uid, gid, mtime, set: reader.u32()? })
    }

    /// The metadata, its attributes taken from an object's `sets`.
    pub(super) fn meta(&self, sets: &[Xattrs]) -> Meta {
        let set = (self.set as usize).checked_sub(1).and_then(|number| sets.get(number));
        let Self { mode, uid, gid, mtime, .. } = *self;
        Meta { mode, uid, gid, mtime, xattrs: set.cloned().unwrap_or_default() }
    }
}

/// What a kind adds to the head, borrowed from values or from bytes.
pub(super) enum Payload<'a> {
    File { digest: Digest, size: u64 },
    Dir(Subtree),
    Symlink(&'a [u8]),
    Char(Device),
    Block(Device),
    Fifo,
    Socket,
    Linked(LinkNumber),
}

impl<'a> Payload<'a> {
    pub(super) fn of_content(content: &'a Content) -> Self {
        match content {
            Content::File { digest, size } => Self::File { digest: *digest, size: *size },
            Content::Symlink(target) => Self::Symlink(target),
            Content::Char(device) => Self::Char(*device),
            Content::Block(device) => Self::Block(*device),
            Content::Fifo => Self::Fifo,
            Content::Socket => Self::Socket,
        }
    }

    pub(super) fn of_node(node: &'a Node) -> Self {
        match node {
            Node::Leaf(content) => Self::of_content(content),
            Node::Dir(subtree) => Self::Dir(*subtree),
        }
    }

    /// The content; `None` for directories and hard links.
    pub(super) fn into_content(self) -> Option<Content> {
        Some(match self {
            Self::File { digest, size } => Content::File { digest, size },
            Self::Symlink(target) => Content::Symlink(target.into()),
            Self::Char(device) => Content::Char(device),
            Self::Block(device) => Content::Block(device),
            Self::Fifo => Content::Fifo,
            Self::Socket => Content::Socket,
            Self::Dir(_) | Self::Linked(_) => return None,
        })
    }

    fn code(&self) -> u8 {
        match self {
            Self::File { .. } => FILE,
            Self::Dir(_) => DIR,
            Self::Symlink(_) => SYMLINK,
            Self::Char(_) => CHAR,
            Self::Block(_) => BLOCK,
            Self::Fifo => FIFO,
            Self::Socket => SOCKET,
            Self::Linked(_) => LINKED,
        }
    }

    /// What no encoder may write and no decoder take.
    pub(super) fn check(&self, index: usize) -> Result<(), FormatError> {
        let wrong = match self {
            Self::File { size, .. } if *size > BYTES_MAX => "size",
            Self::Symlink(target) if target.is_empty() || target.len() > TARGET_MAX || target.contains(&0) => "target",
            Self::Dir(subtree) => match check_subtree(subtree) {
                Ok(()) => return Ok(()),
                Err(field) => field,
            },
            _ => return Ok(()),
        };
        Err(FormatError::Field { index, field: wrong })
    }

    /// Appends a payload that [`Payload::check`] allowed.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::File { digest, size } => {
                out.bytes(digest.as_bytes());
                out.u64(*size);
            }
            Self::Dir(Subtree { tree, entries, bytes, dirs, subdirs }) => {
                out.bytes(tree.as_bytes());
                out.u64(*entries);
                out.u64(*bytes);
                out.u64(*dirs);
                out.u32(*subdirs);
            }
            Self::Symlink(target) => {
                out.u16(target.len() as u16);
                out.bytes(target);
            }
            Self::Char(device) | Self::Block(device) => {
                out.u32(device.major);
                out.u32(device.minor);
            }
            Self::Fifo | Self::Socket => {}
            Self::Linked(number) => out.u32(number.0),
        }
    }

    /// Reads and checks the payload of `kind`.
    pub(super) fn read(kind: u8, reader: &mut Reader<'a>, index: usize) -> Result<Self, FormatError> {
        let payload = match kind {
            FILE => Self::File { digest: reader.digest()?, size: reader.u64()? },
            DIR => Self::Dir(Subtree {
                tree: reader.digest()?,
                entries: reader.u64()?,
                bytes: reader.u64()?,
                dirs: reader.u64()?,
                subdirs: reader.u32()?,
            }),
            SYMLINK => {
                let length = reader.u16()?;
                Self::Symlink(reader.take(length.into())?)
            }
            CHAR => Self::Char(read_device(reader)?),
            BLOCK => Self::Block(read_device(reader)?),
            FIFO => Self::Fifo,
            SOCKET => Self::Socket,
            LINKED => Self::Linked(LinkNumber(reader.u32()?)),
            _ => return Err(FormatError::Field { index, field: "kind" }),
        };
        payload.check(index)?;
        Ok(payload)
    }
}

fn read_device(reader: &mut Reader<'_>) -> Result<Device, FormatError> {
    Ok(Device { major: reader.u32()?, minor: reader.u32()? })
}

/// Whether the sums of a directory can belong together; if not, which can't.
pub(super) fn check_subtree(subtree: &Subtree) -> Result<(), &'static str> {
    let Subtree { entries, bytes, dirs, subdirs, .. } = *subtree;
    if entries >= ENTRIES_END {
        return Err("entries beneath");
    }
    if dirs > entries {
        return Err("directories beneath");
    }
    // There are directories beneath exactly where some are directly inside.
    if u64::from(subdirs) > dirs || (subdirs == 0 && dirs > 0) {
        return Err("subdirectories");
    }
    // Where every entry is a directory, none of them holds a file.
    if bytes > BYTES_MAX || (bytes > 0 && dirs == entries) {
        return Err("bytes beneath");
    }
    Ok(())
}
