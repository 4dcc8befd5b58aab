//! Objects that a collection took out, in `trash/MILLIS/ab/cd..`, one batch per collection, named by when it was made.
//!
//! Objects move in, and are purged, under the exclusive store lock (`sweep`); they move back under the shared one. So a restore and a purge
//! never meet.
//!
//! Invariant: a manifest in `objects/` has all that it reaches in `objects/`. A sweep takes manifests out before anything else, and a
//! manifest comes back after all that it reaches; a mere reader of a manifest in the trash reads it there.
//! An object is hashed before it comes back: whoever put it may have been cut off by a power failure.

use super::Store;
use super::course::Course;
use super::error::{Context, Result, StoreError, found};
use super::lock::Shared;
use super::reading::hash;
use crate::format::{Digest, Manifest};
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A manifest's JSON is far below this.
const MANIFEST_MAX: u64 = 16 << 20;

/// Times of the batches in the trash, newest first.
pub(super) fn batches(store: &Store) -> Result<Vec<u64>> {
    let trash = store.layout().trash();
    let mut batches = Vec::new();
    for entry in fs::read_dir(&trash).context("list", &trash)? {
        let entry = entry.context("list", &trash)?;
        batches.extend(entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    batches.sort_unstable_by(|one, other| other.cmp(one));
    Ok(batches)
}

fn find(store: &Store, digest: Digest) -> Result<Option<(PathBuf, File)>> {
    for batch in batches(store)? {
        let path = store.layout().trashed(batch, digest);
        if let Some(file) = found(File::open(&path)).context("open", &path)? {
            return Ok(Some((path, file)));
        }
    }
    Ok(None)
}

/// Opens an object wherever it is and leaves it there. Without a lock: it may move meanwhile, so several looks are taken.
pub(super) fn peek(store: &Store, digest: Digest) -> Result<File> {
    for _ in 0..3 {
        if let Some(file) = store.open_in_place(digest)? {
            return Ok(file);
        }
        if let Some((_, file)) = find(store, digest)? {
            return Ok(file);
        }
    }
    Err(store.missing(digest))
}

/// Opens an object that `objects/` lacked a moment ago, and puts it back unless it is a manifest.
pub(super) fn open_restored(store: &Store, digest: Digest) -> Result<File> {
    let locked = store.shared()?;
    if let Some(file) = store.open_in_place(digest)? {
        return Ok(file);
    }
    let Some((path, mut file)) = find(store, digest)? else {
        // Another reader may have put it back between the two looks.
        return store.open_in_place(digest)?.ok_or_else(|| store.missing(digest));
    };
    if !is_manifest(&mut file, &path)? {
        match put_back(store, digest, &path, &locked) {
            // It can be read all the same where the store can't be written.
            Ok(()) | Err(StoreError::NotWritable { .. } | StoreError::Io { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(file)
}

/// Makes sure that a manifest and all that it reaches are in `objects/`, for a root is about to name it.
pub(super) fn restore_manifest(store: &Store, manifest: Digest, locked: &Shared<'_>) -> Result<()> {
    // Read first: nothing but a manifest may become a root.
    store.decode_manifest(manifest, &store.peek_object(manifest)?)?;
    if store.contains(manifest) {
        return Ok(());
    }
    let mut reached = store.closure(manifest)?;
    reached.remove(&manifest);
    for digest in reached.into_iter().chain([manifest]) {
        if !store.contains(digest) {
            let (path, _) = find(store, digest)?.ok_or_else(|| store.missing(digest))?;
            put_back(store, digest, &path, locked)?;
        }
    }
    Ok(())
}

fn put_back(store: &Store, digest: Digest, from: &Path, _locked: &Shared<'_>) -> Result<()> {
    let have = hash(&File::open(from).context("open", from)?, from, &Course::default())?;
    if have != digest {
        return Err(StoreError::CorruptObject { digest, path: from.to_owned(), why: format!("its content is {have}") });
    }
    let to = store.object_path(digest);
    // Another reader may have been faster.
    found(fs::rename(from, &to)).context("restore", &to).map(drop)
}

pub(super) fn is_manifest(file: &mut File, path: &Path) -> Result<bool> {
    let mut read = || {
        let mut first = [0];
        if file.metadata()?.len() > MANIFEST_MAX || file.read_at(&mut first, 0)? == 0 || first != *b"{" {
            return Ok(false);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        file.rewind()?;
        Ok(Manifest::decode(&bytes).is_ok())
    };
    read().context("read", path)
}
