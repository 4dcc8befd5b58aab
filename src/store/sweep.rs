//! What a collection may do to the store, one batch at a time: the only code that takes objects away.
//!
//! A [`Sweep`] holds the refs lock shared and the store lock exclusively. While it lives, nobody comes to rely on an object, takes a lease
//! or moves a ref, so what it reads of roots and of an object's age is what counts. It is to be short.
//! Leases are read first, then layers, then refs, then histories: a hold that is handed on meanwhile is always seen in one of them.

use super::course::Course;
use super::error::{Context, Result, found};
use super::history::{self, Change};
use super::layout::digest_of;
use super::lock::Exclusive;
use super::publish::now_ms;
use super::reading::hash;
use super::refs::{RefsLock, lock_shared};
use super::{LayerConfig, LeaseInfo, ObjectStat, Store, trash};
use crate::format::{Digest, RefName};
use crate::sys::{flock, plain};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that can keep an object, as it is at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Roots {
    /// Leases, live and dead.
    pub leases: Vec<LeaseInfo>,
    /// Layers.
    pub layers: Vec<LayerConfig>,
    /// Refs.
    pub refs: Vec<(RefName, Digest)>,
    /// Changes of refs.
    pub changes: Vec<(RefName, Change)>,
}

/// An object in the trash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trashed {
    /// The object.
    pub digest: Digest,
    /// The batch that took it, which is when, in milliseconds since the epoch.
    pub batch: u64,
}

/// One batch of a sweep.
#[derive(Debug)]
pub struct Sweep<'a> {
    store: &'a Store,
    _store_lock: Exclusive,
    refs_lock: RefsLock,
}

impl Store {
    /// Waits until nobody relies on objects, and keeps it so until the value is dropped.
    pub fn sweep(&self) -> Result<Sweep<'_>> {
        let refs_lock = lock_shared(self)?;
        let store_lock = self.0.lock.exclusive(self.layout())?;
        Ok(Sweep { store: self, _store_lock: store_lock, refs_lock })
    }

    /// The roots, read without the store lock: for a plan. Changes of refs are of interest for `grace`; older ones may be left out.
    pub fn roots(&self, grace: Duration) -> Result<Roots> {
        let refs_lock = lock_shared(self)?;
        self.read_roots(grace, &refs_lock)
    }

    fn read_roots(&self, grace: Duration, refs_lock: &RefsLock) -> Result<Roots> {
        let (leases, layers, refs) = (self.leases()?, self.layers()?, self.refs_locked(refs_lock)?);
        let mut changes = Vec::new();
        let names = if grace.is_zero() { Vec::new() } else { self.histories_locked(refs_lock)? };
        for name in names {
            if !history::changed_within(self, &name, grace)? {
                continue;
            }
            changes.extend(history::lines(self, &name)?.into_iter().map(|change| (name.clone(), change)));
        }
        Ok(Roots { leases, layers, refs, changes })
    }

    /// A name for a batch that no other collection has.
    pub fn new_batch(&self) -> Result<u64> {
        let mut batch = now_ms();
        loop {
            let path = self.layout().trash_batch(batch);
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => batch += 1,
                done => return done.context("create", &path).map(|()| batch),
            }
        }
    }

    /// What is in the trash, oldest batch first.
    pub fn trashed(&self) -> Result<Vec<Trashed>> {
        let mut all = Vec::new();
        for batch in trash::batches(self)?.into_iter().rev() {
            for (folder, path) in list(&self.layout().trash_batch(batch))? {
                for (file, _) in list(&path)? {
                    all.extend(digest_of(&folder, &file).map(|digest| Trashed { digest, batch }));
                }
            }
        }
        Ok(all)
    }

    /// Whether an object in the trash is a manifest; `false` when it is gone.
    pub fn trashed_is_manifest(&self, trashed: Trashed) -> Result<bool> {
        let path = self.layout().trashed(trashed.batch, trashed.digest);
        match found(File::open(&path)).context("open", &path)? {
            Some(mut file) => trash::is_manifest(&mut file, &path),
            None => Ok(false),
        }
    }

    /// Removes what is left of removed layers. What can't be removed stays for the next time.
    pub fn remove_trashed_layers(&self) {
        for (_, path) in
            list(&self.layout().trash()).unwrap_or_default().iter().filter(|(name, _)| name.starts_with("layer-"))
        {
            // Another process may be removing it as well.
            let _ = fs::remove_dir_all(path);
        }
    }

    /// Bytes of an object in the trash; `None` when it is gone.
    pub fn trashed_size(&self, trashed: Trashed) -> Result<Option<u64>> {
        let path = self.layout().trashed(trashed.batch, trashed.digest);
        Ok(found(fs::symlink_metadata(&path)).context("stat", &path)?.map(|stat| stat.len()))
    }
}

fn list(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let Some(entries) = found(fs::read_dir(folder)).context("list", folder)? else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry.context("list", folder)?;
        all.extend(entry.file_name().into_string().ok().map(|name| (name, entry.path())));
    }
    Ok(all)
}

impl Sweep<'_> {
    pub(super) fn store(&self) -> &Store {
        self.store
    }

    /// The roots as they are now. Changes of refs are of interest for `grace`; older ones may be left out.
    pub fn roots(&self, grace: Duration) -> Result<Roots> {
        self.store.read_roots(grace, &self.refs_lock)
    }

    /// Size and age of an object; `None` when it isn't there.
    pub fn stat(&self, digest: Digest) -> Result<Option<ObjectStat>> {
        self.store.object_stat(digest)
    }

    /// Moves an object into the trash. `false` when it isn't there.
    pub fn discard(&self, digest: Digest, batch: u64) -> Result<bool> {
        let (from, to) = (self.store.object_path(digest), self.store.layout().trashed(batch, digest));
        if found(fs::rename(&from, &to)).context("discard", &from)?.is_some() {
            return Ok(true);
        }
        // It is gone, or it is the first of its folder.
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).context("create", folder)?;
        }
        Ok(found(fs::rename(&from, &to)).context("discard", &from)?.is_some())
    }

    /// Removes an object for good, past the trash, for which there may be no room. `false` when it isn't there.
    pub fn remove(&self, digest: Digest) -> Result<bool> {
        let path = self.store.object_path(digest);
        Ok(found(fs::remove_file(&path)).context("remove", &path)?.is_some())
    }

    /// Whether an object in `objects/` isn't what its name says.
    pub fn is_torn(&self, digest: Digest) -> Result<bool> {
        let path = self.store.object_path(digest);
        let Some(file) = self.store.open_in_place(digest)? else { return Ok(false) };
        Ok(hash(&file, &path, &Course::default())? != digest)
    }

    /// Brings an object back, unless it is there again. `false` when the trash doesn't have it any more, or only torn.
    pub fn restore(&self, trashed: Trashed) -> Result<bool> {
        let from = self.store.layout().trashed(trashed.batch, trashed.digest);
        let Some(file) = found(File::open(&from)).context("open", &from)? else { return Ok(false) };
        if self.store.contains(trashed.digest) {
            return Ok(true);
        }
        if hash(&file, &from, &Course::default())? != trashed.digest {
            return Ok(false);
        }
        fs::rename(&from, self.store.object_path(trashed.digest)).context("restore", &from)?;
        Ok(true)
    }

    /// Removes an object from the trash for good.
    pub fn purge(&self, trashed: Trashed) -> Result<()> {
        let path = self.store.layout().trashed(trashed.batch, trashed.digest);
        found(fs::remove_file(&path)).context("remove", &path).map(drop)
    }

    /// Removes folders of the trash that are empty. What can't be listed or removed stays for the next time.
    pub fn tidy_trash(&self) {
        for batch in trash::batches(self.store).unwrap_or_default() {
            let path = self.store.layout().trash_batch(batch);
            for (_, folder) in list(&path).unwrap_or_default() {
                // One that isn't empty refuses.
                let _ = fs::remove_dir(folder);
            }
            let _ = fs::remove_dir(path);
        }
    }

    /// Removes what dead writers left in `tmp/`; returns how many.
    pub fn tidy_tmp(&self) -> Result<u64> {
        let mut removed = 0;
        for (_, path) in list(&self.store.layout().tmp())? {
            let Some(file) = found(plain::open(&path)).context("open", &path)? else { continue };
            if !flock::try_exclusive(&file).context("lock", &path)? {
                continue;
            }
            let folder = file.metadata().context("stat", &path)?.is_dir();
            let gone = if folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed += u64::from(found(gone).context("remove", &path)?.is_some());
        }
        Ok(removed)
    }

    /// Removes the lease of a dead owner.
    pub fn remove_lease(&self, lease: &LeaseInfo) -> Result<()> {
        if lease.alive { Ok(()) } else { found(fs::remove_file(&lease.path)).context("remove", &lease.path).map(drop) }
    }
}
