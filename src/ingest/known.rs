//! Files whose content an earlier import read, and which didn't change since: they aren't read again.
//!
//! A file's change time (ctime) can't be set by programs, and every change of content, attributes or names moves it. So a file of the same number on
//! the same filesystem, with the same length, modification and change time to the nanosecond, is what it was, if nothing stands against it:
//!
//! | what could deceive | what is done |
//! |---|---|
//! | a change within the clock's tick in which the file was read, or a change time still to come | such a file isn't remembered: its change time must lie [`SETTLED`] before it is read |
//! | a filesystem that counts whole seconds | a change time without a fraction isn't remembered |
//! | a program that has the file open or mapped for writing writes without a trace, or has written half | such a file isn't remembered: asked before it is read (`sys::lease`); who may not ask remembers nothing |
//! | the clock was set back, so that a time may come twice | the cache isn't used |
//! | a power cut brought content to the disk and not its times; the filesystem was changed elsewhere; another one is mounted there | the cache is for one mounting of one filesystem (`layer::instance`) |
//! | a filesystem whose times don't tell all | nothing of it is remembered (`sys::superblock`) |
//! | another user or namespace sees other attributes | the cache is for one user with the same rights in the same namespaces |
//! | a list of access control, whose ids an idmapped mount translates | such a file isn't remembered |
//!
//! The content: a cache hangs on the manifest that its import made. That manifest is held by this import's lease before the cache is used, so that no
//! collection takes what it reaches, and each blob is looked for all the same; one that isn't there is read again. Nothing here fails an import.

use super::ImportOptions;
use super::options::Remember;
use crate::format::{CachedFile, Digest, FileCache, Timestamp, Xattrs};
use crate::layer::instance;
use crate::store::{Cached, NewCache, Store, StoreError, Writer};
use crate::sys::at::{self, Stat};
use crate::sys::{lease, superblock, times};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

/// How long before it is read a file must have changed last: far longer than a tick of any kernel's clock, with room for one that is adjusted.
const SETTLED: Duration = Duration::from_secs(1);
/// Attributes whose values depend on the mount by which they are read.
const TRANSLATED: &[u8] = b"system.posix_acl_";

/// What is known of a source, and what is learnt of it. Shared by threads; the lock is a leaf, held while an entry is written.
pub(crate) struct Known {
    old: Option<FileCache>,
    new: Mutex<Option<NewCache>>,
    /// `None`: nothing is remembered of this source.
    source: Option<Source>,
    used: AtomicU64,
}

/// What tells one source from others.
struct Source {
    key: Digest,
    device: u64,
    about: About,
}

/// Under which circumstances a cache was made.
#[derive(PartialEq, Eq, Debug, Serialize, Deserialize)]
struct About {
    /// The mounting of the filesystem.
    instance: String,
    /// Who looks, with which rights.
    viewer: String,
    /// What the clock was set to.
    clock: i64,
}

impl Known {
    /// Nothing is known, and nothing learnt.
    pub(crate) fn nothing() -> Self {
        Self { old: None, new: Mutex::default(), source: None, used: AtomicU64::new(0) }
    }

    /// What is known of the source with this root.
    pub(crate) fn of(store: &Store, writer: &Writer, root: &OwnedFd, options: &ImportOptions) -> Self {
        let source = match options.remember {
            Remember::Nothing => None,
            Remember::Use | Remember::Renew => Source::of(root).unwrap_or_default(),
        };
        let Some(source) = source else { return Self::nothing() };
        let old = if options.remember == Remember::Use { source.cache(store, writer) } else { None };
        let new = store.new_cache().inspect_err(|error| tracing::warn!(%error, "no cache can be made")).ok();
        Self { old, new: Mutex::new(new), source: Some(source), used: AtomicU64::new(0) }
    }

    /// Content and attributes of a regular file that didn't change since it was read.
    pub(crate) fn find(&self, seen: &Stat) -> Option<(Digest, Xattrs)> {
        let (old, source) = (self.old.as_ref()?, self.source.as_ref()?);
        if seen.dev != source.device {
            return None;
        }
        old.find(&state(seen, Digest::from_bytes([0; 32]))?)
    }

    /// Whether a file may be remembered that is going to be read now. To be asked before, for a writer that goes while it is read may have written
    /// without a trace what was read already.
    pub(crate) fn is_settled(&self, file: &File, seen: &Stat) -> bool {
        let Some(source) = &self.source else { return false };
        let latest = SystemTime::now().checked_sub(SETTLED);
        let settled = latest.is_some_and(|latest| changed(seen).is_some_and(|changed| changed < latest.into()));
        seen.dev == source.device && settled && seen.ctime.1 != 0 && matches!(lease::has_writers(file), Ok(false))
    }

    /// Remembers a file that is in the state `seen`, and was when it was read.
    pub(crate) fn remember(&self, seen: &Stat, digest: Digest, xattrs: &Xattrs) {
        if xattrs.as_slice().iter().any(|(name, _)| name.starts_with(TRANSLATED)) {
            return;
        }
        let Some(file) = state(seen, digest) else { return };
        let mut new = self.new.lock();
        if let Some(Err(error)) = new.as_mut().map(|new| new.add(&file, xattrs)) {
            tracing::warn!(%error, "the cache can't be written, and is left as it was");
            *new = None;
        }
    }

    /// The same of one that was known already.
    pub(crate) fn used(&self, seen: &Stat, digest: Digest, xattrs: &Xattrs) {
        self.used.fetch_add(1, Relaxed);
        self.remember(seen, digest, xattrs);
    }

    /// Whether the manifest that is held reaches this directory.
    pub(crate) fn has_tree(&self, tree: Digest) -> bool {
        self.old.as_ref().is_some_and(|old| old.has_tree(tree))
    }

    /// Remembers a directory.
    pub(crate) fn remember_tree(&self, tree: Digest) {
        if let Some(new) = self.new.lock().as_mut() {
            new.add_tree(tree);
        }
    }

    /// Files that weren't read.
    pub(crate) fn count(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Keeps what was learnt for the next import, now that a ref names the manifest.
    pub(crate) fn keep(self, store: &Store, manifest: Digest) {
        let (Some(new), Some(source)) = (self.new.into_inner(), self.source) else { return };
        let about = serde_json::to_string(&source.about).map_err(io::Error::other);
        let kept = match about {
            Ok(about) => new.publish(store, source.key, manifest, &about),
            Err(error) => return tracing::warn!(%error, "the cache can't be described"),
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "the cache can't be kept, and the next import reads all files");
        }
    }
}

impl Source {
    /// `None` where nothing is to be remembered.
    fn of(root: &OwnedFd) -> io::Result<Option<Self>> {
        let folder = File::from(root.try_clone()?);
        if !superblock::tells_changes(&folder) {
            return Ok(None);
        }
        let Some(instance) = instance::instance_of(&folder) else { return Ok(None) };
        let stat = at::stat_fd(root)?;
        let about = About { instance, viewer: viewer()?, clock: times::clock_set_to() };
        let key = Digest::of(format!("{} {} {}", stat.dev, stat.ino, about.viewer).as_bytes());
        Ok(Some(Self { key, device: stat.dev, about }))
    }

    /// The cache of the last import, if it can be relied on.
    fn cache(&self, store: &Store, writer: &Writer) -> Option<FileCache> {
        let cache = match store.cache(self.key) {
            Ok(Cached::Found(cache)) => cache,
            Ok(Cached::Nothing) => return None,
            Ok(Cached::Damaged(path, why)) => {
                tracing::warn!(path = %path.display(), %why, "damaged cache of an earlier import: all files are read, and it is made anew");
                return None;
            }
            Err(error) => {
                tracing::warn!(%error, "the cache of an earlier import can't be read: all files are read");
                return None;
            }
        };
        if !serde_json::from_str::<About>(cache.about()).is_ok_and(|before| self.about.follows(&before)) {
            tracing::info!("the cache of an earlier import isn't used: another mounting, user or clock");
            return None;
        }
        match writer.keep(cache.manifest()) {
            Ok(()) => Some(cache),
            Err(StoreError::MissingObject { .. }) => None,
            Err(error) => {
                tracing::warn!(%error, "the manifest of an earlier import can't be held: all files are read");
                None
            }
        }
    }
}

impl About {
    fn follows(&self, before: &Self) -> bool {
        let slack = i64::try_from(SETTLED.as_nanos() / 2).unwrap_or(0);
        self.instance == before.instance && self.viewer == before.viewer && self.clock >= before.clock - slack
    }
}

/// Who looks at files: what they are shown may differ by user, rights and namespace.
fn viewer() -> io::Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let rights = status.lines().filter(|line| line.starts_with("Uid:") || line.starts_with("CapEff:"));
    let rights = rights.collect::<Vec<_>>().join(" ").replace('\t', " ");
    let space = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}"));
    Ok(format!("{rights} {} {}", space("user")?.display(), space("time")?.display()))
}

fn state(seen: &Stat, digest: Digest) -> Option<CachedFile> {
    let time = |(secs, nanos)| Timestamp::new(secs, nanos);
    Some(CachedFile { ino: seen.ino, size: seen.size, mtime: time(seen.mtime)?, ctime: changed(seen)?, digest })
}

fn changed(seen: &Stat) -> Option<Timestamp> {
    Timestamp::new(seen.ctime.0, seen.ctime.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(instance: &str, viewer: &str, clock: i64) -> About {
        About { instance: instance.to_owned(), viewer: viewer.to_owned(), clock }
    }

    #[test]
    fn a_cache_is_for_one_mounting_one_viewer_and_a_clock_that_only_went_forward() {
        let before = about("i", "v", 10_000_000_000);
        let follows = |now: About| now.follows(&before);
        assert!(follows(about("i", "v", 10_000_000_000)));
        assert!(follows(about("i", "v", 99_000_000_000)));
        assert!(follows(about("i", "v", 9_900_000_000)), "what an adjustment in between makes of it");
        assert!(!follows(about("i", "v", 9_000_000_000)));
        assert!(!follows(about("j", "v", 10_000_000_000)));
        assert!(!follows(about("i", "w", 10_000_000_000)));
    }
}
