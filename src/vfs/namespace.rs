//! Names: lookup, unlink, rmdir, rename, link; what makes something new is in `make`. Each change is one batch under the exclusive `tree_lock`.
//!
//! The kernel has checked types and permissions on what it has cached; what only the filesystem knows is checked here: existence,
//! emptiness, and types once more.

use super::error::{Result, VfsError};
use super::types::{Attr, RenameMode};
use super::{Fs, Upper};
use crate::format::{Ino, Kind, Name, Timestamp};
use crate::layer::{Batch, Body, InodeRecord};

/// Names that one inode can have (ext4's limit is 65,000).
const LINK_MAX: u32 = 65_000;

/// A name that was found, with its inode.
struct Found {
    ino: Ino,
    record: InodeRecord,
}

impl Fs {
    /// Looks up `name`. `None`: there is no such name.
    pub fn lookup(&self, parent: Ino, name: Name<'_>) -> Result<Option<Attr>> {
        let _guard = self.read_lock();
        let Some((ino, _)) = self.child(parent, name)? else { return Ok(None) };
        self.attr_of(ino, &self.record(ino)?).map(Some)
    }

    /// The directory that holds directory `ino`.
    pub fn parent(&self, ino: Ino) -> Result<Ino> {
        let _guard = self.read_lock();
        match self.record(ino)?.body {
            Body::Dir { parent, .. } => Ok(parent),
            _ => Err(VfsError::NotDir),
        }
    }

    fn find(&self, parent: Ino, name: Name<'_>) -> Result<Option<Found>> {
        let Some((ino, _)) = self.child(parent, name)? else { return Ok(None) };
        Ok(Some(Found { ino, record: self.record(ino)? }))
    }

    pub(super) fn commit(&self, upper: &Upper, batch: Batch<'_>, dirs: &[Ino]) -> Result<()> {
        batch.commit()?;
        upper.drop_views(dirs);
        Ok(())
    }

    /// Removes a name of anything but a directory.
    pub fn unlink(&self, parent: Ino, name: Name<'_>) -> Result<()> {
        let upper = self.upper()?;
        let _guard = upper.tree_lock.write();
        let dir = self.live_dir(parent)?;
        let found = self.find(parent, name)?.ok_or(VfsError::NotFound)?;
        if found.record.kind() == Kind::Dir {
            return Err(VfsError::IsDir);
        }
        let mut batch = upper.layer.db().freeing_batch();
        self.detach(&mut batch, parent, name)?;
        drop_link(&mut batch, found);
        put_changed_dir(&mut batch, parent, dir, 0);
        self.commit(upper, batch, &[parent])
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, parent: Ino, name: Name<'_>) -> Result<()> {
        let upper = self.upper()?;
        let _guard = upper.tree_lock.write();
        let dir = self.live_dir(parent)?;
        let found = self.find(parent, name)?.ok_or(VfsError::NotFound)?;
        let ino = found.ino;
        let mut batch = upper.layer.db().freeing_batch();
        self.detach(&mut batch, parent, name)?;
        self.drop_dir(upper, &mut batch, found)?;
        put_changed_dir(&mut batch, parent, dir, -1);
        self.commit(upper, batch, &[parent, ino])
    }

    /// In `batch`, takes the last name of an empty directory: what the layer said of its names goes too.
    fn drop_dir(&self, upper: &Upper, batch: &mut Batch<'_>, found: Found) -> Result<()> {
        if found.record.kind() != Kind::Dir {
            return Err(VfsError::NotDir);
        }
        if !self.is_empty_dir(found.ino)? {
            return Err(VfsError::NotEmpty);
        }
        upper.layer.db().each_name_of(found.ino, |name, _| batch.remove_name(found.ino, name))?;
        batch.put_inode(found.ino, &InodeRecord { nlink: 0, ctime: Timestamp::now(), ..found.record });
        Ok(())
    }

    /// Gives an inode one more name.
    pub fn link(&self, ino: Ino, parent: Ino, name: Name<'_>) -> Result<Attr> {
        let upper = self.upper()?;
        upper.with_room(|| self.add_name(upper, ino, parent, name))
    }

    fn add_name(&self, upper: &Upper, ino: Ino, parent: Ino, name: Name<'_>) -> Result<Attr> {
        let _guard = upper.tree_lock.write();
        let dir = self.live_dir(parent)?;
        let mut record = self.record(ino)?;
        if record.kind() == Kind::Dir {
            return Err(VfsError::NotPermitted);
        }
        if self.child(parent, name)?.is_some() {
            return Err(VfsError::Exists);
        }
        if record.nlink == 0 {
            return Err(VfsError::NotFound);
        }
        if record.nlink >= LINK_MAX {
            return Err(VfsError::TooManyLinks);
        }
        record.nlink += 1;
        record.ctime = Timestamp::now();
        let mut batch = upper.layer.db().batch();
        batch.put_inode(ino, &record);
        self.attach(&mut batch, parent, name, ino, record.kind())?;
        put_changed_dir(&mut batch, parent, dir, 0);
        self.commit(upper, batch, &[parent])?;
        self.attr_of(ino, &record)
    }

    /// Moves a name, as rename(2) does. A directory moves as one record, whatever lies beneath.
    pub fn rename(&self, from: (Ino, Name<'_>), to: (Ino, Name<'_>), mode: RenameMode) -> Result<()> {
        let upper = self.upper()?;
        if mode == RenameMode::Replace {
            self.start_writeback(from, to);
        }
        upper.with_room(|| self.move_name(upper, from, to, mode))
    }

    fn move_name(&self, upper: &Upper, from: (Ino, Name<'_>), to: (Ino, Name<'_>), mode: RenameMode) -> Result<()> {
        let _guard = upper.tree_lock.write();
        self.live_dir(from.0)?;
        self.live_dir(to.0)?;
        let moved = self.find(from.0, from.1)?.ok_or(VfsError::NotFound)?;
        let target = self.find(to.0, to.1)?;
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => Err(VfsError::Exists),
            (RenameMode::Exchange, None) => Err(VfsError::NotFound),
            // Two names of one inode: rename(2) does nothing.
            (_, Some(target)) if target.ino == moved.ino => Ok(()),
            (RenameMode::Exchange, Some(target)) => self.exchange(upper, from, to, moved, target),
            (_, target) => self.replace(upper, from, to, moved, target),
        }
    }

    fn replace(
        &self,
        upper: &Upper,
        from: (Ino, Name<'_>),
        to: (Ino, Name<'_>),
        moved: Found,
        target: Option<Found>,
    ) -> Result<()> {
        let is_dir = moved.record.kind() == Kind::Dir;
        let mut batch = upper.layer.db().batch();
        let mut changed = vec![from.0, to.0];
        let mut replaced_dir = 0;
        if let Some(target) = target {
            match (is_dir, target.record.kind() == Kind::Dir) {
                (true, false) => return Err(VfsError::NotDir),
                (false, true) => return Err(VfsError::IsDir),
                (true, true) => {
                    changed.push(target.ino);
                    replaced_dir = 1;
                    self.drop_dir(upper, &mut batch, target)?;
                }
                (false, false) => drop_link(&mut batch, target),
            }
        }
        self.detach(&mut batch, from.0, from.1)?;
        self.attach(&mut batch, to.0, to.1, moved.ino, moved.record.kind())?;
        put_moved(&mut batch, moved, to.0);
        let subdirs = (-i64::from(is_dir), i64::from(is_dir) - replaced_dir);
        self.touch_both(&mut batch, (from.0, subdirs.0), (to.0, subdirs.1))?;
        self.commit(upper, batch, &changed)
    }

    fn exchange(
        &self,
        upper: &Upper,
        from: (Ino, Name<'_>),
        to: (Ino, Name<'_>),
        moved: Found,
        target: Found,
    ) -> Result<()> {
        let mut batch = upper.layer.db().batch();
        let (moved_kind, target_kind) = (moved.record.kind(), target.record.kind());
        self.attach(&mut batch, to.0, to.1, moved.ino, moved_kind)?;
        self.attach(&mut batch, from.0, from.1, target.ino, target_kind)?;
        put_moved(&mut batch, moved, to.0);
        put_moved(&mut batch, target, from.0);
        let gained = i64::from(moved_kind == Kind::Dir) - i64::from(target_kind == Kind::Dir);
        self.touch_both(&mut batch, (from.0, -gained), (to.0, gained))?;
        self.commit(upper, batch, &[from.0, to.0])
    }

    /// In `batch`, marks two directories, which may be one, as changed, with so many more directories in each. Their records are read
    /// here, after all else of the batch was decided; neither is the moved inode, for a directory can't move into itself.
    fn touch_both(&self, batch: &mut Batch<'_>, from: (Ino, i64), to: (Ino, i64)) -> Result<()> {
        let both = if from.0 == to.0 { vec![(from.0, from.1 + to.1)] } else { vec![from, to] };
        for (ino, subdirs) in both {
            put_changed_dir(batch, ino, self.live_dir(ino)?, subdirs);
        }
        Ok(())
    }
}

/// In `batch`, takes one name off an inode that isn't a directory. One without names stays recorded until the kernel forgets it.
fn drop_link(batch: &mut Batch<'_>, found: Found) {
    let nlink = found.record.nlink.saturating_sub(1);
    batch.put_inode(found.ino, &InodeRecord { nlink, ctime: Timestamp::now(), ..found.record });
}

/// In `batch`, records that an inode has moved into `parent`.
fn put_moved(batch: &mut Batch<'_>, mut moved: Found, parent: Ino) {
    if let Body::Dir { parent: held_by, .. } = &mut moved.record.body {
        *held_by = parent;
    }
    moved.record.ctime = Timestamp::now();
    batch.put_inode(moved.ino, &moved.record);
}

/// In `batch`, records that a directory's entries changed, with so many more directories among them.
pub(super) fn put_changed_dir(batch: &mut Batch<'_>, ino: Ino, mut dir: InodeRecord, more_subdirs: i64) {
    let now = Timestamp::now();
    dir.meta.mtime = now;
    dir.ctime = now;
    if let Body::Dir { subdirs, .. } = &mut dir.body {
        *subdirs = subdirs.saturating_add_signed(more_subdirs as i32);
    }
    batch.put_inode(ino, &dir);
}
