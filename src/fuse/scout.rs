//! Lists directories ahead of a program that walks the tree.
//!
//! A name that the kernel doesn't know costs its program a round trip to this process, a directory two; with a listing the kernel learns all names and
//! attributes of a directory at once, and keeps them. So when requests tell that a good part of some directory's tree is being walked, a thread lists all
//! of that tree's directories, as any program could. It begins at the other end than programs do, so that the two meet and don't race.
//!
//! ```text
//! signs      lookups and listings, counted; the last RECENT directories that they were in
//! scope      the directory that all of those are beneath: what is walked, if it isn't too large
//! again      signs after a walk are of what it left out: a quarter as many make the next, which takes in the former's scope
//! over       with a walk of everything, or with one that can't be done
//! ```
//! Invariants
//! - It is for mounts without a layer. The kernel takes attributes from an answer that it had asked for before a program changed the inode, if they come
//!   after (`fuse_dir_changed` leaves `attr_version` as it was, seen on Linux 6.18): a directory that changes would keep its former mtime for good.
//! - The thread has a table of descriptors of its own, without the connection to the kernel. Else a process that is killed while the thread waits for an
//!   answer would keep the connection open, on which that thread waits: neither would ever end.
//! - It reaches the tree by a mount of its own that is nowhere in the tree of directories, so nobody's umount(2) finds it in use; and it ends as soon
//!   as the mount table changes and no longer has ours.
//! - What programs see doesn't depend on it: what the kernel learns by it, it would learn by their own listings.
//!
//! Locking: none. Counters, on which only times hang.

use super::metrics::Metrics;
use super::mount_table;
use crate::format::NameBuf;
use crate::locks;
use crate::sys::daemon::own_descriptors;
use crate::vfs::{Fs, Ino};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, StatxFlags, openat, statx};
use rustix::mount::{OpenTreeFlags, open_tree};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// As many directories tell what is walked.
const RECENT: usize = 32;
/// Such a part of all entries, asked for by name, is a walk.
const PART: u64 = 32;
/// But no fewer.
const FEWEST: u64 = 256;
/// A listing counts as much as so many names.
const LISTING: u64 = 16;
/// What has more entries isn't walked: the kernel would need more than 200 MB for them, needed or not.
const MOST: u64 = 200_000;
/// Room for one read of a directory; the kernel asks for as much at a time.
const BUFFER: usize = 128 << 10;

const WAITING: u8 = 0;
const WALKING: u8 = 1;
const OVER: u8 = 2;

/// What a request tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Lookup,
    Listing,
}

/// The signs of one mount, and its walks.
#[derive(Debug)]
pub(super) struct Scout {
    /// Set once it is mounted; without it nothing is walked.
    place: OnceLock<Place>,
    enough: u64,
    state: AtomicU8,
    score: AtomicU64,
    seen: AtomicU64,
    recent: [AtomicU64; RECENT],
    /// The scope of the last walk; 0 before the first.
    walked: AtomicU64,
}

#[derive(Debug)]
struct Place {
    mountpoint: PathBuf,
    connection: u32,
}

/// What is to be walked.
struct Route {
    path: Vec<NameBuf>,
    everything: bool,
}

impl Scout {
    /// For a tree of so many entries.
    pub(super) fn new(entries: u64) -> Self {
        Self {
            place: OnceLock::new(),
            enough: (entries / PART).max(FEWEST),
            // Until it may walk, a sign costs one look at this.
            state: AtomicU8::new(OVER),
            score: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            recent: [const { AtomicU64::new(0) }; RECENT],
            walked: AtomicU64::new(0),
        }
    }

    /// It is mounted there.
    pub(super) fn may_walk(&self, mountpoint: PathBuf, connection: u32) {
        // A mount begins once.
        let _first = self.place.set(Place { mountpoint, connection });
        self.state.store(WAITING, Relaxed);
    }

    /// A request was about names in `dir`.
    pub(super) fn notice(self: &Arc<Self>, sign: Sign, dir: Ino, fs: &Arc<Fs>, metrics: &Arc<Metrics>) {
        if self.state.load(Relaxed) != WAITING || !self.is_enough(sign, dir) {
            return;
        }
        if self.state.swap(WALKING, Relaxed) != WAITING {
            return;
        }
        let (scout, fs, metrics) = (Arc::clone(self), Arc::clone(fs), Arc::clone(metrics));
        if let Err(error) = locks::spawn_outside("scout", move || scout.walk(fs, &metrics)) {
            tracing::debug!(%error, "nothing is listed ahead");
            self.state.store(OVER, Relaxed);
        }
    }

    fn is_enough(&self, sign: Sign, dir: Ino) -> bool {
        if !dir.is_clean_range() {
            return false;
        }
        let place = usize::try_from(self.seen.fetch_add(1, Relaxed)).unwrap_or_default() % RECENT;
        self.recent[place].store(dir.0, Relaxed);
        let weight = if sign == Sign::Listing { LISTING } else { 1 };
        self.score.fetch_add(weight, Relaxed) + weight >= self.enough
    }

    fn walk(&self, fs: Arc<Fs>, metrics: &Metrics) {
        let route = self.route(&fs);
        // Before the descriptors go: it may be the last to have it, and would close what isn't open here.
        drop(fs);
        let everything = route.as_ref().is_some_and(|route| route.everything);
        let gone = match (route, self.place.get()) {
            (Some(route), Some(place)) => place.walk(&route, metrics).is_err(),
            _ => false,
        };
        self.score.store(self.enough - self.enough / 4, Relaxed);
        self.state.store(if everything || gone { OVER } else { WAITING }, Relaxed);
    }

    /// `None`: they have nothing in common that can be walked.
    fn route(&self, fs: &Fs) -> Option<Route> {
        let recent = self.recent.iter().chain([&self.walked]).map(|dir| Ino(dir.load(Relaxed)));
        let dirs: Vec<Ino> = recent.filter(|dir| dir.0 != 0).collect();
        let common = fs.base().common(&dirs).ok()??;
        if common.entries > MOST {
            return None;
        }
        self.walked.store(common.dir.0, Relaxed);
        Some(Route { path: common.path, everything: common.dir == Ino::ROOT })
    }
}

impl Place {
    /// Lists all that is at the route. An error: it can't be done, or not any more.
    fn walk(&self, route: &Route, metrics: &Metrics) -> io::Result<()> {
        own_descriptors()?;
        let table = File::open("/proc/self/mountinfo")?;
        self.still_mounted()?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_NO_AUTOMOUNT;
        let root = open_tree(CWD, &self.mountpoint, flags)?;
        let what = statx(&root, "", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, StatxFlags::empty())?;
        if (what.stx_dev_major, what.stx_dev_minor) != (0, self.connection) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut top = open_dir(&root, OsStr::new("."))?;
        drop(root);
        for name in &route.path {
            top = open_dir(&top, OsStr::from_bytes(name.as_bytes()))?;
        }
        let mut buffer = Vec::with_capacity(BUFFER);
        // Directories that are open, each with what is still to be listed in it.
        let mut open = vec![(list(&top, &mut buffer)?, top)];
        while let Some((names, dir)) = open.last_mut() {
            let Some(name) = names.pop() else {
                open.pop();
                continue;
            };
            if has_changed(&table) {
                self.still_mounted()?;
            }
            // One that was removed or can't be looked into isn't walked.
            let Ok(dir) = open_dir(dir, OsStr::from_bytes(name.as_bytes())) else { continue };
            if let Ok(names) = list(&dir, &mut buffer) {
                metrics.events.listed_ahead.fetch_add(1, Relaxed);
                open.push((names, dir));
            }
        }
        Ok(())
    }

    fn still_mounted(&self) -> io::Result<()> {
        let is_ours = |entry: &mount_table::MountEntry| entry.connection == self.connection;
        if mount_table::mounts()?.iter().any(is_ours) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

fn open_dir(dir: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(dir, name, flags, Mode::empty())?)
}

/// Lists a directory and returns the directories in it.
fn list(dir: &OwnedFd, buffer: &mut Vec<u8>) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    let mut listing = RawDir::new(dir, buffer.spare_capacity_mut());
    while let Some(entry) = listing.next() {
        let entry = entry?;
        if entry.file_type() == FileType::Directory && !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// The kernel marks the mount table as having an error when it has changed since this was last asked.
fn has_changed(table: &File) -> bool {
    let mut asked = [PollFd::new(table.as_fd(), PollFlags::POLLPRI)];
    poll(&mut asked, PollTimeout::ZERO) != Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_names_of_clean_directories_are_enough_and_listings_count_for_more() {
        let scout = Scout::new(1000 * PART);
        assert!((1..1000).all(|number| !scout.is_enough(Sign::Lookup, Ino(number))));
        assert!(!scout.is_enough(Sign::Lookup, Ino::of_link(crate::format::LinkNumber(1))), "not in the base");
        assert!(scout.is_enough(Sign::Lookup, Ino(1)));
        let scout = Scout::new(0);
        assert!((1..FEWEST / LISTING).all(|number| !scout.is_enough(Sign::Listing, Ino(number))));
        assert!(scout.is_enough(Sign::Listing, Ino(9)));
    }
}
