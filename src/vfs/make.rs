//! Making something new: a node, directory, symbolic link, or a file that is opened at once. As in `namespace`, each is one batch under the
//! exclusive `tree_lock`; a file's data file is made before it, for a record never names one that isn't there.

use super::error::{Result, VfsError};
use super::namespace::put_changed_dir;
use super::open::Opened;
use super::types::{Attr, Caller, Make, OpenMode};
use super::{Fs, Upper, acl};
use crate::format::{Ino, Kind, Meta, Mode, Name, Timestamp, Xattrs};
use crate::layer::{Body, DataId, FileContent, InodeRecord};
use std::fs::File;

/// The longest target of a symbolic link (Linux `PATH_MAX`, less the NUL).
const TARGET_MAX: usize = 4095;

/// What is to be made, by whom and where.
struct New<'a> {
    caller: Caller,
    parent: Ino,
    name: Name<'a>,
    what: Make,
    mode: Mode,
    umask: u32,
}

impl Fs {
    /// Makes a node, directory or symbolic link. `mode` is as the caller gave it, the umask not applied: a default list replaces it.
    pub fn make(
        &self,
        caller: Caller,
        parent: Ino,
        name: Name<'_>,
        what: Make,
        mode: Mode,
        umask: u32,
    ) -> Result<Attr> {
        if matches!(&what, Make::Symlink(target) if target.is_empty() || target.len() > TARGET_MAX) {
            return Err(VfsError::NameTooLong);
        }
        self.make_and(&New { caller, parent, name, what, mode, umask }, |attr, _| Ok(attr))
    }

    /// Makes a regular file and opens it.
    pub fn create(
        &self,
        caller: Caller,
        parent: Ino,
        name: Name<'_>,
        mode: Mode,
        umask: u32,
        open: OpenMode,
    ) -> Result<(Attr, Opened)> {
        let what = Make::Node(Kind::File, Default::default());
        self.make_and(&New { caller, parent, name, what, mode, umask }, |attr, data| {
            let opened = match data {
                Some(data) => self.open_made(attr.ino, data, open),
                None => self.open_now(attr.ino, open)?,
            };
            Ok((attr, opened))
        })
    }

    /// Makes it, and under the same lock does what comes next.
    fn make_and<T>(&self, new: &New<'_>, next: impl Fn(Attr, Option<File>) -> Result<T>) -> Result<T> {
        let upper = self.upper()?;
        upper.with_room(|| {
            let _guard = upper.tree_lock.write();
            let (ino, record, data) = self.add_new(upper, new)?;
            next(self.attr_with(ino, &record, data.as_ref())?, data)
        })
    }

    /// Returns a regular file's data file too, open for reading.
    fn add_new(&self, upper: &Upper, new: &New<'_>) -> Result<(Ino, InodeRecord, Option<File>)> {
        let &New { parent, name, .. } = new;
        let dir = self.live_dir(parent)?;
        if self.child(parent, name)?.is_some() {
            return Err(VfsError::Exists);
        }
        let ino = upper.layer.allocate_ino()?;
        let record = new.record(&dir)?;
        let data = matches!(record.body, Body::File { .. }).then_some(DataId { ino, generation: 1 });
        let file = data.map(|id| upper.layer.data().create_to_read(id)).transpose()?;
        let mut batch = upper.layer.db().batch();
        batch.put_inode(ino, &record);
        put_changed_dir(&mut batch, parent, dir, i64::from(record.kind() == Kind::Dir));
        let made = self
            .attach(&mut batch, parent, name, ino, record.kind())
            .and_then(|()| self.commit(upper, batch, &[parent]));
        match (made, data) {
            (Ok(()), _) => Ok((ino, record, file)),
            (Err(error), None) => Err(error),
            (Err(error), Some(id)) => {
                // No record names it: on a full disk, the room that it takes is needed.
                if let Err(error) = upper.layer.data().remove(id) {
                    tracing::warn!(%error, "an empty data file stays behind");
                }
                Err(error)
            }
        }
    }
}

impl New<'_> {
    /// Its record: owner, and what setgid and default lists of the directory hand down.
    fn record(&self, dir: &InodeRecord) -> Result<InodeRecord> {
        let is_dir = matches!(self.what, Make::Dir);
        let (mode, xattrs) = match self.what {
            Make::Symlink(_) => (Mode::from_bits(0o777), Xattrs::default()),
            _ => acl::inherit(&dir.meta.xattrs, self.mode, self.umask, is_dir)?,
        };
        let setgid = u32::from(dir.meta.mode.bits()) & 0o2000;
        let mode = if is_dir { Mode::from_bits(u32::from(mode.bits()) | setgid) } else { mode };
        let gid = if setgid != 0 { dir.meta.gid } else { self.caller.gid };
        let now = Timestamp::now();
        let body = match &self.what {
            Make::Dir => Body::Dir { parent: self.parent, subdirs: 0 },
            Make::Symlink(target) => Body::Symlink(target.clone()),
            Make::Node(Kind::File, _) => Body::File { generation: 1, content: FileContent::Data { origin: None } },
            Make::Node(Kind::Char, device) => Body::Char(*device),
            Make::Node(Kind::Block, device) => Body::Block(*device),
            Make::Node(Kind::Fifo, _) => Body::Fifo,
            Make::Node(Kind::Socket, _) => Body::Socket,
            Make::Node(Kind::Dir | Kind::Symlink, _) => return Err(VfsError::Invalid),
        };
        let meta = Meta { mode, uid: self.caller.uid, gid, mtime: now, xattrs };
        Ok(InodeRecord { meta, nlink: 1, atime: now, ctime: now, body })
    }
}
