//! Names: making, linking, removing, renaming, listing.

use super::{Body, Done, Fault, Id, Listing, Model};
use crate::model::answer::Expect;
use crate::model::fail::Fail;
use crate::model::op::{Mode, Node, Path, UMASK, target};
use std::collections::BTreeMap;

impl Model {
    /// The directory for a new `path`, and its name there.
    fn vacant<'a>(&self, path: &'a Path) -> Result<(Id, &'a str), Fail> {
        match self.place(path)? {
            (_, _, Some(_)) => Err(Fail::Exists),
            (dir, name, None) => Ok((dir, name)),
        }
    }

    pub(super) fn make(&mut self, dir: Id, name: &str, body: Body, mode: u32) -> Id {
        let id = self.add_inode(dir, body, mode);
        self.inode_mut(id).names = 1;
        self.put_name(dir, name, id);
        id
    }

    pub(super) fn mkdir(&mut self, path: &Path, mode: u32) -> Done {
        let (dir, name) = self.vacant(path)?;
        let body = Body::Dir { entries: BTreeMap::new(), parent: dir, removed: false };
        // vfs_mkdir: setuid and setgid aren't the caller's to give.
        self.make(dir, name, body, mode & 0o1777 & !UMASK);
        Ok(Expect::Done)
    }

    pub(super) fn mknod(&mut self, path: &Path, node: Node, mode: u32) -> Done {
        let (dir, name) = self.vacant(path)?;
        let body = if node == Node::File { Body::File(Vec::new()) } else { Body::Node(node) };
        self.make(dir, name, body, mode & 0o7777 & !UMASK);
        Ok(Expect::Done)
    }

    pub(super) fn symlink(&mut self, path: &Path, length: usize) -> Done {
        let (dir, name) = self.vacant(path)?;
        self.make(dir, name, Body::Symlink(length), 0o777);
        Ok(Expect::Done)
    }

    pub(super) fn readlink(&mut self, path: &Path) -> Done {
        match self.inode(self.find(path)?).body {
            Body::Symlink(length) => Ok(Expect::Bytes(target(length))),
            _ => Err(Fail::Invalid),
        }
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> Done {
        let id = self.find(from)?;
        let (dir, name) = self.vacant(to)?;
        if self.is_dir(id) {
            return Err(Fail::NotPermitted);
        }
        self.inode_mut(id).names += 1;
        if !self.has(Fault::LinkKeepsCtime) {
            self.changed(id);
        }
        self.put_name(dir, name, id);
        Ok(Expect::Done)
    }

    pub(super) fn unlink(&mut self, path: &Path) -> Done {
        let (dir, name, found) = self.place(path)?;
        let id = found.ok_or(Fail::NoEntry)?;
        if self.is_dir(id) {
            return Err(Fail::IsDir);
        }
        self.take_name(dir, name);
        self.drop_name(id);
        Ok(Expect::Done)
    }

    pub(super) fn rmdir(&mut self, path: &Path) -> Done {
        let (dir, name, found) = self.place(path)?;
        let id = found.ok_or(Fail::NoEntry)?;
        match self.entries(id) {
            None => return Err(Fail::NotDir),
            Some(entries) if !entries.is_empty() => return Err(Fail::NotEmpty),
            Some(_) => {}
        }
        self.take_name(dir, name);
        self.drop_name(id);
        Ok(Expect::Done)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path, mode: Mode) -> Done {
        let ((from_dir, from_name), (to_dir, to_name)) = (self.parent(from)?, self.parent(to)?);
        let moved = self.child(from_dir, from_name)?.ok_or(Fail::NoEntry)?;
        let target = self.child(to_dir, to_name)?;
        match (mode, target) {
            (Mode::NoReplace, Some(_)) => return Err(Fail::Exists),
            (Mode::Exchange, None) => return Err(Fail::NoEntry),
            _ => {}
        }
        if from != to && from.holds(to) && self.is_dir(moved) {
            return Err(Fail::Invalid);
        }
        if from != to && to.holds(from) && target.is_some_and(|id| self.is_dir(id)) {
            return Err(if mode == Mode::Exchange { Fail::Invalid } else { Fail::NotEmpty });
        }
        let (from, to) = ((from_dir, from_name), (to_dir, to_name));
        match target {
            // Two names of one inode stay as they are.
            Some(target) if target == moved => {}
            Some(target) if mode == Mode::Exchange => self.exchange(from, to, moved, target),
            _ => self.replace(from, to, moved, target)?,
        }
        Ok(Expect::Done)
    }

    fn exchange(&mut self, from: (Id, &str), to: (Id, &str), moved: Id, target: Id) {
        self.move_into(to.0, moved);
        self.put_name(to.0, to.1, moved);
        if self.has(Fault::ExchangeIsPlain) {
            self.take_name(from.0, from.1);
            return self.drop_name(target);
        }
        self.move_into(from.0, target);
        self.put_name(from.0, from.1, target);
    }

    fn replace(&mut self, from: (Id, &str), to: (Id, &str), moved: Id, target: Option<Id>) -> Result<(), Fail> {
        if let Some(target) = target {
            match (self.is_dir(moved), self.entries(target)) {
                (true, None) => return Err(Fail::NotDir),
                (false, Some(_)) => return Err(Fail::IsDir),
                (true, Some(entries)) if !entries.is_empty() => return Err(Fail::NotEmpty),
                _ => {}
            }
        }
        self.take_name(from.0, from.1);
        self.move_into(to.0, moved);
        self.put_name(to.0, to.1, moved);
        if let Some(target) = target {
            if self.has(Fault::ReplacedKeepsLink) && self.inode(target).names > 1 {
                return Ok(());
            }
            self.drop_name(target);
        }
        Ok(())
    }

    fn move_into(&mut self, dir: Id, moved: Id) {
        if let Body::Dir { parent, .. } = &mut self.inode_mut(moved).body {
            *parent = dir;
        }
        self.changed(moved);
    }

    fn listed(&self, dir: Id) -> Result<Vec<String>, Fail> {
        let dots = [".".to_owned(), "..".to_owned()];
        Ok(dots.into_iter().chain(self.entries(dir).ok_or(Fail::NotDir)?.keys().cloned()).collect())
    }

    pub(super) fn list(&mut self, path: &Path) -> Done {
        Ok(Expect::Names(self.listed(self.find(path)?)?.into_iter().collect()))
    }

    pub(super) fn list_start(&mut self, slot: u8, path: &Path) -> Done {
        self.drop_listing(slot);
        let dir = self.find(path)?;
        let must = self.listed(dir)?.into_iter().collect();
        self.listings[usize::from(slot)] = Some(Listing { dir, must, may: Default::default() });
        Ok(Expect::Done)
    }

    fn listing(&self, slot: u8) -> Result<&Listing, Fail> {
        let listing = self.listings[usize::from(slot)].as_ref().ok_or(Fail::BadFile)?;
        // A removed directory has no listing, not even of itself.
        if self.inode(listing.dir).names == 0 { Err(Fail::NoEntry) } else { Ok(listing) }
    }

    pub(super) fn list_some(&mut self, slot: u8) -> Done {
        self.listing(slot)?;
        Ok(Expect::Done)
    }

    pub(super) fn list_end(&mut self, slot: u8) -> Done {
        let answer =
            self.listing(slot).map(|listing| Expect::Listed { must: listing.must.clone(), may: listing.may.clone() });
        self.drop_listing(slot);
        answer
    }

    pub(super) fn drop_listing(&mut self, slot: u8) {
        if let Some(listing) = self.listings[usize::from(slot)].take() {
            self.drop_unused(listing.dir);
        }
    }
}
