//! getattr and setattr.
//!
//! Setuid, setgid and capabilities go when a file gets new content or another owner. The mount asks the kernel for
//! `FUSE_HANDLE_KILLPRIV_V2` (linux/fuse.h), which leaves the two bits to the filesystem; capabilities the kernel removes itself, by
//! removexattr. It is told
//!
//! | by | of |
//! |---|---|
//! | a setattr that changes nothing | write(2) by passthrough, fallocate(2), copy_file_range(2) by one without `CAP_FSETID`; chown(2) of neither owner nor group |
//! | a flag of a write | write(2) through the daemon by such a one |
//! | a setattr of owner or group | chown(2), by whomever |
//! | a setattr of the length, an open with `O_TRUNC` | truncation, by whomever: the machine's root stands for those with `CAP_FSETID` |

use super::content::SIZE_MAX;
use super::error::{Result, VfsError};
use super::types::{Attr, Caller, SetAttr};
use super::{Fs, Upper, acl};
use crate::format::{Ino, Kind, Mode, Timestamp};
use crate::layer::{Body, DataId, FileContent, InodeRecord};

/// The attribute with a file's capabilities (capabilities(7)).
const CAPABILITY: &[u8] = b"security.capability";

impl Fs {
    /// Attributes of an inode.
    pub fn attr(&self, ino: Ino) -> Result<Attr> {
        let _guard = self.read_lock();
        self.attr_of(ino, &self.record(ino)?)
    }

    /// Whether the number is of an inode that still has a name. Numbers come from elsewhere than lookups only in file handles, which outlive
    /// what they were made for: the layer forgets an inode of the base that was removed, and the base alone would call it alive.
    pub fn has_name(&self, ino: Ino) -> Result<bool> {
        let _guard = self.read_lock();
        let mut at = ino;
        while at != Ino::ROOT {
            let db = self.upper.as_ref().map(|upper| upper.layer.db());
            if let Some(record) = db.map(|db| db.inode(at)).transpose()?.flatten() {
                return Ok(record.nlink > 0);
            }
            if at.is_linked_range() {
                return Ok(self.base.inode(at)?.is_some());
            }
            let Some((parent, name)) = self.base.entry_of(at)? else { return Ok(false) };
            // A name that means anything else now was taken from this inode; if it had got another, it would have a record.
            if self.child(parent, name.as_name())?.is_none_or(|(child, _)| child != at) {
                return Ok(false);
            }
            at = parent;
        }
        Ok(true)
    }

    /// Target of a symbolic link.
    pub fn read_link(&self, ino: Ino) -> Result<Box<[u8]>> {
        let _guard = self.read_lock();
        match self.record(ino)?.body {
            Body::Symlink(target) => Ok(target),
            _ => Err(VfsError::Invalid),
        }
    }

    /// Changes attributes. The kernel has checked permissions.
    pub fn set_attr(&self, caller: Caller, ino: Ino, change: &SetAttr) -> Result<Attr> {
        let upper = self.upper()?;
        if change.size.is_some_and(|size| size > SIZE_MAX) {
            return Err(VfsError::TooLarge);
        }
        if changes_nothing(change) {
            self.drop_privileges_if(caller, ino, |record| self.may_drop_privileges(caller, ino, record))?;
        } else if change.size.is_some() && !caller.is_machine_root() {
            self.drop_privileges(caller, ino)?;
        }
        upper.with_room(|| self.change_attr(upper, caller, ino, change))
    }

    fn change_attr(&self, upper: &Upper, caller: Caller, ino: Ino, change: &SetAttr) -> Result<Attr> {
        loop {
            if let Some(size) = change.size {
                self.make_data(ino, size)?;
            }
            // Not under the lock, for blocks may have to be copied.
            let cut = match change.size {
                Some(size) => self.cut_partial(ino, None, size)?,
                None => false,
            };
            let _guard = upper.tree_lock.write();
            let mut record = self.record(ino)?;
            if let Some(size) = change.size.filter(|_| !cut) {
                match record.body {
                    Body::File { generation, content: FileContent::Data { .. } } => {
                        self.cut(DataId { ino, generation }, size)?;
                    }
                    // A snapshot sealed or took the content since the copy-up.
                    Body::File { .. } => continue,
                    _ => return Err(VfsError::Invalid),
                }
            }
            // Changing neither owner nor group marks the change time too, as on ext4.
            if changes_record(change) || changes_nothing(change) {
                self.change_record(caller, ino, &mut record, change)?;
                let mut batch = upper.layer.db().batch();
                batch.put_inode(ino, &record);
                batch.commit()?;
            }
            return self.attr_of(ino, &record);
        }
    }

    fn cut(&self, id: DataId, size: u64) -> Result<()> {
        let file = self.upper()?.layer.data().open_file(id)?;
        file.set_len(size).map_err(VfsError::io("can't set the length of a file of the layer"))
    }

    /// Whether a setattr that changes nothing may take privileges away: chown(2) of neither owner nor group, which anybody may call, looks like
    /// a write by passthrough. A write has a handle for writing; the owner and root may do it by chown(2) as well.
    fn may_drop_privileges(&self, caller: Caller, ino: Ino, record: &InodeRecord) -> bool {
        let takes = record.kind() != Kind::Dir && without_privileges(caller, record) != record.meta.mode;
        !takes || caller.uid == 0 || caller.uid == record.meta.uid || self.open.is_written(ino)
    }

    /// Setuid and setgid of a file go, and its capability: what write(2) does for those without `CAP_FSETID`.
    pub fn drop_privileges(&self, caller: Caller, ino: Ino) -> Result<()> {
        self.drop_privileges_if(caller, ino, |_| true)
    }

    fn drop_privileges_if(&self, caller: Caller, ino: Ino, may: impl Fn(&InodeRecord) -> bool) -> Result<()> {
        let upper = self.upper()?;
        let _guard = upper.tree_lock.write();
        let mut record = self.record(ino)?;
        if !may(&record) {
            return Err(VfsError::NotPermitted);
        }
        let mode = without_privileges(caller, &record);
        let capable = record.meta.xattrs.get(CAPABILITY).is_some();
        if record.kind() == Kind::Dir || (mode == record.meta.mode && !capable) {
            return Ok(());
        }
        record.meta.mode = mode;
        if capable {
            record.meta.xattrs = record.meta.xattrs.without(CAPABILITY);
        }
        record.ctime = Timestamp::now();
        let mut batch = upper.layer.db().batch();
        batch.put_inode(ino, &record);
        Ok(batch.commit()?)
    }

    fn change_record(&self, caller: Caller, ino: Ino, record: &mut InodeRecord, change: &SetAttr) -> Result<()> {
        let now = Timestamp::now();
        if (change.uid.is_some() || change.gid.is_some()) && record.kind() != Kind::Dir {
            record.meta.mode = without_privileges(caller, record);
        }
        if let Some(mode) = change.mode
            && record.kind() != Kind::Symlink
        {
            record.meta.mode = mode;
            record.meta.xattrs = acl::after_chmod(&record.meta.xattrs, mode)?;
        }
        record.meta.uid = change.uid.unwrap_or(record.meta.uid);
        record.meta.gid = change.gid.unwrap_or(record.meta.gid);
        if let Some(atime) = change.atime {
            record.atime = atime.resolve(now);
        }
        if let Some(mtime) = change.mtime {
            record.meta.mtime = mtime.resolve(now);
            self.set_data_mtime(ino, record)?;
        }
        record.ctime = change.ctime.unwrap_or(now);
        Ok(())
    }

    /// The mtime of dirty content lives in its data file, where writes by passthrough move it.
    fn set_data_mtime(&self, ino: Ino, record: &InodeRecord) -> Result<()> {
        let Body::File { generation, content: FileContent::Data { .. } | FileContent::Partial(_) } = record.body else {
            return Ok(());
        };
        Ok(self.upper()?.layer.data().set_mtime(DataId { ino, generation }, record.meta.mtime)?)
    }
}

/// The mode without setuid, and without setgid where the group may execute; without execution it's a mark for locking, which members of the
/// group and root leave (`setattr_should_drop_sgid` in Linux's fs/attr.c). Only the caller's main group is known.
fn without_privileges(caller: Caller, record: &InodeRecord) -> Mode {
    let bits = u32::from(record.meta.mode.bits());
    let member = caller.uid == 0 || caller.gid == record.meta.gid;
    let setgid = if bits & 0o010 != 0 || !member { 0o2000 } else { 0 };
    Mode::from_bits(bits & !(0o4000 | setgid))
}

fn changes_nothing(change: &SetAttr) -> bool {
    change.size.is_none() && !changes_record(change)
}

/// Whether more changes than the length, which the data file has.
fn changes_record(change: &SetAttr) -> bool {
    let SetAttr { mode, uid, gid, size: _, atime, mtime, ctime, handle: _ } = change;
    mode.is_some() || uid.is_some() || gid.is_some() || atime.is_some() || mtime.is_some() || ctime.is_some()
}
