//! What waits to be settled, and when it is time for it.
//!
//! Locking: `backlog` is a leaf; `pass` is taken by whoever settles.

use crate::format::Ino;
use crate::layer::DataId;
use crate::locks;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a copy may stay unsynced, about: as long as ext4 takes by default to commit what was changed.
///
/// Never in unit tests, which decide by themselves who takes which lock when (`locks::explored`).
const PERIOD: Duration = Duration::from_secs(if cfg!(test) { 1 << 30 } else { 5 });

/// What is to be settled.
#[derive(Debug, Default)]
pub(in crate::vfs) struct Settling {
    backlog: Mutex<Backlog>,
    changed: Condvar,
    pub(super) pass: locks::Mutex<()>,
}

#[derive(Debug, Default)]
struct Backlog {
    copies: HashMap<Ino, u32>,
    doomed: Vec<DataId>,
    doomed_bytes: u64,
    /// When the oldest of it came up.
    since: Option<Instant>,
    /// It shan't wait for its time.
    urgent: bool,
    stopped: bool,
}

impl Backlog {
    fn is_empty(&self) -> bool {
        self.copies.is_empty() && self.doomed.is_empty()
    }
}

impl Settling {
    /// A copy-up was recorded whose bytes may not be on disk.
    pub(in crate::vfs) fn copied(&self, id: DataId) {
        self.add(|backlog| {
            backlog.copies.insert(id.ino, id.generation);
        });
    }

    /// No record names a data file of so many bytes any more. Returns what doomed files hold by now, as [`Self::held`].
    pub(super) fn doomed(&self, id: DataId, bytes: u64) -> (u64, u64) {
        let mut held = (0, 0);
        self.add(|backlog| {
            backlog.doomed.push(id);
            backlog.doomed_bytes += bytes;
            held = (backlog.doomed_bytes, backlog.doomed.len() as u64);
        });
        held
    }

    fn add(&self, what: impl FnOnce(&mut Backlog)) {
        let mut backlog = self.backlog.lock();
        what(&mut backlog);
        if backlog.since.is_none() && !backlog.is_empty() {
            backlog.since = Some(Instant::now());
            self.changed.notify_all();
        }
    }

    pub(super) fn hurry(&self) {
        self.backlog.lock().urgent = true;
        self.changed.notify_all();
    }

    /// Doomed files take so many bytes, and are so many.
    pub(in crate::vfs) fn held(&self) -> (u64, u64) {
        let backlog = self.backlog.lock();
        (backlog.doomed_bytes, backlog.doomed.len() as u64)
    }

    pub(super) fn stop(&self) {
        self.backlog.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Waits until it is time for a pass. `false`: there won't be another.
    pub(super) fn wait(&self) -> bool {
        let mut backlog = self.backlog.lock();
        loop {
            match backlog.since {
                _ if backlog.stopped => return false,
                None => self.changed.wait(&mut backlog),
                Some(since) if backlog.urgent || since.elapsed() >= PERIOD => return true,
                Some(since) => {
                    self.changed.wait_until(&mut backlog, since + PERIOD);
                }
            }
        }
    }

    pub(super) fn take(&self) -> (HashMap<Ino, u32>, Vec<DataId>) {
        let mut backlog = self.backlog.lock();
        backlog.since = None;
        backlog.urgent = false;
        backlog.doomed_bytes = 0;
        (std::mem::take(&mut backlog.copies), std::mem::take(&mut backlog.doomed))
    }

    pub(super) fn put_back(&self, copies: HashMap<Ino, u32>, doomed: Vec<DataId>) {
        self.add(|backlog| {
            for (ino, generation) in copies {
                backlog.copies.entry(ino).or_insert(generation);
            }
            backlog.doomed.extend(doomed);
        });
    }
}
