//! Extended attributes. The kernel has checked permissions (`xattr_permission`), but passes names of any namespace on; lists of access
//! control are kept in step with the mode.

use super::error::{Result, VfsError};
use super::types::{Caller, XattrMode};
use super::{Fs, acl};
use crate::format::{Ino, Kind, Mode, Timestamp, Xattrs};
use crate::layer::InodeRecord;

/// Namespaces in which attributes can be set; of `system`, lists of access control alone.
const NAMESPACES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

/// Bytes of all names of an inode, each with its end: what listxattr(2) can return (Linux `XATTR_LIST_MAX`).
const NAMES_MAX: usize = 65_536;
/// Bytes of all names and values of an inode. They are one record, written whole at every change of the inode.
const ALL_MAX: usize = 1 << 20;

impl Fs {
    /// The value of attribute `name`.
    pub fn get_xattr(&self, ino: Ino, name: &[u8]) -> Result<Box<[u8]>> {
        let _guard = self.read_lock();
        let record = self.record(ino)?;
        // Of another system, a base may have attributes that can't be set here: they can be read.
        match record.meta.xattrs.get(name) {
            Some(value) => Ok(value.into()),
            None => check_name(name).and(Err(VfsError::NoAttribute)),
        }
    }

    /// Names, each ended by NUL, as listxattr(2) returns them. Those of `trusted` are for root alone.
    pub fn list_xattr(&self, caller: Caller, ino: Ino) -> Result<Vec<u8>> {
        let _guard = self.read_lock();
        let record = self.record(ino)?;
        let mut names = Vec::new();
        for (name, _) in record.meta.xattrs.as_slice() {
            if !caller.is_machine_root() && name.starts_with(b"trusted.") {
                continue;
            }
            names.extend_from_slice(name);
            names.push(0);
        }
        Ok(names)
    }

    /// Sets attribute `name`.
    pub fn set_xattr(&self, caller: Caller, ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        check_name(name)?;
        if value.len() > Xattrs::VALUE_MAX {
            return Err(VfsError::TooBig);
        }
        self.change_xattrs(ino, |record| {
            match (mode, record.meta.xattrs.get(name)) {
                (XattrMode::Create | XattrMode::Neither, Some(_)) => return Err(VfsError::Exists),
                (XattrMode::Replace | XattrMode::Neither, None) => return Err(VfsError::NoAttribute),
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
    pub fn remove_xattr(&self, ino: Ino, name: &[u8]) -> Result<()> {
        check_name(name)?;
        self.change_xattrs(ino, |record| {
            if record.meta.xattrs.get(name).is_none() {
                // The kernel asks for the removal of a list that the mode says all of.
                return if matches!(name, acl::ACCESS | acl::DEFAULT) { Ok(()) } else { Err(VfsError::NoAttribute) };
            }
            record.meta.xattrs = record.meta.xattrs.without(name);
            Ok(())
        })
    }

    fn change_xattrs(&self, ino: Ino, change: impl Fn(&mut InodeRecord) -> Result<()>) -> Result<()> {
        let upper = self.upper()?;
        upper.with_room(|| {
            let _guard = upper.tree_lock.write();
            let mut record = self.record(ino)?;
            let before = record.meta.xattrs.clone();
            change(&mut record)?;
            check_room(&before, &record.meta.xattrs)?;
            record.ctime = Timestamp::now();
            let mut batch = upper.layer.db().batch();
            batch.put_inode(ino, &record);
            Ok(batch.commit()?)
        })
    }
}

/// Refuses what makes an inode's attributes too many. An import takes in what its source has: of more than fits, some can be removed.
fn check_room(before: &Xattrs, after: &Xattrs) -> Result<()> {
    let (old, new) = (before.size(), after.size());
    match new.0 > NAMES_MAX && new.0 > old.0 || new.1 > ALL_MAX && new.1 > old.1 {
        true => Err(VfsError::NoAttributeRoom),
        false => Ok(()),
    }
}

/// Whether an attribute of this name can be: as the kernel's handlers of ext4 refuse.
fn check_name(name: &[u8]) -> Result<()> {
    if name.is_empty() || name.len() > Xattrs::NAME_MAX {
        return Err(VfsError::Range);
    }
    if matches!(name, acl::ACCESS | acl::DEFAULT) {
        return Ok(());
    }
    match NAMESPACES.iter().find_map(|space| name.strip_prefix(*space)) {
        Some(b"") => Err(VfsError::Invalid),
        Some(_) => Ok(()),
        None => Err(VfsError::Unsupported),
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
