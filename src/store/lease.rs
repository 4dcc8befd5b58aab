//! Leases: files in `leases/` that a live writer or mount holds flocked, telling a collection what to keep.
//!
//! ```text
//! leases/writer-MILLIS-UNIQUE     leases/mount-MILLIS-UNIQUE
//!   {"pid":7,"purpose":"import debian","kind":"writer","started_unix_ms":1700000000000}
//!   {"keep":"<digest of a manifest>"}      one line each, appended
//! ```
//! A lease is locked before it has a name, so a lease that isn't locked is dead, whatever the clock or process table say. It is created,
//! and lines are added, under the shared store lock: a sweep's batch sees all of it or none. The lock belongs to the open file: a process
//! forked off shares it, and it ends with the last of them; only the process that took it removes the file.
//!
//! A mount of a store that can't be written (a full disk, a read-only filesystem) holds the manifests' own files in `objects/` locked,
//! shared, instead. A collection looks for that before it takes a manifest away ([`Store::is_held`]).
//!
//! A writer's lease keeps every object whose modification time is not before its start (in whole seconds). Writers set that time
//! themselves, never before their start, so a clock that is set back harms nothing.
//!
//! A dead writer's lease that is still there tells of a writer that was cut off: objects not older than it may be torn if the power failed
//! (`writer` has the rest).

use super::error::{Context, Result, StoreError, found};
use super::lock::Shared;
use super::publish::{Pending, now_ms, sync_folder, unique};
use super::{Store, trash};
use crate::format::Digest;
use crate::sys::{flock, plain};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Who holds a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaseKind {
    /// It puts objects: all from its start on are kept.
    Writer,
    /// It uses the manifests that it names, and what they reach.
    Mount,
}

impl LeaseKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Mount => "mount",
        }
    }
}

/// The first line of a lease.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeaseHeader {
    /// The process that took it.
    pub pid: u32,
    /// What for, in a person's words.
    pub purpose: String,
    /// Who holds it.
    pub kind: LeaseKind,
    /// When it was taken.
    pub started_unix_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct Keep {
    keep: Digest,
}

/// A live mount's or writer's hold on objects; dropped, the hold ends. The kernel drops it when the process dies.
///
/// After a fork, the parent must not drop it (exit, or `std::mem::forget`) if the child is to keep the hold.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    hold: Hold,
    header: LeaseHeader,
}

/// How a lease is known to others.
#[derive(Debug)]
enum Hold {
    /// By a file of its own, locked.
    File { path: PathBuf, file: Mutex<File> },
    /// By the manifests that it keeps, locked.
    Manifests(Mutex<Vec<File>>),
}

impl Lease {
    pub(super) fn take(store: &Store, kind: LeaseKind, purpose: &str, keep: &[Digest]) -> Result<Self> {
        let started_unix_ms = now_ms();
        let header = LeaseHeader { pid: std::process::id(), purpose: purpose.to_owned(), kind, started_unix_ms };
        let hold = match Self::publish(store, &header, keep) {
            Err(error) if kind == LeaseKind::Mount && error.is_unwritable() => {
                tracing::warn!(%error, "no lease can be written; the manifests are held by locks on their objects");
                Self::hold_manifests(store, keep)?
            }
            published => published?,
        };
        Ok(Self { store: store.clone(), hold, header })
    }

    fn publish(store: &Store, header: &LeaseHeader, keep: &[Digest]) -> Result<Hold> {
        let name = format!("{}-{}-{}", header.kind.prefix(), header.started_unix_ms, unique());
        let path = store.layout().lease(&name);
        let pending = Pending::create(store)?;
        flock::exclusive(&pending.file).context("lock", &path)?;
        let mut text = line(header);
        text.extend(keep.iter().flat_map(|&keep| line(&Keep { keep })));
        (&pending.file).write_all(&text).context("write", &path)?;
        {
            let locked = store.shared()?;
            for &manifest in keep {
                trash::restore_manifest(store, manifest, &locked)?;
            }
            pending.publish_new(&path)?;
        }
        let file = Mutex::new(pending.file.try_clone().context("open", &path)?);
        Ok(Hold::File { path, file })
    }

    fn hold_manifests(store: &Store, keep: &[Digest]) -> Result<Hold> {
        let locked = store.shared()?;
        let held = keep.iter().map(|&manifest| hold_manifest(store, manifest, &locked)).collect::<Result<_>>()?;
        Ok(Hold::Manifests(Mutex::new(held)))
    }

    /// Also keeps `manifest`, from before this returns. One that a collection took out meanwhile comes back with all that it reaches.
    pub fn keep(&self, manifest: Digest) -> Result<()> {
        let locked = self.store.shared()?;
        let (path, file) = match &self.hold {
            Hold::File { path, file } => (path, file.lock()),
            Hold::Manifests(held) => {
                held.lock().push(hold_manifest(&self.store, manifest, &locked)?);
                return Ok(());
            }
        };
        trash::restore_manifest(&self.store, manifest, &locked)?;
        let end = file.metadata().context("stat", path)?.len();
        let written = file.write_all_at(&line(&Keep { keep: manifest }), end);
        if written.is_err() {
            // A part of a line would spoil the next one.
            file.set_len(end).context("cut", path)?;
        }
        written.context("write", path)
    }

    /// When it began, in whole seconds since the epoch.
    pub(super) fn started(&self) -> i64 {
        seconds(self.header.started_unix_ms)
    }

    /// Makes the lease survive a power cut, to warn of what else did.
    pub(super) fn make_durable(&self) -> Result<()> {
        // A writer's always has a file.
        let Hold::File { path, file } = &self.hold else { return Ok(()) };
        file.lock().sync_all().context("sync", path)?;
        sync_folder(&self.store.layout().leases())
    }

    /// Ends the hold but leaves the file behind, as a writer that was cut off does.
    pub(super) fn abandon(&mut self) {
        self.hold = Hold::Manifests(Mutex::default());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Hold::File { path, .. } = &self.hold
            && self.header.pid == std::process::id()
        {
            // One that stays behind is unlocked, and a collection removes it.
            let _ = fs::remove_file(path);
        }
    }
}

/// Locks a manifest's object, which must be in `objects/` with all that it reaches: under the shared store lock, so that no sweep takes it
/// between the look and the lock.
fn hold_manifest(store: &Store, manifest: Digest, locked: &Shared<'_>) -> Result<File> {
    trash::restore_manifest(store, manifest, locked)?;
    let path = store.object_path(manifest);
    let file = File::open(&path).context("open", &path)?;
    flock::shared(&file).context("lock", &path)?;
    Ok(file)
}

/// A lease as a collection sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseInfo {
    /// Its file.
    pub path: PathBuf,
    /// Who held or holds it.
    pub kind: LeaseKind,
    /// When it began, in whole seconds since the epoch.
    pub started: i64,
    /// Whether its owner lives.
    pub alive: bool,
    /// The manifests that it keeps.
    pub keep: Vec<Digest>,
}

impl Store {
    /// A lease that keeps the manifests `keep` and all that they reach, while the value lives.
    pub fn lease(&self, purpose: &str, keep: &[Digest]) -> Result<Lease> {
        Lease::take(self, LeaseKind::Mount, purpose, keep)
    }

    /// Whether a live mount that could write no lease holds a manifest. To be relied on only while a [`super::Sweep`] lives.
    pub fn is_held(&self, manifest: Digest) -> Result<bool> {
        let Some(file) = self.open_in_place(manifest)? else { return Ok(false) };
        Ok(!flock::try_exclusive(&file).context("lock", &self.object_path(manifest))?)
    }

    /// All leases, those of dead owners included. A live one that can't be understood is an error, never left out.
    pub fn leases(&self) -> Result<Vec<LeaseInfo>> {
        let mut leases = Vec::new();
        for (path, kind, millis) in self.lease_files()? {
            leases.extend(read(&path, kind, millis)?);
        }
        Ok(leases)
    }

    /// When the first of the writers began that died and whose leases are still there.
    pub(super) fn writers_cut_off(&self) -> Result<Option<i64>> {
        let mut first = None;
        for (path, _, millis) in self.lease_files()?.into_iter().filter(|(_, kind, _)| *kind == LeaseKind::Writer) {
            if open(&path)?.is_some_and(|(_, alive)| !alive) {
                first = first.into_iter().chain([seconds(millis)]).min();
            }
        }
        Ok(first)
    }

    fn lease_files(&self) -> Result<Vec<(PathBuf, LeaseKind, u64)>> {
        let folder = self.layout().leases();
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).context("list", &folder)? {
            let entry = entry.context("list", &folder)?;
            let named = entry.file_name().to_str().and_then(parse_name);
            files.extend(named.map(|(kind, millis)| (entry.path(), kind, millis)));
        }
        Ok(files)
    }
}

fn parse_name(name: &str) -> Option<(LeaseKind, u64)> {
    let (kind, rest) = name.split_once('-')?;
    let kind = [LeaseKind::Writer, LeaseKind::Mount].into_iter().find(|known| known.prefix() == kind)?;
    Some((kind, rest.split_once('-')?.0.parse().ok()?))
}

/// The file, and whether its owner lives. `None` when it is gone by now.
fn open(path: &Path) -> Result<Option<(File, bool)>> {
    let Some(file) = found(plain::open(path)).context("open", path)? else { return Ok(None) };
    let alive = !flock::try_shared(&file).context("lock", path)?;
    Ok(Some((file, alive)))
}

fn read(path: &Path, kind: LeaseKind, millis: u64) -> Result<Option<LeaseInfo>> {
    let Some((mut file, alive)) = open(path)? else { return Ok(None) };
    let info = LeaseInfo { path: path.to_owned(), kind, started: seconds(millis), alive, keep: Vec::new() };
    if !alive {
        return Ok(Some(info));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).context("read", path)?;
    let bad = |why: serde_json::Error| StoreError::BadLease { path: path.to_owned(), why: why.to_string() };
    // A line without its end is being written, and what it names is not kept yet.
    let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    serde_json::from_str::<LeaseHeader>(lines.next().unwrap_or_default()).map_err(bad)?;
    let keep = lines.map(|line| Ok(serde_json::from_str::<Keep>(line).map_err(bad)?.keep)).collect::<Result<_>>()?;
    Ok(Some(LeaseInfo { keep, ..info }))
}

fn line(value: &impl Serialize) -> Vec<u8> {
    // Plain structs of numbers and text always have a JSON form.
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    text
}

fn seconds(millis: u64) -> i64 {
    i64::try_from(millis / 1000).unwrap_or(i64::MAX)
}
