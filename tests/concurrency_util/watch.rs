//! Who does what since when.

use nix::mount::{MntFlags, umount2};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// No single operation takes this long, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// What every thread does now, and how often each operation was done.
pub struct Watch {
    now: Vec<Mutex<(&'static str, Instant)>>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    over: AtomicBool,
}

impl Watch {
    pub fn new(threads: usize) -> Self {
        let now = (0..threads).map(|_| Mutex::new(("nothing yet", Instant::now()))).collect();
        Self { now, counts: Mutex::default(), over: AtomicBool::new(false) }
    }

    /// Thread `thread` begins an operation.
    pub fn begins(&self, thread: usize, operation: &'static str) {
        *self.now[thread].lock().unwrap() = (operation, Instant::now());
        *self.counts.lock().unwrap().entry(operation).or_default() += 1;
    }

    /// Thread `thread` does nothing any more.
    pub fn ends(&self, thread: usize) {
        *self.now[thread].lock().unwrap() = ("", Instant::now());
    }

    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().unwrap().clone()
    }

    /// Nobody is watched any more.
    pub fn over(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// Waits for the end. When an operation hangs, says which and ends the process: nothing less frees a thread that the kernel holds.
    pub fn watch(&self, mountpoint: &Path) {
        while !self.over.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
            let all: Vec<(&str, Instant)> = self.now.iter().map(|now| *now.lock().unwrap()).collect();
            if all.iter().all(|(operation, since)| operation.is_empty() || since.elapsed() < PATIENCE) {
                continue;
            }
            for (thread, (operation, since)) in all.iter().enumerate() {
                eprintln!("thread {thread}: {operation:?} for {:.1} s", since.elapsed().as_secs_f64());
            }
            eprintln!("an operation HANGS: the mount is detached and the test ended");
            let _detached = umount2(mountpoint, MntFlags::MNT_DETACH);
            std::process::abort();
        }
    }
}
