//! Names: finding, making, removing and renaming them.

use super::adapter::{Adapter, Entry, Node};
use super::control_dir::ControlDir;
use super::convert;
use super::errno::{Fault, Refusal};
use super::scout::Sign;
use crate::format::{Device, Kind};
use crate::vfs::{Attr, Caller, Ino, Make, RenameMode, VfsError};
use fuser::RenameFlags;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

impl Adapter {
    /// `None`: no such name.
    pub(super) fn find(&self, parent: u64, name: &OsStr) -> Result<Option<Entry>, Fault> {
        let bytes = name.as_bytes();
        if let Some(control) = self.control.as_ref().filter(|_| ControlDir::is_at(parent, bytes)) {
            return Ok(Some(Entry::uncached(control.attr(super::control_dir::Node::Dir))));
        }
        match self.node(parent)? {
            Node::Control(control, node) => Ok(Some(Entry::uncached(control.lookup(node, bytes)?))),
            Node::File(ino) => {
                let attr = match bytes {
                    // Only file handles ask for these two: the kernel knows the parents of all else.
                    b"." => return self.find_itself(parent, ino),
                    b".." => Some(self.fs.attr(self.fs.parent(ino)?)?),
                    _ => {
                        self.notice(Sign::Lookup, ino);
                        self.fs.lookup(ino, convert::name(name)?)?
                    }
                };
                Ok(attr.map(|attr| self.entry(&attr)))
            }
        }
    }

    /// What a file handle leads to. The number may be of an inode that was removed since; and the kernel takes no other node than the one
    /// that the handle names, so a superseded one leads nowhere.
    fn find_itself(&self, node: u64, ino: Ino) -> Result<Option<Entry>, Fault> {
        if self.nodes.newer(node).is_some() || !self.fs.has_name(ino)? {
            return Ok(None);
        }
        Ok(Some(self.entry(&self.fs.attr(ino)?)))
    }

    /// The directory in which `name` may be made or removed.
    pub(super) fn writable_dir(&self, parent: u64, name: &OsStr) -> Result<Ino, Fault> {
        if self.control.is_some() && ControlDir::is_at(parent, name.as_bytes()) {
            return Err(Refusal::Reserved.into());
        }
        match self.node(parent)? {
            Node::Control(..) => Err(Refusal::ControlFixed.into()),
            Node::File(ino) => Ok(ino),
        }
    }

    pub(super) fn make(
        &self,
        caller: Caller,
        (parent, name): (u64, &OsStr),
        what: Make,
        mode: u32,
        umask: u32,
    ) -> Result<Entry, Fault> {
        let dir = self.writable_dir(parent, name)?;
        let attr = self.fs.make(caller, dir, convert::name(name)?, what, convert::mode(mode), umask)?;
        Ok(self.entry(&attr))
    }

    pub(super) fn make_node(
        &self,
        caller: Caller,
        at: (u64, &OsStr),
        mode: u32,
        umask: u32,
        rdev: u32,
    ) -> Result<Entry, Fault> {
        let kind = convert::kind_of_mode(mode).ok_or(VfsError::Invalid)?;
        let device = if matches!(kind, Kind::Char | Kind::Block) { convert::device(rdev) } else { Device::default() };
        self.make(caller, at, Make::Node(kind, device), mode, umask)
    }

    pub(super) fn remove(&self, parent: u64, name: &OsStr, dir: bool) -> Result<(), Fault> {
        let parent = self.writable_dir(parent, name)?;
        let name = convert::name(name)?;
        let outcome = if dir { self.fs.rmdir(parent, name) } else { self.fs.unlink(parent, name) };
        Ok(outcome?)
    }

    pub(super) fn rename(&self, from: (u64, &OsStr), to: (u64, &OsStr), flags: RenameFlags) -> Result<(), Fault> {
        let mode = if flags.is_empty() {
            RenameMode::Replace
        } else if flags == RenameFlags::RENAME_NOREPLACE {
            RenameMode::NoReplace
        } else if flags == RenameFlags::RENAME_EXCHANGE {
            RenameMode::Exchange
        } else {
            return Err(Refusal::Flags.into());
        };
        let from = (self.writable_dir(from.0, from.1)?, convert::name(from.1)?);
        let to = (self.writable_dir(to.0, to.1)?, convert::name(to.1)?);
        Ok(self.fs.rename(from, to, mode)?)
    }

    pub(super) fn link(&self, node: u64, parent: u64, name: &OsStr) -> Result<Entry, Fault> {
        let dir = self.writable_dir(parent, name)?;
        let Node::File(ino) = self.node(node)? else { return Err(Refusal::ControlFixed.into()) };
        let attr = self.fs.link(ino, dir, convert::name(name)?)?;
        Ok(self.entry(&attr))
    }

    /// An entry of an inode, counted as known to the kernel.
    pub(super) fn entry(&self, attr: &Attr) -> Entry {
        let published = self.nodes.publish(attr.ino);
        let shown = convert::file_attr(attr, published.node);
        // An alias isn't the inode's `st_ino`: the kernel has to ask getattr for that before it tells anybody.
        if published.alias { Entry { attr: shown, attr_keep: false, entry_keep: true } } else { Entry::cached(shown) }
    }
}
