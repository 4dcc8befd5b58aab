//! Refs: `refs/NAME` holds a manifest's digest and a newline.
//!
//! Every change takes the refs lock (a flock of the folder `refs/`), adds a line to the ref's history, and then replaces or removes the file;
//! each step is on disk before the next; without room for the line, a ref is removed without. A listing takes the lock shared, for a folder that changes can hide names from who lists it.
//! The lock comes before the store lock.

use super::error::{Context, Result, StoreError, found};
use super::history;
use super::publish::{now_ms, replace_durably, sync_parent};
use super::{Store, trash};
use crate::format::{Digest, RefName};
use crate::sys::{flock, plain};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

pub use super::history::{Change, Operation};

impl Store {
    /// The manifest that `name` names.
    pub fn resolve_ref(&self, name: &RefName) -> Result<Digest> {
        match read(self, name)? {
            Some(digest) => Ok(digest),
            None => Err(self.no_ref(name.as_str())),
        }
    }

    /// All refs, sorted by name. A ref that can't be read is an error, never left out.
    pub fn refs(&self) -> Result<Vec<(RefName, Digest)>> {
        let lock = lock_shared(self)?;
        self.refs_locked(&lock)
    }

    pub(super) fn refs_locked(&self, _lock: &RefsLock) -> Result<Vec<(RefName, Digest)>> {
        let mut refs = Vec::new();
        for path in files(&self.layout().refs())? {
            let name = name_of(&path, &self.layout().refs(), "")?;
            refs.extend(read(self, &name)?.map(|digest| (name, digest)));
        }
        refs.sort();
        Ok(refs)
    }

    /// Removes a ref; its history remembers it, unless there is no room for that. Returns what it named.
    pub fn remove_ref(&self, name: &RefName) -> Result<Digest> {
        change(self, name, None, Operation::Remove)?.ok_or_else(|| self.no_ref(name.as_str()))
    }

    /// What became of a ref, oldest first; empty for a name that never was one.
    pub fn ref_history(&self, name: &RefName) -> Result<Vec<Change>> {
        let _lock = lock_shared(self)?;
        history::read(self, name, read(self, name)?)
    }

    /// Names that have a history, sorted: refs, and those that were.
    pub fn refs_with_history(&self) -> Result<Vec<RefName>> {
        let lock = lock_shared(self)?;
        self.histories_locked(&lock)
    }

    pub(super) fn histories_locked(&self, _lock: &RefsLock) -> Result<Vec<RefName>> {
        let top = self.layout().histories();
        let mut names: Vec<RefName> =
            files(&top)?.iter().map(|path| name_of(path, &top, "@")).collect::<Result<_>>()?;
        names.sort();
        Ok(names)
    }

    /// Whether there is a move or removal of a ref that can be taken back, if what it named is still there.
    pub fn can_undo_ref(&self, name: &RefName) -> Result<bool> {
        Ok(previous(&self.ref_history(name)?).is_some())
    }

    /// Takes back the last move or removal of a ref; done again, the one before it. Returns what the ref names now. What it named must
    /// still be in the store or its trash.
    pub fn undo_ref(&self, name: &RefName) -> Result<Digest> {
        loop {
            let before = previous(&self.ref_history(name)?);
            let target = before.ok_or_else(|| StoreError::NothingToUndo { name: name.to_string() })?;
            let too_late =
                |source| StoreError::UndoTooLate { name: name.to_string(), digest: target, source: Box::new(source) };
            let _lease = self.lease("undo", &[target]).map_err(too_late)?;
            self.check_closure(target).map_err(too_late)?;
            self.sync()?;
            let lock = lock_exclusive(self)?;
            let now = read(self, name)?;
            // Another may have changed the ref since.
            if previous(&history::read(self, name, now)?) == Some(target) {
                change_locked(self, name, Some(target), Operation::Undo, &lock)?;
                return Ok(target);
            }
        }
    }

    /// Checks that a manifest and all that it reaches are there, without reading blobs.
    pub fn check_closure(&self, manifest: Digest) -> Result<()> {
        let absent = |digest: &Digest| !self.contains(*digest) && trash::peek(self, *digest).is_err();
        self.closure(manifest)?.into_iter().find(absent).map_or(Ok(()), |digest| Err(self.missing(digest)))
    }
}

/// What the last change that still stands took the name away from.
fn previous(changes: &[Change]) -> Option<Digest> {
    let mut states: Vec<Option<Digest>> = changes.first().map(|first| first.old).into_iter().collect();
    for change in changes {
        match change.op {
            Operation::Undo => drop(states.pop()),
            Operation::Set | Operation::Remove => states.push(change.new),
        }
    }
    states.pop();
    states.pop().flatten()
}

/// The refs lock; held while it lives.
#[derive(Debug)]
pub(super) struct RefsLock(#[expect(dead_code, reason = "closing the file ends the lock")] File);

pub(super) fn lock_shared(store: &Store) -> Result<RefsLock> {
    let folder = store.layout().refs();
    let file = File::open(&folder).context("open", &folder)?;
    flock::shared(&file).context("lock", &folder)?;
    Ok(RefsLock(file))
}

fn lock_exclusive(store: &Store) -> Result<RefsLock> {
    let folder = store.layout().refs();
    let file = File::open(&folder).context("open", &folder)?;
    flock::exclusive(&file).context("lock", &folder)?;
    Ok(RefsLock(file))
}

/// Makes, moves or removes a ref. Returns what it named before. The caller holds a lease that keeps `new`, which is durable.
pub(super) fn change(store: &Store, name: &RefName, new: Option<Digest>, op: Operation) -> Result<Option<Digest>> {
    let lock = lock_exclusive(store)?;
    change_locked(store, name, new, op, &lock)
}

fn change_locked(
    store: &Store,
    name: &RefName,
    new: Option<Digest>,
    op: Operation,
    _lock: &RefsLock,
) -> Result<Option<Digest>> {
    let old = read(store, name)?;
    if old == new {
        return Ok(old);
    }
    if new.is_some() && old.is_none() {
        refuse_conflict(store, name)?;
    }
    match history::append(store, name, &Change { time_unix_ms: now_ms(), op, old, new }) {
        // Who removes a ref on a full disk wants room.
        Err(error) if new.is_none() && error.is_full() => {
            tracing::warn!(%error, %name, "no room to remember the removal of a ref");
        }
        appended => appended?,
    }
    let path = store.layout().reference(name);
    match new {
        Some(digest) => {
            make_folders(store, &path)?;
            replace_durably(store, &path, format!("{digest}\n").as_bytes())?;
        }
        None => {
            fs::remove_file(&path).context("remove", &path)?;
            sync_parent(&path)?;
            prune(store, &path);
        }
    }
    Ok(old)
}

/// `None`: no such ref.
fn read(store: &Store, name: &RefName) -> Result<Option<Digest>> {
    let path = store.layout().reference(name);
    let text = match plain::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Ok(None),
        text => found(text).context("read", &path)?,
    };
    let Some(text) = text else { return Ok(None) };
    match text.strip_suffix('\n').unwrap_or(&text).parse() {
        Ok(digest) => Ok(Some(digest)),
        Err(why) => Err(StoreError::BadRef { path, why: format!("{why}") }),
    }
}

/// `a` and `a/b` can't both be refs.
fn refuse_conflict(store: &Store, name: &RefName) -> Result<()> {
    let conflict = |other: String| Err(StoreError::RefConflict { name: name.to_string(), other });
    for (end, _) in name.as_str().match_indices('/') {
        // A part of a valid name before a `/` is a valid name.
        let Ok(prefix) = name.as_str()[..end].parse::<RefName>() else { continue };
        if read(store, &prefix)?.is_some() {
            return conflict(prefix.to_string());
        }
    }
    let path = store.layout().reference(name);
    if !path.is_dir() {
        return Ok(());
    }
    if let Some(inside) = files(&path)?.first() {
        return conflict(name_of(inside, &store.layout().refs(), "")?.to_string());
    }
    remove_empty(&path)
}

/// Folders that removals left.
fn remove_empty(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).context("list", folder)? {
        remove_empty(&entry.context("list", folder)?.path())?;
    }
    fs::remove_dir(folder).context("remove", folder)
}

fn make_folders(store: &Store, path: &Path) -> Result<()> {
    let top = store.layout().refs();
    let mut missing: Vec<&Path> = path.ancestors().skip(1).take_while(|folder| !folder.is_dir()).collect();
    while let Some(folder) = missing.pop() {
        debug_assert!(folder.starts_with(&top));
        fs::create_dir(folder).context("create", folder)?;
        sync_parent(folder)?;
    }
    Ok(())
}

/// Removes the folders above a removed ref that are empty now. One that isn't refuses, which ends it.
fn prune(store: &Store, path: &Path) {
    let top = store.layout().refs();
    for folder in path.ancestors().skip(1).take_while(|folder| **folder != *top) {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
}

/// All files beneath a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).context("list", &folder)? {
            let entry = entry.context("list", &folder)?;
            let kind = entry.file_type().context("stat", &folder)?;
            if kind.is_dir() { open.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    Ok(files)
}

fn name_of(path: &Path, top: &Path, suffix: &str) -> Result<RefName> {
    let bad = |why: String| StoreError::BadRef { path: path.to_owned(), why };
    let text = path.strip_prefix(top).ok().and_then(Path::to_str).and_then(|text| text.strip_suffix(suffix));
    let text = text.ok_or_else(|| bad("its name can't be one of a ref".to_owned()))?;
    text.parse().map_err(|why: crate::format::BadLabel| bad(why.to_string()))
}
