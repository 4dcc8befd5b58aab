//! Which directories a layer touches: those it says something of, and all above them.

use super::SnapshotError;
use crate::format::Ino;
use crate::layer::{Body, InodeRecord};
use crate::vfs::Base;
use crate::vfs::freeze::Records;
use std::collections::HashSet;

/// The directories whose entries, or anything beneath, differ from the base. Proportional to the changes, not to the base.
pub fn touched(base: &Base, records: &Records) -> Result<HashSet<Ino>, SnapshotError> {
    let mut all = HashSet::new();
    for &dir in records.names.keys() {
        touch(base, records, &mut all, dir)?;
    }
    for (&ino, record) in &records.inodes {
        if record.is_unnamed() || ino == Ino::ROOT {
            continue;
        }
        // A new inode's directory has a name record; one with a clean number may have none.
        let holder = match record.body {
            Body::Dir { parent, .. } => Some(parent),
            _ => base.parent(ino)?,
        };
        if let Some(holder) = holder {
            touch(base, records, &mut all, holder)?;
        }
    }
    if records.inodes.contains_key(&Ino::ROOT) {
        all.insert(Ino::ROOT);
    }
    Ok(all)
}

fn touch(base: &Base, records: &Records, all: &mut HashSet<Ino>, mut dir: Ino) -> Result<(), SnapshotError> {
    while all.insert(dir) && dir != Ino::ROOT {
        dir = match records.inodes.get(&dir) {
            Some(InodeRecord { body: Body::Dir { parent, .. }, .. }) => *parent,
            Some(_) => return Err(SnapshotError::Inconsistent { ino: dir, what: "a directory that is none" }),
            None => base
                .parent(dir)?
                .ok_or(SnapshotError::Inconsistent { ino: dir, what: "a directory without a parent" })?,
        };
    }
    Ok(())
}
