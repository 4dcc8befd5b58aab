//! What a snapshot leaves for the next one, so that this one looks at nothing but what changed in between.
//!
//! A snapshot needs the names of every directory that differs from the base, and the records of all that these hold. The second one of the same daemon needs
//! that of the directories alone that changed since the first, or that have something changed beneath: of the others it has the trees ([`Taken`]). Which those are
//! follows from the inodes that batches changed (`layer::Db::changed_since`) and from what the layer still had content of, which is written without a batch.
//!
//! It is kept in memory. Whatever is not as it should be gives it up, and the snapshot looks at everything: after a remount, after one that failed, when
//! more changed than is worth it, when the database was opened anew, or when an inode would get another number in the table of links than it had.

use super::error::{Result, VfsError};
use super::freeze::Records;
use super::{Base, Upper, child_ino};
use crate::format::{Digest, Ino, NameBuf, Subtree};
use crate::layer::{Body, Changed, Db, InodeRecord, NameRecord};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Names and trees beyond which nothing is left for the next snapshot: about 30 MB.
const LIMIT: usize = 1 << 19;

/// What a snapshot found, and what it made of it.
#[derive(Debug)]
pub struct Taken {
    /// The manifest, which keeps the trees.
    pub manifest: Digest,
    /// The tree of every directory that isn't the base's.
    pub trees: HashMap<Ino, Subtree>,
    /// Inodes that have, or had, a name by a record, each with the directory of the name.
    pub holders: BTreeSet<(Ino, Ino)>,
    /// Inodes of which the layer says that they have several names, or had in the base.
    pub linked: BTreeSet<Ino>,
    /// Files whose content stayed with the layer.
    held: BTreeSet<Ino>,
    /// How often the database had been opened anew.
    reopened: u64,
}

/// What the last snapshot left, and what changed since.
#[derive(Debug)]
pub struct Since {
    /// What it left.
    pub taken: Taken,
    /// Directories that have to be encoded again, with all above them.
    pub touched: HashSet<Ino>,
}

/// Whether an inode's names stand in the table of links by what the layer says.
pub fn is_linked(ino: Ino, record: &InodeRecord) -> bool {
    ino.is_linked_range() || record.nlink > 1 && !matches!(record.body, Body::Dir { .. })
}

impl Upper {
    /// Keeps what a snapshot leaves. `files`: those that had content in the layer when it was taken.
    pub(super) fn leave(&self, left: Left, files: impl Iterator<Item = Ino>) -> Result<()> {
        let Left { manifest, trees, holders, linked } = left;
        if trees.len() + holders.len() > LIMIT {
            return Ok(());
        }
        let mut held = BTreeSet::new();
        for ino in files {
            if self.layer.db().inode(ino)?.is_some_and(|record| record.data_generation().is_some()) {
                held.insert(ino);
            }
        }
        let reopened = self.layer.db().reopened();
        *self.taken.lock() = Some(Taken { manifest, trees, holders, linked, held, reopened });
        Ok(())
    }

    /// The records that the next snapshot needs; `None` when it needs all. The caller holds `tree_lock`.
    pub(super) fn since(&self, base: &Base) -> Result<Option<(Records, Since)>> {
        let taken = self.taken.lock().take();
        // Asked in any case, for from now on what is changed is of the snapshot after this one.
        let changed = self.layer.db().changed_since();
        let (Some(taken), Some(changed)) = (taken, changed) else { return Ok(None) };
        let mut look = Look {
            base,
            db: self.layer.db(),
            records: Records::default(),
            seen: HashSet::new(),
            touched: HashSet::new(),
        };
        if taken.reopened != self.layer.db().reopened() || !look.at(&taken, &changed)? {
            return Ok(None);
        }
        Ok(Some((look.records, Since { taken, touched: look.touched })))
    }
}

/// What a snapshot leaves for the next one.
#[derive(Debug)]
pub struct Left {
    /// The manifest.
    pub manifest: Digest,
    /// As of [`Taken`].
    pub trees: HashMap<Ino, Subtree>,
    /// As of [`Taken`].
    pub holders: BTreeSet<(Ino, Ino)>,
    /// As of [`Taken`].
    pub linked: BTreeSet<Ino>,
}

/// Gathers records.
struct Look<'a> {
    base: &'a Base,
    db: &'a Db,
    records: Records,
    /// Inodes whose records were asked for.
    seen: HashSet<Ino>,
    touched: HashSet<Ino>,
}

impl Look<'_> {
    /// `false`: all must be looked at.
    fn at(&mut self, taken: &Taken, changed: &Changed) -> Result<bool> {
        let files: BTreeSet<Ino> = changed.inodes.iter().chain(&taken.held).copied().collect();
        // The root's own metadata stands in the manifest, which is made anew in any case.
        for &ino in files.iter().chain(&taken.linked).chain([&Ino::ROOT]) {
            self.inode(ino)?;
        }
        if !self.keeps_numbers(taken) {
            return Ok(false);
        }
        for &dir in &changed.names {
            if self.is_there(dir)? && !self.touch(dir)? {
                return Ok(false);
            }
        }
        for &ino in &files {
            if !self.touch_holders(ino, taken)? {
                return Ok(false);
            }
        }
        for dir in self.touched.clone() {
            self.entries(dir)?;
        }
        Ok(true)
    }

    /// Inodes that came to have several names are numbered in the order of their inode numbers: as long as new ones come after the others, those keep theirs.
    fn keeps_numbers(&self, taken: &Taken) -> bool {
        let is_numbered = |ino: &&Ino| !ino.is_linked_range();
        let now = self.records.inodes.iter().filter(|(ino, record)| is_linked(**ino, record)).map(|(ino, _)| ino);
        let mut now = now.filter(is_numbered);
        taken.linked.iter().filter(is_numbered).all(|before| now.next() == Some(before))
    }

    fn inode(&mut self, ino: Ino) -> Result<Option<&InodeRecord>> {
        if self.seen.insert(ino)
            && let Some(record) = self.db.inode(ino)?
        {
            self.records.inodes.insert(ino, record);
        }
        Ok(self.records.inodes.get(&ino))
    }

    fn is_there(&mut self, dir: Ino) -> Result<bool> {
        let named = self.inode(dir)?.map(|record| !record.is_unnamed());
        Ok(named.unwrap_or(dir.is_clean_range()))
    }

    /// `false`: a directory on the way up isn't there.
    fn touch(&mut self, mut dir: Ino) -> Result<bool> {
        while self.touched.insert(dir) && dir != Ino::ROOT {
            let above = match self.inode(dir)?.map(|record| &record.body) {
                Some(Body::Dir { parent, .. }) => Some(*parent),
                Some(_) => None,
                None => self.base.parent(dir)?,
            };
            let Some(above) = above else { return Ok(false) };
            dir = above;
        }
        Ok(true)
    }

    /// Every directory that may have an entry of the inode.
    fn touch_holders(&mut self, ino: Ino, taken: &Taken) -> Result<bool> {
        if ino == Ino::ROOT {
            self.touched.insert(ino);
            return Ok(true);
        }
        let mut holders = Vec::new();
        match self.inode(ino)?.map(|record| (record.is_unnamed(), &record.body)) {
            // The names that it had were changed with it.
            Some((true, _)) => return Ok(true),
            Some((false, Body::Dir { parent, .. })) => holders.push(*parent),
            _ => holders.extend(self.base.parent(ino)?),
        }
        for &(_, dir) in taken.holders.range((ino, Ino(0))..=(ino, Ino(u64::MAX))) {
            // It may hold it no more, or be gone.
            let is_name = |name: &NameRecord| matches!(name, NameRecord::Child(child) if child.ino == ino);
            if self.names(dir)?.values().any(is_name) {
                holders.push(dir);
            }
        }
        for dir in holders {
            if self.is_there(dir)? && !self.touch(dir)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn names(&mut self, dir: Ino) -> Result<&BTreeMap<NameBuf, NameRecord>> {
        if !self.records.names.contains_key(&dir) {
            let mut names = BTreeMap::new();
            let mut bad = false;
            self.db.each_name_of(dir, |name, record| match NameBuf::new(name) {
                Ok(name) => {
                    names.insert(name, record);
                }
                Err(_) => bad = true,
            })?;
            if bad {
                return Err(VfsError::Invalid);
            }
            self.records.names.insert(dir, names);
        }
        Ok(self.records.names.entry(dir).or_default())
    }

    /// The records of what a directory holds.
    fn entries(&mut self, dir: Ino) -> Result<()> {
        let child = |record: &NameRecord| match record {
            NameRecord::Child(child) => Some(child.ino),
            NameRecord::Removed => None,
        };
        let mut all: Vec<Ino> = self.names(dir)?.values().filter_map(child).collect();
        if let Some(tree) = self.base.tree(dir)? {
            all.extend((0..tree.len()).map(|index| child_ino(&tree, dir, index)).filter(|ino| !ino.is_linked_range()));
        }
        for ino in all {
            self.inode(ino)?;
        }
        Ok(())
    }
}
