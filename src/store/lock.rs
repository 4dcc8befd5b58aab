//! The store lock: shared by those who rely on an object that was there before, exclusive for one batch of a sweep.
//!
//! Two files, both flocked. Everybody passes `gate` before `lock`, and the exclusive side keeps the gate until it has the lock, so that a
//! stream of shared holders can't keep a sweep out. Descriptors are pooled: a lock belongs to the open file, so each holder needs its own.
//! They are not used across a fork, where parent and child would share their locks.
//!
//! Order: the refs lock (`refs`), then a layer's lock, then this one. Nobody waits for another lock while holding this one.

use super::error::{Context, Result};
use super::layout::Layout;
use crate::sys::flock;
use parking_lot::Mutex;
use std::fs::File;
use std::path::Path;

#[derive(Debug, Default)]
pub(super) struct StoreLock {
    pool: Mutex<(u32, Vec<Files>)>,
}

#[derive(Debug)]
struct Files {
    gate: File,
    lock: File,
}

/// While this lives, no sweep takes objects away.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    owner: &'a StoreLock,
    files: Option<Files>,
}

/// While this lives, nobody relies on an object that was there before without having marked it.
#[derive(Debug)]
pub(super) struct Exclusive {
    _files: Files,
}

impl StoreLock {
    pub(super) fn shared(&self, layout: &Layout) -> Result<Shared<'_>> {
        let files = self.files(layout)?;
        let at = layout.root();
        flock::shared(&files.gate).context("lock the store at", at)?;
        flock::shared(&files.lock).context("lock the store at", at)?;
        flock::unlock(&files.gate).context("unlock the store at", at)?;
        Ok(Shared { owner: self, files: Some(files) })
    }

    pub(super) fn exclusive(&self, layout: &Layout) -> Result<Exclusive> {
        let files = Files::open(layout)?;
        let at = layout.root();
        flock::exclusive(&files.gate).context("lock the store at", at)?;
        flock::exclusive(&files.lock).context("lock the store at", at)?;
        flock::unlock(&files.gate).context("unlock the store at", at)?;
        Ok(Exclusive { _files: files })
    }

    fn files(&self, layout: &Layout) -> Result<Files> {
        {
            let (owner, pool) = &mut *self.pool.lock();
            let process = std::process::id();
            if *owner != process {
                pool.clear();
                *owner = process;
            }
            if let Some(files) = pool.pop() {
                return Ok(files);
            }
        }
        Files::open(layout)
    }
}

impl Files {
    fn open(layout: &Layout) -> Result<Self> {
        let open = |path: &Path| File::open(path).context("open", path);
        Ok(Self { gate: open(&layout.top("gate"))?, lock: open(&layout.top("lock"))? })
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        let Some(files) = self.files.take() else { return };
        // Closing the files unlocks as well, should this fail.
        if flock::unlock(&files.lock).is_ok() {
            let (owner, pool) = &mut *self.owner.pool.lock();
            if *owner == std::process::id() {
                pool.push(files);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::store::Store;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    #[test]
    fn a_stream_of_shared_holders_keeps_no_sweep_out() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::init(&folder.path().join("store")).unwrap();
        let stop = AtomicBool::new(false);
        let started = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) && started.elapsed().as_secs() < 10 {
                        let _held = store.shared().unwrap();
                        std::thread::sleep(Duration::from_millis(2)); // so that some thread always holds it
                    }
                });
            }
            let swept = (0..20).all(|_| store.sweep().is_ok());
            stop.store(true, Ordering::Relaxed);
            assert!(swept);
        });
        assert!(started.elapsed().as_secs() < 8, "{:?}", started.elapsed());
    }

    #[test]
    fn shared_and_exclusive_exclude_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::init(&folder.path().join("store")).unwrap();
        let (mut inside, shared) = (0, std::sync::atomic::AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        let _held = store.shared().unwrap();
                        shared.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        shared.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
            for _ in 0..100 {
                let _held = store.sweep().unwrap();
                inside += shared.load(Ordering::SeqCst);
            }
        });
        assert_eq!(inside, 0);
    }
}
