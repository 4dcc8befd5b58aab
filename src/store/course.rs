//! The course of long work: how far it has come, and that it shall stop.
//!
//! Whoever does the work calls [`Course::step`] after every piece, at most [`STEP_MAX`] bytes, so that it stops within a moment.

use super::error::{Result, StoreError};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes of the longest piece of work between two steps.
pub const STEP_MAX: u64 = 16 << 20;
/// How often the log is told.
const PERIOD: Duration = Duration::from_secs(10);

/// Shared by who works, and who watches or stops the work.
#[derive(Debug)]
pub struct Course {
    started: Instant,
    stopped: AtomicBool,
    bytes: AtomicU64,
    /// Milliseconds from `started` to when the log was told last.
    told: AtomicU64,
}

impl Default for Course {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Self { started: Instant::now(), stopped: AtomicBool::new(false), bytes: zero(), told: zero() }
    }
}

impl Course {
    /// Has the work stop at its next step.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Counts bytes worked off; [`StoreError::Stopped`] once the work shall stop.
    pub fn step(&self, bytes: u64) -> Result<()> {
        if self.stopped.load(Ordering::SeqCst) {
            return Err(StoreError::Stopped);
        }
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let elapsed = self.started.elapsed();
        let (now, told) = (u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX), self.told.load(Ordering::Relaxed));
        let due = now.saturating_sub(told) >= u64::try_from(PERIOD.as_millis()).unwrap_or(u64::MAX);
        if due && self.told.compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::info!(bytes, seconds = elapsed.as_secs(), "content taken in so far");
        }
        Ok(())
    }

    /// Bytes worked off so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}
