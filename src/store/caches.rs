//! Caches of imports: `cache/KEY`, one for each source, where KEY is a digest that the importer makes of what tells the source from others.
//!
//! A cache is published whole, in place of the one before, by the last of several importers; it is never synced. It keeps no object: whoever uses one
//! has the lease keep its manifest first, which brings back what a collection took, or fails. Caches whose manifest is gone go with a
//! collection, and the oldest when there are too many.

use super::error::{Context, Result, found};
use super::publish::Pending;
use super::{Store, Sweep};
use crate::format::{CachedFile, Digest, FileCache, FileCacheEncoder, FormatError, Xattrs};
use crate::sys::plain;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Caches that are kept.
const KEPT: usize = 64;
/// Bytes of all caches together, and so of any one.
const KEPT_BYTES: u64 = 1 << 30;
/// Bytes that are gathered before they are written.
const PIECE: usize = 64 * 1024;

/// A cache that is being written.
pub struct NewCache {
    pending: Pending,
    encoder: FileCacheEncoder,
    buffer: Vec<u8>,
}

/// What was found of a cache.
#[derive(Debug)]
pub enum Cached {
    /// It is there.
    Found(FileCache),
    /// There is none.
    Nothing,
    /// Its bytes aren't those of a cache.
    Damaged(PathBuf, FormatError),
}

impl Store {
    /// Reads the cache of a source.
    pub fn cache(&self, key: Digest) -> Result<Cached> {
        let path = self.layout().cache(key);
        let Some(file) = found(plain::open(&path)).context("open", &path)? else { return Ok(Cached::Nothing) };
        let mut bytes = Vec::new();
        let length = file.metadata().context("stat", &path)?.len();
        bytes.reserve_exact(usize::try_from(length.min(KEPT_BYTES)).unwrap_or(0));
        file.take(KEPT_BYTES).read_to_end(&mut bytes).context("read", &path)?;
        Ok(FileCache::decode(bytes).map_or_else(|why| Cached::Damaged(path, why), Cached::Found))
    }

    /// A cache to be filled; nothing is seen of it before it is published.
    pub fn new_cache(&self) -> Result<NewCache> {
        Ok(NewCache { pending: Pending::create(self)?, encoder: FileCacheEncoder::default(), buffer: Vec::new() })
    }

    /// Caches, the newest first; what can't be looked at counts as empty and oldest.
    fn caches(&self) -> Result<Vec<(SystemTime, u64, PathBuf)>> {
        let folder = self.layout().caches();
        let mut all = Vec::new();
        let Some(listing) = found(fs::read_dir(&folder)).context("list", &folder)? else { return Ok(all) };
        for entry in listing {
            let entry = entry.context("list", &folder)?;
            if entry.file_name().to_str().is_none_or(|name| name.parse::<Digest>().is_err()) {
                continue;
            }
            let stat = entry.metadata().ok();
            let time = stat.as_ref().and_then(|stat| stat.modified().ok()).unwrap_or(SystemTime::UNIX_EPOCH);
            all.push((time, stat.map_or(0, |stat| stat.len()), entry.path()));
        }
        all.sort_unstable_by(|one, other| other.cmp(one));
        Ok(all)
    }

    fn drop_oldest_caches(&self) -> Result<()> {
        let mut bytes = 0;
        for (index, (_, length, path)) in self.caches()?.into_iter().enumerate() {
            bytes += length;
            if index >= KEPT || bytes > KEPT_BYTES {
                found(fs::remove_file(&path)).context("remove", &path)?;
            }
        }
        Ok(())
    }
}

impl NewCache {
    /// Adds a file.
    pub fn add(&mut self, file: &CachedFile, xattrs: &Xattrs) -> io::Result<()> {
        self.encoder.add(file, xattrs, &mut self.buffer).map_err(io::Error::other)?;
        if self.buffer.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    /// Adds a directory.
    pub fn add_tree(&mut self, tree: Digest) {
        self.encoder.add_tree(tree);
    }

    /// Gives it its name. All that was added is reached by `manifest`, which a ref names.
    pub fn publish(mut self, store: &Store, key: Digest, manifest: Digest, about: &str) -> Result<()> {
        let path = store.layout().cache(key);
        std::mem::take(&mut self.encoder)
            .finish(manifest, about, &mut self.buffer)
            .map_err(io::Error::other)
            .and_then(|()| self.flush())
            .context("write", &path)?;
        let folder = store.layout().caches();
        match DirBuilder::new().mode(0o755).create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.context("create", &folder)?,
        }
        self.pending.publish_over(store, &path)?;
        store.drop_oldest_caches()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pending.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Sweep<'_> {
    /// Removes caches whose manifest is in the store no more, and what is none; returns how many.
    pub fn tidy_caches(&self) -> Result<u64> {
        let mut removed = 0;
        for (_, _, path) in self.store().caches()? {
            if !manifest_of(&path).is_some_and(|manifest| self.store().contains(manifest)) {
                removed += u64::from(found(fs::remove_file(&path)).context("remove", &path)?.is_some());
            }
        }
        Ok(removed)
    }
}

fn manifest_of(path: &Path) -> Option<Digest> {
    let file: File = plain::open(path).ok()?;
    let at = file.metadata().ok()?.len().checked_sub(FileCache::TAIL as u64)?;
    let mut tail = [0; FileCache::TAIL];
    file.read_exact_at(&mut tail, at).ok()?;
    FileCache::manifest_of(&tail).ok()
}
