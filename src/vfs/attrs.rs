//! getattr and setattr.

use super::content::SIZE_MAX;
use super::error::{Result, VfsError};
use super::types::{Attr, Caller, SetAttr};
use super::{Fs, acl};
use crate::format::{Ino, Kind, Timestamp};
use crate::layer::{Body, DataId, FileContent, InodeRecord};
use std::fs::FileTimes;

impl Fs {
    /// Attributes of an inode.
    pub fn attr(&self, ino: Ino) -> Result<Attr> {
        let _guard = self.read_lock();
        self.attr_of(ino, &self.record(ino)?)
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
    pub fn set_attr(&self, _caller: Caller, ino: Ino, change: &SetAttr) -> Result<Attr> {
        let upper = self.upper()?;
        if change.size.is_some_and(|size| size > SIZE_MAX) {
            return Err(VfsError::TooLarge);
        }
        loop {
            if let Some(size) = change.size {
                self.make_data(ino, size)?;
            }
            let _guard = upper.tree_lock.write();
            let mut record = self.record(ino)?;
            if let Some(size) = change.size {
                match record.body {
                    Body::File { generation, content: FileContent::Data { .. } } => {
                        self.cut(DataId { ino, generation }, size)?;
                    }
                    // A snapshot sealed or took the content since the copy-up.
                    Body::File { .. } => continue,
                    _ => return Err(VfsError::Invalid),
                }
            }
            if changes_record(change) {
                self.change_record(ino, &mut record, change)?;
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

    fn change_record(&self, ino: Ino, record: &mut InodeRecord, change: &SetAttr) -> Result<()> {
        let now = Timestamp::now();
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
        let Body::File { generation, content: FileContent::Data { .. } } = record.body else { return Ok(()) };
        let file = self.upper()?.layer.data().open_file(DataId { ino, generation })?;
        file.set_times(FileTimes::new().set_modified(record.meta.mtime.into()))
            .map_err(VfsError::io("can't set the time of a file of the layer"))
    }
}

/// Whether more changes than the length, which the data file has.
fn changes_record(change: &SetAttr) -> bool {
    let SetAttr { mode, uid, gid, size: _, atime, mtime, ctime, handle: _ } = change;
    mode.is_some() || uid.is_some() || gid.is_some() || atime.is_some() || mtime.is_some() || ctime.is_some()
}
