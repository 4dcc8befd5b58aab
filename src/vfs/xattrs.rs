//! Extended attributes. The kernel has checked namespaces and permissions (xattr_permission); lists of access control are kept in step
//! with the mode.

use super::error::{Result, VfsError};
use super::types::{Caller, XattrMode};
use super::{Fs, acl};
use crate::format::{Ino, Kind, Mode, Timestamp, Xattrs};
use crate::layer::InodeRecord;

impl Fs {
    /// The value of attribute `name`.
    pub fn get_xattr(&self, ino: Ino, name: &[u8]) -> Result<Box<[u8]>> {
        let _guard = self.read_lock();
        let record = self.record(ino)?;
        record.meta.xattrs.get(name).map(Into::into).ok_or(VfsError::NoAttribute)
    }

    /// Names, each ended by NUL, as listxattr(2) returns them.
    pub fn list_xattr(&self, ino: Ino) -> Result<Vec<u8>> {
        let _guard = self.read_lock();
        let record = self.record(ino)?;
        let mut names = Vec::new();
        for (name, _) in record.meta.xattrs.as_slice() {
            names.extend_from_slice(name);
            names.push(0);
        }
        Ok(names)
    }

    /// Sets attribute `name`.
    pub fn set_xattr(&self, caller: Caller, ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        if name.is_empty() || name.len() > Xattrs::NAME_MAX {
            return Err(VfsError::Range);
        }
        if value.len() > Xattrs::VALUE_MAX {
            return Err(VfsError::TooBig);
        }
        self.change_xattrs(ino, |record| {
            match (mode, record.meta.xattrs.get(name)) {
                (XattrMode::Create, Some(_)) => return Err(VfsError::Exists),
                (XattrMode::Replace, None) => return Err(VfsError::NoAttribute),
                _ => {}
            }
            match name {
                acl::ACCESS | acl::DEFAULT if record.kind() == Kind::Symlink => return Err(VfsError::Unsupported),
                acl::ACCESS => set_access(record, caller, value)?,
                acl::DEFAULT if record.kind() != Kind::Dir => return Err(VfsError::AccessDenied),
                acl::DEFAULT if acl::Acl::parse(value)?.is_none() => {
                    record.meta.xattrs = record.meta.xattrs.without(name);
                }
                _ => record.meta.xattrs = record.meta.xattrs.with(name, value).map_err(|_| VfsError::TooBig)?,
            }
            Ok(())
        })
    }

    /// Removes attribute `name`.
    pub fn remove_xattr(&self, _caller: Caller, ino: Ino, name: &[u8]) -> Result<()> {
        self.change_xattrs(ino, |record| {
            if record.meta.xattrs.get(name).is_none() {
                // The kernel asks for the removal of a list that the mode says all of.
                return if matches!(name, acl::ACCESS | acl::DEFAULT) { Ok(()) } else { Err(VfsError::NoAttribute) };
            }
            record.meta.xattrs = record.meta.xattrs.without(name);
            Ok(())
        })
    }

    fn change_xattrs(&self, ino: Ino, change: impl FnOnce(&mut InodeRecord) -> Result<()>) -> Result<()> {
        let upper = self.upper()?;
        let _guard = upper.tree_lock.write();
        let mut record = self.record(ino)?;
        change(&mut record)?;
        record.ctime = Timestamp::now();
        let mut batch = upper.layer.db().batch();
        batch.put_inode(ino, &record);
        Ok(batch.commit()?)
    }
}

/// Sets the access list; setgid goes when the caller is neither root nor in the file's group (`posix_acl_update_mode`).
fn set_access(record: &mut InodeRecord, caller: Caller, value: &[u8]) -> Result<()> {
    let (mode, xattrs) = acl::after_set_access(&record.meta.xattrs, record.meta.mode, value)?;
    let may_keep_setgid = caller.uid == 0 || in_group(caller, record.meta.gid);
    let drop = if may_keep_setgid { 0 } else { 0o2000 };
    record.meta.mode = Mode::from_bits(u32::from(mode.bits()) & !drop);
    record.meta.xattrs = xattrs;
    Ok(())
}

/// Whether the caller is in `group`, supplementary groups included (proc_pid_status(5), `Groups:`).
fn in_group(caller: Caller, group: u32) -> bool {
    caller.gid == group
        || std::fs::read_to_string(format!("/proc/{}/status", caller.pid)).is_ok_and(|status| {
            let groups = status.lines().find_map(|line| line.strip_prefix("Groups:"));
            groups.is_some_and(|groups| groups.split_whitespace().any(|id| id.parse() == Ok(group)))
        })
}
