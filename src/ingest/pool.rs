//! Worker threads behind a bounded queue: the reader of a source submits jobs, workers hash and store.
//!
//! The first error wins: after it, jobs are dropped unworked (so that a reader never blocks on a full queue), and `submit` says stop.

use super::IngestError;
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

/// The submitting end.
pub(crate) struct Pool<'p, J> {
    jobs: Sender<J>,
    failure: &'p Failure,
}

#[derive(Default)]
struct Failure {
    failed: AtomicBool,
    first: Mutex<Option<IngestError>>,
}

impl<J> Pool<'_, J> {
    /// Queues a job, waiting while the queue is full.
    pub(crate) fn submit(&self, job: J) -> Result<(), IngestError> {
        if self.failure.failed.load(Ordering::Relaxed) {
            return Err(IngestError::Stopped);
        }
        self.jobs.send(job).map_err(|_| IngestError::Stopped)
    }
}

/// Runs `feed` here and `work` for each job it submits on `threads` others, with at most `queue` jobs waiting. Each thread has a buffer to use
/// again. Returns when all jobs are done, with the first worker's error if there is one.
pub(crate) fn run<J: Send, T>(
    threads: NonZeroUsize,
    queue: usize,
    work: impl Fn(&mut Vec<u8>, J) -> Result<(), IngestError> + Sync,
    feed: impl FnOnce(&Pool<'_, J>) -> Result<T, IngestError>,
) -> Result<T, IngestError> {
    let failure = Failure::default();
    let (jobs, queued) = bounded(queue);
    let fed = std::thread::scope(|scope| {
        for _ in 0..threads.get() {
            let queued = queued.clone();
            scope.spawn(|| serve(queued, &failure, &work));
        }
        drop(queued);
        feed(&Pool { jobs, failure: &failure })
    });
    match failure.first.into_inner() {
        Some(error) => Err(error),
        None => fed,
    }
}

fn serve<J>(queued: Receiver<J>, failure: &Failure, work: &impl Fn(&mut Vec<u8>, J) -> Result<(), IngestError>) {
    let mut buffer = Vec::new();
    for job in queued {
        if failure.failed.load(Ordering::Relaxed) {
            continue;
        }
        if let Err(error) = work(&mut buffer, job) {
            if !matches!(error, IngestError::Stopped) {
                failure.first.lock().get_or_insert(error);
            }
            failure.failed.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    const THREADS: NonZeroUsize = NonZeroUsize::new(3).unwrap();

    #[test]
    fn all_jobs_are_done_when_it_returns() {
        let sum = AtomicU64::new(0);
        let add = |_: &mut Vec<u8>, job: u64| {
            sum.fetch_add(job, Ordering::Relaxed);
            Ok(())
        };
        run(THREADS, 4, add, |pool| (1..=1000).try_for_each(|job| pool.submit(job))).unwrap();
        assert_eq!(sum.into_inner(), 500_500);
    }

    #[test]
    fn the_first_error_stops_the_feed_and_is_returned() {
        let fail = |_: &mut Vec<u8>, _: u64| Err(IngestError::Reserved);
        let fed = run(THREADS, 4, fail, |pool| (0..).try_for_each(|job| pool.submit(job)));
        assert!(matches!(fed, Err(IngestError::Reserved)));
    }
}
