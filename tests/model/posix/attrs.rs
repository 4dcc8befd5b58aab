//! Attributes and extended attributes.

use super::{Body, Done, Fault, Id, Model, Stamp};
use crate::model::answer::Expect;
use crate::model::fail::Fail;
use crate::model::op::{On, Set, Time};

impl Model {
    pub(super) fn stat(&mut self, on: &On) -> Done {
        Ok(Expect::Stat(self.on(on)?))
    }

    pub(super) fn chmod(&mut self, on: &On, mode: u32) -> Done {
        let id = self.on(on)?;
        if matches!(self.inode(id).body, Body::Symlink(_)) {
            return Err(Fail::NoEntry);
        }
        if !(self.has(Fault::ChmodSkipsLinks) && self.inode(id).names > 1) {
            self.inode_mut(id).mode = mode & 0o7777;
        }
        self.changed(id);
        Ok(Expect::Done)
    }

    pub(super) fn chown(&mut self, on: &On, uid: Option<u32>, gid: Option<u32>) -> Done {
        let id = self.on(on)?;
        let is_dir = self.is_dir(id);
        let inode = self.inode_mut(id);
        inode.uid = uid.unwrap_or(inode.uid);
        inode.gid = gid.unwrap_or(inode.gid);
        if !is_dir {
            // chown_common: setuid goes, and setgid of what its group may execute, whoever asks.
            inode.mode &= !0o4000;
            if inode.mode & 0o010 != 0 {
                inode.mode &= !0o2000;
            }
        }
        self.changed(id);
        Ok(Expect::Done)
    }

    pub(super) fn utimens(&mut self, on: &On, atime: Time, mtime: Time) -> Done {
        if let On::Slot(slot) = on {
            self.slot(*slot)?;
        }
        // utimensat(2): with nothing to set, not even the path is looked at.
        if (atime, mtime) == (Time::Omit, Time::Omit) {
            return Ok(Expect::Done);
        }
        let id = self.on(on)?;
        let now = Stamp::At(self.clock);
        let resolve = |time, before| match time {
            Time::Omit => before,
            Time::Now => now,
            Time::To(secs, nanos) => Stamp::To(secs, nanos),
        };
        let inode = self.inode_mut(id);
        inode.atime = resolve(atime, inode.atime);
        inode.mtime = resolve(mtime, inode.mtime);
        self.changed(id);
        Ok(Expect::Done)
    }

    /// `user.` attributes are for files and directories (xattr(7)).
    fn may_have(&self, id: Id, name: &str) -> bool {
        !name.starts_with("user.") || matches!(self.inode(id).body, Body::File(_) | Body::Dir { .. })
    }

    pub(super) fn set_xattr(&mut self, on: &On, name: &str, value: Vec<u8>, how: Set) -> Done {
        let id = self.on(on)?;
        if !self.may_have(id, name) {
            return Err(Fail::NotPermitted);
        }
        let before = self.inode(id).xattrs.get(name);
        match (how, before) {
            (Set::Create, Some(_)) => return Err(Fail::Exists),
            (Set::Replace, None) => return Err(Fail::NoAttribute),
            _ => {}
        }
        let same = before == Some(&value);
        self.changed(id);
        let maybe = Stamp::Maybe(self.clock);
        let inode = self.inode_mut(id);
        if same {
            // ext4 leaves the change time when the value stays.
            inode.ctime = maybe;
        }
        inode.xattrs.insert(name.to_owned(), value);
        Ok(Expect::Done)
    }

    pub(super) fn get_xattr(&mut self, on: &On, name: &str) -> Done {
        let id = self.on(on)?;
        let value = self.inode(id).xattrs.get(name).ok_or(Fail::NoAttribute)?;
        Ok(Expect::Bytes(value.clone()))
    }

    pub(super) fn list_xattr(&mut self, on: &On) -> Done {
        let id = self.on(on)?;
        Ok(Expect::Names(self.inode(id).xattrs.keys().cloned().collect()))
    }

    pub(super) fn remove_xattr(&mut self, on: &On, name: &str) -> Done {
        let id = self.on(on)?;
        if !self.may_have(id, name) {
            return Err(Fail::NotPermitted);
        }
        self.inode_mut(id).xattrs.remove(name).ok_or(Fail::NoAttribute)?;
        self.changed(id);
        Ok(Expect::Done)
    }
}
