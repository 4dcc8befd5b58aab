//! Attributes, extended attributes, symbolic links and totals.

use super::adapter::{Adapter, Node};
use super::convert;
use super::errno::{Fault, Refusal};
use crate::vfs::{Caller, SetAttr, StatFs, VfsError, XattrMode};
use fuser::FileAttr;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// What a caller asked of an extended attribute's buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum XattrAnswer<T> {
    /// The buffer has no room, on purpose: tell the size.
    Size(u32),
    /// The value.
    Value(T),
}

impl Adapter {
    /// The attributes, and whether the kernel may keep them.
    pub(super) fn attr(&self, node: u64) -> Result<(FileAttr, bool), Fault> {
        match self.node(node)? {
            Node::Control(control, node) => Ok((control.attr(node), false)),
            Node::File(ino) => {
                let attr = self.fs.attr(ino)?;
                Ok((convert::file_attr(&attr, ino.0), self.nodes.attributes_keep(ino)))
            }
        }
    }

    pub(super) fn set_attr(&self, caller: Caller, node: u64, change: &SetAttr) -> Result<(FileAttr, bool), Fault> {
        match self.node(node)? {
            // The `>` of a shell cuts a control file to nothing, which it is already.
            Node::Control(control, node) if is_cut(change) => Ok((control.attr(node), false)),
            Node::Control(..) => Err(Refusal::ControlFixed.into()),
            Node::File(ino) => {
                let attr = self.fs.set_attr(caller, ino, change)?;
                Ok((convert::file_attr(&attr, ino.0), self.nodes.attributes_keep(ino)))
            }
        }
    }

    pub(super) fn read_link(&self, node: u64) -> Result<Box<[u8]>, Fault> {
        match self.node(node)? {
            Node::Control(..) => Err(VfsError::Invalid.into()),
            Node::File(ino) => Ok(self.fs.read_link(ino)?),
        }
    }

    pub(super) fn stat_fs(&self) -> Result<StatFs, Fault> {
        Ok(self.fs.stat_fs()?)
    }

    pub(super) fn get_xattr(&self, node: u64, name: &OsStr, room: u32) -> Result<XattrAnswer<Box<[u8]>>, Fault> {
        match self.node(node)? {
            Node::Control(..) => Err(Refusal::NoAttribute.into()),
            Node::File(ino) => answer(self.fs.get_xattr(ino, name.as_bytes())?, room),
        }
    }

    pub(super) fn list_xattr(&self, caller: Caller, node: u64, room: u32) -> Result<XattrAnswer<Vec<u8>>, Fault> {
        match self.node(node)? {
            Node::Control(..) => answer(Vec::new(), room),
            Node::File(ino) => answer(self.fs.list_xattr(caller, ino)?, room),
        }
    }

    pub(super) fn set_xattr(
        &self,
        caller: Caller,
        node: u64,
        name: &OsStr,
        value: &[u8],
        flags: i32,
    ) -> Result<(), Fault> {
        const BOTH: i32 = libc::XATTR_CREATE | libc::XATTR_REPLACE;
        let mode = match flags {
            0 => XattrMode::Set,
            libc::XATTR_CREATE => XattrMode::Create,
            libc::XATTR_REPLACE => XattrMode::Replace,
            BOTH => XattrMode::Neither,
            _ => return Err(Refusal::Flags.into()),
        };
        match self.node(node)? {
            Node::Control(..) => Err(Refusal::ControlFixed.into()),
            Node::File(ino) => Ok(self.fs.set_xattr(caller, ino, name.as_bytes(), value, mode)?),
        }
    }

    pub(super) fn remove_xattr(&self, node: u64, name: &OsStr) -> Result<(), Fault> {
        match self.node(node)? {
            Node::Control(..) => Err(Refusal::ControlFixed.into()),
            Node::File(ino) => Ok(self.fs.remove_xattr(ino, name.as_bytes())?),
        }
    }
}

fn is_cut(change: &SetAttr) -> bool {
    let SetAttr { mode, uid, gid, size, .. } = change;
    mode.is_none() && uid.is_none() && gid.is_none() && *size == Some(0)
}

fn answer<T: AsRef<[u8]>>(value: T, room: u32) -> Result<XattrAnswer<T>, Fault> {
    let size = u32::try_from(value.as_ref().len()).map_err(|_| VfsError::TooBig)?;
    match room {
        0 => Ok(XattrAnswer::Size(size)),
        _ if size > room => Err(VfsError::Range.into()),
        _ => Ok(XattrAnswer::Value(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_without_room_asks_for_the_size() {
        assert_eq!(answer(vec![1, 2], 0).unwrap(), XattrAnswer::Size(2));
        assert_eq!(answer(vec![1, 2], 2).unwrap(), XattrAnswer::Value(vec![1, 2]));
        assert!(answer(vec![1, 2], 1).is_err());
    }
}
